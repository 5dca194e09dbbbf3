"""The direct, time-indexed model as an integer programme: the exact rung of small problems.

HiGHS (Huangfu, Hall 2018, doi:10.1007/s12532-017-0130-5) cuts off what the relaxation
gains by splitting jobs, which on jobs that are large beside the capacity is most of the
gap: prices alone can't see it. Columns whose reduced cost is above the gap that is left are
in no better plan, and out. The limit is a number of nodes, so equal input gives an equal
plan; the first node, with its cuts, is always finished.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from aicsched.place.choice import Choice, pointers
from aicsched.place.cpsat import Exact, count_columns

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aicsched.place.problem import Problem
    from aicsched.place.relaxation import Relaxation

__all__ = ["direct_fits", "solve_direct"]

# The first node of twenty thousand columns takes about 15 s, of fifty thousand minutes.
_MOST_COLUMNS: Final = 25_000
# A node's time grows with a power of its columns, so their number falls with it.
_NODES: Final = 200
_NODES_COLUMNS: Final = 7_000
_MOST_NODES: Final = 20_000
_INFEASIBLE: Final = 2
# HiGHS takes reduced costs within 1e-7 for none: costs are scaled to make that a trifle.
_MEAN_COST: Final = 1000.0
_ROUNDING: Final = 1e-9


def direct_fits(problem: Problem) -> bool:
    """Tell whether the direct model is small enough, and says all that the problem does.

    Parameters
    ----------
    problem : Problem
        The problem.

    Returns
    -------
    bool
        False, too, where jobs wait for others or pay for being resumed: that is CP-SAT's part.
    """
    plain = not len(problem.order) and not problem.resume_kwh_per_w.any()
    return plain and count_columns(problem) <= _MOST_COLUMNS


def _useful(
    model: Relaxation, cost_g: NDArray[np.float64], prices_g: NDArray[np.float64], best_g: float
) -> NDArray[np.bool_]:
    """Return which columns a plan better than the best one may have."""
    problem = model.problem
    if not np.isfinite(best_g) or problem.suspendable.any():
        return np.ones(model.width, np.bool_)
    flat = np.where(np.isfinite(model.capacity), prices_g.ravel(), 0.0)
    reduced = cost_g + model.matrix[len(model.row_owner) :].T @ flat
    least = np.full(len(problem.job_ids), np.inf)
    np.minimum.at(least, model.owner, reduced)
    bound_g = least.sum() - flat @ np.where(flat > 0, model.capacity, 0.0)
    slack_g = best_g - bound_g + _ROUNDING * abs(best_g)
    kept: NDArray[np.bool_] = reduced - least[model.owner] <= slack_g
    return kept


def _read(model: Relaxation, taken: NDArray[np.int64]) -> Choice | None:
    """Return the plan of the columns that were taken."""
    problem = model.problem
    pointer = pointers(problem)
    choice = Choice(np.full(len(problem.job_ids), -1, np.int64), np.zeros(int(pointer[-1]), np.int64))
    for job in range(len(problem.job_ids)):
        mine = taken[model.owner[taken] == job]
        slots, region = model.slot[mine], model.region[mine]
        if not len(mine):
            return None
        choice.region[job] = region[0]
        # More than a job needs is taken only where it costs nothing.
        length = int(problem.n_slots[job])
        kept = np.sort(slots[(region == region[0]) & (slots >= 0)])[:length]
        if not problem.suspendable[job]:
            kept = kept[0] + np.arange(length)
        if len(kept) < length:
            return None
        choice.slots[pointer[job] : pointer[job + 1]] = kept
    return choice


def solve_direct(
    model: Relaxation,
    *,
    prices_g: NDArray[np.float64],
    best_g: float = float("inf"),
    gap: float = 0.0,
    limit_s: float = float("inf"),
) -> Exact:
    """Solve the direct model with HiGHS.

    Parameters
    ----------
    model : Relaxation
        Rows and columns of a problem that `direct_fits`.
    prices_g : ndarray, shape (K, R, T)
        Prices of the resources [g], to leave out columns by.
    best_g : float
        What the best plan at hand emits [g].
    gap : float
        Stop at this relative gap.
    limit_s : float
        Seconds after which to stop in any case.

    Returns
    -------
    Exact
        A plan, if one better than the best or as good was found, and the bound; the plan at hand is
        optimal where the bound meets `best_g`.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp  # noqa: PLC0415 - takes a while to load

    cost_g = model.costs_g()
    kept = np.flatnonzero(_useful(model, cost_g, prices_g, best_g))
    rows = np.isfinite(model.most)
    # Exactly one column a job, not at least one: cuts are made from what excludes each other.
    least = np.where(np.arange(len(model.most)) < len(model.problem.job_ids), -1.0, -np.inf)
    scale = _MEAN_COST / max(float(cost_g[kept].mean()), 1e-9)
    nodes = np.clip(_NODES * (_NODES_COLUMNS / len(kept)) ** 3, 1, _MOST_NODES)
    find: Any = milp
    found = find(
        cost_g[kept] * scale,
        integrality=np.ones(len(kept)),
        bounds=Bounds(0, 1),
        constraints=LinearConstraint(model.matrix[rows][:, kept], least[rows], model.most[rows]),
        options={"mip_rel_gap": gap, "node_limit": int(nodes), "time_limit": limit_s},
    )
    if found.status == _INFEASIBLE:
        # With columns left out that means: no plan is better than the best one.
        return Exact(None, best_g)
    bound = found.mip_dual_bound
    bound_g = float("-inf") if bound is None or not np.isfinite(bound) else min(float(bound) / scale, best_g)
    choice = None if found.x is None else _read(model, kept[found.x > 0.5])
    return Exact(choice, bound_g)
