"""Who is due, and why: pure functions of what waits and of the time.

Whatever else fails, work is due a margin before its latest start. It is due sooner when its
plan says so, when nothing was foreseen for it in time, or when so many are due together that they must
begin early for the last of them to be in time.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from aicsched.config.gates import GatesSettings
    from aicsched.extender.gates.waiting import Waiting

__all__ = ["Due", "Why", "crowded", "due_of", "lateness_s"]

# Work whose latest start lay behind it when it was made can't be in time: this long is no delay of ours.
_REACTION_S = 5.0
# An API server under load answers slower than it is asked: half the rate is reckoned with.
_RECKONED_SHARE = 0.5


class Why(StrEnum):
    """Why work is released when it is."""

    PLANNED = "planned"
    LATEST_START = "latest_start"
    NO_FORECAST = "no_forecast"
    NO_SAVING = "no_saving"
    UNREADABLE = "unreadable"
    JOB_RELEASED = "job_released"
    CROWD = "crowd"


@dataclass(frozen=True, slots=True)
class Due:
    """From when work is to be released.

    Parameters
    ----------
    at_s : float
        Seconds since the epoch.
    why : Why
        For what reason.
    """

    at_s: float
    why: Why


def due_of(work: Waiting, planned_s: float | None, *, known_s: float, settings: GatesSettings) -> Due:
    """Tell from when on work is to be released.

    Parameters
    ----------
    work : Waiting
        As it was read.
    planned_s : float or None
        The start that was chosen for it, seconds since the epoch.
    known_s : float
        Since when somebody could have planned it, seconds since the epoch: a moment after it was made.
    settings : GatesSettings
        Margin, and how long to wait for a forecast.

    Returns
    -------
    Due
        Never later than `GatesSettings.margin_s` before its latest start.
    """
    if work.terms.faults:
        return Due(work.created_s, Why.UNREADABLE)
    if work.released:
        return Due(work.created_s, Why.JOB_RELEASED)
    last = Due(work.terms.latest_s - settings.margin_s, Why.LATEST_START)
    chosen = (
        Due(known_s + settings.forecast_wait_s, Why.NO_FORECAST)
        if planned_s is None
        else Due(planned_s, Why.PLANNED)
    )
    return chosen if chosen.at_s <= last.at_s else last


def crowded(works: Sequence[Waiting], *, now_s: float, settings: GatesSettings) -> NDArray[np.bool_]:
    """Tell who must go now so that everybody can, one after another, before the latest start.

    Parameters
    ----------
    works : sequence of Waiting
        All that waits.
    now_s : float
        Seconds since the epoch.
    settings : GatesSettings
        Rate and margin.

    Returns
    -------
    ndarray of bool, shape (len(works),)
        By earliest latest start first, at half the rate of releases: from the first moment on at which
        waiting longer would make the queue before some work too long.
    """
    made = np.zeros(len(works), dtype=np.bool_)
    if not works:
        return made
    last_s = np.array([work.terms.latest_s for work in works]) - settings.margin_s
    order = np.argsort(last_s, kind="stable")
    begin_s = last_s[order] - np.arange(1, len(works) + 1) / (settings.releases_per_s * _RECKONED_SHARE)
    tight = np.flatnonzero(begin_s <= now_s)
    if len(tight):
        made[order[: tight[-1] + 1]] = True
    return made


def lateness_s(work: Waiting, at_s: float) -> float:
    """Tell how much too late a release was.

    Parameters
    ----------
    work : Waiting
        What was released.
    at_s : float
        When, seconds since the epoch.

    Returns
    -------
    float
        Seconds behind its latest start; 0 in time.
    """
    return max(0.0, at_s - max(work.terms.latest_s, work.created_s + _REACTION_S))
