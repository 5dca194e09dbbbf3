"""Scores of edge sites: hard limits first, then grams and the chance to be late."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aicsched.errors import InputError
from aicsched.score.backend_terms import Interval, backend_card, energy_term, number, static_term
from aicsched.units import kwh_from_watts

if TYPE_CHECKING:
    from aicsched.domain.fleet import Backend
    from aicsched.domain.score import ScoreCard
    from aicsched.score.backend_terms import Site
    from aicsched.score.request import ScoreWeights

__all__ = ["EDGE_LIMITS", "EdgeCall", "late_risk", "score_edge"]

# The hard limits that a site states, in the terms of Akamai EdgeWorkers and AWS Greengrass.
EDGE_LIMITS: Final = ("cpu_ms", "wall_ms", "memory_mb", "bundle_kb", "subrequests")


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeCall:
    """A function that runs at the edge, and how often.

    The default fits the middle tier of EdgeWorkers (20 ms CPU, 2.5 MB), not the
    smallest: an illustration, no measurement.

    Parameters
    ----------
    cpu_ms, wall_ms : float
        CPU and mean wall time a call [ms].
    memory_mb, bundle_kb : float
        Memory [MB], and size of its code [kB].
    subrequests : int
        Requests it makes.
    calls : int
        How many.

    Raises
    ------
    InputError
        A number is out of its range.
    """

    cpu_ms: float = 8.0
    wall_ms: float = 20.0
    memory_mb: float = 2.0
    bundle_kb: float = 180.0
    subrequests: int = 1
    calls: int = 1_000_000

    def __post_init__(self) -> None:
        needs = [float(getattr(self, name)) for name in EDGE_LIMITS]
        fine = all(math.isfinite(need) and need >= 0 for need in needs) and self.calls >= 1
        if not fine or not 0 < self.cpu_ms <= self.wall_ms:
            msg = f"{self} is no edge function"
            raise InputError(msg, hint="times are positive, and wall_ms at least cpu_ms", value=self)

    def describe(self) -> str:
        """Return the call in words.

        Returns
        -------
        str
            With numbers.
        """
        return f"{self.calls:,} calls of {self.cpu_ms:g} ms CPU and {self.memory_mb:g} MB"


def late_risk(network_ms: float, call: EdgeCall, limit_ms: float) -> float:
    """Return the share of calls that are slower than a limit.

    Parameters
    ----------
    network_ms : float
        Time to the user and back [ms].
    call : EdgeCall
        With its mean wall time.
    limit_ms : float
        The objective [ms].

    Returns
    -------
    float
        exp(-(limit - network) / wall): wall times taken as exponential, an
        assumption that overstates the tail of steady functions.

    Examples
    --------
    >>> round(late_risk(20.0, EdgeCall(wall_ms=40.0), 100.0), 4)
    0.1353
    """
    return math.exp(-max(0.0, limit_ms - network_ms) / call.wall_ms)


def score_edge(backend: Backend, call: EdgeCall, site: Site, weights: ScoreWeights) -> ScoreCard:
    """Score an edge site for a function.

    Parameters
    ----------
    backend : Backend
        Properties ``cpu_ms``, ``wall_ms``, ``memory_mb``, ``bundle_kb`` and
        ``subrequests`` (limits), and ``latency_ms``.
    call : EdgeCall
        The function.
    site : Site
        Intensity and PUE of where it stands.
    weights : ScoreWeights
        The latency objective, and what missing it counts as.

    Returns
    -------
    ScoreCard
        Refused with every limit that is exceeded.

    Raises
    ------
    InputError
        A property is missing or out of range.
    """
    refusals = tuple(
        f"allows {name} of {number(backend, name):g}, {getattr(call, name):g} are needed"
        for name in EDGE_LIMITS
        if getattr(call, name) > number(backend, name)
    )
    busy_s, wall_s = call.calls * call.cpu_ms / 1000.0, call.calls * call.wall_ms / 1000.0
    active_kwh = kwh_from_watts(backend.active_w, busy_s)
    risk = late_risk(number(backend, "latency_ms"), call, weights.latency_limit_ms)
    # Calls share the site while they wait: the middle attributes the CPU's time, the high end all of it.
    held = Interval(busy_s, busy_s, wall_s)
    note = f"{backend.active_w:g} W for {busy_s:,.0f} s of CPU"
    return backend_card(
        backend,
        call.describe(),
        (
            energy_term("operational", Interval(active_kwh, active_kwh, active_kwh), site, note),
            static_term(backend, held, site),
        ),
        risk=Interval(risk, risk, risk),
        why=f"of calls over {weights.latency_limit_ms:g} ms",
        refusals=refusals,
        site=site,
        weights=weights,
    )
