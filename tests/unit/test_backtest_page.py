"""A backtest's page and pictures: whole, safe, with units, and what they draw is what was measured."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from aicsched import testing
from aicsched.errors import ConfigError, OutputError
from aicsched.forecast.backtest import BacktestResult, backtest
from aicsched.forecast.measure import ZoneRun, measure
from aicsched.report import backtest_figures as figures
from aicsched.report.backtest_page import render_backtest, write_backtest_report
from aicsched.report.words import THIN

if TYPE_CHECKING:
    from pathlib import Path

    from aicsched.domain.carbon import CarbonSeries

DAY_S = 86_400
EVIL = "<script>&'\""
NAMES = ("DE", "SE", "PL", "CISO", "BPAT")
LEVELS = (0.1, 0.25, 0.5, 0.75, 0.9)


def series() -> dict[str, CarbonSeries]:
    return {name: testing.example_series(zone=name, days=45, seed=seed) for seed, name in enumerate(NAMES)}


def run(**changes: Any) -> BacktestResult:
    data = series()
    start_s = data["DE"].slots.start_s
    choices = {
        "model": "seasonal",
        "start_s": start_s + 30 * DAY_S,
        "end_s": start_s + 37 * DAY_S,
        "levels": LEVELS,
        "keep_forecasts": True,
    }
    return backtest(data, **(choices | changes))


@pytest.fixture(scope="module")
def result() -> BacktestResult:
    return run()


@pytest.fixture(scope="module")
def rival() -> BacktestResult:
    return run(model="ridge", levels=(0.1, 0.9))


@pytest.fixture(scope="module")
def page(result: BacktestResult, rival: BacktestResult) -> str:
    return render_backtest(result, series(), rival=rival)


def words(text: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", text)).replace(THIN, " ")


def test_the_page_loads_nothing_and_says_what_it_is_of(page: str, result: BacktestResult) -> None:
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:" in page
    assert not re.search(r"<(script|link|iframe|object|embed|form|base|img)\b", page)
    assert not re.search(r"\son\w+=", page)
    assert set(re.findall(r"https?://[^\s\"'<)]+", page)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }
    text = words(page)
    assert "Synthetic data." in text
    assert "5 zones, 8 issue times from 31 January 2026, 00:00 UTC" in text
    assert f"{np.mean(result.mean()['mape']):.2f} %" in text
    assert len(re.findall(r"<svg ", page)) == 4
    for zone in NAMES:
        assert text.count(zone) >= 3


def test_ids_stand_for_one_thing(page: str) -> None:
    seen: dict[str, str] = {}
    for found in re.finditer(r"<(\w+) id=\"([^\"]+)\"(.*?)>", page, re.DOTALL):
        assert seen.setdefault(found[2], found[3]) == found[3]


def test_pictures_are_xml_with_units(result: BacktestResult, rival: BacktestResult) -> None:
    drawn = figures.draw_backtest(result, series(), rival=rival)
    units = {
        "error": ("hours ahead", "mean absolute error [%]", "seasonal:", "ridge:", "each of 5 zones"),
        "calibration": ("promised share below [%]", "lead day", "hour [UTC]", "inside the band [%]"),
        "savings": ("A 4-hour job within 96 h", "share of the saving with perfect foresight [%]"),
        "fan": ("g CO₂e per kWh", "what came", "measured past", "80 and 50 % bands"),
    }
    assert set(drawn) == set(units)
    for name, texts in units.items():
        ET.fromstring(drawn[name])
        for text in texts:
            assert text in drawn[name], (name, text)


def test_the_error_curve_is_the_mean_over_zones_and_issue_times(result: BacktestResult) -> None:
    errors = np.array(
        [
            100 * np.abs(item.mean_g_per_kwh / item.actual_g_per_kwh - 1).mean(axis=0)
            for item in result.runs.values()
        ]
    )
    assert f"seasonal: {errors.mean():.1f} %" in figures.error_by_lead(result)
    np.testing.assert_allclose(figures._error_percent(result.runs["DE"]), errors[0])


def test_zones_of_the_fan_go_from_the_best_to_the_worst(result: BacktestResult) -> None:
    order = sorted(NAMES, key=lambda zone: float(np.mean(result.zones[zone].mape)))
    chosen = figures._telling(result)
    assert (chosen[0], chosen[-1], len(chosen)) == (order[0], order[-1], 4)
    assert f"{EVIL[:1]}script" not in figures.fan_chart(result, series(), zones=("DE",))


def test_a_model_without_bands_one_zone_and_a_short_horizon_can_be_drawn() -> None:
    data = {"DE": series()["DE"]}
    start_s = data["DE"].slots.start_s + 30 * DAY_S
    made = backtest(data, model="seasonal", start_s=start_s, end_s=start_s, horizon=3, keep_forecasts=True)
    page = words(render_backtest(made, data))
    assert "1 zone, 1 issue times" in page
    assert "one zone" in figures.error_by_lead(made)
    old = made.runs["DE"]
    bare = ZoneRun(
        step_s=3600, issue_times_s=old.issue_times_s, actual_g_per_kwh=np.full((1, 3), np.nan),
        mean_g_per_kwh=old.mean_g_per_kwh, levels=(), quantiles_g_per_kwh=np.ones((1, 0, 3)),
        scale_g_per_kwh=1.0,
    )  # fmt: skip
    unknown = replace(made, zones={"DE": measure(bare)}, runs={"DE": bare})
    assert "–" in words(render_backtest(unknown, data))


def test_notes_tell_of_refusals_and_flags(result: BacktestResult) -> None:
    zone = replace(result.zones["DE"], refused=3, flags={"late": 2})
    text = words(render_backtest(replace(result, zones=result.zones | {"DE": zone}), series()))
    assert "DE: 3 forecasts were refused" in text
    assert "DE: 2 forecasts carry the flag late." in text


def test_names_are_escaped(result: BacktestResult) -> None:
    text = render_backtest(
        replace(result, model=EVIL, zones={EVIL: result.zones["DE"]}, runs={EVIL: result.runs["DE"]}),
        {EVIL: replace(series()["DE"], source=EVIL)},
    )
    assert "<script>" not in text


def test_forecasts_that_were_not_kept_can_not_be_drawn(tmp_path: Path) -> None:
    bare = run(keep_forecasts=False)
    with pytest.raises(ConfigError, match="kept no forecasts to draw"):
        write_backtest_report(bare, series(), tmp_path / "page.html")
    assert list(tmp_path.iterdir()) == []


def test_the_file_is_the_page(tmp_path: Path, result: BacktestResult) -> None:
    path = write_backtest_report(result, series(), tmp_path / "page.html")
    assert path.read_text(encoding="utf-8") == render_backtest(result, series())
    with pytest.raises(OutputError, match="can't be written"):
        write_backtest_report(result, series(), tmp_path / "no" / "page.html")
