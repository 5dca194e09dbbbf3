"""Jobs in pieces whose suspensions cost energy: their cheapest slots, exactly, and what they hold.

The profile of such a job stands in `uses`, behind the rows of all jobs: `facts[:, 3]` is 1 more than its
first row, which holds the energy of going on after a gap [kWh/W] and how many units of work a slot takes at
most. In the first column of the next rows stands what each further unit in one slot holds and costs, as a
multiple of the job's demand. A slot that does several units stands as often among the job's spots.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Indices = NDArray[np.int64]

__all__ = [
    "FORMS",
    "LEVEL_HELPERS",
    "PROFILES",
    "fewest_slots",
    "fit_levels",
    "hold_levels",
    "pick_levels",
    "spent_levels",
    "spread_levels",
]


# Kernels are compiled once for jobs that may have profiles, and once for problems where none has: there the
# compiler drops all that profiles need, which would cost a tenth of the time. Both ask by this name.
PROFILES = True
FORMS = ({"PROFILES": False}, {"PROFILES": True})


def fewest_slots(job: int, facts: Indices) -> Any:  # noqa: ANN401 - numba's integer
    """Return how many slots a job needs at least: one that does several units in a slot may need one."""
    if PROFILES and facts[job, 3] > 1:
        return 1
    return facts[job, 0]


def pick_levels(levels: Array, again: Array, length: int, order: Indices) -> Any:  # noqa: ANN401 - a number
    """Find the cheapest slots for some units of work, and return what they cost; inf where there are none.

    A dynamic programme over slots and units done: exact for any costs.

    Parameters
    ----------
    levels : ndarray, shape (slots, S)
        What doing 1, 2, ... S units in a slot costs; inf where it has no room for them.
    again : ndarray, shape (slots,)
        What going on in a slot costs after one that was not held.
    length : int
        Units to do.
    order : ndarray of int64
        Out: the slots, rising, as often as they do units.
    """
    slots = levels.shape[0]
    most = levels.shape[1]
    # Cheapest ways to have done so many units: with the slot before held, and with it not held.
    held = np.full(length + 1, np.inf)
    apart = np.full(length + 1, np.inf)
    apart[0] = 0.0
    # Units done in a slot, negative where the slot before was not held; and whether a rest begins there.
    done = np.zeros((slots, length + 1), np.int64)
    rests = np.zeros((slots, length + 1), np.int64)
    for slot in range(slots):
        least = max(1, length - most * (slots - slot - 1))
        for units in range(length, least - 1, -1):
            best = np.inf
            for count in range(1, min(most, units) + 1):
                on = held[units - count] + levels[slot, count - 1]
                anew = apart[units - count] + levels[slot, count - 1]
                if units > count:
                    anew += again[slot]
                if on < best:
                    best = on
                    done[slot, units] = count
                if anew < best:
                    best = anew
                    done[slot, units] = -count
            if held[units] < apart[units]:
                apart[units] = held[units]
                rests[slot, units] = 1
            held[units] = best
    best = min(held[length], apart[length])
    if best == np.inf:
        return best
    running = held[length] <= apart[length]
    units = length
    slot = slots - 1
    while units > 0:
        if running:
            count = abs(done[slot, units])
            running = done[slot, units] > 0
            for index in range(count):
                order[units - 1 - index] = slot
            units -= count
        else:
            running = rests[slot, units] == 1
        slot -= 1
    return best


def spread_levels(job: int, cost: Array, energy: Array, facts: Indices, uses: Array, order: Indices) -> Any:  # noqa: ANN401 - a number
    """Find a job's cheapest slots, room or not, by what a unit and a watt's energy in each cost."""
    row = facts[job, 3] - 1
    levels = np.empty((cost.size, int(uses[row, 1])))
    for slot in range(cost.size):
        total = 0.0
        for level in range(levels.shape[1]):
            total += uses[row + 1 + level, 0] * cost[slot]
            levels[slot, level] = total
    return pick_levels(levels, uses[row, 0] * energy, facts[job, 0], order)


def fit_levels(
    job: int, cost: Array, energy: Array, room: Array, facts: Indices, uses: Array, order: Indices
) -> Any:  # noqa: ANN401 - a number
    """Find a job's cheapest slots with room, of each resource (K, slots) in one region."""
    row = facts[job, 3] - 1
    costs = uses.shape[1] - room.shape[0]
    levels = np.empty((cost.size, int(uses[row, 1])))
    for slot in range(cost.size):
        total = 0.0
        multiple = 0.0
        for level in range(levels.shape[1]):
            total += uses[row + 1 + level, 0] * cost[slot]
            multiple += uses[row + 1 + level, 0]
            levels[slot, level] = total
            for resource in range(room.shape[0]):
                if room[resource, slot] < multiple * uses[job, costs + resource]:
                    levels[slot, level] = np.inf
    return pick_levels(levels, uses[row, 0] * energy, facts[job, 0], order)


def hold_levels(
    job: int, place: int, sign: float, facts: Indices, uses: Array, held: Array, spots: Indices
) -> None:
    """Add what a job holds in its slots to what is held of each resource, or take it away."""
    costs = uses.shape[1] - held.shape[0]
    level = 0
    for index in range(facts[job, 4], facts[job, 4] + facts[job, 0]):
        level = level + 1 if index > facts[job, 4] and spots[index] == spots[index - 1] else 0
        multiple = sign * uses[facts[job, 3] + level, 0]
        for resource in range(held.shape[0]):
            held[resource, place, spots[index]] += multiple * uses[job, costs + resource]


def spent_levels(
    job: int, place: int, facts: Indices, uses: Array, rates: Array, resources: int, spots: Indices,
    weight: float,
) -> float:  # fmt: skip
    """Return what a job's slots cost, prices of resources counted with a weight."""
    costs = rates.shape[0] - resources
    total = 0.0
    level = 0
    for index in range(facts[job, 4], facts[job, 4] + facts[job, 0]):
        slot = spots[index]
        if index > facts[job, 4]:
            level = level + 1 if slot == spots[index - 1] else 0
            if slot > spots[index - 1] + 1:
                total += uses[facts[job, 3] - 1, 0] * rates[0, place, slot]
        multiple = uses[facts[job, 3] + level, 0]
        for rate in range(rates.shape[0]):
            share = 1.0 if rate < costs else weight
            total += share * multiple * uses[job, rate] * rates[rate, place, slot]
    return total


LEVEL_HELPERS = (fewest_slots, pick_levels, spread_levels, fit_levels, hold_levels, spent_levels)
