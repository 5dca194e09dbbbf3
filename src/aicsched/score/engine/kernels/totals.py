"""Totals of all pods on all nodes, and the terms that they are made of.

Both forms add up the same numbers in the same order, so they agree to the last bit,
and so do the terms of a score that is explained with the total it was ranked by.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from aicsched.jit import Kernel
from aicsched.score.engine.kernels import layout as at

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Integers = NDArray[np.int64]
    Real = Any  # a float or an array: what numpy broadcasts

__all__ = ["SCORE_TOTALS", "SCORE_TOTALS_SINGLE", "CellTerms", "cell_terms", "power_share", "risk_of"]


class CellTerms(NamedTuple):
    """Terms of pods on nodes, all of one shape.

    Parameters
    ----------
    operational_g, idle_share_g, transfer_g, embodied_g, money_g, slo_risk_g : ndarray
        In the order in which they are added up [g].
    slo_risk, load_risk, memory_risk : ndarray
        Probability that an objective breaks: any, that of load, and that of memory alone.
    money_usd : ndarray
        Electricity and machines [USD].
    energy_kwh : ndarray
        What the pod itself uses, with the building's overhead [kWh].
    """

    operational_g: Array
    idle_share_g: Array
    transfer_g: Array
    embodied_g: Array
    money_g: Array
    slo_risk_g: Array
    slo_risk: Array
    load_risk: Array
    memory_risk: Array
    money_usd: Array
    energy_kwh: Array

    @property
    def total_g(self) -> Array:
        """Sum of the terms [g], in the order of the kernel."""
        carbon = self.operational_g + self.idle_share_g + self.transfer_g + self.embodied_g
        return carbon + self.money_g + self.slo_risk_g


def power_share(load: Real, curve: Array) -> Real:
    """Return the share of the way from idle to full power at a load."""
    made = curve[at.SLOPE] * load + curve[at.STEP_1] * np.maximum(load - curve[at.KINK_1], 0.0)
    return made + curve[at.STEP_2] * np.maximum(load - curve[at.KINK_2], 0.0)


def risk_of(risk: NDArray[np.float32], extra: Array) -> Array:
    """Return the risk of nodes, (n, g), at an added load each, (n,)."""
    steps = risk.shape[1] - 1
    place = np.minimum(extra, 1.0) * steps
    left = np.minimum(place.astype(np.int64), steps - 1)
    nodes = np.arange(len(risk))
    low = risk[nodes, left].astype(np.float64)
    return low + (risk[nodes, left + 1].astype(np.float64) - low) * (place - left)


def cell_terms(
    pod: Array,
    nodes: Array,
    risk: NDArray[np.float32],
    pressure: NDArray[np.float32],
    rates: Array,
    curve: Array,
) -> CellTerms:
    """Return the terms of one pod on some nodes.

    Parameters
    ----------
    pod : ndarray, shape (POD_FACTS,) or (POD_FACTS, n)
        Of one pod, or of one a node.
    nodes : ndarray, shape (NODE_FACTS, n)
        Facts.
    risk, pressure : ndarray of float32, shape (n, g) each with its own g
        Curves of the risk of load over the added load, and of memory over the added memory, from 0 to 1.
    rates : ndarray, shape (POLICY_FACTS,) or (POLICY_FACTS, n)
        Exchange rates.
    curve : ndarray, shape (5,)
        From load to power.

    Returns
    -------
    CellTerms
        Each of shape (n,).
    """
    vcpus, hours = pod[at.POD_VCPUS], pod[at.POD_H]
    extra = vcpus * nodes[at.PER_VCPU]
    seen = nodes[at.SEEN_SHARE]
    loaded = seen * power_share(nodes[at.USED_SHARE] + extra, curve) - nodes[at.SEEN_BASE]
    share = loaded + (1.0 - seen) * power_share(extra, curve)
    energy_kwh = share * nodes[at.RANGE_KW] * hours
    awake_kwh = nodes[at.AWAKE_KW] * hours
    home = pod[at.POD_HOME]
    away = np.where((home >= 0.0) & (home != nodes[at.REGION]), pod[at.POD_GB], 0.0)
    vcpu_h = vcpus * hours
    usd = (energy_kwh + awake_kwh) * nodes[at.USD_PER_KWH] + vcpu_h * nodes[at.USD_PER_VCPU_H]
    load_risk = risk_of(risk, extra)
    memory_risk = risk_of(pressure, pod[at.POD_MEMORY_GIB] * nodes[at.PER_GIB])
    chance = 1.0 - (1.0 - load_risk) * (1.0 - memory_risk) * nodes[at.READY]
    return CellTerms(
        operational_g=energy_kwh * nodes[at.G_PER_KWH],
        idle_share_g=awake_kwh * nodes[at.G_PER_KWH],
        transfer_g=away * nodes[at.TRANSFER_G_PER_GB],
        embodied_g=rates[at.EMBODIED] * vcpu_h * nodes[at.EMBODIED_G_PER_VCPU_H],
        money_g=usd * rates[at.G_PER_USD],
        slo_risk_g=chance * rates[at.RISK_G],
        slo_risk=chance,
        load_risk=load_risk,
        memory_risk=memory_risk,
        money_usd=usd,
        energy_kwh=energy_kwh,
    )


def _twin(  # noqa: PLR0913,PLR0917 - arrays in, arrays out
    pods: Array,
    nodes: Array,
    risk: NDArray[np.float32],
    pressure: NDArray[np.float32],
    rates: Array,
    admits: NDArray[np.uint8],
    curve: Array,
    rows: Integers,
    refuse: int,
    first: int,
    last: int,
    out: NDArray[Any],
) -> int:
    here = slice(first, last)
    facts = nodes[:, here]
    for row in range(pods.shape[0]):
        pod = pods[row]
        policy = int(pod[at.POD_POLICY])
        made = cell_terms(pod, facts, risk[here], pressure[here], rates[policy], curve)
        total = made.total_g
        if refuse:
            fits = (pod[at.POD_VCPUS] <= facts[at.VCPUS]) & (pod[at.POD_MEMORY_GIB] <= facts[at.MEMORY_GIB])
            ok = fits & (admits[policy, here] > 0) & (made.slo_risk <= rates[policy, at.MAX_RISK])
            total = np.where(ok, total, np.inf)
        out[rows[row], here] = total
    return pods.shape[0] * (last - first)


def add_up(pod: Array, rate: Array, curve: Array, facts: Array, sizes: tuple[int, int], room: Array) -> None:
    """Add up emissions and money of one pod on a block of nodes, and find its places on their curves.

    Plain arithmetic on local arrays, so that it runs on vectors of nodes.
    """
    vcpus, hours, memory_gib, home = (
        pod[at.POD_VCPUS],
        pod[at.POD_H],
        pod[at.POD_MEMORY_GIB],
        pod[at.POD_HOME],
    )
    slope = curve[at.SLOPE]
    kink_1, step_1 = curve[at.KINK_1], curve[at.STEP_1]
    kink_2, step_2 = curve[at.KINK_2], curve[at.STEP_2]
    g_per_usd, vcpu_h = rate[at.G_PER_USD], vcpus * hours
    embodied_vcpu_h = rate[at.EMBODIED] * vcpu_h
    gone_gb = pod[at.POD_GB] if home >= 0.0 else 0.0
    steps, memory_steps = float(sizes[0]), float(sizes[1])
    for node in range(at.BLOCK):
        extra = vcpus * facts[at.PER_VCPU, node]
        load = facts[at.USED_SHARE, node] + extra
        seen = facts[at.SEEN_SHARE, node]
        busy = slope * load + step_1 * max(load - kink_1, 0.0) + step_2 * max(load - kink_2, 0.0)
        fresh = slope * extra + step_1 * max(extra - kink_1, 0.0) + step_2 * max(extra - kink_2, 0.0)
        share = (seen * busy - facts[at.SEEN_BASE, node]) + (1.0 - seen) * fresh
        energy_kwh = share * facts[at.RANGE_KW, node] * hours
        awake_kwh = facts[at.AWAKE_KW, node] * hours
        away_gb = gone_gb if home != facts[at.REGION, node] else 0.0
        used_usd = (energy_kwh + awake_kwh) * facts[at.USD_PER_KWH, node]
        usd = used_usd + vcpu_h * facts[at.USD_PER_VCPU_H, node]
        g_per_kwh = facts[at.G_PER_KWH, node]
        total = energy_kwh * g_per_kwh + awake_kwh * g_per_kwh
        total += away_gb * facts[at.TRANSFER_G_PER_GB, node]
        total += embodied_vcpu_h * facts[at.EMBODIED_G_PER_VCPU_H, node]
        room[at.SUM, node] = total + usd * g_per_usd
        room[at.PLACE, node] = min(extra, 1.0) * steps
        room[at.MEMORY_PLACE, node] = min(memory_gib * facts[at.PER_GIB, node], 1.0) * memory_steps


def look_up(
    risk: NDArray[np.float32], begin: int, count: int, places: Array, lefts: Integers, ends: Array
) -> None:
    """Fetch the points of the curves on both sides of each place."""
    last = risk.shape[1] - 2
    for node in range(at.BLOCK):
        lefts[node] = min(int(places[node]), last)
    for node in range(count):
        left = lefts[node]
        ends[0, node] = risk[begin + node, left]
        ends[1, node] = risk[begin + node, left + 1]


def weigh_risk(facts: Array, risk_g: float, lefts: Integers, room: Array) -> None:
    """Work out the chance of a breach on a block of nodes, and add it at its rate."""
    for node in range(at.BLOCK):
        place = room[at.PLACE, node] - lefts[0, node]
        load_risk = room[at.LOW, node] + (room[at.HIGH, node] - room[at.LOW, node]) * place
        place = room[at.MEMORY_PLACE, node] - lefts[1, node]
        low = room[at.MEMORY_LOW, node]
        memory_risk = low + (room[at.MEMORY_HIGH, node] - low) * place
        chance = 1.0 - (1.0 - load_risk) * (1.0 - memory_risk) * facts[at.READY, node]
        room[at.CHANCE, node] = chance
        room[at.SUM, node] += chance * risk_g


def _loop(  # noqa: PLR0913,PLR0917 - arrays in, arrays out
    pods: Array,
    nodes: Array,
    risk: NDArray[np.float32],
    pressure: NDArray[np.float32],
    rates: Array,
    admits: NDArray[np.uint8],
    curve: Array,
    rows: Integers,
    refuse: int,
    first: int,
    last: int,
    out: NDArray[Any],
) -> int:
    sizes = (risk.shape[1] - 1, pressure.shape[1] - 1)
    # Copies of a known shape: the compiler sees that nothing overlaps.
    facts = np.zeros((at.NODE_FACTS, at.BLOCK))
    room = np.zeros((at.ROOM, at.BLOCK))
    lefts = np.zeros((2, at.BLOCK), dtype=np.int64)
    for begin in range(first, last, at.BLOCK):
        count = min(at.BLOCK, last - begin)
        for fact in range(at.NODE_FACTS):
            for node in range(count):
                facts[fact, node] = nodes[fact, begin + node]
        for row in range(pods.shape[0]):
            pod, policy, target = pods[row], int(pods[row, at.POD_POLICY]), rows[row]
            rate = rates[policy]
            add_up(pod, rate, curve, facts, sizes, room)
            look_up(risk, begin, count, room[at.PLACE], lefts[0], room[at.LOW : at.HIGH + 1])
            ends = room[at.MEMORY_LOW : at.MEMORY_HIGH + 1]
            look_up(pressure, begin, count, room[at.MEMORY_PLACE], lefts[1], ends)
            weigh_risk(facts, rate[at.RISK_G], lefts, room)
            vcpus, memory_gib, most = pod[at.POD_VCPUS], pod[at.POD_MEMORY_GIB], rate[at.MAX_RISK]
            for node in range(count):
                fits = vcpus <= facts[at.VCPUS, node] and memory_gib <= facts[at.MEMORY_GIB, node]
                ok = fits and admits[policy, begin + node] > 0 and room[at.CHANCE, node] <= most
                out[target, begin + node] = room[at.SUM, node] if ok or not refuse else np.inf
    return pods.shape[0] * (last - first)


def _work(pods: Array, nodes: Array, *_rest: Any) -> float:
    return 40.0 * pods.shape[0] * nodes.shape[1]


_READ = 'Array({}, {}, "C", readonly=True)'
# pods (p, 6), nodes (16, n), risk and pressure (n, g), rates (q, 4), admits (q, n), curve (5,), rows of the
# pods in out (p,), whether to refuse, first and last node, and out: totals (rows, n) → cells.
_SIGNATURE = (
    f"int64({_READ.format('float64', 2)}, {_READ.format('float64', 2)}, {_READ.format('float32', 2)}, "
    f"{_READ.format('float32', 2)}, {_READ.format('float64', 2)}, {_READ.format('uint8', 2)}, "
    f"{_READ.format('float64', 1)}, {_READ.format('int64', 1)}, int64, int64, int64, {{}}[:, ::1])"
)
_HELPERS = (add_up, look_up, weigh_risk)
SCORE_TOTALS = Kernel(
    _loop, _twin, signature=_SIGNATURE.format("float64"), work=_work, helpers=_HELPERS, exact=True
)
SCORE_TOTALS_SINGLE = Kernel(
    _loop, _twin, signature=_SIGNATURE.format("float32"), work=_work, helpers=_HELPERS, exact=True
)
