"""Moving running processes to better machines, at few moves and within hard limits."""

from __future__ import annotations

from aicsched.place.reassign.bound import PriceBound, lower_bound
from aicsched.place.reassign.check import Costs, check_assignment, costs_of, violations_of
from aicsched.place.reassign.problem import Reassignment, build_reassignment
from aicsched.place.reassign.roadef import read_assignment, read_reassignment, write_assignment
from aicsched.place.reassign.search import ReassignmentPlan, solve

__all__ = [
    "Costs",
    "PriceBound",
    "Reassignment",
    "ReassignmentPlan",
    "build_reassignment",
    "check_assignment",
    "costs_of",
    "lower_bound",
    "read_assignment",
    "read_reassignment",
    "solve",
    "violations_of",
    "write_assignment",
]
