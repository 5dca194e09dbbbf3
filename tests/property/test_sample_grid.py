"""The synthetic grids obey physics, and each has the character it was made for."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aicsched.data import load_table
from aicsched.domain.carbon import IntensityKind
from aicsched.errors import SlotError, UnknownZone
from aicsched.fleet.sample_jobs import SAMPLE_NOW_S as JOBS_NOW_S
from aicsched.signals.carbon.grid_model import FUELS, simulate_grid
from aicsched.signals.carbon.sample import SAMPLE_NOW_S, SAMPLE_START_S, SampleCarbon
from aicsched.slots import HOUR_S, SlotGrid

ZONES = SampleCarbon().zones()
FACTORS = {row["fuel"]: float(row["life_cycle_g_per_kwh"]) for row in load_table("emission_factors")}
CAPACITY = {row["grid_zone"]: row for row in load_table("sample_zones")}
weather = given(zone=st.sampled_from(ZONES), seed=st.integers(0, 2**32))
quick = settings(max_examples=30, deadline=None)


def _daily(zone: str) -> np.ndarray:
    return SampleCarbon().read(zone).values_g_per_kwh.reshape(-1, 24)


def _hour_profile(zone: str) -> np.ndarray:
    """Mean intensity by local hour."""
    shift = round(float(CAPACITY[zone]["longitude_deg"]) / 15)
    return np.roll(_daily(zone).mean(axis=0), shift)


@quick
@weather
def test_generation_meets_demand_and_is_never_negative(zone: str, seed: int) -> None:
    grid = simulate_grid(zone, start_s=SAMPLE_START_S, hours=24 * 20, seed=seed)
    total = np.sum([grid.generation_mw[fuel] for fuel in FUELS], axis=0)
    np.testing.assert_allclose(total, grid.demand_mw, rtol=1e-9)
    assert min(grid.generation_mw[fuel].min() for fuel in FUELS) >= 0


@quick
@weather
def test_no_plant_runs_above_its_capacity(zone: str, seed: int) -> None:
    grid = simulate_grid(zone, start_s=SAMPLE_START_S, hours=24 * 20, seed=seed)
    for fuel in FUELS:
        limit = float(CAPACITY[zone][f"{fuel}_mw"])
        assert grid.generation_mw[fuel].max() <= limit * (1 + 1e-9), fuel


def test_what_no_plant_can_meet_is_shed() -> None:
    grid = simulate_grid("syn-central", start_s=SAMPLE_START_S, hours=24 * 20, seed=717)
    gas = grid.generation_mw["gas"]
    assert gas.max() == pytest.approx(float(CAPACITY["syn-central"]["gas_mw"]), rel=1e-9)


@quick
@weather
def test_intensities_lie_within_the_factors(zone: str, seed: int) -> None:
    grid = simulate_grid(zone, start_s=SAMPLE_START_S, hours=24 * 20, seed=seed)
    low, high = min(FACTORS.values()) - 0.01, max(FACTORS.values()) + 0.01
    for values in (grid.average_g_per_kwh, grid.marginal_g_per_kwh):
        assert low <= values.min()
        assert values.max() <= high


@quick
@weather
def test_average_intensity_is_the_mix_times_the_factors(zone: str, seed: int) -> None:
    grid = simulate_grid(zone, start_s=SAMPLE_START_S, hours=24 * 5, seed=seed)
    emitted = np.sum([grid.generation_mw[fuel] * FACTORS[fuel] for fuel in FUELS], axis=0)
    np.testing.assert_allclose(grid.average_g_per_kwh, emitted / grid.demand_mw, atol=0.0051)


@pytest.mark.parametrize("zone", ZONES)
def test_the_sun_sets(zone: str) -> None:
    solar = SampleCarbon().mix_mw(zone)["solar"].reshape(-1, 24)
    noon = int(12 - float(CAPACITY[zone]["longitude_deg"]) / 15) % 24
    assert (solar[:, (noon + 12) % 24] == 0).all()
    if float(CAPACITY[zone]["solar_mw"]) > 0:
        assert (solar[:, noon] > 0).mean() > 0.9  # turned down where nothing can use it


def test_days_are_as_long_as_by_the_almanac() -> None:
    """At 52 degrees north: 16.7 hours of sun on 20 June, 7.7 on 20 December."""
    for start_s, expected_h in ((1_781_913_600, 16.7), (1_797_724_800, 7.7)):
        solar = simulate_grid("syn-coal", start_s=start_s, hours=24, seed=1).generation_mw["solar"]
        assert int((solar > 0).sum()) == pytest.approx(expected_h, abs=1.0)


@quick
@weather
def test_lakes_spend_no_more_than_their_water(zone: str, seed: int) -> None:
    grid = simulate_grid(zone, start_s=SAMPLE_START_S, hours=24 * 21, seed=seed)
    weekly = grid.generation_mw["hydro"].reshape(3, -1).mean(axis=1)
    assert weekly.max() <= 0.48 * float(CAPACITY[zone]["hydro_mw"]) * 1.001


def test_same_seed_same_bytes_other_seed_other_weather() -> None:
    first, again, other = (simulate_grid("syn-texas", start_s=0, hours=240, seed=seed) for seed in (1, 1, 2))
    assert first.average_g_per_kwh.tobytes() == again.average_g_per_kwh.tobytes()
    assert not np.array_equal(first.average_g_per_kwh, other.average_g_per_kwh)


def test_values_are_rounded_so_that_machines_agree() -> None:
    values = SampleCarbon().read("syn-central").values_g_per_kwh
    np.testing.assert_allclose(values * 100, np.round(values * 100), atol=1e-7)
    assert len(hashlib.sha256(values.tobytes()).hexdigest()) == 64


def test_characters() -> None:
    mean = {zone: _daily(zone).mean() for zone in ZONES}
    assert mean["syn-nordic"] < 120
    assert mean["syn-alpine"] < 120
    assert mean["syn-coal"] > 500
    assert max(mean, key=lambda zone: mean[zone]) == "syn-coal"


def test_a_solar_zone_has_a_valley_at_noon() -> None:
    profile = _hour_profile("syn-pacific")
    assert 10 <= int(profile.argmin()) <= 15
    assert profile.min() < 0.6 * profile[[19, 20, 21]].mean()


def test_a_wind_zone_swings_over_days() -> None:
    days = _daily("syn-isles").mean(axis=1)
    assert days.std() / days.mean() > 0.2
    assert np.corrcoef(days[:-1], days[1:])[0, 1] > 0.3


def test_marginal_is_not_average() -> None:
    for zone in ZONES:
        marginal = SampleCarbon(kind=IntensityKind.MARGINAL).read(zone)
        assert marginal.kind is IntensityKind.MARGINAL
        assert marginal.values_g_per_kwh.mean() > SampleCarbon().read(zone).values_g_per_kwh.mean()


def test_enough_zones_past_and_future() -> None:
    sample = SampleCarbon()
    assert len(ZONES) >= 8
    series = sample.read(ZONES[0])
    assert series.synthetic
    assert series.missing == 0
    assert (SAMPLE_NOW_S - series.slots.start_s) / 86_400 >= 60
    assert (series.slots.end_s - SAMPLE_NOW_S) / 86_400 >= 7
    assert sample.now_s == SAMPLE_NOW_S == JOBS_NOW_S
    assert series.slots.start_s == SAMPLE_START_S
    assert series.source.startswith("sample:v1:")


def test_window_and_refusals() -> None:
    window = SlotGrid(SAMPLE_NOW_S, HOUR_S, 24)
    cut = SampleCarbon().read("syn-coal", window)
    assert cut.slots == window
    with pytest.raises(SlotError):
        SampleCarbon().read("syn-coal", SlotGrid(0, HOUR_S, 24))
    with pytest.raises(UnknownZone, match=r"did you mean syn-coal, .* or "):
        SampleCarbon().read("syn-cole")
    with pytest.raises(UnknownZone):
        SampleCarbon().mix_mw("DE")
