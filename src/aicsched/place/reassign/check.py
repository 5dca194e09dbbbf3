"""An independent check of a reassignment: plain Python, whole numbers, no code of the solver's.

It restates each limit and each cost from the problem's definition, in the
slowest and plainest way, and believes nothing that a plan says of itself.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aicsched.errors import PlanRefused

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from aicsched.place.reassign.problem import Reassignment

__all__ = ["Costs", "Violation", "check_assignment", "costs_of", "violations_of"]

_SHOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """The weighted terms of an assignment's cost, as whole numbers.

    Parameters
    ----------
    load : int
        Use above safety capacities.
    balance : int
        Free room of one resource without its share of another.
    process_move, service_move, machine_move : int
        Of the moves.
    """

    load: int
    balance: int
    process_move: int
    service_move: int
    machine_move: int

    @property
    def total(self) -> int:
        """The sum of all terms."""
        return self.load + self.balance + self.process_move + self.service_move + self.machine_move


@dataclass(frozen=True, slots=True)
class Violation:
    """A hard limit that an assignment breaks.

    Parameters
    ----------
    limit : str
        ``machine``, ``capacity``, ``transient``, ``conflict``, ``spread`` or ``dependency``.
    text : str
        Which, where and by how much.
    """

    limit: str
    text: str


def _used(problem: Reassignment, machines: Sequence[int]) -> list[list[int]]:
    resources = range(len(problem.load_weight))
    used = [[0 for _ in resources] for _ in range(len(problem.capacity))]
    for machine, need in zip(machines, problem.need.tolist(), strict=True):
        for resource in resources:
            used[machine][resource] += need[resource]
    return used


def costs_of(problem: Reassignment, assignment: Sequence[int] | NDArray[np.int64]) -> Costs:
    """Compute the cost of an assignment, term by term.

    Parameters
    ----------
    problem : Reassignment
        What it is an assignment of.
    assignment : sequence of int, shape (P,)
        The machine of each process; all must exist.

    Returns
    -------
    Costs
        Exact.
    """
    machines = [int(machine) for machine in assignment]
    homes: list[int] = problem.home.tolist()
    used = _used(problem, machines)
    capacity: list[list[int]] = problem.capacity.tolist()
    safety: list[list[int]] = problem.safety_capacity.tolist()
    load = 0
    for resource, weight in enumerate(problem.load_weight.tolist()):
        load += weight * sum(max(0, u[resource] - s[resource]) for u, s in zip(used, safety, strict=True))
    balance = 0
    for first, second, target, weight in problem.balance.tolist():
        for u, c in zip(used, capacity, strict=True):
            balance += weight * max(0, target * (c[first] - u[first]) - (c[second] - u[second]))
    moved = [process for process, home in enumerate(homes) if machines[process] != home]
    per_service = Counter(problem.service.tolist()[process] for process in moved)
    process_weight, service_weight, machine_weight = problem.move_weights.tolist()
    process_costs: list[int] = problem.process_move_cost.tolist()
    machine_costs: list[list[int]] = problem.machine_move_cost.tolist()
    return Costs(
        load=load,
        balance=balance,
        process_move=process_weight * sum(process_costs[process] for process in moved),
        service_move=service_weight * max(per_service.values(), default=0),
        machine_move=machine_weight * sum(machine_costs[homes[p]][machines[p]] for p in moved),
    )


def _over_capacity(problem: Reassignment, machines: Sequence[int]) -> list[Violation]:
    homes: list[int] = problem.home.tolist()
    needs: list[list[int]] = problem.need.tolist()
    used = _used(problem, machines)
    held = [list(row) for row in used]
    for process, home in enumerate(homes):
        for resource, transient in enumerate(problem.transient.tolist()):
            if transient and machines[process] != home:
                held[home][resource] += needs[process][resource]
    found: list[Violation] = []
    for machine, limits in enumerate(problem.capacity.tolist()):
        for resource, limit in enumerate(limits):
            holds = held[machine][resource]
            if holds > limit:
                name = "capacity" if used[machine][resource] > limit else "transient"
                words = f"machine {machine} holds {holds} of resource {resource}, over {limit}"
                found.append(Violation(name, words))
    return found


def _misplaced(problem: Reassignment, machines: Sequence[int]) -> list[Violation]:
    found: list[Violation] = []
    services: list[int] = problem.service.tolist()
    locations: list[int] = problem.location.tolist()
    nearby: list[int] = problem.neighbourhood.tolist()
    on: dict[int, list[int]] = defaultdict(list)
    for process, machine in enumerate(machines):
        on[services[process]].append(machine)
    for service, least in enumerate(problem.min_locations.tolist()):
        twice = [machine for machine, count in Counter(on[service]).items() if count > 1]
        found += [Violation("conflict", f"machine {m} runs service {service} twice") for m in twice]
        reached = len({locations[machine] for machine in on[service]})
        if reached < least:
            found.append(Violation("spread", f"service {service} is in {reached} of {least} locations"))
    for service, other in problem.dependencies.tolist():
        lacking = {nearby[m] for m in on[service]} - {nearby[m] for m in on[other]}
        found += [
            Violation("dependency", f"service {service} runs in neighbourhood {n} without service {other}")
            for n in sorted(lacking)
        ]
    return found


def violations_of(problem: Reassignment, assignment: Sequence[int] | NDArray[np.int64]) -> list[Violation]:
    """List every hard limit that an assignment breaks.

    Parameters
    ----------
    problem : Reassignment
        With the limits.
    assignment : sequence of int
        The machine of each process.

    Returns
    -------
    list of Violation
        Empty if it keeps them all.
    """
    machines = [int(machine) for machine in assignment]
    if len(machines) != len(problem.home):
        words = f"{len(machines)} machines are named for {len(problem.home)} processes"
        return [Violation("machine", words)]
    strange = [p for p, machine in enumerate(machines) if not 0 <= machine < len(problem.capacity)]
    if strange:
        return [
            Violation("machine", f"process {p} is on machine {machines[p]}, which isn't") for p in strange
        ]
    return _over_capacity(problem, machines) + _misplaced(problem, machines)


def check_assignment(
    problem: Reassignment,
    assignment: Sequence[int] | NDArray[np.int64],
    *,
    total: int | None = None,
    bound: int | None = None,
) -> Costs:
    """Refuse an assignment that breaks a limit or costs something else than it says.

    Parameters
    ----------
    problem : Reassignment
        What it is an assignment of.
    assignment : sequence of int, shape (P,)
        The machine of each process.
    total : int, optional
        What it is said to cost.
    bound : int, optional
        A lower bound that was claimed: no feasible assignment may cost less.

    Returns
    -------
    Costs
        Computed anew.

    Raises
    ------
    PlanRefused
        With the first few faults.
    """
    faults = violations_of(problem, assignment)
    if faults:
        shown = "; ".join(f"{fault.text} [{fault.limit}]" for fault in faults[:_SHOWN])
        more = f" and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        msg = f"the assignment breaks {len(faults)} limits: {shown}{more}"
        raise PlanRefused(msg, value=[fault.limit for fault in faults])
    costs = costs_of(problem, assignment)
    if total is not None and total != costs.total:
        msg = f"the assignment costs {costs.total}, not {total} as said"
        raise PlanRefused(msg, value=costs.total)
    if bound is not None and bound > costs.total:
        msg = f"the assignment costs {costs.total}, less than the claimed lower bound {bound}"
        raise PlanRefused(msg, value=bound)
    return costs
