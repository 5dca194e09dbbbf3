"""One ledger entry as bytes: the same decision gives the same bytes everywhere.

An entry is JSON with sorted keys, no spaces and ASCII only; floats are written as
the shortest text that reads back to the same number (Python's repr). The hash of
an entry covers the hash before it, so that no entry can be changed, dropped or
moved without every later hash changing: ``sha256(previous hash + entry)``.
"""

from __future__ import annotations

import hashlib
import json
import math
from typing import Final

from aicsched.domain.decision import Decision
from aicsched.errors import LedgerError

__all__ = ["GENESIS", "KINDS", "SCHEMA_VERSION", "chain", "decode", "encode"]

SCHEMA_VERSION: Final = 1
GENESIS: Final = hashlib.sha256(f"aicsched-ledger/{SCHEMA_VERSION}".encode()).hexdigest()
KINDS: Final = ("place", "recycle", "correct")

_TEXTS: Final = ("decision_id", "kind", "subject", "region", "intensity_kind", "policy", "reason")
_TIMES: Final = ("decided_at_s", "start_s", "end_s")
_NUMBERS: Final = ("energy_kwh", "operational_g", "embodied_g", "counterfactual_g")


def encode(decision: Decision) -> str:
    """Write a decision as canonical JSON.

    Parameters
    ----------
    decision : Decision
        With finite numbers.

    Returns
    -------
    str
        ASCII; equal decisions give equal text.

    Raises
    ------
    LedgerError
        A number is not finite, the times are reversed, the kind is unknown or the id is empty.

    Examples
    --------
    >>> text = encode(Decision(decision_id="a", decided_at_s=0, kind="place", subject="job", region="north",
    ...     start_s=0, end_s=3600, energy_kwh=1, operational_g=20.0, embodied_g=0.0, counterfactual_g=50.0,
    ...     intensity_kind="average", policy="optimal", reason="cleaner"))
    >>> text[:70]
    '{"counterfactual_g":50.0,"decided_at_s":0,"decision_id":"a","embodied_'
    >>> encode(decode(text)) == text
    True
    """
    _check(decision)
    fields: dict[str, object] = {name: str(getattr(decision, name)) for name in _TEXTS}
    fields |= {name: int(getattr(decision, name)) for name in _TIMES}
    # Adding 0.0 turns -0.0 into 0.0, so that equal numbers are equal text.
    fields |= {name: float(getattr(decision, name)) + 0.0 for name in _NUMBERS}
    fields["inputs"] = [str(item) for item in decision.inputs]
    fields["synthetic"] = bool(decision.synthetic)
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _check(decision: Decision) -> None:
    where = f"the decision on '{decision.subject}'"
    if not decision.decision_id:
        msg = f"{where} has no decision_id"
        raise LedgerError(msg, hint="hash what it was made from", value=decision)
    if decision.kind not in KINDS:
        msg = f"{where} is of the unknown kind '{decision.kind}'"
        raise LedgerError(msg, hint=f"use one of {', '.join(KINDS)}", value=decision.kind)
    if decision.end_s < decision.start_s:
        msg = f"{where} ends before it starts"
        raise LedgerError(msg, hint="swap start_s and end_s", value=decision.end_s)
    for name in _NUMBERS:
        value = getattr(decision, name)
        if not math.isfinite(value):
            msg = f"{where} has a {name} of {value}"
            raise LedgerError(msg, hint="the ledger takes finite numbers only: fix its inputs", value=value)


def decode(body: str) -> Decision:
    """Read a decision from its canonical JSON.

    Parameters
    ----------
    body : str
        As `encode` wrote it.

    Returns
    -------
    Decision
        Equal to the one that was written.

    Raises
    ------
    ValueError, TypeError
        The text is no such JSON.
    """
    fields = json.loads(body)
    fields["inputs"] = tuple(fields["inputs"])
    return Decision(**fields)


def chain(previous: str, body: str) -> str:
    """Return the hash of an entry.

    Parameters
    ----------
    previous : str
        Hash of the entry before it, `GENESIS` for the first.
    body : str
        The entry as canonical JSON.

    Returns
    -------
    str
        SHA-256, 64 hexadecimal digits.
    """
    return hashlib.sha256((previous + body).encode("utf-8", "surrogatepass")).hexdigest()
