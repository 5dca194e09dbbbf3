"""From an API's points to slots: means against brute force, and what can't be true."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from aicsched.domain.carbon import CarbonSeries, IntensityKind, Quality
from aicsched.errors import SignalGap, SignalInvalid, SlotError
from aicsched.signals.slotting import Points, chunks, grid_of, joined, slotted
from aicsched.slots import SlotGrid

LATER = 10**9


def points(start_s: Any, values: Any, *, quality: Any = 0, read_s: Any = 0, lasts_s: int = 300) -> Points:
    start = np.array(start_s, dtype=np.int64)
    return Points(
        start_s=start,
        values_g_per_kwh=np.array(values, dtype=np.float64),
        quality=np.broadcast_to(np.array(quality, dtype=np.int8), start.shape),
        read_s=np.broadcast_to(np.array(read_s, dtype=np.int64), start.shape),
        lasts_s=lasts_s,
    )


def laid(made: Points, window: SlotGrid, now_s: float = LATER) -> CarbonSeries:
    return slotted(made, window, zone="Z", kind=IntensityKind.MARGINAL, source="test", now_s=now_s)


@pytest.mark.parametrize("seed", range(20))
def test_means_are_those_of_brute_force(seed: int) -> None:
    rng = np.random.default_rng(seed)
    lasts_s, parts = int(rng.choice([300, 900, 1800])), int(rng.choice([1, 2, 3, 4]))
    window = SlotGrid(int(rng.integers(0, 5)) * lasts_s, lasts_s * parts, int(rng.integers(1, 9)))
    starts = rng.permutation(np.arange(-3, 50))[: rng.integers(30, 53)] * lasts_s
    values = rng.uniform(100, 200, len(starts))
    values[rng.random(len(starts)) < 0.2] = np.nan
    quality = rng.integers(0, 3, len(starts))
    reads = rng.integers(0, 1000, len(starts))
    found = laid(points(starts, values, quality=quality, read_s=reads, lasts_s=lasts_s), window)
    for slot, start_s in enumerate(window.starts_s().tolist()):
        inside = [
            (v, q, r)
            for s, v, q, r in zip(starts, values, quality, reads, strict=True)
            if start_s <= s < start_s + window.step_s and np.isfinite(v)
        ]
        if 2 * len(inside) < parts:
            assert np.isnan(found.values_g_per_kwh[slot])
            assert found.quality[slot] == Quality.MISSING
            continue
        assert found.values_g_per_kwh[slot] == pytest.approx(np.mean([v for v, _, _ in inside]))
        worst = max(q for _, q, _ in inside)
        assert found.quality[slot] == (worst if len(inside) == parts else max(worst, Quality.ESTIMATED))
        known_since = found.readings.read_s[found.readings.start_s == start_s]
        assert known_since.tolist() == [max(r for _, _, r in inside)]
    assert (np.diff(found.readings.read_s) >= 0).all()


def test_one_point_a_slot_is_exact_and_all_its_readings_are_kept() -> None:
    made = points([0, 3600, 3600], [0.1, 300.1, 310.7], read_s=[50, 60, 70], quality=[0, 1, 0], lasts_s=3600)
    series = laid(made, SlotGrid(0, 3600, 2))
    assert series.values_g_per_kwh.tolist() == [0.1, 310.7]
    assert series.readings.values_g_per_kwh.tolist() == [0.1, 300.1, 310.7]
    assert series.known_at(7200).values_g_per_kwh.tolist() == [0.1, 310.7]


def test_a_newer_reading_without_a_value_takes_none_away() -> None:
    made = points([0, 0], [300.0, np.nan], read_s=[1, 2], lasts_s=3600)
    assert laid(made, SlotGrid(0, 3600, 1)).values_g_per_kwh.tolist() == [300.0]


def test_two_values_of_one_reading_are_refused_and_equal_ones_are_one() -> None:
    with pytest.raises(SignalInvalid, match="two different values for 1970-01-01T00:00Z"):
        laid(points([0, 0], [300.0, 301.0]), SlotGrid(0, 300, 1))
    assert laid(points([0, 0], [300.0, 300.0]), SlotGrid(0, 300, 1)).values_g_per_kwh.tolist() == [300.0]


def test_actuals_of_the_future_are_quarantined_and_unfinished_ones_are_estimates() -> None:
    now_s = 2 * 3600 + 1800
    made = points(np.arange(5) * 3600, [100.0] * 5, quality=[0, 0, 0, 1, 0], lasts_s=3600, read_s=LATER)
    series = laid(made, SlotGrid(0, 3600, 5), now_s)
    said = [Quality.ACTUAL, Quality.ACTUAL, Quality.ESTIMATED, Quality.FORECAST, Quality.QUARANTINED]
    assert series.quality.tolist() == said
    assert np.isnan(series.values_g_per_kwh[4])
    assert series.readings.read_s.max() == now_s  # nobody can have read it later


def test_a_few_impossible_values_are_quarantined_and_many_are_refused() -> None:
    values = np.full(48, 300.0)
    values[[3, 9]] = -5, 3000
    series = laid(points(np.arange(48) * 300, values), SlotGrid(0, 300, 48))
    assert series.quality[[3, 9]].tolist() == [Quality.QUARANTINED] * 2
    with pytest.raises(SignalInvalid, match=r"another unit|can't be true"):
        laid(points(np.arange(48) * 300, values * 100), SlotGrid(0, 300, 48))


@pytest.mark.parametrize(
    ("window", "words"),
    [(SlotGrid(0, 1800, 2), "values of 3600 s"), (SlotGrid(1800, 3600, 2), "don't fit")],
)
def test_slots_that_cut_points_are_refused(window: SlotGrid, words: str) -> None:
    with pytest.raises(SlotError, match=words):
        laid(points([0, 3600], [1.0, 2.0], lasts_s=3600), window)


def test_a_point_off_its_grid_is_refused() -> None:
    with pytest.raises(SignalInvalid, match="00:01Z is off its grid of 300 s"):
        laid(points([0, 60], [1.0, 2.0]), SlotGrid(0, 300, 2))


def test_a_window_without_any_value_is_a_gap() -> None:
    with pytest.raises(SignalGap, match="no value from 1970-01-01T01:00Z"):
        laid(points([0], [300.0]), SlotGrid(3600, 3600, 2))
    assert len(laid(points([0], [300.0]), SlotGrid(3600, 3600, 0)).slots) == 0


def test_steps_that_change_between_answers_are_refused() -> None:
    hourly = points([0], [1.0], lasts_s=3600)
    with pytest.raises(SignalInvalid, match="300 s, 3600 s"):
        joined([points([0], [1.0]), hourly])
    with pytest.raises(SignalInvalid, match="followed by"):
        points([0], [1.0]).and_after(hourly)
    assert points([0], [np.nan]).and_after(hourly) is hourly


def test_the_grid_of_points_leaves_out_strays() -> None:
    made = points([-7200, 3600, 5400, 10**8], [1.0, 2.0, np.nan, 3.0], lasts_s=1800)
    assert grid_of(made, 3600, near_s=4000, within_s=86_400) == SlotGrid(-7200, 3600, 4)
    assert grid_of(made, 3600, near_s=-(10**7), within_s=10) == SlotGrid(-10_000_800, 3600, 0)


def test_parts_of_a_time_cover_it_once() -> None:
    for most_s in (1, 7, 25, 100):
        parts = list(chunks(3, 28, most_s))
        assert [s for first, end in parts for s in range(first, end)] == list(range(3, 28))
        assert max(end - first for first, end in parts) <= most_s
    assert list(chunks(5, 5, 3)) == []
