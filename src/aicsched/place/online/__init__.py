"""Policies that decide as time goes on: the same objects in the simulator and behind a live system.

A policy sees a `ClusterView`: what was known at some time, and no more. Which jobs
wait and how long their queue's jobs take, never how long these will; the forecast
that had been issued, never what came true. A policy that needs a job's true length
says so by taking an `OracleView`, which is another type. `make_online` gives a
policy by its published name.
"""

from __future__ import annotations

from aicsched.place.online.plans import Pool, RunPlans, Stretch
from aicsched.place.online.protocol import Action, ActionKind, ArrivalPolicy, OnlinePolicy, OraclePolicy
from aicsched.place.online.registry import ONLINE, ROAMING, make_online
from aicsched.place.online.sites import RoamingPolicy, SitesBatch, SitesPlans, SitesView, SiteView
from aicsched.place.online.view import Batch, ClusterView, OracleView, Outlook, Pending, Vintages

__all__ = [
    "ONLINE",
    "ROAMING",
    "Action",
    "ActionKind",
    "ArrivalPolicy",
    "Batch",
    "ClusterView",
    "OnlinePolicy",
    "OraclePolicy",
    "OracleView",
    "Outlook",
    "Pending",
    "Pool",
    "RoamingPolicy",
    "RunPlans",
    "SiteView",
    "SitesBatch",
    "SitesPlans",
    "SitesView",
    "Stretch",
    "Vintages",
    "make_online",
]
