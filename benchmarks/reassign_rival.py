"""The rival of the reassignment benchmark: CP-SAT on a few machines at a time, all else fixed.

Large-neighbourhood search as one would write it first: choose some machines,
those that cost more more often, model all that run on them exactly, let the
solver improve on the present assignment for a short while, and go on.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aicsched.place.reassign import Reassignment

_MOST_PROCESSES = 90
_ROUND_S = 3.0


class Neighbourhood:
    """A model of what runs on some machines, with all other processes where they are.

    Parameters
    ----------
    problem : Reassignment
        The whole problem.
    at : ndarray of int64, shape (P,)
        The assignment to improve on.
    machines : list of int
        Whose processes are free to move among these.
    """

    def __init__(self, problem: Reassignment, at: NDArray[np.int64], machines: list[int]) -> None:
        from ortools.sat.python import cp_model

        self.cp: Any = cp_model
        self.problem, self.at, self.machines = problem, at, machines
        self.model: Any = cp_model.CpModel()
        self.free: list[int] = np.flatnonzero(np.isin(at, machines)).tolist()
        self.x: dict[tuple[int, int], Any] = {}
        self.costs: list[Any] = []
        for p in self.free:
            for m in machines:
                self.x[p, m] = self.model.new_bool_var("")
                self.model.add_hint(self.x[p, m], int(at[p] == m))
            self.model.add_exactly_one(self.x[p, m] for m in machines)
        self._loads()
        self._services()
        fares = problem.process_move_cost * problem.move_weights[0]
        for p in self.free:
            home = int(problem.home[p])
            for m in machines:
                if m != home:
                    cost = int(fares[p] + problem.machine_move_cost[home, m] * problem.move_weights[2])
                    self.costs.append(cost * self.x[p, m])
        self.model.minimize(sum(self.costs))

    def _loads(self) -> None:
        problem, model = self.problem, self.model
        left = problem.need * ((self.at != problem.home)[:, None] & problem.transient)
        for m in self.machines:
            held = left[(problem.home == m) & ~np.isin(self.at, self.machines)].sum(axis=0)
            use = []
            for r in range(problem.shape[2]):
                now = sum(int(problem.need[p, r]) * self.x[p, m] for p in self.free)
                use.append(now)
                limit = int(problem.capacity[m, r] - held[r])
                stays = now
                if problem.transient[r]:
                    homed = [p for p in self.free if problem.home[p] == m]
                    limit -= int(problem.need[homed, r].sum())
                    stays = now - sum(int(problem.need[p, r]) * self.x[p, m] for p in homed)
                model.add(stays <= limit)
                self._over(now - int(problem.safety_capacity[m, r]), r, int(problem.load_weight[r]))
            for first, second, target, weight in problem.balance.tolist():
                free = [int(problem.capacity[m, each]) - use[each] for each in (first, second)]
                self._over(target * free[0] - free[1], first, weight * max(target, 1))

    def _over(self, excess: Any, resource: int, weight: int) -> None:  # noqa: ANN401 - a linear expression
        most = int(self.problem.capacity[:, resource].max()) + int(self.problem.need[:, resource].sum())
        above = self.model.new_int_var(0, most, "")
        self.model.add(above >= excess)
        self.costs.append(weight * above)

    def _services(self) -> None:
        problem, model = self.problem, self.model
        mine: dict[int, list[int]] = defaultdict(list)
        for p in self.free:
            mine[int(problem.service[p])].append(p)
        fixed = [p for p in range(len(self.at)) if self.at[p] not in set(self.machines)]
        places: dict[str, Any] = {"location": problem.location, "near": problem.neighbourhood}
        there = {
            name: Counter((int(problem.service[p]), int(labels[self.at[p]])) for p in fixed)
            for name, labels in places.items()
        }
        present: dict[tuple[str, int, int], Any] = {}
        for service, processes in mine.items():
            for m in self.machines:
                if len(processes) > 1:
                    model.add_at_most_one(self.x[p, m] for p in processes)
            for name, labels in places.items():
                for label in {int(labels[m]) for m in self.machines}:
                    here = [self.x[p, m] for p in processes for m in self.machines if labels[m] == label]
                    known = present[name, service, label] = model.new_bool_var("")
                    if there[name][service, label]:
                        model.add(known == 1)
                    else:
                        model.add_max_equality(known, here)
            elsewhere = {
                label for (s, label), _ in there["location"].items()
                if s == service and ("location", service, label) not in present
            }  # fmt: skip
            shown = sum(present[key] for key in present if key[:2] == ("location", service))
            model.add(shown + len(elsewhere) >= int(problem.min_locations[service]))
        self._dependencies(set(mine), there["near"], present)

    def _dependencies(
        self, mine: set[int], there: Counter[tuple[int, int]], present: dict[tuple[str, int, int], Any]
    ) -> None:
        problem, model = self.problem, self.model
        labels = {int(problem.neighbourhood[m]) for m in self.machines}
        for service, other in problem.dependencies.tolist():
            if service == other or not (service in mine or other in mine):
                continue
            for label in labels:
                one = present.get(("near", service, label), int(there[service, label] > 0))
                two = present.get(("near", other, label), int(there[other, label] > 0))
                model.add(one <= two)

    def improve(self, limit_s: float) -> NDArray[np.int64] | None:
        """Search for a while.

        Parameters
        ----------
        limit_s : float
            At most.

        Returns
        -------
        ndarray of int64, or None
            The assignment found; None where there was none in that time.
        """
        solver = self.cp.CpSolver()
        solver.parameters.num_workers = 1
        solver.parameters.max_time_in_seconds = limit_s
        if solver.solve(self.model) not in {self.cp.OPTIMAL, self.cp.FEASIBLE}:
            return None
        made = self.at.copy()
        for (p, m), var in self.x.items():
            if solver.value(var):
                made[p] = m
        return made


def improve_by_cpsat(problem: Reassignment, cpu_s: float, seed: int = 0) -> NDArray[np.int64]:
    """Improve the present assignment for some CPU seconds.

    Parameters
    ----------
    problem : Reassignment
        Its present assignment keeps all limits.
    cpu_s : float
        How long.
    seed : int
        Of the choice of machines.

    Returns
    -------
    ndarray of int64, shape (P,)
        The machine of each process.
    """
    rng, begun = np.random.default_rng(seed), time.process_time()
    at = problem.home.copy()
    machines = len(problem.capacity)
    while (left := cpu_s - (time.process_time() - begun)) > 0.2:
        used = np.zeros_like(problem.capacity)
        np.add.at(used, at, problem.need)
        cost = (np.maximum(used - problem.safety_capacity, 0) * problem.load_weight).sum(axis=1) + 1.0
        weight = 0.5 * cost / cost.sum() + 0.5 / machines
        order = rng.choice(machines, size=min(machines, int(rng.integers(2, 7))), replace=False, p=weight)
        counts = np.bincount(at, minlength=machines)[order].cumsum()
        chosen = order[: max(2, int((counts <= _MOST_PROCESSES).sum()))].tolist()
        found = Neighbourhood(problem, at, chosen).improve(min(_ROUND_S, left))
        at = at if found is None else found
    return at
