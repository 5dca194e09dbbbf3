"""Simulate any policy event by event, at one site or several: caps, failures, plans that change."""

from __future__ import annotations

from copy import deepcopy
from heapq import heappop, heappush
from typing import TYPE_CHECKING

import numpy as np

from aicsched.errors import ConfigError
from aicsched.place.online.plans import Pool, Stretch
from aicsched.place.online.protocol import ActionKind
from aicsched.place.online.rooms import taken_slots
from aicsched.simulate.log import Machine, RunLog
from aicsched.simulate.state import INSTANT_S, JobState, Run, SiteState
from aicsched.simulate.views import site_view, sites_view, with_truth

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aicsched.place.online.protocol import Action, OnlinePolicy, OraclePolicy
    from aicsched.place.online.sites import RoamingPolicy
    from aicsched.simulate.sites import Reach, Sites
    from aicsched.simulate.workload import Workload

__all__ = ["EventEngine"]

# What happens at one time happens in this order: machines are given back before they are taken.
END, BACK, DOWN, UP, SLOT, ARRIVE, BEGIN, HALT = range(8)


class EventEngine:
    """One run of one policy.

    Parameters
    ----------
    policy : OnlinePolicy or OraclePolicy or RoamingPolicy
        Who decides. One that doesn't roam decides for each site alone, on the jobs at home there.
    workload : Workload
        The jobs.
    sites : Sites
        Where they run. Slots are those of the caps, and of rolling decisions.
    reach : Reach
        Which may run where.
    """

    def __init__(
        self,
        policy: OnlinePolicy | OraclePolicy | RoamingPolicy,
        workload: Workload,
        sites: Sites,
        reach: Reach,
    ) -> None:
        count = len(workload)
        self.workload, self.reach, self.setup = workload, reach, sites
        self.roaming = bool(getattr(policy, "roaming", False))
        # A policy may remember what it did: each site has its own.
        alone = self.roaming or len(sites) == 1
        self.policies = [policy] if alone else [deepcopy(policy) for _ in sites.sites]
        self.rolling = bool(getattr(policy, "rolling", False))
        self.oracle = bool(getattr(policy, "oracle", False))
        self.sites = [SiteState(site, count) for site in sites.sites]
        self.step_s = self.sites[0].step_s
        self.slots = max(site.slots for site in self.sites)
        columns = (workload.pending.arrival_s, workload.pending.vcpus, workload.length_s, reach.home)
        rows = zip(*(column.tolist() for column in columns), strict=True)
        self.jobs = [JobState(*row) for row in rows]
        self.here: list[set[int]] = [set() for _ in self.sites]
        self.undone = count
        self.eager: set[int] = set()
        self.blocked: set[int] = set()
        self.preempted = self.requeued = 0
        self.recovered_s: list[float] = []
        self.moved_g: list[tuple[int, int, float]] = []
        self.events: list[tuple[float, int, int, int, float]] = []
        self.logged: list[tuple[int, float, float, float, Machine, int]] = []

    # ------------------------------------------------------------ the loop

    def go(self) -> RunLog:
        """Let time pass until all is done, or the intensity ends.

        Returns
        -------
        RunLog
            Ordered by job and time.
        """
        for job, state in enumerate(self.jobs):
            heappush(self.events, (state.arrival_s, ARRIVE, job, 0, 0))
        for number, site in enumerate(self.sites):
            for start, stop in site.world.outages:
                heappush(self.events, (start, DOWN, number, 0, 0))
                heappush(self.events, (stop, UP, number, 0, 0))
        if self.rolling or any(isinstance(site.world.cap_vcpus, tuple) for site in self.sites):
            heappush(self.events, (self.step_s, SLOT, 1, 0, 0))
        while self.events and self.undone:
            self._step()
        return self._log()

    def _step(self) -> None:
        """Take all that happens at one time, then decide, then begin."""
        now = self.events[0][0]
        due: list[int] = []
        ask: set[int] = set()
        while self.events and self.events[0][0] <= now + INSTANT_S:
            now, kind, job, version, more = heappop(self.events)
            if kind in {END, BEGIN, HALT} and self.jobs[job].version != version:
                continue
            if kind == BEGIN:
                self.jobs[job].at = int(more)
                due.append(job)
            else:
                ask.update(self._happen(kind, job, now, more, version))
        for number in (0,) if ask and self.roaming else sorted(ask):
            due += self._ask(number, now)
        self._start(due, now)

    def _happen(self, kind: int, number: int, now: float, vcpus: float, site: int) -> Iterable[int]:
        """Let the world change; return for which sites it is asked what to do."""
        if kind == END:
            where = self.jobs[number].where
            self._end(number, now)
            return (where,) if self.rolling else ()
        if kind == BACK:
            self.sites[site].free += vcpus
        elif kind == HALT:
            if self.jobs[number].run is not None:
                self._cut(number, now, lossy=False)
            self.blocked.discard(number)
        elif kind == SLOT:
            self._shrink(now)
            if number < self.slots:
                heappush(self.events, ((number + 1) * self.step_s, SLOT, number + 1, 0, 0))
            return range(len(self.sites)) if self.rolling else ()
        elif kind == ARRIVE:
            where = self.jobs[number].where
            self.here[where].add(number)
            return (where,)
        else:
            self.sites[number].down += 1 if kind == DOWN else -1
            if kind == DOWN:
                self._lose(number, now)
            return (number,)
        return ()

    def _lose(self, number: int, now: float) -> None:
        """Take a site away: what runs there stops, and is anybody's again where the policy roams."""
        for job in sorted(self.here[number]):
            state = self.jobs[job]
            if state.run is not None:
                self._cut(job, now, lossy=True)
                state.lost_at = now if state.lost_at is None else state.lost_at
                self.requeued += 1
            if self.roaming and state.plan:
                self._forget(job)
                # Who had not begun there has nothing to be restored.
                state.ready = now + self.setup.restart_s if state.stopped > -np.inf else state.ready
                state.begun = False

    def _forget(self, job: int) -> None:
        state = self.jobs[job]
        state.plan, state.at = (), 0
        state.version += 1
        self.blocked.discard(job)
        self.eager.discard(job)
        self._unbook(job)

    def _shrink(self, now: float) -> None:
        """Suspend what began last, as far as the caps of the new slot ask for it."""
        for site, here in zip(self.sites, self.here, strict=True):
            if site.used <= site.cap(now) + INSTANT_S:
                continue
            runs = [(state.run.begun, job) for job in here if (state := self.jobs[job]).run is not None]
            for _, job in sorted(runs, reverse=True):
                if site.used <= site.cap(now) + INSTANT_S:
                    break
                self._cut(job, now, lossy=False)

    # ------------------------------------------------------------ runs

    def _start(self, due: Iterable[int], now: float) -> None:
        """Begin what is due, what was blocked, and what may take a free reserved machine."""
        wanted = set(due)
        for job in sorted(wanted | self.blocked | self.eager):
            state = self.jobs[job]
            site = self.sites[state.where]
            if state.run is not None or not state.plan or state.left <= INSTANT_S:
                self.blocked.discard(job)
            elif job in wanted or job in self.blocked:
                self._begin(job, now)
            elif state.vcpus <= site.free and site.used + state.vcpus <= site.cap(now) + INSTANT_S:
                state.plan, state.at = (Stretch(now),), 0
                state.version += 1
                self._begin(job, now)

    def _begin(self, job: int, now: float) -> None:
        state = self.jobs[job]
        site, plan = self.sites[state.where], state.plan
        item = plan[state.at]
        last = state.at + 1 == len(plan)
        if not last and now >= item.stop_s - INSTANT_S:
            # It was blocked all through its stretch: the next one's event will come.
            self.blocked.discard(job)
            return
        need = state.vcpus * item.scale
        if not last and state.queued != (state.version, state.at + 1):
            state.queued = state.version, state.at + 1
            follows = max(plan[state.at + 1].start_s, now)
            heappush(self.events, (follows, BEGIN, job, state.version, state.at + 1))
        if site.used + need > site.cap(now) + INSTANT_S:
            self.blocked.add(job)
            return
        self.blocked.discard(job)
        self.eager.discard(job)
        if state.data_at != state.where:
            self._move(job)
        machine = self._machine(state, site, need)
        load = site.world.load_s if now - state.stopped > INSTANT_S and state.stopped > -np.inf else 0.0
        finish = now + load + state.left / item.rate
        end = finish if last else min(finish, item.stop_s)
        if machine is Machine.SPOT:
            end = min(end, now + float(site.life[job]))
        if state.lost_at is not None:
            self.recovered_s.append(now - state.lost_at)
            state.lost_at = None
        state.begun = True
        site.used += need
        state.run = Run(now, load, machine, item)
        heappush(self.events, (end, END, job, state.version, 0))

    def _move(self, job: int) -> None:
        """Bring a job's data to where it is about to run; what it saved comes along, or it begins anew."""
        state = self.jobs[job]
        self.moved_g.append((job, state.where, float(self.reach.transfer_g[job, state.where])))
        if not self.setup.saves_elsewhere:
            state.lost += state.length_s - state.left
            state.left = state.length_s
        state.data_at = state.where

    @staticmethod
    def _machine(state: JobState, site: SiteState, need: float) -> Machine:
        if state.pool is Pool.SPOT:
            return Machine.SPOT
        if need <= site.free:
            site.free -= need
            return Machine.RESERVED
        return Machine.ON_DEMAND

    def _stop(self, job: int, run: Run, now: float) -> float:
        """End a run; return how much it got on [s]."""
        state = self.jobs[job]
        site, need = self.sites[state.where], state.vcpus * run.stretch.scale
        site.used -= need
        state.run, state.stopped = None, now
        state.ran += now - run.begun
        self.logged.append((job, run.begun, now, need, run.machine, state.where))
        if run.machine is Machine.RESERVED:
            if site.world.hand_over_s > 0:
                heappush(self.events, (now + site.world.hand_over_s, BACK, 0, state.where, need))
            else:
                site.free += need
        return max(0.0, now - run.begun - run.load)

    def _end(self, job: int, now: float) -> None:
        """End a run: the job is done, its stretch is over, or its machine is taken away."""
        state = self.jobs[job]
        run, site = state.run, self.sites[state.where]
        if run is None:
            return
        finish = run.begun + run.load + state.left / run.stretch.rate
        taken = now < finish - INSTANT_S and now >= run.begun + site.life[job] - INSTANT_S
        if run.machine is Machine.SPOT and taken:
            self.preempted += 1
            self._cut(job, now, lossy=True)
            state.pool = Pool.ANY
            return
        span = self._stop(job, run, now)
        if now >= finish - INSTANT_S:
            state.left = 0.0
            self.undone -= 1
            self.here[state.where].discard(job)
            state.version += 1
            self._unbook(job)
            return
        # The next stretch has its event already. Where it follows at once nothing is saved.
        apart = state.plan[state.at + 1].start_s - now > INSTANT_S
        state.left -= max(0.0, span - (site.world.save_s if apart else 0.0)) * run.stretch.rate
        if not apart:
            state.at += 1

    def _cut(self, job: int, now: float, *, lossy: bool) -> None:
        """Stop a run against its plan; it goes on as soon as there is room."""
        state = self.jobs[job]
        world, run = self.sites[state.where].world, state.run
        if run is None:
            return
        span, rate = self._stop(job, run, now), run.stretch.rate
        if lossy:
            every = world.checkpoint_s
            kept = float(np.floor(span / every)) * every if every > 0 else 0.0
            state.lost += (span - kept) * rate
            state.left -= kept * rate
        else:
            state.left -= max(0.0, span - world.save_s) * rate
        state.version += 1
        rest = state.plan[state.at :]
        state.plan, state.at = (rest[0]._replace(start_s=now), *rest[1:]), 0
        self.blocked.add(job)

    # ------------------------------------------------------------ decisions

    def _ask(self, number: int, now: float) -> list[int]:
        jobs, states = self.workload.pending, self.jobs
        if self.roaming:
            here = sorted(job for group in self.here for job in group)
            view = sites_view(now, self.sites, jobs, states, here, self.reach)
        else:
            view = site_view(now, self.sites[number], jobs, states, sorted(self.here[number]))
            view = with_truth(view, states) if self.oracle else view
        due: list[int] = []
        for action in self.policies[number].decide(view, now):  # type: ignore[arg-type]
            where = self.jobs[action.job].where
            if action.job in self.here[where]:
                due += self._apply(action, now)
        return due

    def _apply(self, action: Action, now: float) -> list[int]:
        job, state = action.job, self.jobs[action.job]
        where = state.where if action.site < 0 else action.site
        at_s = max(action.at_s, now, state.ready)
        if action.kind is ActionKind.SUSPEND:
            if state.run is not None:
                heappush(self.events, (at_s, HALT, job, state.version, 0))
            return []
        if action.kind is ActionKind.START and state.begun:
            return []
        self._refuse_far(job, where)
        if state.run is not None:
            if where != state.where:
                self._cut(job, now, lossy=False)
            else:
                rate = state.run.stretch.rate
                state.left -= self._stop(job, state.run, now) * rate
        self._unbook(job)
        if where != state.where:
            self.here[state.where].discard(job)
            self.here[where].add(job)
            state.where = where
        state.version += 1
        state.plan, state.at, state.pool = action.stretches or (Stretch(at_s),), 0, action.pool
        (self.eager.add if action.eager else self.eager.discard)(job)
        self.blocked.discard(job)
        self._book(job)
        begins = max(state.plan[0].start_s, state.ready)
        if begins <= now + INSTANT_S:
            return [job]
        heappush(self.events, (begins, BEGIN, job, state.version, 0))
        return []

    def _refuse_far(self, job: int, where: int) -> None:
        if not where < len(self.sites) or not np.isfinite(self.reach.transfer_g[job, where]):
            msg = f"{self.policies[0].name} sent job {job} to site {where}, where it may not run"
            raise ConfigError(msg, hint="mend the policy: finite transfer_g says where", value=where)

    def _book(self, job: int) -> None:
        state = self.jobs[job]
        site = self.sites[state.where]
        if not site.world.capped:
            return
        known = state.left if self.oracle else float(self.workload.pending.estimate_s[job])
        scale = taken_slots(state.plan, known, start_s=0.0, step_s=self.step_s, count=site.slots)
        state.booking = scale * state.vcpus
        site.booked += state.booking

    def _unbook(self, job: int) -> None:
        state = self.jobs[job]
        if state.booking is not None:
            self.sites[state.where].booked -= state.booking
            state.booking = None

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
            left_s=np.array([state.left for state in self.jobs]),
            lost_s=np.array([state.lost for state in self.jobs]),
            preempted=self.preempted,
            site=np.array([row[5] for row in rows], dtype=np.int64),
            moves=tuple(self.moved_g),
            requeued=self.requeued,
            recovered_s=np.array(self.recovered_s),
        )
