"""A piece of work that waits to be placed."""

from __future__ import annotations

import math
from dataclasses import dataclass

from aicsched.domain.scaling import gains_of
from aicsched.errors import InputError
from aicsched.slots import format_time

__all__ = ["Job"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A batch job.

    Parameters
    ----------
    job_id : str
        Unique in its queue.
    vcpus : float
        Hardware threads it keeps busy while it runs, > 0.
    duration_s : float
        How long it runs [s], > 0.
    release_s : int
        Earliest start, seconds since the epoch.
    deadline_s : int
        Latest end, seconds since the epoch.
    home_region : str
        Where it runs when nobody decides otherwise, and where its data lies.
    allowed_regions : tuple of str
        Where it may run; empty means anywhere.
    deferrable : bool
        False: it starts at its release, only the region is free.
    suspendable : bool
        True: it may run in pieces of whole slots.
    data_gb : float
        Data moved when it runs away from home [GB].
    memory_gib : float
        Memory it holds while it runs [GiB].
    gpus : float
        Accelerators it holds while it runs.
    after : tuple of str
        Jobs of the queue that must have ended before it starts.
    resume_s : float
        What going on after a gap costs: saving its state before and loading it after, in seconds at
        the job's full power [s]. Energy only: the work of whole slots stays the same.
    priority : int
        Higher goes first where not all fits.
    scaling : tuple of float
        How fast it runs on 1, 2, … machines over one; empty for a job of one size. Vcpus, memory and
        gpus are then those of one machine, and `duration_s` how long it runs on one; it takes more or
        fewer of them in each slot, and none in some, so it must be suspendable.
    min_machines : int
        With fewer machines at once it can't run.

    Raises
    ------
    InputError
        A number out of range, a window shorter than the job, or a profile that can't be.

    Examples
    --------
    >>> Job(job_id="a", vcpus=4, duration_s=7200, release_s=0, deadline_s=3600, home_region="x")
    Traceback (most recent call last):
        ...
    aicsched.errors.InputError: job 'a' runs 2 h but has only 1 h from its release \
1970-01-01T00:00Z to its deadline 1970-01-01T01:00Z; move the deadline or shorten the job
    """

    job_id: str
    vcpus: float
    duration_s: float
    release_s: int
    deadline_s: int
    home_region: str
    allowed_regions: tuple[str, ...] = ()
    deferrable: bool = True
    suspendable: bool = False
    data_gb: float = 0.0
    memory_gib: float = 0.0
    priority: int = 0
    gpus: float = 0.0
    after: tuple[str, ...] = ()
    resume_s: float = 0.0
    scaling: tuple[float, ...] = ()
    min_machines: int = 1

    def __post_init__(self) -> None:
        for name in ("vcpus", "duration_s"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                msg = f"job '{self.job_id}': {name} is {value}"
                raise InputError(msg, hint="give a positive number", value=value)
        for name in ("data_gb", "memory_gib", "gpus", "resume_s"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                msg = f"job '{self.job_id}': {name} is {value}"
                raise InputError(msg, hint="give 0 or a positive number", value=value)
        self._check_scaling()
        self._check_window()

    @property
    def shortest_s(self) -> float:
        """How long it runs on as many machines as it can use [s]."""
        return self.duration_s / self.scaling[-1] if self.scaling else self.duration_s

    def _check_scaling(self) -> None:
        most = max(1, len(self.scaling))
        if not 1 <= self.min_machines <= most:
            msg = f"job '{self.job_id}': min_machines is {self.min_machines}, scaling goes to {most}"
            hint = "give a number from 1 that its scaling reaches"
            raise InputError(msg, hint=hint, value=self.min_machines)
        if not self.scaling:
            return
        try:
            gains_of(self.scaling)
        except InputError as error:
            msg = f"job '{self.job_id}': scaling: {error.message}"
            raise InputError(msg, hint=error.hint, value=self.scaling) from error
        if not (self.suspendable and self.deferrable) or self.resume_s or self.after:
            msg = f"job '{self.job_id}' scales, but can't pause at will"
            hint = "set suspendable and deferrable to true, and leave out resume_s and after, or scaling"
            raise InputError(msg, hint=hint, value=self.job_id)

    def _check_window(self) -> None:
        window_s = self.deadline_s - self.release_s
        span = f"its release {format_time(self.release_s)} to its deadline {format_time(self.deadline_s)}"
        if window_s <= 0:
            msg = f"job '{self.job_id}' has its deadline {format_time(self.deadline_s)} not after its release"
            raise InputError(msg, hint=f"it was released at {format_time(self.release_s)}; swap or move them")
        if self.shortest_s > window_s:
            msg = (
                f"job '{self.job_id}' runs {self.shortest_s / 3600:g} h but has only "
                f"{window_s / 3600:g} h from {span}"
            )
            raise InputError(msg, hint="move the deadline or shorten the job", value=self.duration_s)
