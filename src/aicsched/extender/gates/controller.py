"""Releases what waits when it is due, and writes plans onto it; one pass at a time.

All that a successor must know stands on the objects. What is held here in memory is their last
known state, plans that are not written yet, and when to try again what failed.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Protocol

from aicsched.account.entry import encode
from aicsched.errors import AicschedError, SignalInvalid, SourceUnavailable
from aicsched.extender import names
from aicsched.extender.gates.patches import release_steps, told_steps
from aicsched.extender.gates.rules import Due, Why, crowded, due_of, lateness_s
from aicsched.extender.gates.sentences import DEFERRED, RELEASED, released_sentence
from aicsched.extender.gates.waiting import Waiting, read_waiting
from aicsched.fleet.kubernetes.act import Changed
from aicsched.observe import get_logger
from aicsched.slots import format_time

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from aicsched.config.gates import GatesSettings
    from aicsched.extender.gates.metrics import GatesMetrics
    from aicsched.extender.gates.planner import Plan
    from aicsched.signals.clock import Clock

__all__ = ["Acts", "Controller"]

_log = get_logger("gates")
_WORKERS: Final = 8
_TRIES: Final = 3
# A pass takes no more than this, so that a long queue doesn't hide who became urgent.
_MOST_A_PASS: Final = 500
_IDLE_S: Final = 1.0
_BUSY_S: Final = 0.1
_FIRST_WAIT_S: Final = 0.5
_LONGEST_WAIT_S: Final = 15.0
# One that is lost is asked again so often: what waits shall not wait longer than it is lost.
_LOST_S: Final = 0.5


class Acts(Protocol):
    """What releases need of `aicsched.fleet.kubernetes.act.ClusterActs`."""

    def read(self, kind: str, namespace: str, name: str) -> dict[str, Any] | None:
        """Read one object."""
        ...

    def patch(
        self, kind: str, namespace: str, name: str, steps: Sequence[Mapping[str, Any]]
    ) -> dict[str, Any] | None:
        """Change one object."""
        ...


def _pass_over(*_told: object) -> None:
    """Nobody is told."""


@dataclass(slots=True)
class _Held:
    """One that waits, and what is known beside it."""

    work: Waiting
    plan: Plan | None = None
    told: bool = False
    tries: int = 0
    next_s: float = field(default=-float("inf"))

    @property
    def planned_s(self) -> float | None:
        return self.work.planned_s if self.plan is None else self.plan.start_s


class Controller:
    """Follows what waits, and releases it.

    Parameters
    ----------
    acts : Acts
        Writes to the cluster.
    settings : GatesSettings
        Rates, margins and waits.
    clock : Clock
        Ours, for waits.
    now_s : callable
        The later of our time and the API server's, seconds since the epoch.
    leads : callable
        Whether this process may write now.
    metrics : GatesMetrics
        Counts releases.
    say : callable
        Told work, a reason of an event and its note; must not wait.
    book : callable
        Told objects that were released; must not wait.
    """

    def __init__(  # noqa: PLR0913 - one keyword per seam
        self,
        acts: Acts,
        *,
        settings: GatesSettings,
        clock: Clock,
        now_s: Callable[[], float],
        leads: Callable[[], bool],
        metrics: GatesMetrics,
        say: Callable[[Waiting, str, str], None] = _pass_over,
        book: Callable[[str, Mapping[str, Any]], None] = _pass_over,
    ) -> None:
        self._acts = acts
        self._settings = settings
        self._clock = clock
        self._now_s = now_s
        self._leads = leads
        self._metrics = metrics
        self._say = say
        self._book = book
        self._lock = threading.Lock()
        self._held: dict[str, _Held] = {}
        self._since_s: float | None = None
        self._tokens = settings.releases_per_s
        self._filled_s = clock.monotonic_s()
        self._lost_until_s = -float("inf")
        self._pool = ThreadPoolExecutor(_WORKERS, thread_name_prefix="release")
        self.wake = threading.Event()
        self.fresh = threading.Event()
        self.stepped_s = clock.monotonic_s()

    # ------------------------------------------------------------ what is heard and planned

    def heard(self, kind: str, event: str, item: Mapping[str, Any]) -> None:
        """Take in what the API server sent.

        Parameters
        ----------
        kind : str
            ``"pods"`` or ``"jobs"``; others are passed over.
        event : str
            ``"ADDED"``, ``"MODIFIED"`` or ``"DELETED"``.
        item : mapping
            The object.
        """
        if kind not in {"pods", "jobs"}:
            return
        uid = str((item.get("metadata") or {}).get("uid"))
        work = read_waiting(kind, item, self._settings)
        if work is None:
            self._book(kind, item)
        with self._lock:
            if work is None or event == "DELETED":
                self._held.pop(uid, None)
                return
            held = self._held.get(uid)
            if held is None:
                held = self._held[uid] = _Held(work)
            held.work = work
            unplanned = held.planned_s is None
        if unplanned:
            self.fresh.set()
        self.wake.set()

    def waiting(self, *, unplanned: bool = False) -> list[Waiting]:
        """Return what can be planned.

        Parameters
        ----------
        unplanned : bool
            Only what has no start yet.

        Returns
        -------
        list of Waiting
            Without what is released at once in any case.
        """
        with self._lock:
            return [
                held.work
                for held in self._held.values()
                if not (held.work.terms.faults or held.work.released)
                and not (unplanned and held.planned_s is not None)
            ]

    def standing(self) -> dict[str, float]:
        """Return the starts that stand.

        Returns
        -------
        dict of str to float
            By uid, seconds since the epoch.
        """
        with self._lock:
            return {uid: held.planned_s for uid, held in self._held.items() if held.planned_s is not None}

    def plans(self, *, but: Collection[str] = ()) -> list[Plan]:
        """Return the plans that are known here.

        Parameters
        ----------
        but : collection of str
            Uids of what to leave out.

        Returns
        -------
        list of Plan
            One for each piece of work that was planned by this process.
        """
        with self._lock:
            found = [held.plan for uid, held in self._held.items() if uid not in but]
        return [plan for plan in found if plan is not None]

    def adopt(self, plans: Mapping[str, Plan]) -> int:
        """Let work start by plans; they are written onto it with the next passes.

        Parameters
        ----------
        plans : mapping of str to Plan
            By uid; of what doesn't wait any more they are passed over.

        Returns
        -------
        int
            How many starts changed.
        """
        moved = 0
        with self._lock:
            for uid, plan in plans.items():
                held = self._held.get(uid)
                if held is not None:
                    moved += held.planned_s is not None
                    held.plan, held.told = plan, False
        self.wake.set()
        return moved

    # ------------------------------------------------------------ a pass

    def step(self) -> float:
        """Do what is due.

        Returns
        -------
        float
            After how many seconds the next pass is to come; sooner when `wake` is set.
        """
        self.stepped_s = self._clock.monotonic_s()
        now_s = self._now_s()
        with self._lock:
            held = list(self._held.values())
        self._metrics.held(held_of_kind(held), sum(saving_g(each) for each in held))
        if not self._leads():
            self._since_s = None
            return _IDLE_S
        if self._since_s is None:
            self._since_s = now_s
        if self.stepped_s < self._lost_until_s:
            return self._lost_until_s - self.stepped_s
        due, next_s = self._due(held, now_s)
        batch = self._take(due, now_s)
        if batch:
            list(self._pool.map(self._release, batch))
        room = max(0, int(self._tokens))
        told = [each for each in held if self._to_tell(each, now_s)]
        if told and room:
            list(self._pool.map(self._tell, told[:room]))
            self._tokens -= min(room, len(told))
        busy = len(batch) < len(due) or len(told) > room
        return _BUSY_S if busy else max(_BUSY_S / 2, min(_IDLE_S, next_s - now_s))

    def _due(self, held: list[_Held], now_s: float) -> tuple[list[tuple[_Held, Why]], float]:
        """Return who is due by earliest latest start, and when the next one will be."""
        since_s = now_s if self._since_s is None else self._since_s
        early = crowded([each.work for each in held], now_s=now_s, settings=self._settings)
        made: list[tuple[_Held, Why]] = []
        next_s = float("inf")
        for each, crowd in zip(held, early.tolist(), strict=True):
            due = self._due_of(each, since_s)
            if due.at_s <= now_s:
                made.append((each, due.why))
            elif crowd:
                made.append((each, Why.CROWD))
            else:
                next_s = min(next_s, due.at_s)
        mono_s = self._clock.monotonic_s()
        ready = [(each, why) for each, why in made if each.next_s <= mono_s]
        ready.sort(key=lambda pair: pair[0].work.terms.latest_s)
        return ready, next_s

    def _due_of(self, held: _Held, since_s: float) -> Due:
        if held.plan is not None and held.plan.why is Why.NO_SAVING and not held.work.terms.faults:
            return Due(held.work.created_s, Why.NO_SAVING)
        known_s = max(held.work.created_s, since_s)
        return due_of(held.work, held.planned_s, known_s=known_s, settings=self._settings)

    def _take(self, due: list[tuple[_Held, Why]], now_s: float) -> list[tuple[_Held, Why]]:
        """Keep to the rate, except for those whose latest start is about to come."""
        mono_s = self._clock.monotonic_s()
        rate = self._settings.releases_per_s
        self._tokens = min(max(rate, 1.0), self._tokens + (mono_s - self._filled_s) * rate)
        self._filled_s = mono_s
        taken: list[tuple[_Held, Why]] = []
        for each, why in due[:_MOST_A_PASS]:
            urgent = each.work.terms.latest_s - self._settings.margin_s <= now_s
            if urgent or self._tokens >= 1.0:
                self._tokens = max(0.0, self._tokens - 1.0)
                taken.append((each, why))
        return taken

    # ------------------------------------------------------------ writing

    def _release(self, pair: tuple[_Held, Why]) -> None:
        held, why = pair
        if self._clock.monotonic_s() < self._lost_until_s:
            return
        try:
            for _ in range(_TRIES):
                if not self._leads() or self._released(held, why):
                    return
        except AicschedError as error:
            self._failed(held, error)
        else:
            self._failed(held, None)

    def _released(self, held: _Held, why: Why) -> bool:
        """Try once; say whether the work waits no longer."""
        work, at_s = held.work, self._now_s()
        sentence = released_sentence(work, held.plan, why, at_s)
        values = {names.REASON: sentence}
        if held.plan is not None and not held.told:
            values |= _decided(held.plan)
        steps = release_steps(work, values, at_s=at_s)
        try:
            item = self._acts.patch(work.kind, work.namespace, work.name, steps)
        except Changed:
            return self._refresh(held)
        with self._lock:
            self._held.pop(work.uid, None)
        if item is None:
            return True
        self._metrics.released(why, lateness_s(work, self._now_s()))
        self._say(work, RELEASED, sentence)
        self._book(work.kind, item)
        return True

    def _refresh(self, held: _Held) -> bool:
        """Read work again that somebody changed; say whether it waits no longer."""
        work = held.work
        item = self._acts.read(work.kind, work.namespace, work.name)
        fresh = None if item is None else read_waiting(work.kind, item, self._settings)
        if item is not None and fresh is not None and fresh.uid == work.uid:
            if fresh.version == work.version and fresh.marks_template:
                # What was refused is the mark on its template: its pods are told by their owner then.
                fresh = _unmarked(fresh)
            held.work = fresh
            return False
        with self._lock:
            self._held.pop(work.uid, None)
        return True

    def _to_tell(self, held: _Held, now_s: float) -> bool:
        plan = held.plan
        if plan is None or held.told or plan.why is not Why.PLANNED or plan.start_s <= now_s:
            return False
        return held.next_s <= self._clock.monotonic_s()

    def _tell(self, held: _Held) -> None:
        """Write a plan onto work that waits."""
        plan, work = held.plan, held.work
        if plan is None or not self._leads() or self._clock.monotonic_s() < self._lost_until_s:
            return
        try:
            values = {names.REASON: plan.reason, **_decided(plan)}
            item = self._acts.patch(work.kind, work.namespace, work.name, told_steps(work, values))
        except Changed:
            try:
                self._refresh(held)
            except AicschedError as error:
                self._failed(held, error)
            return
        except AicschedError as error:
            self._failed(held, error)
            return
        held.told = True
        if item is not None and work.planned_s is None:
            self._say(work, DEFERRED, plan.reason)

    def _failed(self, held: _Held, error: AicschedError | None) -> None:
        held.tries += 1
        mono_s = self._clock.monotonic_s()
        if isinstance(error, SourceUnavailable | SignalInvalid):
            # All would fail alike: none of them is put off for it, the next pass finds out.
            if mono_s >= self._lost_until_s:
                _log.warning("%s", error)
                self._metrics.failed("api")
            self._lost_until_s = mono_s + _LOST_S
            return
        wait_s = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2 ** min(held.tries - 1, 10))
        held.next_s = mono_s + wait_s
        self._metrics.failed("refused")
        if held.tries == 1 or wait_s >= _LONGEST_WAIT_S:
            said = error or "it changed each time it was about to be released"
            _log.warning("%s %s: %s", held.work.kind, held.work.subject, said)

    def close(self) -> None:
        """End the threads that write."""
        self._pool.shutdown(wait=True)


def held_of_kind(held: Sequence[_Held]) -> dict[str, int]:
    """Count what waits.

    Parameters
    ----------
    held : sequence
        All that waits.

    Returns
    -------
    dict of str to int
        Of pods and of jobs.
    """
    jobs = sum(each.work.kind == "jobs" for each in held)
    return {"pods": len(held) - jobs, "jobs": jobs}


def saving_g(held: _Held) -> float:
    """Return what waiting is expected to save.

    Parameters
    ----------
    held : _Held
        One that waits.

    Returns
    -------
    float
        Grams; 0 for what was planned by another process.
    """
    return 0.0 if held.plan is None else held.plan.saving_g


def _decided(plan: Plan) -> dict[str, str]:
    values = {names.PLANNED_START: format_time(plan.start_s)} if plan.why is Why.PLANNED else {}
    return values if plan.decision is None else values | {names.DECISION: encode(plan.decision)}


def _unmarked(work: Waiting) -> Waiting:
    return replace(work, marks_template=False)
