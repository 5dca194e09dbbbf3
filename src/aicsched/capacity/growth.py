"""How fast demand grows, and when it reaches a limit, with intervals.

The trend is Theil and Sen's, the median of slopes between pairs of days, which a
quarter of wild days can't move (Sen 1968, doi:10.2307/2285891); from two weeks on
between equal weekdays only, so that weekends don't count (Hirsch et al. 1982,
doi:10.1029/WR018i001p00107). For intervals the residuals are drawn anew as a series
in which what is high today tends to be high tomorrow (Bühlmann 1997,
doi:10.2307/3318584), with the corrections that short series ask for. On made-up
series of 14 to 365 days, independent or with errors that last, 80 % intervals of the
slope held in 66 to 92 % of cases.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from aicsched.errors import InputError, TooLittleHistory
from aicsched.slots import DAY_S

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aicsched.slots import SlotGrid

    Floats = NDArray[np.float64]

__all__ = ["Growth", "daily_quantiles", "fit_growth"]

_FEWEST_DAYS: Final = 7
_WEEK: Final = 7
_MOST_DAYS: Final = 730
_FLAT: Final = 1e-12
_MOST_LASTING: Final = 0.95
_WARM: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """A trend, and when it reaches a limit.

    Parameters
    ----------
    kind : str
        ``"linear"``: the same amount each day; ``"compound"``: the same share each day.
    days : int
        Days it was fitted on.
    level : float
        The trend on the last day, on the weekday with most demand.
    limit : float
        What must not be passed.
    per_day : tuple of float
        Low, mid and high growth a day: an amount, or a share where it is compound.
    exhausted_in_days : tuple of float
        Low, mid and high time from the last day until the trend reaches the limit; 0 where it has, inf
        for never.
    interval : float
        Share of cases that should lie between low and high.
    """

    kind: Literal["linear", "compound"]
    days: int
    level: float
    limit: float
    per_day: tuple[float, float, float]
    exhausted_in_days: tuple[float, float, float]
    interval: float

    @property
    def flat(self) -> bool:
        """Whether no growth at all lies within the interval."""
        return self.per_day[0] <= 0

    def sentence(self) -> str:
        """Say it in one sentence.

        Returns
        -------
        str
            For people.
        """
        low, mid, high = (_days(value) for value in self.exhausted_in_days)
        if self.exhausted_in_days[1] == 0:
            return "the limit is reached already"
        if math.isinf(self.exhausted_in_days[1]):
            early = "" if math.isinf(self.exhausted_in_days[0]) else f" (at the earliest in {low})"
            return f"no growth that stands out from noise: never{early}"
        return f"full in {mid} ({low} to {high})"


def _days(value: float) -> str:
    return "never" if math.isinf(value) else f"{value:,.0f} days"


def daily_quantiles(values: Floats, slots: SlotGrid, *, level: float = 0.95) -> tuple[Floats, int]:
    """Return a quantile of each whole UTC day.

    Parameters
    ----------
    values : ndarray, shape (len(slots),)
        Demand; NaN is unknown.
    slots : SlotGrid
        Their slots.
    level : float
        Which quantile.

    Returns
    -------
    tuple of ndarray, int
        One value a day, NaN where fewer than half of its slots are known; and the first day's
        number since the epoch. Days that the grid covers in part are left out.
    """
    starts_s = slots.starts_s()
    day = starts_s // DAY_S
    per_day = DAY_S // slots.step_s
    first, count = int(day[0]) if len(day) else 0, 0
    made: list[float] = []
    for number in range(first, int(day[-1]) + 1 if len(day) else first):
        here = np.asarray(values)[day == number]
        if len(here) < per_day:
            first += 0 if made else 1
            continue
        seen = here[np.isfinite(here)]
        count += 1
        made.append(float(np.quantile(seen, level)) if 2 * len(seen) >= per_day else math.nan)
    return np.array(made), first


class _Days:
    """Which days are known, and the pairs of them between which slopes are taken."""

    def __init__(self, day: NDArray[np.int64], weekday: NDArray[np.int64]) -> None:
        self.day = day.astype(np.float64)
        self.weekday = weekday
        self.weekly = len(day) >= 2 * _WEEK
        self.one, self.other = np.triu_indices(len(day), 1)
        if self.weekly:
            same = (day[self.other] - day[self.one]) % _WEEK == 0
            self.one, self.other = self.one[same], self.other[same]
        # What was fitted: slope and level, and with weeks what six weekdays differ.
        self.fitted = 8 if self.weekly else 2

    def slopes(self, y: Floats) -> Floats:
        """Return the slope of each row of y, shape (n, days)."""
        gap = self.day[self.other] - self.day[self.one]
        # A row at a time: all pairs of all rows would not fit into memory.
        return np.array([np.median((row[self.other] - row[self.one]) / gap) for row in y])

    def weekdays(self, y: Floats) -> Floats:
        """Return the level of each weekday; of all days together where there are less than two weeks."""
        if not self.weekly:
            return np.full(_WEEK, np.median(y))
        known = [np.median(y[self.weekday == at]) for at in range(_WEEK) if (self.weekday == at).any()]
        levels = np.full(_WEEK, np.median(known))
        levels[np.unique(self.weekday)] = known
        return levels

    def redrawn(self, residual: Floats, draws: int, seed: int) -> Floats:
        """Draw series of residuals, shape (draws, days), whose errors last as these do."""
        count = len(residual)
        rest = residual - residual.mean()
        near = np.diff(self.day) == 1
        power = float(rest @ rest)
        lasting = float(rest[1:][near] @ rest[:-1][near]) / power if power > 0 else 0.0
        # Fitting takes some of it away: as Andrews 1993 (doi:10.2307/2951781) for a trend, more for weekdays.
        lasting += (self.fitted / 2 + 1 + 3 * lasting) / count
        lasting = min(_MOST_LASTING, max(0.0, lasting))
        news = rest[1:][near] - lasting * rest[:-1][near]
        if not len(news):
            news = rest
        news = (news - news.mean()) * math.sqrt(count / max(1, count - self.fitted))
        length = int(self.day[-1]) + 1
        drawn = news[np.random.default_rng(seed).integers(0, len(news), size=(_WARM + length, draws))]
        for step in range(1, len(drawn)):
            drawn[step] += lasting * drawn[step - 1]
        return np.ascontiguousarray(drawn[_WARM:].T[:, self.day.astype(np.int64)])


def _until(limit: float, level: Floats, slope: Floats) -> Floats:
    made = np.full(len(slope), math.inf)
    up = slope > _FLAT * max(1.0, abs(limit))
    made[up] = np.maximum(0.0, (limit - level[up]) / slope[up])
    made[level >= limit] = 0.0
    return made


def _checked(daily: Floats, limit: float, kind: str) -> tuple[Floats, NDArray[np.int64]]:
    values = np.asarray(daily, dtype=np.float64)[-_MOST_DAYS:]
    if not (math.isfinite(limit) and limit > 0):
        msg = f"the limit is {limit}"
        raise InputError(msg, hint="give a positive number", value=limit)
    if np.isinf(values).any() or (values < 0).any():
        bad = float(values[np.isinf(values) | (values < 0)][0])
        msg = f"a day's demand is {bad}"
        raise InputError(msg, hint="leave unknown days as NaN", value=bad)
    day = np.flatnonzero(np.isfinite(values)).astype(np.int64)
    if len(day) < _FEWEST_DAYS:
        msg = f"{len(day)} days with demand are too few for a trend"
        raise TooLittleHistory(msg, hint=f"give at least {_FEWEST_DAYS}", value=len(day))
    known = values[day]
    if kind == "compound" and (known <= 0).any():
        msg = "demand that is 0 on some days can't grow by a share"
        raise InputError(msg, hint="choose linear growth", value=0.0)
    return known, day


def fit_growth(
    daily: Floats,
    *,
    limit: float,
    kind: Literal["linear", "compound"] = "linear",
    first_day: int = 0,
    interval: float = 0.8,
    draws: int = 300,
    seed: int = 0,
) -> Growth:
    """Fit the trend of daily demand, and find when it reaches a limit.

    Parameters
    ----------
    daily : ndarray, shape (days,)
        Demand of each day, such as its 95 % quantile; NaN is unknown. The newest two years count.
    limit : float
        What must not be passed, in the same unit.
    kind : str
        ``"linear"`` or ``"compound"``.
    first_day : int
        Number of the first day since the epoch, which tells weekdays.
    interval : float
        Share of cases between low and high.
    draws : int
        How often residuals are drawn anew.
    seed : int
        Seed of the draws.

    Returns
    -------
    Growth
        Where the interval of the growth holds 0, the mid of the time is never.

    Raises
    ------
    TooLittleHistory
        Fewer than 7 known days.
    InputError
        A value or the limit is out of range.

    Examples
    --------
    >>> made = fit_growth(100.0 + 2.0 * np.arange(28), limit=200.0)
    >>> made.per_day[1], round(made.exhausted_in_days[1], 6)
    (2.0, 23.0)
    """
    from scipy.special import ndtri, stdtrit  # noqa: PLC0415 - importing scipy takes 0.4 s

    known, day = _checked(daily, limit, kind)
    compound = kind == "compound"
    y: Floats = np.log(known) if compound else known
    top = math.log(limit) if compound else limit
    offset = max(0, len(daily) - _MOST_DAYS)
    known_days = _Days(day, (day + offset + first_day + 3) % _WEEK)  # the epoch was a Thursday
    slope = float(known_days.slopes(y[None])[0])
    rest = y - slope * day
    weekdays = known_days.weekdays(rest)
    drawn = known_days.redrawn(rest - weekdays[known_days.weekday], draws, seed)
    # Few days give a wider spread than the normal law's (Student 1908).
    shares = ((1 - interval) / 2, (1 + interval) / 2)
    wide = float(stdtrit(max(1, len(day) - known_days.fitted), shares[1]) / ndtri(shares[1]))
    moves = known_days.slopes(drawn)
    slopes = slope + wide * moves
    last = min(len(daily), _MOST_DAYS) - 1
    level = slope * last + float(weekdays.max())
    levels = level + wide * (np.median(drawn - moves[:, None] * day, axis=1) + moves * last)
    slow, fast = np.quantile(slopes, shares).tolist()
    mid = float(_until(top, np.array([level]), np.array([slope]))[0])
    if slow <= 0 < mid:
        mid = math.inf
    # Order statistics, since a mean of a number and never is no number.
    early, late = np.sort(_until(top, levels, slopes))[[int(share * (draws - 1)) for share in shares]]
    low, growth, high = (math.expm1(value) if compound else value for value in (slow, slope, fast))
    return Growth(
        kind=kind,
        days=len(day),
        level=math.exp(level) if compound else level,
        limit=limit,
        per_day=(low, growth, high),
        exhausted_in_days=(min(float(early), mid), mid, max(float(late), mid)),
        interval=interval,
    )
