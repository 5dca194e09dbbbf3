"""From forecasts and what came to figures: one zone, whoever made the forecasts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from aicsched.errors import ForecastError
from aicsched.forecast import metrics
from aicsched.slots import HOUR_S

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

__all__ = ["BY_LEAD_DAY", "BY_ORIGIN", "ZoneResult", "ZoneRun", "measure"]

DAY_S: Final = 86_400
_JOB_H: Final = 4
_INTERRUPTIBLE_SHARE: Final = 4
_BAND: Final = (0.1, 0.9)
_TAIL_PERCENTILE: Final = 95.0
_REGRETS: Final = (
    "extra_share",
    "now_extra_share",
    "saving_share",
    "oracle_saving_share",
    "saving_share_of_oracle",
)
BY_ORIGIN: Final = ("mape", "mae", "mase", "coverage80", "width80", "pinball")
BY_LEAD_DAY: Final = (*BY_ORIGIN, "width80_percent", "pinball_percent")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ZoneRun:
    """One zone's forecasts beside what came, one row an issue time.

    Parameters
    ----------
    step_s : int
        Length of a slot [s].
    issue_times_s : ndarray of int64, shape (n,)
        Rising, seconds since the epoch.
    actual_g_per_kwh : ndarray, shape (n, h)
        What came; NaN where unknown.
    mean_g_per_kwh : ndarray, shape (n, h)
        What was foreseen.
    levels : tuple of float
        Quantile levels, rising; empty where there are none.
    quantiles_g_per_kwh : ndarray, shape (n, len(levels), h)
        Quantiles foreseen.
    scale_g_per_kwh : float
        What the day before misses by on the past, for MASE; see `metrics.seasonal_step`.

    Raises
    ------
    ForecastError
        Shapes differ.
    """

    step_s: int
    issue_times_s: NDArray[np.int64]
    actual_g_per_kwh: Array
    mean_g_per_kwh: Array
    levels: tuple[float, ...]
    quantiles_g_per_kwh: Array
    scale_g_per_kwh: float

    def __post_init__(self) -> None:
        rows, horizon = self.actual_g_per_kwh.shape
        wanted = {
            "issue times": (self.issue_times_s.shape, (rows,)),
            "means": (self.mean_g_per_kwh.shape, (rows, horizon)),
            "quantiles": (self.quantiles_g_per_kwh.shape, (rows, len(self.levels), horizon)),
        }
        for name, (shape, right) in wanted.items():
            if shape != right:
                msg = f"{name} of shape {shape} stand beside {rows} forecasts of {horizon} slots"
                raise ForecastError(msg, hint=f"give {right}", value=shape)

    @property
    def per_day(self) -> int:
        """How many slots a day has."""
        return DAY_S // self.step_s

    def days(self) -> list[slice]:
        """Return the slots of each lead day, the last one possibly shorter."""
        horizon = self.actual_g_per_kwh.shape[1]
        return [slice(first, min(first + self.per_day, horizon)) for first in range(0, horizon, self.per_day)]

    def quantile(self, level: float) -> Array:
        """Return one quantile.

        Parameters
        ----------
        level : float
            As in `levels`.

        Returns
        -------
        ndarray, shape (n, h)
            NaN where it was not foreseen.
        """
        for index, known in enumerate(self.levels):
            if abs(known - level) < 1e-9:
                return self.quantiles_g_per_kwh[:, index]
        return np.full(self.mean_g_per_kwh.shape, np.nan)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ZoneResult:
    """What one zone's forecasts were worth.

    Parameters
    ----------
    mape, mae, mase, coverage80, width80, pinball : tuple of float
        One value a lead day, each the mean over issue times: percent, g/kWh, 1, share
        inside the 80 % band, g/kWh, g/kWh (mean of the band's two ends).
    width80_percent, pinball_percent : tuple of float
        The same over the mean of what came [%], so that zones can be compared.
    mape_p95 : float
        95th percentile over issue times of the whole horizon's error [%].
    coverage80_by_hour : tuple of float
        Share inside the 80 % band for each hour of the UTC day.
    calibration : dict of str to tuple of float
        Per quantile level the share of values at or below it, by lead day.
    concordance : dict of str to float
        Mean share of slot pairs in the right order, within ``"24h"`` and the whole
        horizon, e.g. ``"96h"``.
    regret : dict of str to float
        Of a 4-hour job within the same windows: ``extra_share_24h`` (emissions
        beyond the oracle's when it starts where the forecast says),
        ``now_extra_share_24h`` (when it starts at once), ``saving_share_24h`` and
        ``oracle_saving_share_24h`` (saved against starting at once, over what that
        emits) and ``saving_share_of_oracle_24h`` (one over the other); the same
        with ``_96h``. With ``interruptible_`` in
        front: of a job that needs a quarter of the window's slots and may pause.
    per_origin : dict of str to ndarray, shape (n, days)
        What the means above are of.
    issue_times_s : ndarray of int64, shape (n,)
        When the forecasts were issued, seconds since the epoch.
    refused : int
        Issue times at which no forecast could be made, since too much of the past was missing.
    flags : dict of str to int
        How many forecasts carried which flag.
    fits : int
        How often the model learned.
    fit_cpu_s : float
        CPU time of learning, each with its first forecast of the whole horizon [s].
    cpu_s : float
        CPU time of all learning and forecasting [s].
    """

    mape: tuple[float, ...]
    mae: tuple[float, ...]
    mase: tuple[float, ...]
    coverage80: tuple[float, ...]
    width80: tuple[float, ...]
    pinball: tuple[float, ...]
    width80_percent: tuple[float, ...]
    pinball_percent: tuple[float, ...]
    mape_p95: float
    coverage80_by_hour: tuple[float, ...]
    calibration: dict[str, tuple[float, ...]]
    concordance: dict[str, float]
    regret: dict[str, float]
    per_origin: dict[str, Array]
    issue_times_s: NDArray[np.int64]
    refused: int = 0
    flags: dict[str, int]
    fits: int = 0
    fit_cpu_s: float = 0.0
    cpu_s: float = 0.0

    def measures(self) -> dict[str, Any]:
        """Return what was measured as plain values, without times.

        Returns
        -------
        dict
            Lists by lead day, ``coverage80_by_hour``, ``mape_p95``, ``calibration``,
            ``concordance`` and ``regret``: the same keys for every zone of a backtest.
        """
        return {
            **{name: list(getattr(self, name)) for name in BY_LEAD_DAY},
            "mape_p95": self.mape_p95,
            "coverage80_by_hour": list(self.coverage80_by_hour),
            "calibration": {level: list(shares) for level, shares in self.calibration.items()},
            "concordance": dict(self.concordance),
            "regret": dict(self.regret),
        }


def measure(
    run: ZoneRun,
    *,
    refused: int = 0,
    flags: dict[str, int] | None = None,
    fits: int = 0,
    fit_cpu_s: float = 0.0,
    cpu_s: float = 0.0,
) -> ZoneResult:
    """Measure one zone's forecasts.

    Parameters
    ----------
    run : ZoneRun
        Forecasts and what came.
    refused, fits : int
        Facts of the run, handed through.
    flags : dict of str to int, optional
        Facts of the run, handed through.
    fit_cpu_s, cpu_s : float
        Facts of the run, handed through [s].

    Returns
    -------
    ZoneResult
        A figure that can't be known is NaN.

    Examples
    --------
    >>> import numpy as np
    >>> ones = np.ones((2, 24))
    >>> run = ZoneRun(step_s=3600, issue_times_s=np.array([0, 86400]), actual_g_per_kwh=100 * ones,
    ...               mean_g_per_kwh=110 * ones, levels=(), quantiles_g_per_kwh=np.ones((2, 0, 24)),
    ...               scale_g_per_kwh=5.0)
    >>> made = measure(run)
    >>> made.mape, made.mase, made.regret["extra_share_24h"]
    ((10.0,), (2.0,), 0.0)
    """
    per_origin = _per_origin(run)
    by_day = {name: tuple(_mean(column) for column in values.T) for name, values in per_origin.items()}
    level = _mean(run.actual_g_per_kwh)
    for name in ("width80", "pinball"):
        by_day[f"{name}_percent"] = tuple(100.0 * value / level for value in by_day[name])
    whole = np.array(
        [metrics.mape(*rows) for rows in zip(run.actual_g_per_kwh, run.mean_g_per_kwh, strict=True)]
    )
    whole = whole[np.isfinite(whole)]
    order, regret = _of_windows(run)
    return ZoneResult(
        **by_day,
        mape_p95=float(np.percentile(whole, _TAIL_PERCENTILE)) if len(whole) else float("nan"),
        coverage80_by_hour=_by_hour(run),
        calibration=_calibration(run),
        concordance=order,
        regret=regret,
        per_origin=per_origin,
        issue_times_s=run.issue_times_s,
        refused=refused,
        flags=flags or {},
        fits=fits,
        fit_cpu_s=fit_cpu_s,
        cpu_s=cpu_s,
    )


def _mean(values: Array) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else float("nan")


def _per_origin(run: ZoneRun) -> dict[str, Array]:
    """Measure each lead day of each forecast."""
    low, high = (run.quantile(level) for level in _BAND)
    made = {name: np.empty((len(run.issue_times_s), len(run.days()))) for name in BY_ORIGIN}
    for day, cut in enumerate(run.days()):
        parts = (run.actual_g_per_kwh, run.mean_g_per_kwh, low, high)
        for row, (actual, mean, below, above) in enumerate(
            zip(*(part[:, cut] for part in parts), strict=True)
        ):
            losses = metrics.pinball(actual, below, _BAND[0]) + metrics.pinball(actual, above, _BAND[1])
            banded = bool(np.isfinite(below).all())
            figures = {
                "mape": metrics.mape(actual, mean),
                "mae": metrics.mae(actual, mean),
                "mase": metrics.mase(actual, mean, run.scale_g_per_kwh),
                "coverage80": metrics.coverage_share(actual, below, above) if banded else float("nan"),
                "width80": metrics.mean_width(below, above),
                "pinball": losses / 2,
            }
            for name, value in figures.items():
                made[name][row, day] = value
    return made


def _by_hour(run: ZoneRun) -> tuple[float, ...]:
    low, high = (run.quantile(level) for level in _BAND)
    lead_s = run.step_s * np.arange(run.actual_g_per_kwh.shape[1], dtype=np.int64)
    hours = (run.issue_times_s[:, None] + lead_s) % DAY_S // HOUR_S
    return tuple(metrics.coverage_by_hour(run.actual_g_per_kwh, low, high, hours).tolist())


def _calibration(run: ZoneRun) -> dict[str, tuple[float, ...]]:
    """Return how often the actual value lies at or below each quantile, by lead day."""
    made: dict[str, tuple[float, ...]] = {}
    for index, level in enumerate(run.levels):
        below = np.where(
            np.isfinite(run.actual_g_per_kwh),
            run.actual_g_per_kwh <= run.quantiles_g_per_kwh[:, index],
            np.nan,
        )
        made[f"{level:g}"] = tuple(_mean(below[:, cut]) for cut in run.days())
    return made


def _of_windows(run: ZoneRun) -> tuple[dict[str, float], dict[str, float]]:
    """Measure order and regret within a day and the whole horizon."""
    horizon, per_day = run.actual_g_per_kwh.shape[1], run.per_day
    length = max(1, _JOB_H * per_day // 24)
    order: dict[str, float] = {}
    regret: dict[str, float] = {}
    for slots in sorted({min(per_day, horizon), horizon}):
        label = f"{slots * 24 / per_day:g}h"
        actual, mean = run.actual_g_per_kwh[:, :slots], run.mean_g_per_kwh[:, :slots]
        order[label] = _mean(metrics.concordance(actual, mean))
        if slots < length:
            continue
        lost = {
            "": metrics.window_regret(actual, mean, length),
            "interruptible_": metrics.interruptible_regret(
                actual, mean, max(1, slots // _INTERRUPTIBLE_SHARE)
            ),
        }
        for kind, item in lost.items():
            for name in _REGRETS:
                regret[f"{kind}{name}_{label}"] = getattr(item, name)
    return order, regret
