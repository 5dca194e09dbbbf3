"""What the grid emits while jobs run, and the exact energy of any stretch of time."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aicsched.domain.columns import numbers, read_columns
from aicsched.errors import InputError, SignalGap, SignalInvalid, did_you_mean
from aicsched.place.online.view import frozen
from aicsched.signals.carbon.file import place_of
from aicsched.slots import HOUR_S

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

__all__ = ["Truth", "read_truth", "read_truths"]

_ZONES = ("grid_zone", "zone")
_TIMES = ("time", "datetime", "timestamp", "date", "index", "__index_level_0__")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Truth:
    """The intensity that came true, constant within a slot.

    Parameters
    ----------
    g_per_kwh : ndarray of float64, shape (h,)
        A value a slot from second 0 on.
    step_s : float
        Length of a slot [s].

    Raises
    ------
    SignalGap
        A value is missing.
    SignalInvalid
        A value is negative, or there is none.
    """

    g_per_kwh: NDArray[np.float64]
    step_s: float = float(HOUR_S)
    sums: NDArray[np.float64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        values = np.asarray(self.g_per_kwh, dtype=np.float64)
        if values.ndim != 1 or not len(values) or not self.step_s > 0:
            msg = "there is no slot in the intensity"
            raise SignalInvalid(msg, hint="give at least one value, and slots longer than 0 s")
        if not np.isfinite(values).all():
            slot = int(np.argmin(np.isfinite(values)))
            msg = f"the intensity has no value in slot {slot}"
            raise SignalGap(msg, hint="fill its gaps first: a simulation needs each slot", value=slot)
        if (values < 0).any():
            slot = int(np.argmax(values < 0))
            msg = f"the intensity of slot {slot} is {values[slot]:g} g/kWh"
            raise SignalInvalid(msg, hint="mend or drop negative values", value=float(values[slot]))
        object.__setattr__(self, "g_per_kwh", frozen(values, np.float64))
        object.__setattr__(self, "sums", frozen(np.concatenate([[0.0], np.cumsum(values)]), np.float64))

    @property
    def end_s(self) -> float:
        """Where it ends [s]."""
        return len(self.g_per_kwh) * self.step_s

    def until(self, time_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the integral of the intensity from second 0 on.

        Parameters
        ----------
        time_s : ndarray of float64
            Within the trace [s].

        Returns
        -------
        ndarray of float64
            Grams that one kilowatt emits by then.
        """
        place = np.asarray(time_s, dtype=np.float64) / self.step_s
        slot = np.clip(place.astype(np.int64), 0, len(self.g_per_kwh) - 1)
        return (self.sums[slot] + (place - slot) * self.g_per_kwh[slot]) * (self.step_s / HOUR_S)

    def repeated(self, least_s: float) -> Truth:
        """Repeat the trace from its start until it is long enough.

        Parameters
        ----------
        least_s : float
            How long it must be [s].

        Returns
        -------
        Truth
            The same where it is long enough.
        """
        times = int(np.ceil(least_s / self.end_s))
        return self if times <= 1 else Truth(g_per_kwh=np.tile(self.g_per_kwh, times), step_s=self.step_s)


def _value_column(columns: Mapping[str, Any], wanted: str | None, file: str) -> str:
    if wanted is not None:
        if wanted not in columns:
            msg = f"'{file}' has no column '{wanted}'"
            raise InputError(msg, hint=did_you_mean(wanted, columns), value=wanted)
        return wanted
    found = [name for name in columns if "intensity" in name.lower() or name.lower().endswith("g_per_kwh")]
    if len(found) != 1:
        msg = f"'{file}': {len(found) or 'none'} of its columns could be the intensity ({', '.join(columns)})"
        raise InputError(msg, hint="choose one with --column", value=found)
    return found[0]


def _clock(columns: Mapping[str, Any], file: str) -> tuple[float, np.datetime64 | None]:
    """Return the length of a slot and the first time; without times slots are hours of any day."""
    name = next((item for item in columns if item.lower() in _TIMES), None)
    if name is None:
        return float(HOUR_S), None
    try:
        times = np.array([_instant(cell) for cell in columns[name]], dtype="datetime64[s]")
    except ValueError as error:
        msg = f"'{file}' column '{name}' holds something that is no time ({error})"
        raise InputError(msg, hint="write ISO 8601, e.g. 2022-01-01T00:00Z", value=name) from error
    steps = np.diff(times.astype(np.int64))
    if not len(steps) or steps[0] <= 0 or (steps != steps[0]).any():
        row = int(np.argmax(steps != steps[0])) + 2 if len(steps) else 1
        msg = f"'{file}': the times don't go on in equal steps (row {row + 1})"
        raise InputError(msg, hint="sort it, and fill what is missing", value=row + 1)
    return float(steps[0]), times[0]


def _instant(cell: Any) -> np.datetime64:  # noqa: ANN401 - text or a time
    if isinstance(cell, np.datetime64):
        return cell
    moment = cell if isinstance(cell, datetime) else datetime.fromisoformat(str(cell).strip())
    # Only differences matter: a clock without an offset may stand.
    plain = moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)
    return np.datetime64(plain, "s")


def read_truth(path: str | Path, *, column: str | None = None, start_h: float = 0.0) -> Truth:
    """Read a trace of intensities.

    Parameters
    ----------
    path : str or Path
        CSV or parquet, one zone, a row a slot in the order of time. Without a column
        of times the slots are hours.
    column : str, optional
        Which column holds the intensity [g/kWh].
    start_h : float
        Hours of the trace to leave out at its start: second 0 of the jobs is there.

    Returns
    -------
    Truth
        From there on.

    Raises
    ------
    InputError
        There is no such column, times are no equal steps, or the start lies outside.
    """
    file = Path(path)
    columns = read_columns(file)
    name = _value_column(columns, column, file.name)
    values = numbers(columns[name], where=f"'{file.name}' column '{name}'")
    step_s, _ = _clock(columns, file.name)
    skip = start_h * HOUR_S / step_s
    if skip != int(skip) or not 0 <= skip < len(values):
        whole = f"'{file.name}' (0 to {len(values) * step_s / HOUR_S:g} h)"
        msg = f"hour {start_h:g} is no start of a slot in {whole}"
        raise InputError(msg, hint="choose another --start-hour", value=start_h)
    return Truth(g_per_kwh=values[int(skip) :], step_s=step_s)


def read_truths(files: Sequence[str], *, column: str | None = None) -> dict[str, Truth]:
    """Read the intensities of several zones.

    Parameters
    ----------
    files : sequence of str
        Paths of CSV or parquet. A file with a column ``grid_zone`` or ``zone`` has several
        zones; any other has one, which is named ``ZONE=PATH``, or by the file's stem
        without what stands before its first underscore.
    column : str, optional
        Which column holds the intensity [g/kWh].

    Returns
    -------
    dict of str to Truth
        By zone, in the order of the files.

    Raises
    ------
    InputError
        A zone comes twice, or zones begin at different times.
    """
    made: dict[str, Truth] = {}
    began: dict[str, np.datetime64] = {}
    for place in map(place_of, files):
        columns, name = read_columns(place.path), place.path.name
        value = _value_column(columns, column, name)
        key = next((item for item in columns if item.lower() in _ZONES), None)
        zones = [place.zone] * len(columns[value]) if key is None else [str(cell) for cell in columns[key]]
        values = numbers(columns[value], where=f"'{name}' column '{value}'")
        for zone in dict.fromkeys(zones):
            rows = [row for row, each in enumerate(zones) if each == zone]
            if zone in made:
                msg = f"zone '{zone}' is in '{name}' and in a file before it"
                raise InputError(msg, hint="give each zone once, e.g. ZONE=FILE", value=zone)
            part = {item: [cells[row] for row in rows] for item, cells in columns.items()}
            step_s, start = _clock(part, f"{name}, zone {zone}" if key else name)
            made[zone] = Truth(g_per_kwh=values[rows], step_s=step_s)
            if start is not None:
                began[zone] = start
    if len(set(began.values())) > 1:
        first, last = min(began, key=lambda zone: began[zone]), max(began, key=lambda zone: began[zone])
        msg = f"zone '{first}' begins at {began[first]}, and zone '{last}' at {began[last]}"
        raise InputError(msg, hint="cut them to the same beginning", value=last)
    return made
