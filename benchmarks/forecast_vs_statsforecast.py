"""Our forecasters beside statsforecast's AutoTheta and AutoETS, on the same series and origins.

Each model learns anew at each origin, and is asked for 96 hours. Rivals get the last
four weeks, which serves them best (longer histories cost them time and gain
nothing); ours get what is there, as a user would give it. Both answer once before the
clock starts, so that nobody pays for imports or compiling. CPU seconds are of this
process, on one BLAS thread.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

# Before numpy is imported: threads that wait for each other would count as CPU time.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from aicsched.errors import SourceUnavailable
from aicsched.forecast import make_forecaster
from aicsched.forecast.base import Covariates
from aicsched.forecast.metrics import mape
from aicsched.forecast.weather import read_weather
from aicsched.signals.carbon.file import FileCarbon
from aicsched.signals.carbon.sample import SAMPLE_NOW_S, SampleCarbon
from aicsched.slots import parse_time

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aicsched.domain.carbon import CarbonSeries
    from aicsched.forecast.weather import WeatherVintages

    Array = np.ndarray[Any, np.dtype[np.float64]]
    Model = Callable[[str, CarbonSeries], Array]

TITLE = "Forecast: ours against statsforecast (AutoTheta, AutoETS)"
ZONES = ("CISO", "PJM", "ERCO", "ISNE", "NYIS", "FPL", "BPAT", "SE", "DE", "ES", "NL", "PL", "AUS-QLD")
DAY_S = 86_400
HORIZON = 96
RIVAL_HOURS = 28 * 24


class Case(NamedTuple):
    """One set of series and the origins to forecast from."""

    name: str
    series: Mapping[str, CarbonSeries]
    weather: Mapping[str, WeatherVintages]
    issue_times_s: range


def _sample(*, smoke: bool) -> Case:
    source = SampleCarbon()
    zones = source.zones()[:2] if smoke else source.zones()
    times = range(SAMPLE_NOW_S - 14 * DAY_S, SAMPLE_NOW_S + 1, 14 * DAY_S if smoke else 2 * DAY_S)
    return Case("sample (synthetic)", {zone: source.read(zone) for zone in zones}, {}, times)


def _recorded(*, smoke: bool) -> Case | None:
    """Return 13 real grids where they are at hand, every 14th day of the published test window."""
    root = Path(os.environ.get("AICSCHED_SHARED") or Path(__file__).resolve().parents[2] / "shared")
    folder = root / "data" / "carbon"
    zones = ZONES[:2] if smoke else ZONES
    paths = [folder / f"ccast13_{zone}.parquet" for zone in zones]
    if not all(path.is_file() for path in paths):
        return None
    source = FileCarbon(paths, column="ci_lifecycle")
    first = parse_time("2021-07-01T00:00Z")
    times = range(first, first + (1 if smoke else 12 * 14 + 1) * DAY_S, 14 * DAY_S)
    weather = read_weather([str(folder / f"ccast13_wx96_{zone}.parquet") for zone in zones])
    return Case("real grids, lifecycle", {zone: source.read(zone) for zone in zones}, weather, times)


def _ours(name: str, weather: Mapping[str, WeatherVintages]) -> Model:
    def forecast(zone: str, past: CarbonSeries) -> Array:
        covariates = Covariates(weather=weather.get(zone))
        fitted = make_forecaster(name).fit(past, covariates=covariates)
        return fitted.predict(past.slots.end_s, HORIZON).mean_g_per_kwh

    return forecast


def _rivals() -> dict[str, Model]:
    try:
        from statsforecast.models import AutoETS, AutoTheta
    except ImportError as error:
        msg = "statsforecast is not installed"
        raise SourceUnavailable(msg, hint="pip install 'aicsched[statsforecast]'") from error

    def wrapped(make: Callable[[], Any]) -> Model:
        def forecast(_zone: str, past: CarbonSeries) -> Array:
            return make().forecast(y=np.array(past.values_g_per_kwh[-RIVAL_HOURS:]), h=HORIZON)["mean"]

        return forecast

    return {
        "AutoTheta": wrapped(lambda: AutoTheta(season_length=24)),
        "AutoETS": wrapped(lambda: AutoETS(season_length=24)),
    }


def _naive(_zone: str, past: CarbonSeries) -> Array:
    return np.tile(past.values_g_per_kwh[-24:], HORIZON // 24)


def _measure(model: Model, case: Case) -> dict[str, float]:
    zone, series = next(iter(case.series.items()))
    model(zone, series.before(case.issue_times_s[0]))
    errors: list[list[float]] = []
    spent_s, asked = 0.0, 0
    for zone, series in case.series.items():
        for issue_s in case.issue_times_s:
            past = series.before(issue_s)
            began = time.process_time()
            made = model(zone, past)
            spent_s += time.process_time() - began
            asked += 1
            first = len(past.slots)
            actual = series.values_g_per_kwh[first : first + HORIZON]
            errors.append([mape(actual[at : at + 24], made[at : at + 24]) for at in range(0, HORIZON, 24)])
    by_day = np.nanmean(np.array(errors), axis=0)
    figures = {f"MAPE d{day + 1} [%]": float(value) for day, value in enumerate(by_day)}
    return {**figures, "MAPE 96 h [%]": float(by_day.mean()), "CPU s per fit+forecast": spent_s / asked}


def run(*, smoke: bool) -> dict[str, Any]:
    """Measure all models on all cases.

    Parameters
    ----------
    smoke : bool
        Two zones and few origins.

    Returns
    -------
    dict
        Per case and model MAPE by lead day and CPU time, and the ratios of rivals to ours
        (above 1: ours is better).

    Raises
    ------
    SourceUnavailable
        statsforecast is not installed.
    """
    results: dict[str, Any] = {}
    rivals = _rivals()
    for case in (_sample(smoke=smoke), _recorded(smoke=smoke)):
        if case is None:
            continue
        models = {
            "seasonal naive": _naive,
            "ours: seasonal": _ours("seasonal", {}),
            "ours: ridge": _ours("ridge", {}),
        }
        if case.weather:
            models["ours: ridge + weather"] = _ours("ridge", case.weather)
        table = {name: _measure(model, case) for name, model in {**models, **rivals}.items()}
        ours = table["ours: ridge"]
        ratios: dict[str, float] = {}
        for name in rivals:
            for figure in ("MAPE 96 h [%]", "CPU s per fit+forecast"):
                ratios[f"{name} / ours: ridge, {figure}"] = table[name][figure] / ours[figure]
        results[f"{case.name}, {len(case.series)} zones x {len(case.issue_times_s)} origins"] = {
            **table,
            "ratio": ratios,
        }
    return results
