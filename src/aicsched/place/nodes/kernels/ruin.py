"""Ruin and recreate on a few nodes at a time: take their pods off, and put them back with some that wait.

A step draws a few nodes, one of them with free GPU more often than not, takes off what may be moved, mixes in
some of the pods without a place, and puts all back in a drawn order where they fit best. What was worth more
before stands again. Values are GPU and pods placed, less what the nodes emit and that they are awake.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from aicsched.jit import Kernel
from aicsched.place.nodes.kernels import layout as at
from aicsched.place.nodes.kernels.scores import fits, tightest
from aicsched.place.nodes.kernels.stream import drawn

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Integers = NDArray[Any]
    Floats = NDArray[Any]
    Chains = tuple[Integers, Integers, Integers]

__all__ = ["RUIN_AND_RECREATE"]

# Nodes a step, pods taken from those that wait, and pods a step at most.
_NODES: Final = 4
_WAITING: Final = 8
_MOST: Final = 512
# Nodes that are looked at for one with free GPU.
_LOOKED_AT: Final = 4
# Outweighs all room: nodes are filled in the order in which they were drawn.
_FIRST: Final = 1e9
_TINY: Final = 1e-12
_LEAST_GAIN: Final = 1e-9


def uniform(seed: Integers) -> float:
    """Return a number from 0 to below 1."""
    return drawn(seed, 1 << 24) / (1 << 24)


def cost(state: Integers, node: int, facts: Integers, rates: Floats) -> float:
    """Return what a node costs as it stands: CPU in use, GPUs in use, and being awake."""
    used = facts[node, 1] - state[node, at.CPU]
    busy = 0
    for g in range(at.GPU, at.GPU + facts[node, 0]):
        busy += 1 if state[node, g] < at.WHOLE else 0
    awake = rates[node, 2] if used > 0 or busy > 0 else 0.0
    return rates[node, 0] * used + rates[node, 1] * busy + awake


def hold(state: Integers, node: int, pod: Integers, bits: int, sign: int) -> None:
    """Take a pod's room (1), or give it back (-1)."""
    state[node, at.CPU] -= sign * pod[at.CPU]
    state[node, at.MEMORY] -= sign * pod[at.MEMORY]
    for g in range(at.GPU, state.shape[1]):
        if bits >> (g - at.GPU) & 1:
            state[node, g] -= sign * pod[at.MILLI]


def gpus_for(state: Integers, node: int, pod: Integers) -> int:
    """Return the GPUs a pod takes on a node with room, as bits: the tightest, or the first whole ones."""
    if pod[at.NUM] == 0:
        return 0
    if pod[at.MILLI] < at.WHOLE:
        return 1 << (tightest(state, node, pod[at.MILLI]) - at.GPU)
    bits, found = 0, 0
    for g in range(at.GPU, state.shape[1]):
        if found < pod[at.NUM] and state[node, g] == at.WHOLE:
            bits |= 1 << (g - at.GPU)
            found += 1
    return bits


def picked(state: Integers, facts: Integers, chosen: Integers, seed: Integers) -> int:
    """Draw the nodes of a step; return how many."""
    nodes = len(facts)
    count = min(2 + drawn(seed, _NODES - 1), nodes)
    for i in range(count):
        best, most = drawn(seed, nodes), -1
        # The first has free GPU if one can be found soon.
        for _ in range(_LOOKED_AT if i == 0 and drawn(seed, 4) > 0 else 0):
            n = drawn(seed, nodes)
            free = 0
            for g in range(at.GPU, at.GPU + facts[n, 0]):
                free += state[n, g]
            if free > most:
                best, most = n, free
        for j in range(i):
            if chosen[j] == best:
                return i
        chosen[i] = best
    return count


def link(chains: Chains, pod: int, node: int) -> None:
    """Put a pod first among its node's."""
    first, after, before = chains
    after[pod], before[pod] = first[node], -1
    if first[node] >= 0:
        before[first[node]] = pod
    first[node] = pod


def unlink(chains: Chains, pod: int, node: int) -> None:
    """Take a pod out of its node's."""
    first, after, before = chains
    if before[pod] >= 0:
        after[before[pod]] = after[pod]
    else:
        first[node] = after[pod]
    if after[pod] >= 0:
        before[after[pod]] = before[pod]


def best_place(
    state: Integers, pod: Integers, able: Integers, chosen: Integers, count: int, weights: Floats
) -> int:
    """Return the node of a step that a pod leaves the least room on, by drawn weights, or -1."""
    best, node = np.inf, -1
    for i in range(count):
        n = chosen[i]
        if able[n] == 0 or not fits(state, n, pod):
            continue
        free = 0
        for g in range(at.GPU, state.shape[1]):
            free += state[n, g]
        left = weights[0] * (state[n, at.CPU] - pod[at.CPU])
        left += weights[1] * (free - pod[at.NUM] * pod[at.MILLI]) + weights[2] * i
        if left < best:
            best, node = left, n
    return node


def ordered(some: Integers, sizes: Integers, size: Integers, seed: Integers, keys: Floats) -> Integers:
    """Return pods in a drawn order: mostly the large ones first."""
    by, noise = drawn(seed, 4), 0.6 * uniform(seed)
    for i in range(len(some)):
        pod = sizes[size[some[i]]]
        asked = float(pod[at.NUM] * pod[at.MILLI])
        if by == 0:
            keys[i] = uniform(seed)
        elif by == 1:
            keys[i] = -(pod[at.CPU] + 0.01 * asked) * (1.0 + noise * uniform(seed))
        else:
            keys[i] = -(1000.0 * asked + pod[at.CPU]) * (1.0 + noise * uniform(seed))
    return np.argsort(keys[: len(some)])


def taken_off(
    cast: Integers, chosen: Integers, few: int, where: Integers, which: Integers, chains: Chains
) -> int:
    """List the pods that may be moved on the nodes of a step, with their places; return how many."""
    count = 0
    for i in range(few):
        p = chains[0][chosen[i]]
        while p >= 0 and count < _MOST - _WAITING:
            cast[0, count], cast[1, count], cast[2, count] = p, where[p], which[p]
            count += 1
            p = chains[1][p]
    return count


def called_up(cast: Integers, count: int, queue: Integers, seed: Integers) -> int:
    """Add some pods that wait; the queue's last place says how many there are."""
    last = len(queue) - 1
    for _ in range(min(_WAITING, queue[last])):
        i = drawn(seed, queue[last])
        queue[last] -= 1
        waiting = queue[last]
        queue[i], queue[waiting] = queue[waiting], queue[i]
        cast[0, count], cast[1, count], cast[2, count] = queue[waiting], -1, 0
        count += 1
    return count


def wait(queue: Integers, pod: int) -> None:
    """Put a pod at the end of the queue."""
    last = len(queue) - 1
    queue[queue[last]] = pod
    queue[last] += 1


def kept(cast: Integers, count: int, where: Integers, chains: Chains, queue: Integers) -> None:
    """Make a step's places the new ones."""
    for i in range(count):
        p = cast[0, i]
        if cast[1, i] >= 0:
            unlink(chains, p, int(cast[1, i]))
        if where[p] >= 0:
            link(chains, p, int(where[p]))
        else:
            wait(queue, p)


def undone(  # noqa: PLR0913, PLR0917 - arrays in, arrays out
    cast: Integers,
    count: int,
    sizes: Integers,
    size: Integers,
    state: Integers,
    where: Integers,
    which: Integers,
    queue: Integers,
) -> None:
    """Put all pods of a step back where they were."""
    for i in range(count):
        p = cast[0, i]
        if where[p] >= 0:
            hold(state, int(where[p]), sizes[size[p]], int(which[p]), -1)
    for i in range(count):
        p = cast[0, i]
        where[p], which[p] = cast[1, i], cast[2, i]
        if where[p] >= 0:
            hold(state, int(where[p]), sizes[size[p]], int(which[p]), 1)
        else:
            wait(queue, p)


def put_back(  # noqa: PLR0913, PLR0917 - arrays in, arrays out
    some: Integers,
    sizes: Integers,
    size: Integers,
    able: Integers,
    kind: Integers,
    values: Floats,
    state: Integers,
    chosen: Integers,
    few: int,
    where: Integers,
    which: Integers,
    keys: Floats,
    seed: Integers,
) -> float:
    """Place the pods of a step anew; return what they are worth."""
    weights = np.zeros(3)
    weights[0] = uniform(seed)
    weights[1] = 10.0 * uniform(seed) if drawn(seed, 4) > 0 else 0.0
    weights[2] = _FIRST if drawn(seed, 4) == 0 else 0.0
    worth = 0.0
    for j in ordered(some, sizes, size, seed, keys):
        p = some[j]
        pod = sizes[size[p]]
        node = best_place(state, pod, able[kind[p]], chosen, few, weights)
        where[p], which[p] = node, 0
        if node >= 0:
            which[p] = gpus_for(state, node, pod)
            hold(state, node, pod, int(which[p]), 1)
            worth += float(values[p])
    return worth


def _loop(  # noqa: PLR0913, PLR0917 - arrays in, arrays out
    steps: int,
    sizes: Integers,
    size: Integers,
    movable: Integers,
    able: Integers,
    kind: Integers,
    values: Floats,
    state: Integers,
    facts: Integers,
    rates: Floats,
    where: Integers,
    which: Integers,
    heat: float,
    seed: Integers,
) -> tuple[float, int]:
    count = len(where)
    none = np.full(count, -1, dtype=np.int64)
    chains = (np.full(len(facts), -1, dtype=np.int64), none, none.copy())
    queue = np.zeros(count + 1, dtype=np.int64)
    for p in range(count):
        if movable[p] == 1 and where[p] >= 0:
            link(chains, p, int(where[p]))
        elif movable[p] == 1:
            wait(queue, p)
    chosen, keys = np.zeros(_NODES, dtype=np.int64), np.zeros(_MOST)
    cast = np.zeros((3, _MOST), dtype=np.int64)
    gained, best, changed = 0.0, 0.0, 0
    best_where, best_which = where.copy(), which.copy()
    for step in range(steps):
        few = picked(state, facts, chosen, seed)
        gain = 0.0
        for i in range(few):
            gain += cost(state, chosen[i], facts, rates)
        taken = taken_off(cast, chosen, few, where, which, chains)
        for i in range(taken):
            p = cast[0, i]
            gain -= float(values[p])
            hold(state, int(where[p]), sizes[size[p]], int(which[p]), -1)
        taken = called_up(cast, taken, queue, seed)
        gain += put_back(
            cast[0, :taken], sizes, size, able, kind, values, state, chosen, few, where, which, keys, seed
        )
        for i in range(few):
            gain -= cost(state, chosen[i], facts, rates)
        warm = heat * (1.0 - step / steps)
        if gain < 0.0 and (warm <= 0.0 or gain <= warm * np.log(uniform(seed) + _TINY)):
            undone(cast, taken, sizes, size, state, where, which, queue)
            continue
        kept(cast, taken, where, chains, queue)
        gained += gain
        changed += 1
        if gained > best + _LEAST_GAIN:
            best = gained
            best_where[:], best_which[:] = where, which
    where[:], which[:] = best_where, best_which
    return best, changed


def _work(steps: int, *_rest: object) -> float:
    return 20_000.0 * steps


_I1 = 'Array(int64, 1, "C", readonly=True)'
_I2 = 'Array(int64, 2, "C", readonly=True)'
_U1 = 'Array(uint8, 1, "C", readonly=True)'
_U2 = 'Array(uint8, 2, "C", readonly=True)'
_F1 = 'Array(float64, 1, "C", readonly=True)'
_F2 = 'Array(float64, 2, "C", readonly=True)'
# steps, sizes (z, 5), size (p), whether a pod may be moved (p), where a kind may run (k, n), kind (p), value
# (p), state (n, 2 + gpus; changed), GPUs and CPU (n, 2), cost per CPU milli, GPU in use and of being awake
# (n, 3), node of each pod or -1 (p; changed), its GPUs as bits (p; changed), heat, seed (1; changed) → gain
# and steps kept. Its oracles are the checker and enumeration, in the tests.
RUIN_AND_RECREATE = Kernel(
    _loop,
    _loop,
    signature=(
        f"Tuple((float64, int64))(int64, {_I2}, {_I1}, {_U1}, {_U2}, {_I1}, {_F1}, int64[:, ::1], {_I2}, "
        f"{_F2}, int64[::1], int64[::1], float64, int64[::1])"
    ),
    work=_work,
    helpers=(
        fits,
        tightest,
        drawn,
        uniform,
        cost,
        hold,
        gpus_for,
        picked,
        link,
        unlink,
        best_place,
        ordered,
        taken_off,
        called_up,
        wait,
        kept,
        undone,
        put_back,
    ),
)
