"""Scores of hundreds of pods on thousands of nodes, in one call, changed node by node.

The engine holds nodes as columns, once for each span of time that requests may take: a
pod of two hours meets the mean intensity, price and load of the next two hours. Totals
come from a kernel, shared out to threads by nodes; the best few and their terms are
asked for where somebody wants to see them. A node that changes is one column written.
"""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from aicsched.errors import InputError
from aicsched.jit import over_rows
from aicsched.score.engine.columns import CURVES, PackedNodes, known_prices, pack_nodes, pack_rates
from aicsched.score.engine.kernels import layout as at
from aicsched.score.engine.kernels.top import SCORE_TOP
from aicsched.score.engine.kernels.totals import SCORE_TOTALS, SCORE_TOTALS_SINGLE
from aicsched.score.engine.terms import pair_terms
from aicsched.score.request import ScoreWeights

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from aicsched.score.engine.columns import NodeColumns, PodColumns
    from aicsched.score.engine.terms import PairTerms

    Array = NDArray[np.float64]
    Integers = NDArray[np.int64]

__all__ = ["Best", "ScoreEngine"]


class Best(NamedTuple):
    """The best nodes of each pod.

    Parameters
    ----------
    nodes : ndarray of int64, shape (p, k)
        Least grams first; of equal ones the earlier node; -1 where fewer can take the pod.
    total_g : ndarray, shape (p, k)
        [g]; infinite where there is no node.
    """

    nodes: Integers
    total_g: Array


# The first two of the packed arrays hold nodes as columns, the others as rows.
_BY_COLUMN: Final = 2
# Waking a thread for fewer costs more than it takes over.
_SHARED_CELLS: Final = 50_000


class _Span(NamedTuple):
    """Nodes over one span, and which of them each policy admits."""

    packed: PackedNodes
    admits: NDArray[np.uint8]


class ScoreEngine:
    """Scores many pods on many nodes.

    Parameters
    ----------
    spans : mapping of float to NodeColumns
        By length [h]: the same nodes over each span; a pod takes the shortest that holds
        it, else the longest.
    policies : sequence of ScoreWeights, optional
        Exchange rates and hard limits; a pod names one by its index. Their thresholds are
        one and the same: they stand in the nodes' risk curves already.
    regions : sequence of str, optional
        Names of the regions, in the order that the nodes' `region` counts in; needed
        where a policy limits them.

    Raises
    ------
    InputError
        No span or policy, spans of different nodes, policies of different thresholds, or one
        that limits regions without names.

    Notes
    -----
    Totals are sums of six terms, in this order: operational, idle share, transfer,
    embodied, money, SLO risk; see ``docs/score.md``. Calls and updates wait for one
    another, so a call never sees half of an update.

    Examples
    --------
    >>> from aicsched.score.engine import NodeColumns, PodColumns, ScoreEngine
    >>> nodes = NodeColumns.of(vcpus=[64, 96], idle_w=[60, 90], max_w=[250, 400], g_per_kwh=[400, 30])
    >>> engine = ScoreEngine({4.0: nodes})
    >>> pods = PodColumns(vcpus=[2.0, 80.0], duration_h=[1.0, 4.0])
    >>> engine.top(pods, 2).nodes.tolist()  # the second pod is too large for the first node
    [[1, 0], [1, -1]]
    """

    def __init__(
        self,
        spans: Mapping[float, NodeColumns],
        policies: Sequence[ScoreWeights] = (ScoreWeights(),),
        regions: Sequence[str] = (),
    ) -> None:
        if not spans or not policies or len({len(nodes) for nodes in spans.values()}) != 1:
            counts = {hours: len(nodes) for hours, nodes in spans.items()}
            msg = f"a score of {len(policies)} policies over nodes by span {counts}"
            raise InputError(msg, hint="give at least one of each, and the same nodes for all spans")
        if len({policy.objectives for policy in policies}) > 1:
            msg = "policies of different thresholds, which one set of risk curves can't tell apart"
            raise InputError(msg, hint="make an engine for each set of thresholds")
        self.spans_h = tuple(sorted(spans))
        self.policies = tuple(policies)
        self.regions = tuple(regions)
        self._rates = pack_rates(self.policies)
        self._allowed = self._allowed_regions(
            max(int(each.region.max(initial=-1)) for each in spans.values())
        )
        # Where no price is known at all, money is left out; where some are, the others can't be weighed.
        self._priced = any(bool(known_prices(each).any()) for each in spans.values())
        self._spans = [self._span(spans[hours]) for hours in self.spans_h]
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Count the nodes."""
        return self._spans[0].packed.facts.shape[1]

    @property
    def priced(self) -> bool:
        """Whether the price of any node is known; then those without one can't be weighed."""
        return self._priced

    def _allowed_regions(self, last: int) -> NDArray[np.bool_]:
        """Return which region each policy allows, shape (q, regions)."""
        allowed = np.ones((len(self.policies), max(last + 1, len(self.regions))), dtype=np.bool_)
        for row, policy in enumerate(self.policies):
            if not policy.regions:
                continue
            if len(self.regions) <= last:
                msg = f"a policy allows {policy.regions} only, but the engine doesn't know the regions' names"
                raise InputError(msg, hint="give regions=, in the order that the nodes count in")
            allowed[row] = np.isin(self.regions, policy.regions)
        return allowed

    def _span(self, nodes: NodeColumns) -> _Span:
        if nodes.region.max(initial=-1) >= self._allowed.shape[1]:
            msg = f"a node in region {int(nodes.region.max())} of {self._allowed.shape[1]}"
            raise InputError(msg, hint="regions are counted from 0", value=int(nodes.region.max()))
        packed = pack_nodes(nodes)
        admits = np.empty((len(self.policies), len(nodes)), dtype=np.uint8)
        for row, policy in enumerate(self.policies):
            ok = self._allowed[row][nodes.region] & (nodes.mid_g_per_kwh <= policy.max_g_per_kwh)
            if policy.max_g_per_kwh < math.inf:
                ok &= nodes.g_known
            if policy.g_per_usd > 0 and self._priced:
                ok &= packed.priced
            admits[row] = ok
        return _Span(packed, admits)

    # ---------------------------------------------------------------- scores

    def totals(
        self, pods: PodColumns, *, out: NDArray[Any] | None = None, refuse: bool = True
    ) -> NDArray[Any]:
        """Score pods on all nodes.

        Parameters
        ----------
        pods : PodColumns
            p pods.
        out : ndarray of float64 or float32, shape (p, nodes), optional
            Where the totals go; a new array of float64 by default.
        refuse : bool
            Whether a node that can't take a pod, or that its policy forbids, costs infinitely much.

        Returns
        -------
        ndarray, shape (p, nodes)
            Totals [g]: `out` where it was given.

        Raises
        ------
        InputError
            A pod's policy doesn't exist, or `out` has another shape or type.
        """
        made = np.empty((len(pods), len(self))) if out is None else out
        self._check(pods, made)
        with self._lock:
            self._fill(pods, made, 0, len(self), refuse=refuse)
        return made

    def rescore(self, pods: PodColumns, totals: NDArray[Any], node: int, *, refuse: bool = True) -> None:
        """Score pods on one node again, after its update.

        Parameters
        ----------
        pods : PodColumns
            Those of the totals.
        totals : ndarray of float64 or float32, shape (p, nodes)
            Its column is written.
        node : int
            Which.
        refuse : bool
            As in `totals`.

        Raises
        ------
        InputError
            As in `totals`, or there is no such node.
        """
        self._check(pods, totals)
        self._check_node(node)
        with self._lock:
            self._fill(pods, totals, node, node + 1, refuse=refuse)

    def top(self, pods: PodColumns, count: int) -> Best:
        """Find the best nodes of each pod.

        Parameters
        ----------
        pods : PodColumns
            p pods.
        count : int
            How many each, >= 1.

        Returns
        -------
        Best
            Shapes (p, min(count, nodes)).

        Raises
        ------
        InputError
            A pod's policy doesn't exist, or the count is below 1.
        """
        if count < 1:
            msg = f"the best {count} nodes"
            raise InputError(msg, hint="ask for 1 or more", value=count)
        totals = self.totals(pods)
        best = np.empty((len(pods), min(count, len(self))), dtype=np.int64)
        run = SCORE_TOP.form(totals, best)
        over_rows(lambda first, last: run(totals[first:last], best[first:last]), len(pods))
        found = np.take_along_axis(totals, np.maximum(best, 0), axis=1) if len(self) else np.empty(best.shape)
        return Best(best, np.where(best >= 0, found, np.inf))

    def terms(self, pods: PodColumns, pod: ArrayLike, node: ArrayLike) -> PairTerms:
        """Return the terms of chosen pairs, with their low and high ends.

        Parameters
        ----------
        pods : PodColumns
            Pods.
        pod, node : array_like of int, shape (m,)
            Which pod on which node.

        Returns
        -------
        PairTerms
            Their sums are the totals, to the last bit.

        Raises
        ------
        InputError
            There is no such pod, node or policy.
        """
        pod_at, node_at = (np.asarray(each, dtype=np.int64).reshape(-1) for each in (pod, node))
        self._check_policies(pods)
        bad = pod_at.shape != node_at.shape
        if bad or ((pod_at < 0) | (pod_at >= len(pods)) | (node_at < 0) | (node_at >= len(self))).any():
            msg = f"pairs of {pod_at.shape} pods of {len(pods)} and {node_at.shape} nodes of {len(self)}"
            raise InputError(msg, hint="give one node a pod, each by its index")
        table = pods.packed()
        span_of = self._span_of(pods)[pod_at]
        with self._lock:
            parts = [span.packed.taken(node_at[span_of == place]) for place, span in enumerate(self._spans)]
        # Pairs were gathered span by span.
        back = np.argsort(np.argsort(span_of, kind="stable"), kind="stable")
        joined = (
            np.concatenate(each, axis=-1 if place < _BY_COLUMN else 0)
            for place, each in enumerate(zip(*parts, strict=True))
        )
        packed = PackedNodes(*joined).taken(back)
        policy = table[pod_at, at.POD_POLICY].astype(np.int64)
        return pair_terms(packed, table[pod_at], self._rates[policy])

    def _fill(self, pods: PodColumns, out: NDArray[Any], first: int, last: int, *, refuse: bool) -> None:
        table, span_of = pods.packed(), self._span_of(pods)
        kernel = SCORE_TOTALS if out.dtype == np.float64 else SCORE_TOTALS_SINGLE
        for place, span in enumerate(self._spans):
            rows = np.flatnonzero(span_of == place)
            if not rows.size:
                continue
            facts, _, risk, pressure, _ = span.packed
            inputs = (
                table[rows],
                facts,
                risk,
                pressure,
                self._rates,
                span.admits,
                CURVES[0],
                rows,
                int(refuse),
            )
            run = kernel.form(*inputs, first, last, out)

            def task(low: int, high: int, run: Any = run, inputs: Any = inputs) -> None:  # noqa: ANN401
                run(*inputs, first + low, first + high, out)

            cells = rows.size * (last - first)
            over_rows(task, last - first, threads=1 if cells < _SHARED_CELLS else None)

    def _span_of(self, pods: PodColumns) -> Integers:
        """Return the span of each pod."""
        place = np.searchsorted(self.spans_h, pods.duration_h, side="left")
        return np.minimum(place, len(self.spans_h) - 1).astype(np.int64)

    # ---------------------------------------------------------------- changes

    def update(self, node: int, spans: Mapping[float, NodeColumns]) -> None:
        """Put new facts of one node in the place of its older ones.

        Parameters
        ----------
        node : int
            Which.
        spans : mapping of float to NodeColumns
            That node alone, over each of the engine's spans.

        Raises
        ------
        InputError
            Other spans, more than one node, another grid of risk curves, the first price, or no such node.
        """
        self._check_node(node)
        if tuple(sorted(spans)) != self.spans_h or any(len(columns) != 1 for columns in spans.values()):
            msg = f"an update of node {node} over spans of {sorted(spans)} h"
            raise InputError(msg, hint=f"give the one node over {list(self.spans_h)} h", value=node)
        fresh = [self._span(spans[hours]) for hours in self.spans_h]
        for old, new in zip(self._spans, fresh, strict=True):
            for here, there in (
                (old.packed.risk, new.packed.risk), (old.packed.pressure, new.packed.pressure)
            ):  # fmt: skip
                if here.shape[1] != there.shape[1]:
                    msg = f"risk curves of {there.shape[1]} points among others of {here.shape[1]}"
                    raise InputError(msg, hint="use one grid for all nodes", value=there.shape[1])
        if not self._priced and any(bool(span.packed.priced.any()) for span in fresh):
            # Until now money was left out for all; the others would be free beside this one.
            msg = f"a price of node {node}, while none is known of the others"
            raise InputError(msg, hint="make a new engine, which refuses what has no price", value=node)
        with self._lock:
            for old, new in zip(self._spans, fresh, strict=True):
                old.packed.facts[:, node] = new.packed.facts[:, 0]
                old.packed.bands[:, node] = new.packed.bands[:, 0]
                old.packed.risk[node] = new.packed.risk[0]
                old.packed.pressure[node] = new.packed.pressure[0]
                old.packed.priced[node] = new.packed.priced[0]
                old.admits[:, node] = new.admits[:, 0]

    # ---------------------------------------------------------------- checks

    def _check(self, pods: PodColumns, out: NDArray[Any]) -> None:
        self._check_policies(pods)
        fits = out.shape == (len(pods), len(self)) and out.dtype in {np.dtype("f8"), np.dtype("f4")}
        if not (fits and out.flags.c_contiguous and out.flags.writeable):
            msg = f"totals of {len(pods)} pods on {len(self)} nodes into an array of {out.dtype} {out.shape}"
            raise InputError(
                msg, hint="give a writable, contiguous float64 or float32 array of (pods, nodes)"
            )

    def _check_policies(self, pods: PodColumns) -> None:
        highest = int(np.max(np.asarray(pods.policy), initial=0))
        if highest >= len(self.policies):
            msg = f"a pod names policy {highest} of {len(self.policies)}"
            raise InputError(msg, hint="policies are counted from 0", value=highest)

    def _check_node(self, node: int) -> None:
        if not 0 <= node < len(self):
            msg = f"there is no node {node} among {len(self)}"
            raise InputError(msg, hint="nodes are counted from 0", value=node)
