"""Generation by fuel to intensity: each rule by hand, and all of them beside a plain loop."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aicsched.domain.carbon import CarbonSeries, EmissionScope, Quality
from aicsched.errors import ConfigError, SignalGap, SignalInvalid, SlotError
from aicsched.footprint.intensity import emission_factors
from aicsched.signals.generation import STORAGE, GenerationRows, factors_of, lay_generation
from aicsched.slots import HOUR_S, SlotGrid

FUEL_OF = {"GAS": "gas", "WIND": "wind", "SUN": "solar", "WATER": "hydro", "BAT": STORAGE, "OIL": "oil"}
GAS, WIND, HYDRO = (emission_factors()[fuel] for fuel in ("gas", "wind", "hydro"))
LATER_S = 10**9
NAN = float("nan")


def _rows(told: dict[str, list[float]], step_s: int = HOUR_S, start_s: int = 0) -> GenerationRows:
    cells = [
        (code, start_s + step_s * at, value) for code, row in told.items() for at, value in enumerate(row)
    ]
    return GenerationRows(
        code=np.array([code for code, _, _ in cells], dtype=np.str_),
        start_s=np.array([start for _, start, _ in cells], dtype=np.int64),
        lasts_s=np.full(len(cells), step_s, dtype=np.int64),
        power_mw=np.array([value for _, _, value in cells]),
    )


def _joined(*parts: GenerationRows) -> GenerationRows:
    return GenerationRows(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _read(
    rows: GenerationRows,
    count: int,
    *,
    step_s: int = HOUR_S,
    now_s: float = LATER_S,
    part: SlotGrid | None = None,
) -> CarbonSeries:
    slots = SlotGrid(0, step_s, count)
    made = lay_generation(rows, slots, fuel_of=FUEL_OF, where="a test")
    return made.intensity(
        part or slots,
        factors_g_per_kwh=emission_factors(),
        zone="Z",
        source="test",
        now_s=now_s,
    )


def _qualities(series: CarbonSeries) -> list[Quality]:
    return [Quality(each) for each in np.asarray(series.quality)]


def test_the_intensity_is_that_of_the_mix() -> None:
    series = _read(_rows({"GAS": [60.0, 0.0], "WIND": [40.0, 10.0]}), 2)
    assert series.values_g_per_kwh.tolist() == [pytest.approx(0.6 * GAS + 0.4 * WIND), pytest.approx(WIND)]
    assert _qualities(series) == [Quality.ACTUAL] * 2
    assert series.flags == ()


@pytest.mark.parametrize("battery", [-500.0, 0.0, 500.0])
def test_storage_is_no_source_whether_it_charges_or_gives_back(battery: float) -> None:
    series = _read(_rows({"GAS": [60.0], "WIND": [40.0], "BAT": [battery]}), 1)
    assert series.values_g_per_kwh[0] == pytest.approx(0.6 * GAS + 0.4 * WIND)
    assert _qualities(series) == [Quality.ACTUAL]


def test_a_solar_park_by_night_counts_as_no_generation() -> None:
    series = _read(_rows({"GAS": [100.0, 100.0], "SUN": [-2.0, 50.0]}), 2)
    assert series.values_g_per_kwh[0] == GAS
    assert _qualities(series) == [Quality.ACTUAL] * 2


def test_a_large_negative_is_a_broken_meter_and_no_value() -> None:
    series = _read(_rows({"GAS": [100.0, 100.0], "WIND": [-60.0, 60.0]}), 2)
    assert np.isnan(series.values_g_per_kwh).tolist() == [True, False]
    assert _qualities(series) == [Quality.QUARANTINED, Quality.ACTUAL]


def test_hydropower_may_pump() -> None:
    series = _read(_rows({"GAS": [100.0], "WATER": [-60.0]}), 1)
    assert series.values_g_per_kwh.tolist() == [GAS]


def test_a_power_that_no_grid_has_is_taken_out() -> None:
    series = _read(_rows({"GAS": [100.0, 3e6], "WIND": [10.0, 10.0]}), 2)
    assert _qualities(series) == [Quality.ACTUAL, Quality.QUARANTINED]


def test_what_is_said_to_have_been_generated_later_than_now_is_taken_out() -> None:
    series = _read(_rows({"GAS": [100.0, 100.0, 100.0]}), 4, now_s=2 * HOUR_S)
    assert _qualities(series) == [Quality.ACTUAL] * 2 + [Quality.QUARANTINED, Quality.MISSING]


@pytest.mark.parametrize("how", ["null", "no row"])
def test_an_hour_without_a_large_fuel_has_no_value_and_says_so(how: str) -> None:
    told = {"GAS": [100.0, NAN, 100.0], "WIND": [100.0, 100.0, 100.0]}
    rows = _rows(told)
    if how == "no row":
        rows = GenerationRows(*(column[~np.isnan(rows.power_mw)] for column in rows))
    series = _read(rows, 3)
    assert np.isnan(series.values_g_per_kwh).tolist() == [False, True, False]
    assert _qualities(series)[1] == Quality.MISSING
    assert series.flags == ("fuel-missing:1",)


def test_an_hour_without_a_small_fuel_is_estimated() -> None:
    series = _read(_rows({"GAS": [1000.0, 1000.0], "OIL": [9.0, NAN]}), 2)
    assert _qualities(series) == [Quality.ACTUAL, Quality.ESTIMATED]
    assert series.values_g_per_kwh[1] == GAS


def test_what_lies_around_a_window_tells_which_fuels_there_are() -> None:
    rows = _rows({"GAS": [100.0, 100.0, NAN], "WIND": [100.0, 100.0, 100.0]})
    rows = GenerationRows(*(column[~np.isnan(rows.power_mw)] for column in rows))
    alone = GenerationRows(*(column[rows.start_s == 2 * HOUR_S] for column in rows))
    last = SlotGrid(2 * HOUR_S, HOUR_S, 1)
    with pytest.raises(SignalGap, match="fuel-missing:1"):
        _read(rows, 3, part=last)
    # Alone, the hour would look like wind only: why sources ask for two days before a window.
    assert _read(alone, 3, part=last).values_g_per_kwh.tolist() == [WIND]


def test_a_fuel_that_never_told_anything_is_missing_everywhere() -> None:
    with pytest.raises(SignalGap, match="fuel-missing:2"):
        _read(_rows({"GAS": [NAN, NAN], "WIND": [100.0, 100.0]}), 2)


def test_an_unknown_code_counts_as_other_and_is_named() -> None:
    series = _read(_rows({"XYZ": [100.0]}), 1)
    assert series.values_g_per_kwh.tolist() == [emission_factors()["other"]]
    assert series.flags == ("fuel-unknown:XYZ",)


def test_quarter_hours_and_hours_meet_in_an_hour() -> None:
    rows = _joined(_rows({"GAS": [0.0, 40.0, 80.0, 120.0]}, 900), _rows({"WIND": [60.0]}))
    series = _read(rows, 1)
    assert series.values_g_per_kwh[0] == pytest.approx(0.5 * GAS + 0.5 * WIND)
    assert _qualities(series) == [Quality.ACTUAL]


@pytest.mark.parametrize(
    ("known", "expected"), [(3, Quality.ESTIMATED), (2, Quality.ESTIMATED), (1, Quality.MISSING)]
)
def test_an_hour_known_in_part(known: int, expected: Quality) -> None:
    rows = _joined(
        _rows({"GAS": [100.0] * known}, 900),
        _rows({"GAS": [100.0] * 4}, 900, start_s=HOUR_S),
        _rows({"WIND": [100.0, 100.0]}),
    )
    series = _read(rows, 2)
    assert _qualities(series) == [expected, Quality.ACTUAL]


def test_slots_shorter_than_what_is_reported_are_refused() -> None:
    with pytest.raises(SlotError, match="multiple of 3600 s"):
        _read(_rows({"GAS": [100.0]}), 2, step_s=1800)


def test_slots_across_the_hours_are_refused() -> None:
    rows = _rows({"GAS": [100.0, 100.0]}, start_s=1800)
    with pytest.raises(SlotError):
        _read(rows, 2)


def test_equal_rows_count_once_and_others_are_refused() -> None:
    rows = _rows({"GAS": [100.0], "WIND": [100.0]})
    twice = _joined(rows, rows)
    assert _read(twice, 1).values_g_per_kwh.tolist() == _read(rows, 1).values_g_per_kwh.tolist()
    assert _read(_joined(rows, _rows({"GAS": [NAN]})), 1).missing == 0
    with pytest.raises(SignalInvalid, match="two different values of GAS for 1970-01-01T00:00Z"):
        _read(_joined(rows, _rows({"GAS": [101.0]})), 1)
    with pytest.raises(SignalInvalid, match="overlap"):
        _read(_joined(_rows({"GAS": [100.0]}), _rows({"GAS": [100.0]}, 900, start_s=900)), 1)


def test_an_infinite_power_is_refused() -> None:
    with pytest.raises(SignalInvalid, match="GAS is infinite"):
        _read(_rows({"GAS": [float("inf")]}), 1)


def test_fuels_that_are_all_the_same_all_the_time_are_not_believed() -> None:
    with pytest.raises(SignalInvalid, match="the same power"):
        _read(_rows({"GAS": [412.0] * 24, "WIND": [412.0] * 24}), 24)
    assert _read(_rows({"GAS": [412.0] * 48}), 48).missing == 0
    assert _read(_rows({"GAS": [412.0] * 24, "WIND": [412.0] * 23 + [411.0]}), 24).missing == 0


@pytest.mark.parametrize("told", [{}, {"BAT": [5.0]}, {"GAS": [0.0]}, {"GAS": [-1.0]}, {"GAS": [NAN]}])
def test_without_generation_there_is_no_intensity(told: dict[str, list[float]]) -> None:
    with pytest.raises(SignalGap, match="no value from 1970-01-01T00:00Z"):
        _read(_rows(told), 1)


def test_the_mix_sums_codes_of_one_fuel_and_leaves_storage_out() -> None:
    slots = SlotGrid(0, HOUR_S, 2)
    rows = _rows({"A": [10.0, 20.0], "B": [5.0, NAN], "BAT": [9.0, 9.0], "GAS": [1.0, -1.0]})
    made = lay_generation(
        rows, slots, fuel_of={"A": "solar", "B": "solar", "BAT": STORAGE, "GAS": "gas"}, where="a test"
    )
    mix = made.mix("test")
    assert mix.sources == ("solar", "gas")
    np.testing.assert_array_equal(mix.generation_mw, [[15.0, NAN], [1.0, 0.0]])
    with pytest.raises(SignalInvalid, match="no generation was reported"):
        lay_generation(_rows({"BAT": [9.0]}), slots, fuel_of=FUEL_OF, where="a test").mix("test")


def test_what_was_read_is_known_since_then() -> None:
    series = _read(_rows({"GAS": [100.0, NAN, 100.0]}), 3, now_s=4 * HOUR_S)
    assert len(series.known_at(4 * HOUR_S - 1).slots) == 0
    assert series.known_at(4 * HOUR_S).missing == 1


def test_own_factors_take_the_places_of_the_packaged_ones() -> None:
    assert factors_of(EmissionScope.DIRECT, {"oil": 406.0})["oil"] == 406.0
    assert factors_of("direct", None) == emission_factors(EmissionScope.DIRECT)
    with pytest.raises(ConfigError, match="did you mean"):
        factors_of("lifecycle", {"cole": 820.0})
    with pytest.raises(ConfigError, match="no scope"):
        factors_of("whole", None)
    for value in (-1.0, float("inf"), NAN):
        with pytest.raises(ConfigError, match="can't be"):
            factors_of("lifecycle", {"coal": value})


POWERS = st.one_of(st.just(NAN), st.floats(-300, 1000).map(lambda value: round(value, 1)))


@settings(max_examples=200, deadline=None)
@given(
    table=st.dictionaries(
        st.sampled_from(sorted(FUEL_OF)), st.lists(POWERS, min_size=3, max_size=3), min_size=1, max_size=5
    ),
    now_h=st.integers(0, 4),
)
def test_beside_a_plain_loop(table: dict[str, list[float]], now_h: int) -> None:
    try:
        series = _read(_rows(table), 3, now_s=now_h * HOUR_S)
    except SignalGap:
        assert all(_plainly(table, slot, now_h)[1] == Quality.MISSING for slot in range(3))
        return
    for slot in range(3):
        expected = _plainly(table, slot, now_h)
        value, quality = series.values_g_per_kwh[slot], Quality(int(series.quality[slot]))
        assert quality == expected[1]
        if np.isnan(expected[0]):
            assert np.isnan(value)
        else:
            assert value == pytest.approx(expected[0], rel=1e-9)


def _plainly(table: dict[str, list[float]], slot: int, now_h: int) -> tuple[float, Quality]:
    codes = [code for code in table if FUEL_OF[code] != STORAGE]
    told = {code: table[code][slot] for code in codes if not np.isnan(table[code][slot])}
    total = sum(max(power, 0.0) for power in told.values())
    totals = [
        sum(max(table[each][hour], 0.0) for each in codes if table[each][hour] > 0) for hour in range(3)
    ]
    usual = float(np.median([each for each in totals if each > 0])) if any(totals) else 0.0
    broken = slot >= now_h or any(
        power < -max(0.05 * usual, 1.0) and code != "WATER" for code, power in told.items()
    )
    if broken:
        return NAN, Quality.QUARANTINED if told else Quality.MISSING
    estimated = False
    for code in set(codes) - set(told):
        known = [hour for hour in range(3) if not np.isnan(table[code][hour])]
        shares = []
        for hour in known:
            everything = sum(max(table[each][hour], 0.0) for each in codes if not np.isnan(table[each][hour]))
            shares.append(max(table[code][hour], 0.0) / everything if everything else 0.0)
        if not known or max(shares) >= 0.01:
            return NAN, Quality.MISSING
        estimated = True
    if total <= 0:
        return NAN, Quality.MISSING
    emitted = sum(max(power, 0.0) * emission_factors()[FUEL_OF[code]] for code, power in told.items())
    return emitted / total, Quality.ESTIMATED if estimated else Quality.ACTUAL
