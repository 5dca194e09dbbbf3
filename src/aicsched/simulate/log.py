"""What ran when, and what it emitted and cost."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import TYPE_CHECKING, Final

import numpy as np

from aicsched.errors import ConfigError
from aicsched.slots import HOUR_S
from aicsched.units import WATTS_PER_KILOWATT

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aicsched.simulate.truth import Truth
    from aicsched.simulate.workload import Workload

__all__ = ["Costs", "Machine", "Metrics", "RunLog", "bill", "by_machine_h", "measure", "peak"]

# Two runs nearer than this are one; a job this late is on time.
INSTANT_S: Final = 1e-3
MOMENT_S: Final = 1e-6
# The columns of a log that have a row a run.
_ROWS: Final = ("job", "start_s", "stop_s", "vcpus", "machine", "site")


class Machine(IntEnum):
    """On what a run was."""

    RESERVED = 0
    ON_DEMAND = 1
    SPOT = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """Prices and power.

    Parameters
    ----------
    on_demand_per_vcpu_h, spot_per_vcpu_h : float
        Of a thread for an hour; GAIA's are those of AWS c7gn.medium.
    reserved_share : float
        What a reserved thread costs, over one on demand, used or not.
    watts_per_vcpu : float
        Power of a busy thread; GAIA's 1 W makes grams that are for ratios [W].
    reserved_until : str
        Reserved threads are paid from second 0 to ``"last-start"``, as in GAIA, or to
        ``"last-finish"``, which is what a bill would say.

    Raises
    ------
    ConfigError
        A price is negative, or the end unknown.
    """

    on_demand_per_vcpu_h: float = 0.0624
    spot_per_vcpu_h: float = 0.01248
    reserved_share: float = 0.4
    watts_per_vcpu: float = 1.0
    reserved_until: str = "last-start"

    def __post_init__(self) -> None:
        for name in ("on_demand_per_vcpu_h", "spot_per_vcpu_h", "reserved_share", "watts_per_vcpu"):
            if not 0 <= getattr(self, name) < np.inf:
                msg = f"{name} is {getattr(self, name):g}"
                raise ConfigError(msg, hint="give a number, 0 or more", value=getattr(self, name))
        if self.reserved_until not in {"last-start", "last-finish"}:
            msg = f"reserved machines can't be paid until '{self.reserved_until}'"
            raise ConfigError(msg, hint="use last-start or last-finish", value=self.reserved_until)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RunLog:
    """All runs of a simulation, in the order of job and time.

    Parameters
    ----------
    job : ndarray of int64, shape (r,)
        Whose run.
    start_s, stop_s : ndarray of float64, shape (r,)
        From when to when [s].
    vcpus : ndarray of float64, shape (r,)
        On how many threads.
    machine : ndarray of int8, shape (r,)
        Of which kind, a `Machine`.
    left_s : ndarray of float64, shape (n,)
        What is still undone of each job; 0 once it is complete [s].
    lost_s : ndarray of float64, shape (n,)
        What each job did in vain: lost with its machine, or spent on saving and loading [s].
    preempted : int
        How many runs lost their machine.
    site : ndarray of int64, shape (r,)
        Where each run was, among several sites; empty where there is but one.
    moves : tuple of (int, int, float)
        Each time that a job's data were moved: the job, to which site, and the grams of it.
    requeued : int
        How many runs ended with their site.
    recovered_s : ndarray of float64
        How long each of these took to run again [s].
    """

    job: NDArray[np.int64]
    start_s: NDArray[np.float64]
    stop_s: NDArray[np.float64]
    vcpus: NDArray[np.float64]
    machine: NDArray[np.int8]
    left_s: NDArray[np.float64]
    lost_s: NDArray[np.float64]
    preempted: int = 0
    site: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    moves: tuple[tuple[int, int, float], ...] = ()
    requeued: int = 0
    recovered_s: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))

    def finish_s(self) -> NDArray[np.float64]:
        """Return when each job was done.

        Returns
        -------
        ndarray of float64, shape (n,)
            NaN where it never was [s].
        """
        finish = np.full(len(self.left_s), np.nan)
        # Rows are in the order of time within a job: the last one stays.
        finish[self.job] = self.stop_s
        finish[self.left_s > INSTANT_S] = np.nan
        return finish

    def grams(self, truth: Truth, watts_per_vcpu: float) -> NDArray[np.float64]:
        """Return what each run emitted.

        Parameters
        ----------
        truth : Truth
            The intensity.
        watts_per_vcpu : float
            Power of a busy thread [W].

        Returns
        -------
        ndarray of float64, shape (r,)
            Grams.
        """
        per_kw = truth.until(self.stop_s) - truth.until(self.start_s)
        return per_kw * self.vcpus * (watts_per_vcpu / WATTS_PER_KILOWATT)

    def at(self, site: int) -> RunLog:
        """Return the runs at one site; what belongs to jobs stays whole.

        Parameters
        ----------
        site : int
            Its number.

        Returns
        -------
        RunLog
            Some of the rows.
        """
        rows = self.site == site
        return replace(self, **{name: getattr(self, name)[rows] for name in _ROWS})


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """A run of one policy in numbers; what a saving means can't be told from fewer of them.

    Parameters
    ----------
    carbon_g : float
        All that was emitted [g].
    cost : float
        In the currency of the prices.
    mean_wait_h, p95_wait_h, max_wait_h : float
        Completion less arrival less length, over completed jobs [h].
    jobs, completed_jobs, late_jobs : int
        All, those that are done, and those of them that were idle longer than they may be.
    suspended_jobs, suspensions, preempted : int
        Jobs that were stopped, how often in all, and how many runs lost their machine.
    requeued, recovery_h : int, float
        Runs that ended with their site, and how long they took on average to run again [h].
    moves, transfer_g : int, float
        How often a job's data were brought to another site, and the grams of it, which are in `carbon_g`.
    lost_vcpu_h : float
        Thread-hours in vain.
    vcpu_h : float
        Thread-hours in all.
    peak_vcpus : float
        The most threads that were busy at once.
    reserved_vcpu_h, on_demand_vcpu_h, spot_vcpu_h : float
        Thread-hours by kind of machine.
    makespan_h : float
        From second 0 to the last completion [h].
    """

    carbon_g: float
    cost: float
    mean_wait_h: float
    p95_wait_h: float
    max_wait_h: float
    jobs: int
    completed_jobs: int
    late_jobs: int
    suspended_jobs: int
    suspensions: int
    preempted: int
    lost_vcpu_h: float
    vcpu_h: float
    peak_vcpus: float
    reserved_vcpu_h: float
    on_demand_vcpu_h: float
    spot_vcpu_h: float
    makespan_h: float
    requeued: int = 0
    recovery_h: float = 0.0
    moves: int = 0
    transfer_g: float = 0.0


def peak(log: RunLog) -> float:
    """Return the most threads that were busy at once."""
    # At one time machines are given back before others are taken: a start counts a moment later.
    change = np.concatenate([-log.vcpus, log.vcpus])
    order = np.argsort(np.concatenate([log.stop_s, log.start_s + MOMENT_S]))
    return float(np.cumsum(change[order]).max(initial=0.0))


def _suspensions(log: RunLog) -> tuple[int, int]:
    follows = log.job[1:] == log.job[:-1]
    apart = follows & (log.start_s[1:] - log.stop_s[:-1] > INSTANT_S)
    jobs = np.zeros(len(log.left_s), dtype=np.bool_)
    jobs[log.job[1:][apart]] = True
    return int(jobs.sum()), int(apart.sum())


def bill(log: RunLog, costs: Costs, *, reserved_vcpus: float) -> float:
    """Return what runs cost.

    Parameters
    ----------
    log : RunLog
        What ran.
    costs : Costs
        Prices.
    reserved_vcpus : float
        Size of the reserved pool.

    Returns
    -------
    float
        In the currency of the prices.
    """
    hours = by_machine_h(log)
    last = log.start_s if costs.reserved_until == "last-start" else log.stop_s
    paid_h = float(last.max(initial=0.0)) / HOUR_S
    price = costs.on_demand_per_vcpu_h
    return (
        hours[Machine.ON_DEMAND] * price
        + hours[Machine.SPOT] * costs.spot_per_vcpu_h
        + reserved_vcpus * costs.reserved_share * price * paid_h
    )


def by_machine_h(log: RunLog) -> list[float]:
    """Return the thread-hours of each kind of machine, in the order of `Machine`."""
    hours = (log.stop_s - log.start_s) * log.vcpus / HOUR_S
    return [float(hours[log.machine == kind].sum()) for kind in Machine]


def measure(log: RunLog, workload: Workload, *, carbon_g: float, cost: float) -> Metrics:
    """Put a log into numbers.

    Parameters
    ----------
    log : RunLog
        What ran.
    workload : Workload
        The jobs.
    carbon_g : float
        What it emitted, moves included [g].
    cost : float
        What it cost.

    Returns
    -------
    Metrics
        Sums and means.
    """
    finish = log.finish_s()
    done = np.isfinite(finish)
    wait = np.maximum(finish - workload.pending.arrival_s - workload.length_s, 0.0)[done]
    suspended, suspensions = _suspensions(log)
    by_kind = by_machine_h(log)
    return Metrics(
        carbon_g=carbon_g,
        cost=cost,
        mean_wait_h=float(wait.mean()) / HOUR_S if done.any() else float("nan"),
        p95_wait_h=float(np.quantile(wait, 0.95)) / HOUR_S if done.any() else float("nan"),
        max_wait_h=float(wait.max()) / HOUR_S if done.any() else float("nan"),
        jobs=len(workload),
        completed_jobs=int(done.sum()),
        late_jobs=int((wait > workload.pending.max_wait_s[done] + INSTANT_S).sum()),
        suspended_jobs=suspended,
        suspensions=suspensions,
        preempted=log.preempted,
        lost_vcpu_h=float((log.lost_s * workload.pending.vcpus).sum()) / HOUR_S,
        vcpu_h=float(sum(by_kind)),
        peak_vcpus=peak(log),
        reserved_vcpu_h=by_kind[Machine.RESERVED],
        on_demand_vcpu_h=by_kind[Machine.ON_DEMAND],
        spot_vcpu_h=by_kind[Machine.SPOT],
        makespan_h=float(log.stop_s.max(initial=0.0)) / HOUR_S,
        requeued=log.requeued,
        recovery_h=float(log.recovered_s.mean()) / HOUR_S if len(log.recovered_s) else 0.0,
        moves=len(log.moves),
        transfer_g=float(sum(grams for _, _, grams in log.moves)),
    )
