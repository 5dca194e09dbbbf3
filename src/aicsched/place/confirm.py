"""An independent validator of what is said about a plan: why jobs are where they are, and what limits cost.

Like `check`, it is slow and plain, works everything out from what the user gave, and shares no code with
the solvers or with `explain` and `caps`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from aicsched.errors import InputError, PlanRefused

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from aicsched.domain.fleet import Fleet
    from aicsched.domain.forecast import Forecast
    from aicsched.domain.job import Job
    from aicsched.domain.placement import Assignment, Placement
    from aicsched.place.caps import Cap
    from aicsched.place.explain import Explanation
    from aicsched.slots import SlotGrid

__all__ = ["Confirmation", "confirm"]

_CLOSE: Final = 1e-6
_ROOM: Final = 1e-9
_FAULTS_SHOWN: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """What the validator worked out.

    Parameters
    ----------
    jobs : int
        Explanations confirmed.
    limited : int
        Those with a full slot in their best place.
    bound_g : float
        What the plan's published prices of vCPUs prove alone: no plan emits less [g].
    """

    jobs: int
    limited: int
    bound_g: float


@dataclass(slots=True)
class _World:
    """What the user gave, with the load of the plan beside it."""

    jobs: Sequence[Job]
    fleet: Fleet
    slots: SlotGrid
    levels: dict[str, list[float]]
    room: dict[tuple[str, str], list[float]]
    rows: dict[str, Assignment]
    prices_g: dict[str, list[float]]
    used: dict[tuple[str, str, int], float] = field(default_factory=dict)
    windows: dict[str, tuple[int, int]] = field(default_factory=dict)
    later: dict[str, list[str]] = field(default_factory=dict)


def _needs(job: Job) -> dict[str, float]:
    return {"vcpus": job.vcpus, "memory_gib": job.memory_gib, "gpus": job.gpus}


def _length(job: Job, slots: SlotGrid) -> int:
    return math.ceil(job.duration_s / slots.step_s - 1e-9)


def _lay_out(
    jobs: Sequence[Job],
    fleet: Fleet,
    forecasts: Mapping[str, Forecast],
    slots: SlotGrid,
    placement: Placement,
    free_vcpus: Mapping[str, Sequence[float]],
) -> _World:
    count = len(slots)
    levels: dict[str, list[float]] = {}
    room: dict[tuple[str, str], list[float]] = {}
    for region in fleet.regions:
        forecast = forecasts[region.grid_zone]
        at = (slots.start_s - forecast.slots.start_s) // forecast.slots.step_s
        levels[region.name] = [float(value) for value in forecast.mean_g_per_kwh[at : at + count]]
        given = free_vcpus.get(region.name)
        room[region.name, "vcpus"] = (
            [region.capacity_vcpus] * count if given is None else [float(value) for value in given]
        )
        memory_gib = math.inf if math.isnan(region.capacity_memory_gib) else region.capacity_memory_gib
        room[region.name, "memory_gib"] = [memory_gib] * count
        room[region.name, "gpus"] = [region.capacity_gpus] * count
    prices_g = {
        name: [price * slots.step_s / 3600.0 for price in placement.prices_g_per_vcpu_h.get(name, ())]
        or [0.0] * count
        for name in levels
    }
    rows = {row.job_id: row for row in placement.assignments}
    world = _World(jobs, fleet, slots, levels, room, rows, prices_g)
    for job in jobs:
        row = rows[job.job_id]
        for unit, value in _needs(job).items():
            for slot in row.slot_indices if value else ():
                cell = (row.region, unit, slot)
                world.used[cell] = world.used.get(cell, 0.0) + value
        for name in job.after:
            world.later.setdefault(name, []).append(job.job_id)
    _lay_windows(world)
    return world


def _lay_windows(world: _World) -> None:
    """Work out when each job may run: its own window, and less where it waits or is waited for."""
    slots = world.slots
    known = {job.job_id: job for job in world.jobs}
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for job in world.jobs:
        first[job.job_id] = max(0, math.ceil((job.release_s - slots.start_s) / slots.step_s))
        last[job.job_id] = min(len(slots), (job.deadline_s - slots.start_s) // slots.step_s)
        if not job.deferrable:
            last[job.job_id] = min(last[job.job_id], first[job.job_id] + _length(job, slots))
    changed = any(job.after for job in world.jobs)
    while changed:
        changed = False
        for job in world.jobs:
            for name in job.after:
                ready = first[name] + _length(known[name], slots)
                due = last[job.job_id] - _length(job, slots)
                changed = changed or ready > first[job.job_id] or due < last[name]
                first[job.job_id] = max(first[job.job_id], ready)
                last[name] = min(last[name], due)
    world.windows = {name: (first[name], last[name]) for name in first}


def _cheapest_pieces(
    costs: Sequence[float], again: Sequence[float], open_: Sequence[bool], length: int
) -> float:
    """Return the least sum over slots where going on after a gap costs, too; inf where there are too few."""
    # What it costs at least to have held so many slots so far, the newest among them or not.
    least: dict[tuple[int, bool], float] = {(0, False): 0.0}
    for cost, more, free in zip(costs, again, open_, strict=True):
        before, least = least, {}
        for (held, on), total in before.items():
            least[held, False] = min(total, least.get((held, False), math.inf))
            if free and held < length:
                paid = total + cost + (more if held and not on else 0.0)
                least[held + 1, True] = min(paid, least.get((held + 1, True), math.inf))
    return min(least.get((length, True), math.inf), least.get((length, False), math.inf))


def _cheapest(
    job: Job, costs: Sequence[float], again: Sequence[float], open_: Sequence[bool], length: int
) -> float:
    """Return the least sum over slots that the job may hold; inf where it has none."""
    if job.suspendable and job.resume_s:
        return _cheapest_pieces(costs, again, open_, length)
    if job.suspendable:
        # What can't wait has a window of its own length, and so no choice.
        left = sorted(cost for cost, free in zip(costs, open_, strict=True) if free)
        return math.fsum(left[:length]) if len(left) >= length else math.inf
    best = math.inf
    for start in range(len(costs) - length + 1):
        if all(open_[start : start + length]):
            best = min(best, math.fsum(costs[start : start + length]))
    return best


def _full_slots(world: _World, job: Job, region: str, slot: int) -> set[str]:
    """Return which resources have no room for the job in a slot, were it out."""
    row = world.rows[job.job_id]
    own = row.region == region and slot in row.slot_indices
    full: set[str] = set()
    for unit, value in _needs(job).items():
        if value and world.room[region, unit][slot] < math.inf:
            there = world.room[region, unit][slot] * (1 + _ROOM)
            used = world.used.get((region, unit, slot), 0.0) - (value if own else 0.0)
            if there - used < value * (1 - 1e-12):
                full.add(unit)
    return full


@dataclass(frozen=True, slots=True)
class _Found:
    """Grams of one job by region: with the others' room taken, and alone; and its cheapest with prices."""

    beside_g: dict[str, float]
    alone_g: dict[str, float]
    priced_g: float
    slot_g: dict[str, float]


def _window_beside(world: _World, job: Job) -> tuple[int, int]:
    """Return the window that the neighbours in the order of jobs leave, as they run."""
    first, last = world.windows[job.job_id]
    first = max([first, *(world.rows[name].slot_indices[-1] + 1 for name in job.after)])
    last = min([last, *(world.rows[name].slot_indices[0] for name in world.later.get(job.job_id, ()))])
    return first, last


def _resume_share(job: Job, length: int) -> float:
    """Return what going on after a gap takes, as a share of the energy of one slot."""
    return job.resume_s * length / job.duration_s


def _grams(job: Job, kwh: float, level: Sequence[float], slots: Sequence[int]) -> float:
    """Return what a job emits in some slots, of so much energy each, and by going on after gaps."""
    held = [kwh * level[slot] for slot in slots]
    behind = [index for index in range(1, len(slots)) if slots[index] > slots[index - 1] + 1]
    return math.fsum(held) + _resume_share(job, len(slots)) * math.fsum(held[index] for index in behind)


def _places(world: _World, job: Job) -> _Found:
    length = _length(job, world.slots)
    first, last = world.windows[job.job_id]
    beside = _window_beside(world, job)
    found = _Found({}, {}, 0.0, {})
    priced_g = math.inf
    for region in world.fleet.regions:
        name = region.name
        if job.allowed_regions and name not in job.allowed_regions:
            continue
        kwh = job.vcpus * region.power_w_per_vcpu * region.pue / 1000.0 * job.duration_s / 3600.0 / length
        costs = [kwh * level for level in world.levels[name][first:last]]
        moved_g = 0.0 if name == job.home_region else job.data_gb * region.transfer_g_per_gb
        again = [cost * _resume_share(job, length) for cost in costs]
        everywhere = [True] * len(costs)
        free = [
            beside[0] <= slot < beside[1] and not _full_slots(world, job, name, slot)
            for slot in range(first, last)
        ]
        found.slot_g[name] = kwh
        found.alone_g[name] = moved_g + _cheapest(job, costs, again, everywhere, length)
        found.beside_g[name] = moved_g + _cheapest(job, costs, again, free, length)
        paid = [
            cost + job.vcpus * price
            for cost, price in zip(costs, world.prices_g[name][first:last], strict=True)
        ]
        priced_g = min(priced_g, moved_g + _cheapest(job, paid, again, everywhere, length))
    return _Found(found.beside_g, found.alone_g, priced_g, found.slot_g)


def _same(one: float, other: float) -> bool:
    return one == other or abs(one - other) <= _CLOSE * max(1.0, abs(other))


def _best_faults(world: _World, job: Job, item: Explanation, found: _Found) -> Iterator[str]:
    """Check the best place that a job would have alone, and what keeps it from there."""
    row, place = world.rows[job.job_id], item.unlimited_region
    alone_g = min(found.alone_g.values())
    if not _same(item.unlimited_g, alone_g):
        yield f"would emit {alone_g!r} g alone, not {item.unlimited_g!r} g"
        return
    first, last = world.windows[job.job_id]
    picked = item.unlimited_slots
    joined = bool(picked) and (job.suspendable or picked[-1] - picked[0] + 1 == len(picked))
    inside = joined and list(picked) == sorted(set(picked)) and first <= picked[0] and picked[-1] < last
    if place not in found.alone_g or not inside or len(picked) != _length(job, world.slots):
        yield f"can't run in '{place}' in {picked}, which is called its best place"
        return
    region = next(one for one in world.fleet.regions if one.name == place)
    moved_g = 0.0 if place == job.home_region else job.data_gb * region.transfer_g_per_gb
    there_g = moved_g + _grams(job, found.slot_g[place], world.levels[place], picked)
    if not _same(there_g, alone_g):
        yield f"would emit {there_g!r} g in '{place}', which is called its best place, not {alone_g!r} g"
    claimed = {(limit.resource, limit.region, slot) for limit in item.limits for slot in limit.slots}
    full = {(unit, place, slot) for slot in picked for unit in _full_slots(world, job, place, slot)}
    if row.total_g <= alone_g * (1 + _CLOSE) + _CLOSE:
        # Where it pays nothing for limits there is none to name; what is named has to be full all the same.
        full &= claimed
    if claimed != full:
        yield f"has {sorted(full)} full in its best place, not {sorted(claimed)}"
    beside = _window_beside(world, job)
    held = {name for name in job.after if world.rows[name].slot_indices[-1] >= picked[0]}
    held |= {
        name for name in world.later.get(job.job_id, ()) if world.rows[name].slot_indices[0] <= picked[-1]
    }
    if item.held_by and set(item.held_by) != held:
        yield f"is held by {sorted(held)}, not by {sorted(item.held_by)}"
    paid_g = row.total_g - alone_g
    moved = picked[0] < beside[0] or picked[-1] >= beside[1]
    if not full and not item.held_by and moved and paid_g > _CLOSE * max(1.0, alone_g):
        yield "is kept from its best place by the order of jobs, which is not named"


def _job_faults(
    world: _World, job: Job, item: Explanation, other: Assignment, found: _Found
) -> Iterator[str]:
    here = world.rows[job.job_id].region
    others = {name: grams for name, grams in found.beside_g.items() if name != here}
    best_g = min(others.values(), default=math.inf)
    if not _same(item.runner_up_g, best_g):
        yield f"would emit {best_g!r} g in the best other region, not {item.runner_up_g!r} g"
    elif math.isinf(best_g) != (not item.runner_up_region):
        yield f"has the runner-up '{item.runner_up_region}' at {best_g!r} g"
    elif item.runner_up_region and not _same(others.get(item.runner_up_region, math.inf), best_g):
        yield f"would not emit {best_g!r} g in '{item.runner_up_region}'"
    length = len(other.slot_indices)
    region = next((one for one in world.fleet.regions if one.name == other.region), None)
    if region is None or length != _length(job, world.slots):
        yield f"has no such baseline as '{other.region}' in {other.slot_indices}"
    else:
        kwh = job.vcpus * region.power_w_per_vcpu * region.pue / 1000.0 * job.duration_s / 3600.0 / length
        moved_g = 0.0 if region.name == job.home_region else job.data_gb * region.transfer_g_per_gb
        grams = moved_g + _grams(job, kwh, world.levels[region.name], other.slot_indices)
        if not _same(item.counterfactual_g, grams):
            yield f"would emit {grams!r} g by the baseline, not {item.counterfactual_g!r} g"
    yield from _best_faults(world, job, item, found)


def _cap_faults(world: _World, caps: Iterable[Cap]) -> Iterator[str]:
    found: set[str] = set()
    for cap in caps:
        found.add(cap.region)
        if cap.region not in world.prices_g:
            yield f"'{cap.region}', which has a cap, is no region of the fleet"
            continue
        prices_g, room = world.prices_g[cap.region], world.room[cap.region, "vcpus"]
        priced = [slot for slot, price in enumerate(prices_g) if price > 0]
        worth_g = math.fsum(prices_g[slot] * room[slot] for slot in priced)
        more_g = math.fsum(prices_g)
        if not _same(cap.worth_g, worth_g) or not _same(cap.g_per_more_vcpu, more_g):
            yield (
                f"the cap of '{cap.region}' costs {worth_g!r} g and {more_g!r} g/vCPU, "
                f"not {cap.worth_g!r} g and {cap.g_per_more_vcpu!r} g/vCPU"
            )
        dearest = sorted(priced, key=lambda slot: (-prices_g[slot], slot))[: len(cap.fullest_slots)]
        shown = [prices_g[slot] for slot in cap.fullest_slots]
        if cap.binding_slots != len(priced) or shown != [prices_g[slot] for slot in dearest]:
            yield f"the cap of '{cap.region}' binds in {len(priced)} slots, the dearest {dearest}"
    if missing := sorted(world.prices_g.keys() - found):
        yield f"no cap is named for {missing}"


def confirm(  # noqa: PLR0913 - one keyword per thing that is said
    jobs: Sequence[Job],
    fleet: Fleet,
    forecasts: Mapping[str, Forecast],
    slots: SlotGrid,
    placement: Placement,
    *,
    baseline: Placement,
    explanations: Sequence[Explanation],
    caps: Iterable[Cap] | None = None,
    free_vcpus: Mapping[str, Sequence[float]] | None = None,
) -> Confirmation:
    """Confirm what is said about a plan, from what the user gave.

    Parameters
    ----------
    jobs : sequence of Job
        The queue.
    fleet : Fleet
        Regions and capacity.
    forecasts : mapping of str to Forecast
        Per grid zone.
    slots : SlotGrid
        The planning grid.
    placement : Placement
        A plan that `check` has passed.
    baseline : Placement
        What the counterfactuals speak of.
    explanations : sequence of Explanation
        One a job, in the order of the queue.
    caps : iterable of Cap, optional
        What the limits cost.
    free_vcpus : mapping of str to sequence of float, optional
        Threads free in each slot, for regions where that isn't all they have.

    Returns
    -------
    Confirmation
        How many were confirmed, and the bound that the published prices prove.

    Raises
    ------
    PlanRefused
        A runner-up, a best place, a full slot, an amount of grams (by more than 1e-6) or a cap is wrong,
        or the prices prove more than the plan emits.
    InputError
        A job scales.
    """
    scales = next((job.job_id for job in jobs if job.scaling), None)
    if scales is not None:
        msg = f"job '{scales}' scales: explanations of such plans are not confirmed here"
        raise InputError(msg, hint="check the plan itself with aicsched.place.check", value=scales)
    world = _lay_out(jobs, fleet, forecasts, slots, placement, free_vcpus or {})
    others = {row.job_id: row for row in baseline.assignments}
    faults: list[str] = []
    if [item.job_id for item in explanations] != [job.job_id for job in jobs]:
        msg = f"{len(explanations)} explanations don't belong to the {len(jobs)} jobs one by one"
        raise PlanRefused(msg, hint="give one a job, in the order of the queue", value=len(explanations))
    bound_g = -math.fsum(
        price * there
        for name, prices in world.prices_g.items()
        for price, there in zip(prices, world.room[name, "vcpus"], strict=True)
        if price > 0
    )
    reduced: list[float] = []
    for job, item in zip(jobs, explanations, strict=True):
        found = _places(world, job)
        reduced.append(found.priced_g)
        wrong = _job_faults(world, job, item, others[job.job_id], found)
        faults += [f"job '{job.job_id}' {words}" for words in wrong]
    bound_g += math.fsum(reduced)
    faults += [] if caps is None else _cap_faults(world, caps)
    if bound_g > placement.total_g * (1 + _CLOSE):
        faults.append(f"the prices prove {bound_g!r} g, the plan emits {placement.total_g!r} g")
    if faults:
        more = f" and {len(faults) - _FAULTS_SHOWN} more" if len(faults) > _FAULTS_SHOWN else ""
        words = f"{'; '.join(faults[:_FAULTS_SHOWN])}{more}"
        msg = f"what is said of the plan of '{placement.policy}' is wrong: {words}"
        raise PlanRefused(
            msg, hint="this is a defect of the explanation: report it with the problem", value=faults
        )
    limited = sum(bool(item.limits) for item in explanations)
    return Confirmation(jobs=len(jobs), limited=limited, bound_g=bound_g)
