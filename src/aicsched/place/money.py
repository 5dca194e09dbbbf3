"""A plan that weighs money beside grams, as the main job makes it: solved, checked, beside least grams."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from aicsched.domain.price import PriceUnit, Purchase, price_table
from aicsched.errors import InputError, did_you_mean
from aicsched.place.check_measures import check_totals
from aicsched.place.choice import choice_of
from aicsched.place.objective import carbon_term, money_term, solve_weighted
from aicsched.place.solve import solve
from aicsched.signals.price.base import fleet_prices

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from aicsched.domain.fleet import Fleet
    from aicsched.domain.job import Job
    from aicsched.domain.placement import Placement, Proof
    from aicsched.domain.price import PriceSeries
    from aicsched.place.problem import Problem
    from aicsched.signals.price.base import PriceSource

__all__ = ["MoneyFacts", "MoneyWeight", "plan_priced", "thread_prices"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MoneyFacts:
    """What a plan costs, beside the plan of least grams.

    Parameters
    ----------
    g_per_usd : float
        How many grams a dollar counts as.
    proof : Proof
        Grams and money together, at that rate, and the bound that no plan undercuts [g].
    usd : float
        What the plan costs.
    least_g, least_g_usd : float
        Grams and cost of the plan of least grams.
    sources : tuple of str
        Where the prices are from.
    synthetic : bool
        True when a price was made up.
    """

    g_per_usd: float
    proof: Proof
    usd: float
    least_g: float
    least_g_usd: float
    sources: tuple[str, ...]
    synthetic: bool

    def notes(self) -> tuple[str, ...]:
        """Return what a reader of the plan must know.

        Returns
        -------
        tuple of str
            Sentences.
        """
        words = f"the plan weighs money: a dollar counts as {self.g_per_usd:g} g"
        made_up = ("prices are made up",) if self.synthetic else ()
        return (f"{words}; its distance from optimal speaks of grams and money together", *made_up)

    def facts(self) -> dict[str, object]:
        """Return the facts as plain values.

        Returns
        -------
        dict
            ``usd``, ``g_per_usd``, ``weighed_g``, ``lower_bound_g``, ``gap`` (None without a bound),
            grams and dollars of the ``least_g_plan``, and ``sources``.
        """
        return {
            "usd": self.usd,
            "g_per_usd": self.g_per_usd,
            "weighed_g": self.proof.value,
            "lower_bound_g": self.proof.lower_bound,
            "gap": self.proof.gap if self.proof.gap < float("inf") else None,
            "least_g_plan": {"total_g": self.least_g, "usd": self.least_g_usd},
            "sources": list(self.sources),
            "synthetic": self.synthetic,
        }


def thread_prices(
    problem: Problem, fleet: Fleet, prices: Sequence[PriceSeries] = ()
) -> tuple[NDArray[np.float64], tuple[str, ...], bool]:
    """Return what a thread-hour costs in each region and slot.

    Parameters
    ----------
    problem : Problem
        Its regions and slots.
    fleet : Fleet
        Regions may give a price of their own.
    prices : sequence of PriceSeries
        Of threads (of no one instance type) by region, which hold their electricity, or else
        of electricity by grid zone; in US dollars, one a thing.

    Returns
    -------
    ndarray, shape (R, T)
        [USD per thread-hour].
    tuple of str
        Where they are from.
    bool
        Whether one was made up.

    Raises
    ------
    InputError
        A region without a price, or two prices of one thing.
    UnitError
        Another currency.
    SignalGap
        A slot without a price.
    """
    known: dict[tuple[str, PriceUnit], PriceSeries] = {}
    for one in prices:
        key = (one.item.place, one.item.unit)
        if one.item.instance_type:
            continue
        if key in known:
            msg = f"{one.item} has two prices, {known[key].item} the other"
            raise InputError(msg, hint="keep one of on-demand, spot and reserved", value=str(one.item))
        known[key] = one
    table, told, made_up = np.empty((len(problem.regions), len(problem.slots))), [], False
    for row, name in enumerate(problem.regions):
        region = fleet.region(name)
        thread = known.get((name, PriceUnit.VCPU_H))
        power = known.get((region.grid_zone, PriceUnit.KWH))
        if thread is not None:
            table[row] = price_table([thread], problem.slots, unit=PriceUnit.VCPU_H)[0]
            told.append(thread.source)
        elif region.price_usd_per_vcpu_h == region.price_usd_per_vcpu_h:
            table[row] = region.price_usd_per_vcpu_h
            told.append(fleet.source)
        elif power is not None:
            watts = problem.watt_factor_w[row]
            table[row] = watts / 1000.0 * price_table([power], problem.slots, unit=PriceUnit.KWH)[0]
            told.append(power.source)
        else:
            msg = f"nothing says what a thread or power costs in region '{name}'"
            have = [str(one.item) for one in prices]
            hint = f"add price_usd_per_vcpu_h to the fleet or a row to the prices; {did_you_mean(name, have)}"
            raise InputError(msg, hint=hint, value=name)
        made_up = (
            made_up
            or fleet.synthetic
            or bool((thread and thread.synthetic) or (thread is None and power and power.synthetic))
        )
    # Which of a source's things it was is told by the region.
    return table, tuple(dict.fromkeys(name.partition("#")[0] for name in told)), made_up


def plan_priced(
    problem: Problem,
    jobs: Sequence[Job],
    fleet: Fleet,
    prices: Sequence[PriceSeries] = (),
    *,
    g_per_usd: float,
    gap: float,
    seed: int = 0,
) -> tuple[Placement, MoneyFacts]:
    """Plan for grams and money together, at a rate.

    Parameters
    ----------
    problem : Problem
        Built from the next two.
    jobs : sequence of Job
        The queue.
    fleet : Fleet
        Where it runs.
    prices : sequence of PriceSeries
        As for `thread_prices`.
    g_per_usd : float
        How many grams a dollar counts as, >= 0.
    gap : float
        Stop when (sum - bound) / bound is at most this.
    seed : int
        As of `solve`.

    Returns
    -------
    Placement, MoneyFacts
        A plan whose money has been worked out again by the independent checker.

    Raises
    ------
    AicschedError
        What `thread_prices` and `solve_weighted` refuse.
    """
    table, sources, synthetic = thread_prices(problem, fleet, prices)
    terms = [carbon_term(problem), money_term(problem, usd_per_vcpu_h=table)]
    found = solve_weighted(problem, terms, {"carbon": 1.0, "money": g_per_usd}, unit="g", gap=gap, seed=seed)
    by_name = {name: table[row].tolist() for row, name in enumerate(problem.regions)}
    check_totals(jobs, fleet, found.placement, found.totals, usd_per_vcpu_h=by_name)
    least = solve(problem, gap=gap, seed=seed)
    least_usd = float(terms[1].of_jobs(problem, choice_of(problem, least)).sum())
    plan = found.placement
    # Of grams alone the plan of least grams has a bound, and it holds for this one too.
    bound_g = min(least.certificate.lower_bound_g, plan.total_g)
    certificate = replace(plan.certificate, status="bounded", lower_bound_g=bound_g)
    return replace(plan, certificate=certificate), MoneyFacts(
        g_per_usd=g_per_usd,
        proof=found.proof,
        usd=found.totals["money"],
        least_g=least.total_g,
        least_g_usd=least_usd,
        sources=sources,
        synthetic=synthetic,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class MoneyWeight:
    """How a plan is to weigh money.

    Parameters
    ----------
    g_per_usd : float
        How many grams a dollar counts as, >= 0.
    prices : tuple of PriceSource
        Beside what the fleet's regions say themselves.
    purchase : Purchase
        How threads are bought.
    rates : mapping of str to float
        By currency, what one unit is worth in US dollars.

    Raises
    ------
    InputError
        The rate is no number from 0.
    """

    g_per_usd: float
    prices: tuple[PriceSource, ...] = ()
    purchase: Purchase = Purchase.ON_DEMAND
    rates: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 <= self.g_per_usd < float("inf"):
            msg = f"{self.g_per_usd:g} g for a dollar is no rate"
            raise InputError(msg, hint="give a number from 0", value=self.g_per_usd)

    def plan(
        self, problem: Problem, jobs: Sequence[Job], fleet: Fleet, *, gap: float, seed: int
    ) -> tuple[Placement, MoneyFacts]:
        """Plan for grams and money together.

        Parameters
        ----------
        problem : Problem
            Built from the next two.
        jobs : sequence of Job
            The queue.
        fleet : Fleet
            Where it runs.
        gap : float
            As for `plan_priced`.
        seed : int
            As for `plan_priced`.

        Returns
        -------
        Placement, MoneyFacts
            The plan, checked, and what it costs.

        Raises
        ------
        AicschedError
            What `plan_priced` and the source of prices refuse.
        """
        found = [
            series
            for source in self.prices
            for series in fleet_prices(source, fleet, problem.slots, purchase=self.purchase, rates=self.rates)
        ]
        return plan_priced(problem, jobs, fleet, found, g_per_usd=self.g_per_usd, gap=gap, seed=seed)
