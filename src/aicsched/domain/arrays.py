"""Frames to arrays and back: the only place where pandas meets our facts.

Frames come in and go out tidy: one row a fact, times in UTC, units in the column
names. pandas 3 gives read-only arrays and times of any resolution; both end
here. It is imported inside the functions, since importing it takes a second.
No frame that is handed in is changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from aicsched.domain.carbon import CarbonSeries, IntensityKind, Quality
from aicsched.domain.tidy import row_qualities, series_from_rows
from aicsched.errors import InputError, SlotError, UnitError, UnknownZone, did_you_mean
from aicsched.slots import HOUR_S

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd
    from numpy.typing import NDArray

    from aicsched.domain.forecast import Forecast
    from aicsched.domain.placement import Placement
    from aicsched.slots import SlotGrid

__all__ = ["forecast_frame", "frame_from_series", "placement_frame", "series_from_frame", "to_epoch_s"]

_VALUE: Final = "value_g_per_kwh"


def to_epoch_s(times: pd.Index[Any] | pd.Series[Any]) -> NDArray[np.int64]:
    """Turn pandas times of any resolution into whole seconds since the epoch.

    Parameters
    ----------
    times : Index or Series
        With a time zone.

    Returns
    -------
    ndarray of int64, shape (len(times),)
        Seconds since 1970-01-01T00:00Z.

    Raises
    ------
    SlotError
        The times are naive, empty, between seconds, or no times.

    Examples
    --------
    >>> import pandas as pd
    >>> to_epoch_s(pd.DatetimeIndex(["1970-01-02 01:00+01:00"])).tolist()
    [86400]
    """
    import pandas as pd  # noqa: PLC0415 - takes a second

    if not isinstance(times.dtype, pd.DatetimeTZDtype):
        said = (
            "have no time zone"
            if getattr(times.dtype, "kind", "") == "M"
            else f"are {times.dtype}, not times"
        )
        msg = f"the times {said}"
        raise SlotError(msg, hint='use for example pd.to_datetime(..., utc=True) or .tz_localize("UTC")')
    index = pd.DatetimeIndex(times).tz_convert("UTC").tz_localize(None)
    exact = index.to_numpy()
    if np.isnat(exact).any():
        msg = f"time {int(np.argmax(np.isnat(exact)))} is empty"
        raise SlotError(msg, hint="fill it or drop the row")
    whole = exact.astype("datetime64[s]")
    if (whole != exact).any():
        msg = f"time {int(np.argmax(whole != exact))} falls between seconds"
        raise SlotError(msg, hint="round the times to whole seconds")
    return whole.astype(np.int64)


def _times(slots: SlotGrid) -> pd.DatetimeIndex:
    import pandas as pd  # noqa: PLC0415

    return pd.DatetimeIndex(slots.starts_s().astype("datetime64[s]").astype("datetime64[ns]"), tz="UTC")


def frame_from_series(series: CarbonSeries | Iterable[CarbonSeries]) -> pd.DataFrame:
    """Write intensities as a tidy frame.

    Parameters
    ----------
    series : CarbonSeries or iterable of CarbonSeries
        One or more zones.

    Returns
    -------
    DataFrame
        One row a zone and slot: ``grid_zone``, ``valid_time`` (UTC, nanoseconds),
        ``kind``, ``value_g_per_kwh``, ``quality``, ``source``, ``synthetic``.

    Examples
    --------
    >>> from aicsched.slots import SlotGrid
    >>> series = CarbonSeries(grid_zone="DE", kind=IntensityKind.AVERAGE, source="test",
    ...                       slots=SlotGrid(0, 3600, 2), values_g_per_kwh=[400.0, 380.0])
    >>> frame_from_series(series)[["grid_zone", "value_g_per_kwh", "quality"]].values.tolist()
    [['DE', 400.0, 'actual'], ['DE', 380.0, 'actual']]
    """
    import pandas as pd  # noqa: PLC0415

    items = (series,) if isinstance(series, CarbonSeries) else tuple(series)
    names = np.array([item.name.lower() for item in Quality], dtype=object)
    parts = [
        pd.DataFrame(
            {
                "grid_zone": item.grid_zone,
                "valid_time": _times(item.slots),
                "kind": str(item.kind),
                _VALUE: item.values_g_per_kwh,
                "quality": names[np.asarray(item.quality)],
                "source": item.source,
                "synthetic": item.synthetic,
            }
        )
        for item in items
    ]
    if not parts:
        msg = "there is no series to write"
        raise InputError(msg, hint="give at least one")
    return pd.concat(parts, ignore_index=True)


def _only(frame: pd.DataFrame, column: str, default: str) -> str:
    """Return the one value of a column, or the default where there is no such column."""
    if column not in frame.columns:
        return default
    found = sorted({str(item) for item in frame[column].unique()})
    if len(found) != 1:
        msg = f"column '{column}' holds {', '.join(found)}"
        raise InputError(msg, hint="select one of them first", value=found)
    return found[0]


def _zone_rows(frame: pd.DataFrame, zone: str | None) -> tuple[pd.DataFrame, str]:
    if "grid_zone" not in frame.columns:
        if zone is None:
            msg = "the frame has no column 'grid_zone'"
            raise InputError(msg, hint="say which zone it holds with zone=")
        return frame, zone
    if zone is None:
        return frame, _only(frame, "grid_zone", "")
    known = [str(item) for item in frame["grid_zone"].unique()]
    if zone not in known:
        msg = f"the frame has no grid zone '{zone}'"
        raise UnknownZone(msg, hint=did_you_mean(zone, known), value=zone)
    return frame[frame["grid_zone"] == zone], zone


def _kind(rows: pd.DataFrame) -> IntensityKind:
    said = _only(rows, "kind", IntensityKind.AVERAGE)
    if said not in set(IntensityKind):
        msg = f"'{said}' is no kind of intensity"
        raise InputError(msg, hint="use average or marginal", value=said)
    return IntensityKind(said)


def series_from_frame(
    frame: pd.DataFrame,
    *,
    zone: str | None = None,
    column: str = _VALUE,
    kind: IntensityKind | None = None,
    source: str | None = None,
) -> CarbonSeries:
    """Read one zone's intensity from a frame.

    Parameters
    ----------
    frame : DataFrame
        Either as `frame_from_series` writes it, or with times in the index or in
        ``valid_time`` or ``time``; of its columns only the one with the values is needed.
        ``quality`` or ``estimated`` say what a value is, ``reading_time`` when it was
        read: of several rows for one slot the newest counts.
    zone : str, optional
        Which grid zone; needed where the frame has no ``grid_zone`` or several.
    column : str
        Where the values are [g/kWh].
    kind : IntensityKind, optional
        By default what the column ``kind`` says, else average.
    source : str, optional
        By default what the column ``source`` says, else ``"frame"``.

    Returns
    -------
    CarbonSeries
        Gaps are NaN, as in the frame, and so is what can't be true.

    Raises
    ------
    InputError
        A column is missing, or several zones, kinds or sources would be mixed.
    UnknownZone
        The zone is not in the frame; the three nearest are named.
    SlotError
        Times are naive or off a regular grid.
    SignalError
        Values that can't be true, contradict each other or are missing too often.
    """
    rows, name = _zone_rows(frame, zone)
    if column not in rows.columns:
        msg = f"the frame has no column '{column}'"
        raise InputError(msg, hint=did_you_mean(column, map(str, rows.columns)), value=column)
    if rows.empty:
        msg = "the frame holds no rows"
        raise InputError(msg, hint="give at least one", value=name)
    stamps = next((rows[item] for item in ("valid_time", "time") if item in rows.columns), rows.index)
    time_s = to_epoch_s(stamps)
    try:
        values = rows[column].to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError) as error:
        msg = f"column '{column}' holds what is no number ({error})"
        raise UnitError(msg, hint="convert it to g/kWh in plain numbers", value=column) from error
    where = f"the frame's zone {name}"
    quality = next(
        (row_qualities(rows[item], item, where) for item in ("quality", "estimated") if item in rows.columns),
        None,
    )
    return series_from_rows(
        time_s,
        values,
        where=where,
        zone=name,
        kind=kind or _kind(rows),
        source=source or _only(rows, "source", "frame"),
        quality=quality,
        read_s=to_epoch_s(rows["reading_time"]) if "reading_time" in rows.columns else None,
        synthetic=_only(rows, "synthetic", "False") == "True",
    )


def forecast_frame(forecast: Forecast) -> pd.DataFrame:
    """Write a forecast as a tidy frame.

    Parameters
    ----------
    forecast : Forecast
        Of one zone.

    Returns
    -------
    DataFrame
        One row a slot: ``grid_zone``, ``kind``, ``valid_time``, ``issue_time``, ``lead_h``,
        ``mean_g_per_kwh``, one ``q10_g_per_kwh`` a level, ``model``, ``source``, ``synthetic``.
    """
    import pandas as pd  # noqa: PLC0415

    starts_s = forecast.slots.starts_s()
    quantiles = {
        f"q{100 * level:g}_g_per_kwh": forecast.quantiles_g_per_kwh[row]
        for row, level in enumerate(forecast.levels)
    }
    return pd.DataFrame(
        {
            "grid_zone": forecast.grid_zone,
            "kind": str(forecast.kind),
            "valid_time": _times(forecast.slots),
            "issue_time": pd.Timestamp(forecast.issue_time_s, unit="s", tz="UTC").as_unit("ns"),
            "lead_h": (starts_s - forecast.issue_time_s) / HOUR_S,
            "mean_g_per_kwh": forecast.mean_g_per_kwh,
            **quantiles,
            "model": forecast.model,
            "source": forecast.source,
            "synthetic": forecast.synthetic,
        }
    )


def placement_frame(placement: Placement) -> pd.DataFrame:
    """Write a plan as a tidy frame.

    Parameters
    ----------
    placement : Placement
        A plan.

    Returns
    -------
    DataFrame
        One row a job, in the plan's order: ``job_id``, ``region``, ``start``, ``end`` (of its
        last slot, exclusive), ``slots_h`` (time it occupies), ``machine_h`` (the same times the machines
        of one that scales), ``operational_g``, ``transfer_g``, ``total_g``, ``policy``.
    """
    import pandas as pd  # noqa: PLC0415

    grid, rows = placement.slots, placement.assignments
    starts_s = np.array([grid.start_s + row.slot_indices[0] * grid.step_s for row in rows], dtype=np.int64)
    ends_s = np.array(
        [grid.start_s + (row.slot_indices[-1] + 1) * grid.step_s for row in rows], dtype=np.int64
    )
    return pd.DataFrame(
        {
            "job_id": [row.job_id for row in rows],
            "region": [row.region for row in rows],
            "start": pd.to_datetime(starts_s, unit="s", utc=True).as_unit("ns"),
            "end": pd.to_datetime(ends_s, unit="s", utc=True).as_unit("ns"),
            "slots_h": [len(row.slot_indices) * grid.step_h for row in rows],
            "machine_h": [(sum(row.machines) or len(row.slot_indices)) * grid.step_h for row in rows],
            "operational_g": [row.operational_g for row in rows],
            "transfer_g": [row.transfer_g for row in rows],
            "total_g": [row.total_g for row in rows],
            "policy": placement.policy,
        }
    )
