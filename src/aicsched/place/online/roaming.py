"""Policies that choose site and time at once: by price, and anew at every slot."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np

from aicsched.place.kernels.waiting import CHEAPEST_START
from aicsched.place.online.plans import RunPlans, Stretch
from aicsched.place.online.pricing import Price
from aicsched.place.online.protocol import Action, ActionKind
from aicsched.place.online.rooms import around, taken_slots
from aicsched.place.online.sites import SitesBatch, SitesPlans, SitesView
from aicsched.place.online.view import Batch, Pending
from aicsched.slots import HOUR_S
from aicsched.units import WATTS_PER_KILOWATT

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["RoamingMpc", "RoamingPrice"]

INSTANT_S: Final = 1e-6
# Another site must be better than home by more than rounding.
SAME: Final = 1e-9


class RoamingPrice:
    """Start each job where and when its grams, those of moving it, and a price of waiting are least.

    Parameters
    ----------
    price : Price, optional
        Of waiting: by default a sixteenth of what a thread emits in an hour at home, at the mean
        intensity foreseen for the day ahead. It is one price at all sites.
    """

    name: ClassVar[str] = "price"
    lengths: ClassVar[str] = "queue mean"
    roaming: ClassVar[bool] = True

    def __init__(self, price: Price | None = None) -> None:
        self.price = price or Price()

    def plan_sites(self, batch: SitesBatch) -> SitesPlans:
        """Choose site and start of each job, as if it were alone.

        Parameters
        ----------
        batch : SitesBatch
            The jobs.

        Returns
        -------
        SitesPlans
            One open stretch a job; home where no site is better.
        """
        jobs, count = batch.jobs, len(batch.watts_per_vcpu)
        price_g_per_h = self._price_g_per_h(batch)
        cost_g = np.full((len(jobs), count), np.inf)
        start_s = np.tile(batch.ready_s[:, None], (1, count))
        for site in range(count):
            rows = np.flatnonzero(np.isfinite(batch.transfer_g[:, site]))
            if len(rows):
                best = self._best(batch, site, rows, price_g_per_h[rows])
                start_s[rows, site], cost_g[rows, site] = best
        every = np.arange(len(jobs))
        at_home_g = cost_g[every, batch.home]
        site = np.argmin(cost_g, axis=1).astype(np.int64)
        stays = cost_g[every, site] >= at_home_g * (1 - SAME)
        site = np.where(stays & np.isfinite(at_home_g), batch.home, site)
        start = start_s[every, site]
        return SitesPlans(
            site=np.where(np.isfinite(cost_g[every, site]), site, -1), plans=RunPlans.starting_at(start)
        )

    def _best(
        self, batch: SitesBatch, site: int, rows: NDArray[np.int64], price_g_per_h: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the best start at one site [s], and its grams with the price of waiting."""
        jobs, known, ready = batch.jobs, batch.vintages[site], batch.ready_s[rows]
        step, row = known.step_s, batch.row[rows, site]
        power_kw = jobs.vcpus[rows] * max(float(batch.watts_per_vcpu[site]), SAME) / WATTS_PER_KILOWATT
        length, wait = jobs.estimate_s[rows], jobs.max_wait_s[rows]
        left = np.maximum(jobs.arrival_s[rows] + wait - ready, 0.0)
        start = step * CHEAPEST_START(
            known.sums, known.start_s / step, row, ready / step, length / step, left / step,
            price_g_per_h / power_kw, float(self.price.every_s / step), False,  # noqa: FBT003 - positional
        )  # fmt: skip
        start = np.maximum(start, ready)
        waited_h = (start - jobs.arrival_s[rows]) / HOUR_S
        grams = power_kw * known.between(row, start, start + length) + batch.transfer_g[rows, site]
        return start, grams + price_g_per_h * waited_h

    def _price_g_per_h(self, batch: SitesBatch) -> NDArray[np.float64]:
        made = np.zeros(len(batch.jobs))
        for site in np.unique(batch.home).tolist():
            rows = np.flatnonzero(batch.home == site)
            here = Batch(
                jobs=replace(batch.jobs.take(rows), arrival_s=batch.ready_s[rows]),
                vintages=batch.vintages[site],
                row=batch.row[rows, site],
            )
            watts = float(batch.watts_per_vcpu[site])
            made[rows] = self.price.of(here) * here.jobs.vcpus * watts / WATTS_PER_KILOWATT
        return made

    def decide(self, view: SitesView, now_s: float) -> list[Action]:
        """Plan the jobs that wait; under caps one after the other, around what is full.

        Parameters
        ----------
        view : SitesView
            What is known.
        now_s : float
            The time of the view [s].

        Returns
        -------
        list of Action
            A start for each job that has a site within reach.
        """
        jobs = view.waiting
        if not len(jobs):
            return []
        batch = view.batch()
        if not view.capped:
            made = self.plan_sites(batch)
            return _starts(jobs, made.site, made.plans.start_s)
        rooms = [site.room_vcpus.copy() for site in view.sites]
        sites, starts = np.full(len(jobs), -1, dtype=np.int64), np.zeros(len(jobs))
        for row in range(len(jobs)):
            need = float(jobs.vcpus[row])
            known = tuple(
                around(site.outlook, now_s, room, need) for site, room in zip(view.sites, rooms, strict=True)
            )
            one = slice(row, row + 1)
            alone = SitesBatch(
                jobs=jobs.take([row]), home=batch.home[one], transfer_g=batch.transfer_g[one],
                ready_s=batch.ready_s[one], vintages=known, row=batch.row[one],
                watts_per_vcpu=batch.watts_per_vcpu,
            )  # fmt: skip
            made = self.plan_sites(alone)
            sites[row], starts[row] = made.site[0], made.plans.start_s[0]
            if sites[row] >= 0 and len(rooms[sites[row]]):
                room, step_s = rooms[sites[row]], known[sites[row]].step_s
                plan, work_s = made.plans.stretches(0), float(jobs.estimate_s[row])
                first_s = float(known[sites[row]].start_s[0])
                room -= need * taken_slots(plan, work_s, start_s=first_s, step_s=step_s, count=len(room))
        return _starts(jobs, sites, starts)


def _starts(jobs: Pending, site: NDArray[np.int64], start_s: NDArray[np.float64]) -> list[Action]:
    rows = zip(jobs.job.tolist(), site.tolist(), start_s.tolist(), strict=True)
    return [
        Action(kind=ActionKind.START, job=job, at_s=at_s, stretches=(Stretch(at_s),), site=where)
        for job, where, at_s in rows
        if where >= 0
    ]


class RoamingMpc:
    """Plan all jobs that have not begun anew, at every slot and with every forecast, over all sites.

    Parameters
    ----------
    inner : RoamingPrice, optional
        How each is planned, as if it came now with what is left of its wait.
    """

    name: ClassVar[str] = "mpc"
    lengths: ClassVar[str] = "queue mean"
    roaming: ClassVar[bool] = True
    rolling: ClassVar[bool] = True

    def __init__(self, inner: RoamingPrice | None = None) -> None:
        self.inner = inner or RoamingPrice()
        self._planned_at: tuple[float, ...] = ()

    def decide(self, view: SitesView, now_s: float) -> list[Action]:
        """Plan what waits and, once a slot or a forecast, what is planned.

        Parameters
        ----------
        view : SitesView
            What is known.
        now_s : float
            The time of the view [s].

        Returns
        -------
        list of Action
            A start for each job that waits, and for each that is better begun elsewhere or at another time.
        """
        look = view.sites[0].outlook
        slot = (now_s - look.start_s + INSTANT_S) // look.step_s
        moment = (slot, *(site.outlook.issue_s for site in view.sites), *(site.up for site in view.sites))
        before: dict[int, tuple[int, float]] = {}
        if moment != self._planned_at and len(view.planned):
            rows = zip(view.planned_site.tolist(), view.planned_start_s.tolist(), strict=True)
            before = dict(zip(view.planned.job.tolist(), rows, strict=True))
            view = _all_waiting(view)
        self._planned_at = moment
        waits_s = np.maximum(view.waiting.arrival_s + view.waiting.max_wait_s - now_s, 0.0)
        fresh = replace(view.waiting, arrival_s=np.full(len(waits_s), now_s), max_wait_s=waits_s)
        return [
            action
            for action in self.inner.decide(replace(view, waiting=fresh), now_s)
            if not _same(before.get(action.job), action)
        ]


def _same(planned: tuple[int, float] | None, action: Action) -> bool:
    return planned is not None and planned[0] == action.site and abs(planned[1] - action.at_s) <= INSTANT_S


def _all_waiting(view: SitesView) -> SitesView:
    """Return the view with planned jobs among those that wait, and their room given back."""
    sites = list(view.sites)
    for index, site in enumerate(sites):
        if len(site.room_vcpus):
            room, look = site.room_vcpus.copy(), site.outlook
            since_s = look.start_s + (view.now_s - look.start_s + INSTANT_S) // look.step_s * look.step_s
            for row in np.flatnonzero(view.planned_site == index).tolist():
                plan, work_s = (Stretch(float(view.planned_start_s[row])),), view.planned.estimate_s[row]
                taken = taken_slots(plan, work_s, start_s=since_s, step_s=look.step_s, count=len(room))
                room += taken * view.planned.vcpus[row]
            sites[index] = replace(site, room_vcpus=room)
    return replace(
        view,
        sites=tuple(sites),
        waiting=Pending.joined(view.planned, view.waiting),
        waiting_home=np.concatenate([view.planned_home, view.waiting_home]),
        waiting_transfer_g=np.concatenate([view.planned_transfer_g, view.waiting_transfer_g]),
        ready_s=np.concatenate([view.planned_ready_s, view.ready_s]),
    )
