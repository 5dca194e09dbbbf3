"""The validator's second half: measures beside expected grams, worked out again from the definitions.

Plain Python on what the user gave; no code in common with the solvers.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from aicsched.errors import PlanRefused

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aicsched.domain.fleet import Fleet
    from aicsched.domain.job import Job
    from aicsched.domain.placement import Placement, Proof

__all__ = ["check_cvar", "check_totals"]

_RELATIVE: Final = 1e-9


def _scenario_g(
    jobs: Mapping[str, Job], fleet: Fleet, placement: Placement, g_per_kwh: Mapping[str, Sequence[float]]
) -> float:
    regions = {region.name: region for region in fleet.regions}
    terms: list[float] = []
    for row in placement.assignments:
        job, region = jobs[row.job_id], regions[row.region]
        kwh = job.vcpus * region.power_w_per_vcpu * region.pue / 1000.0 * job.duration_s / 3600.0
        curve = g_per_kwh[region.grid_zone]
        terms += [kwh / len(row.slot_indices) * float(curve[index]) for index in row.slot_indices]
        behind = [index for index in row.slot_indices[1:] if index - 1 not in row.slot_indices]
        terms += [kwh / job.duration_s * job.resume_s * float(curve[index]) for index in behind]
        if row.region != job.home_region:
            terms.append(job.data_gb * region.transfer_g_per_gb)
    return math.fsum(terms)


def check_cvar(
    jobs: Sequence[Job],
    fleet: Fleet,
    placement: Placement,
    proof: Proof,
    scenarios: Sequence[Mapping[str, Sequence[float]]],
    *,
    alpha: float,
    weights: Sequence[float] | None = None,
) -> float:
    """Work out a plan's conditional value at risk again.

    Parameters
    ----------
    jobs : sequence of Job
        The queue.
    fleet : Fleet
        Regions.
    placement : Placement
        A plan that `aicsched.place.check.check` has passed.
    proof : Proof
        What it says of itself.
    scenarios : sequence of mapping of str to sequence of float
        In each scenario, per grid zone, the intensity of every slot of the plan [g/kWh].
    alpha : float
        The best share of scenarios that does not count.
    weights : sequence of float, optional
        Probability of each scenario.

    Returns
    -------
    float
        Least ``t + E[(grams - t)+] / (1 - alpha)`` over t, which is the CVaR [g].

    Raises
    ------
    PlanRefused
        The proof states another CVaR, or a bound above it.
    """
    known = {job.job_id: job for job in jobs}
    chances = list(weights) if weights is not None else [1.0 / len(scenarios)] * len(scenarios)
    totals = [_scenario_g(known, fleet, placement, curves) for curves in scenarios]
    # The least lies at one of the totals: the function is linear in between.
    found = min(
        level
        + math.fsum(chance * max(0.0, total - level) for chance, total in zip(chances, totals, strict=True))
        / (1.0 - alpha)
        for level in totals
    )
    if abs(proof.value - found) > _RELATIVE * max(1.0, abs(found)):
        msg = f"the plan's {proof.measure} is {found!r} g, its proof says {proof.value!r} {proof.unit}"
        raise PlanRefused(msg, hint="this is a defect: report it with the problem", value=proof.value)
    if proof.lower_bound > proof.value * (1 + _RELATIVE):
        msg = f"the bound {proof.lower_bound!r} lies above the plan's {proof.value!r} {proof.unit}"
        raise PlanRefused(msg, hint="this is a defect: report it with the problem", value=proof.lower_bound)
    return found


def check_totals(
    jobs: Sequence[Job],
    fleet: Fleet,
    placement: Placement,
    totals: Mapping[str, float],
    *,
    usd_per_kwh: Mapping[str, Sequence[float]] | None = None,
    usd_per_vcpu_h: Mapping[str, Sequence[float]] | None = None,
    probability: Mapping[str, Sequence[float]] | None = None,
) -> dict[str, float]:
    """Work out a plan's grams, money, moves and risk again, each from its definition.

    Parameters
    ----------
    jobs : sequence of Job
        The queue.
    fleet : Fleet
        Regions.
    placement : Placement
        A plan that `aicsched.place.check.check` has passed, which holds its grams.
    totals : mapping of str to float
        What the plan says: ``carbon`` [g], ``money`` [USD], ``moves`` [jobs], ``risk`` [thread-hours].
    usd_per_kwh, usd_per_vcpu_h, probability : mapping of str to sequence of float, optional
        By region's name, the value of each slot of the plan.

    Returns
    -------
    dict of str to float
        The same, worked out.

    Raises
    ------
    PlanRefused
        One of them differs by more than 1e-9, or is told without what it needs.
    """
    known, regions = {job.job_id: job for job in jobs}, {region.name: region for region in fleet.regions}
    money: list[float] = []
    risk: list[float] = []
    moves = 0
    for row in placement.assignments:
        job, region = known[row.job_id], regions[row.region]
        hours = job.vcpus * job.duration_s / 3600.0 / len(row.slot_indices)
        kwh = hours * region.power_w_per_vcpu * region.pue / 1000.0
        moves += row.region != job.home_region
        for index in row.slot_indices:
            money.append(kwh * float(usd_per_kwh[row.region][index]) if usd_per_kwh else 0.0)
            money.append(hours * float(usd_per_vcpu_h[row.region][index]) if usd_per_vcpu_h else 0.0)
            risk.append(hours * float(probability[row.region][index]) if probability else 0.0)
    carbon_g = math.fsum(row.operational_g + row.transfer_g for row in placement.assignments)
    found = {"carbon": carbon_g, "money": math.fsum(money), "moves": float(moves), "risk": math.fsum(risk)}
    wrong = [
        f"{name} {value!r}"
        for name, value in totals.items()
        if name not in found or abs(found[name] - value) > _RELATIVE * max(1.0, abs(found[name]))
    ]
    if wrong:
        msg = f"the plan says {' and '.join(wrong)}, worked out {found}"
        raise PlanRefused(msg, hint="this is a defect: report it with the problem", value=wrong)
    return found
