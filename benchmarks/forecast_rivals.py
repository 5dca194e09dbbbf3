"""What others do, each as its manual says: a mean of 96 hours, and its own 80 % interval where it has one."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from aicsched.errors import SourceUnavailable
from aicsched.forecast.measure import ZoneResult, measure
from benchmarks.forecast_data import HORIZON, run_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.forecast_data import Case

    Array = np.ndarray[Any, np.dtype[np.float64]]
    Answer = tuple[Array, Array | None]

FOUR_WEEKS_H = 28 * 24


class Measured(NamedTuple):
    """A method's zones and what it cost."""

    zones: dict[str, ZoneResult]
    cpu_s_per_fit: float | None
    cpu_s_per_forecast: float | None


def seasonal_naive(past: Array) -> Answer:
    """Repeat the last day."""
    return np.tile(past[-24:], HORIZON // 24), None


def weekly_mean(past: Array) -> Answer:
    """Take the mean of the last seven days at each hour."""
    return np.tile(np.nanmean(past[-168:].reshape(7, 24), axis=0), HORIZON // 24), None


def statsforecast_models(*, smoke: bool) -> dict[str, Callable[[Array], Answer]]:
    """Return statsforecast's models with the histories that serve them best.

    Parameters
    ----------
    smoke : bool
        The fastest only.

    Returns
    -------
    dict of str to callable
        From the past to a mean and an 80 % interval, learning anew.

    Raises
    ------
    SourceUnavailable
        It is not installed.
    """
    try:
        from statsforecast import models
    except ImportError as error:
        msg = "statsforecast is not installed"
        raise SourceUnavailable(msg, hint="pip install 'aicsched[statsforecast]'") from error

    def wrapped(make: Callable[[], Any], hours: int) -> Callable[[Array], Answer]:
        def forecast(past: Array) -> Answer:
            made = make().forecast(y=np.array(past[-hours:]), h=HORIZON, level=[80])
            return made["mean"], np.stack([made["lo-80"], made["hi-80"]])

        return forecast

    fast = {"statsforecast AutoTheta, 4 weeks": wrapped(lambda: models.AutoTheta(24), FOUR_WEEKS_H)}
    if smoke:
        return fast
    return {
        "statsforecast AutoETS, 4 weeks": wrapped(lambda: models.AutoETS(24), FOUR_WEEKS_H),
        **fast,
        "statsforecast MSTL 24+168, 8 weeks": wrapped(
            lambda: models.MSTL(season_length=[24, 168]), 2 * FOUR_WEEKS_H
        ),
    }


def rival(call: Callable[[Array], Answer], case: Case, *, times_s: Sequence[int] | None = None) -> Measured:
    """Let a rival forecast a case, learning anew at each issue time.

    Parameters
    ----------
    call : callable
        Of the past.
    case : Case
        Zones and issue times.
    times_s : sequence of int, optional
        Other issue times than the case's.

    Returns
    -------
    Measured
        With the mean CPU time of a call, the first one left out: it may import and compile.
    """
    zones: dict[str, ZoneResult] = {}
    spent_s, count = 0.0, 0
    chosen = list(case.times_s() if times_s is None else times_s)
    first = next(iter(case.series.values()))
    call(first.before(case.start_s).values_g_per_kwh)
    for zone, series in case.series.items():
        means: list[Array] = []
        bands: list[Array] = []
        for issue_s in chosen:
            past = series.before(issue_s).values_g_per_kwh
            began = time.process_time()
            mean, band = call(past)
            spent_s, count = spent_s + time.process_time() - began, count + 1
            means.append(mean)
            if band is not None:
                bands.append(np.maximum(band, 0.0))
        run = run_of(series, chosen, np.stack(means), np.stack(bands) if bands else None)
        zones[zone] = measure(run)
    return Measured(zones, spent_s / count, spent_s / count)
