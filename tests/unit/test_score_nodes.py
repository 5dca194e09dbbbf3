"""Scores of nodes and regions against sums worked out by hand, and the rules no ranking may break."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aicsched.domain.carbon import IntensityKind
from aicsched.domain.fleet import Fleet, Node, Region
from aicsched.domain.forecast import Forecast
from aicsched.domain.telemetry import Telemetry
from aicsched.errors import ConfigError, InputError, SlotError, UnknownZone
from aicsched.score.engine import PodColumns, ScoreEngine
from aicsched.score.intensity import met_by_region, slot_shares
from aicsched.score.nodes import node_columns, score_nodes
from aicsched.score.regions import score_regions
from aicsched.score.request import Request, ScoreWeights
from aicsched.score.utilisation import over_horizon
from aicsched.slots import SlotGrid

HOUR = 3600
START = 14 * 24 * HOUR


def forecast(zone: str, mean: object, *, levels: tuple[float, ...] = (0.1, 0.5, 0.9)) -> Forecast:
    centre = np.asarray(mean, dtype=float)
    return Forecast(
        grid_zone=zone,
        kind=IntensityKind.AVERAGE,
        slots=SlotGrid(START, HOUR, centre.size),
        issue_time_s=START,
        mean_g_per_kwh=centre,
        levels=levels,
        quantiles_g_per_kwh=np.array([centre * (0.5 + level) for level in levels]).reshape(
            len(levels), centre.size
        ),
        model="flat",
        source=f"test:{zone}",
    )


def node(name: str, **changes: object) -> Node:
    facts: dict[str, object] = {
        "region": "r",
        "vcpus": 64,
        "memory_gib": 256,
        "cpu_family": "amd-epyc-gen3",
        "idle_w": 100,
        "max_w": 420,
        "embodied_kg": 1400,
    }
    return Node(name=name, **(facts | changes))


def fleet_of(*nodes: Node) -> Fleet:
    region = Region(
        name="r", grid_zone="Z", capacity_vcpus=99, power_w_per_vcpu=5, pue=1.2, transfer_g_per_gb=7,
        embodied_g_per_vcpu_h=2,
    )  # fmt: skip
    clean = Region(
        name="clean", grid_zone="Y", capacity_vcpus=9, power_w_per_vcpu=5, pue=1.0, transfer_g_per_gb=3
    )
    return Fleet(regions=(region, clean), nodes=nodes, source="test")


def telemetry(shares: dict[str, object], *, days: int = 14, end_s: int = START) -> Telemetry:
    slots = SlotGrid(end_s - days * 24 * HOUR, HOUR, days * 24)
    cpu = np.array(
        [np.broadcast_to(np.asarray(value, float), len(slots)) for value in shares.values()]
    ).reshape(len(shares), len(slots))
    return Telemetry(
        nodes=tuple(shares), slots=slots, cpu_share=cpu, network_mb=cpu * 10, memory_share=cpu, source="seen"
    )


FORECASTS = {"Z": forecast("Z", np.full(96, 400.0)), "Y": forecast("Y", np.full(96, 40.0))}
WORK = Request(vcpus=8, duration_s=5 * HOUR)


# Share of the way from idle to full power, by Teads' four points.
def power_share(load: float) -> float:
    return float(np.interp(load, [0, 0.1, 0.5, 1], [0, 0.2 / 0.9, 0.63 / 0.9, 1]))


def test_grams_of_a_busy_node_worked_out_by_hand() -> None:
    (card,) = score_nodes(WORK, fleet_of(node("a")), FORECASTS, telemetry({"a": 0.3}), start_s=START)
    terms = {term.name: term for term in card.terms}
    # From 30 % to 42.5 % load, on a piece that rises by 0.43 / 0.9 in 0.4, of 320 W, for 5 h at PUE 1.2.
    kwh = 0.125 * (0.43 / 0.4) / 0.9 * 0.320 * 5 * 1.2
    assert kwh == pytest.approx(0.2867, abs=1e-4)
    assert terms["operational"].mid_g == pytest.approx(kwh * 400)
    assert kwh == pytest.approx((power_share(0.425) - power_share(0.3)) * 0.320 * 6)
    # Low: the flattest of the curves there, a root's from 0.4046 to 0.7564 of rated power in 0.4 of load, the
    # lower quartile of the family's power, and the lower intensity.
    low_kwh = 0.125 * ((0.7564 - 0.4046) / 0.4) / 0.9 * 0.320 * 6 * (1.79 / 1.916)
    assert terms["operational"].low_g == pytest.approx(low_kwh * 400 * 0.6)
    assert terms["operational"].high_g == pytest.approx(kwh * 400 * 1.4 * (2.127 / 1.916))
    assert "idle_share" not in terms
    assert card.slo_risk < 1e-6
    assert card.mid_g == pytest.approx(kwh * 400, rel=1e-6)
    assert card.inputs == ("test:Z by flat", "seen")


def test_an_empty_node_bears_its_idle_power() -> None:
    (card,) = score_nodes(WORK, fleet_of(node("a")), FORECASTS, telemetry({"a": 0.01}), start_s=START)
    terms = {term.name: term for term in card.terms}
    assert terms["idle_share"].mid_g == pytest.approx(100 * 5 / 1000 * 1.2 * 400)
    assert terms["idle_share"].high_g == pytest.approx(100 * 5 / 1000 * 1.2 * 400 * 1.4 * 0.4829 / 0.4238)


def test_work_past_a_full_machine_is_done_later_at_its_last_watts() -> None:
    (card,) = score_nodes(WORK, fleet_of(node("a")), FORECASTS, telemetry({"a": 0.95}), start_s=START)
    operational = next(term for term in card.terms if term.name == "operational")
    assert operational.mid_g == pytest.approx(0.125 * 0.6 * 0.320 * 6 * 400)
    assert card.slo_risk > 0.99


def test_embodied_is_sunk_in_decisions_and_amortised_in_reports() -> None:
    seen, fleet = telemetry({"a": 0.3}), fleet_of(node("a"))
    (sunk,) = score_nodes(WORK, fleet, FORECASTS, seen, start_s=START)
    (sci,) = score_nodes(WORK, fleet, FORECASTS, seen, start_s=START, weights=ScoreWeights(embodied="sci"))
    share_g = 1400e3 * (5 / (4 * 8760)) * (8 / 64)  # SCI: TE · TiR/EL · RR/ToR
    assert sci.mid_g - sunk.mid_g == pytest.approx(share_g)


def test_data_moves_only_away_from_home() -> None:
    fleet = fleet_of(node("a"), node("b", region="clean"))
    work = Request(vcpus=8, duration_s=HOUR, data_gb=10, home_region="clean")
    cards = score_nodes(work, fleet, FORECASTS, telemetry({"a": 0.3, "b": 0.3}), start_s=START)
    moved = {card.candidate: sum(t.mid_g for t in card.terms if t.name == "transfer") for card in cards}
    assert moved == {"a": 70.0, "b": 0.0}


@pytest.mark.parametrize("vcpus", [1, 16, 40, 63])
def test_a_node_without_metrics_never_beats_a_healthy_twin(vcpus: int) -> None:
    fleet = fleet_of(node("dark"), node("light"), node("busy"))
    seen = telemetry({"light": 0.10, "busy": 0.45})
    cards = score_nodes(Request(vcpus=vcpus, duration_s=HOUR), fleet, FORECASTS, seen, start_s=START)
    assert cards[0].candidate != "dark"
    dark = next(card for card in cards if card.candidate == "dark")
    light = next(card for card in cards if card.candidate == "light")
    assert dark.slo_risk >= light.slo_risk
    assert dark.high_g - dark.low_g > light.high_g - light.low_g


@pytest.mark.parametrize("hours", [1, 4, 24])
def test_a_node_without_metrics_never_wins_in_an_idle_fleet(hours: int) -> None:
    fleet = fleet_of(node("dark"), node("a"), node("b"))
    seen = telemetry({"a": 0.02, "b": 0.02})
    work = Request(vcpus=4, duration_s=hours * HOUR)
    assert score_nodes(work, fleet, FORECASTS, seen, start_s=START)[-1].candidate == "dark"


def test_a_node_that_fell_silent_is_known_no_better_by_its_energy_than_by_its_risk() -> None:
    fell = np.full(14 * 24, 0.3)
    fell[-72:] = np.nan
    fleet = fleet_of(node("silent"), node("fresh"))
    cards = score_nodes(WORK, fleet, FORECASTS, telemetry({"silent": fell, "fresh": 0.02}), start_s=START)
    assert [card.candidate for card in cards] == ["fresh", "silent"]
    assert "load unknown" in cards[1].terms[0].note


def test_unknown_risk_grows_with_the_request() -> None:
    # The fault of a prior that ignores the load to come: a huge pod would fit best where nothing is known.
    small, large = (
        score_nodes(work, fleet_of(node("a")), FORECASTS, None, start_s=START)[0]
        for work in (Request(vcpus=vcpus, duration_s=HOUR) for vcpus in (1, 48))
    )
    assert small.slo_risk == pytest.approx(0.2 + 1 / 64, abs=1e-3)
    assert large.slo_risk == pytest.approx(0.2 + 48 / 64, abs=1e-3)


def test_half_the_evidence_counts_half() -> None:
    gaps = np.full(14 * 24, 0.3)
    gaps[::2] = np.nan
    (card,) = score_nodes(WORK, fleet_of(node("a")), FORECASTS, telemetry({"a": gaps}), start_s=START)
    # What is not known may pass 80 % of the CPU and 90 % of the memory as a uniform load would.
    load, memory = 0.5 * (0.2 + 8 / 64), 0.5 * 0.1
    assert card.slo_risk == pytest.approx(1 - (1 - load) * (1 - memory), abs=2e-3)
    assert "from 50% of its past" in card.terms[0].note


def test_nothing_measured_after_the_start_is_used() -> None:
    quiet, wild = np.full(28 * 24, 0.2), np.full(28 * 24, 0.2)
    wild[14 * 24 :] = 0.99
    late = START + 14 * 24 * HOUR
    pair = [
        over_horizon(telemetry({"a": values}, days=28, end_s=late), ["a"], start_s=START, duration_s=HOUR)
        for values in (quiet, wild)
    ]
    assert pair[0].mean_share == pair[1].mean_share == pytest.approx([0.2])


def test_only_the_same_hours_of_the_day_count() -> None:
    hours = np.arange(14 * 24) % 24
    day = np.where((hours >= 9) & (hours < 17), 0.9, 0.1)
    seen = telemetry({"a": day})
    night = over_horizon(seen, ["a"], start_s=START, duration_s=4 * HOUR)
    noon = over_horizon(seen, ["a"], start_s=START + 12 * HOUR, duration_s=2 * HOUR)
    edge = over_horizon(seen, ["a"], start_s=START + 8 * HOUR + HOUR // 2, duration_s=HOUR)
    assert (night.mean_share[0], noon.mean_share[0]) == pytest.approx((0.1, 0.9))
    assert (edge.mean_share[0], edge.sd_share[0]) == pytest.approx((0.5, 0.4))
    whole = over_horizon(seen, ["a"], start_s=START, duration_s=3 * 24 * HOUR)
    assert whole.mean_share[0] == pytest.approx(day.mean())
    assert whole.sd_share[0] == pytest.approx(day.std())


def test_an_hour_never_seen_is_taken_as_the_others() -> None:
    values = np.full(14 * 24, 0.4)
    values[np.arange(14 * 24) % 24 == 0] = np.nan
    found = over_horizon(telemetry({"a": values}), ["a", "gone"], start_s=START, duration_s=HOUR)
    assert found.mean_share.tolist() == pytest.approx([0.4, 0.0])
    assert found.coverage_share.tolist() == pytest.approx([23 / 24, 0.0])


@pytest.mark.parametrize("seen", [None, telemetry({}), telemetry({"a": 0.2}, end_s=START + 99 * 24 * HOUR)])
def test_no_usable_telemetry_is_unknown(seen: Telemetry | None) -> None:
    assert over_horizon(seen, ["a"], start_s=START, duration_s=HOUR).coverage_share.tolist() == [0.0]


def test_what_does_not_fit_comes_last_with_the_reason() -> None:
    fleet = fleet_of(node("small", vcpus=4, memory_gib=8), node("z"))
    cards = score_nodes(
        Request(vcpus=8, duration_s=HOUR, memory_gib=64),
        fleet,
        FORECASTS,
        telemetry({"z": 0.7}),
        start_s=START,
    )
    assert [card.candidate for card in cards] == ["z", "small"]
    assert cards[1].refusals == ("needs 8 vCPUs, has 4", "needs 64 GiB, has 8")


def test_an_empty_fleet_of_nodes() -> None:
    assert score_nodes(WORK, fleet_of(), FORECASTS, None, start_s=START) == ()


@given(
    vcpus=st.floats(0.1, 64),
    hours=st.floats(0.1, 90),
    risk_g=st.floats(0, 1e4),
    load=st.lists(st.floats(0, 1), min_size=3, max_size=3),
    mode=st.sampled_from(["sunk", "sci"]),
)
@settings(max_examples=20, deadline=None)
def test_arrays_and_cards_agree_and_are_ordered(
    vcpus: float, hours: float, risk_g: float, load: list[float], mode: str
) -> None:
    fleet = fleet_of(
        *(node(name, region=region) for name, region in (("a", "r"), ("b", "clean"), ("c", "r")))
    )
    seen = telemetry(dict(zip("ab", load, strict=False)))
    work, weights = Request(vcpus=vcpus, duration_s=hours * HOUR), ScoreWeights(risk_g=risk_g, embodied=mode)
    columns = node_columns(fleet, FORECASTS, seen, start_s=START, duration_s=work.duration_s, weights=weights)
    engine = ScoreEngine({hours: columns}, (weights,))
    cards = score_nodes(work, fleet, FORECASTS, seen, start_s=START, weights=weights)
    by_name = {card.candidate: card for card in cards}
    totals = engine.totals(PodColumns(vcpus=[vcpus], duration_h=[work.duration_s / HOUR]))[0]
    assert [by_name[name].mid_g for name in "abc"] == totals.tolist()  # to the last bit
    assert [card.mid_g for card in cards] == sorted(card.mid_g for card in cards)
    for card in cards:
        assert 0 <= card.slo_risk <= 1
        for term in card.terms:
            assert 0 <= term.low_g <= term.mid_g <= term.high_g


def test_pods_that_metrics_do_not_show_yet_are_load() -> None:
    fleet, seen = fleet_of(node("a"), node("b")), telemetry({"a": 0.3, "b": 0.3})
    plain = score_nodes(WORK, fleet, FORECASTS, seen, start_s=START)
    cards = score_nodes(WORK, fleet, FORECASTS, seen, start_s=START, unseen_share=[0.45, 0.0])
    by_name = {card.candidate: card for card in cards}
    other = next(card for card in plain if card.candidate == "b")
    assert by_name["b"].terms[0] == other.terms[0]
    assert by_name["b"].slo_risk == pytest.approx(other.slo_risk, abs=1e-5)
    assert by_name["a"].slo_risk > 0.5 > by_name["b"].slo_risk
    # The request's watts lie on the flatter part of the curve, where the unseen pods put it.
    operational = {name: card.terms[0].mid_g for name, card in by_name.items()}
    assert operational["a"] == pytest.approx(
        (power_share(0.75 + 0.125) - power_share(0.75)) * 320 * 1.2 * 5 / 1000 * 400
    )
    assert operational["a"] < operational["b"]


def test_an_unseen_pod_keeps_a_node_from_being_empty() -> None:
    fleet, seen = fleet_of(node("a")), telemetry({"a": 0.01})
    (empty,) = score_nodes(WORK, fleet, FORECASTS, seen, start_s=START)
    (used,) = score_nodes(WORK, fleet, FORECASTS, seen, start_s=START, unseen_share=0.1)
    assert "idle_share" in {term.name for term in empty.terms}
    assert "idle_share" not in {term.name for term in used.terms}


@pytest.mark.parametrize(
    ("share", "words"), [([0.1], r"\(1,\) for 2 nodes"), ([0.0, -0.1], "'b' has"), (np.nan, "'a' has")]
)
def test_an_unseen_load_must_be_a_share(share: object, words: str) -> None:
    with pytest.raises(InputError, match=words):
        node_columns(
            fleet_of(node("a"), node("b")),
            FORECASTS,
            None,
            start_s=START,
            duration_s=HOUR,
            unseen_share=share,
        )


def test_regions_worked_out_by_hand() -> None:
    work = Request(vcpus=8, duration_s=5 * HOUR, data_gb=10, home_region="r")
    cards = score_regions(work, fleet_of(), FORECASTS, start_s=START, weights=ScoreWeights(embodied="sci"))
    clean, dirty = cards
    assert (clean.candidate, dirty.candidate) == ("clean", "r")
    assert clean.mid_g == pytest.approx(0.2 * 40 + 30)
    assert dirty.mid_g == pytest.approx(0.2 * 1.2 * 400 + 40 * 2)
    big = score_regions(Request(vcpus=10, duration_s=HOUR), fleet_of(), FORECASTS, start_s=START)
    assert [card.candidate for card in big] == ["r", "clean"]
    assert big[1].refusals


def test_shares_of_a_run_weigh_partial_slots() -> None:
    ramp = forecast("Z", [100.0, 200.0, 300.0])
    shares = slot_shares(ramp, START + HOUR // 2, 1.5 * HOUR)
    assert shares.tolist() == pytest.approx([1 / 3, 2 / 3, 0])
    fleet = Fleet(regions=(Region(name="r", grid_zone="Z", capacity_vcpus=1, power_w_per_vcpu=1),))
    met = met_by_region(fleet, {"Z": ramp}, START + HOUR // 2, 1.5 * HOUR)["r"]
    assert met.mid_g_per_kwh == pytest.approx(500 / 3)
    assert (met.low_g_per_kwh, met.high_g_per_kwh) == pytest.approx((0.6 * 500 / 3, 1.4 * 500 / 3))


@pytest.mark.parametrize(
    ("levels", "low", "high"),
    [((), 1.0, 1.0), ((0.2, 0.8), 0.7, 1.3), ((0.5,), 1.0, 1.0), ((0.05, 0.25), 0.55, 1.0)],
)
def test_a_missing_quantile_lends_the_nearest(levels: tuple[float, ...], low: float, high: float) -> None:
    fleet = Fleet(regions=(Region(name="r", grid_zone="Z", capacity_vcpus=1, power_w_per_vcpu=1),))
    met = met_by_region(fleet, {"Z": forecast("Z", [100.0], levels=levels)}, START, HOUR)["r"]
    assert (met.low_g_per_kwh, met.high_g_per_kwh) == pytest.approx((100 * low, 100 * high))


@pytest.mark.parametrize(("start_s", "duration_s"), [(START - 1, HOUR), (START + 95 * HOUR, HOUR + 1)])
def test_a_forecast_that_is_too_short(start_s: int, duration_s: float) -> None:
    with pytest.raises(SlotError, match="does not cover"):
        score_regions(Request(vcpus=1, duration_s=duration_s), fleet_of(), FORECASTS, start_s=start_s)


def test_a_zone_without_forecast_is_named() -> None:
    with pytest.raises(UnknownZone, match="did you mean Z"):
        score_regions(WORK, fleet_of(), {"Z": FORECASTS["Z"]}, start_s=START)


@pytest.mark.parametrize(
    "bad", [{"vcpus": 0}, {"duration_s": -1}, {"data_gb": float("nan")}, {"memory_gib": -1}]
)
def test_impossible_requests(bad: dict[str, float]) -> None:
    with pytest.raises(InputError):
        Request(**({"vcpus": 1.0, "duration_s": 60.0} | bad))


@pytest.mark.parametrize(
    "bad",
    [
        {"risk_g": -1}, {"cpu_limit_share": 1.1}, {"embodied": "x"}, {"service_ms": 0}, {"g_per_usd": -1},
        {"max_g_per_kwh": 0}, {"max_slo_risk": 1.1}, {"latency_limit_ms": float("nan")},
        {"memory_limit_share": 90}, {"stall_limit_share": 0},
    ],
)  # fmt: skip
def test_impossible_weights(bad: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(bad))):
        ScoreWeights(**bad)


def test_a_request_in_words() -> None:
    work = Request(vcpus=4, duration_s=5400, data_gb=3, home_region="de")
    assert work.describe() == "4 vCPUs for 1.5 h with 3 GB from de"
    held = Request(vcpus=1, duration_s=3600, memory_gib=2)
    assert held.describe() == "1 vCPUs and 2 GiB for 1 h"


def test_an_unknown_home_is_named_with_its_neighbours() -> None:
    work = Request(vcpus=1, duration_s=60, data_gb=1, home_region="claen")
    for score in (score_regions, score_nodes):
        with pytest.raises(InputError, match="did you mean clean"):
            score(work, fleet_of(node("a")), FORECASTS, start_s=START)
