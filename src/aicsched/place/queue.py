"""A queue to a plan, by the planner that it needs, with the published policies beside it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from aicsched.errors import Infeasible
from aicsched.place.hedge import RiskFacts, plan_hedged
from aicsched.place.policies import make_policy
from aicsched.place.problem import build_problem
from aicsched.place.solve import solve

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from aicsched.domain.fleet import Fleet
    from aicsched.domain.forecast import Forecast
    from aicsched.domain.job import Job
    from aicsched.domain.placement import Placement
    from aicsched.domain.service import Service
    from aicsched.place.elastic import ElasticProblem
    from aicsched.place.joint.proven import ProvenPlan
    from aicsched.place.money import MoneyFacts, MoneyWeight
    from aicsched.place.problem import Problem
    from aicsched.slots import SlotGrid

__all__ = ["BASELINES", "Placed", "place_queue"]

BASELINES: Final = ("no_wait", "lowest_slot", "lowest_window")


def _baselines(plan: Callable[[str], Placement]) -> tuple[dict[str, Placement], dict[str, str]]:
    plans: dict[str, Placement] = {}
    unplaced: dict[str, str] = {}
    for name in BASELINES:
        try:
            plans[name] = plan(name)
        except Infeasible as error:
            unplaced[name] = error.message
    return plans, unplaced


def _traced(plan: Callable[[Callable[[float, float], None]], Placement]) -> Placement:
    """Make a plan, and keep what each stage had reached."""
    trace: list[tuple[float, float]] = []
    made = plan(lambda best_g, bound_g: trace.append((best_g, bound_g)))
    return replace(made, certificate=replace(made.certificate, trace=tuple(trace)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """What planning made, of whatever kind the queue asked for.

    Parameters
    ----------
    problem : Problem
        What was solved; with stand-ins for jobs that scale.
    placement : Placement
        The plan.
    baselines : mapping of str to Placement
        Published greedy policies under the same limits.
    unplaced : mapping of str to str
        Those that found no plan, and why.
    risk : RiskFacts, optional
        Of a plan for bad scenarios.
    money : MoneyFacts, optional
        Of a plan that weighs money.
    joint : ProvenPlan, optional
        Of a plan with services.
    elastic : ElasticProblem, optional
        What was solved where jobs scale.
    """

    problem: Problem
    placement: Placement
    baselines: Mapping[str, Placement]
    unplaced: Mapping[str, str]
    risk: RiskFacts | None = None
    money: MoneyFacts | None = None
    joint: ProvenPlan | None = None
    elastic: ElasticProblem | None = None


def _place_scaling(
    queue: tuple[Job, ...],
    fleet: Fleet,
    forecasts: Mapping[str, Forecast],
    slots: SlotGrid,
    gap_share: float,
    seed: int,
) -> Placed:
    """Plan a queue in which jobs scale."""
    from aicsched.place.elastic import (  # noqa: PLC0415 - what most plans don't need
        build_elastic,
        greedy_elastic,
        solve_elastic,
    )

    elastic = build_elastic(queue, fleet, forecasts, slots)
    baselines, unplaced = _baselines(lambda name: greedy_elastic(elastic, name))
    rivals = tuple(baselines.values())
    placement = _traced(
        lambda told: solve_elastic(elastic, gap=gap_share, seed=seed, rivals=rivals, progress=told)
    )
    return Placed(
        problem=elastic.whole, placement=placement, baselines=baselines, unplaced=unplaced, elastic=elastic
    )


def place_queue(  # noqa: PLR0913 - what `plan_work` was asked for
    queue: tuple[Job, ...],
    fleet: Fleet,
    forecasts: Mapping[str, Forecast],
    slots: SlotGrid,
    *,
    services: Sequence[Service],
    gives_way: str,
    gap_share: float,
    seed: int,
    cvar_alpha: float | None,
    money: MoneyWeight | None,
) -> Placed:
    """Plan a queue with the planner that it needs.

    Parameters
    ----------
    queue : tuple of Job
        The jobs.
    fleet : Fleet
        Where work can run.
    forecasts : mapping of str to Forecast
        Per grid zone.
    slots : SlotGrid
        The planning grid.
    services : sequence of Service
        Always-on work beside the jobs; none where jobs scale.
    gives_way : str
        Which jobs may sit in the services' reserve.
    gap_share : float
        Stop improving when the proven gap is below this share.
    seed : int
        Seed of everything random.
    cvar_alpha : float, optional
        Plan for bad scenarios; not where jobs scale.
    money : MoneyWeight, optional
        Plan for grams and money together; not where jobs scale.

    Returns
    -------
    Placed
        Not yet checked.
    """
    if any(job.scaling for job in queue):
        return _place_scaling(queue, fleet, forecasts, slots, gap_share, seed)
    problem = build_problem(queue, fleet, forecasts, slots)
    joint = None
    if services:
        from aicsched.place.joint.proven import plan_beside  # noqa: PLC0415 - what most plans don't need

        joint = plan_beside(
            services, problem, queue, fleet, forecasts, gives_way=gives_way, gap=gap_share, seed=seed
        )
        problem = joint.plan.batch_problem()
    baselines, unplaced = _baselines(lambda name: make_policy(name).plan(problem))
    rivals, risk, cost = tuple(baselines.values()), None, None
    if joint is not None:
        placement = joint.plan.placement
    elif money is not None:
        placement, cost = money.plan(problem, queue, fleet, gap=gap_share, seed=seed)
    elif cvar_alpha is None:
        # No worse than any rival.
        placement = _traced(
            lambda told: solve(problem, gap=gap_share, seed=seed, rivals=rivals, progress=told)
        )
    else:
        placement, risk = plan_hedged(
            problem, queue, fleet, forecasts, alpha=cvar_alpha, gap=gap_share, seed=seed
        )
    return Placed(
        problem=problem,
        placement=placement,
        baselines=baselines,
        unplaced=unplaced,
        risk=risk,
        money=cost,
        joint=joint,
    )
