"""One pod at a time on a cluster that is known already: appraise what changed, then look all nodes over.

What a pod would add to a node doesn't depend on the hour: watts, and what its CPU starves. Both are kept for
each size of pod on each node, and made anew for one node when a pod comes or goes. What a watt costs depends
on region and hour only, so that a decision is a pass over what is kept. Where a GPU is shared there are
two ways to keep: on the best GPU that is in use already, and on one that wakes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from aicsched.jit import Kernel
from aicsched.place.nodes.kernels import layout as at
from aicsched.place.nodes.kernels.fragments import starved, stranded
from aicsched.place.nodes.kernels.scores import SCORES, added_g, fits
from aicsched.place.nodes.kernels.stream import allowed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aicsched.place.nodes.kernels.fragments import Tables
    from aicsched.place.nodes.kernels.stream import Rules

    Integers = NDArray[Any]
    Floats = NDArray[Any]

__all__ = ["APPRAISE", "LOOK_OVER"]

# Ways to put a pod on a node, and what is kept of each: watts with PUE (inf where there is no such way), the
# stranded GPU after it, by which a way is chosen, and the rise of starved GPU, by which a node is.
WAYS: Final = 2
WATTS: Final = 0
STRANDED: Final = 1
STARVED: Final = 2


def tried(state: Integers, node: int, pod: Integers) -> None:
    """Lay a node with a pod's CPU and whole GPUs taken into the state's last row."""
    trial = len(state) - 1
    left = pod[at.NUM] if pod[at.MILLI] == at.WHOLE else 0
    for g in range(state.shape[1]):
        state[trial, g] = state[node, g]
        if g >= at.GPU and left > 0 and state[node, g] == at.WHOLE:
            state[trial, g] = 0
            left -= 1
    state[trial, at.CPU] -= pod[at.CPU]


def appraised(  # noqa: PLR0913, PLR0917 - arrays in, arrays out
    state: Integers,
    node: int,
    pod: Integers,
    facts: Integers,
    before: float,
    watts: Floats,
    tables: Tables,
    room: Integers,
    kept: Floats,
    picks: Integers,
) -> None:
    """Write down the ways of one size on one node."""
    kept[:, WATTS] = np.inf
    if not fits(state, node, pod):
        return
    trial, model = len(state) - 1, facts[node, at.MODEL]
    tried(state, node, pod)
    if pod[at.NUM] == 0 or pod[at.MILLI] == at.WHOLE:
        picks[0] = -1
        kept[0, WATTS] = added_g(state, node, pod, -1, facts, watts)
        kept[0, STRANDED] = 0.0
        kept[0, STARVED] = starved(state, trial, model, tables, room) - before
        return
    for g in range(at.GPU, state.shape[1]):
        seen = state[node, g] < pod[at.MILLI]
        for other in range(at.GPU, g):
            seen = seen or state[node, other] == state[node, g]
        if seen:
            continue
        way = 1 if state[node, g] == at.WHOLE else 0
        state[trial, g] -= pod[at.MILLI]
        after = stranded(state, trial, model, tables)
        state[trial, g] += pod[at.MILLI]
        if kept[way, WATTS] == np.inf or after < kept[way, STRANDED]:
            kept[way, WATTS] = added_g(state, node, pod, g, facts, watts)
            kept[way, STRANDED] = after
            picks[way] = g
    for way in range(WAYS):
        if kept[way, WATTS] < np.inf:
            state[trial, picks[way]] -= pod[at.MILLI]
            kept[way, STARVED] = starved(state, trial, model, tables, room) - before
            state[trial, picks[way]] += pod[at.MILLI]


def _appraise(  # noqa: PLR0913, PLR0917 - arrays in, arrays out
    some: Integers,
    changed: Integers,
    sizes: Integers,
    state: Integers,
    facts: Integers,
    before: Floats,
    watts: Floats,
    tables: Tables,
    kept: Floats,
    picks: Integers,
) -> int:
    room = np.zeros(len(tables[2]) + 1, dtype=np.int64)
    for i in range(len(changed)):
        n = changed[i]
        before[n] = starved(state, n, facts[n, at.MODEL], tables, room)
        for j in range(len(some)):
            z = some[j]
            appraised(
                state, n, sizes[z], facts, float(before[n]), watts, tables, room, kept[z, n], picks[z, n]
            )  # fmt: skip
    return len(changed) * len(some)


def upto(sums: Floats, place: float) -> float:
    """Return a rate summed up to a place between slots; the first and the last one go on beyond the ends."""
    slot = min(max(int(np.floor(place)), 0), len(sums) - 2)
    return sums[slot] + (place - slot) * (sums[slot + 1] - sums[slot])


def spent(sums: Floats, now: float, length: float, starts: int) -> Floats:
    """Return what a watt and a vCPU cost over a length from each start: now, then the slots to come."""
    made = np.zeros((2, sums.shape[1], starts))
    for k in range(starts):
        start = now if k == 0 else np.floor(now) + k
        for r in range(sums.shape[1]):
            for what in range(2):
                made[what, r, k] = upto(sums[what, r], start + length) - upto(sums[what, r], start)
    return made


def better(kept: Floats, picks: Integers, g_per_w: float, lost_g: float) -> int:
    """Return which way onto a node is the cheaper one, by the cheap measure."""
    if kept[1, WATTS] == np.inf:
        return 0
    if kept[0, WATTS] == np.inf:
        return 1
    first = lost_g * kept[0, STRANDED] + g_per_w * kept[0, WATTS]
    second = lost_g * kept[1, STRANDED] + g_per_w * kept[1, WATTS]
    if first == second:
        return 0 if picks[0] < picks[1] else 1
    return 0 if first < second else 1


def _look(  # noqa: PLR0913, PLR0917 - arrays in
    kept: Floats,
    picks: Integers,
    eligible: Integers,
    shape: int,
    rules: Rules,
    tallies: Integers,
    region: Integers,
    sums: Floats,
    now: float,
    length: float,
    starts: int,
    vcpus: float,
    lost_g: float,
    costs: Floats,
) -> tuple[int, int, int, int]:
    """Return node, way and start of the least cost, and the node of the least cost now."""
    spans = spent(sums, now, length, starts)
    ruled = rules[0][shape + 1] > rules[0][shape] or rules[2][shape + 1] > rules[2][shape]
    best, best_now, node, chosen_way, when, node_now = np.inf, np.inf, -1, 0, 0, -1
    for n in range(len(kept)):
        costs[n] = np.inf
        if eligible[n] == 0 or (kept[n, 0, WATTS] == np.inf and kept[n, 1, WATTS] == np.inf):
            continue
        if ruled and not allowed(shape, n, rules, tallies):
            continue
        r = region[n]
        for k in range(starts):
            way = better(kept[n], picks[n], spans[0, r, k], lost_g)
            found = lost_g * kept[n, way, STARVED] + spans[0, r, k] * kept[n, way, WATTS]
            found += vcpus * spans[1, r, k]
            if k == 0:
                costs[n] = found
                if found < best_now:
                    best_now, node_now = found, n
            if found < best or (found == best and k < when):
                best, node, chosen_way, when = found, n, way, k
    return node, chosen_way, when, node_now


def _appraise_work(some: Integers, changed: Integers, *_rest: object) -> float:
    return 6000.0 * len(some) * len(changed)


def _look_work(kept: Floats, *rest: object) -> float:
    return 50.0 * len(kept) * rest[9]  # type: ignore[operator]


_I1 = 'Array(int64, 1, "C", readonly=True)'
_I2 = 'Array(int64, 2, "C", readonly=True)'
_U1 = 'Array(uint8, 1, "C", readonly=True)'
_U2 = 'Array(uint8, 2, "C", readonly=True)'
_F2 = 'Array(float64, 2, "C", readonly=True)'
_F3 = 'Array(float64, 3, "C", readonly=True)'
_TABLES = f"Tuple(({_I1}, {_I1}, {_I2}, {_F3}, {_F3}, {_F3}, {_F3}))"
_RULES = f"Tuple(({_I1}, {_I2}, {_I1}, {_I1}, {_I2}, {_U2}))"
# which sizes, which nodes, sizes (z, 5), state (n + 1, 2 + gpus; its last row is scratch), facts
# (n, 5 + tags), starved before (n; changed), watts (n, 4: as a node's grams), tables, kept (z, n, 2, 3;
# changed), GPUs they take (z, n, 2; changed) → evaluations. Its oracles are the stream and the definitions.
APPRAISE = Kernel(
    _appraise,
    _appraise,
    signature=(
        f"int64({_I1}, {_I1}, {_I2}, int64[:, ::1], int64[:, ::1], float64[::1], {_F2}, {_TABLES}, "
        "float64[:, :, :, ::1], int64[:, :, ::1])"
    ),
    work=_appraise_work,
    helpers=(*SCORES, tried, appraised),
)
# kept (n, 2, 3), picks (n, 2), where the shape may run (n), shape, rules, tallies, region (n), sums of
# intensity and price up to each slot (2, r, t + 1), now and length in slots, how many starts to try, vCPUs,
# grams of starving a GPU milli for that long, costs now (n; changed) → node or -1, way, start, node now
# or -1.
LOOK_OVER = Kernel(
    _look,
    _look,
    signature=(
        f"UniTuple(int64, 4)({_F3}, {_I2}, {_U1}, int64, {_RULES}, int64[:, :, :, ::1], {_I1}, {_F3}, "
        "float64, float64, int64, float64, float64, float64[::1])"
    ),
    work=_look_work,
    helpers=(upto, spent, allowed, better),
)
