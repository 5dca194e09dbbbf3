"""A simulator driven by traces: the policies of `aicsched.place.online` on a virtual clock.

There are no ticks. Jobs come at any second, intensity is constant within its slot,
and the energy of any stretch of time is a difference of two running sums, so that
a year of a hundred thousand jobs takes about a second.
"""

from __future__ import annotations

from aicsched.simulate.engine import World
from aicsched.simulate.log import Costs, Machine, Metrics, RunLog
from aicsched.simulate.run import Outcome, simulate
from aicsched.simulate.sites import Reach, Site, Sites
from aicsched.simulate.spread import SiteFacts, SitesOutcome, simulate_sites
from aicsched.simulate.sweep import Case, Places, Result, cases, sweep
from aicsched.simulate.truth import Truth, read_truth, read_truths
from aicsched.simulate.workload import Homes, Queues, Trace, Workload, read_homes, read_trace

__all__ = [
    "Case",
    "Costs",
    "Homes",
    "Machine",
    "Metrics",
    "Outcome",
    "Places",
    "Queues",
    "Reach",
    "Result",
    "RunLog",
    "Site",
    "SiteFacts",
    "Sites",
    "SitesOutcome",
    "Trace",
    "Truth",
    "Workload",
    "World",
    "cases",
    "read_homes",
    "read_trace",
    "read_truth",
    "read_truths",
    "simulate",
    "simulate_sites",
    "sweep",
]
