"""What policies see of a simulation: copies, without a way to the truth."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from aicsched.place.online.sites import SitesView, SiteView
from aicsched.place.online.view import ClusterView, OracleView

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from aicsched.place.online.view import Pending
    from aicsched.simulate.sites import Reach
    from aicsched.simulate.state import JobState, SiteState

__all__ = ["site_view", "sites_view", "with_truth"]


def _groups(states: Sequence[JobState], here: Iterable[int]) -> tuple[list[int], list[int], list[int]]:
    """Sort jobs into those that wait, are planned, or have begun."""
    waiting: list[int] = []
    planned: list[int] = []
    running: list[int] = []
    for job in here:
        state = states[job]
        (running if state.begun else planned if state.plan else waiting).append(job)
    return waiting, planned, running


def _spent(states: Sequence[JobState], running: Sequence[int], now: float) -> list[float]:
    return [
        state.ran + (now - state.run.begun if state.run else 0.0)
        for state in (states[job] for job in running)
    ]


def site_view(
    now: float, site: SiteState, jobs: Pending, states: Sequence[JobState], here: Iterable[int]
) -> ClusterView:
    """Return what is known of one site and its jobs.

    Parameters
    ----------
    now : float
        The time [s].
    site : SiteState
        The site.
    jobs : Pending
        All jobs, as their queues know them.
    states : sequence of JobState
        Of all jobs.
    here : iterable of int
        Which of them are at this site and not done, in their order.

    Returns
    -------
    ClusterView
        Copies.
    """
    waiting, planned, running = _groups(states, here)
    return ClusterView(
        now_s=now,
        outlook=site.outlook(now),
        waiting=jobs.take(waiting),
        planned=jobs.take(planned),
        running=jobs.take(running),
        done_s=np.array(_spent(states, running, now)),
        active=np.array([states[job].run is not None for job in running], dtype=np.bool_),
        free_reserved_vcpus=site.free,
        room_vcpus=site.room(now),
        planned_start_s=np.array([states[job].plan[0].start_s for job in planned]),
    )


def with_truth(view: ClusterView, states: Sequence[JobState]) -> OracleView:
    """Return the view of an oracle.

    Parameters
    ----------
    view : ClusterView
        What anybody knows.
    states : sequence of JobState
        Of all jobs.

    Returns
    -------
    OracleView
        With what is left of each job.
    """
    return OracleView(
        known=view,
        length_s=np.array([states[job].left for job in view.waiting.job.tolist()]),
        left_s=np.array([states[job].left for job in view.running.job.tolist()]),
    )


def sites_view(
    now: float,
    sites: Sequence[SiteState],
    jobs: Pending,
    states: Sequence[JobState],
    here: Iterable[int],
    reach: Reach,
) -> SitesView:
    """Return what is known of all sites.

    Parameters
    ----------
    now : float
        The time [s].
    sites : sequence of SiteState
        The sites.
    jobs : Pending
        All jobs, as their queues know them.
    states : sequence of JobState
        Of all jobs.
    here : iterable of int
        Which of them have come and are not done, in their order.
    reach : Reach
        Who may run where.

    Returns
    -------
    SitesView
        Copies.
    """
    waiting, planned, running = _groups(states, here)
    # What a lost job had saved is known, and how long such jobs then still take.
    saved = np.array([states[job].length_s - states[job].left for job in waiting])
    fresh = jobs.take(waiting)
    fresh = replace(fresh, estimate_s=np.where(saved > 0, fresh.remaining_s(saved), fresh.estimate_s))
    return SitesView(
        now_s=now,
        sites=tuple(
            SiteView(
                name=site.site.name,
                outlook=site.outlook(now),
                watts_per_vcpu=site.site.watts_per_vcpu,
                up=not site.down,
                room_vcpus=site.room(now),
            )
            for site in sites
        ),
        waiting=fresh,
        waiting_home=reach.home[waiting],
        waiting_transfer_g=reach.transfer_g[waiting],
        ready_s=np.array([states[job].ready for job in waiting]),
        planned=jobs.take(planned),
        planned_home=reach.home[planned],
        planned_transfer_g=reach.transfer_g[planned],
        planned_ready_s=np.array([states[job].ready for job in planned]),
        planned_site=np.array([states[job].where for job in planned], dtype=np.int64),
        planned_start_s=np.array([states[job].plan[0].start_s for job in planned]),
        running=jobs.take(running),
        running_site=np.array([states[job].where for job in running], dtype=np.int64),
        done_s=np.array(_spent(states, running, now)),
    )
