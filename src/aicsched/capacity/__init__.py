"""How much more fits, until when, and who lives on where when a region is lost."""

from __future__ import annotations

from aicsched.capacity.demand import known_demand
from aicsched.capacity.drill import DrillResult, run_drill
from aicsched.capacity.facts import DrillFacts, Spread
from aicsched.capacity.growth import Growth, daily_quantiles, fit_growth
from aicsched.capacity.headroom import (
    Headroom,
    fleet_headroom,
    region_headroom,
    spare_after_loss,
)
from aicsched.capacity.outlook import Outlook, fleet_outlook

__all__ = [
    "DrillFacts",
    "DrillResult",
    "Growth",
    "Headroom",
    "Outlook",
    "Spread",
    "daily_quantiles",
    "fit_growth",
    "fleet_headroom",
    "fleet_outlook",
    "known_demand",
    "region_headroom",
    "run_drill",
    "spare_after_loss",
]
