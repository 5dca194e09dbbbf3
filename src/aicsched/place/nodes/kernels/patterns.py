"""The best that one node can hold at given prices: a knapsack a GPU, then the GPUs of a node together.

CPU and GPU are counted in steps. With requests rounded down and room, too, no real filling is
lost: what comes out is a bound. With requests rounded up it is a filling that fits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from aicsched.jit import Kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Integers = NDArray[Any]
    Floats = NDArray[Any]

__all__ = ["BEST_FILLINGS"]


def one_gpu(values: Floats, asks: Integers, units: int, cpu: int) -> tuple[Floats, Integers]:
    """Return the best value on a GPU with some units free and some CPU, and the item that was put last."""
    best = np.zeros((units + 1, cpu + 1))
    last = np.full((units + 1, cpu + 1), -1, dtype=np.int64)
    for u in range(units + 1):
        for i in range(len(values)):
            if asks[i, 0] != 1 or asks[i, 1] > u or asks[i, 2] > cpu or values[i] <= 0.0:
                continue
            rest = u - asks[i, 1]
            for c in range(asks[i, 2], cpu + 1):
                found = best[rest, c - asks[i, 2]] + values[i]
                if found > best[u, c]:
                    best[u, c] = found
                    last[u, c] = i
    return best, last


def steps_of(row: Floats) -> Integers:
    """Return where a rising row rises, the first place with it."""
    made = np.zeros(len(row), dtype=np.int64)
    count = 1
    for c in range(1, len(row)):
        if row[c] > row[made[count - 1]]:
            made[count] = c
            count += 1
    return made[:count]


def joined(room: Floats, taken: Integers, before: Floats, row: Floats) -> None:
    """Add one more GPU to a node: the best split of CPU between it and the GPUs before."""
    steps = steps_of(row)
    for s in range(len(steps)):
        for c in range(steps[s], len(room)):
            found = before[c - steps[s]] + row[steps[s]]
            if found > room[c]:
                room[c] = found
                taken[c] = steps[s]


def unpacked(counts: Integers, last: Integers, asks: Integers, units: int, cpu: int) -> None:
    """Count the items of one GPU's best filling."""
    u = units
    c = cpu
    while last[u, c] >= 0:
        item = last[u, c]
        counts[item] += 1
        u -= asks[item, 1]
        c -= asks[item, 2]


def filling(
    values: Floats, asks: Integers, best: Floats, last: Integers, cpu: int, gpus: Integers
) -> tuple[float, Integers]:
    """Return value and items of the best filling of a node; its GPUs stand with the fullest first."""
    counts = np.zeros(len(values), dtype=np.int64)
    rooms = np.full((len(gpus) + 1, cpu + 1), -1.0)
    taken = np.zeros((len(gpus) + 1, cpu + 1), dtype=np.int64)
    rooms[0] = 0.0
    whole = best.shape[0] - 1
    for g in range(1, len(gpus) + 1):
        joined(rooms[g], taken[g], rooms[g - 1], best[gpus[g - 1], : cpu + 1])
        if gpus[g - 1] < whole:
            continue
        for i in range(len(values)):
            # The GPUs that are whole come first, so the last of them are free for an item of several.
            if 1 < asks[i, 0] <= g and values[i] > 0.0:
                for c in range(asks[i, 2], cpu + 1):
                    found = rooms[g - asks[i, 0], c - asks[i, 2]] + values[i]
                    if found > rooms[g, c]:
                        rooms[g, c] = found
                        taken[g, c] = -1 - i
    g = len(gpus)
    c = cpu
    while g > 0:
        if taken[g, c] < 0:
            item = -1 - taken[g, c]
            counts[item] += 1
            g -= asks[item, 0]
            c -= asks[item, 2]
        else:
            unpacked(counts, last, asks, gpus[g - 1], taken[g, c])
            c -= taken[g, c]
            g -= 1
    return rooms[len(gpus), cpu], counts


def _loop(
    values: Floats, asks: Integers, units: int, cpus: Integers, gpus: Integers
) -> tuple[Floats, Integers]:
    nodes = len(cpus)
    found = np.zeros(nodes)
    counts = np.zeros((nodes, len(values)), dtype=np.int64)
    best, last = one_gpu(values, asks, units, cpus.max())
    for n in range(nodes):
        there = 0
        while there < gpus.shape[1] and gpus[n, there] > 0:
            there += 1
        found[n], counts[n] = filling(values, asks, best, last, cpus[n], gpus[n, :there])
    return found, counts


def _work(values: Floats, _asks: Integers, units: int, cpus: Integers, gpus: Integers) -> float:
    # Asked again and again, at other prices.
    return 1000.0 * cpus.max() * (units * values.size + gpus.size * (values.size + 50))


_I2 = 'Array(int64, 2, "C", readonly=True)'
_I1 = 'Array(int64, 1, "C", readonly=True)'
_F1 = 'Array(float64, 1, "C", readonly=True)'
# values (i,), asks (i, 3: GPUs, units of one, at least 1, CPU steps), units of a whole GPU, CPU steps (n,),
# units free by GPU (n, g), most first, 0 for none → best value (n,) and how many of each item (n, i).
# Its oracle is enumeration, in the tests.
BEST_FILLINGS = Kernel(
    _loop,
    _loop,
    signature=(f"Tuple((float64[::1], int64[:, ::1]))({_F1}, {_I2}, int64, {_I1}, {_I2})"),
    work=_work,
    helpers=(one_gpu, steps_of, joined, unpacked, filling),
)
