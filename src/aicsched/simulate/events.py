"""Simulate any policy event by event: caps, failures, and plans that change on the way."""

from __future__ import annotations

from collections import defaultdict
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Final

import numpy as np

from aicsched.place.online.plans import Pool, Stretch
from aicsched.place.online.protocol import ActionKind
from aicsched.place.online.rooms import taken_slots
from aicsched.place.online.view import ClusterView, OracleView
from aicsched.simulate.log import Machine, RunLog
from aicsched.slots import HOUR_S

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aicsched.place.online.protocol import Action, OnlinePolicy, OraclePolicy
    from aicsched.place.online.view import Outlook, Vintages
    from aicsched.simulate.engine import World
    from aicsched.simulate.truth import Truth
    from aicsched.simulate.workload import Workload

__all__ = ["EventEngine"]

INSTANT_S: Final = 1e-6
# What happens at one time happens in this order: machines are given back before they are taken.
END, BACK, DOWN, UP, SLOT, ARRIVE, BEGIN, HALT = range(8)
# Room is foreseen this far ahead [slots].
AHEAD: Final = 24 * 14


class EventEngine:
    """One run of one policy.

    Parameters
    ----------
    policy : OnlinePolicy or OraclePolicy
        Who decides.
    workload : Workload
        The jobs.
    truth : Truth
        Its slots are those of the caps, and of rolling decisions.
    vintages : Vintages
        The forecasts.
    world : World
        Machines and what goes wrong.
    """

    def __init__(
        self,
        policy: OnlinePolicy | OraclePolicy,
        workload: Workload,
        truth: Truth,
        vintages: Vintages,
        world: World,
    ) -> None:
        count = len(workload)
        self.policy, self.workload, self.vintages, self.world = policy, workload, vintages, world
        self.rolling = bool(getattr(policy, "rolling", False))
        self.oracle = bool(getattr(policy, "oracle", False))
        self.step_s, self.slots = truth.step_s, len(truth.g_per_kwh)
        self.arrival = workload.pending.arrival_s.tolist()
        self.vcpus = workload.pending.vcpus.tolist()
        self.left: list[float] = workload.length_s.tolist()
        self.plan: list[tuple[Stretch, ...]] = [()] * count
        self.pool: list[Pool] = [Pool.ANY] * count
        self.at = [0] * count
        self.version = [0] * count
        self.here: set[int] = set()
        self.undone = count
        self.begun = [False] * count
        self.stopped = [-np.inf] * count
        self.ran = [0.0] * count
        self.lost = [0.0] * count
        self.run: dict[int, tuple[float, float, Machine, Stretch]] = {}
        self.eager: set[int] = set()
        self.blocked: set[int] = set()
        self.free, self.used, self.down = float(world.reserved_vcpus), 0.0, 0
        self.preempted = 0
        self.looked: tuple[int, Outlook] = (-1, None)  # type: ignore[assignment]
        self.events: list[tuple[float, int, int, int, float]] = []
        self.queued: dict[int, tuple[int, int]] = {}
        self.logged: list[tuple[int, float, float, float, Machine]] = []
        self.booked = np.zeros(self.slots)
        self.booking: dict[int, np.ndarray[tuple[int], np.dtype[np.float64]]] = {}
        luck = np.random.default_rng(world.seed)
        rate = world.spot_loss_per_h
        self.life = luck.exponential(HOUR_S / rate, size=count) if rate > 0 else np.full(count, np.inf)

    # ------------------------------------------------------------ the loop

    def go(self) -> RunLog:
        """Let time pass until all is done, or the intensity ends.

        Returns
        -------
        RunLog
            Ordered by job and time.
        """
        for job, when in enumerate(self.arrival):
            heappush(self.events, (when, ARRIVE, job, 0, 0))
        for start, stop in self.world.outages:
            heappush(self.events, (start, DOWN, 0, 0, 0))
            heappush(self.events, (stop, UP, 0, 0, 0))
        if self.rolling or isinstance(self.world.cap_vcpus, tuple):
            heappush(self.events, (self.step_s, SLOT, 1, 0, 0))
        while self.events and self.undone:
            self._step()
        return self._log()

    def _step(self) -> None:
        """Take all that happens at one time, then decide, then begin."""
        now = self.events[0][0]
        due: list[int] = []
        ask = False
        while self.events and self.events[0][0] <= now + INSTANT_S:
            now, kind, job, version, more = heappop(self.events)
            if kind in {END, BEGIN, HALT} and self.version[job] != version:
                continue
            if kind == BEGIN:
                self.at[job] = int(more)
                due.append(job)
            else:
                ask = self._happen(kind, job, now, more) or ask
        if ask:
            due += self._ask(now)
        self._start(due, now)

    def _happen(self, kind: int, number: int, now: float, vcpus: float) -> bool:
        """Let the world change; return whether the policy is asked what to do."""
        if kind == END:
            self._end(number, now)
            return self.rolling
        if kind == ARRIVE:
            self.here.add(number)
        elif kind == BACK:
            self.free += vcpus
        elif kind == HALT:
            if number in self.run:
                self._cut(number, now, lossy=False)
            self.blocked.discard(number)
        elif kind == SLOT:
            self._shrink(now)
            if number < self.slots:
                heappush(self.events, ((number + 1) * self.step_s, SLOT, number + 1, 0, 0))
            return self.rolling
        else:
            self.down += 1 if kind == DOWN else -1
            for job in sorted(self.run) if kind == DOWN else ():
                self._cut(job, now, lossy=True)
        return kind in {ARRIVE, DOWN, UP}

    def _shrink(self, now: float) -> None:
        """Suspend what began last, as far as the cap of the new slot asks for it."""
        for job in sorted(self.run, key=lambda each: (self.run[each][0], each), reverse=True):
            if self.used <= self._cap(now) + INSTANT_S:
                break
            self._cut(job, now, lossy=False)

    def _cap(self, now: float) -> float:
        return 0.0 if self.down else self.world.cap_at(int((now + INSTANT_S) / self.step_s))

    # ------------------------------------------------------------ runs

    def _start(self, due: Iterable[int], now: float) -> None:
        """Begin what is due, what was blocked, and what may take a free reserved machine."""
        wanted = set(due)
        for job in sorted(wanted | self.blocked | self.eager):
            if job in self.run or not self.plan[job] or self.left[job] <= INSTANT_S:
                self.blocked.discard(job)
            elif job in wanted or job in self.blocked:
                self._begin(job, now)
            elif self.vcpus[job] <= self.free and self.used + self.vcpus[job] <= self._cap(now) + INSTANT_S:
                self.plan[job], self.at[job] = (Stretch(now),), 0
                self.version[job] += 1
                self._begin(job, now)

    def _begin(self, job: int, now: float) -> None:
        plan = self.plan[job]
        index = self.at[job]
        item = plan[index]
        last = index + 1 == len(plan)
        if not last and now >= item.stop_s - INSTANT_S:
            # It was blocked all through its stretch: the next one's event will come.
            self.blocked.discard(job)
            return
        need = self.vcpus[job] * item.scale
        if not last and self.queued.get(job) != (self.version[job], index + 1):
            self.queued[job] = self.version[job], index + 1
            follows = max(plan[index + 1].start_s, now)
            heappush(self.events, (follows, BEGIN, job, self.version[job], index + 1))
        if self.used + need > self._cap(now) + INSTANT_S:
            self.blocked.add(job)
            return
        self.blocked.discard(job)
        self.eager.discard(job)
        machine = self._machine(job, need)
        load = self.world.load_s if self.begun[job] and now - self.stopped[job] > INSTANT_S else 0.0
        finish = now + load + self.left[job] / item.rate
        end = finish if last else min(finish, item.stop_s)
        if machine is Machine.SPOT:
            end = min(end, now + float(self.life[job]))
        self.begun[job] = True
        self.used += need
        self.run[job] = (now, load, machine, item)
        heappush(self.events, (end, END, job, self.version[job], 0))

    def _machine(self, job: int, need: float) -> Machine:
        if self.pool[job] is Pool.SPOT:
            return Machine.SPOT
        if need <= self.free:
            self.free -= need
            return Machine.RESERVED
        return Machine.ON_DEMAND

    def _stop(self, job: int, now: float) -> tuple[float, float]:
        """End a run; return how long it got on, and at what rate."""
        begun, load, machine, item = self.run.pop(job)
        need = self.vcpus[job] * item.scale
        self.used -= need
        self.stopped[job] = now
        self.ran[job] += now - begun
        self.logged.append((job, begun, now, need, machine))
        if machine is Machine.RESERVED:
            if self.world.hand_over_s > 0:
                heappush(self.events, (now + self.world.hand_over_s, BACK, 0, 0, need))
            else:
                self.free += need
        return max(0.0, now - begun - load), item.rate

    def _end(self, job: int, now: float) -> None:
        """End a run: the job is done, its stretch is over, or its machine is taken away."""
        begun, load, machine, item = self.run[job]
        index, plan = self.at[job], self.plan[job]
        finish = begun + load + self.left[job] / item.rate
        if machine is Machine.SPOT and now < finish - INSTANT_S and now >= begun + self.life[job] - INSTANT_S:
            self.preempted += 1
            self._cut(job, now, lossy=True)
            self.pool[job] = Pool.ANY
            return
        span, rate = self._stop(job, now)
        if now >= finish - INSTANT_S:
            self.left[job] = 0.0
            self.undone -= 1
            self.here.discard(job)
            self.version[job] += 1
            self._unbook(job)
            return
        # The next stretch has its event already. Where it follows at once nothing is saved.
        apart = plan[index + 1].start_s - now > INSTANT_S
        self.left[job] -= max(0.0, span - (self.world.save_s if apart else 0.0)) * rate
        if not apart:
            self.at[job] = index + 1

    def _cut(self, job: int, now: float, *, lossy: bool) -> None:
        """Stop a run against its plan; it goes on as soon as there is room."""
        span, rate = self._stop(job, now)
        if lossy:
            every = self.world.checkpoint_s
            kept = np.floor(span / every) * every if every > 0 else 0.0
            self.lost[job] += (span - kept) * rate
            self.left[job] -= kept * rate
        else:
            self.left[job] -= max(0.0, span - self.world.save_s) * rate
        self.version[job] += 1
        rest = self.plan[job][self.at[job] :]
        self.plan[job], self.at[job] = (rest[0]._replace(start_s=now), *rest[1:]), 0
        self.blocked.add(job)

    # ------------------------------------------------------------ decisions

    def view(self, now: float) -> ClusterView:
        """Return what is known.

        Parameters
        ----------
        now : float
            The time [s].

        Returns
        -------
        ClusterView
            Copies, without a way to the truth.
        """
        groups: dict[str, list[int]] = defaultdict(list)
        for job in sorted(self.here):
            stage = "running" if self.begun[job] else "planned" if self.plan[job] else "waiting"
            groups[stage].append(job)
        jobs, running = self.workload.pending, groups["running"]
        spent = [self.ran[job] + (now - self.run[job][0] if job in self.run else 0.0) for job in running]
        return ClusterView(
            now_s=now,
            outlook=self._outlook(now),
            waiting=jobs.take(groups["waiting"]),
            planned=jobs.take(groups["planned"]),
            running=jobs.take(running),
            done_s=np.array(spent),
            active=np.array([job in self.run for job in running], dtype=np.bool_),
            free_reserved_vcpus=self.free,
            room_vcpus=self._room(now),
            planned_start_s=np.array([self.plan[job][0].start_s for job in groups["planned"]]),
        )

    def _outlook(self, now: float) -> Outlook:
        """Return the newest forecast; one is copied once."""
        row = int(self.vintages.known_at(now)[0])
        if row != self.looked[0]:
            self.looked = row, self.vintages.outlook(now)
        return self.looked[1]

    def _room(self, now: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        if not self.world.capped:
            return np.empty(0)
        first = int((now + INSTANT_S) / self.step_s)
        ahead = range(first, min(first + AHEAD, self.slots))
        room = np.array([self.world.cap_at(slot) for slot in ahead]) - self.booked[ahead.start : ahead.stop]
        # What takes longer than was expected is in the way now.
        room[:1] = np.minimum(room[:1], self._cap(now) - self.used)
        return room

    def _ask(self, now: float) -> list[int]:
        view = self.view(now)
        full: ClusterView | OracleView = view
        if self.oracle:
            waiting, running = view.waiting.job.tolist(), view.running.job.tolist()
            full = OracleView(
                known=view,
                length_s=np.array([self.left[job] for job in waiting]),
                left_s=np.array([self.left[job] for job in running]),
            )
        due: list[int] = []
        for action in self.policy.decide(full, now):  # type: ignore[arg-type]
            if action.job in self.here:
                due += self._apply(action, now)
        return due

    def _apply(self, action: Action, now: float) -> list[int]:
        job = action.job
        at_s = max(action.at_s, now)
        if action.kind is ActionKind.SUSPEND:
            if job in self.run:
                heappush(self.events, (at_s, HALT, job, self.version[job], 0))
            return []
        if action.kind is ActionKind.START and self.begun[job]:
            return []
        if job in self.run:
            span, rate = self._stop(job, now)
            self.left[job] -= span * rate
        self.version[job] += 1
        self.plan[job] = action.stretches or (Stretch(at_s),)
        self.at[job] = 0
        self.pool[job] = action.pool
        (self.eager.add if action.eager else self.eager.discard)(job)
        self.blocked.discard(job)
        self._book(job)
        if self.plan[job][0].start_s <= now + INSTANT_S:
            return [job]
        heappush(self.events, (self.plan[job][0].start_s, BEGIN, job, self.version[job], 0))
        return []

    def _book(self, job: int) -> None:
        if not self.world.capped:
            return
        self._unbook(job)
        known = self.left[job] if self.oracle else float(self.workload.pending.estimate_s[job])
        scale = taken_slots(self.plan[job], known, start_s=0.0, step_s=self.step_s, count=self.slots)
        self.booking[job] = scale * self.vcpus[job]
        self.booked += self.booking[job]

    def _unbook(self, job: int) -> None:
        if job in self.booking:
            self.booked -= self.booking.pop(job)

    # ------------------------------------------------------------ the outcome

    def _log(self) -> RunLog:
        rows = sorted(self.logged)
        job = np.array([row[0] for row in rows], dtype=np.int64)
        start, stop, vcpus = (np.array([row[column] for row in rows]) for column in (1, 2, 3))
        return RunLog(
            job=job,
            start_s=start,
            stop_s=stop,
            vcpus=vcpus,
            machine=np.array([row[4] for row in rows], dtype=np.int8),
            left_s=np.array(self.left),
            lost_s=np.array(self.lost),
            preempted=self.preempted,
        )
