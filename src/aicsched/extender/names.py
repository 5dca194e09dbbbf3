"""What the extender and the gates call things on objects of a cluster.

All stand under a domain of the project's own: ``kubernetes.io`` and ``k8s.io`` are reserved.
A label is what selectors can choose by; the rest are annotations, or a scheduling gate.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "ALLOWED_REGIONS",
    "DEADLINE",
    "DECISION",
    "DEFERRABLE",
    "DOMAIN",
    "EXPECTED_DURATION",
    "GATE",
    "LATEST_START",
    "MAX_DELAY",
    "MAX_INTENSITY",
    "PLANNED_START",
    "POLICY",
    "REASON",
    "RELEASED_AT",
]

DOMAIN: Final = "aicsched.io"

# ---------------------------------------------------------------- said by users, on pods
EXPECTED_DURATION: Final = f"{DOMAIN}/expected-duration"
"""How long the pod runs: ``2h30m``."""
POLICY: Final = f"{DOMAIN}/policy"
"""A preset or a policy of the operator's file: ``carbon-first``."""
ALLOWED_REGIONS: Final = f"{DOMAIN}/allowed-regions"
"""Hard: regions separated by commas; nodes elsewhere are filtered."""
MAX_INTENSITY: Final = f"{DOMAIN}/max-g-per-kwh"
"""Hard: nodes whose grid is expected above this over the pod's life are filtered [g/kWh]."""
DEFERRABLE: Final = f"{DOMAIN}/deferrable"
"""Label, ``"true"``: may start later, where this saves emissions."""
MAX_DELAY: Final = f"{DOMAIN}/max-delay"
"""Starts at the latest this long after it was made: ``6h``."""
LATEST_START: Final = f"{DOMAIN}/latest-start"
"""Starts at the latest then (RFC 3339)."""
DEADLINE: Final = f"{DOMAIN}/deadline"
"""Is to have ended then (RFC 3339); with the expected duration that makes a latest start."""

# ---------------------------------------------------------------- said by us
GATE: Final = f"{DOMAIN}/carbon"
"""The scheduling gate of a deferred pod."""
PLANNED_START: Final = f"{DOMAIN}/planned-start"
"""When a deferred pod is to be released (RFC 3339)."""
RELEASED_AT: Final = f"{DOMAIN}/released-at"
"""When it was."""
REASON: Final = f"{DOMAIN}/reason"
"""Why then, in a sentence."""
DECISION: Final = f"{DOMAIN}/decision"
"""What was decided, as the ledger's JSON: so that whoever releases a pod can book it."""
