"""Measure a forecaster on the past, from many origins, as a scheduler would feel it."""

from __future__ import annotations

import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from aicsched.errors import SlotError
from aicsched.forecast.base import DAY_S
from aicsched.forecast.intervals import adapt_width
from aicsched.forecast.metrics import concordance, coverage_share, mae, mape, pinball, window_regret
from aicsched.forecast.zones import AUTO, make_forecaster
from aicsched.slots import HOUR_S, format_time

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import pandas as pd
    from numpy.typing import NDArray

    from aicsched.domain.carbon import CarbonSeries
    from aicsched.domain.forecast import Forecast
    from aicsched.forecast.weather import WeatherVintages

__all__ = ["BacktestResult", "ZoneResult", "backtest"]

REFIT_DAYS: Final = 30
_JOB_H: Final = 4
_BAND: Final = (0.1, 0.9)
_OUTSIDE: Final = 0.2


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ZoneResult:
    """What one zone's forecasts were worth.

    Parameters
    ----------
    mape, mae, coverage80, pinball : tuple of float
        One value a lead day: percent, g/kWh, a share, g/kWh (mean of both ends of the band).
    concordance : dict of str to float
        Share of slot pairs in the right order, within ``24h`` and the whole horizon.
    regret : dict of str to float
        ``4h_in_24h`` and ``4h_in_<horizon>h``: extra emissions over the oracle's of
        a 4-hour job started where the forecast says, as a share;
        ``saving_share_of_oracle``: what it saves against running at once, over
        what the oracle saves.
    fits : int
        How often the model learned.
    cpu_s : float
        CPU time of learning and forecasting [s].
    """

    mape: tuple[float, ...]
    mae: tuple[float, ...]
    coverage80: tuple[float, ...]
    pinball: tuple[float, ...]
    concordance: dict[str, float]
    regret: dict[str, float]
    fits: int
    cpu_s: float

    def as_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "mape": list(self.mape),
            "mae": list(self.mae),
            "coverage80": list(self.coverage80),
            "pinball": list(self.pinball),
            "concordance": dict(self.concordance),
            "regret": dict(self.regret),
        }


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BacktestResult:
    """What a forecaster was worth on some zones.

    Parameters
    ----------
    model : str
        Its name.
    start_s, end_s : int
        First and last issue time, seconds since the epoch.
    horizon : int
        Slots forecast from each.
    origins : int
        How many issue times.
    zones : dict of str to ZoneResult
        Per zone.
    """

    model: str
    start_s: int
    end_s: int
    horizon: int
    origins: int
    zones: dict[str, ZoneResult]

    @property
    def cpu_s_per_fit(self) -> float:
        """CPU time per learning, the forecasts made with it included [s]."""
        fits = sum(item.fits for item in self.zones.values())
        return sum(item.cpu_s for item in self.zones.values()) / max(fits, 1)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values: ``zones.{zone}`` and ``mean`` with equal keys.

        Returns
        -------
        dict
            See `ZoneResult` for the keys of a zone.
        """
        zones = {name: item.as_dict() for name, item in self.zones.items()}
        return {
            "model": self.model,
            "start": format_time(self.start_s),
            "end": format_time(self.end_s),
            "horizon": self.horizon,
            "origins": self.origins,
            "zones": zones,
            "mean": _mean(list(zones.values())),
            "cpu_s_per_fit": self.cpu_s_per_fit,
        }

    def frame(self) -> pd.DataFrame:
        """Return a tidy frame: zone, lead_day, metric, value."""
        import pandas as pd  # noqa: PLC0415 - for notebooks only

        rows = [
            (zone, day + 1, metric, value)
            for zone, item in self.zones.items()
            for metric in ("mape", "mae", "coverage80", "pinball")
            for day, value in enumerate(getattr(item, metric))
        ]
        return pd.DataFrame(rows, columns=["grid_zone", "lead_day", "metric", "value"])


def _mean(items: list[Any]) -> Any:  # noqa: ANN401 - the same shape as the items
    if isinstance(items[0], dict):
        return {name: _mean([item[name] for item in items]) for name in items[0]}
    if isinstance(items[0], list):
        return [_mean(list(column)) for column in zip(*items, strict=True)]
    return float(np.nanmean(items)) if np.isfinite(items).any() else float("nan")


class _Tally:
    """Collects what one zone's forecasts met."""

    def __init__(self, per_day: int, horizon: int) -> None:
        self.per_day = per_day
        self.horizon = horizon
        self.days = -(-horizon // per_day)
        self.rows: dict[str, list[list[float]]] = {name: [] for name in ("mape", "mae", "coverage80", "pinball")}
        self.order: dict[str, list[float]] = {}
        self.regret: dict[str, list[float]] = {}
        self.savings: list[tuple[float, float]] = []

    def add(self, actual: NDArray[np.float64], forecast: Forecast) -> None:
        """Count one origin."""
        low, high = forecast.quantile(_BAND[0]), forecast.quantile(_BAND[1])
        values: dict[str, list[float]] = {name: [] for name in self.rows}
        for day in range(self.days):
            cut = slice(day * self.per_day, min((day + 1) * self.per_day, self.horizon))
            truth, centre = actual[cut], forecast.mean_g_per_kwh[cut]
            values["mape"].append(mape(truth, centre))
            values["mae"].append(mae(truth, centre))
            values["coverage80"].append(coverage_share(truth, low[cut], high[cut]))
            losses = pinball(truth, low[cut], _BAND[0]), pinball(truth, high[cut], _BAND[1])
            values["pinball"].append(sum(losses) / 2)
        for name, row in values.items():
            self.rows[name].append(row)
        for hours in sorted({24, self.horizon * 24 // self.per_day}):
            self._add_window(actual, forecast, hours)

    def _add_window(self, actual: NDArray[np.float64], forecast: Forecast, hours: int) -> None:
        slots, length = hours * self.per_day // 24, max(1, _JOB_H * self.per_day // 24)
        truth, centre = actual[:slots], forecast.mean_g_per_kwh[:slots]
        if len(truth) < slots or slots < length or not np.isfinite(truth).all():
            return
        self.order.setdefault(f"{hours}h", []).append(concordance(truth, centre))
        met, best, at_once = window_regret(truth, centre, length)
        if best > 0:
            self.regret.setdefault(f"{_JOB_H}h_in_{hours}h", []).append(met / best - 1)
        if slots == self.horizon:
            self.savings.append((at_once - met, at_once - best))

    def result(self, *, fits: int, cpu_s: float) -> ZoneResult:
        """Average over the origins."""
        means = {name: tuple(np.nanmean(np.array(rows), axis=0).tolist()) for name, rows in self.rows.items()}
        regret = {name: float(np.mean(values)) for name, values in self.regret.items()}
        possible = sum(item[1] for item in self.savings)
        regret["saving_share_of_oracle"] = sum(item[0] for item in self.savings) / possible if possible else float("nan")
        order = {name: float(np.nanmean(values)) for name, values in self.order.items()}
        return ZoneResult(**means, concordance=order, regret=regret, fits=fits, cpu_s=cpu_s)


def _widened(forecast: Forecast, log_width: NDArray[np.float64], per_day: int) -> Forecast:
    """Stretch the outer quantiles of each lead day by what adaptive conformal inference has learned."""
    factor = np.repeat(np.exp(log_width), per_day)[: len(forecast.slots)]
    log_mean = np.log(forecast.mean_g_per_kwh)
    spread = np.log(forecast.quantiles_g_per_kwh) - log_mean
    return replace(forecast, quantiles_g_per_kwh=np.exp(log_mean + spread * factor))


def _zone(  # noqa: PLR0913 - a process takes plain arguments
    series: CarbonSeries,
    *,
    model: str,
    start_s: int,
    end_s: int,
    horizon: int,
    every_s: int,
    refit_days: int,
    weather: WeatherVintages | None,
) -> ZoneResult:
    forecaster = make_forecaster("ridge" if model == AUTO else model)
    per_day = DAY_S // series.slots.step_s
    tally = _Tally(per_day, horizon)
    log_width = np.zeros(tally.days)
    waiting: list[tuple[int, Forecast]] = []
    fits, cpu_s, fitted_s = 0, 0.0, -1
    for issue_s in range(start_s, end_s + 1, every_s):
        began = time.process_time()
        history = series.before(issue_s)
        if fitted_s < 0 or issue_s - fitted_s >= refit_days * DAY_S:
            forecaster.fit(history, weather=weather)
            fits, fitted_s = fits + 1, issue_s
        else:
            forecaster.update(history)
        forecast = _widened(forecaster.predict(issue_s, horizon), log_width, per_day)
        cpu_s += time.process_time() - began
        offset = (issue_s - series.slots.start_s) // series.slots.step_s
        tally.add(series.values_g_per_kwh[offset : offset + horizon], forecast)
        waiting.append((issue_s, forecast))
        log_width = _learn(series, waiting, log_width, issue_s + every_s, per_day)
    return tally.result(fits=fits, cpu_s=cpu_s)


def _learn(
    series: CarbonSeries, waiting: list[tuple[int, Forecast]], log_width: NDArray[np.float64], now_s: int, per_day: int
) -> NDArray[np.float64]:
    """Adapt each lead day's log_width to the newest forecast of it whose outcome is known by now."""
    made = log_width.copy()
    for day in range(len(log_width)):
        due = [item for item in waiting if item[0] + (day + 1) * DAY_S == now_s]
        for issue_s, forecast in due:
            cut = slice(day * per_day, min((day + 1) * per_day, len(forecast.slots)))
            offset = (issue_s - series.slots.start_s) // series.slots.step_s
            actual = series.values_g_per_kwh[offset + cut.start : offset + cut.stop]
            held = coverage_share(actual, forecast.quantile(_BAND[0])[cut], forecast.quantile(_BAND[1])[cut])
            if np.isfinite(held):
                made[day] = adapt_width(log_width[day], missed_share=1 - held, target_share=_OUTSIDE)
    waiting[:] = [item for item in waiting if item[0] + (len(log_width) + 1) * DAY_S >= now_s]
    return made


def _refuse_uncovered(series: Mapping[str, CarbonSeries], start_s: int, end_s: int, horizon: int) -> None:
    if end_s < start_s:
        msg = f"the backtest ends {format_time(end_s)}, before it starts {format_time(start_s)}"
        raise SlotError(msg, hint="swap start and end")
    for zone, item in series.items():
        needed_s = end_s + horizon * item.slots.step_s
        if start_s <= item.slots.start_s or needed_s > item.slots.end_s:
            known = f"{format_time(item.slots.start_s)} to {format_time(item.slots.end_s)}"
            msg = f"{zone}: forecasts from {format_time(start_s)} to {format_time(end_s)} need values up to {format_time(needed_s)}; known is {known}"
            raise SlotError(msg, hint="choose issue times inside the data, the horizon left free at its end")


def backtest(  # noqa: PLR0913 - one keyword per choice
    series: Mapping[str, CarbonSeries],
    *,
    model: str,
    start_s: int,
    end_s: int,
    horizon: int = 96,
    every_h: int = 24,
    refit_days: int = REFIT_DAYS,
    weather: Mapping[str, WeatherVintages] | None = None,
    jobs: int = 1,
    progress: Callable[[str], None] = lambda _zone: None,
) -> BacktestResult:
    """Forecast again and again from the past, and compare with what came.

    Parameters
    ----------
    series : mapping of str to CarbonSeries
        Per zone; the past before `start_s` is what the model learns from first.
    model : str
        Name of the forecaster.
    start_s, end_s : int
        First and last issue time, seconds since the epoch.
    horizon : int
        Slots per forecast.
    every_h : int
        Hours between issue times.
    refit_days : int
        Days between learnings; in between the weights stay and the data are new.
    weather : mapping of str to WeatherVintages, optional
        Weather forecasts as they were issued, per zone.
    jobs : int
        Processes to use; results don't depend on it.
    progress : callable, optional
        Told each zone that is done.

    Returns
    -------
    BacktestResult
        Per zone and on average.

    Raises
    ------
    SlotError
        The data don't cover the issue times and their horizon.
    AicschedError
        A zone can't be forecast.
    """
    _refuse_uncovered(series, start_s, end_s, horizon)
    offered = weather or {}
    shared = {"model": model, "start_s": start_s, "end_s": end_s, "horizon": horizon}
    shared |= {"every_s": every_h * HOUR_S, "refit_days": refit_days}
    results: dict[str, ZoneResult] = {}
    if jobs == 1:
        for zone, item in series.items():
            results[zone] = _zone(item, weather=offered.get(zone), **shared)
            progress(zone)
    else:
        with ProcessPoolExecutor(jobs) as pool:
            running = {zone: pool.submit(_zone, item, weather=offered.get(zone), **shared) for zone, item in series.items()}
            for zone, future in running.items():
                results[zone] = future.result()
                progress(zone)
    origins = len(range(start_s, end_s + 1, every_h * HOUR_S))
    return BacktestResult(model=model, start_s=start_s, end_s=end_s, horizon=horizon, origins=origins, zones=results)
