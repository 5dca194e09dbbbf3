"""A plan for bad scenarios as the main job makes it: solved, checked, and weighed by fresh scenarios."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aicsched.place.check_measures import check_cvar
from aicsched.place.risk import cvar_g, scenario_grid, solve_cvar, totals_g

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aicsched.domain.fleet import Fleet
    from aicsched.domain.forecast import Forecast
    from aicsched.domain.job import Job
    from aicsched.domain.placement import Placement, Proof
    from aicsched.place.problem import Problem

__all__ = ["RiskFacts", "plan_hedged"]

SCENARIOS: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskFacts:
    """A plan's worst scenarios beside those of the plan of least expected grams.

    Parameters
    ----------
    alpha : float
        The best share of scenarios that does not count.
    scenarios : int
        How many the plan was made for.
    proof : Proof
        The plan's CVaR of total grams and the bound that no plan's undercuts [g].
    expected_plan_g, expected_plan_cvar_g : float
        What the plan of least expected grams emits as expected, and its CVaR [g].
    fresh_cvar_g, expected_plan_fresh_cvar_g : float
        CVaR of both in as many scenarios again, which neither plan has seen [g].
    """

    alpha: float
    scenarios: int
    proof: Proof
    expected_plan_g: float
    expected_plan_cvar_g: float
    fresh_cvar_g: float
    expected_plan_fresh_cvar_g: float

    def notes(self) -> tuple[str, ...]:
        """Return what a reader of the plan must know.

        Returns
        -------
        tuple of str
            Sentences.
        """
        words = f"the plan is made for {self.proof.measure} of {self.scenarios} scenarios"
        return (f"{words}; its distance from optimal speaks of expected grams, which it gives up some of",)

    def facts(self) -> dict[str, object]:
        """Return the facts as plain values.

        Returns
        -------
        dict
            ``cvar_g``, ``lower_bound_g``, ``gap`` (None without a bound), ``fresh_cvar_g`` and the same
            of the ``expected_plan``.
        """
        return {
            "measure": self.proof.measure,
            "scenarios": self.scenarios,
            "cvar_g": self.proof.value,
            "lower_bound_g": self.proof.lower_bound,
            "gap": self.proof.gap if self.proof.gap < float("inf") else None,
            "fresh_cvar_g": self.fresh_cvar_g,
            "expected_plan": {
                "total_g": self.expected_plan_g,
                "cvar_g": self.expected_plan_cvar_g,
                "fresh_cvar_g": self.expected_plan_fresh_cvar_g,
            },
        }


def plan_hedged(
    problem: Problem,
    jobs: Sequence[Job],
    fleet: Fleet,
    forecasts: Mapping[str, Forecast],
    *,
    alpha: float,
    gap: float,
    seed: int = 0,
) -> tuple[Placement, RiskFacts]:
    """Plan for the worst scenarios, and weigh that plan by scenarios it has not seen.

    Parameters
    ----------
    problem : Problem
        Built from the next three.
    jobs : sequence of Job
        The queue.
    fleet : Fleet
        Where it runs.
    forecasts : mapping of str to Forecast
        Per grid zone.
    alpha : float
        The best share of scenarios that does not count, within [0, 1).
    gap : float
        Stop when (CVaR - bound) / bound is at most this.
    seed : int
        Of scenarios and searches.

    Returns
    -------
    Placement, RiskFacts
        A plan that the independent checker has passed, and what bad scenarios make of it.

    Raises
    ------
    AicschedError
        What `scenario_grid` and `solve_cvar` refuse.
    """
    drawn = scenario_grid(fleet, forecasts, problem.slots, count=2 * SCENARIOS, seed=seed)
    seen, fresh = drawn[:SCENARIOS], drawn[SCENARIOS:]
    plan = solve_cvar(problem, seen, alpha=alpha, gap=gap, seed=seed)
    at = {region.grid_zone: row for row, region in enumerate(fleet.regions)}
    curves = [{zone: item[row].tolist() for zone, row in at.items()} for item in seen]
    check_cvar(jobs, fleet, plan.placement, plan.proof, curves, alpha=alpha)
    both = [cvar_g(totals_g(problem, one, fresh), alpha=alpha) for one in (plan.placement, plan.expected)]
    return plan.placement, RiskFacts(
        alpha=alpha,
        scenarios=SCENARIOS,
        proof=plan.proof,
        expected_plan_g=plan.expected.total_g,
        expected_plan_cvar_g=plan.expected_cvar_g,
        fresh_cvar_g=both[0],
        expected_plan_fresh_cvar_g=both[1],
    )
