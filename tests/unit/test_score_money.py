"""Money in scores: worked out by hand, never across currencies, never made up."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace

import numpy as np
import pytest

from aicsched.domain.carbon import IntensityKind
from aicsched.domain.fleet import Fleet, Node, Region
from aicsched.domain.forecast import Forecast
from aicsched.domain.price import PriceItem, PriceSeries, PriceUnit, Purchase
from aicsched.errors import AicschedWarning, InputError, UnitError
from aicsched.score.engine import PodColumns, ScoreEngine
from aicsched.score.explain import compare
from aicsched.score.money import met_prices
from aicsched.score.nodes import node_columns, score_nodes
from aicsched.score.regions import score_regions
from aicsched.score.request import Request, ScoreWeights
from aicsched.slots import SlotGrid

HOUR = 3600
WORK = Request(vcpus=8, duration_s=2 * HOUR)


def node(name: str, region: str, labels: dict[str, str] | None = None) -> Node:
    return Node(
        name=name, region=region, vcpus=32, memory_gib=64, cpu_family="amd-epyc-gen3", idle_w=0, max_w=320,
        embodied_kg=1000, labels=labels or {},
    )  # fmt: skip


FLEET = Fleet(
    regions=tuple(
        Region(name=name, grid_zone=zone, capacity_vcpus=99, power_w_per_vcpu=10, pue=1.25)
        for name, zone in (("own", "Z"), ("rented", "Z"), ("dark", "Y"))
    ),
    nodes=(
        node("own", "own"),
        node("rented", "rented"),
        node("typed", "rented", {"instance_type": "big.8"}),
        node("dark", "dark"),
    ),
)
FORECASTS = {
    zone: Forecast(
        grid_zone=zone, kind=IntensityKind.AVERAGE, slots=SlotGrid(0, HOUR, 4), issue_time_s=0,
        mean_g_per_kwh=np.full(4, 200.0), levels=(), quantiles_g_per_kwh=np.empty((0, 4)),
        model="flat", source=zone,
    )
    for zone in "ZY"
}  # fmt: skip


def series(
    place: str, unit: PriceUnit, values: object, *, kind: str = "", currency: str = "USD"
) -> PriceSeries:
    purchase = None if unit == PriceUnit.KWH else Purchase.ON_DEMAND
    return PriceSeries(
        item=PriceItem(place=place, unit=unit, instance_type=kind, purchase=purchase), currency=currency,
        slots=SlotGrid(0, HOUR, 4), prices=np.asarray(values, float) * np.ones(4), source="bill",
    )  # fmt: skip


PRICES = (
    series("Z", PriceUnit.KWH, [0.1, 0.3, 9, 9]),
    series("rented", PriceUnit.VCPU_H, 0.05),
    series("rented", PriceUnit.INSTANCE_H, 0.64, kind="big.8"),
)


def test_regions_cost_their_power_or_their_threads() -> None:
    cards = {
        card.candidate: card
        for card in score_regions(
            WORK, FLEET, FORECASTS, start_s=0, weights=ScoreWeights(g_per_usd=1000.0), prices=PRICES
        )
    }
    # 8 threads × 10 W × 1.25 × 2 h = 0.2 kWh, at a mean of 0.2 USD.
    assert cards["own"].money_usd == pytest.approx(0.04)
    assert cards["own"].mid_g == pytest.approx(0.2 * 200 + 40.0)
    assert cards["rented"].money_usd == pytest.approx(8 * 2 * 0.05)
    assert cards["rented"].mid_g == pytest.approx(0.2 * 200 + 800.0)
    assert cards["rented"].inputs == ("Z by flat", "bill")
    assert cards["dark"].money is None
    assert cards["dark"].refusals == ("its price is unknown, and the policy weighs money",)


def test_money_that_is_not_weighed_is_told_and_refuses_nothing() -> None:
    cards = score_regions(WORK, FLEET, FORECASTS, start_s=0, prices=PRICES)
    assert all(card.feasible for card in cards)
    assert {card.mid_g for card in cards} == {40.0}
    assert {card.candidate: card.money_usd for card in cards}["rented"] == pytest.approx(0.8)


def test_without_any_price_money_is_left_out() -> None:
    weights = ScoreWeights(g_per_usd=1000.0)
    for card in score_nodes(WORK, FLEET, FORECASTS, start_s=0, weights=weights):
        assert card.feasible
        assert card.money_usd is None
        assert "money" not in {term.name for term in card.terms}


def test_nodes_cost_what_they_were_sold_as() -> None:
    weights = ScoreWeights(g_per_usd=1000.0)
    cards = {
        card.candidate: card
        for card in score_nodes(WORK, FLEET, FORECASTS, start_s=0, weights=weights, prices=PRICES)
    }
    # An instance of 32 threads at 0.64 USD/h: 8 of them for 2 h.
    assert cards["typed"].money_usd == pytest.approx(0.64 / 32 * 8 * 2)
    assert cards["rented"].money_usd == pytest.approx(0.8)
    own = cards["own"]
    kwh = sum(term.mid_g for term in own.terms if term.name in {"operational", "idle_share"}) / 200
    assert own.money_usd == pytest.approx(kwh * 0.2)
    assert own.money is not None
    assert own.money.low_usd < own.money.mid_usd < own.money.high_usd
    money = next(term for term in own.terms if term.name == "money")
    assert money.mid_g == pytest.approx(1000 * kwh * 0.2)
    assert own.mid_g == pytest.approx(own.total_at(own.rates))
    found = compare(own, cards["rented"])
    assert next(term.saved_g for term in found.terms if term.name == "money") > 700
    assert not cards["dark"].feasible


def test_kubernetes_labels_name_the_instance_type() -> None:
    labelled = node("n", "rented", {"node.kubernetes.io/instance-type": "big.8"})
    met = met_prices(PRICES, start_s=0, duration_s=HOUR)
    assert met.usd_per_vcpu_h("rented", labelled) == pytest.approx(0.02)
    per_thread = met_prices(
        [series("rented", PriceUnit.VCPU_H, 0.07, kind="big.8")], start_s=0, duration_s=HOUR
    )
    assert per_thread.usd_per_vcpu_h("rented", labelled) == 0.07
    assert math.isnan(per_thread.usd_per_vcpu_h("rented", node("m", "rented")))


def test_a_gap_or_a_price_too_short_is_unknown() -> None:
    gappy = series("Z", PriceUnit.KWH, [0.1, np.nan, 0.3, 0.4])
    assert not met_prices([gappy], start_s=0, duration_s=2 * HOUR).usd
    assert met_prices([gappy], start_s=2 * HOUR, duration_s=2 * HOUR).usd["Z", PriceUnit.KWH, ""] == 0.35
    assert not met_prices(PRICES, start_s=3 * HOUR, duration_s=2 * HOUR).usd


def test_other_currencies_and_two_prices_are_refused() -> None:
    with pytest.raises(UnitError, match="priced in EUR"):
        score_regions(
            WORK, FLEET, FORECASTS, start_s=0, prices=[series("Z", PriceUnit.KWH, 1, currency="EUR")]
        )
    with pytest.raises(InputError, match="two prices of one thing"):
        score_nodes(WORK, FLEET, FORECASTS, start_s=0, prices=[PRICES[0], PRICES[0]])


def test_prices_of_nothing_in_the_fleet_are_refused_or_told() -> None:
    wrong = series("ZZ", PriceUnit.KWH, 1)
    typed, placed = (
        series("rented", PriceUnit.INSTANCE_H, 1, kind="bigg.8"),
        series("darkk", PriceUnit.VCPU_H, 1),
    )
    for score in (score_nodes, score_regions):
        with pytest.raises(InputError, match=r"none of 1 prices .* 'ZZ electricity'; did you mean Z or Y"):
            score(WORK, FLEET, FORECASTS, start_s=0, prices=[wrong])
        with pytest.raises(InputError, match=r"'rented bigg\.8 on-demand'; did you mean big\.8"):
            score(WORK, FLEET, FORECASTS, start_s=0, prices=[typed])
        with pytest.warns(AicschedWarning, match=r"'darkk vcpu on-demand' .* mean 'dark', which has none"):
            score(WORK, FLEET, FORECASTS, start_s=0, prices=[*PRICES, placed])
    with pytest.warns(AicschedWarning, match=r"did you mean 'big\.8'"):
        score_nodes(WORK, FLEET, FORECASTS, start_s=0, prices=[*PRICES[:2], typed])


def test_a_list_of_prices_may_be_longer_than_the_fleet() -> None:
    far = [series("moon", PriceUnit.KWH, 1), series("rented", PriceUnit.INSTANCE_H, 1, kind="tiny.1")]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plain = score_nodes(WORK, FLEET, FORECASTS, start_s=0, prices=PRICES)
        assert score_nodes(WORK, FLEET, FORECASTS, start_s=0, prices=[*PRICES, *far]) == plain


def test_a_limit_of_intensity_refuses_what_is_not_known() -> None:
    stale = FORECASTS | {"Y": replace(FORECASTS["Y"], flags={"neutral": 4})}
    limits = ScoreWeights(max_g_per_kwh=250.0)
    for score in (score_nodes, score_regions):
        cards = {card.candidate: card for card in score(WORK, FLEET, stale, start_s=0, weights=limits)}
        assert cards["dark"].refusals == ("its carbon intensity is not known, and the policy limits it",)
        assert cards["own"].feasible
        assert all(card.feasible for card in score(WORK, FLEET, stale, start_s=0))
    columns = node_columns(FLEET, stale, None, start_s=0, duration_s=2 * HOUR, weights=limits)
    pods = PodColumns(vcpus=[1.0], duration_h=[2.0])
    assert np.isinf(ScoreEngine({2.0: columns}, (limits,)).totals(pods)[0]).tolist() == [False] * 3 + [True]
    assert np.isfinite(ScoreEngine({2.0: columns}).totals(pods)).all()


def test_hard_limits_refuse_with_their_reason() -> None:
    strict = ScoreWeights(regions=("own",), max_g_per_kwh=150.0, max_slo_risk=0.1)
    cards = {card.candidate: card for card in score_nodes(WORK, FLEET, FORECASTS, start_s=0, weights=strict)}
    assert cards["own"].refusals == (
        "200 g/kWh, above the policy's 150",
        "45.0% SLO risk, above the policy's 10.0%",
    )
    assert "stands in rented, which the policy does not allow" in cards["rented"].refusals
    assert not score_regions(WORK, FLEET, FORECASTS, start_s=0, weights=strict)[0].feasible
    for score in (score_nodes, score_regions):
        with pytest.raises(InputError, match="did you mean own"):
            score(WORK, FLEET, FORECASTS, start_s=0, weights=ScoreWeights(regions=("dark", "onw")))


@pytest.mark.parametrize(
    "weights",
    [
        ScoreWeights(g_per_usd=1000.0),
        ScoreWeights(regions=("own", "rented")),
        ScoreWeights(max_g_per_kwh=150.0),
        ScoreWeights(max_slo_risk=0.1),
        ScoreWeights(g_per_usd=1.0, max_slo_risk=0.9, regions=("dark", "own")),
    ],
)
@pytest.mark.parametrize("vcpus", [1.0, 8.0, 40.0])
def test_the_engine_refuses_what_the_cards_refuse(weights: ScoreWeights, vcpus: float) -> None:
    work = Request(vcpus=vcpus, duration_s=2 * HOUR, memory_gib=16)
    cards = score_nodes(work, FLEET, FORECASTS, start_s=0, weights=weights, prices=PRICES)
    met = met_prices(PRICES, start_s=0, duration_s=work.duration_s)
    columns = node_columns(
        FLEET, FORECASTS, None, start_s=0, duration_s=work.duration_s, weights=weights, prices=met
    )
    regions = [region.name for region in FLEET.regions]
    engine = ScoreEngine({2.0: columns}, (weights,), regions)
    pods = PodColumns.of([work], regions)
    totals = dict(zip((each.name for each in FLEET.nodes), engine.totals(pods)[0].tolist(), strict=True))
    assert {card.candidate for card in cards if card.feasible} == {
        name for name, total in totals.items() if math.isfinite(total)
    }
    for card in cards:
        if card.feasible:
            assert card.mid_g == totals[card.candidate]
    best = engine.top(pods, 4)
    able = [card.candidate for card in cards if card.feasible]
    found = [FLEET.nodes[place].name for place in best.nodes[0].tolist() if place >= 0]
    assert sorted(found) == sorted(able)
    assert best.total_g[0, : len(able)].tolist() == [card.mid_g for card in cards if card.feasible]
