"""Terms of chosen pods on chosen nodes, with their low and high ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from aicsched.score.engine.columns import CURVES, Band
from aicsched.score.engine.kernels import layout as at
from aicsched.score.engine.kernels.totals import cell_terms, power_share

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aicsched.score.engine.columns import PackedNodes

    Array = NDArray[np.float64]

__all__ = ["TERM_NAMES", "PairTerms", "pair_terms"]

TERM_NAMES = ("operational", "idle_share", "transfer", "embodied", "money", "slo_risk")
"""In the order in which they are added up."""


class PairTerms(NamedTuple):
    """Terms of m pairs of a pod and a node, each with its low, mid and high.

    Parameters
    ----------
    grams : dict of str to ndarray, shape (3, m)
        By name, in the order in which they add up to the total [g].
    money_usd, slo_risk, energy_kwh : ndarray, shape (3, m)
        What the terms were made of: dollars, a probability, and the energy of the pod itself.
    risk_parts : dict of str to ndarray, shape (m,)
        The chance of each kind of break alone: ``"load"`` (CPU and latency), ``"memory"``, ``"not_ready"``.
    g_per_kwh : ndarray, shape (3, m)
        Intensity that the pod meets on the node.
    load_share, seen_share : ndarray, shape (m,)
        How busy the node is without the pod, and how much of that was measured; 0 is unknown.
    priced : ndarray of bool, shape (m,)
        Whether a price is known there.
    """

    grams: dict[str, Array]
    money_usd: Array
    slo_risk: Array
    energy_kwh: Array
    risk_parts: dict[str, Array]
    g_per_kwh: Array
    load_share: Array
    seen_share: Array
    priced: NDArray[np.bool_]

    @property
    def total_g(self) -> Array:
        """The sums, shape (3, m) [g]; the middle is the engine's total to the last bit."""
        first, *rest = self.grams.values()
        total = first.copy()
        for values in rest:
            total += values
        return total


def pair_terms(packed: PackedNodes, pods: Array, rates: Array) -> PairTerms:
    """Return the terms of pairs.

    Parameters
    ----------
    packed : PackedNodes
        The node of each pair, m columns.
    pods : ndarray, shape (m, POD_FACTS)
        The pod of each pair.
    rates : ndarray, shape (m, POLICY_FACTS)
        Its policy's rates.

    Returns
    -------
    PairTerms
        Low and high from the intensity's quantiles, the spread of servers of one family,
        the range of published curves, and how much of the load was measured.
    """
    nodes, bands, pod, rate = packed.facts, packed.bands, pods.T, rates.T
    mid = cell_terms(pod, nodes, packed.risk, packed.pressure, rate, CURVES[0])
    hours, vcpus = pod[at.POD_H], pod[at.POD_VCPUS]
    extra = vcpus * nodes[at.PER_VCPU]
    seen, load = nodes[at.SEEN_SHARE], nodes[at.USED_SHARE]
    added = np.stack([power_share(load + extra, curve) - power_share(load, curve) for curve in CURVES])
    fresh = np.stack([power_share(extra, curve) for curve in CURVES])
    # The last piece of a curve is its flattest: nowhere does load add less.
    flattest = min(float(curve[at.SLOPE] + curve[at.STEP_1] + curve[at.STEP_2]) for curve in CURVES)
    low_share = seen * added.min(axis=0) + (1.0 - seen) * flattest * extra
    high_share = seen * added.max(axis=0) + (1.0 - seen) * fresh.max(axis=0)
    per_share = nodes[at.RANGE_KW] * hours
    energy = _ordered(
        low_share * per_share * bands[Band.RANGE_LOW],
        mid.energy_kwh,
        high_share * per_share * bands[Band.RANGE_HIGH],
    )
    awake_mid = nodes[at.AWAKE_KW] * hours
    awake = _ordered(bands[Band.AWAKE_LOW_KW] * hours, awake_mid, bands[Band.AWAKE_HIGH_KW] * hours)
    intensity = np.stack([bands[Band.LOW_G_PER_KWH], nodes[at.G_PER_KWH], bands[Band.HIGH_G_PER_KWH]])
    bought = vcpus * hours * nodes[at.USD_PER_VCPU_H]
    ends = (energy + awake) * nodes[at.USD_PER_KWH] + bought
    # Where power costs less than nothing, more of it costs less.
    usd = _ordered(np.minimum(ends[0], ends[2]), mid.money_usd, np.maximum(ends[0], ends[2]))
    unknown = 1.0 - seen
    parts = {"load": mid.load_risk, "memory": mid.memory_risk, "not_ready": 1.0 - nodes[at.READY]}
    # Fréchet's bounds: whatever hangs together with what, the chance of any lies between these.
    each = np.stack(list(parts.values()))
    least = np.maximum(each.max(axis=0) - unknown, 0.0)
    risk = _ordered(least, mid.slo_risk, np.minimum(each.sum(axis=0) + unknown, 1.0))
    grams = {
        "operational": _with_middle(energy * intensity, mid.operational_g),
        "idle_share": _with_middle(awake * intensity, mid.idle_share_g),
        "transfer": np.tile(mid.transfer_g, (3, 1)),
        "embodied": np.tile(mid.embodied_g, (3, 1)),
        "money": _with_middle(usd * rate[at.G_PER_USD], mid.money_g),
        "slo_risk": _with_middle(risk * rate[at.RISK_G], mid.slo_risk_g),
    }
    return PairTerms(grams, usd, risk, energy, parts, intensity, load, seen, packed.priced)


def _with_middle(ends: Array, middle: Array) -> Array:
    return _ordered(ends[0], middle, ends[2])


def _ordered(low: Any, middle: Array, high: Any) -> Array:  # noqa: ANN401 - what numpy broadcasts
    """Stack three ends; rounding must not put one past the middle."""
    return np.stack([np.minimum(low, middle), middle, np.maximum(high, middle)])
