"""What a policy is: `decide`, from what is known now to what is done."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

import numpy as np

from aicsched.place.online.plans import Pool, Stretch
from aicsched.place.online.view import Batch, ClusterView, OracleView

if TYPE_CHECKING:
    from aicsched.place.online.plans import RunPlans

__all__ = ["Action", "ActionKind", "ArrivalPolicy", "OnlinePolicy", "OraclePolicy"]


class ActionKind(StrEnum):
    """What a policy can do to a job."""

    START = "start"
    SUSPEND = "suspend"
    RESUME = "resume"
    SCALE = "scale"


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One thing to do.

    Parameters
    ----------
    kind : ActionKind
        What.
    job : int
        The job's number.
    at_s : float
        When, not before now [s].
    stretches : tuple of Stretch
        Of a start: in which stretches of time it runs until it is done, the first beginning at ``at_s``.
        Empty means from then on without a stop [s].
    pool : Pool
        Of a start or a resumption: what kind of machine.
    eager : bool
        Of a start: it may begin sooner, once the reserved pool has room.
    vcpus : float
        Of a scaling: how many threads from then on; 0 where nothing is scaled.
    site : int
        Of a start, a resumption or a scaling among several sites: where; -1 means where the job is.
    """

    kind: ActionKind
    job: int
    at_s: float
    stretches: tuple[Stretch, ...] = ()
    pool: Pool = Pool.ANY
    eager: bool = False
    vcpus: float = 0.0
    site: int = -1


@runtime_checkable
class OnlinePolicy(Protocol):
    """A policy that decides by what is known.

    ``decide`` is called with the time and a view of that time when jobs arrive and when
    a site is lost or back; where the class says ``rolling = True``, at every start of a
    slot and end of a run, too. A start of a job that is planned and has not begun
    replaces its plan; a resumption or a scaling replaces that of one that has.
    """

    name: ClassVar[str]
    lengths: ClassVar[str]

    def decide(self, view: ClusterView, now_s: float) -> list[Action]:
        """Say what to do at ``now_s``; an action on a job that is done already is ignored."""
        ...


@runtime_checkable
class OraclePolicy(Protocol):
    """A policy that knows true lengths: a bound to compare with, never to be run live."""

    name: ClassVar[str]
    lengths: ClassVar[str]
    oracle: ClassVar[bool]

    def decide(self, view: OracleView, now_s: float) -> list[Action]:
        """Say what to do at ``now_s``."""
        ...


class ArrivalPolicy(ABC):
    """A policy that plans each job once, when it arrives, by the newest forecast.

    It gives `plan_arrivals`, over arrays; `decide` is made of that. So what is
    simulated in one call of a kernel is, to the last bit, what is done live.
    """

    name: ClassVar[str] = ""
    """The published name."""
    oracle: ClassVar[bool] = False
    """It takes true lengths: ``Batch.length_s`` is filled, and `decide` asks for an `OracleView`."""

    lengths: ClassVar[str] = "unused"
    """What it goes by: ``"unused"``, ``"queue mean"`` or ``"true"`` lengths; said beside each saving."""

    @abstractmethod
    def plan_arrivals(self, batch: Batch) -> RunPlans:
        """Plan jobs, each for itself, by its own row of the forecasts.

        Parameters
        ----------
        batch : Batch
            The arrivals.

        Returns
        -------
        RunPlans
            In the order of the batch; none begins before its arrival.
        """

    def decide(self, view: ClusterView | OracleView, now_s: float) -> list[Action]:
        """Plan the jobs that wait.

        Parameters
        ----------
        view : ClusterView or OracleView
            The latter for a policy that is an oracle.
        now_s : float
            The time of the view [s].

        Returns
        -------
        list of Action
            A start with its stretches for each waiting job.

        Raises
        ------
        TypeError
            The view is of the wrong kind, or of another time.
        """
        if isinstance(view, OracleView) is not self.oracle:
            wanted = "an OracleView" if self.oracle else "a ClusterView"
            msg = f"{self.name} decides by {wanted}, not by {type(view).__name__}"
            raise TypeError(msg)
        known = view.known if isinstance(view, OracleView) else view
        if known.now_s != now_s:
            msg = f"a view of second {known.now_s:g} can't serve a decision at second {now_s:g}"
            raise TypeError(msg)
        jobs = known.waiting
        if not len(jobs):
            return []
        batch = Batch(
            jobs=jobs,
            vintages=known.outlook.vintage,
            row=np.zeros(len(jobs), dtype=np.int64),
            length_s=view.length_s if isinstance(view, OracleView) else None,
        )
        plans = self.plan_arrivals(batch)
        made: list[Action] = []
        for index in range(len(jobs)):
            stretches = plans.stretches(index)
            made.append(
                Action(
                    kind=ActionKind.START,
                    job=int(jobs.job[index]),
                    at_s=stretches[0].start_s,
                    stretches=stretches,
                    pool=Pool(int(plans.pool[index])),
                    eager=bool(plans.eager[index]),
                )
            )
        return made
