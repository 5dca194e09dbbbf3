"""What a policy may know at some time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from aicsched.errors import InputError, TooLittleHistory
from aicsched.slots import HOUR_S

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from aicsched.domain.forecast import Forecast

__all__ = ["Batch", "ClusterView", "OracleView", "Outlook", "Pending", "Vintages", "frozen"]


def frozen(values: Sequence[float] | NDArray[Any], kind: type) -> NDArray[Any]:
    """Return a read-only copy of an array, which leads back to nothing else.

    Parameters
    ----------
    values : sequence or ndarray
        Numbers.
    kind : type
        Of the copy's numbers.

    Returns
    -------
    ndarray
        Contiguous.
    """
    made = np.array(values, dtype=kind, order="C")
    made.setflags(write=False)
    return made


def _sealed(fresh: NDArray[Any]) -> NDArray[Any]:
    """Make an array that nobody else has read-only."""
    fresh.setflags(write=False)
    return fresh


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pending:
    """Jobs as their queue knows them: no true length is among the columns.

    Parameters
    ----------
    job : ndarray of int64, shape (n,)
        Their numbers.
    arrival_s : ndarray of float64, shape (n,)
        When they came, on the clock of the view [s].
    estimate_s : ndarray of float64, shape (n,)
        How long the jobs of their queue take, on average [s].
    max_wait_s : ndarray of float64, shape (n,)
        How long they may be idle before they are done [s].
    vcpus : ndarray of float64, shape (n,)
        Hardware threads.
    queue : ndarray of int64, shape (n,)
        Which queue they were sent to, the shortest jobs' being 0.
    lives_s : ndarray of float64, shape (n, q), optional
        How long jobs of their queue take, at q quantiles as far apart as each other: what is
        known of a length beyond its mean [s].
    """

    job: NDArray[np.int64]
    arrival_s: NDArray[np.float64]
    estimate_s: NDArray[np.float64]
    max_wait_s: NDArray[np.float64]
    vcpus: NDArray[np.float64]
    queue: NDArray[np.int64]
    lives_s: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.job)

    def take(self, rows: Sequence[int] | NDArray[np.int64]) -> Pending:
        """Return some of the jobs, copied.

        Parameters
        ----------
        rows : sequence of int
            Which rows.

        Returns
        -------
        Pending
            In this order.
        """
        rows = np.asarray(rows, dtype=np.int64)
        made: dict[str, Any] = {}
        for name in self.__slots__:
            column = getattr(self, name)
            made[name] = None if column is None else _sealed(column[rows])
        return Pending(**made)

    @classmethod
    def joined(cls, *parts: Pending) -> Pending:
        """Return several groups as one.

        Parameters
        ----------
        *parts : Pending
            At least one.

        Returns
        -------
        Pending
            In their order, copied.
        """
        made: dict[str, Any] = {}
        for name in cls.__slots__:
            columns = [getattr(part, name) for part in parts]
            made[name] = None if any(item is None for item in columns) else _sealed(np.concatenate(columns))
        return cls(**made)

    def remaining_s(self, age_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return how much longer jobs take, given how much of them is done: E[L | L > age] - age.

        Parameters
        ----------
        age_s : ndarray of float64, shape (n,)
            How much is done [s].

        Returns
        -------
        ndarray of float64, shape (n,)
            By the lives of their queues; the estimate as it is where these aren't known, or none of
            them is as long [s].
        """
        if self.lives_s is None:
            return self.estimate_s
        longer = self.lives_s > age_s[:, None]
        count = longer.sum(axis=1)
        left = np.where(longer, self.lives_s - age_s[:, None], 0.0).sum(axis=1)
        return np.where(count > 0, left / np.maximum(count, 1), self.estimate_s)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Vintages:
    """Forecasts of one site's intensity, each from its time of issue on.

    Parameters
    ----------
    issue_s : ndarray of float64, shape (v,)
        When each was issued, rising [s]. Before the first nothing is known.
    start_s : ndarray of float64, shape (v,)
        Start of each one's first slot, not after its issue [s]. After the last slot its value goes on.
    step_s : float
        Length of a slot [s].
    g_per_kwh : ndarray of float64, shape (v, h)
        What each says.
    oracle : bool
        They are the truth itself, as in GAIA: a perfect forecast of the whole trace.
    scenarios : ndarray of float64, shape (v, s, h), optional
        Trajectories drawn from each, for policies that weigh risks.
    foreseen_g_per_kwh : ndarray of float64, shape (v, h), optional
        What each says indeed, where ``g_per_kwh`` was raised to keep jobs off full slots.

    Raises
    ------
    InputError
        A value is missing or negative, times do not rise, or shapes differ.
    """

    issue_s: NDArray[np.float64]
    start_s: NDArray[np.float64]
    step_s: float
    g_per_kwh: NDArray[np.float64]
    oracle: bool = False
    scenarios: NDArray[np.float64] | None = None
    foreseen_g_per_kwh: NDArray[np.float64] | None = None
    sums: NDArray[np.float64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        values = np.ascontiguousarray(self.g_per_kwh, dtype=np.float64)
        if values.ndim != 2 or not values.size or len(values) != len(self.issue_s):
            msg = f"forecasts of shape {values.shape} don't belong to {len(self.issue_s)} times of issue"
            raise InputError(msg, hint="give a row a vintage")
        if not np.isfinite(values).all():
            row, slot = np.argwhere(~np.isfinite(values))[0].tolist()
            msg = f"the forecast of vintage {row} has no number in slot {slot}"
            raise InputError(msg, hint="fill its gaps first", value=(row, slot))
        if len(self.issue_s) != len(self.start_s) or (np.diff(self.issue_s) <= 0).any() or self.step_s <= 0:
            msg = "the times of the vintages don't rise"
            raise InputError(msg, hint="sort them by time of issue, each once")
        if (np.asarray(self.start_s) > np.asarray(self.issue_s)).any():
            msg = "a forecast begins after it was issued, so that nothing is known of the time between"
            raise InputError(msg, hint="give each the slot of its issue, too")
        drawn = self.scenarios
        if drawn is not None:
            if drawn.ndim != 3 or drawn.shape[::2] != values.shape or not np.isfinite(drawn).all():
                msg = f"scenarios of shape {drawn.shape} don't belong to forecasts of shape {values.shape}"
                raise InputError(msg, hint="give (vintages, scenarios, slots), all finite")
            object.__setattr__(self, "scenarios", frozen(drawn, np.float64))
        sums = np.zeros((len(values), values.shape[1] + 1))
        np.cumsum(values, axis=1, out=sums[:, 1:])
        object.__setattr__(self, "g_per_kwh", frozen(values, np.float64))
        object.__setattr__(self, "sums", frozen(sums, np.float64))

    @classmethod
    def perfect(cls, g_per_kwh: NDArray[np.float64], *, step_s: float, start_s: float = 0.0) -> Vintages:
        """Take the truth for a forecast, known from the start: an oracle's, and said to be one.

        Parameters
        ----------
        g_per_kwh : ndarray of float64, shape (h,)
            What comes true.
        step_s : float
            Length of a slot [s].
        start_s : float
            Start of the first slot [s].

        Returns
        -------
        Vintages
            One, with ``oracle`` set.
        """
        start = frozen([start_s], np.float64)
        return cls(
            issue_s=start, start_s=start, step_s=step_s, g_per_kwh=np.atleast_2d(g_per_kwh), oracle=True
        )

    @classmethod
    def of(cls, forecasts: Sequence[Forecast], *, origin_s: int = 0) -> Vintages:
        """Take forecasts as they were issued.

        Parameters
        ----------
        forecasts : sequence of Forecast
            Of one zone and kind, step and horizon; sorted by time of issue here.
        origin_s : int
            Second 0 of the clock of the jobs, seconds since the epoch.

        Returns
        -------
        Vintages
            Their means.

        Raises
        ------
        InputError
            There is none, or they differ in more than time.
        """
        kinds = {(item.grid_zone, item.kind, item.slots.step_s, len(item.slots)) for item in forecasts}
        if len(kinds) != 1:
            msg = f"{len(forecasts)} forecasts of {len(kinds)} kinds make no vintages"
            hint = "give forecasts of one zone, kind of intensity, step and horizon"
            raise InputError(msg, hint=hint, value=sorted(map(str, kinds)))
        issued = sorted(forecasts, key=lambda item: item.issue_time_s)
        return cls(
            issue_s=np.array([float(item.issue_time_s - origin_s) for item in issued]),
            start_s=np.array([float(item.slots.start_s - origin_s) for item in issued]),
            step_s=float(issued[0].slots.step_s),
            g_per_kwh=np.stack([item.mean_g_per_kwh for item in issued]),
        )

    def known_at(self, now_s: NDArray[np.float64] | float) -> NDArray[np.int64]:
        """Return which vintage is the newest at some times.

        Parameters
        ----------
        now_s : float or ndarray of float64
            When [s].

        Returns
        -------
        ndarray of int64
            Rows.

        Raises
        ------
        TooLittleHistory
            Nothing had been issued by then.
        """
        rows = np.searchsorted(self.issue_s, np.atleast_1d(now_s), side="right") - 1
        if len(rows) and int(rows.min()) < 0:
            msg = f"no forecast had been issued by second {float(np.min(now_s)):g}"
            raise TooLittleHistory(msg, hint="start the forecasts before the first job", value=now_s)
        return rows.astype(np.int64)

    def between(
        self, row: NDArray[np.int64], start_s: NDArray[np.float64], stop_s: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return what a kilowatt is foreseen to emit between two times; the last slot's value goes on.

        Parameters
        ----------
        row : ndarray of int64, shape (n,)
            By which vintages.
        start_s, stop_s : ndarray of float64, shape (n,)
            From when to when, not before the vintage's start [s].

        Returns
        -------
        ndarray of float64, shape (n,)
            Grams.
        """
        made: list[NDArray[np.float64]] = []
        for time_s in (start_s, stop_s):
            place = (time_s - self.start_s[row]) / self.step_s
            slot = np.minimum(place.astype(np.int64), self.g_per_kwh.shape[1] - 1)
            made.append(self.sums[row, slot] + (place - slot) * self.g_per_kwh[row, slot])
        return (made[1] - made[0]) * (self.step_s / HOUR_S)

    def outlook(self, now_s: float) -> Outlook:
        """Return the newest forecast at some time, copied, so that it leads to no other.

        Parameters
        ----------
        now_s : float
            When [s].

        Returns
        -------
        Outlook
            One vintage.
        """
        row = int(self.known_at(now_s)[0])
        only = slice(row, row + 1)
        return Outlook(
            Vintages(
                issue_s=frozen(self.issue_s[only], np.float64),
                start_s=frozen(self.start_s[only], np.float64),
                step_s=self.step_s,
                g_per_kwh=self.g_per_kwh[only],
                oracle=self.oracle,
                scenarios=None if self.scenarios is None else self.scenarios[only],
            )
        )


@dataclass(frozen=True, slots=True, eq=False)
class Outlook:
    """The one forecast that is the newest at some time.

    Parameters
    ----------
    vintage : Vintages
        Of one row.
    """

    vintage: Vintages

    @property
    def issue_s(self) -> float:
        """When it was issued [s]."""
        return float(self.vintage.issue_s[0])

    @property
    def start_s(self) -> float:
        """Start of its first slot [s]."""
        return float(self.vintage.start_s[0])

    @property
    def step_s(self) -> float:
        """Length of its slots [s]."""
        return self.vintage.step_s

    @property
    def g_per_kwh(self) -> NDArray[np.float64]:
        """What it says, a value a slot [g/kWh]."""
        return self.vintage.g_per_kwh[0]

    @property
    def oracle(self) -> bool:
        """It is the truth itself."""
        return self.vintage.oracle


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClusterView:
    """What is known at one time: there is no way from here to a true length or a later forecast.

    Parameters
    ----------
    now_s : float
        The time [s].
    outlook : Outlook
        The newest forecast.
    waiting : Pending
        Jobs that have come and have no plan yet.
    planned : Pending
        Jobs that have a plan and have not begun.
    running : Pending
        Jobs that have begun and are not done, suspended ones among them.
    done_s : ndarray of float64, shape (len(running),)
        How long each of these has run [s].
    active : ndarray of bool, shape (len(running),)
        Which of them run at this moment.
    free_reserved_vcpus : float
        Reserved threads that nobody uses now.
    room_vcpus : ndarray of float64, shape (k,)
        How many threads the hard cap leaves in each slot of the outlook from the current one on,
        once all that is planned runs; empty where there is no cap.
    planned_start_s : ndarray of float64, shape (len(planned),)
        When each planned job is to begin [s].
    """

    now_s: float
    outlook: Outlook
    waiting: Pending
    planned: Pending
    running: Pending
    done_s: NDArray[np.float64]
    active: NDArray[np.bool_]
    free_reserved_vcpus: float = 0.0
    room_vcpus: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    planned_start_s: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OracleView:
    """A view with the truth: no `ClusterView`, so that no policy gets it by mistake.

    Parameters
    ----------
    known : ClusterView
        What anybody knows.
    length_s : ndarray of float64, shape (len(known.waiting),)
        How long each waiting job will run [s].
    left_s : ndarray of float64, shape (len(known.running),)
        How long each running job has still to run [s].
    """

    known: ClusterView
    length_s: NDArray[np.float64]
    left_s: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Batch:
    """Many arrivals at once, each with what was known at its own arrival.

    Parameters
    ----------
    jobs : Pending
        The arrivals.
    vintages : Vintages
        All forecasts.
    row : ndarray of int64, shape (n,)
        For each job the row that was the newest when it came: the only one it may be decided by.
    length_s : ndarray of float64, shape (n,) or None
        True lengths, for a policy that is an oracle by its declaration; else None [s].
    """

    jobs: Pending
    vintages: Vintages
    row: NDArray[np.int64]
    length_s: NDArray[np.float64] | None = None
