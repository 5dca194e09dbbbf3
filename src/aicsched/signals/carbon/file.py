"""Carbon intensity from CSV and parquet files.

A file holds one zone (a time column and a value column) or several (a
``grid_zone`` column as well). What can be recognised is recognised, what can't
is asked for, and nothing is guessed that would change a number: times must carry
an offset, an implausible level asks for the unit, gaps stay gaps.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from aicsched.domain.carbon import MAX_INTENSITY_G_PER_KWH, CarbonSeries, IntensityKind
from aicsched.domain.columns import PARQUET, epoch_seconds, numbers, read_columns, texts
from aicsched.domain.flags import Flag
from aicsched.domain.local_time import local_seconds
from aicsched.domain.tidy import quality_flags, row_qualities, series_from_rows
from aicsched.errors import InputError, SignalInvalid, SlotError, UnitError, did_you_mean
from aicsched.signals.base import refuse_unknown_zone
from aicsched.units import intensity_factor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from aicsched.slots import SlotGrid

__all__ = ["FileCarbon", "Place", "place_of", "time_column"]

_TIMES: Final = (
    "time",
    "valid_time",
    "slot_start",
    "datetime",
    "timestamp",
    "datetime_utc",
    "index",
    "__index_level_0__",
    "date",
)
_ZONES: Final = ("grid_zone", "zone")
_READ: Final = ("reading_time", "read_time", "issue_time", "updated_at", "published_at")
_QUALITY: Final = ("quality", "estimated", "is_estimated")
_SYNTHETIC: Final = "synthetic"
_VALUE: Final = re.compile(r"(^|_|\b)(ci|co2|carbon|intensity|moer)(_|\b|$)|g_per_kwh|carbon[ _]intensity")
# Carbon-free shares, prices and masses carry the word carbon too, and none of them is an intensity.
_OTHER: Final = re.compile(
    r"pct|percent|%|share|free|price|cost|(^|[_ ])(kg|t|tons?|tonnes?|lbs?|mwh?|gwh?)$"
)
# What an only column may be called without saying that it is an intensity.
_PLAIN: Final = ("value", "values")
_UNIT: Final = re.compile(r"(?<![a-z])(k?g|t|lbs?|mg)_?(co2(eq|e)?)?_?(per|/)_?([kmg]?wh|mj)")
_MARGINAL: Final = re.compile(r"marginal|moer")
_LISTED: Final = 8
# Below this median a series is in kg/kWh or t/MWh: the cleanest grids of the world stand at 10 to 30 g/kWh.
_IMPLAUSIBLE_MEDIAN_G_PER_KWH: Final = 2.0


@dataclass(frozen=True, slots=True)
class Place:
    """A file and its zone.

    Parameters
    ----------
    path : Path
        The file.
    zone : str
        ``""`` when the file has a zone column.
    """

    path: Path
    zone: str


def place_of(item: str) -> Place:
    """Return a file and the zone that it is named for.

    Parameters
    ----------
    item : str
        ``ZONE=PATH`` or ``PATH``.

    Returns
    -------
    Place
        The zone is the file's stem behind its first underscore where it isn't given.

    Examples
    --------
    >>> place_of("data/ccast13_DE.parquet").zone
    'DE'
    """
    zone, separator, rest = item.partition("=")
    if separator and "/" not in zone and not Path(item).exists():
        return Place(Path(rest), zone.strip())
    path = Path(item)
    stem = path.name
    for ending in (".gz", ".csv", *PARQUET):
        stem = stem.removesuffix(ending)
    return Place(path, stem.partition("_")[2] or stem)


class FileCarbon:
    r"""A carbon source over files.

    Parameters
    ----------
    paths : sequence of str or Path
        CSV (``.csv``, ``.csv.gz``) or parquet. A file without a zone column holds
        one zone, named ``ZONE=PATH``, or else by the file's stem without what
        stands before its first underscore: ``ccast13_DE.parquet`` is DE.
    column : str, optional
        Which column holds the intensity; needed where several could.
    kind : IntensityKind, optional
        By default marginal where the column's name says so, else average.
    unit : str, optional
        By default that in the column's name, else g/kWh.
    time_zone : str, optional
        The clock of times without an offset, e.g. ``"Europe/Berlin"``; without it
        such times are refused.
    availability_lag_s : int
        How long after a slot's end its value comes to be known [s].
    name : str
        Who says so: files of different origin that are merged or stored need a name each.

    Raises
    ------
    InputError
        A file is absent, or two files hold the same zone.

    Notes
    -----
    A column ``estimated`` or ``quality`` says what a value is. A column
    ``reading_time`` (or ``issue_time``, ``updated_at``, ``published_at``) says when it
    was read: of several rows for one slot the newest counts, and a forecast for an
    earlier issue time gets what had been read by then. A column ``synthetic`` marks
    values that were made up.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> file = Path(tempfile.mkdtemp()) / "DE.csv"
    >>> rows = [f"2021-01-01T{hour:02}:00Z,{400 + hour}" for hour in range(24)]
    >>> _ = file.write_text("time,ci_g_per_kwh\n" + "\n".join(rows))
    >>> float(FileCarbon([file]).read("DE").values_g_per_kwh.max())
    423.0
    """

    def __init__(
        self,
        paths: Sequence[str | Path],
        *,
        column: str | None = None,
        kind: IntensityKind | None = None,
        unit: str | None = None,
        time_zone: str | None = None,
        availability_lag_s: int = 0,
        name: str = "file",
    ) -> None:
        self._name = name
        self._column = column
        self._kind = kind
        self._unit = unit
        self._time_zone = time_zone
        self._lag_s = availability_lag_s
        self._series: dict[str, CarbonSeries] = {}
        for item in paths:
            place = place_of(str(item))
            for zone, series in self._load(place):
                if zone in self._series:
                    msg = f"grid zone '{zone}' is in two files, '{place.path.name}' among them"
                    raise InputError(msg, hint="give each zone once, or name them ZONE=PATH", value=zone)
                self._series[zone] = series

    @property
    def source_id(self) -> str:
        """Who says so."""
        return self._name if self._column is None else f"{self._name}:{self._column}"

    def zones(self) -> tuple[str, ...]:
        """List the zones in the files.

        Returns
        -------
        tuple of str
            In the order of the files.
        """
        return tuple(self._series)

    def notes(self, zone: str) -> tuple[str, ...]:
        """Return what was put in order in a zone's rows, and what they lack.

        Parameters
        ----------
        zone : str
            One of `zones`.

        Returns
        -------
        tuple of str
            For example ``"sorted"``, ``"duplicates:3"``, ``"gaps:12"``.
        """
        refuse_unknown_zone(zone, self._series, self.source_id)
        series = self._series[zone]
        return quality_flags(series) + ((Flag.GAPS.of(series.missing),) if series.missing else ())

    def read(self, zone: str, window: SlotGrid | None = None) -> CarbonSeries:
        """Return a zone's intensity.

        Parameters
        ----------
        zone : str
            One of `zones`.
        window : SlotGrid, optional
            Part of the file's grid.

        Returns
        -------
        CarbonSeries
            Missing slots are NaN.

        Raises
        ------
        UnknownZone
            No file holds the zone; the three nearest are named.
        SlotError
            The window is not in the file.
        """
        refuse_unknown_zone(zone, self._series, self.source_id)
        series = self._series[zone]
        return series if window is None else series.window(window)

    def _load(self, place: Place) -> list[tuple[str, CarbonSeries]]:
        columns = read_columns(place.path)
        name = place.path.name
        lowered = {item.lower(): item for item in reversed(columns)}
        zone_column = next((lowered[item] for item in _ZONES if item in lowered), None)
        chosen = self._value_column(columns, name, place.zone)
        factor, told = self._factor(chosen, name)
        values = numbers(columns[chosen], where=f"'{name}' column '{chosen}'") * factor
        said = IntensityKind.MARGINAL if _MARGINAL.search(chosen.lower()) else IntensityKind.AVERAGE
        zone_of_row = np.full(len(values), place.zone)
        if zone_column is not None:
            zone_of_row = np.array(texts(columns, zone_column, where=f"'{name}'"))
        time_s, unclear = self._times(columns, name, zone_of_row, np.isnan(values))
        quality, read_s = _qualities(columns, lowered, name), _reading_times(columns, lowered, name)
        made_up = _made_up(columns, lowered, len(values))
        made: list[tuple[str, CarbonSeries]] = []
        for zone in dict.fromkeys(zone_of_row.tolist()):
            here = zone_of_row == zone
            rows = here & ~unclear
            where = f"'{name}' zone {zone}"
            _refuse_implausible(values[rows], where, told=told)
            series = series_from_rows(
                time_s[rows],
                values[rows],
                where=where,
                zone=zone,
                kind=self._kind or said,
                source=f"file:{name}#{chosen}",
                quality=None if quality is None else quality[rows],
                read_s=None if read_s is None else read_s[rows],
                synthetic=bool(made_up[here].any()),
                unclear=int((here & unclear & ~np.isnan(values)).sum()),
                availability_lag_s=self._lag_s,
            )
            made.append((zone, series))
        return made

    def _times(
        self, columns: dict[str, Any], name: str, zones: NDArray[np.str_], empty: NDArray[np.bool_]
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return the start of each row's slot, and which rows' local times are unclear."""
        raw, where = columns[time_column(columns, name)], f"'{name}'"
        if self._time_zone is None:
            try:
                return epoch_seconds(raw, where=where), np.zeros(len(zones), dtype=np.bool_)
            except SlotError as error:
                if "no time zone" not in error.message:
                    raise
                hint = f"{error.hint}, or name the clock with --time-zone"
                raise SlotError(error.message, hint=hint, value=error.value) from error
        return local_seconds(raw, time_zone=self._time_zone, groups=zones, empty=empty, where=where)

    def _factor(self, column: str, name: str) -> tuple[float, bool]:
        if self._unit is not None:
            return intensity_factor(self._unit), True
        match = _UNIT.search(_plain_name(column))
        if match is None:
            return 1.0, False
        try:
            return intensity_factor(match.group(0)), True
        except UnitError as error:
            msg = f"'{name}': the unit in the column name '{column}' is not known"
            raise UnitError(msg, hint=error.hint, value=column) from error

    def _value_column(self, columns: dict[str, Any], name: str, zone: str) -> str:
        if self._column is not None:
            if self._column not in columns:
                msg = f"'{name}' has no column '{self._column}'"
                raise InputError(msg, hint=did_you_mean(self._column, columns), value=self._column)
            return self._column
        others = [
            item for item in columns if item.lower() not in (*_ZONES, *_TIMES, *_READ, *_QUALITY, _SYNTHETIC)
        ]
        found = [item for item in others if _is_intensity(item)]
        if not found and len(others) == 1 and others[0].lower() in (*_PLAIN, zone.lower()):
            found = others
        if len(found) != 1:
            listed = ", ".join((found or list(columns))[:_LISTED])
            more = ", …" if len(found or columns) > _LISTED else ""
            msg = f"'{name}': {len(found) or 'none'} of its columns could be the intensity ({listed}{more})"
            raise InputError(msg, hint="choose one with --column", value=found)
        return found[0]


def _qualities(columns: dict[str, Any], lowered: dict[str, str], name: str) -> NDArray[np.int8] | None:
    column = next((lowered[item] for item in _QUALITY if item in lowered), None)
    return None if column is None else row_qualities(columns[column], column.lower(), f"'{name}'")


def _made_up(columns: dict[str, Any], lowered: dict[str, str], rows: int) -> NDArray[np.bool_]:
    column = lowered.get(_SYNTHETIC)
    if column is None:
        return np.zeros(rows, dtype=np.bool_)
    return np.array(
        [str(value).strip().lower() in ("true", "1") for value in columns[column]], dtype=np.bool_
    )


def _reading_times(columns: dict[str, Any], lowered: dict[str, str], name: str) -> NDArray[np.int64] | None:
    column = next((lowered[item] for item in _READ if item in lowered), None)
    return None if column is None else epoch_seconds(columns[column], where=f"'{name}' column '{column}'")


def _plain_name(column: str) -> str:
    return column.lower().replace(" ", "_").replace("₂", "2")


def _is_intensity(column: str) -> bool:
    plain = _plain_name(column)
    return bool(_UNIT.search(plain)) or bool(_VALUE.search(plain) and not _OTHER.search(plain))


def time_column(columns: dict[str, Any], name: str) -> str:
    """Return which column of a table holds the times.

    Parameters
    ----------
    columns : dict
        By name.
    name : str
        Of the file, for messages.

    Returns
    -------
    str
        A known name, or else the only column of times.

    Raises
    ------
    InputError
        There is none, or more than one.
    """
    lowered = {item.lower(): item for item in columns}
    for known in _TIMES:
        if known in lowered:
            return lowered[known]
    stamps = [
        item for item, values in columns.items() if getattr(values, "dtype", np.dtype(float)).kind == "M"
    ]
    if len(stamps) == 1:
        return stamps[0]
    msg = f"'{name}' has no time column (its columns are {', '.join(list(columns)[:_LISTED])})"
    raise InputError(msg, hint=f"name it 'time' (known names: {', '.join(_TIMES[:5])})", value=list(columns))


def _refuse_implausible(values: NDArray[np.float64], where: str, *, told: bool) -> None:
    """Notice a whole series in another unit; single absurd values are for `CarbonSeries` to name."""
    known = values[np.isfinite(values)]
    if told or not len(known):
        return
    # A night of pure hydro can stand near zero; a whole series that does is in another unit.
    median = float(np.median(known))
    if median < _IMPLAUSIBLE_MEDIAN_G_PER_KWH or median > MAX_INTENSITY_G_PER_KWH:
        msg = f"{where}: a median of {median:.4g} is no g/kWh"
        hint = "say the unit with --unit, for example --unit kg/MWh or --unit kg/kWh (or g/kWh if it is true)"
        raise SignalInvalid(msg, hint=hint, value=median)
