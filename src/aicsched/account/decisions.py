"""From a plan to decisions: what each job emits, and what it would have emitted otherwise.

Energy is ``vcpus · power_w_per_vcpu · PUE · duration``; the counterfactual is the
same job under no-wait: started at its release in its home region. Embodied carbon
is SCI's amortised share, ``M = TE · (time share) · (resource share)``
(ISO/IEC 21031:2024), reported beside the rest and no part of a choice.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from aicsched.account.reasons import at_once, reason_for
from aicsched.domain.decision import Decision
from aicsched.domain.placement import busy_s
from aicsched.errors import LedgerError, UnknownZone, did_you_mean
from aicsched.slots import HOUR_S, format_time
from aicsched.units import kwh_from_watts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aicsched.domain.fleet import Fleet, Region
    from aicsched.domain.forecast import Forecast
    from aicsched.domain.job import Job
    from aicsched.domain.placement import Assignment, Placement

__all__ = ["CORRECTS", "correct", "decisions_from", "job_embodied_g", "job_energy_kwh"]

CORRECTS: Final = "corrects:"


def job_energy_kwh(job: Job, region: Region, row: Assignment | None = None) -> float:
    """Return the energy of one job in one region.

    Parameters
    ----------
    job : Job
        The job.
    region : Region
        Where it runs.
    row : Assignment, optional
        When it runs, and on how many machines: both may cost more.

    Returns
    -------
    float
        Energy including PUE [kWh].

    Examples
    --------
    >>> from aicsched.domain.fleet import Region
    >>> from aicsched.domain.job import Job
    >>> job = Job(job_id="a", vcpus=10, duration_s=7200, release_s=0, deadline_s=86400, home_region="x")
    >>> job_energy_kwh(job, Region(name="x", grid_zone="DE", capacity_vcpus=9, power_w_per_vcpu=5, pue=1.2))
    0.12
    """
    return kwh_from_watts(job.vcpus * region.power_w_per_vcpu * region.pue, _run_s(job, row))


def _run_s(job: Job, row: Assignment | None) -> float:
    """Return how long a job is at its full power, or at that of one machine [s]."""
    even = row is None or not (job.resume_s or row.machines)
    return job.duration_s if row is None or even else math.fsum(busy_s(job, row))


def job_embodied_g(job: Job, region: Region, row: Assignment | None = None) -> float:
    """Return SCI's embodied share of one job in one region.

    Parameters
    ----------
    job : Job
        The job.
    region : Region
        Where it runs.
    row : Assignment, optional
        When it runs, and on how many machines.

    Returns
    -------
    float
        Amortised embodied emissions [g].
    """
    run_s = _run_s(job, row) if row is not None and row.machines else job.duration_s
    return region.embodied_g_per_vcpu_h * job.vcpus * run_s / HOUR_S


def decisions_from(
    *,
    placement: Placement,
    baseline: Placement | None,
    jobs: Sequence[Job],
    fleet: Fleet,
    forecasts: Mapping[str, Forecast],
    decided_at_s: int,
    reasons: Mapping[str, str] | None = None,
) -> tuple[Decision, ...]:
    """Turn a plan into decisions, one an assignment.

    Parameters
    ----------
    placement : Placement
        The plan, one assignment a job in the order of `jobs`.
    baseline : Placement, optional
        The no-wait plan of the same jobs. Without one (it found no room) the
        counterfactual is each job alone, started at its release at home.
    jobs : sequence of Job
        The queue.
    fleet : Fleet
        Where they run.
    forecasts : mapping of str to Forecast
        Per grid zone, what the plan was made with.
    decided_at_s : int
        When, seconds since the epoch.
    reasons : mapping of str to str, optional
        Per job one sentence; jobs without one get a sentence made from the numbers.

    Returns
    -------
    tuple of Decision
        In the order of `jobs`; `operational_g` includes the transfer.

    Raises
    ------
    LedgerError
        Plan, baseline and queue don't fit together, or a number isn't finite.
    UnknownZone
        A region's zone has no forecast.
    """
    by_job = _counterfactuals(placement, baseline, jobs)
    world = _World(fleet, forecasts)
    decisions: list[Decision] = []
    for job, row in zip(jobs, placement.assignments, strict=True):
        home = world.region(job.home_region)
        otherwise = by_job.get(job.job_id)
        if otherwise is None:
            otherwise = at_once(job, home, world.forecast(home.grid_zone), placement.slots)
        _require_finite(job, row.total_g, "emissions")
        _require_finite(job, otherwise.total_g, "counterfactual emissions")
        reason = (reasons or {}).get(job.job_id) or reason_for(job, row, otherwise, placement.slots)
        draft = _draft(job, world.region(row.region), row, otherwise, placement)
        draft = replace(draft, decided_at_s=decided_at_s, reason=reason)
        decisions.append(world.signed(draft, job, row, (row.region, home.name, otherwise.region)))
    return tuple(decisions)


class _World:
    """Fleet and forecasts by name, with what names a decision's inputs."""

    def __init__(self, fleet: Fleet, forecasts: Mapping[str, Forecast]) -> None:
        self.regions: Final = {region.name: region for region in fleet.regions}
        self.forecasts: Final = forecasts
        self.synthetic: Final = fleet.synthetic
        self._facts: Final = {name: _fields(region) for name, region in self.regions.items()}
        self._digests: Final = {zone: _digest_of(item) for zone, item in forecasts.items()}

    def region(self, name: str) -> Region:
        if name not in self.regions:
            msg = f"the fleet has no region '{name}'"
            raise LedgerError(msg, hint=did_you_mean(name, self.regions), value=name)
        return self.regions[name]

    def forecast(self, zone: str) -> Forecast:
        if zone not in self.forecasts:
            msg = f"there is no forecast of {zone}"
            raise UnknownZone(msg, hint=did_you_mean(zone, self.forecasts), value=zone)
        return self.forecasts[zone]

    def signed(self, draft: Decision, job: Job, row: Assignment, names: tuple[str, ...]) -> Decision:
        zones = sorted({self.region(name).grid_zone for name in names})
        used = [self.forecast(zone) for zone in zones]
        kinds = sorted({str(item.kind) for item in used})
        if len(kinds) > 1:
            msg = f"job '{job.job_id}': {' and '.join(kinds)} intensities meet in one decision"
            raise LedgerError(msg, hint="forecast all zones with one kind", value=kinds)
        whole = replace(
            draft,
            intensity_kind=kinds[0],
            inputs=tuple(_input_id(item) for item in used),
            synthetic=self.synthetic or any(item.synthetic for item in used),
        )
        places = [self._facts[name] for name in names]
        return _signed(whole, [_fields(job), _fields(row), places, [self._digests[zone] for zone in zones]])


def _counterfactuals(
    placement: Placement, baseline: Placement | None, jobs: Sequence[Job]
) -> dict[str, Assignment]:
    for plan in (placement, *(() if baseline is None else (baseline,))):
        if [row.job_id for row in plan.assignments] != [job.job_id for job in jobs]:
            msg = f"the plan '{plan.policy}' is not one of these {len(jobs)} jobs in their order"
            raise LedgerError(msg, hint="give the queue that was planned")
        if plan.slots != placement.slots:
            msg = f"the plans '{plan.policy}' and '{placement.policy}' have different time grids"
            raise LedgerError(msg, hint="plan both on one grid")
    return {} if baseline is None else {row.job_id: row for row in baseline.assignments}


def _draft(
    job: Job, region: Region, row: Assignment, otherwise: Assignment, placement: Placement
) -> Decision:
    grid = placement.slots
    return Decision(
        decision_id="",
        decided_at_s=0,
        kind="place",
        subject=job.job_id,
        region=row.region,
        start_s=grid.start_s + row.slot_indices[0] * grid.step_s,
        end_s=grid.start_s + (row.slot_indices[-1] + 1) * grid.step_s,
        energy_kwh=job_energy_kwh(job, region, row),
        operational_g=float(row.total_g),
        embodied_g=job_embodied_g(job, region, row),
        counterfactual_g=float(otherwise.total_g),
        intensity_kind="",
        policy=placement.policy,
        reason="",
    )


def _require_finite(job: Job, value_g: float, what: str) -> None:
    if not math.isfinite(value_g):
        msg = f"job '{job.job_id}': its {what} are {value_g} g"
        hint = "no number is booked rather than a wrong one: check the forecast"
        raise LedgerError(msg, hint=hint, value=value_g)


def _digest_of(forecast: Forecast) -> str:
    return hashlib.sha256(forecast.mean_g_per_kwh.astype("<f8").tobytes()).hexdigest()


def _input_id(forecast: Forecast) -> str:
    issued = format_time(forecast.issue_time_s)
    return f"{forecast.grid_zone}: {forecast.source}, forecast by {forecast.model} at {issued}"


def _fields(fact: Decision | Job | Region | Assignment) -> dict[str, object]:
    # dataclasses.asdict copies deeply, which a thousand jobs would feel.
    return {name: getattr(fact, name) for name in type(fact).__slots__}


def _signed(draft: Decision, facts: object) -> Decision:
    """Name a decision by the hash of its content and of what it was made from."""
    text = json.dumps([_fields(draft), facts], sort_keys=True, separators=(",", ":"), default=int)
    return replace(draft, decision_id=hashlib.sha256(text.encode()).hexdigest())


def correct(decision: Decision, *, decided_at_s: int, reason: str, **changes: float) -> Decision:
    """Return the entry that corrects an earlier one.

    Parameters
    ----------
    decision : Decision
        What stands in the ledger; it stays there.
    decided_at_s : int
        When it was corrected, seconds since the epoch.
    reason : str
        One sentence.
    **changes : float
        Any of `energy_kwh`, `operational_g`, `embodied_g`, `counterfactual_g`.

    Returns
    -------
    Decision
        Of kind ``"correct"``, whose first input names the entry it replaces.

    Raises
    ------
    LedgerError
        Something else than a number is changed, or nothing is.
    """
    known = {"energy_kwh", "operational_g", "embodied_g", "counterfactual_g"}
    if not changes or not set(changes) <= known:
        wrong = ", ".join(sorted(set(changes) - known)) or "nothing"
        msg = f"a correction of '{decision.subject}' can't change {wrong}"
        raise LedgerError(msg, hint=f"change one of {', '.join(sorted(known))}", value=wrong)
    kept = tuple(item for item in decision.inputs if not item.startswith(CORRECTS))
    draft = replace(
        decision,
        decision_id="",
        kind="correct",
        decided_at_s=decided_at_s,
        reason=reason,
        inputs=(f"{CORRECTS}{decision.decision_id}", *kept),
        **{name: float(value) for name, value in changes.items()},  # pyright: ignore[reportArgumentType]
    )
    return _signed(draft, [])
