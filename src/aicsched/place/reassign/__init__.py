"""Moving running processes to better machines, at few moves and within hard limits."""

from __future__ import annotations

from aicsched.place.reassign.check import Costs, check_assignment, costs_of, violations_of
from aicsched.place.reassign.problem import Reassignment, build_reassignment
from aicsched.place.reassign.roadef import read_assignment, read_reassignment, write_assignment

__all__ = [
    "Costs",
    "Reassignment",
    "build_reassignment",
    "check_assignment",
    "costs_of",
    "read_assignment",
    "read_reassignment",
    "violations_of",
    "write_assignment",
]
