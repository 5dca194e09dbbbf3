"""What arrives: traces of jobs, and the queues that they are sent to."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from aicsched.domain.columns import numbers, read_columns
from aicsched.errors import ConfigError, InputError, UnitError, did_you_mean
from aicsched.place.online.view import Pending, frozen
from aicsched.slots import HOUR_S

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from numpy.typing import NDArray

__all__ = ["Queues", "Trace", "Workload", "read_trace"]

UNITS_S: Final = {"s": 1.0, "min": 60.0, "h": float(HOUR_S)}
_COLUMNS: Final = {
    "arrival_time": ("arrival_time", "arrival", "submit_time"),
    "length": ("length", "duration", "run_time"),
    "cpus": ("cpus", "vcpus", "cores"),
}
# What policies may be told of a length that nobody knows.
KNOWLEDGE: Final = ("mean", "lives", "past")
QUANTILES: Final = 16
# So many jobs of a queue must be done before anything is concluded from them.
ENOUGH: Final = 5
YEAR_H: Final = 8784.0
# A trace of batch jobs has few that take less than a minute, and few that take more than a month.
MINUTE_S: Final = 60.0
MONTH_H: Final = 744.0


def _first_bad(values: NDArray[np.float64], *, zero: bool) -> int | None:
    bad = ~np.isfinite(values) | ((values < 0) if zero else (values <= 0))
    return int(np.argmax(bad)) if bad.any() else None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trace:
    """Jobs that came, in the order of their arrival.

    Parameters
    ----------
    arrival_s : ndarray of float64, shape (n,)
        When, from the start of the trace on [s].
    length_s : ndarray of float64, shape (n,)
        How long each runs on its threads [s].
    vcpus : ndarray of float64, shape (n,)
        Hardware threads.
    time_unit : str
        In which unit the times stood in the file.

    Raises
    ------
    InputError
        A value is missing, infinite or out of its range; the first row is named.
    """

    arrival_s: NDArray[np.float64]
    length_s: NDArray[np.float64]
    vcpus: NDArray[np.float64]
    time_unit: str = "s"

    def __post_init__(self) -> None:
        if not len(self.arrival_s) or not len(self.arrival_s) == len(self.length_s) == len(self.vcpus):
            msg = "a trace needs at least one job, and as many lengths and threads as arrivals"
            raise InputError(msg, hint="give one row a job")
        for name, values, zero in (
            ("arrival_time", self.arrival_s, True),
            ("length", self.length_s, False),
            ("cpus", self.vcpus, False),
        ):
            row = _first_bad(values, zero=zero)
            if row is not None:
                least = "0 or more" if zero else "more than 0"
                msg = f"job {row + 1}: {name} is {values[row]:g}"
                raise InputError(msg, hint=f"give a number that is {least}, or drop the row", value=row + 1)
        order = np.argsort(self.arrival_s, kind="stable")
        for name in ("arrival_s", "length_s", "vcpus"):
            object.__setattr__(self, name, frozen(getattr(self, name)[order], np.float64))

    def __len__(self) -> int:
        return len(self.arrival_s)

    def rounded(self, tick_s: float) -> Trace:
        """Round times down to whole ticks, as simulators that go by ticks do.

        Parameters
        ----------
        tick_s : float
            0 changes nothing [s].

        Returns
        -------
        Trace
            Jobs shorter than a tick take one.
        """
        if tick_s <= 0:
            return self
        length = np.maximum(np.floor(self.length_s / tick_s), 1.0) * tick_s
        arrival = np.floor(self.arrival_s / tick_s) * tick_s
        return Trace(arrival_s=arrival, length_s=length, vcpus=self.vcpus, time_unit=self.time_unit)


@dataclass(frozen=True, slots=True, kw_only=True)
class Queues:
    """Queues by length, as users choose them: what is known of a job's length.

    Parameters
    ----------
    limits_s : tuple of float
        Jobs below the first go to queue 0, and so on; one less than there are queues [s].
    waits_s : tuple of float
        How long jobs of each queue may be idle [s].

    Raises
    ------
    ConfigError
        Limits don't rise, or a wait is negative.
    """

    limits_s: tuple[float, ...] = (2.0 * HOUR_S,)
    waits_s: tuple[float, ...] = (6.0 * HOUR_S, 24.0 * HOUR_S)

    def __post_init__(self) -> None:
        rise = all(left < right for left, right in zip((0.0, *self.limits_s), self.limits_s, strict=False))
        if len(self.waits_s) != len(self.limits_s) + 1 or not rise:
            msg = f"{len(self.waits_s)} waits don't belong to queues with the limits {self.limits_s}"
            raise ConfigError(msg, hint="give rising limits, one less than waits", value=self.waits_s)
        if not all(0 <= wait < np.inf for wait in self.waits_s):
            msg = f"a wait in {self.waits_s} is no time"
            raise ConfigError(msg, hint="give hours, 0 or more", value=self.waits_s)

    @classmethod
    def parse(cls, waits: str, limits_h: Sequence[float] = (2.0,)) -> Queues:
        """Read waits as GAIA writes them.

        Parameters
        ----------
        waits : str
            Hours per queue, ``"6x24"``; one number makes one queue.
        limits_h : sequence of float
            Upper limits of all queues but the last [h].

        Returns
        -------
        Queues
            As many as there are waits.

        Raises
        ------
        ConfigError
            It is something else.

        Examples
        --------
        >>> Queues.parse("6x24").waits_s
        (21600.0, 86400.0)
        """
        try:
            hours = [float(part) for part in waits.lower().split("x")]
        except ValueError as error:
            msg = f"'{waits}' is no list of waits"
            raise ConfigError(msg, hint="write hours a queue, e.g. 6x24", value=waits) from error
        limits = tuple(limit * HOUR_S for limit in limits_h) if len(hours) > 1 else ()
        return cls(limits_s=limits, waits_s=tuple(hour * HOUR_S for hour in hours))

    def of(self, length_s: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the queue of each length; a job as long as a limit goes to the longer queue.

        Parameters
        ----------
        length_s : ndarray of float64, shape (n,)
            True lengths: users know whether a job is short [s].

        Returns
        -------
        ndarray of int64, shape (n,)
            Numbers of queues.
        """
        return np.searchsorted(np.asarray(self.limits_s), length_s, side="right").astype(np.int64)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Workload:
    """A trace and what is known of it: `pending` has what a policy may see.

    Parameters
    ----------
    pending : Pending
        The jobs without their lengths.
    length_s : ndarray of float64, shape (n,)
        The truth, for the simulator [s].
    """

    pending: Pending
    length_s: NDArray[np.float64]

    @classmethod
    def of(cls, trace: Trace, queues: Queues, *, tick_s: float = 0.0, knows: str = "mean") -> Workload:
        """Send jobs to queues and estimate lengths by each queue's mean.

        Parameters
        ----------
        trace : Trace
            The jobs.
        queues : Queues
            Limits and waits.
        tick_s : float
            Estimates are rounded down to this, as lengths then are [s].
        knows : str
            What is known of a job's length: ``"mean"`` and ``"lives"`` are the mean and the
            quantiles of its queue over the whole trace, ``"past"`` those of the queue's jobs that
            were surely done when it came, whoever decided.

        Returns
        -------
        Workload
            In the order of arrival.

        Raises
        ------
        ConfigError
            There is no such knowledge.

        Notes
        -----
        The mean is that of the whole trace, as in GAIA: what an operator has learned
        from months of such jobs. A job just as long as a limit counts in both means.
        """
        queue = queues.of(trace.length_s)
        bounds = (0.0, *queues.limits_s, np.inf)
        means = np.zeros(len(queues.waits_s))
        for index in range(len(means)):
            inside = (trace.length_s >= bounds[index]) & (trace.length_s <= bounds[index + 1])
            means[index] = trace.length_s[inside].mean() if inside.any() else 0.0
        short = trace.rounded(tick_s)
        estimate = np.maximum(np.floor(means / tick_s), 1.0) * tick_s if tick_s > 0 else means
        pending = Pending(
            job=frozen(np.arange(len(trace)), np.int64),
            arrival_s=short.arrival_s,
            estimate_s=frozen(estimate[queue], np.float64),
            max_wait_s=frozen(np.asarray(queues.waits_s)[queue], np.float64),
            vcpus=short.vcpus,
            queue=frozen(queue, np.int64),
        )
        return cls(pending=_told(pending, short.length_s, queues, knows), length_s=short.length_s)

    def __len__(self) -> int:
        return len(self.length_s)


def _told(pending: Pending, length_s: NDArray[np.float64], queues: Queues, knows: str) -> Pending:
    """Add what is known of lengths beyond the mean of the trace."""
    if knows not in KNOWLEDGE:
        msg = f"of lengths nobody knows '{knows}'"
        raise ConfigError(msg, hint=did_you_mean(knows, KNOWLEDGE), value=knows)
    if knows == "mean":
        return pending
    lives, estimate = np.empty((len(pending), QUANTILES)), np.empty(len(pending))
    for queue in np.unique(pending.queue).tolist():
        rows = np.flatnonzero(pending.queue == queue)
        arrival, length = pending.arrival_s[rows], length_s[rows]
        done = arrival + pending.max_wait_s[rows] + length
        order = np.argsort(done, kind="stable")
        if knows == "lives":
            known = np.full(len(rows), len(rows))
        else:
            known = np.searchsorted(done[order], arrival, side="right")
        # Before enough jobs are done, a queue is taken for one of a length: half its limit, or thrice it.
        bounds = (0.0, *queues.limits_s)
        guess = (bounds[queue + 1] if queue < len(queues.limits_s) else 6.0 * max(bounds[-1], HOUR_S)) / 2.0
        for count in np.unique(known).tolist():
            here = rows[known == count]
            past = length[order[:count]] if count >= ENOUGH else np.full(1, guess)
            lives[here] = np.quantile(past, (np.arange(QUANTILES) + 0.5) / QUANTILES)
            estimate[here] = past.mean()
    return replace(pending, lives_s=frozen(lives, np.float64), estimate_s=frozen(estimate, np.float64))


def _column(columns: Mapping[str, Any], name: str, file: str) -> str:
    lowered = {item.lower(): item for item in columns}
    for known in _COLUMNS[name]:
        for item in (known, *(f"{known}_{unit}" for unit in UNITS_S)):
            if item in lowered:
                return lowered[item]
    msg = f"'{file}' has no column '{name}' (its columns are {', '.join(columns)})"
    raise InputError(msg, hint=did_you_mean(name, columns), value=name)


def _unit(arrival: NDArray[np.float64], length: NDArray[np.float64], file: str) -> str:
    """Tell the unit of times that don't say theirs, where only one can be meant."""
    as_seconds = float(np.median(length)) >= MINUTE_S
    as_hours = float(length.max()) <= MONTH_H and float(arrival.max()) <= YEAR_H
    if as_seconds != as_hours:
        return "s" if as_seconds else "h"
    msg = f"'{file}': the times could be seconds or hours (median length {np.median(length):g})"
    raise UnitError(msg, hint="say which with --time-unit s or --time-unit h", value=file)


def read_trace(path: str | Path, *, time_unit: str | None = None) -> Trace:
    """Read a trace of jobs.

    Parameters
    ----------
    path : str or Path
        CSV or parquet with the columns ``arrival_time``, ``length`` and ``cpus``.
    time_unit : str, optional
        ``"s"``, ``"min"`` or ``"h"``; by default that at the end of the column's name, or
        the only one that makes sense.

    Returns
    -------
    Trace
        In the order of arrival.

    Raises
    ------
    InputError
        A column is missing, or a value can't be.
    UnitError
        The unit is unknown, or could be both.
    """
    file = Path(path)
    if time_unit is not None and time_unit not in UNITS_S:
        msg = f"'{time_unit}' is no unit of the times"
        raise UnitError(msg, hint=f"use one of {', '.join(UNITS_S)}", value=time_unit)
    columns = read_columns(file)
    named = {name: _column(columns, name, file.name) for name in _COLUMNS}
    values = {
        name: numbers(columns[column], where=f"'{file.name}' column '{column}'")
        for name, column in named.items()
    }
    for name, column in named.items():
        row = _first_bad(values[name], zero=name == "arrival_time")
        if row is not None:
            msg = f"'{file.name}' row {row + 2}: {column} is {values[name][row]:g}"
            least = "0 or more" if name == "arrival_time" else "more than 0"
            raise InputError(msg, hint=f"give a number that is {least}, or drop the row", value=row + 2)
    said = {named[name].rsplit("_", 1)[-1] for name in ("arrival_time", "length")} & set(UNITS_S)
    if len(said) > 1:
        msg = f"'{file.name}': arrivals and lengths are in different units"
        raise UnitError(msg, hint="give both in one", value=sorted(said))
    unit = time_unit or (said.pop() if said else _unit(values["arrival_time"], values["length"], file.name))
    return Trace(
        arrival_s=values["arrival_time"] * UNITS_S[unit],
        length_s=values["length"] * UNITS_S[unit],
        vcpus=values["cpus"],
        time_unit=unit,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Homes:
    """Where the jobs of a file are at home and may run, in the order of their arrival.

    Parameters
    ----------
    home : tuple of str
        Each job's region.
    allowed : tuple of tuple of str
        Where it may run beside; none named means anywhere.
    data_gb : ndarray of float64, shape (n,)
        What has to be moved with it [GB].
    """

    home: tuple[str, ...]
    allowed: tuple[tuple[str, ...], ...]
    data_gb: NDArray[np.float64]


def read_homes(path: str | Path, *, home: str | None = None) -> Homes:
    """Read where jobs are at home.

    Parameters
    ----------
    path : str or Path
        The file of `read_trace`. Of its columns, ``home_region`` (or ``region``),
        ``allowed_regions``, separated by ``;``, and ``data_gb`` are read, all of them optional.
    home : str, optional
        The home of all jobs that don't say theirs.

    Returns
    -------
    Homes
        In the order of `read_trace`.

    Raises
    ------
    InputError
        A job has no home, or its data are no number, 0 or more.
    """
    file = Path(path)
    columns = read_columns(file)
    arrival = columns[_column(columns, "arrival_time", file.name)]
    order = np.argsort(numbers(arrival, where=f"'{file.name}'"), kind="stable").tolist()
    lowered = {item.lower(): item for item in columns}

    def cells(*names: str) -> list[str]:
        found = next((lowered[name] for name in names if name in lowered), None)
        if found is None:
            return [""] * len(order)
        return ["" if cell is None else str(cell).strip() for cell in columns[found]]

    homes = [cell or home or "" for cell in cells("home_region", "region")]
    if "" in homes:
        row = homes.index("") + 2
        msg = f"'{file.name}' row {row}: the job has no home"
        raise InputError(msg, hint="fill a column home_region, or give --home REGION", value=row)
    named = (cell.split(";") for cell in cells("allowed_regions"))
    allowed = [tuple(name.strip() for name in names if name.strip()) for names in named]
    amount = np.zeros(len(order))
    if "data_gb" in lowered:
        amount = numbers(columns[lowered["data_gb"]], where=f"'{file.name}' column 'data_gb'")
        amount = np.where(np.isnan(amount), 0.0, amount)
        bad = _first_bad(amount, zero=True)
        if bad is not None:
            msg = f"'{file.name}' row {bad + 2}: data_gb is {amount[bad]:g}"
            raise InputError(msg, hint="give a number, 0 or more", value=bad + 2)
    return Homes(
        home=tuple(homes[row] for row in order),
        allowed=tuple(allowed[row] for row in order),
        data_gb=frozen(amount[order], np.float64),
    )
