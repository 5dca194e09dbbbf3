"""The two scenarios of Let's Wait Awhile: nightly jobs, and the jobs of a machine-learning project.

References
----------
Wiesner et al., Middleware'21, doi:10.1145/3464298.3493399.

Notes
-----
The published code differs from its text in two details, which ``as_published``
repeats. A night whose window would begin before the year is left out, and its
emissions count as saved (up to 0.3 points). Windows of the project's jobs reach one
slot beyond their deadline, and so does the baseline, which may start half an hour
late (0.1 points).
"""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from aicsched.errors import ConfigError, did_you_mean
from aicsched.place.online.view import Pending, Vintages, frozen
from aicsched.simulate.workload import Workload
from aicsched.slots import HOUR_S

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aicsched.simulate.truth import Truth

__all__ = ["RULES", "nightly_jobs", "noisy_forecast", "project_jobs"]

DAY_S: Final = 24 * HOUR_S
SLOT_S: Final = HOUR_S // 2
DAYS: Final = 366
MONDAY, THURSDAY, SATURDAY, SUNDAY = 0, 3, 5, 6
MORNING_H, EVENING_H = 9.0, 17.0
RULES: Final = ("at_once", "next_workday", "semi_weekly")
"""By when the project's jobs must be done: the baseline, and the two of the paper."""


def _workload(arrival_s: NDArray[Any], length_s: NDArray[Any], wait_s: NDArray[Any]) -> Workload:
    count = len(arrival_s)
    pending = Pending(
        job=frozen(np.arange(count), np.int64),
        arrival_s=frozen(arrival_s, np.float64),
        # Their lengths are known beforehand: that is what the paper assumes.
        estimate_s=frozen(length_s, np.float64),
        max_wait_s=frozen(wait_s, np.float64),
        vcpus=frozen(np.ones(count), np.float64),
        queue=frozen(np.zeros(count), np.int64),
    )
    return Workload(pending=pending, length_s=frozen(length_s, np.float64))


def nightly_jobs(window_s: float, *, days: int = 365, as_published: bool = False) -> Workload:
    """Make one job a night of half an hour, planned for one o'clock, that may run sooner or later.

    Parameters
    ----------
    window_s : float
        How much sooner or later [s].
    days : int
        How many nights.
    as_published : bool
        Leave a night out whose window begins before the first day.

    Returns
    -------
    Workload
        Jobs arrive at the start of their window.
    """
    arrival = np.arange(days) * float(DAY_S) + HOUR_S - window_s
    wait = np.full(days, 2.0 * window_s)
    if as_published:
        arrival, wait = arrival[arrival >= 0], wait[arrival >= 0]
    else:
        wait += np.minimum(arrival, 0.0)
        arrival = np.maximum(arrival, 0.0)
    return _workload(arrival, np.full(len(arrival), float(SLOT_S)), wait)


def _deadline(end_s: int, rule: str, first_weekday: int) -> int:
    """Return by when a job must be done that would be done at `end_s` if it ran at once."""
    day, hour = divmod(end_s, DAY_S)
    weekday, hour = (first_weekday + day) % 7, hour / HOUR_S
    morning = day * DAY_S + int(MORNING_H * HOUR_S)
    if rule == "semi_weekly":
        until = (
            morning + later * DAY_S
            for later in range(8)
            if (weekday + later) % 7 in {MONDAY, THURSDAY} and (later or hour <= MORNING_H)
        )
        return next(until)
    if rule == "at_once":
        return end_s
    if weekday == SATURDAY:
        return morning + 2 * DAY_S
    if weekday == SUNDAY or hour > EVENING_H:
        return morning + DAY_S
    return morning if hour < MORNING_H else end_s


def project_jobs(rule: str, *, count: int = 3387, seed: int = 0, as_published: bool = False) -> Workload:
    """Make the jobs of a machine-learning project of 2020: issued on workdays, four hours to four days long.

    Parameters
    ----------
    rule : str
        One of `RULES`.
    count : int
        How many jobs.
    seed : int
        The published jobs are those of 0.
    as_published : bool
        Windows reach one slot beyond the deadline.

    Returns
    -------
    Workload
        Jobs of known lengths, each with its own wait.

    Raises
    ------
    ConfigError
        There is no such rule.
    """
    if rule not in RULES:
        msg = f"there is no rule '{rule}' for deadlines"
        raise ConfigError(msg, hint=did_you_mean(rule, RULES), value=rule)
    first_weekday = date(2020, 1, 1).weekday()
    workdays = [day for day in range(DAYS) if (first_weekday + day) % 7 < SATURDAY]
    # The draws are those of the published code, in its order, so that the jobs are the same.
    rng = np.random.default_rng(seed)
    per_day = np.zeros(DAYS, dtype=np.int64)
    per_day[workdays] = rng.multinomial(count, [1 / len(workdays)] * len(workdays))
    minutes = range(int(MORNING_H * 60), int(EVENING_H * 60), SLOT_S // 60)
    arrival = np.concatenate(
        [day * DAY_S + 60 * np.sort(rng.choice(minutes, size=jobs)) for day, jobs in enumerate(per_day)]
    )
    length = 60 * rng.choice(range(4 * 60, 90 * 60, SLOT_S // 60), size=count)
    end = arrival + length
    due = np.array([_deadline(int(moment), rule, first_weekday) for moment in end])
    wait = (due - end).astype(np.float64) + (SLOT_S if as_published else 0)
    return _workload(arrival.astype(np.float64), length.astype(np.float64), wait)


def noisy_forecast(truth: Truth, share: float, seed: int) -> Vintages:
    """Add independent errors to the truth, as the paper does for want of a forecast.

    Parameters
    ----------
    truth : Truth
        What comes true.
    share : float
        Standard deviation of the errors over the mean intensity.
    seed : int
        Of the errors.

    Returns
    -------
    Vintages
        One forecast of the whole trace; no oracle's unless the share is 0.

    Notes
    -----
    Errors of real forecasts last for hours and grow with lead time; these do neither,
    so a policy does better with them than it would in fact.
    """
    values = truth.g_per_kwh
    if share > 0:
        values = values + np.random.default_rng(seed).normal(0, share * values.mean(), size=len(values))
    start = frozen([0.0], np.float64)
    return Vintages(
        issue_s=start, start_s=start, step_s=truth.step_s, g_per_kwh=values[None, :], oracle=share == 0
    )
