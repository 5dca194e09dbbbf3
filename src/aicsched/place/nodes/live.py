"""One pod at a time on a running cluster: where, and when, at the prices of a plan.

`place_pods` goes through a list; here pods come and go. What a pod of some size adds to each node is kept and
made anew for one node at each change, so that a decision is a pass over what is kept: well under a
millisecond for 1,500 nodes. With one intensity a node and no prices it takes the node that
`place_pods(…, "carbon_fgd")` takes.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

import numpy as np

from aicsched.errors import ConfigError, InputError
from aicsched.place.nodes.asks import Decision, PodAsk, PriceBook
from aicsched.place.nodes.encode import (
    W_PER_KW,
    Shapes,
    company_of,
    eligible_nodes,
    facts_of,
    mean_g_per_w,
    models_of,
    rules_of,
    state_of,
    watts_of,
)
from aicsched.place.nodes.kernels import layout as at
from aicsched.place.nodes.kernels.live import APPRAISE, LOOK_OVER, STARVED, WATTS, WAYS
from aicsched.place.nodes.problem import WHOLE_GPU
from aicsched.place.nodes.typical import tables_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from aicsched.place.nodes.problem import Nodes, Requirements
    from aicsched.place.nodes.typical import TypicalPods

    Integers = NDArray[np.int64]
    Floats = NDArray[np.float64]

__all__ = ["Decision", "PodAsk", "PriceBook", "PricedNodes"]

_MOST_STARTS: Final = 10_000
# Sizes that are kept: 72 bytes a node each. When there are more, all are forgotten and learnt anew.
_MOST_SIZES: Final = 512
_MOST_KEPT: Final = 4_000_000
_MOST_SHAPES: Final = 4096


class PricedNodes:
    """A running cluster that knows at once what a pod costs on each of its nodes.

    Parameters
    ----------
    nodes : Nodes
        Machines with what is free of them now; their own intensity plays no part.
    region : sequence of str
        Region of each node, by the names of the book.
    typical : TypicalPods
        What usually comes, for the GPU that a pod starves.
    book : PriceBook
        Intensities and prices.
    stranded_w_per_gpu : float
        As many watts a starved GPU is worth; above 0.

    Raises
    ------
    ConfigError
        The exchange rate is out of range.
    InputError
        Regions don't go with the nodes or the book.

    Notes
    -----
    A pod that could wait is compared over all later starts up to its latest, on the nodes that have room for
    it now: what will be free then is not known here, and what room will be worth is in the prices.
    Not safe for several threads at a time.

    Examples
    --------
    >>> from aicsched.place.nodes import build_nodes, build_pods, typical_pods
    >>> from aicsched.slots import SlotGrid
    >>> nodes = build_nodes(["a", "b"], cpu_milli=8000, memory_mib=4096, cpu_busy_w=100.0)
    >>> book = PriceBook(
    ...     slots=SlotGrid(0, 3600, 3), regions=("north", "south"),
    ...     g_per_kwh=[[300, 300, 300], [400, 400, 100]], price_g_per_vcpu_h=[[0, 0, 0], [0, 0, 1]],
    ... )
    >>> past = typical_pods(build_pods(["p"], cpu_milli=1000, memory_mib=1))
    >>> cluster = PricedNodes(nodes, ["north", "south"], past, book)
    >>> cluster.decide(PodAsk(cpu_milli=1000, memory_mib=1), now_s=0).node
    0
    >>> later = cluster.decide(PodAsk(cpu_milli=1000, memory_mib=1, latest_start_s=7200), now_s=0)
    >>> later.node, later.start_s, round(later.energy_g, 9), later.price_g
    (1, 7200.0, 1.25, 1.0)
    """

    def __init__(
        self,
        nodes: Nodes,
        region: Sequence[str],
        typical: TypicalPods,
        book: PriceBook,
        *,
        stranded_w_per_gpu: float = 500.0,
    ) -> None:
        if not 0 < stranded_w_per_gpu < np.inf:
            msg = f"stranded_w_per_gpu is {stranded_w_per_gpu}"
            raise ConfigError(msg, hint="give watts above 0", value=stranded_w_per_gpu)
        if len(region) != len(nodes):
            msg = f"there are {len(region)} regions for {len(nodes)} nodes"
            raise InputError(msg, hint="give the region of each node", value=len(region))
        self.nodes = nodes
        self._names = tuple(region)
        self._lost_w_per_milli = stranded_w_per_gpu / 1000.0
        models = models_of(nodes)
        self._watts = np.ascontiguousarray(np.hstack([watts_of(nodes), np.zeros((len(nodes), 1))]))
        self._state = state_of(nodes)
        self._facts = facts_of(nodes, models, 1, self._watts)
        self._tables = tables_of(typical, models)
        self._before = np.zeros(len(nodes))
        self._costs = np.full(len(nodes), np.inf)
        self._here: dict[str, tuple[PodAsk, int, int]] = {}
        # As no rules have it, so that the first ones are laid out.
        self._company: tuple[dict[str, int], list[str]] = ({}, [""])
        self.refresh(book)
        self._forget()

    def __len__(self) -> int:
        """Return how many pods were bound and not released."""
        return len(self._here)

    def free(self) -> Integers:
        """Return what is free of each node.

        Returns
        -------
        ndarray of int64, shape (N, 2 + GPUs)
            CPU [milli], memory [MiB], then each GPU [milli].
        """
        return self._state[:-1].copy()

    def refresh(self, book: PriceBook) -> None:
        """Take new intensities and prices; what is kept of pods and nodes stays.

        Parameters
        ----------
        book : PriceBook
            The new ones.

        Raises
        ------
        InputError
            A node's region isn't in the book.
        """
        index = {name: row for row, name in enumerate(book.regions)}
        missing = [name for name in self._names if name not in index]
        if missing:
            msg = f"region '{missing[0]}' of a node isn't in the book of prices"
            raise InputError(msg, hint=f"the book has {', '.join(book.regions)}", value=missing[0])
        rates = np.stack([book.g_per_kwh / W_PER_KW, book.price_g_per_vcpu_h]) * book.slots.step_h
        self._sums = np.concatenate([np.zeros((2, len(index), 1)), np.cumsum(rates, axis=2)], axis=2)
        self._region = np.array([index[name] for name in self._names], dtype=np.int64)
        mean = mean_g_per_w(self.nodes, book.g_per_kwh.mean(axis=1)[self._region])
        # On a grid without any emissions room is still worth something.
        self._lost_g_per_milli_h = self._lost_w_per_milli * (mean or 1.0 / W_PER_KW)
        self._slots = book.slots

    def decide(self, ask: PodAsk, now_s: float) -> Decision:
        """Choose node, GPUs and start for a pod; nothing is taken until `bind`.

        Parameters
        ----------
        ask : PodAsk
            The pod.
        now_s : float
            The time, seconds since the epoch.

        Returns
        -------
        Decision
            Of the least grams; among equals the earliest start, then the first node.
        """
        row, shape = self._known(ask)
        slots, now = self._slots, (now_s - self._slots.start_s) / self._slots.step_s
        later = (ask.latest_start_s - slots.start_s) / slots.step_s
        starts = 1 + max(0, int(min(np.floor(later) - np.floor(now), _MOST_STARTS)) if later > now else 0)
        length = ask.duration_h / slots.step_h
        lost_g = self._lost_g_per_milli_h * ask.duration_h
        node, way, when, node_now = LOOK_OVER(
            self._kept[row], self._picks[row], self._eligible[shape], shape, self._rules, self._tallies,
            self._region, self._sums, now, length, starts, ask.cpu_milli / 1000.0, lost_g, self._costs,
        )  # fmt: skip
        start_s = now_s if when == 0 else slots.start_s + (np.floor(now) + when) * slots.step_s
        if node < 0:
            return Decision(
                node=-1, gpus=(), start_s=now_s, node_now=-1, energy_g=0.0, price_g=0.0, room_g=0.0
            )
        energy_g, price_g = self._spent(
            int(self._region[node]), (start_s - slots.start_s) / slots.step_s, length
        )
        kept = self._kept[row, node, way]
        return Decision(
            node=int(node),
            gpus=self._gpus(ask, int(node), int(self._picks[row, node, way])),
            start_s=float(start_s),
            node_now=int(node_now),
            energy_g=float(kept[WATTS]) * energy_g,
            price_g=ask.cpu_milli / 1000.0 * price_g,
            room_g=lost_g * float(kept[STARVED]),
        )

    def costs_g(self, ask: PodAsk, now_s: float) -> Floats:
        """Return what a pod would cost on each node if it started now: for a score of all of them.

        Parameters
        ----------
        ask : PodAsk
            The pod; its latest start plays no part.
        now_s : float
            The time, seconds since the epoch.

        Returns
        -------
        ndarray, shape (N,)
            As `Decision.total_g`; inf where it has no room or may not run [g].
        """
        self.decide(dataclasses.replace(ask, latest_start_s=now_s), now_s)
        return self._costs.copy()

    def bind(self, pod_id: str, ask: PodAsk, node: int, gpus: Sequence[int] = ()) -> None:
        """Put a pod onto a node, whoever decided so.

        Parameters
        ----------
        pod_id : str
            Its name.
        ask : PodAsk
            What it takes.
        node : int
            Index of the node.
        gpus : sequence of int
            Which GPUs.

        Raises
        ------
        InputError
            It is there already, there is no such node, or it has no room for it.
        """
        bits = sum(1 << gpu for gpu in set(gpus))
        if pod_id in self._here:
            msg = f"pod '{pod_id}' runs on '{self.nodes.node_ids[self._here[pod_id][1]]}' already"
            raise InputError(msg, hint="release it first", value=pod_id)
        if not 0 <= node < len(self.nodes):
            msg = f"there is no node {node}"
            raise InputError(msg, hint=f"nodes are 0 to {len(self.nodes) - 1}", value=node)
        free = self._state[node]
        taken = [gpu for gpu in range(len(free) - at.GPU) if bits >> gpu & 1]
        room = free[at.CPU] >= ask.cpu_milli and free[at.MEMORY] >= ask.memory_mib
        if not (room and len(taken) == ask.num_gpu == len(gpus)) or any(
            free[at.GPU + gpu] < ask.gpu_milli for gpu in taken
        ):
            msg = f"node '{self.nodes.node_ids[node]}' has no room for pod '{pod_id}'"
            raise InputError(msg, hint="take what `decide` says", value=node)
        self._settle(ask, node, bits, 1)
        self._here[pod_id] = (ask, node, bits)

    def release(self, pod_id: str) -> None:
        """Take a pod away that has ended.

        Parameters
        ----------
        pod_id : str
            Its name.

        Raises
        ------
        InputError
            It isn't there.
        """
        if pod_id not in self._here:
            msg = f"pod '{pod_id}' runs on no node"
            raise InputError(msg, hint="bind it first", value=pod_id)
        ask, node, bits = self._here.pop(pod_id)
        self._settle(ask, node, bits, -1)

    # ------------------------------------------------------------ what is kept
    def _spent(self, region: int, start: float, length: float) -> tuple[float, float]:
        """Return grams of a watt and of a vCPU over a stretch of slots."""
        ends = np.array([start, start + length])
        slot = np.clip(np.floor(ends).astype(np.int64), 0, self._sums.shape[2] - 2)
        sums = self._sums[:, region]
        found = sums[:, slot] + (ends - slot) * (sums[:, slot + 1] - sums[:, slot])
        spent = found[:, 1] - found[:, 0]
        return float(spent[0]), float(spent[1])

    def _gpus(self, ask: PodAsk, node: int, pick: int) -> tuple[int, ...]:
        if ask.num_gpu and pick >= 0:
            return (pick - at.GPU,)
        whole = np.flatnonzero(self._state[node, at.GPU :] == WHOLE_GPU)[: ask.num_gpu]
        return tuple(whole.tolist())

    def _forget(self) -> None:
        """Start to learn sizes and shapes anew."""
        most = max(1, min(_MOST_SIZES, _MOST_KEPT // max(len(self.nodes), 1)))
        self._size_rows: dict[tuple[int, int, int, int], int] = {}
        self._shape_rows: dict[tuple[int, Requirements], int] = {}
        self._sizes = np.zeros((most, at.TAG + 1), dtype=np.int64)
        self._kept = np.full((most, len(self.nodes), WAYS, 3), np.inf)
        self._picks = np.full((most, len(self.nodes), WAYS), -1, dtype=np.int64)
        self._eligible: list[NDArray[np.uint8]] = []
        self._kinds = dict.fromkeys(ask.requirements for ask, _, _ in self._here.values())
        self._lay_rules()

    def _known(self, ask: PodAsk) -> tuple[int, int]:
        """Return the rows of a pod's size and shape, learning what is new."""
        row = self._size_rows.get(ask.size)
        if row is None:
            if len(self._size_rows) == len(self._sizes):
                self._forget()
            row = self._size_rows[ask.size] = len(self._size_rows)
            self._sizes[row, : at.TAG] = ask.size
            self._appraise(np.array([row]), np.arange(len(self.nodes)))
        shape = self._shape_rows.get((row, ask.requirements))
        if shape is None:
            if len(self._shape_rows) == _MOST_SHAPES:
                self._forget()
                return self._known(ask)
            shape = self._shape_rows[row, ask.requirements] = len(self._shape_rows)
            alone = Shapes(self._sizes, np.array([row]), np.zeros(1, dtype=np.int64), np.zeros(0, np.int64))
            self._eligible.append(eligible_nodes(alone, self.nodes, (ask.requirements,))[0])
            self._kinds[ask.requirements] = None
            self._lay_rules()
        return row, shape

    def _lay_rules(self) -> None:
        """Lay the rules of all shapes out anew; count who is where if other names matter than before."""
        kinds = tuple(self._kinds)
        place = {kind: number for number, kind in enumerate(kinds)}
        pairs = [(row, place[kind]) for row, kind in self._shape_rows]
        size, kind = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
        shapes = Shapes(self._sizes, size, kind, np.zeros(0, dtype=np.int64))
        eligible = np.array(self._eligible, dtype=np.uint8).reshape(-1, len(self.nodes))
        self._rules, fresh = rules_of(shapes, self.nodes, kinds, eligible)
        company = company_of(kinds)
        if company != self._company:
            self._company, self._tallies = company, fresh
            for ask, node, _ in self._here.values():
                self._tally(ask.requirements, node, 1)

    def _tally(self, need: Requirements, node: int, sign: int) -> None:
        """Count a pod in, or out."""
        names, topologies = self._company
        for row, topology in enumerate(topologies):
            domain = self._rules[4][row, node]
            if domain >= 0:
                for name in need.labels & names.keys():
                    self._tallies[0, names[name], row, domain] += sign
                for name, where in need.anti_affinity:
                    if where == topology:
                        self._tallies[1, names[name], row, domain] += sign

    def _settle(self, ask: PodAsk, node: int, bits: int, sign: int) -> None:
        """Take room, or give it back, and appraise the node anew for all sizes."""
        if ask.requirements not in self._kinds:
            self._kinds[ask.requirements] = None
            self._lay_rules()
        free = self._state[node]
        free[at.CPU] -= sign * ask.cpu_milli
        free[at.MEMORY] -= sign * ask.memory_mib
        for gpu in range(bits.bit_length()):
            if bits >> gpu & 1:
                free[at.GPU + gpu] -= sign * ask.gpu_milli
        self._tally(ask.requirements, node, sign)
        self._appraise(np.arange(len(self._size_rows)), np.array([node]))

    def _appraise(self, some: Integers, changed: Integers) -> None:
        APPRAISE(
            some, changed, self._sizes, self._state, self._facts, self._before, self._watts, self._tables,
            self._kept, self._picks,
        )  # fmt: skip
