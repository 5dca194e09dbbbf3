"""Weather forecasts as they were issued: one row an issue time, one column a lead.

Files are parquet with a UTC index of issue times and columns ``<variable>_<lead>h``,
valid over the hours up to that lead. A forecast never sees a row issued after it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from aicsched.domain.carbon import frozen_array
from aicsched.errors import InputError, SourceUnavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["WeatherVintages", "read_weather"]

_DAY_S: Final = 86_400
_COLUMN: Final = re.compile(r"^(.+)_(\d+)h$")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WeatherVintages:
    """Weather forecasts of one place, by issue time and lead.

    Parameters
    ----------
    variables : tuple of str
        V names, in the order of `values`.
    issue_times_s : ndarray of int64, shape (N,)
        Rising, seconds since the epoch.
    step_h : int
        Hours between leads.
    values : ndarray, shape (N, V, L)
        Per issue time, variable and lead; NaN where missing.
    source : str
        Id of the source.
    availability_lag_s : int
        How long after its issue a row can first be read [s]: global models take hours to run.
        Negative where times are reckoned from data that end before the issue time.

    Raises
    ------
    InputError
        Shapes differ, or issue times don't rise.
    """

    variables: tuple[str, ...]
    issue_times_s: NDArray[np.int64]
    step_h: int
    values: NDArray[np.float64]
    source: str
    availability_lag_s: int = 0

    def __post_init__(self) -> None:
        shape = (len(self.issue_times_s), len(self.variables))
        if self.values.ndim != 3 or self.values.shape[:2] != shape or not len(self.issue_times_s):
            wanted = f"{shape[0]} issue times and {shape[1]} variables"
            msg = f"{self.source}: weather of shape {self.values.shape} for {wanted}"
            raise InputError(
                msg, hint="give values by issue time, variable and lead", value=self.values.shape
            )
        if bool((np.diff(self.issue_times_s) <= 0).any()):
            msg = f"{self.source}: weather issue times don't rise"
            raise InputError(msg, hint="sort the rows and drop duplicates")

    def day(self, issue_s: NDArray[np.int64], lead_day: int) -> NDArray[np.float64]:
        """Return the weather of one lead day as it was foreseen at each issue time.

        Parameters
        ----------
        issue_s : ndarray of int64, shape (n,)
            When a carbon forecast is issued, seconds since the epoch.
        lead_day : int
            0 is the first 24 hours; -1 the day before, by the row a day older.

        Returns
        -------
        ndarray, shape (n, V, 24 / step_h)
            From the newest row that was at hand. NaN where none was issued in the
            24 hours before, or it doesn't reach that day; where it ends within the
            day, its last step stands for the rest.
        """
        per_day = 24 // self.step_h
        wanted_s = issue_s - _DAY_S * (lead_day < 0)
        row = np.searchsorted(self.issue_times_s + self.availability_lag_s, wanted_s, side="right") - 1
        here = np.maximum(row, 0)
        age_s = wanted_s - self.issue_times_s[here]
        first = age_s // (3600 * self.step_h) + max(lead_day, 0) * per_day
        leads = self.values.shape[2]
        fresh = (row >= 0) & (age_s < _DAY_S + self.availability_lag_s) & (first < leads)
        lead = np.clip(first[:, None] + np.arange(per_day), 0, leads - 1)
        picked = self.values[here[:, None], :, lead].swapaxes(1, 2)
        return np.where(fresh[:, None, None], picked, np.nan)


def _read(path: Path) -> dict[str, Any]:
    try:
        from pyarrow import parquet  # noqa: PLC0415 - an extra
    except ImportError as error:
        msg = f"'{path.name}' is parquet, and pyarrow is not installed"
        raise SourceUnavailable(msg, hint="pip install 'aicsched[parquet]'") from error
    try:
        table = parquet.read_table(path)
    except (OSError, ValueError) as error:
        msg = f"the weather file '{path}' can't be read as parquet"
        raise InputError(msg, hint="give a parquet file of vintage forecasts", value=str(path)) from error
    return {name: table.column(name).to_numpy() for name in table.column_names}


def _vintages(path: Path, availability_lag_s: int) -> WeatherVintages:
    columns = _read(path)
    times = [name for name, values in columns.items() if values.dtype.kind == "M"]
    leads = {
        (match.group(1), int(match.group(2))): name for name in columns if (match := _COLUMN.match(name))
    }
    if len(times) != 1 or not leads:
        msg = f"'{path.name}' is no table of weather forecasts by issue time"
        raise InputError(
            msg, hint="one UTC time column, and columns such as wind_speed_3h", value=list(columns)[:8]
        )
    variables = tuple(sorted({name for name, _ in leads}))
    hours = sorted({hour for _, hour in leads})
    absent = [f"{name}_{hour}h" for name in variables for hour in hours if (name, hour) not in leads]
    if absent or 24 % hours[0] or hours != list(range(hours[0], hours[-1] + 1, hours[0])):
        msg = f"'{path.name}' lacks leads: {', '.join(absent[:3]) or hours}"
        raise InputError(
            msg, hint="give every variable at equal steps of lead that divide a day", value=absent
        )
    order = np.argsort(columns[times[0]], kind="stable")
    try:
        stacked = np.array(
            [[columns[leads[name, hour]] for hour in hours] for name in variables], dtype=np.float64
        )
    except (TypeError, ValueError) as error:
        msg = f"'{path.name}' holds weather that is not all numbers"
        raise InputError(msg, hint="give numbers, and leave unknown values empty") from error
    return WeatherVintages(
        variables=variables,
        issue_times_s=columns[times[0]][order].astype("datetime64[s]").astype(np.int64),
        step_h=hours[0],
        values=frozen_array(stacked.transpose(2, 0, 1)[order]),
        source=f"file:{path.name}",
        availability_lag_s=availability_lag_s,
    )


def read_weather(paths: Sequence[str], *, availability_lag_s: int = 0) -> dict[str, WeatherVintages]:
    """Read vintage weather forecasts, one file a zone.

    Parameters
    ----------
    paths : sequence of str
        Parquet files; ``ZONE=PATH`` names the zone, else it is the file's stem
        behind its last ``_`` (``ccast13_wx96_DE.parquet`` is DE).
    availability_lag_s : int
        How long after its issue a row can first be read [s].

    Returns
    -------
    dict of str to WeatherVintages
        Per zone.

    Raises
    ------
    SourceUnavailable
        pyarrow is missing.
    InputError
        A file is no such table.
    """
    made: dict[str, WeatherVintages] = {}
    for item in paths:
        zone, _, rest = item.partition("=")
        path = Path(rest or item)
        made[zone if rest else path.stem.rpartition("_")[2]] = _vintages(path, availability_lag_s)
    return made
