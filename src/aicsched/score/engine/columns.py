"""Nodes and pods as columns, and how they are laid out for the kernels."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

import numpy as np

from aicsched.domain.carbon import frozen_array
from aicsched.errors import InputError, did_you_mean
from aicsched.footprint.power import load_shapes
from aicsched.score.engine.kernels import layout as at
from aicsched.score.engine.kernels.totals import power_share
from aicsched.score.risk.curves import RiskCurves, curves_of
from aicsched.score.slo_risk import Objectives, limit_shares
from aicsched.score.utilisation import Utilisation
from aicsched.slots import HOUR_S

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from aicsched.score.request import Request, ScoreWeights

    Array = NDArray[np.float64]

__all__ = [
    "CURVES",
    "Band",
    "NodeColumns",
    "PackedNodes",
    "PodColumns",
    "known_prices",
    "pack_nodes",
    "pack_rates",
]

# A machine below this mean use is taken as kept on for the request alone, and bears its idle power:
# the idle limit of AWS Compute Optimizer is 5 % of CPU.
EMPTY_SHARE: Final = 0.05
# Where nobody says how much memory a node has, that is no limit.
_ANY_GIB: Final = 1e300


def _curve(index: int) -> Array:
    shape = load_shapes()[index]
    (_, kink_1, kink_2), (slope, step_1, step_2) = shape.kinks, shape.steps
    return frozen_array([slope, kink_1, step_1, kink_2, step_2])


CURVES: Final = tuple(_curve(index) for index in range(3))
"""From load to power as the kernels take it: as published, and the two ends of its range."""


class Band(IntEnum):
    """Rows of what the low and high ends of terms are made of; the middle stands in the facts."""

    LOW_G_PER_KWH = 0
    HIGH_G_PER_KWH = 1
    RANGE_LOW = 2
    RANGE_HIGH = 3
    AWAKE_LOW_KW = 4
    AWAKE_HIGH_KW = 5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NodeColumns:
    """Nodes over one span of time: what scoring many at once needs.

    Parameters
    ----------
    vcpus, memory_gib, idle_w, max_w, pue : ndarray, shape (n,)
        Facts of each node; PUE of its region.
    region : ndarray of int, shape (n,)
        Index of its region.
    used : Utilisation
        How busy each will be without the request, and how much of that was measured.
    curves : RiskCurves
        The risk of its CPU and latency objectives over the load that is added.
    memory_curves : RiskCurves
        The risk of memory pressure over the memory that is added, as a share of the node's.
    not_ready : ndarray, shape (n,)
        Chance that it does not stay ready.
    low_g_per_kwh, mid_g_per_kwh, high_g_per_kwh : ndarray, shape (n,)
        Mean intensity of the span there.
    usd_per_kwh, usd_per_vcpu_h : ndarray, shape (n,)
        Mean prices of electricity and of a thread of the machine; NaN is unknown. A
        machine's price holds its electricity: where there is one, power isn't paid again.
    transfer_g_per_gb, embodied_g_per_vcpu_h : ndarray, shape (n,)
        Emissions of moving data there, and the amortised share of the hardware.
    power_band : ndarray, shape (4, n)
        How far idle power (low, high) and the range to full load (low, high) may be off.
    g_known : ndarray of bool, shape (n,)
        Whether its intensity is known, rather than what others have: a policy that limits
        intensity refuses what isn't.

    Raises
    ------
    InputError
        A column of another length, a value that is not finite, or a share out of range.
    """

    vcpus: Array
    memory_gib: Array
    idle_w: Array
    max_w: Array
    pue: Array
    region: NDArray[np.int64]
    used: Utilisation
    curves: RiskCurves
    memory_curves: RiskCurves
    not_ready: Array
    low_g_per_kwh: Array
    mid_g_per_kwh: Array
    high_g_per_kwh: Array
    usd_per_kwh: Array
    usd_per_vcpu_h: Array
    transfer_g_per_gb: Array
    embodied_g_per_vcpu_h: Array
    power_band: Array
    g_known: NDArray[np.bool_]

    def __post_init__(self) -> None:
        count = len(self.vcpus)
        prices = {"usd_per_kwh", "usd_per_vcpu_h"}
        for each in fields(self):
            if each.name in {"used", "curves", "memory_curves"}:
                continue
            kind = {"region": np.int64, "g_known": np.bool_}.get(each.name, np.float64)
            values = frozen_array(getattr(self, each.name), kind)
            if values.shape[-1:] != (count,):
                msg = f"{each.name} of {values.shape} for {count} nodes"
                raise InputError(msg, hint="give one value a node")
            if each.name not in prices and not np.isfinite(values).all():
                msg = f"{each.name} of node {int(np.argmin(np.isfinite(values)) % count)} is not finite"
                raise InputError(msg, hint="only prices may be unknown")
            object.__setattr__(self, each.name, values)
        given = (len(self.used.mean_share), len(self.curves.risk), len(self.memory_curves.risk))
        if set(given) != {count}:
            told = f"{given[0]} loads, {given[1]} risk curves and {given[2]} of memory"
            msg = f"{told} for {count} nodes"
            raise InputError(msg, hint="give one a node")
        for name, ok, hint in (
            ("vcpus", self.vcpus > 0, "leave it out, or count its hardware threads"),
            ("not_ready", (self.not_ready >= 0) & (self.not_ready <= 1), "give a probability"),
            ("pue", self.pue >= 1, "PUE is total over IT energy"),
            ("mid_g_per_kwh", self.mid_g_per_kwh >= 0, "an intensity is 0 or more"),
            ("idle_w", (self.idle_w >= 0) & (self.idle_w <= self.max_w), "give 0 <= idle_w <= max_w"),
            ("transfer_g_per_gb", self.transfer_g_per_gb >= 0, "use 0 or more"),
            ("embodied_g_per_vcpu_h", self.embodied_g_per_vcpu_h >= 0, "use 0 or more"),
        ):
            if not ok.all():
                row = int(np.argmin(ok))
                value = float(getattr(self, name)[row])
                msg = f"node {row} has a {name} of {value:g}"
                raise InputError(msg, hint=hint, value=value)

    def __len__(self) -> int:
        """Count the nodes."""
        return len(self.vcpus)

    @classmethod
    def of(
        cls,
        *,
        vcpus: ArrayLike,
        idle_w: ArrayLike,
        max_w: ArrayLike,
        g_per_kwh: ArrayLike,
        used: Utilisation | None = None,
        curves: RiskCurves | None = None,
        memory_curves: RiskCurves | None = None,
        **columns: ArrayLike,
    ) -> Self:
        """Make columns from what is known; the rest is what says nothing.

        Parameters
        ----------
        vcpus, idle_w, max_w, g_per_kwh : array_like, shape (n,)
            Hardware threads, power when idle and at full load [W], and intensity.
        used : Utilisation, optional
            Unknown by default.
        curves, memory_curves : RiskCurves, optional
            By default those of the load at the runbook's limits, and no risk of memory.
        **columns : array_like
            Other columns by name: memory and intensity ends as given, else without limit and
            as the middle, which is known; PUE 1, one region, no prices, no transfer, nothing embodied.

        Returns
        -------
        NodeColumns
            Checked.

        Raises
        ------
        InputError
            As for the class, or a column has an unknown name.

        Examples
        --------
        >>> nodes = NodeColumns.of(vcpus=[64, 96], idle_w=[60, 90], max_w=[250, 400], g_per_kwh=[400, 30])
        >>> len(nodes), nodes.pue.tolist()
        (2, [1.0, 1.0])
        """
        threads = np.asarray(vcpus, dtype=np.float64)
        count = len(threads)
        known = {each.name for each in fields(cls)}
        for name in columns:
            if name not in known:
                msg = f"nodes have no column '{name}'"
                raise InputError(msg, hint=did_you_mean(name, known), value=name)
        load = Utilisation.unknown(count) if used is None else used
        risks = curves or curves_of(load, limit_shares(threads, Objectives()))
        plain: dict[str, ArrayLike] = {
            "memory_gib": np.full(count, _ANY_GIB), "pue": np.ones(count), "region": np.zeros(count),
            "low_g_per_kwh": g_per_kwh, "mid_g_per_kwh": g_per_kwh, "high_g_per_kwh": g_per_kwh,
            "usd_per_kwh": np.full(count, np.nan), "usd_per_vcpu_h": np.full(count, np.nan),
            "not_ready": np.zeros(count),
            "transfer_g_per_gb": np.zeros(count), "embodied_g_per_vcpu_h": np.zeros(count),
            "power_band": np.ones((4, count)), "g_known": np.ones(count, dtype=np.bool_),
        }  # fmt: skip
        quiet = RiskCurves(extra_share=np.array([0.0, 1.0]), risk=np.zeros((count, 2)))
        given: dict[str, Any] = {"memory_curves": memory_curves or quiet, **plain, **columns}
        return cls(vcpus=threads, idle_w=idle_w, max_w=max_w, used=load, curves=risks, **given)  # pyright: ignore[reportArgumentType]


class PackedNodes(NamedTuple):
    """Nodes as the kernels read them.

    Parameters
    ----------
    facts : ndarray, shape (NODE_FACTS, n)
        See `aicsched.score.engine.kernels.layout`.
    bands : ndarray, shape (6, n)
        See `Band`.
    risk, pressure : ndarray of float32, shape (n, g) each with its own g
        Risk curves over added load and added memory.
    priced : ndarray of bool, shape (n,)
        Whether a price is known.
    """

    facts: Array
    bands: Array
    risk: NDArray[np.float32]
    pressure: NDArray[np.float32]
    priced: NDArray[np.bool_]

    def taken(self, nodes: NDArray[np.int64]) -> PackedNodes:
        """Return a copy of some nodes, shape (m,), in that order."""
        facts, bands = self.facts[:, nodes], self.bands[:, nodes]
        return PackedNodes(facts, bands, self.risk[nodes], self.pressure[nodes], self.priced[nodes])


def known_prices(nodes: NodeColumns) -> NDArray[np.bool_]:
    """Tell of which nodes a price is known.

    Parameters
    ----------
    nodes : NodeColumns
        n nodes.

    Returns
    -------
    ndarray of bool, shape (n,)
        Of the machine or of its electricity.
    """
    return ~(np.isnan(nodes.usd_per_vcpu_h) & np.isnan(nodes.usd_per_kwh))


def pack_nodes(nodes: NodeColumns) -> PackedNodes:
    """Lay nodes out for the kernels.

    Parameters
    ----------
    nodes : NodeColumns
        n nodes over one span.

    Returns
    -------
    PackedNodes
        Writable: an update puts one node's columns in the place of its older ones.
    """
    used = nodes.used
    seen = np.clip(used.coverage_share, 0.0, 1.0)
    unknown = 1.0 - seen
    load = np.where(seen > 0, used.mean_share, 0.0)
    empty = seen * (load < EMPTY_SHARE)
    idle_kw = nodes.idle_w * nodes.pue / 1000.0
    rented = ~np.isnan(nodes.usd_per_vcpu_h)
    facts = np.empty((at.NODE_FACTS, len(nodes)))
    facts[at.PER_VCPU] = 1.0 / nodes.vcpus
    facts[at.VCPUS] = nodes.vcpus
    facts[at.MEMORY_GIB] = nodes.memory_gib
    facts[at.RANGE_KW] = (nodes.max_w - nodes.idle_w) * nodes.pue / 1000.0
    # What was not measured counts as empty: no node may win for want of evidence.
    facts[at.AWAKE_KW] = idle_kw * (empty + unknown)
    facts[at.G_PER_KWH] = nodes.mid_g_per_kwh
    facts[at.USD_PER_KWH] = np.where(rented, 0.0, np.nan_to_num(nodes.usd_per_kwh))
    facts[at.USD_PER_VCPU_H] = np.nan_to_num(nodes.usd_per_vcpu_h)
    facts[at.TRANSFER_G_PER_GB] = nodes.transfer_g_per_gb
    facts[at.EMBODIED_G_PER_VCPU_H] = nodes.embodied_g_per_vcpu_h
    facts[at.USED_SHARE] = load
    facts[at.SEEN_SHARE] = seen
    facts[at.SEEN_BASE] = seen * power_share(load, CURVES[0])
    facts[at.REGION] = nodes.region
    known = nodes.memory_gib > 0
    facts[at.PER_GIB] = np.where(known, 1.0 / np.where(known, nodes.memory_gib, 1.0), 0.0)
    facts[at.READY] = 1.0 - nodes.not_ready
    idle_low, idle_high, range_low, range_high = nodes.power_band
    bands = np.stack(
        [
            np.minimum(nodes.low_g_per_kwh, nodes.mid_g_per_kwh),
            np.maximum(nodes.high_g_per_kwh, nodes.mid_g_per_kwh),
            np.minimum(range_low, 1.0),
            np.maximum(range_high, 1.0),
            idle_kw * empty * np.minimum(idle_low, 1.0),
            idle_kw * (empty + unknown) * np.maximum(idle_high, 1.0),
        ]
    )
    risk, pressure = (
        np.ascontiguousarray(curves.risk, dtype=np.float32) for curves in (nodes.curves, nodes.memory_curves)
    )
    return PackedNodes(facts, bands, risk, pressure, known_prices(nodes))


def pack_rates(policies: Sequence[ScoreWeights]) -> Array:
    """Lay the rates of policies out for the kernels.

    Parameters
    ----------
    policies : sequence of ScoreWeights
        q policies.

    Returns
    -------
    ndarray, shape (q, POLICY_FACTS)
        Rates and the largest risk.
    """
    rates = np.empty((len(policies), at.POLICY_FACTS))
    for row, policy in enumerate(policies):
        rates[row, at.RISK_G] = policy.risk_g
        rates[row, at.G_PER_USD] = policy.g_per_usd
        rates[row, at.EMBODIED] = float(policy.embodied == "sci")
        rates[row, at.MAX_RISK] = policy.max_slo_risk
    return rates


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PodColumns:
    """Requests as columns.

    Parameters
    ----------
    vcpus, duration_h : ndarray, shape (p,)
        Hardware threads each keeps busy and how long [h], > 0.
    memory_gib, data_gb : ndarray, shape (p,), optional
        Memory [GiB], and data moved when it runs away from home [GB]; 0 by default.
    home : ndarray of int, shape (p,), optional
        Index of the region where its data lies; -1, the default, for none.
    policy : ndarray of int, shape (p,), optional
        Index of its policy; the first by default.

    Raises
    ------
    InputError
        A column of another length, or a value that is not finite or out of range.

    Examples
    --------
    >>> pods = PodColumns(vcpus=[2.0, 4.0], duration_h=[1.0, 8.0])
    >>> len(pods), pods.home.tolist()
    (2, [-1, -1])
    """

    vcpus: Array
    duration_h: Array
    memory_gib: Array | None = None
    data_gb: Array | None = None
    home: NDArray[np.int64] | None = None
    policy: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        count = len(self.vcpus)
        least = {"memory_gib": 0.0, "data_gb": 0.0, "home": -1, "policy": 0}
        for each in fields(self):
            name = each.name
            given: ArrayLike | None = getattr(self, name)
            kind = np.int64 if name in {"home", "policy"} else np.float64
            values = frozen_array(np.full(count, least[name]) if given is None else given, kind)
            if values.shape != (count,):
                msg = f"{name} of {values.shape} for {count} pods"
                raise InputError(msg, hint="give one value a pod")
            ok = np.isfinite(values) & (values >= least[name] if name in least else values > 0)
            if not ok.all():
                row = int(np.argmin(ok))
                msg = f"pod {row} has a {name} of {values[row]:g}"
                raise InputError(msg, hint="give positive numbers", value=float(values[row]))
            object.__setattr__(self, name, values)

    def __len__(self) -> int:
        """Count the pods."""
        return len(self.vcpus)

    @classmethod
    def of(
        cls, requests: Sequence[Request], regions: Sequence[str], policies: Sequence[int] | None = None
    ) -> Self:
        """Lay requests out as columns.

        Parameters
        ----------
        requests : sequence of Request
            p of them.
        regions : sequence of str
            Names, in the order that the nodes' `region` counts in.
        policies : sequence of int, optional
            Index of each one's policy.

        Returns
        -------
        PodColumns
            In the same order.

        Raises
        ------
        InputError
            A home region is not known; the nearest names are given.
        """
        index = {name: place for place, name in enumerate(regions)}
        for request in requests:
            if request.home_region and request.home_region not in index:
                msg = f"the fleet has no region '{request.home_region}'"
                hint = did_you_mean(request.home_region, index)
                raise InputError(msg, hint=hint, value=request.home_region)
        return cls(
            vcpus=np.array([request.vcpus for request in requests]),
            duration_h=np.array([request.duration_s / HOUR_S for request in requests]),
            memory_gib=np.array([request.memory_gib for request in requests]),
            data_gb=np.array([request.data_gb for request in requests]),
            home=np.array([index.get(request.home_region, -1) for request in requests], dtype=np.int64),
            policy=None if policies is None else np.asarray(policies, dtype=np.int64),
        )

    def packed(self) -> Array:
        """Return the facts as the kernels read them, shape (p, POD_FACTS)."""
        table = np.empty((len(self), at.POD_FACTS))
        columns = (self.vcpus, self.memory_gib, self.duration_h, self.data_gb, self.home, self.policy)
        for place, values in enumerate(columns):
            table[:, place] = values
        return table
