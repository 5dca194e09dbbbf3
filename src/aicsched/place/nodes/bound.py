"""A proven limit on the GPU that any policy can allocate, whatever it knows: shapes × kinds of nodes.

Equal nodes are one kind, equal pods one shape. A column is a filling of one node. A linear programme
over columns (OR-Tools) prices shapes; a knapsack finds the best filling of each kind of node at these
prices. Whatever the prices are, ``Σ pods of a shape · its price + Σ nodes of a kind · its best filling``
is a limit (Lagrange), so it holds when the search stops early, too.

Beale and Tomlin's and Gilmore and Gomory's column generation for cutting stock
(doi:10.1287/opre.9.6.849), here over two resources and GPUs that share.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from aicsched.errors import ConfigError, PlacementError
from aicsched.place.nodes.encode import alike, eligible_nodes, shapes_of
from aicsched.place.nodes.kernels.patterns import BEST_FILLINGS
from aicsched.place.nodes.problem import WHOLE_GPU

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aicsched.place.nodes.problem import Nodes, Pods

    Integers = NDArray[np.int64]
    Floats = NDArray[np.float64]

__all__ = ["AllocationBound", "Column", "bound_allocation"]

_MOST_CPU_STEPS: Final = 4096
_LEAST_GPU_STEP: Final = 5
_CLOSE: Final = 1e-5
_SLACK: Final = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """One way to fill a node of a kind.

    Parameters
    ----------
    kind : int
        Kind of node.
    counts : ndarray of int64, shape (S,)
        Pods of each shape.
    """

    kind: int
    counts: Integers


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AllocationBound:
    """What no plan exceeds.

    Parameters
    ----------
    gpu_milli : float
        GPU in use after any plan, at most; with what is in use already.
    gpu_allocated : float
        The same as a share of all GPUs.
    relaxed_milli : float
        The programme's optimum over the columns found: the bound can't get below this.
    rounds, columns : int
        Of the search.
    price_milli : ndarray, shape (S,)
        GPU that one more pod of a shape would gain.
    """

    gpu_milli: float
    gpu_allocated: float
    relaxed_milli: float
    rounds: int
    columns: int
    price_milli: Floats


@dataclass(frozen=True, slots=True, eq=False)
class _Kinds:
    """Shapes that want GPUs, and kinds of nodes that have some, in steps."""

    asks: Integers
    worth: Floats
    pods: Integers
    cpus: Integers
    gpus: Integers
    nodes: Integers
    able: NDArray[np.bool_]
    units: int


def _kinds(nodes: Nodes, pods: Pods, cpu_step: int) -> _Kinds:
    shapes = shapes_of(pods)
    sizes = shapes.sizes[shapes.size]
    wants = sizes[:, 2] > 0
    eligible = eligible_nodes(shapes, nodes, pods.requirements)[wants] > 0
    sizes = sizes[wants]
    free = -np.sort(-nodes.gpu_free_milli, axis=1)
    has = np.flatnonzero(free.any(axis=1))
    # Nodes are of one kind if they have the same free and are open to the same shapes.
    open_to = np.unique(eligible[:, has].T, axis=0, return_inverse=True)[1].reshape(-1)
    first, kind = alike(np.column_stack([nodes.cpu_free_milli[has], free[has], open_to]))
    step = math.gcd(*sizes[:, 3].tolist(), *free[has].reshape(-1).tolist(), WHOLE_GPU) if len(has) else 1
    # Where that is too fine, requests are rounded down, as CPU is: what fits still fits.
    step = max(step, min(_LEAST_GPU_STEP, *sizes[:, 3].tolist()))
    asks = np.column_stack([sizes[:, 2], sizes[:, 3] // step, sizes[:, 0] // cpu_step])
    return _Kinds(
        asks=asks.astype(np.int64),
        worth=(sizes[:, 2] * sizes[:, 3]).astype(np.float64),
        pods=np.bincount(shapes.of_pod, minlength=len(wants))[wants],
        cpus=nodes.cpu_free_milli[has][first] // cpu_step,
        gpus=free[has][first] // step,
        nodes=np.bincount(kind, minlength=len(first)),
        able=eligible[:, has[first]].T,
        units=WHOLE_GPU // step,
    )


def _price(kinds: _Kinds, prices: Floats) -> tuple[Floats, Integers]:
    """Return the best filling of each kind of node at some prices: its surplus and its pods."""
    surplus = np.zeros(len(kinds.nodes))
    counts = np.zeros((len(kinds.nodes), len(kinds.worth)), dtype=np.int64)
    for mask in np.unique(kinds.able, axis=0):
        mine = np.flatnonzero((kinds.able == mask).all(axis=1))
        gain = np.where(mask, kinds.worth - prices, 0.0)
        # Of items that ask the same only the best can be in a best filling.
        keep: dict[tuple[int, ...], int] = {}
        for item in np.flatnonzero(gain > _SLACK).tolist():
            key = tuple(kinds.asks[item].tolist())
            if key not in keep or gain[item] > gain[keep[key]]:
                keep[key] = item
        items = np.array(sorted(keep.values()), dtype=np.int64)
        if len(items):
            found, many = BEST_FILLINGS(
                gain[items],
                kinds.asks[items],
                kinds.units,
                kinds.cpus[mine],
                np.ascontiguousarray(kinds.gpus[mine]),
            )
            surplus[mine] = found
            counts[np.ix_(mine, items)] = many
    return surplus, counts


class _Programme:
    """The linear programme over columns; it keeps its basis from round to round."""

    def __init__(self, kinds: _Kinds) -> None:
        from ortools.linear_solver import pywraplp  # noqa: PLC0415 - only who asks for a bound pays for it

        self.kinds = kinds
        made: Any = pywraplp.Solver.CreateSolver("GLOP")
        self.solver = made
        self.node_rows = [made.Constraint(0.0, float(count)) for count in kinds.nodes]
        self.pod_rows = [made.Constraint(0.0, float(count)) for count in kinds.pods]
        self.objective = made.Objective()
        self.objective.SetMaximization()
        self.columns: list[Column] = []
        self.seen: set[bytes] = set()

    def add(self, kind: int, counts: Integers) -> bool:
        """Take a column in, unless it is known."""
        key = kind.to_bytes(8, "little") + counts.tobytes()
        if key in self.seen or not counts.any():
            return False
        self.seen.add(key)
        self.columns.append(Column(kind, counts))
        variable = self.solver.NumVar(0.0, self.solver.infinity(), "")
        self.objective.SetCoefficient(variable, float(self.kinds.worth @ counts))
        self.node_rows[kind].SetCoefficient(variable, 1.0)
        for shape in np.flatnonzero(counts).tolist():
            self.pod_rows[shape].SetCoefficient(variable, float(counts[shape]))
        return True

    def solve(self) -> tuple[float, Floats]:
        """Return the optimum and the price of each shape."""
        if self.solver.Solve() != self.solver.OPTIMAL:
            msg = "GLOP found no optimum of the programme over fillings"
            raise PlacementError(msg, hint="report it with the input", value=len(self.columns))
        prices = np.array([row.dual_value() for row in self.pod_rows])
        return float(self.objective.Value()), np.maximum(prices, 0.0)


def bound_allocation(
    nodes: Nodes, pods: Pods, *, cpu_step: int = 100, max_rounds: int = 200
) -> AllocationBound:
    """Bound the GPU that any plan for some pods can have in use.

    Parameters
    ----------
    nodes : Nodes
        Machines with what is free of them.
    pods : Pods
        All that could be placed; those without a GPU take nothing here.
    cpu_step : int
        CPU is counted in steps of so many milli, requests rounded down: smaller is tighter and slower.
        It is widened where a node would have more than 4,096 of them.
    max_rounds : int
        Of prices and fillings; the bound holds after any number.

    Returns
    -------
    AllocationBound
        Memory, company, gangs and whole numbers are left out: real plans stay below it.

    Raises
    ------
    ConfigError
        A step or a limit below 1.
    PlacementError
        The solver fails.

    Examples
    --------
    >>> from aicsched.place.nodes import build_nodes, build_pods
    >>> nodes = build_nodes(["a"], cpu_milli=8000, memory_mib=1024, gpus=2, gpu_model="T4")
    >>> pods = build_pods(["x", "y", "z"], cpu_milli=1000, memory_mib=1, num_gpu=1, gpu_milli=600)
    >>> round(bound_allocation(nodes, pods).gpu_milli, 3)
    1200.0
    """
    if cpu_step < 1 or max_rounds < 1:
        msg = f"cpu_step is {cpu_step} and max_rounds is {max_rounds}"
        raise ConfigError(msg, hint="both are at least 1", value=(cpu_step, max_rounds))
    used = nodes.gpu_milli - int(nodes.gpu_free_milli.sum())
    all_gpu = max(nodes.gpu_milli, 1)
    cpu_step = max(cpu_step, -(-int(nodes.cpu_free_milli.max(initial=0)) // _MOST_CPU_STEPS))
    if not (pods.num_gpu > 0).any() or not nodes.gpu_free_milli.any():
        share = used / all_gpu
        none = np.zeros(0)
        return AllocationBound(
            gpu_milli=float(used),
            gpu_allocated=share,
            relaxed_milli=float(used),
            rounds=0,
            columns=0,
            price_milli=none,
        )
    kinds = _kinds(nodes, pods, cpu_step)
    programme = _Programme(kinds)
    prices = np.zeros(len(kinds.worth))
    # No plan uses more than is asked, or than is there.
    limit = float(min(kinds.worth @ kinds.pods, int(nodes.gpu_free_milli.sum())))
    best, relaxed, rounds = limit, 0.0, 0
    for rounds in range(1, max_rounds + 1):  # noqa: B007 - told to the user
        surplus, counts = _price(kinds, prices)
        best = min(best, float(prices @ kinds.pods + surplus @ kinds.nodes) * (1 + _SLACK))
        fresh = sum([programme.add(kind, counts[kind]) for kind in range(len(kinds.nodes))])
        if not fresh or best - relaxed <= _CLOSE * best:
            break
        relaxed, prices = programme.solve()
    return AllocationBound(
        gpu_milli=used + best,
        gpu_allocated=(used + best) / all_gpu,
        relaxed_milli=used + relaxed,
        rounds=rounds,
        columns=len(programme.columns),
        price_milli=prices,
    )
