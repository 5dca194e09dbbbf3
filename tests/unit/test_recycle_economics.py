"""Break-even against published cases, numeric integration and the properties it must have."""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.integrate import quad

from aicsched.errors import InputError
from aicsched.recycle.economics import break_even_years, running_g_per_year, saved_g


@pytest.mark.parametrize(
    ("old_w", "flat_400", "falling_400", "falling_100", "falling_30"),
    [
        (1102, 0.45, 0.45, 1.88, 7.12),  # E5-2699 v3
        (965, 0.54, 0.55, 2.29, 8.99),  # E5-2699 v4
        (859, 0.64, 0.65, 2.76, 11.3),  # Xeon 8180
        (745, 0.81, 0.83, 3.54, 15.7),  # Xeon 8280
        (509, 1.75, 1.83, 8.64, None),  # EPYC 7742
        (520, 1.65, 1.73, 8.08, None),  # EPYC 7763
        (740, 0.82, 0.84, 3.59, 16.0),  # Xeon 8490H
    ],
)
def test_worked_table(
    old_w: float, flat_400: float, falling_400: float, falling_100: float, falling_30: float | None
) -> None:
    """Two-socket servers into 304 W of two EPYC 9845, 1,500 kg, PUE 1.2; watts are rounded, so 1.5 %."""
    cases = (
        (400.0, 0.0, flat_400),
        (400.0, 0.05, falling_400),
        (100.0, 0.05, falling_100),
        (30.0, 0.05, falling_30),
    )
    for g_per_kwh, decline, years in cases:
        yearly_g = running_g_per_year(old_w - 304, 1.2, g_per_kwh)
        got = break_even_years(1_500_000.0, yearly_g, decline)
        assert got is None if years is None else got == pytest.approx(years, rel=0.015)


@given(embodied=st.floats(1e3, 1e7), yearly=st.floats(1e2, 1e7), decline=st.floats(1e-4, 0.5))
def test_closed_form_equals_integration(embodied: float, yearly: float, decline: float) -> None:
    years = break_even_years(embodied, yearly, decline)
    if years is None:
        # Not even all the years to come save enough.
        assert yearly / -math.log1p(-decline) <= embodied * (1 + 1e-12)
        return
    if years > 200:
        return
    total, _ = quad(lambda t: yearly * (1 - decline) ** t, 0, years, epsabs=0, epsrel=1e-12, limit=200)
    assert total == pytest.approx(embodied, rel=1e-9)
    assert saved_g(yearly, years, decline) == pytest.approx(embodied, rel=1e-9)


@given(
    embodied=st.floats(1e3, 1e7),
    yearly=st.floats(1e2, 1e7),
    decline=st.floats(0, 0.5),
    more=st.floats(1.0, 3.0),
)
@example(embodied=1e3, yearly=3e2, decline=5e-324, more=1.0)
def test_monotone(embodied: float, yearly: float, decline: float, more: float) -> None:
    def years(e: float, a: float, d: float) -> float:
        found = break_even_years(e, a, d)
        return math.inf if found is None else found

    here = years(embodied, yearly, decline)
    slack = 1e-9 * here if math.isfinite(here) else 0.0
    assert years(embodied * more, yearly, decline) >= here - slack
    assert years(embodied, yearly * more, decline) <= here + slack
    assert years(embodied, yearly, min(0.9, decline * more)) >= here - slack


def test_never() -> None:
    assert break_even_years(1.0, 0.0, 0.0) is None
    assert break_even_years(1.0, -5.0, 0.05) is None
    assert break_even_years(0.0, 5.0, 0.05) == 0.0


@pytest.mark.parametrize("decline", [-0.1, 1.0, math.nan])
def test_impossible_decline(decline: float) -> None:
    with pytest.raises(InputError):
        break_even_years(1.0, 1.0, decline)
