"""Where and when every job runs, as arrays: what solvers and policies pass around."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from aicsched.domain.placement import Assignment, Certificate, Placement
from aicsched.place.spots import gaps

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aicsched.place.problem import Problem

__all__ = ["Choice", "feasible", "to_placement"]

# Room for the rounding of sums of threads, as a share of a region's capacity.
TOLERANCE_SHARE = 1e-9


@dataclass(slots=True, eq=False)
class Choice:
    """One region and set of slots per job.

    Parameters
    ----------
    region : ndarray of int64, shape (J,)
        Region of each job.
    slots : ndarray of int64, shape (sum of n_slots,)
        Slots of all jobs one after another, rising within a job; job j's part
        is ``slots[indptr[j] : indptr[j + 1]]``, with `indptr` from `pointers`.
    """

    region: NDArray[np.int64]
    slots: NDArray[np.int64]

    def copy(self) -> Choice:
        """Return an independent copy."""
        return Choice(self.region.copy(), self.slots.copy())


def pointers(problem: Problem) -> NDArray[np.int64]:
    """Return where each job's slots start in a `Choice`, and where the last one's end."""
    return np.concatenate(([0], np.cumsum(problem.n_slots)))


def load(problem: Problem, choice: Choice) -> NDArray[np.float64]:
    """Return what is in use of each resource, shape (K, R, T)."""
    _, regions, count = problem.shape
    cell = np.repeat(choice.region, problem.n_slots) * count + choice.slots
    held = [
        np.bincount(cell, weights=np.repeat(use, problem.n_slots), minlength=regions * count)
        for use in problem.demand.T
    ]
    return np.array(held, np.float64).reshape(problem.capacity.shape)


def costs_g(problem: Problem, choice: Choice) -> NDArray[np.float64]:
    """Return what each job emits [g], shape (J,)."""
    jobs = np.arange(len(problem.job_ids))
    picked = problem.g_per_kwh[np.repeat(choice.region, problem.n_slots), choice.slots]
    sums = np.add.reduceat(picked, pointers(problem)[:-1])
    factor = problem.energy_kwh_per_w * problem.watt_factor_w[choice.region]
    total_g = factor * sums + problem.transfer_g[jobs, choice.region]
    return total_g + _resumed_g(problem, choice) if problem.resume_kwh_per_w.any() else total_g


def _resumed_g(problem: Problem, choice: Choice) -> NDArray[np.float64]:
    """Return what going on after gaps emits, shape (J,)."""
    jobs = len(problem.job_ids)
    behind = gaps(pointers(problem)[:-1], choice.slots)
    job = np.repeat(np.arange(jobs), problem.n_slots)[behind]
    region = choice.region[job]
    rate_g = problem.watt_factor_w[region] * problem.g_per_kwh[region, choice.slots[behind]]
    paid_g = problem.resume_kwh_per_w[job] * rate_g
    return np.bincount(job, weights=paid_g, minlength=jobs).astype(np.float64)


def loads_g(problem: Problem, choice: Choice, prices_g: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what each job pays for its slots at some prices (K, R, T) [g], shape (J,)."""
    place = np.repeat(choice.region, problem.n_slots)
    starts = pointers(problem)[:-1]
    paid = [
        use * np.add.reduceat(price[place, choice.slots], starts)
        for use, price in zip(problem.demand.T, prices_g, strict=True)
    ]
    return np.sum(paid, axis=0)


def room(problem: Problem) -> NDArray[np.float64]:
    """Return the capacity with its rounding tolerance, shape (K, R, T)."""
    return problem.capacity * (1 + TOLERANCE_SHARE)


def spans(problem: Problem, choice: Choice) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the first slot of each job and the end of its last, shape (J,)."""
    indptr = pointers(problem)
    return choice.slots[indptr[:-1]], choice.slots[indptr[1:] - 1] + 1


def feasible(problem: Problem, choice: Choice) -> bool:
    """Tell whether a choice keeps to all capacities, and no job starts before those it waits for end.

    Parameters
    ----------
    problem : Problem
        The problem.
    choice : Choice
        A choice for it, each job in its window.

    Returns
    -------
    bool
        False when it breaks a limit.
    """
    starts, ends = spans(problem, choice)
    in_order = bool((ends[problem.order[:, 0]] <= starts[problem.order[:, 1]]).all())
    return in_order and not bool((load(problem, choice) > room(problem)).any())


def choice_of(problem: Problem, placement: Placement) -> Choice:
    """Return a plan's places and slots as arrays; its assignments are in the order of the problem's jobs."""
    index = {name: position for position, name in enumerate(problem.regions)}
    region = np.array([index[row.region] for row in placement.assignments], dtype=np.int64)
    return Choice(
        region, np.concatenate([np.array(row.slot_indices, np.int64) for row in placement.assignments])
    )


def to_placement(
    problem: Problem,
    choice: Choice,
    *,
    policy: str,
    certificate: Certificate | None = None,
    prices_g: NDArray[np.float64] | None = None,
) -> Placement:
    """Turn a choice into the plan that leaves this package.

    Parameters
    ----------
    problem : Problem
        The problem.
    choice : Choice
        A feasible choice for it.
    policy : str
        Which policy chose.
    certificate : Certificate, optional
        The proof; by default a heuristic's, without a bound.
    prices_g : ndarray, shape (K, R, T), optional
        Shadow price of each resource for one slot [g].

    Returns
    -------
    Placement
        With one assignment a job.
    """
    indptr = pointers(problem)
    jobs = np.arange(len(problem.job_ids))
    transfer_g = problem.transfer_g[jobs, choice.region]
    operational_g = costs_g(problem, choice) - transfer_g
    rows = tuple(
        Assignment(
            job_id=problem.job_ids[job],
            region=problem.regions[choice.region[job]],
            slot_indices=tuple(choice.slots[indptr[job] : indptr[job + 1]].tolist()),
            operational_g=float(operational_g[job]),
            transfer_g=float(transfer_g[job]),
        )
        for job in range(len(problem.job_ids))
    )
    total_g = sum(row.total_g for row in rows)
    proof = certificate or Certificate(
        status="heuristic", objective_g=total_g, lower_bound_g=float("-inf"), method=policy
    )
    priced = np.zeros(problem.capacity_vcpus.shape) if prices_g is None else prices_g[0]
    prices = {
        name: tuple((priced[row] / problem.slots.step_h).round(6).tolist())
        for row, name in enumerate(problem.regions)
    }
    return Placement(
        policy=policy, slots=problem.slots, assignments=rows, certificate=proof, prices_g_per_vcpu_h=prices
    )
