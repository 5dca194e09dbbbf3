"""What a policy thinks of a pod on a node: the lower the better, with the GPU it would take.

The published policies give whole points from 0 to 100, as their authors' do; `CARBON_FGD` gives
grams per hour. The first of equals wins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from aicsched.place.nodes.kernels import layout as at
from aicsched.place.nodes.kernels.fragments import FRAGMENTS, starved, stranded

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aicsched.place.nodes.kernels.fragments import Tables

    Integers = NDArray[Any]
    Floats = NDArray[Any]

__all__ = ["SCORES", "fits", "fragmented", "score"]


def fits(state: Integers, node: int, pod: Integers) -> bool:
    """Tell whether a node has room for a pod."""
    if state[node, at.CPU] < pod[at.CPU] or state[node, at.MEMORY] < pod[at.MEMORY]:
        return False
    found = 0
    for g in range(at.GPU, state.shape[1]):
        if found >= pod[at.NUM]:
            break
        if state[node, g] >= pod[at.MILLI]:
            found += 1
    return found >= pod[at.NUM]


def tightest(state: Integers, node: int, milli: int) -> int:
    """Return the GPU with the least free that is enough."""
    best = -1
    for g in range(at.GPU, state.shape[1]):
        if state[node, g] >= milli and (best < 0 or state[node, g] < state[node, best]):
            best = g
    return best


def fraction(state: Integers, node: int, gpus: int) -> tuple[int, int]:
    """Return how much GPU is free, and how many GPUs are wholly free."""
    free = 0
    whole = 0
    for g in range(at.GPU, at.GPU + gpus):
        free += state[node, g]
        if state[node, g] == at.WHOLE:
            whole += 1
    return free, whole


def packed(state: Integers, node: int, pod: Integers, gpus: int) -> int:
    """Return the points of GpuPacking: GPUs shared already, then used nodes, then free ones."""
    if pod[at.NUM] == 0:
        return 0
    _, whole = fraction(state, node, gpus)
    if whole == gpus:
        return max(33 - whole, whole)
    if pod[at.MILLI] == at.WHOLE:
        return max(50 - pod[at.NUM], 33)
    free = state[node, tightest(state, node, pod[at.MILLI])]
    return max(49, 33) if free == at.WHOLE else max(100 - free * 100 // at.WHOLE // 10, 50)


def clustered(state: Integers, node: int, pod: Integers, facts: Integers) -> int:
    """Return the points of GpuClustering: nodes that hold the same kind of pod, then idle ones."""
    if pod[at.NUM] == 0:
        return 0
    free, _ = fraction(state, node, facts[node, at.GPUS])
    most = at.WHOLE * (state.shape[1] - at.GPU)
    points = 25 * (most - free) // most
    kinds = 0
    for tag in range(at.TAGS, facts.shape[1]):
        if facts[node, tag] > 0:
            kinds += 1
    if facts[node, at.TAGS + pod[at.TAG]] > 0:
        return points + (75 if kinds == 1 else 50)
    return points + (25 if kinds == 0 else 0)


def rounded(policy: int, state: Integers, node: int, pod: Integers, facts: Integers, most: int) -> float:
    """Return minus the points of a policy that looks at free room only."""
    if policy <= at.FIRST_FIT:
        return 0.0
    if policy == at.GPU_PACKING:
        return -float(packed(state, node, pod, facts[node, at.GPUS]))
    if policy == at.GPU_CLUSTERING:
        return -float(clustered(state, node, pod, facts))
    free, _ = fraction(state, node, facts[node, at.GPUS])
    gpu_most = at.WHOLE * (state.shape[1] - at.GPU)
    asked = pod[at.NUM] * pod[at.MILLI]
    if policy == at.BEST_FIT:
        left = 0.5 * (state[node, at.CPU] - pod[at.CPU]) / most + 0.5 * (free - asked) / max(gpu_most, 1)
        return -np.floor(100.0 * (1.0 - left))
    product = state[node, at.CPU] / most * (pod[at.CPU] / most)
    product += free / max(gpu_most, 1) * (asked / max(gpu_most, 1))
    return -np.floor(100.0 * (1.0 - 0.5 * product))


def fragmented(policy: int, state: Integers, row: int, model: int, tables: Tables, room: Integers) -> float:
    """Return the measure of fragmentation that a policy goes by."""
    if policy == at.FGD:
        return stranded(state, row, model, tables)
    return starved(state, row, model, tables, room)


def added_g(state: Integers, node: int, pod: Integers, gpu: int, facts: Integers, grams: Floats) -> float:
    """Return what a pod adds on a node [g/h]: its CPU, the GPUs it wakes, and the node if it wakes that."""
    waking = pod[at.NUM] if pod[at.MILLI] == at.WHOLE else 0
    if gpu >= 0 and state[node, gpu] == at.WHOLE:
        waking = 1
    found = grams[node, at.CPU_G] * pod[at.CPU] + grams[node, at.GPU_G] * waking
    if facts[node, at.CAPACITY] == state[node, at.CPU]:
        free, _ = fraction(state, node, facts[node, at.GPUS])
        if free == at.WHOLE * facts[node, at.GPUS]:
            found += grams[node, at.NODE_G]
    return found


def valued(policy: int, before: float, after: float, extra_g: float, lost_g: float) -> float:
    """Return the score of a step from one fragmentation to another."""
    if policy == at.FGD:
        return -np.floor(100.0 / (1.0 + np.exp((after - before) / at.WHOLE)))
    return lost_g * (after - before) + extra_g


def descended(  # noqa: PLR0913, PLR0917 - arrays in, no room made anew for each node
    policy: int,
    state: Integers,
    node: int,
    pod: Integers,
    facts: Integers,
    before: float,
    grams: Floats,
    tables: Tables,
    room: Integers,
) -> tuple[float, int]:
    """Return score and GPU by how a pod changes the fragmentation; the state's last row is for trials."""
    trial = len(state) - 1
    model = facts[node, at.MODEL]
    lost_g = grams[node, at.LOST_G]
    taken = 0
    for g in range(state.shape[1]):
        state[trial, g] = state[node, g]
        # Whole GPUs: the first that are free.
        if g >= at.GPU and pod[at.MILLI] == at.WHOLE and taken < pod[at.NUM] and state[node, g] == at.WHOLE:
            state[trial, g] = 0
            taken += 1
    state[trial, at.CPU] -= pod[at.CPU]
    if pod[at.NUM] == 0 or pod[at.MILLI] == at.WHOLE:
        after = fragmented(policy, state, trial, model, tables, room)
        extra_g = added_g(state, node, pod, -1, facts, grams)
        return valued(policy, before, after, extra_g, lost_g), -1
    best = np.inf
    gpu = -1
    for g in range(at.GPU, state.shape[1]):
        if state[node, g] < pod[at.MILLI]:
            continue
        seen = False
        for other in range(at.GPU, g):
            seen = seen or state[node, other] == state[node, g]
        if seen:
            continue
        state[trial, g] -= pod[at.MILLI]
        # The cheap measure decides which GPU, whichever decides which node.
        after = stranded(state, trial, model, tables)
        state[trial, g] += pod[at.MILLI]
        found = valued(policy, before, after, added_g(state, node, pod, g, facts, grams), lost_g)
        if found < best:
            best = found
            gpu = g
    if policy != at.FGD:
        state[trial, gpu] -= pod[at.MILLI]
        after = starved(state, trial, model, tables, room)
        best = valued(policy, before, after, added_g(state, node, pod, gpu, facts, grams), lost_g)
    return best, gpu


def score(  # noqa: PLR0913, PLR0917 - arrays in, no room made anew for each node
    policy: int,
    state: Integers,
    node: int,
    pod: Integers,
    facts: Integers,
    before: float,
    grams: Floats,
    tables: Tables,
    room: Integers,
    most: int,
) -> tuple[float, int]:
    """Return what a policy thinks of a pod on a node with room for it, and which GPU it would share."""
    if policy >= at.FGD:
        return descended(policy, state, node, pod, facts, before, grams, tables, room)
    gpu = -1
    if pod[at.NUM] == 1 and pod[at.MILLI] < at.WHOLE:
        gpu = tightest(state, node, pod[at.MILLI])
    return rounded(policy, state, node, pod, facts, most), gpu


# Each before those that call it.
SCORES: Final = (
    *FRAGMENTS, fits, tightest, fraction, packed, clustered, rounded, fragmented, added_g, valued, descended,
    score,
)  # fmt: skip
