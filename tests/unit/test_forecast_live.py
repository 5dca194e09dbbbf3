"""Forecasts of live signals: fresh, degraded or neutral exactly by age, and what scores make of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from aicsched.domain.flags import Flag
from aicsched.domain.fleet import Fleet, Region
from aicsched.errors import SignalGap, SourceUnavailable, TooLittleHistory
from aicsched.forecast import forecast_zones
from aicsched.forecast.live import forecast_live, neutral_forecast
from aicsched.score.intensity import met_by_region
from aicsched.score.regions import score_regions
from aicsched.score.request import Request
from aicsched.signals.live import LastKnownGood
from aicsched.signals.staleness import Staleness
from aicsched.signals.store import SignalStore
from aicsched.slots import HOUR_S, SlotGrid
from aicsched.testing import example_series
from tests.signals_kit import START_S, HandClock, MoodySource

if TYPE_CHECKING:
    from pathlib import Path

    from aicsched.domain.forecast import Forecast

DOWN = SourceUnavailable("moody:v1 answered 503")
ZONES = ("DE", "SE", "FR")
FLEET = Fleet(
    regions=tuple(
        Region(name=name.lower(), grid_zone=name, capacity_vcpus=64.0, power_w_per_vcpu=4.0, pue=1.2)
        for name in ZONES
    ),
    source="test",
)
REQUEST = Request(vcpus=4, duration_s=4 * HOUR_S)


def late(hours: int, *, lag_h: int = 0, skew_s: int = 0) -> Forecast:
    series = example_series(days=60)
    flags = (Flag.CLOCK_SKEW.of(skew_s),) if skew_s else ()
    known = replace(
        series.before(series.slots.end_s - hours * HOUR_S), availability_lag_s=lag_h * HOUR_S, flags=flags
    )
    return forecast_zones({"x": known}, at_s=series.slots.end_s, horizon=24, model="ridge")["x"]


# ---------------------------------------------------------------- degraded
@pytest.mark.parametrize(
    ("hours", "lag_h", "degraded"),
    [(0, 0, False), (2, 0, False), (3, 0, True), (6, 0, True), (5, 3, False), (6, 3, True)],
)
def test_more_than_two_slots_beside_the_lag_degrade(hours: int, lag_h: int, degraded: bool) -> None:
    made = late(hours, lag_h=lag_h)
    assert (Flag.DEGRADED.value in made.flags) is degraded
    assert made.slots == SlotGrid(example_series(days=60).slots.end_s, HOUR_S, 24)


@pytest.mark.parametrize("hours", [3, 4, 6])
def test_a_stale_start_widens_each_band_to_the_widest_since_the_data_ended(hours: int) -> None:
    series = example_series(days=60)
    known = series.before(series.slots.end_s - hours * HOUR_S)
    made = forecast_zones({"x": known}, at_s=series.slots.end_s, horizon=24, model="ridge")["x"]
    whole = forecast_zones({"x": known}, at_s=known.slots.end_s, horizon=24 + hours, model="ridge")["x"]
    assert Flag.DEGRADED.value not in whole.flags
    np.testing.assert_array_equal(made.mean_g_per_kwh, whole.mean_g_per_kwh[hours:])
    np.testing.assert_array_equal(made.quantile(0.5), whole.quantile(0.5)[hours:])
    ratio = whole.quantiles_g_per_kwh / whole.mean_g_per_kwh
    for slot in range(24):
        since = slice(slot, slot + hours + 1)
        np.testing.assert_allclose(
            made.quantile(0.1)[slot] / made.mean_g_per_kwh[slot], ratio[0, since].min(), rtol=1e-12
        )
        np.testing.assert_allclose(
            made.quantile(0.9)[slot] / made.mean_g_per_kwh[slot], ratio[2, since].max(), rtol=1e-12
        )


@pytest.mark.parametrize(("skew_s", "slots"), [(-121, 1), (3600, 1), (3601, 2), (-40 * HOUR_S, 6)])
def test_clocks_that_differ_widen_over_the_slots_they_may_be_off(skew_s: int, slots: int) -> None:
    plain, skewed = late(0), late(0, skew_s=skew_s)
    assert Flag.DEGRADED.value in skewed.flags
    for slot in range(24):
        near = slice(max(0, slot - slots), slot + slots + 1)
        assert skewed.quantile(0.1)[slot] == plain.quantile(0.1)[near].min()
        assert skewed.quantile(0.9)[slot] == plain.quantile(0.9)[near].max()
    np.testing.assert_array_equal(skewed.mean_g_per_kwh, plain.mean_g_per_kwh)
    assert late(0, skew_s=120).flags == ("clock-skew:120",)


def test_zeros_and_any_levels_are_widened_without_crossing() -> None:
    series = example_series(days=60)
    values = np.maximum(series.values_g_per_kwh - 290.0, 0.0)  # nears zero by steps, as a clean grid does
    assert (values == 0).sum() > 500
    known = replace(series, values_g_per_kwh=values).before(series.slots.end_s - 5 * HOUR_S)
    levels = (0.05, 0.2, 0.5, 0.6, 0.99)
    made = forecast_zones({"x": known}, at_s=series.slots.end_s, horizon=48, levels=levels)["x"]
    assert (np.diff(made.quantiles_g_per_kwh, axis=0) >= 0).all()
    assert (made.quantiles_g_per_kwh > 0).all()


# ---------------------------------------------------------------- neutral
def test_a_neutral_forecast_says_the_climate_and_that_nobody_knows() -> None:
    series = example_series(days=70)
    made = neutral_forecast(series, at_s=series.slots.end_s + 30 * HOUR_S, horizon=30)
    assert made.flags == ("neutral",)
    recent = series.values_g_per_kwh[-56 * 24 :].reshape(56, 24)
    hours = (30 + np.arange(30)) % 24
    np.testing.assert_allclose(made.mean_g_per_kwh, recent.mean(axis=0)[hours])
    np.testing.assert_allclose(made.quantiles_g_per_kwh[:, 7], np.quantile(recent, [0.1, 0.5, 0.9]))
    holes = replace(
        series, values_g_per_kwh=np.where(series.slots.starts_s() % 86_400, np.nan, 100.0), quality=None
    )
    assert neutral_forecast(holes, at_s=series.slots.end_s, horizon=4).mean_g_per_kwh.tolist() == [100.0] * 4
    with pytest.raises(TooLittleHistory, match="no intensity was ever known"):
        neutral_forecast(series.before(0), at_s=series.slots.end_s, horizon=4)


def test_a_live_forecast_changes_its_state_exactly_by_age(tmp_path: Path) -> None:
    clock = HandClock(START_S + 1)
    source = MoodySource(clock)
    with SignalStore(tmp_path / "s.db") as store:
        live = LastKnownGood(source, store, clock=clock)
        live.read("DE")
        source.fault = DOWN
        for minutes in range(10, 8 * 60, 10):
            clock.time_s = START_S + 60.0 * minutes + 1
            age_s = clock.time_s - START_S
            made = forecast_live(live, ["DE"], now_s=clock.now_s(), horizon_h=24)
            wanted = "fresh" if age_s <= 2 * HOUR_S else "degraded" if age_s <= 6 * HOUR_S else "neutral"
            assert str(made.staleness["DE"]) == wanted, minutes
            item = made.forecasts["DE"]
            assert ("degraded" in item.flags, "neutral" in item.flags) == (
                wanted == "degraded",
                wanted == "neutral",
            )
            assert item.slots.start_s == START_S + minutes // 60 * HOUR_S
            assert any(flag.startswith("stored:") for flag in item.flags)
            assert any(flag.startswith("stale:") for flag in item.flags)
            if wanted == "neutral":
                with pytest.raises(SignalGap, match="more than 6 h"):  # a plan is no score
                    forecast_zones({"DE": live.read("DE")}, at_s=START_S + 7 * HOUR_S, horizon=24)


def test_what_was_never_known_is_named_and_short_histories_are_neutral(tmp_path: Path) -> None:
    clock = HandClock(START_S + 1)
    source = MoodySource(clock, zones=("DE", "SE"))
    source.twist = lambda series: (
        series.before(series.slots.start_s + 20 * HOUR_S) if series.grid_zone == "SE" else series
    )
    with SignalStore(tmp_path / "s.db") as store:
        live = LastKnownGood(source, store, clock=clock)
        made = forecast_live(live, ["DE", "SE", "XX"], now_s=clock.now_s(), horizon_h=4)
        assert {zone: str(state) for zone, state in made.staleness.items()} == {
            "DE": "fresh",
            "SE": "neutral",
            "XX": "neutral",
        }
        assert list(made.forecasts) == ["DE", "SE"]
        assert "knows no grid zone 'XX'" in made.unknown["XX"]


# ---------------------------------------------------------------- scores
def forecasts(*neutral: str, degraded: tuple[str, ...] = ()) -> dict[str, Forecast]:
    made: dict[str, Forecast] = {}
    for number, zone in enumerate(ZONES):
        series = example_series(zone=zone, seed=number)
        series = replace(series, values_g_per_kwh=series.values_g_per_kwh * (1 + number))
        at_s = series.slots.end_s
        if zone in neutral:
            made[zone] = neutral_forecast(series, at_s=at_s, horizon=24)
        elif zone in degraded:
            made |= forecast_zones({zone: series.before(at_s - 5 * HOUR_S)}, at_s=at_s, horizon=24)
        else:
            made |= forecast_zones({zone: series}, at_s=at_s, horizon=24)
    return made


def test_a_neutral_zone_is_neither_better_nor_worse_than_the_others() -> None:
    made = forecasts("SE")
    start_s = made["DE"].slots.start_s
    met = met_by_region(FLEET, made, start_s, REQUEST.duration_s)
    others = [met["de"], met["fr"]]
    assert met["se"].neutral
    assert not met["de"].neutral
    assert met["se"].mid_g_per_kwh == pytest.approx(np.mean([item.mid_g_per_kwh for item in others]))
    assert met["se"].low_g_per_kwh == min(item.low_g_per_kwh for item in others)
    assert met["se"].high_g_per_kwh == max(item.high_g_per_kwh for item in others)
    cards = score_regions(REQUEST, FLEET, made, start_s=start_s)
    assert [card.candidate for card in cards] == ["de", "se", "fr"]
    assert {card.candidate: card.inputs[0].endswith("(neutral)") for card in cards} == {
        "de": False,
        "se": True,
        "fr": False,
    }


def test_where_all_are_neutral_all_score_the_same_and_say_so() -> None:
    made = forecasts(*ZONES)
    cards = score_regions(REQUEST, FLEET, made, start_s=made["DE"].slots.start_s)
    assert {(card.low_g, card.mid_g, card.high_g) for card in cards} == {(0.0, 0.0, 0.0)}
    assert all(card.inputs[0].endswith("(neutral)") for card in cards)


def test_a_degraded_zone_counts_with_its_wider_band() -> None:
    made, fresh = forecasts(degraded=("SE",)), forecasts()
    start_s = made["DE"].slots.start_s
    met = met_by_region(FLEET, made, start_s, REQUEST.duration_s)["se"]
    better = met_by_region(FLEET, fresh, start_s, REQUEST.duration_s)["se"]
    assert met.source.endswith("by ridge (degraded)")
    assert met.high_g_per_kwh - met.low_g_per_kwh > better.high_g_per_kwh - better.low_g_per_kwh
    assert not met.neutral


def test_states_are_words() -> None:
    assert [str(state) for state in Staleness] == ["fresh", "degraded", "neutral"]
