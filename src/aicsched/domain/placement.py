"""A plan in space and time, with the proof of how good it is."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from aicsched.domain.scaling import machines_at, speed_at

if TYPE_CHECKING:
    from aicsched.domain.job import Job
    from aicsched.slots import SlotGrid

__all__ = ["Assignment", "Certificate", "Placement", "Proof", "busy_s", "machines_held"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """Where and when one job runs.

    Parameters
    ----------
    job_id : str
        The job.
    region : str
        Where it runs.
    slot_indices : tuple of int
        The slots it occupies, rising; adjoining unless it is suspendable.
    operational_g : float
        Expected operational emissions [g].
    transfer_g : float
        Emissions of moving its data [g].
    machines : tuple of float
        Mean number of machines at work in each of its slots, of a job that scales; empty otherwise.
    """

    job_id: str
    region: str
    slot_indices: tuple[int, ...]
    operational_g: float
    transfer_g: float = 0.0
    machines: tuple[float, ...] = ()

    @property
    def total_g(self) -> float:
        """Operational and transfer emissions together [g]."""
        return self.operational_g + self.transfer_g


def busy_s(job: Job, row: Assignment) -> tuple[float, ...]:
    """Return what a job uses in each of its slots, in seconds at its full power.

    Parameters
    ----------
    job : Job
        The job.
    row : Assignment
        Where and when it runs.

    Returns
    -------
    tuple of float
        One a slot [s]: its duration spread evenly, and `Job.resume_s` where it goes on after a gap; of
        one that scales, of one machine.

    Examples
    --------
    >>> from aicsched.domain.job import Job
    >>> job = Job(job_id="a", vcpus=1, duration_s=7200, release_s=0, deadline_s=36000, home_region="x",
    ...           suspendable=True, resume_s=60)
    >>> busy_s(job, Assignment(job_id="a", region="x", slot_indices=(1, 4), operational_g=0))
    (3600.0, 3660.0)
    """
    slots = row.slot_indices
    if row.machines:
        done = sum(speed_at(job.scaling, job.min_machines, count) for count in row.machines)
        return tuple(job.duration_s * count / done for count in row.machines)
    each_s = job.duration_s / len(slots)
    later = (each_s + (job.resume_s if two > one + 1 else 0.0) for one, two in pairwise(slots))
    return (each_s, *later)


def machines_held(job: Job, row: Assignment) -> tuple[int, ...]:
    """Return how many times its vcpus, memory and gpus a job holds in each of its slots.

    Parameters
    ----------
    job : Job
        The job.
    row : Assignment
        Where and when it runs.

    Returns
    -------
    tuple of int
        All 1 for a job that doesn't scale.
    """
    if not row.machines:
        return (1,) * len(row.slot_indices)
    return tuple(machines_at(job.min_machines, count) for count in row.machines)


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """How far from optimal a plan can be at most, and who says so.

    Parameters
    ----------
    status : str
        ``"optimal"`` (gap within 1e-9), ``"bounded"`` (a proven gap) or ``"heuristic"`` (no bound).
    objective_g : float
        What the plan emits by the forecast it was made with [g].
    lower_bound_g : float
        No feasible plan emits less [g]; -inf without a proof.
    method : str
        The solver that found the plan and the bound.
    seed : int
        Its random seed.
    iterations : int
        How often it priced or improved.
    trace : tuple of (float, float)
        Best plan and bound [g] after each stage of the search, inf for a plan not yet found; empty
        where the search had one stage only, or nobody kept it.
    """

    status: str
    objective_g: float
    lower_bound_g: float
    method: str
    seed: int = 0
    iterations: int = 0
    trace: tuple[tuple[float, float], ...] = ()

    @property
    def gap(self) -> float:
        """Proven distance from the optimum as a share of the bound, >= 0; inf without a proof."""
        if self.lower_bound_g == self.objective_g:
            return 0.0
        if self.lower_bound_g <= 0:
            return float("inf")
        return max(0.0, (self.objective_g - self.lower_bound_g) / self.lower_bound_g)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """How far a plan can be at most from the best by a measure other than expected grams.

    Parameters
    ----------
    measure : str
        What was made small, e.g. ``"CVaR 0.9"``.
    unit : str
        Its unit, e.g. ``"g"``.
    value : float
        The plan's.
    lower_bound : float
        No feasible plan has less.
    method : str
        Who found plan and bound.
    seed : int
        The random seed.
    rounds : int
        Plans that were made on the way.
    """

    measure: str
    unit: str
    value: float
    lower_bound: float
    method: str
    seed: int = 0
    rounds: int = 1

    @property
    def gap(self) -> float:
        """Proven distance from the optimum as a share of the bound, >= 0; inf without a positive bound."""
        if self.value <= self.lower_bound:
            return 0.0
        return (self.value - self.lower_bound) / self.lower_bound if self.lower_bound > 0 else float("inf")


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """A plan: one assignment per job.

    Parameters
    ----------
    policy : str
        Which policy made it, e.g. ``"optimal"``, ``"no_wait"``.
    slots : SlotGrid
        The planning grid the slot indices refer to.
    assignments : tuple of Assignment
        In the order of the problem's jobs.
    certificate : Certificate
        The proof.
    prices_g_per_vcpu_h : dict of str to tuple of float
        Per region the shadow price of a thread-hour in each slot [g]: 0 where capacity is no limit.
    """

    policy: str
    slots: SlotGrid
    assignments: tuple[Assignment, ...]
    certificate: Certificate
    prices_g_per_vcpu_h: dict[str, tuple[float, ...]]

    @property
    def total_g(self) -> float:
        """Expected emissions of the whole plan [g]."""
        return sum(assignment.total_g for assignment in self.assignments)
