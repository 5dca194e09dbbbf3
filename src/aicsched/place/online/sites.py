"""Several sites: what is known of them at one time, and what is planned over them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aicsched.place.online.plans import RunPlans
    from aicsched.place.online.protocol import Action
    from aicsched.place.online.view import Outlook, Pending, Vintages

__all__ = ["RoamingPolicy", "SiteView", "SitesBatch", "SitesPlans", "SitesView"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SiteView:
    """One of several sites, as it is known at one time.

    Parameters
    ----------
    name : str
        Its name.
    outlook : Outlook
        The newest forecast of its intensity.
    watts_per_vcpu : float
        What a busy thread draws there, with cooling [W].
    up : bool
        It can be used now; until when it is lost, nobody knows.
    room_vcpus : ndarray of float64, shape (h,)
        As in `ClusterView`; empty where there is no cap.
    """

    name: str
    outlook: Outlook
    watts_per_vcpu: float
    up: bool
    room_vcpus: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SitesView:
    """What is known of several sites at one time: no true length, and no later forecast.

    Parameters
    ----------
    now_s : float
        The time [s].
    sites : tuple of SiteView
        The sites; other columns have their numbers.
    waiting : Pending
        Jobs without a plan: new ones, and those whose site was lost.
    waiting_home : ndarray of int64, shape (len(waiting),)
        Where each is at home.
    waiting_transfer_g : ndarray of float64, shape (len(waiting), k)
        What moving each to a site emits; infinite where it may not run [g].
    ready_s : ndarray of float64, shape (len(waiting),)
        Before this none can begin: one that was lost must be restored first [s].
    planned : Pending
        Jobs that have a plan and have not begun.
    planned_home, planned_transfer_g, planned_ready_s : ndarray
        The same of these.
    planned_site : ndarray of int64, shape (len(planned),)
        Where each is to run.
    planned_start_s : ndarray of float64, shape (len(planned),)
        From when on [s].
    running : Pending
        Jobs that have begun and are not done.
    running_site : ndarray of int64, shape (len(running),)
        Where each runs.
    done_s : ndarray of float64, shape (len(running),)
        How long each has run [s].
    """

    now_s: float
    sites: tuple[SiteView, ...]
    waiting: Pending
    waiting_home: NDArray[np.int64]
    waiting_transfer_g: NDArray[np.float64]
    ready_s: NDArray[np.float64]
    planned: Pending
    planned_home: NDArray[np.int64]
    planned_transfer_g: NDArray[np.float64]
    planned_ready_s: NDArray[np.float64]
    planned_site: NDArray[np.int64]
    planned_start_s: NDArray[np.float64]
    running: Pending
    running_site: NDArray[np.int64]
    done_s: NDArray[np.float64]

    @property
    def capped(self) -> bool:
        """Some site has a hard cap."""
        return any(len(site.room_vcpus) for site in self.sites)

    def batch(self) -> SitesBatch:
        """Return the jobs that wait, with what is known now of all sites; lost ones are out of reach.

        Returns
        -------
        SitesBatch
            In the order of `waiting`.
        """
        down = np.array([not site.up for site in self.sites])
        return SitesBatch(
            jobs=self.waiting,
            home=self.waiting_home,
            transfer_g=np.where(down, np.inf, self.waiting_transfer_g),
            ready_s=np.maximum(self.ready_s, self.now_s),
            vintages=tuple(site.outlook.vintage for site in self.sites),
            row=np.zeros((len(self.waiting), len(self.sites)), dtype=np.int64),
            watts_per_vcpu=np.array([site.watts_per_vcpu for site in self.sites]),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SitesBatch:
    """Many jobs at once, each with what was known of every site when it came.

    Parameters
    ----------
    jobs : Pending
        The jobs.
    home : ndarray of int64, shape (n,)
        Where each is at home.
    transfer_g : ndarray of float64, shape (n, k)
        What moving each emits; infinite where it may not run [g].
    ready_s : ndarray of float64, shape (n,)
        Before this none can begin [s].
    vintages : tuple of Vintages
        The forecasts of each site, of slots of one length.
    row : ndarray of int64, shape (n, k)
        Which of them was the newest.
    watts_per_vcpu : ndarray of float64, shape (k,)
        What a busy thread draws, with cooling [W].
    """

    jobs: Pending
    home: NDArray[np.int64]
    transfer_g: NDArray[np.float64]
    ready_s: NDArray[np.float64]
    vintages: tuple[Vintages, ...]
    row: NDArray[np.int64]
    watts_per_vcpu: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SitesPlans:
    """Where and when jobs are to run.

    Parameters
    ----------
    site : ndarray of int64, shape (n,)
        Where; -1 where no site is within reach.
    plans : RunPlans
        When.
    """

    site: NDArray[np.int64]
    plans: RunPlans


@runtime_checkable
class RoamingPolicy(Protocol):
    """A policy that chooses sites, too. It is asked as an `OnlinePolicy` is, once for all sites."""

    name: ClassVar[str]
    lengths: ClassVar[str]
    roaming: ClassVar[bool]

    def decide(self, view: SitesView, now_s: float) -> list[Action]:
        """Say what to do at ``now_s``; each start names its site."""
        ...
