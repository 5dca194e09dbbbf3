"""Faults injected at random: a forecast with the right flags or one of our errors, never a made-up number."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aicsched.domain.carbon import CarbonSeries, IntensityKind, Quality
from aicsched.domain.flags import Flag
from aicsched.domain.tidy import series_from_rows
from aicsched.errors import AicschedError
from aicsched.forecast import forecast_zones
from aicsched.slots import HOUR_S, SlotGrid

START_S = 1_609_459_200  # 2021-01-01T00:00Z, a Friday
WEEK_S = 7 * 24 * HOUR_S
MODELS = ("auto", "ridge", "seasonal")
few = settings(max_examples=25, deadline=None)
many = settings(max_examples=150, deadline=None)
seeds = st.integers(0, 2**32 - 1)


def clean(seed: int, hours: int) -> np.ndarray:
    """Draw a grid between 150 and 650 g/kWh, where nothing falls out by itself."""
    rng = np.random.default_rng(seed)
    walk = np.tanh(np.cumsum(rng.normal(0, 0.03, hours)))
    return 330 * np.exp(0.3 * np.cos(2 * np.pi * np.arange(hours) / 24) + 0.3 * walk)


class Faults(NamedTuple):
    """What goes wrong, as counts or places."""

    absent: int
    empty: int
    absurd: int
    dropouts: int
    copies: int
    block: tuple[int, int]
    tail: int
    halves: bool
    estimated: int
    shuffled: bool


faults = st.builds(
    Faults,
    absent=st.integers(0, 60),
    empty=st.integers(0, 60),
    absurd=st.integers(0, 9),
    dropouts=st.integers(0, 4),
    copies=st.integers(0, 20),
    block=st.tuples(st.integers(0, 1000), st.one_of(st.just(0), st.integers(1, 200))),
    tail=st.integers(0, 9),
    halves=st.booleans(),
    estimated=st.integers(0, 50),
    shuffled=st.booleans(),
)


class Rows(NamedTuple):
    """Rows as a file would hold them, and what a reader must find in them."""

    time_s: np.ndarray
    values: np.ndarray
    quality: np.ndarray
    truth: np.ndarray  # per hour: what may be believed, else NaN
    said: np.ndarray  # per hour: its Quality


def spoilt(seed: int, hours: int, wrong: Faults) -> Rows:
    """Spoil a clean series, and keep book of what may still be believed."""
    rng = np.random.default_rng(seed)
    values = clean(seed, hours)
    said = np.zeros(hours, dtype=np.int8)
    places = rng.permutation(hours)
    cuts = np.cumsum([wrong.absent, wrong.empty, wrong.absurd, wrong.dropouts, wrong.estimated])
    absent, empty, absurd, dropped, estimated = np.split(places, cuts)[:5]
    said[estimated] = Quality.ESTIMATED
    values[empty] = np.nan
    values[absurd] = rng.choice([-1.0, 2501.0, 1e9, np.inf, -np.inf], len(absurd))
    values[dropped] = rng.choice([0.0, 0.01], len(dropped))
    gone = np.zeros(hours, dtype=bool)
    gone[absent] = True
    first, length = wrong.block
    gone[first % hours : first % hours + length] = True
    gone[hours - wrong.tail :] = wrong.tail > 0
    truth = np.where(gone, np.nan, values)
    truth[absurd] = np.nan
    said[absurd[~gone[absurd]]] = Quality.QUARANTINED
    kept = np.flatnonzero(~gone)
    time_s, rows, quality = START_S + HOUR_S * kept, values[kept], said[kept].copy()
    quality[quality == Quality.QUARANTINED] = Quality.ACTUAL
    if wrong.halves:
        # From the middle on the source tells each hour by its halves: the hour's mean stays the same.
        split = kept >= hours // 2
        time_s = np.concatenate([time_s, time_s[split] + HOUR_S // 2])
        rows, quality = np.concatenate([rows, rows[split]]), np.concatenate([quality, quality[split]])
    again = rng.integers(0, len(rows), wrong.copies) if len(rows) else np.empty(0, dtype=np.int64)
    time_s = np.concatenate([time_s, time_s[again]])
    rows, quality = np.concatenate([rows, rows[again]]), np.concatenate([quality, quality[again]])
    order = rng.permutation(len(rows)) if wrong.shuffled else np.argsort(time_s, kind="stable")
    return Rows(time_s[order], rows[order], quality[order], truth, said)


def read(rows: Rows) -> CarbonSeries:
    return series_from_rows(
        rows.time_s,
        rows.values,
        where="rows",
        zone="z",
        kind=IntensityKind.AVERAGE,
        source="s",
        quality=rows.quality,
    )


def counts(flags: tuple[str, ...]) -> dict[str, str]:
    parts = [flag.partition(":") for flag in flags]
    return {name: count for name, _, count in parts}


@many
@given(seed=seeds, days=st.integers(1, 60), wrong=faults, model=st.sampled_from(MODELS))
def test_a_spoilt_series_gives_an_honest_forecast_or_one_of_our_errors(
    seed: int, days: int, wrong: Faults, model: str
) -> None:
    hours = 24 * days
    if sum(wrong[:4]) + wrong.estimated > hours:
        return
    rows = spoilt(seed, hours, wrong)
    at_s = START_S + HOUR_S * hours
    try:
        series = read(rows)
        if series.slots.step_s != HOUR_S:
            return  # hardly an hour was left before the halves began: a half-hourly series, and right so
        made = forecast_zones({"z": series}, at_s=at_s, horizon=48, model=model)["z"]
    except AicschedError:
        return
    assert made.slots == SlotGrid(at_s, HOUR_S, 48)
    for values in (made.mean_g_per_kwh, made.quantiles_g_per_kwh):
        assert np.isfinite(values).all()
        assert (values > 0).all()
    told = counts(made.flags)
    assert set(told) <= set(Flag)
    known = np.flatnonzero(np.isfinite(rows.truth))
    end = int(known[-1]) + 1
    assert int(told.get(Flag.LATE, 0)) == hours - end
    first = int(rows.time_s.min() - START_S) // HOUR_S
    cut = first + int(told.get(Flag.HISTORY_CUT, 0))
    used = rows.truth[cut:end]
    unbelieved = np.isnan(used) | (used < 1.0)
    assert int(told.get(Flag.GAPS_FILLED, 0)) == unbelieved.sum()
    assert int(told.get(Flag.DROPOUTS, 0)) == (used < 1.0).sum()
    for flag, code in ((Flag.QUARANTINED, Quality.QUARANTINED), (Flag.ESTIMATED, Quality.ESTIMATED)):
        said = rows.said[cut:end] == code
        if code == Quality.ESTIMATED:
            said &= np.isfinite(used)
        assert int(told.get(flag, 0)) == said.sum(), flag
    assert (Flag.DUPLICATES in told) == (wrong.copies > 0)


@few
@given(
    seed=seeds,
    days=st.integers(2, 30),
    copies=st.integers(0, 50),
    model=st.sampled_from(("auto", "seasonal")),
)
def test_order_and_equal_duplicates_change_no_number(seed: int, days: int, copies: int, model: str) -> None:
    nothing = Faults(0, 0, 0, 0, 0, (0, 0), 0, halves=False, estimated=0, shuffled=False)
    plain = spoilt(seed, 24 * days, nothing)
    mixed = spoilt(seed, 24 * days, nothing._replace(copies=copies, shuffled=True))
    at_s = START_S + days * 24 * HOUR_S
    one, two = (
        forecast_zones({"z": read(rows)}, at_s=at_s, horizon=48, model=model)["z"] for rows in (plain, mixed)
    )
    assert one.mean_g_per_kwh.tobytes() == two.mean_g_per_kwh.tobytes()
    assert one.quantiles_g_per_kwh.tobytes() == two.quantiles_g_per_kwh.tobytes()
    told = counts(two.flags)
    assert set(counts(one.flags)) | {Flag.SORTED, Flag.DUPLICATES} >= set(told)
    assert int(told.get(Flag.DUPLICATES, 0)) == copies


@pytest.mark.parametrize("model", MODELS)
@few
@given(seed=seeds, days=st.integers(22, 60), weeks=st.integers(-500, 500), gaps=st.integers(0, 20))
def test_whole_weeks_shift_a_forecast_and_change_nothing_else(
    model: str, seed: int, days: int, weeks: int, gaps: int
) -> None:
    """Below 120 days no model knows the season, so that only the weekday and the hour may matter."""
    rows = spoilt(
        seed, 24 * days, Faults(gaps, 0, 0, 0, 0, (0, 0), 0, halves=False, estimated=0, shuffled=False)
    )
    one = read(rows)
    two = read(rows._replace(time_s=rows.time_s + weeks * WEEK_S))
    made = []
    for series in (one, two):
        try:
            made.append(forecast_zones({"z": series}, at_s=series.slots.end_s, horizon=48, model=model)["z"])
        except AicschedError as error:
            made.append(error.code)
    if isinstance(made[0], str):
        assert made[0] == made[1]
        return
    assert made[0].mean_g_per_kwh.tobytes() == made[1].mean_g_per_kwh.tobytes()
    assert made[0].quantiles_g_per_kwh.tobytes() == made[1].quantiles_g_per_kwh.tobytes()
    assert made[0].flags == made[1].flags
    assert made[1].slots.start_s - made[0].slots.start_s == weeks * WEEK_S


@few
@given(seed=seeds, lag_h=st.integers(0, 30), wrong=faults, at=st.integers(10 * 24, 30 * 24))
def test_nothing_that_comes_later_changes_a_forecast(seed: int, lag_h: int, wrong: Faults, at: int) -> None:
    """Neither values nor their quality, wherever the issue time lies and whatever the lag is."""
    rows = spoilt(seed, 30 * 24, wrong._replace(halves=False, block=(0, 0)))
    try:
        series = replace(read(rows), availability_lag_s=lag_h * HOUR_S)
    except AicschedError:
        return
    at_s = START_S + at * HOUR_S
    later = series.slots.starts_s() + HOUR_S > at_s - lag_h * HOUR_S
    other = replace(
        series,
        values_g_per_kwh=np.where(later, 77.0, series.values_g_per_kwh),
        quality=np.where(later, Quality.STALE, np.asarray(series.quality)).astype(np.int8),
    )
    made = []
    for item in (series, other):
        try:
            made.append(forecast_zones({"z": item}, at_s=at_s, horizon=30)["z"])
        except AicschedError as error:
            made.append(str(error))
    if isinstance(made[0], str):
        assert made[0] == made[1]
        return
    assert made[0].mean_g_per_kwh.tobytes() == made[1].mean_g_per_kwh.tobytes()
    assert made[0].quantiles_g_per_kwh.tobytes() == made[1].quantiles_g_per_kwh.tobytes()
    assert made[0].flags == made[1].flags
