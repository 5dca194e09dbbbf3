"""Plans that weigh money: from least grams to least cost, each worked out again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from aicsched.domain.fleet import Fleet
from aicsched.domain.price import PriceItem, PriceSeries, PriceUnit, Purchase
from aicsched.errors import InputError, SignalGap, UnitError
from aicsched.place.check import check
from aicsched.place.money import MoneyWeight, plan_priced, thread_prices
from aicsched.place.problem import build_problem
from aicsched.place.solve import solve
from aicsched.signals.price.sample import SamplePrices
from tests.place_kit import CURVES, GRID, crowd, fleet, job

SITES = fleet(8.0, 8.0)
# Threads are dear in r0 where nights are clean, and cheap in r1.
DEAR = [0.09, 0.09, 0.09, 0.09, 0.09, 0.09, 0.09, 0.09]
CHEAP = [0.05, 0.05, 0.01, 0.02, 0.05, 0.05, 0.05, 0.05]


def _series(
    place: str, prices: list[float], unit: PriceUnit = PriceUnit.VCPU_H, currency: str = "USD"
) -> PriceSeries:
    how = None if unit == PriceUnit.KWH else Purchase.ON_DEMAND
    item = PriceItem(place=place, unit=unit, purchase=how)
    return PriceSeries(item=item, currency=currency, slots=GRID, prices=np.array(prices), source=f"t#{place}")


PRICES = (_series("r0", DEAR), _series("r1", CHEAP))


def test_from_least_grams_to_least_cost() -> None:
    jobs = crowd(12)
    problem = build_problem(jobs, SITES, CURVES, GRID)
    least = solve(problem, gap=1e-6)
    grams, dollars = [], []
    for rate in (0.0, 10.0, 100.0, 1000.0, 1e6):
        plan, facts = plan_priced(problem, jobs, SITES, PRICES, g_per_usd=rate, gap=1e-6)
        check(jobs, SITES, CURVES, GRID, plan)
        assert facts.proof.value == pytest.approx(plan.total_g + rate * facts.usd)
        assert facts.proof.lower_bound <= facts.proof.value
        assert facts.proof.gap < 1e-4
        assert facts.least_g == pytest.approx(least.total_g, rel=1e-5)
        grams.append(plan.total_g)
        dollars.append(facts.usd)
    # The dearer a dollar, the more grams are given for it.
    assert np.all(np.diff(grams) >= -1e-3)
    assert np.all(np.diff(dollars) <= 1e-6)
    assert grams[0] == pytest.approx(least.total_g, rel=1e-5)
    assert dollars[-1] < dollars[0]


def test_grams_alone_keep_their_bound() -> None:
    jobs = crowd(12)
    problem = build_problem(jobs, SITES, CURVES, GRID)
    plan, facts = plan_priced(problem, jobs, SITES, PRICES, g_per_usd=1e6, gap=1e-6)
    assert 0 < plan.certificate.lower_bound_g <= facts.least_g <= plan.total_g
    assert plan.certificate.status == "bounded"


def test_the_price_of_a_thread_holds_its_power_and_comes_first() -> None:
    problem = build_problem([job("a")], SITES, CURVES, GRID)
    power = (_series("z0", [0.1] * 8, PriceUnit.KWH), _series("z1", [-0.2] * 8, PriceUnit.KWH))
    table, sources, made_up = thread_prices(problem, SITES, power)
    # A kilowatt a thread at a PUE of 1.
    np.testing.assert_allclose(table, [[0.1] * 8, [-0.2] * 8])
    assert (sources, made_up) == (("t",), False)
    table, _, _ = thread_prices(problem, SITES, (*power, _series("r0", DEAR)))
    np.testing.assert_allclose(table, [DEAR, [-0.2] * 8])


def test_a_fleet_may_say_its_own_prices() -> None:
    priced = Fleet(
        regions=tuple(replace(region, price_usd_per_vcpu_h=0.04) for region in SITES.regions),
        source="file:mine.csv",
    )
    problem = build_problem([job("a")], priced, CURVES, GRID)
    table, sources, _ = thread_prices(problem, priced)
    assert set(table.ravel()) == {0.04}
    assert sources == ("file:mine.csv",)
    # A price of the slot is nearer than one that holds always.
    assert thread_prices(problem, priced, [_series("r1", CHEAP)])[0][1].tolist() == CHEAP


@pytest.mark.parametrize(
    ("prices", "error", "message"),
    [
        ((), InputError, "nothing says what a thread or power costs in region 'r0'"),
        ((_series("r0", DEAR),), InputError, "region 'r1'"),
        ((*PRICES, _series("r0", CHEAP)), InputError, "has two prices"),
        ((_series("r0", DEAR, currency="EUR"), PRICES[1]), UnitError, "priced in EUR, not in USD"),
        ((_series("r0", [float("nan"), *DEAR[1:]]), PRICES[1]), SignalGap, "1 of 8 slots have no price"),
    ],
)
def test_prices_that_do_not_do_are_refused(
    prices: tuple[PriceSeries, ...], error: type[Exception], message: str
) -> None:
    problem = build_problem([job("a")], SITES, CURVES, GRID)
    with pytest.raises(error, match=message):
        thread_prices(problem, SITES, prices)


def test_the_price_of_one_type_says_nothing_of_a_thread() -> None:
    item = PriceItem(
        place="r0", unit=PriceUnit.VCPU_H, instance_type="m6a.large", purchase=Purchase.ON_DEMAND
    )
    one = PriceSeries(item=item, currency="USD", slots=GRID, prices=np.array(DEAR), source="t")
    problem = build_problem([job("a")], SITES, CURVES, GRID)
    with pytest.raises(InputError, match="nothing says"):
        thread_prices(problem, SITES, [one])


@pytest.mark.parametrize("rate", [-1.0, float("nan"), float("inf")])
def test_a_rate_is_a_number_from_zero(rate: float) -> None:
    with pytest.raises(InputError, match="is no rate"):
        MoneyWeight(g_per_usd=rate, prices=(SamplePrices(),))
