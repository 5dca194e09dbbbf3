"""How much of a node's free GPU the pods to come can't use: two measures, from tables.

A row of `state` is what a node has free: CPU [milli], memory [MiB], then each
GPU [milli], 0 for a GPU that isn't there. `tables` are those of `tables_of`
(`aicsched.place.nodes.typical`). Both measures are sums over typical pods; cumulative tables
over CPU and GPU thresholds make them cost a few look-ups a GPU.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from aicsched.place.nodes.kernels import layout as at

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Integers = NDArray[Any]
    Floats = NDArray[Any]
    Tables = tuple[Integers, Integers, Integers, Floats, Floats, Floats, Floats]

__all__ = ["FRAGMENTS", "level_of", "starved", "stranded"]


def level_of(levels: Integers, value: float) -> int:
    """Return how many of the rising levels don't exceed a value."""
    low = 0
    high = len(levels)
    while low < high:
        middle = (low + high) // 2
        if levels[middle] <= value:
            low = middle + 1
        else:
            high = middle
    return low


def stranded(state: Integers, row: int, model: int, tables: Tables) -> float:
    """Return the fragmentation of a node as FGD defines it [GPU milli].

    The mean over typical pods of the free GPU they can't use: all of it where the pod doesn't
    fit on the node, else that on GPUs with less than the pod asks of one.
    """
    cpu_levels, milli_level, single, several = tables[0], tables[1], tables[3], tables[4]
    k = level_of(cpu_levels, state[row, at.CPU])
    total = 0
    full = 0
    usable = 0.0
    for g in range(at.GPU, state.shape[1]):
        free = state[row, g]
        if free > 0:
            total += free
            usable += free * single[model, k, milli_level[free]]
            if free == at.WHOLE:
                full += 1
    usable += at.WHOLE * full * several[model, k, full]
    return total - usable


def starved(state: Integers, row: int, model: int, tables: Tables, room: Integers) -> float:
    """Return the free GPU that CPU will starve, too [GPU milli].

    As `stranded`, but a typical pod uses no more than the node's free CPU feeds: of pods with
    c CPU and q GPU, free CPU C carries q·C/c. FGD counts all of a node's GPUs as usable where
    one pod fits. `room` is scratch, a place a kind.
    """
    cpu_levels, milli_level, kinds, share, need = tables[0], tables[1], tables[2], tables[5], tables[6]
    cpu = state[row, at.CPU]
    k = level_of(cpu_levels, cpu)
    singles = kinds[0, 0]
    total = 0
    full = 0
    usable = 0.0
    for kind in range(singles + 1):
        room[kind] = 0
    for g in range(at.GPU, state.shape[1]):
        free = state[row, g]
        total += free
        room[milli_level[free]] += free
        if free == at.WHOLE:
            full += 1
    # What is free on GPUs that have at least as much as pods of the kind ask.
    reach = total - room[0]
    j = 0
    for kind in range(1, singles + 1):
        if reach == 0:
            break
        # Pods with up to this much CPU can use all of it; the rest is limited by CPU.
        limit = kinds[kind, 1] * cpu / reach
        while j < k and cpu_levels[j] <= limit:
            j += 1
        usable += reach * share[model, kind, j] + cpu * (need[model, kind, k] - need[model, kind, j])
        reach -= room[kind]
    for kind in range(singles + 1, len(kinds)):
        reach = full // kinds[kind, 0] * kinds[kind, 0] * at.WHOLE
        if reach > 0:
            j = level_of(cpu_levels, min(kinds[kind, 0] * at.WHOLE * cpu / reach, cpu))
            usable += reach * share[model, kind, j] + cpu * (need[model, kind, k] - need[model, kind, j])
    return total - usable


FRAGMENTS: Final = (level_of, stranded, starved)
