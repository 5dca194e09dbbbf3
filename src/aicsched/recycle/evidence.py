"""What telemetry proves about a node, and what it leaves unknown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from aicsched.domain.telemetry import Telemetry

__all__ = ["Evidence", "gather"]

_DAY_S = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What was seen of one node.

    Parameters
    ----------
    days : float
        Length of the window, which ends now [days].
    coverage_share : float
        Share of the window with both a CPU and a network value.
    mean_share, p95_share, max_share : float
        CPU utilisation; NaN where nothing was seen.
    network_mb_per_day : float
        Megabytes moved in a day of seen slots; NaN where none was seen.
    """

    days: float
    coverage_share: float
    mean_share: float
    p95_share: float
    max_share: float
    network_mb_per_day: float


_NOTHING = Evidence(
    days=0.0,
    coverage_share=0.0,
    mean_share=float("nan"),
    p95_share=float("nan"),
    max_share=float("nan"),
    network_mb_per_day=float("nan"),
)


def gather(telemetry: Telemetry, *, now_s: int | None = None) -> dict[str, Evidence]:
    """Sum up what was seen of each node.

    Parameters
    ----------
    telemetry : Telemetry
        Utilisation; NaN is unknown and counts against the coverage, never as idle.
    now_s : int, optional
        End of the window, seconds since the epoch; by default the end of the
        telemetry. Later values are not used, and time without values counts
        against the coverage: old telemetry proves nothing about today.

    Returns
    -------
    dict of str to Evidence
        Per node.
    """
    slots = telemetry.slots
    end_s = slots.end_s if now_s is None else now_s
    past = slots.between(slots.start_s, end_s)
    if not len(past):
        return dict.fromkeys(telemetry.nodes, _NOTHING)
    expected = (end_s - past.start_s) / slots.step_s
    made: dict[str, Evidence] = {}
    for row, name in enumerate(telemetry.nodes):
        cpu = telemetry.cpu_share[row, : len(past)]
        seen = cpu[np.isfinite(cpu)]
        network = telemetry.network_mb[row, : len(past)]
        moved = network[np.isfinite(network)]
        made[name] = Evidence(
            days=expected * slots.step_s / _DAY_S,
            coverage_share=float((np.isfinite(cpu) & np.isfinite(network)).sum()) / expected,
            mean_share=float(seen.mean()) if len(seen) else float("nan"),
            p95_share=float(np.quantile(seen, 0.95)) if len(seen) else float("nan"),
            max_share=float(seen.max()) if len(seen) else float("nan"),
            network_mb_per_day=float(moved.mean()) * _DAY_S / slots.step_s if len(moved) else float("nan"),
        )
    return made


def evidence_of(found: dict[str, Evidence], node: str) -> Evidence:
    """Return a node's evidence; nothing at all for a node that nobody measures."""
    return found.get(node, _NOTHING)
