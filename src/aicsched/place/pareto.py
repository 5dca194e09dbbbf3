"""Carbon against waiting: what each hour of delay buys."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from aicsched.domain.carbon import frozen_array
from aicsched.errors import Infeasible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aicsched.domain.placement import Placement
    from aicsched.place.problem import Problem

__all__ = ["ParetoPoint", "pareto"]

DEFAULT_SHARES: Final = (0.0, 0.1, 0.25, 0.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class ParetoPoint:
    """One plan on the front.

    Parameters
    ----------
    waiting_share : float
        Share of each job's slack that it may use: 0 is no waiting, 1 its whole window.
    mean_delay_h : float
        Mean of end − earliest end [h].
    total_g : float
        What the plan emits [g].
    lower_bound_g : float
        No plan with this much waiting emits less [g].
    """

    waiting_share: float
    mean_delay_h: float
    total_g: float
    lower_bound_g: float


def _tightened(problem: Problem, share: float) -> Problem:
    slack = problem.last - problem.first - problem.n_slots
    last = problem.first + problem.n_slots + np.floor(slack * share + 1e-9).astype(np.int64)
    return replace(problem, last=frozen_array(last, np.int64))


def _point(problem: Problem, plan: Placement, share: float) -> ParetoPoint:
    ends = np.array([row.slot_indices[-1] + 1 for row in plan.assignments])
    delay_h = (ends - problem.first - problem.n_slots).mean() * problem.slots.step_h
    return ParetoPoint(
        waiting_share=float(share),
        mean_delay_h=float(delay_h),
        total_g=plan.total_g,
        lower_bound_g=plan.certificate.lower_bound_g,
    )


def pareto(
    problem: Problem, placement: Placement, shares: Sequence[float] = DEFAULT_SHARES, *, gap: float = 0.005
) -> tuple[ParetoPoint, ...]:
    """Plan again with less and less room to wait, down to none.

    Parameters
    ----------
    problem : Problem
        The problem.
    placement : Placement
        Its plan with the whole window, which becomes the last point.
    shares : sequence of float
        Which share of its slack each job may use, rising, below 1.
    gap : float
        Gap to stop at: a picture needs less than a plan.

    Returns
    -------
    tuple of ParetoPoint
        Feasible plans with bounds; shares for which nothing fits are left out.
    """
    from aicsched.place.solve import solve  # noqa: PLC0415 - the solver loads OR-Tools

    points = [_point(problem, placement, 1.0)]
    wider = placement
    # From wide to narrow: most jobs keep their places, and the prices lead from the first step.
    for share in sorted(shares, reverse=True):
        try:
            wider = solve(_tightened(problem, share), gap=gap, start=wider, name_clash=False)
        except Infeasible:
            # What does not fit here fits with less waiting all the less.
            break
        points.append(_point(problem, wider, share))
    return tuple(reversed(points))
