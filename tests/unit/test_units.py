"""Conversions against published values, and refusals."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aicsched.errors import UnitError
from aicsched.units import (
    INTENSITY_UNITS,
    SUFFIXES,
    format_mass,
    intensity_factor,
    kwh_from_watts,
    parse_duration_s,
    parse_quantity,
)


@pytest.mark.parametrize(
    ("unit", "factor"),
    [
        ("gCO2eq/kWh", 1.0),
        ("g CO2e / kWh", 1.0),
        ("g_per_kwh", 1.0),
        ("[gCO2/kWh]", 1.0),
        ("kg/MWh", 1.0),
        ("kg_per_mwh", 1.0),
        ("t/GWh", 1.0),
        ("kgCO2/kWh", 1000.0),
        ("tCO2/MWh", 1000.0),
        ("lbs/MWh", 0.45359237),
        ("lb_per_mwh", 0.45359237),
        ("g/MJ", 3.6),
    ],
)
def test_intensity_units(unit: str, factor: float) -> None:
    assert intensity_factor(unit) == pytest.approx(factor, rel=1e-12)


@pytest.mark.parametrize("unit", ["", "kWh", "g/m2", "EUR/MWh"])
def test_other_units_are_refused_with_the_known_ones(unit: str) -> None:
    with pytest.raises(UnitError, match="g/kwh") as caught:
        intensity_factor(unit)
    assert caught.value.value == unit


def test_the_published_us_average_converts() -> None:
    # EPA eGRID 2022: 823.1 lb/MWh is 373.4 kg/MWh (US annual average output rate).
    assert 823.1 * intensity_factor("lb/MWh") == pytest.approx(373.4, abs=0.1)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0.0),
        ("250m", 0.25),
        ("1.5", 1.5),
        ("2k", 2000.0),
        ("512Mi", 512 * 2**20),
        ("1Gi", 2**30),
        ("1e3", 1000.0),
        ("5E", 5e18),
        ("100n", 1e-7),
        ("+3", 3.0),
        (".5", 0.5),
    ],
)
def test_quantities(text: str, value: float) -> None:
    assert parse_quantity(text) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("text", ["", "m", "1 Gi", "1gi", "0x10", "1e", "nan", "--1", "1e999"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(UnitError):
        parse_quantity(text)


@given(st.integers(0, 10**9), st.sampled_from(["Ki", "Mi", "Gi"]))
def test_binary_quantities_are_exact(count: int, suffix: str) -> None:
    assert parse_quantity(f"{count}{suffix}") == count * {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30}[suffix]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30), ("90m", 5400), ("90min", 5400), ("6h", 21600), ("1.5d", 129600), (" 2 H ", 7200)],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "h", "6", "-6h", "6 weeks"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(UnitError, match="for example"):
        parse_duration_s(text)


@given(st.floats(0, 1e6), st.floats(0, 1e6))
def test_energy_is_linear_in_power(power_w: float, duration_s: float) -> None:
    assert kwh_from_watts(2 * power_w, duration_s) == pytest.approx(2 * kwh_from_watts(power_w, duration_s))


@pytest.mark.parametrize(
    ("mass_g", "text"),
    [
        (0.0, "0 g"),
        (999.4, "999 g"),
        (1000.0, "1 kg"),
        (-2.5e6, "-2.5 t"),
        (1e12, "1e+06 t"),
        (999.7, "1 kg"),
        (1e-9, "0 g"),
        (float("nan"), "unknown"),
        (float("-inf"), "unknown"),
    ],
)
def test_masses_read_well(mass_g: float, text: str) -> None:
    assert format_mass(mass_g) == text


def test_unit_tables_are_read_only() -> None:
    with pytest.raises(TypeError):
        SUFFIXES["_x"] = "nothing"  # type: ignore[index]
    assert all(factor > 0 for factor in INTENSITY_UNITS.values())
