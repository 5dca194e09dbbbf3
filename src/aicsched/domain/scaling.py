"""How fast work runs on several machines at once: the scaling profile of elastic jobs.

References
----------
Hanafy et al., CarbonScaler, POMACS 7(3), 2023, doi:10.1145/3626788.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from aicsched.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["AMDAHL", "gains_of", "machines_at", "speed_at", "speeds_of"]

INSTANT = 1e-9
# A job that is 95 % parallel, on one to eight machines (Amdahl's law).
AMDAHL = tuple(1.0 / (0.05 + 0.95 / count) for count in range(1, 9))


def gains_of(speeds: Sequence[float]) -> NDArray[np.float64]:
    """Return what each further machine adds to the speed.

    Parameters
    ----------
    speeds : sequence of float
        How fast work runs on 1, 2, … machines over one: rising, each step no larger than the one before.

    Returns
    -------
    ndarray
        The first gain is 1.

    Raises
    ------
    InputError
        They are something else.

    Examples
    --------
    >>> gains_of((1.0, 1.75, 2.25)).tolist()
    [1.0, 0.75, 0.5]
    """
    gains = np.diff(np.asarray([0.0, *speeds], dtype=np.float64))
    rises = bool(len(gains) and np.isfinite(gains).all() and (gains > 0).all())
    if not rises or (np.diff(gains) > INSTANT).any() or speeds[0] != 1.0:
        msg = f"{tuple(speeds)} are no speeds on 1, 2, … machines"
        raise InputError(msg, hint="begin with 1, rise, and never by more than before", value=speeds)
    return gains


def speed_at(speeds: Sequence[float], least: int, machines: float) -> float:
    """Return the mean speed at a mean number of machines.

    Parameters
    ----------
    speeds : sequence of float
        On 1, 2, … machines over one.
    least : int
        With fewer machines it can't run.
    machines : float
        Their mean number over a slot, in which it runs on one number and then on the next; below
        `least` it runs on so many for a part of the slot.

    Returns
    -------
    float
        Over one machine.

    Examples
    --------
    >>> speed_at((1.0, 1.75, 2.25), 2, 1.0), speed_at((1.0, 1.75, 2.25), 1, 2.5)
    (0.875, 2.0)
    """
    numbers = [0.0, *(float(count) for count in range(least, len(speeds) + 1))]
    return float(np.interp(machines, numbers, [0.0, *speeds[least - 1 :]]))


def machines_at(least: int, machines: float) -> int:
    """Return how many machines are held to have a mean number of them at work.

    Parameters
    ----------
    least : int
        With fewer machines it can't run.
    machines : float
        Their mean number over a slot.

    Returns
    -------
    int
        0 for none.

    Examples
    --------
    >>> [machines_at(2, mean) for mean in (0.0, 0.5, 2.0, 2.25)]
    [0, 2, 2, 3]
    """
    return 0 if machines <= 0 else max(least, int(np.ceil(machines - INSTANT)))


def speeds_of(machines: Sequence[float], iteration_time: Sequence[float]) -> tuple[float, ...]:
    """Turn measured times into speeds.

    Parameters
    ----------
    machines : sequence of float
        On how many machines each was measured; repeated measurements are averaged.
    iteration_time : sequence of float
        Of the same work, in any unit.

    Returns
    -------
    tuple of float
        Speed on 1, 2, … machines over that on one. What a further machine adds never rises: where
        measurements say so, it is spread over the machines before (the concave hull).

    Raises
    ------
    InputError
        A number of machines up to the largest was not measured, or a time is not above 0.

    Examples
    --------
    >>> speeds_of([1, 1, 2], [10.0, 10.0, 5.5])
    (1.0, 1.818...)
    """
    count, times = np.asarray(machines, dtype=np.float64), np.asarray(iteration_time, dtype=np.float64)
    wanted = np.arange(1, int(count.max(initial=0)) + 1)
    if len(count) != len(times) or not len(count) or not (times > 0).all() or set(wanted) != set(count):
        msg = "a profile needs a time above 0 for each number of machines from 1 on"
        raise InputError(msg, hint="measure the missing ones", value=sorted(set(count.tolist())))
    mean = np.array([times[count == number].mean() for number in wanted])
    speed = np.concatenate([[0.0], mean[0] / mean])
    corners = [0]
    while corners[-1] < len(speed) - 1:
        here = corners[-1]
        slopes = (speed[here + 1 :] - speed[here]) / np.arange(1, len(speed) - here)
        corners.append(here + 1 + int(np.argmax(slopes)))
    hull = np.interp(np.arange(len(speed)), corners, speed[corners])
    return tuple((hull[1:] / hull[1]).tolist())
