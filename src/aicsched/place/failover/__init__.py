"""Services that outlive the loss of any one failure group, with as few grams as can be, proven."""

from __future__ import annotations

from aicsched.place.failover.plan import FailoverMode, FailoverPlan
from aicsched.place.failover.problem import FailoverProblem, build_failover
from aicsched.place.failover.solve import least_fill, solve_failover

__all__ = [
    "FailoverMode",
    "FailoverPlan",
    "FailoverProblem",
    "build_failover",
    "least_fill",
    "solve_failover",
]
