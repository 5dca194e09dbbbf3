"""Always-on services with their reserve, and batch jobs beside them, in one plan and one proof."""

from __future__ import annotations

from aicsched.place.joint.plan import JointPlan
from aicsched.place.joint.problem import GivesWay, JointProblem, ReserveFor, build_joint
from aicsched.place.joint.solve import solve_joint

__all__ = ["GivesWay", "JointPlan", "JointProblem", "ReserveFor", "build_joint", "solve_joint"]
