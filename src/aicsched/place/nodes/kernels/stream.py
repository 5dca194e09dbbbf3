"""Placing a stream of pods, one after another: scores are kept and only those of changed nodes made anew.

One placement changes one node. Each size of pod keeps its score on each node; when a pod of
that size comes again, only the nodes in the log since it last came are looked at. Nodes of
one class that hold nothing yet share one evaluation. A shape is a size with requirements.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from aicsched.jit import Kernel
from aicsched.place.nodes.kernels import layout as at
from aicsched.place.nodes.kernels.scores import SCORES, fits, fragmented, score

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aicsched.place.nodes.kernels.fragments import Tables

    Integers = NDArray[Any]
    Floats = NDArray[Any]
    Kept = tuple[Floats, Floats, Floats, Integers, Integers, Integers, Integers]
    Rules = tuple[Integers, Integers, Integers, Integers, Integers, Integers]

__all__ = ["PLACE_STREAM"]


def drawn(seed: Integers, below: int) -> int:
    """Return a whole number from 0 to below a limit, and move the generator on (xorshift, 32 bits)."""
    value = seed[0]
    value ^= (value << 13) & 0xFFFFFFFF
    value ^= value >> 17
    value ^= (value << 5) & 0xFFFFFFFF
    seed[0] = value
    return value % below


def refresh(  # noqa: PLR0913, PLR0917 - arrays in, arrays out
    policy: int,
    size: int,
    node: int,
    arrival: int,
    state: Integers,
    pod: Integers,
    facts: Integers,
    grams: Floats,
    tables: Tables,
    kept: Kept,
    most: int,
) -> None:
    """Score one size on one node anew; nodes of a class share the score until they change."""
    scores, before, class_scores, picks, class_picks, stamps, room = kept
    if not fits(state, node, pod):
        scores[size, node] = np.inf
        return
    group = facts[node, at.CLASS]
    if facts[node, at.CHANGED] == 0 and stamps[group] == arrival:
        scores[size, node] = class_scores[group]
        picks[size, node] = class_picks[group]
        return
    found, pick = score(policy, state, node, pod, facts, before[node], grams, tables, room, most)
    scores[size, node] = found
    picks[size, node] = pick
    if facts[node, at.CHANGED] == 0:
        stamps[group] = arrival
        class_scores[group] = found
        class_picks[group] = pick


def allowed(  # noqa: C901 - one question a kind of rule
    shape: int, node: int, rules: Rules, tallies: Integers
) -> bool:
    """Tell whether pods placed already let a shape onto a node."""
    starts, rows, member_starts, members, domains, counted = rules
    # Who stands in the way of whom goes both ways: pods already there may refuse this one.
    for m in range(member_starts[shape], member_starts[shape + 1]):
        for t in range(len(domains)):
            if domains[t, node] >= 0 and tallies[1, members[m], t, domains[t, node]] > 0:
                return False
    for r in range(starts[shape], starts[shape + 1]):
        kind, group, t, skew, own = rows[r, 0], rows[r, 1], rows[r, 2], rows[r, 3], rows[r, 4]
        domain = domains[t, node]
        if kind == at.ANTI_AFFINITY:
            if domain >= 0 and tallies[0, group, t, domain] > 0:
                return False
            continue
        if domain < 0:
            return False
        here = tallies[0, group, t, domain]
        if kind == at.AFFINITY:
            # The first of a group that asks for its own company may go anywhere.
            first = own == 1 and tallies[0, group, t].sum() == 0
            if here == 0 and not first:
                return False
            continue
        least = here
        for d in range(counted.shape[1]):
            if counted[r, d] == 1:
                least = min(least, tallies[0, group, t, d])
        if here + own - least > skew:
            return False
    return True


def chosen(  # noqa: PLR0913, PLR0917 - arrays in
    policy: int,
    shape: int,
    size: int,
    scores: Floats,
    eligible: Integers,
    rules: Rules,
    tallies: Integers,
    seed: Integers,
) -> int:
    """Return the first node with the lowest score that the pod may run on, or -1; `RANDOM` draws."""
    ruled = rules[0][shape + 1] > rules[0][shape] or rules[2][shape + 1] > rules[2][shape]
    draws = policy == at.RANDOM
    best = np.inf
    node = -1
    equals = 0
    for n in range(scores.shape[1]):
        found = scores[size, n]
        if found > best or (found == best and (not draws or node < 0)) or eligible[shape, n] == 0:
            continue
        if ruled and not allowed(shape, n, rules, tallies):
            continue
        equals = equals + 1 if found == best else 1
        if found < best:
            best = found
            node = n
    if equals > 1:
        left = drawn(seed, equals)
        for n in range(node, scores.shape[1]):
            if scores[size, n] != best or eligible[shape, n] == 0:
                continue
            if ruled and not allowed(shape, n, rules, tallies):
                continue
            if left == 0:
                return n
            left -= 1
    return node


def taken(policy: int, state: Integers, node: int, pod: Integers, pick: int, seed: Integers) -> int:
    """Return which GPUs a pod takes on a node, as bits."""
    bits = 0
    if pod[at.NUM] == 0:
        return bits
    if pod[at.MILLI] < at.WHOLE:
        if policy != at.RANDOM:
            return 1 << (pick - at.GPU)
        able = 0
        for g in range(at.GPU, state.shape[1]):
            able += 1 if state[node, g] >= pod[at.MILLI] else 0
        left = drawn(seed, able)
        for g in range(at.GPU, state.shape[1]):
            if state[node, g] >= pod[at.MILLI]:
                if left == 0:
                    return 1 << (g - at.GPU)
                left -= 1
    found = 0
    for g in range(at.GPU, state.shape[1]):
        if found < pod[at.NUM] and state[node, g] == at.WHOLE:
            bits |= 1 << (g - at.GPU)
            found += 1
    return bits


def settle(  # noqa: PLR0913, PLR0917 - arrays in, arrays out
    sign: int,
    shape: int,
    node: int,
    bits: int,
    state: Integers,
    pod: Integers,
    facts: Integers,
    rules: Rules,
    tallies: Integers,
) -> None:
    """Put a pod on a node (1), or take it away again (-1)."""
    starts, rows, member_starts, members, domains, _ = rules
    facts[node, at.CHANGED] = 1
    state[node, at.CPU] -= sign * pod[at.CPU]
    state[node, at.MEMORY] -= sign * pod[at.MEMORY]
    for g in range(at.GPU, state.shape[1]):
        if bits >> (g - at.GPU) & 1:
            state[node, g] -= sign * pod[at.MILLI]
    if pod[at.NUM] > 0:
        facts[node, at.TAGS + pod[at.TAG]] += sign
    for t in range(len(domains)):
        domain = domains[t, node]
        if domain < 0:
            continue
        for m in range(member_starts[shape], member_starts[shape + 1]):
            tallies[0, members[m], t, domain] += sign
        for r in range(starts[shape], starts[shape + 1]):
            if rows[r, 0] == at.ANTI_AFFINITY and rows[r, 2] == t:
                tallies[1, rows[r, 1], t, domain] += sign


def _loop(  # noqa: C901, PLR0912, PLR0913, PLR0917 - one pass over arrays
    policy: int,
    arrivals: Integers,
    sizes: Integers,
    eligible: Integers,
    state: Integers,
    facts: Integers,
    grams: Floats,
    tables: Tables,
    rules: Rules,
    tallies: Integers,
    seed: Integers,
    most: int,
) -> tuple[Integers, Integers, int]:
    count, nodes = len(arrivals), eligible.shape[1]
    where, which = np.full(count, -1, dtype=np.int64), np.zeros(count, dtype=np.int64)
    scores, before = np.full((len(sizes), nodes), np.inf), np.zeros(nodes)
    picks = np.full((len(sizes), nodes), -1, dtype=np.int64)
    stamps, room = np.full(nodes, -1, dtype=np.int64), np.zeros(len(tables[2]) + 1, dtype=np.int64)
    kept = (scores, before, np.zeros(nodes), picks, np.zeros(nodes, dtype=np.int64), stamps, room)
    # The log of changed nodes, how much of it each size knows, and each node's last entry.
    log, known = np.zeros(2 * count + 1, dtype=np.int64), np.full(len(sizes), -1, dtype=np.int64)
    latest = np.full(nodes, -1, dtype=np.int64)
    logged, looked, opened, failed, returned = 0, 0, 0, -1, 0
    if policy >= at.FGD:
        for n in range(nodes):
            before[n] = fragmented(policy, state, n, facts[n, at.MODEL], tables, room)
    for a in range(count):
        shape, gang, size = arrivals[a, 0], arrivals[a, 1], arrivals[a, 2]
        if a == 0 or gang < 0 or arrivals[a - 1, 1] != gang:
            opened = a
        if gang >= 0 and gang == failed:
            continue
        since = known[size]
        afresh = since < 0 or logged - since >= nodes
        for i in range(nodes if afresh else logged - since):
            n = i if afresh else int(log[since + i])
            if not afresh and latest[n] != since + i:
                continue
            # Nobody leaves, but for a gang that returns its places: full stays full.
            if since >= returned and since >= 0 and scores[size, n] == np.inf:
                continue
            refresh(policy, size, n, a, state, sizes[size], facts, grams, tables, kept, most)
            looked += 1
        known[size] = logged
        node = chosen(policy, shape, size, scores, eligible, rules, tallies, seed)
        first, last, sign = a, a + 1, 1
        if node >= 0:
            where[a] = node
            which[a] = taken(policy, state, node, sizes[size], picks[size, node], seed)
        elif gang >= 0:
            # All or nothing: who of the gang got a place gives it back.
            first, last, sign, failed, returned = opened, a, -1, gang, logged + 1
        else:
            continue
        for b in range(first, last):
            n = where[b]
            settle(sign, arrivals[b, 0], n, which[b], state, sizes[arrivals[b, 2]], facts, rules, tallies)
            log[logged], latest[n] = n, logged
            logged += 1
            if policy >= at.FGD:
                before[n] = fragmented(policy, state, n, facts[n, at.MODEL], tables, room)
            if sign < 0:
                where[b], which[b] = -1, 0
    return where, which, looked


def _work(policy: int, arrivals: Integers, sizes: Integers, eligible: Integers, *_rest: object) -> float:
    # A scan looks at each node; a fragmentation is some hundred steps, a few nodes an arrival.
    # Plain Python takes twenty times a compiled step's share of the limit.
    evaluated = min(len(sizes), len(arrivals)) * eligible.shape[1] + 30 * len(arrivals)
    return 20.0 * (len(arrivals) * eligible.shape[1] + evaluated * (300 if policy >= at.FGD else 30))


_I1 = 'Array(int64, 1, "C", readonly=True)'
_I2 = 'Array(int64, 2, "C", readonly=True)'
_U2 = 'Array(uint8, 2, "C", readonly=True)'
_F2 = 'Array(float64, 2, "C", readonly=True)'
_F3 = 'Array(float64, 3, "C", readonly=True)'
_TABLES = f"Tuple(({_I1}, {_I1}, {_I2}, {_F3}, {_F3}, {_F3}, {_F3}))"
_RULES = f"Tuple(({_I1}, {_I2}, {_I1}, {_I1}, {_I2}, {_U2}))"
# policy, arrivals (a, 3: shape, gang, whose pods stand together, size), sizes (z, 5), eligible (s, n), state
# (n + 1, 2 + gpus; changed), facts (n, 5 + tags; changed), grams (n, 4), tables, rules, tallies (changed),
# seed (1; changed), largest CPU of a node → node a pod or -1, its GPUs as bits, evaluations.
# Its oracles are the checker, enumeration and a direct reckoning of the measures, in the tests.
PLACE_STREAM = Kernel(
    _loop,
    _loop,
    signature=(
        f"Tuple((int64[::1], int64[::1], int64))(int64, {_I2}, {_I2}, {_U2}, int64[:, ::1], int64[:, ::1], "
        f"{_F2}, {_TABLES}, {_RULES}, int64[:, :, :, ::1], int64[::1], int64)"
    ),
    work=_work,
    helpers=(*SCORES, drawn, refresh, allowed, chosen, taken, settle),
)
