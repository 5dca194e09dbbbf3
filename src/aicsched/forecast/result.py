"""What a backtest found: per zone, on average, and as tidy frames."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from aicsched.forecast.measure import BY_LEAD_DAY
from aicsched.slots import format_time

if TYPE_CHECKING:
    import pandas as pd

    from aicsched.forecast.measure import ZoneResult, ZoneRun

__all__ = ["BacktestResult"]


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
    runs : dict of str to ZoneRun
        The forecasts themselves, where they were asked for.
    synthetic : bool
        True where a series was made up.
    """

    model: str
    start_s: int
    end_s: int
    horizon: int
    origins: int
    zones: dict[str, ZoneResult]
    runs: dict[str, ZoneRun] = field(default_factory=dict)
    synthetic: bool = False

    @property
    def cpu_s_per_fit(self) -> float:
        """CPU time of learning once and forecasting the whole horizon once [s]: all else is deterministic."""
        fits = sum(item.fits for item in self.zones.values())
        return sum(item.fit_cpu_s for item in self.zones.values()) / max(fits, 1)

    @property
    def cpu_s_per_forecast(self) -> float:
        """CPU time of a forecast between two learnings, new data included [s]; NaN where there is none."""
        count = sum(len(item.issue_times_s) - item.fits for item in self.zones.values())
        spent = sum(item.cpu_s - item.fit_cpu_s for item in self.zones.values())
        return spent / count if count > 0 else float("nan")

    def mean(self) -> dict[str, Any]:
        """Return the mean over zones of everything that was measured.

        Returns
        -------
        dict
            As `ZoneResult.measures`; a zone whose figure is NaN is left out of that mean.
        """
        return _mean([item.measures() for item in self.zones.values()])

    def worst(self) -> dict[str, list[float]]:
        """Return the worst zone's figure for each lead day.

        Returns
        -------
        dict of str to list of float
            The highest ``mape`` and the lowest ``coverage80``.
        """
        errors = np.array([item.mape for item in self.zones.values()])
        held = np.array([item.coverage80 for item in self.zones.values()])
        return {
            "mape": [_extreme(column, max) for column in errors.T],
            "coverage80": [_extreme(column, min) for column in held.T],
        }

    def as_dict(self) -> dict[str, Any]:
        """Return plain values: ``zones.{zone}`` and ``mean`` with equal keys.

        Returns
        -------
        dict
            ``model``, ``start``, ``end``, ``horizon``, ``origins``, ``synthetic``,
            ``zones``, ``mean``, ``worst``, ``cpu_s_per_fit`` and ``cpu_s_per_forecast``; see `ZoneResult` for
            the keys of a zone, which has ``refused`` and ``flags`` besides. A figure that
            can't be known is None.
        """
        zones = {
            name: item.measures() | {"refused": item.refused, "flags": dict(item.flags)}
            for name, item in self.zones.items()
        }
        return _plain(
            {
                "model": self.model,
                "start": format_time(self.start_s),
                "end": format_time(self.end_s),
                "horizon": self.horizon,
                "origins": self.origins,
                "synthetic": self.synthetic,
                "zones": zones,
                "mean": self.mean(),
                "worst": self.worst(),
                "cpu_s_per_fit": self.cpu_s_per_fit,
                "cpu_s_per_forecast": self.cpu_s_per_forecast,
            }
        )

    def frame(self) -> pd.DataFrame:
        """Return a tidy frame of what was measured.

        Returns
        -------
        pandas.DataFrame
            Columns ``grid_zone``, ``lead_day`` (0 where a figure is of a whole window),
            ``metric`` and ``value``.
        """
        import pandas as pd  # noqa: PLC0415 - takes a second, and is for notebooks only

        rows: list[tuple[str, int, str, float]] = []
        for zone, item in self.zones.items():
            for metric in BY_LEAD_DAY:
                rows += [(zone, day + 1, metric, value) for day, value in enumerate(getattr(item, metric))]
            for level, shares in item.calibration.items():
                rows += [(zone, day + 1, f"share_below_{level}", value) for day, value in enumerate(shares)]
            rows.append((zone, 0, "mape_p95", item.mape_p95))
            rows += [
                (zone, 0, f"coverage80_hour_{hour:02d}", value)
                for hour, value in enumerate(item.coverage80_by_hour)
            ]
            rows += [(zone, 0, f"concordance_{window}", value) for window, value in item.concordance.items()]
            rows += [(zone, 0, name, value) for name, value in item.regret.items()]
        return pd.DataFrame(rows, columns=["grid_zone", "lead_day", "metric", "value"])

    def origins_frame(self) -> pd.DataFrame:
        """Return a tidy frame of each forecast's errors.

        Returns
        -------
        pandas.DataFrame
            Columns ``grid_zone``, ``issue_time`` (UTC), ``lead_day``, ``metric`` and ``value``.
        """
        import pandas as pd  # noqa: PLC0415 - takes a second, and is for notebooks only

        parts: list[pd.DataFrame] = []
        for zone, item in self.zones.items():
            times = pd.to_datetime(item.issue_times_s, unit="s", utc=True)
            for metric, values in item.per_origin.items():
                days = values.shape[1]
                parts.append(
                    pd.DataFrame(
                        {
                            "grid_zone": zone,
                            "issue_time": times.repeat(days),
                            "lead_day": np.tile(np.arange(1, days + 1), len(values)),
                            "metric": metric,
                            "value": values.ravel(),
                        }
                    )
                )
        return pd.concat(parts, ignore_index=True)


def _extreme(column: np.ndarray[Any, np.dtype[np.float64]], choose: Any) -> float:  # noqa: ANN401 - min or max
    known = column[np.isfinite(column)].tolist()
    return choose(known) if known else float("nan")


def _mean(items: list[Any]) -> Any:  # noqa: ANN401 - the same shape as the items
    """Average equal structures of numbers, leaving out what is NaN."""
    if isinstance(items[0], dict):
        return {name: _mean([item[name] for item in items]) for name in items[0]}
    if isinstance(items[0], list):
        return [_mean(list(column)) for column in zip(*items, strict=True)]
    return float(np.nanmean(items)) if np.isfinite(items).any() else float("nan")


def _plain(value: Any) -> Any:  # noqa: ANN401 - the same shape as the value
    """Turn NaN, which JSON has no word for, into None."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
