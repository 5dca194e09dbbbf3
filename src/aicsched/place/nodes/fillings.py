"""Fillings of nodes, and the linear programme over them: what bound and offline plans are made from.

Equal nodes are one kind, equal pods one shape. A column is a filling of one node of a kind. The
programme (OR-Tools) prices shapes; a knapsack finds the best filling of each kind at these prices,
until none is worth its price: column generation, as Gilmore and Gomory's for cutting stock
(doi:10.1287/opre.9.6.849), here over CPU and GPUs that share.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from aicsched.errors import PlacementError
from aicsched.place.nodes.encode import alike, eligible_nodes, shapes_of
from aicsched.place.nodes.kernels.patterns import BEST_FILLINGS
from aicsched.place.nodes.problem import WHOLE_GPU

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aicsched.place.nodes.problem import Nodes, Pods

    Integers = NDArray[np.int64]
    Floats = NDArray[np.float64]

__all__ = ["Column", "Kinds", "Programme", "Search", "kinds_of", "search_fillings"]

_LEAST_GPU_STEP: Final = 5
_MOST_CPU_STEPS: Final = 4096
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
class Kinds:
    """Shapes that want GPUs, and kinds of nodes that have some free, in steps of CPU and GPU.

    Parameters
    ----------
    asks : ndarray of int64, shape (S, 3)
        GPUs, steps of one, CPU steps of each shape.
    worth : ndarray, shape (S,)
        GPU milli.
    pods : ndarray of int64, shape (S,)
        Pods of each shape.
    shape_of_pod : ndarray of int64, shape (P,)
        Of each pod; -1 for one without a GPU.
    cpus : ndarray of int64, shape (K,)
        Free CPU steps of each kind of node.
    gpus : ndarray of int64, shape (K, GPUs)
        Free steps of each GPU, most first.
    nodes : ndarray of int64, shape (K,)
        Nodes of each kind.
    kind_of_node : ndarray of int64, shape (N,)
        Of each node; -1 for one without free GPU.
    able : ndarray of bool, shape (K, S)
        Which shapes may run there.
    units : int
        Steps of a whole GPU.
    """

    asks: Integers
    worth: Floats
    pods: Integers
    shape_of_pod: Integers
    cpus: Integers
    gpus: Integers
    nodes: Integers
    kind_of_node: Integers
    able: NDArray[np.bool_]
    units: int


def kinds_of(nodes: Nodes, pods: Pods, cpu_step: int, *, up: bool = False) -> Kinds:
    """Group nodes and pods.

    Parameters
    ----------
    nodes : Nodes
        At least one has a GPU with something free.
    pods : Pods
        At least one asks for a GPU.
    cpu_step : int
        CPU milli in a step, at least; wider where a node would have more than 4,096 of them.
    up : bool
        Round requests up, so that what fits in steps fits; otherwise down, so that what fits fits in steps.

    Returns
    -------
    Kinds
        The groups.
    """
    cpu_step = max(cpu_step, -(-int(nodes.cpu_free_milli.max(initial=0)) // _MOST_CPU_STEPS))
    shapes = shapes_of(pods)
    sizes = shapes.sizes[shapes.size]
    wants = sizes[:, 2] > 0
    place = np.where(wants, np.cumsum(wants) - 1, -1)
    eligible = eligible_nodes(shapes, nodes, pods.requirements)[wants] > 0
    sizes = sizes[wants]
    free = -np.sort(-nodes.gpu_free_milli, axis=1)
    has = np.flatnonzero(free.any(axis=1))
    # Nodes are of one kind if they have the same free and are open to the same shapes.
    open_to = np.unique(eligible[:, has].T, axis=0, return_inverse=True)[1].reshape(-1)
    first, kind = alike(np.column_stack([nodes.cpu_free_milli[has], free[has], open_to]))
    kind_of_node = np.full(len(nodes), -1, dtype=np.int64)
    kind_of_node[has] = kind
    step = math.gcd(*sizes[:, 3].tolist(), *free[has].reshape(-1).tolist(), WHOLE_GPU)
    # Finer than that takes too long.
    step = max(step, min(_LEAST_GPU_STEP, *sizes[:, 3].tolist()))
    more = (step - 1, cpu_step - 1) if up else (0, 0)
    asks = np.column_stack(
        [sizes[:, 2], (sizes[:, 3] + more[0]) // step, (sizes[:, 0] + more[1]) // cpu_step]
    )
    return Kinds(
        asks=asks.astype(np.int64),
        worth=(sizes[:, 2] * sizes[:, 3]).astype(np.float64),
        pods=np.bincount(shapes.of_pod, minlength=len(wants))[wants],
        shape_of_pod=place[shapes.of_pod],
        cpus=nodes.cpu_free_milli[has][first] // cpu_step,
        gpus=free[has][first] // step,
        nodes=np.bincount(kind, minlength=len(first)),
        kind_of_node=kind_of_node,
        able=eligible[:, has[first]].T,
        units=WHOLE_GPU // step,
    )


def _price(kinds: Kinds, prices: Floats) -> tuple[Floats, Integers]:
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


class Programme:
    """The linear programme over columns; it keeps its basis from round to round.

    Parameters
    ----------
    kinds : Kinds
        The groups.
    """

    def __init__(self, kinds: Kinds) -> None:
        from ortools.linear_solver import pywraplp  # noqa: PLC0415 - only who asks for a bound pays for it

        self.kinds = kinds
        made: Any = pywraplp.Solver.CreateSolver("GLOP")
        self.solver = made
        self.node_rows = [made.Constraint(0.0, float(count)) for count in kinds.nodes]
        self.pod_rows = [made.Constraint(0.0, float(count)) for count in kinds.pods]
        self.objective = made.Objective()
        self.objective.SetMaximization()
        self.columns: list[Column] = []
        self.variables: list[Any] = []
        self.seen: set[bytes] = set()

    def add(self, kind: int, counts: Integers) -> bool:
        """Take a column in, unless it is known.

        Parameters
        ----------
        kind : int
            Of node.
        counts : ndarray of int64, shape (S,)
            Pods of each shape.

        Returns
        -------
        bool
            Whether it is new.
        """
        key = kind.to_bytes(8, "little") + counts.tobytes()
        if key in self.seen or not counts.any():
            return False
        self.seen.add(key)
        self.columns.append(Column(kind, counts))
        variable = self.solver.NumVar(0.0, self.solver.infinity(), "")
        self.variables.append(variable)
        self.objective.SetCoefficient(variable, float(self.kinds.worth @ counts))
        self.node_rows[kind].SetCoefficient(variable, 1.0)
        for shape in np.flatnonzero(counts).tolist():
            self.pod_rows[shape].SetCoefficient(variable, float(counts[shape]))
        return True

    def solve(self) -> tuple[float, Floats]:
        """Find the best mix of columns.

        Returns
        -------
        tuple of float and ndarray
            GPU milli in use, and what one more pod of each shape would gain.

        Raises
        ------
        PlacementError
            The solver fails.
        """
        if self.solver.Solve() != self.solver.OPTIMAL:
            msg = "GLOP found no optimum of the programme over fillings"
            raise PlacementError(msg, hint="report it with the input", value=len(self.columns))
        prices = np.array([row.dual_value() for row in self.pod_rows])
        return float(self.objective.Value()), np.maximum(prices, 0.0)

    def amounts(self) -> Floats:
        """Return how many nodes take each column in the best mix.

        Returns
        -------
        ndarray
            In the order of the columns.
        """
        # Columns may have come since the last time.
        self.solve()
        return np.array([variable.solution_value() for variable in self.variables])


@dataclass(frozen=True, slots=True, eq=False)
class Search:
    """What column generation found.

    Parameters
    ----------
    programme : Programme
        With its columns.
    limit_milli : float
        No mix of fillings has more GPU in use.
    relaxed_milli : float
        The optimum over the columns found.
    rounds : int
        Of prices and fillings.
    prices : ndarray, shape (S,)
        The last ones.
    """

    programme: Programme
    limit_milli: float
    relaxed_milli: float
    rounds: int
    prices: Floats


def search_fillings(kinds: Kinds, most_milli: float, max_rounds: int) -> Search:
    """Generate columns until none is worth its price.

    Parameters
    ----------
    kinds : Kinds
        The groups.
    most_milli : float
        GPU that there is: a first limit.
    max_rounds : int
        Stop then, with a limit that holds.

    Returns
    -------
    Search
        Its limit is ``Σ pods of a shape · price + Σ nodes of a kind · best filling``, the least of all
        rounds: it holds for any prices (Lagrange).

    Raises
    ------
    PlacementError
        The solver fails.
    """
    programme = Programme(kinds)
    prices = np.zeros(len(kinds.worth))
    limit = min(float(kinds.worth @ kinds.pods), most_milli)
    relaxed, rounds = 0.0, 0
    for rounds in range(1, max_rounds + 1):  # noqa: B007 - told to the user
        surplus, counts = _price(kinds, prices)
        limit = min(limit, float(prices @ kinds.pods + surplus @ kinds.nodes) * (1 + _SLACK))
        fresh = sum([programme.add(kind, counts[kind]) for kind in range(len(kinds.nodes))])
        if not fresh or limit - relaxed <= _CLOSE * limit:
            break
        relaxed, prices = programme.solve()
    return Search(programme, limit, relaxed, rounds, prices)
