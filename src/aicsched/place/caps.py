"""What each capacity limit costs in grams, by the prices that prove the plan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from aicsched.domain.placement import Placement
    from aicsched.place.problem import Problem

__all__ = ["Cap", "cap_costs"]

_SHOWN: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Cap:
    """What one region's limit of vCPUs costs over a plan.

    Parameters
    ----------
    region : str
        The region.
    worth_g : float
        Price × capacity, summed over the slots [g]: what its full slots are worth to the plan.
    g_per_more_vcpu : float
        Prices summed over the horizon [g per vCPU]. One more vCPU there throughout lowers the bound
        that the prices prove by at most this much.
    binding_slots : int
        Slots with a price.
    fullest_slots : tuple of int
        Up to three of them, the dearest first.
    """

    region: str
    worth_g: float
    g_per_more_vcpu: float
    binding_slots: int
    fullest_slots: tuple[int, ...]


def cap_costs(problem: Problem, placement: Placement) -> tuple[Cap, ...]:
    """Return what the limits of vCPUs cost, region by region.

    The prices of a plan are multipliers of its limits, so they tell what a little more of each would
    be worth (Everett 1963, doi:10.1287/opre.11.3.399). They speak of the relaxation, in which jobs
    can be split: whole jobs may gain more at once, or nothing.

    Parameters
    ----------
    problem : Problem
        The problem.
    placement : Placement
        A plan for it; one without prices has no limit that costs.

    Returns
    -------
    tuple of Cap
        One a region, the dearest vCPU first. Limits of memory and GPUs are not counted.
    """
    made: list[Cap] = []
    for region, name in enumerate(problem.regions):
        prices_g = np.array(placement.prices_g_per_vcpu_h.get(name, ()), np.float64) * problem.slots.step_h
        binding = np.flatnonzero(prices_g > 0)
        room = problem.capacity_vcpus[region]
        dearest = sorted(binding.tolist(), key=lambda slot: (-float(prices_g[slot]), slot))
        made.append(
            Cap(
                region=name,
                worth_g=float((prices_g[binding] * room[binding]).sum()),
                g_per_more_vcpu=float(prices_g.sum()),
                binding_slots=len(binding),
                fullest_slots=tuple(dearest[:_SHOWN]),
            )
        )
    return tuple(sorted(made, key=lambda cap: (-cap.g_per_more_vcpu, cap.region)))
