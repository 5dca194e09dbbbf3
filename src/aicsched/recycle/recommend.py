"""Recommendations: for each node what to do with it, what that saves, and what forbids it."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from aicsched.errors import InputError, did_you_mean
from aicsched.footprint.embodied import embodied_spread, server_embodied_kg
from aicsched.footprint.power import FamilyPower, families, family_power
from aicsched.recycle.economics import break_even_years, running_g_per_year
from aicsched.recycle.evidence import Evidence, evidence_of, gather
from aicsched.recycle.safety import Headroom, RecycleRules, peaks, protections

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aicsched.domain.fleet import Fleet, Node, Region
    from aicsched.domain.telemetry import Telemetry

    Band = tuple[float, float, float]

__all__ = ["Recommendation", "recommend"]

_YEAR_S: Final = 365.2425 * 86_400
# A common new machine, of which a node's work takes a share: two sockets of 64 cores, 4 GiB a thread.
_NEW_VCPUS: Final = 256.0
_NEW_GIB: Final = 1024.0
_NEW_LIFETIME_YEARS: Final = 4.0
# The runbook's limit: nothing is filled beyond it.
_FULL_SHARE: Final = 0.8
# Power by family is a median: its quartiles lie about this far off.
_POWER_SPREAD: Final = (0.85, 1.0, 1.15)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """What could be done with one node; nothing is applied.

    Parameters
    ----------
    node, region : str
        Which, and where.
    condition : str
        ``idle``, ``under-used``, ``obsolete``, ``in use`` or ``unknown``.
    disposition : str
        ``decommission``, ``repurpose``, ``tag`` or ``keep``.
    saved_g_per_year : tuple of float
        Low, mid and high [g/year], never a promise: what the grid and the power table allow.
    break_even_years : tuple
        For a replacement: low, mid and high [years], None where never; empty otherwise.
    workload : str
        For a repurposed node, the work it can take.
    reasons, refusals : tuple of str
        What speaks for it, and what forbids more.
    evidence : Evidence
        What was seen.
    """

    node: str
    region: str
    condition: str
    disposition: str
    saved_g_per_year: Band
    break_even_years: tuple[float | None, ...] = ()
    workload: str = ""
    reasons: tuple[str, ...] = ()
    refusals: tuple[str, ...] = ()
    evidence: Evidence

    def as_dict(self) -> dict[str, Any]:
        """Return plain values.

        Returns
        -------
        dict
            Tuples become lists and unknown numbers None, so that it is valid JSON.
        """
        return {name: _plain(value) for name, value in asdict(self).items()}


def _plain(value: Any) -> Any:  # noqa: ANN401 - any field
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _age_years(node: Node, now_s: int) -> float:
    if not node.commissioned:
        return float("nan")
    try:
        made = datetime.fromisoformat(node.commissioned).replace(tzinfo=UTC)
    except ValueError as error:
        msg = f"node '{node.name}': '{node.commissioned}' is no ISO date"
        raise InputError(msg, hint="write for example 2021-04-01", value=node.commissioned) from error
    return (now_s - made.timestamp()) / _YEAR_S


def _condition(seen: Evidence, age_years: float, rules: RecycleRules) -> tuple[str, tuple[str, ...]]:
    if seen.days < rules.min_days or seen.coverage_share < rules.min_coverage_share:
        needed = f"{rules.min_coverage_share:.0%} of {rules.min_days:g} are needed"
        why = f"{seen.coverage_share:.0%} of {seen.days:g} days seen; {needed}"
        return "unknown", (why,)
    shares = f"mean {seen.mean_share:.1%}, P95 {seen.p95_share:.1%}, max {seen.max_share:.1%}"
    cpu = f"CPU {shares} over {seen.days:g} days"
    quiet = (
        not math.isnan(seen.network_mb_per_day) and seen.network_mb_per_day < rules.idle_network_mb_per_day
    )
    if seen.p95_share < rules.idle_p95_share and seen.max_share < rules.idle_max_share and quiet:
        return "idle", (cpu, f"{seen.network_mb_per_day:.1f} MB a day on the network")
    if not math.isnan(age_years) and age_years >= rules.obsolete_years:
        return "obsolete", (f"in service for {age_years:.1f} years", cpu)
    if seen.p95_share < rules.light_p95_share:
        return "under-used", (cpu,)
    return "in use", (cpu,)


def _band(power_w: float, region: Region, met: Band) -> Band:
    low, mid, high = (
        running_g_per_year(power_w * off, region.pue, g_per_kwh)
        for off, g_per_kwh in zip(_POWER_SPREAD, met, strict=True)
    )
    return low, mid, high


def _new_threads(node: Node, vcpus: float) -> tuple[FamilyPower, float]:
    """Return the newest family, and how many of its threads do the work of some of a node's."""
    newest = max(families().values(), key=lambda item: item.launched)
    old = family_power(node.cpu_family)
    # Work of a thread: work a watt times watts a thread.
    speed = (newest.ops_per_w * newest.max_w_per_vcpu) / (old.ops_per_w * old.max_w_per_vcpu)
    return newest, vcpus / max(speed, 1e-9)


def _made_g(threads: float) -> Band:
    """Return what making some threads' share of a new machine emits, low, mid and high."""
    low, high = embodied_spread()
    made_g = server_embodied_kg(_NEW_GIB) * 1000.0 * threads / _NEW_VCPUS
    return made_g * low, made_g, made_g * high


def _filled(node: Node, region: Region, p95_share: float, met: Band) -> tuple[float, Band]:
    """Return a node's spare threads, and what filling them saves against new ones for that work.

    A machine in use bears no embodied emissions again (Switzer et al. 2023,
    doi:10.1145/3575693.3575710), but an old one may draw so much more that a new
    one wins all the same. The ends are the least and most over the inputs' ends.
    """
    spare_vcpus = max(0.0, _FULL_SHARE - p95_share) * node.vcpus
    newest, busy = _new_threads(node, spare_vcpus)
    bought = busy / _FULL_SHARE
    new_w = bought * newest.idle_w_per_vcpu + busy * (newest.max_w_per_vcpu - newest.idle_w_per_vcpu)
    own_w = spare_vcpus / node.vcpus * (node.max_w - node.idle_w)
    yearly = [
        [running_g_per_year((new_w - own_w) * off, region.pue, g_per_kwh) for g_per_kwh in met]
        for off in _POWER_SPREAD
    ]
    made = [made_g / _NEW_LIFETIME_YEARS for made_g in _made_g(bought)]
    corners = [run_g + made_g for row in yearly for run_g in row for made_g in made]
    return spare_vcpus, (min(corners), yearly[1][1] + made[1], max(corners))


def _replacement(
    node: Node, region: Region, seen: Evidence, met: Band, rules: RecycleRules
) -> tuple[Band, tuple[float | None, ...], str]:
    """Compare a node with its share of a new machine of the newest family that does the same work."""
    newest, threads = _new_threads(node, node.vcpus)
    old_w = node.idle_w + (node.max_w - node.idle_w) * seen.mean_share
    new_w = threads * (
        newest.idle_w_per_vcpu + (newest.max_w_per_vcpu - newest.idle_w_per_vcpu) * seen.mean_share
    )
    saved = _band(max(0.0, old_w - new_w), region, met)
    # The soonest pays the least back with the most saved.
    years = tuple(
        break_even_years(made_g, yearly_g, rules.grid_decline_share)
        for made_g, yearly_g in zip(_made_g(threads), reversed(saved), strict=True)
    )
    return saved, years, newest.family


def _judge(
    node: Node, region: Region, seen: Evidence, met: Band, now_s: int, rules: RecycleRules, headroom: Headroom
) -> Recommendation:
    condition, reasons = _condition(seen, _age_years(node, now_s), rules)
    nothing: Band = (0.0, 0.0, 0.0)
    facts: dict[str, Any] = {
        "node": node.name,
        "region": node.region,
        "condition": condition,
        "evidence": seen,
    }
    if condition in {"unknown", "in use"}:
        refusals = ("missing data is unknown, never idle",) if condition == "unknown" else ()
        return Recommendation(
            **facts, disposition="keep", saved_g_per_year=nothing, reasons=reasons, refusals=refusals
        )
    forbidden = protections(node)
    if condition == "under-used":
        refusals = forbidden + peaks(seen, rules) + headroom.refusals(node)
        spare_vcpus, saved = _filled(node, region, seen.p95_share, met)
        if refusals or saved[1] <= 0:
            dear = () if refusals else ("a new machine would do the spare work with less",)
            return Recommendation(
                **facts,
                disposition="keep",
                saved_g_per_year=nothing,
                reasons=(*reasons, *dear),
                refusals=refusals,
            )
        headroom.give_up(node)
        return Recommendation(
            **facts,
            disposition="repurpose",
            saved_g_per_year=saved,
            workload=f"low-priority, interruptible batch work of up to {spare_vcpus:.0f} threads",
            reasons=reasons,
        )
    if condition == "obsolete":
        return _obsolete(facts, node, region, seen, met, rules, reasons, forbidden)
    refusals = forbidden + headroom.refusals(node)
    if refusals:
        # Not even tagged: others act on the tag.
        return Recommendation(
            **facts, disposition="keep", saved_g_per_year=nothing, reasons=reasons, refusals=refusals
        )
    headroom.give_up(node)
    saved = _band(node.idle_w, region, met)
    return Recommendation(**facts, disposition="decommission", saved_g_per_year=saved, reasons=reasons)


def _obsolete(  # noqa: PLR0913, PLR0917 - one parameter per fact
    facts: dict[str, Any],
    node: Node,
    region: Region,
    seen: Evidence,
    met: Band,
    rules: RecycleRules,
    reasons: tuple[str, ...],
    forbidden: tuple[str, ...],
) -> Recommendation:
    """Tag a machine whose replacement pays back within its life: it works, so its work must move first."""
    saved, years, family = _replacement(node, region, seen, met, rules)
    middle = years[1]
    pays = middle is not None and middle <= node.lifetime_years
    words = f"{family} would do its work; making it is paid back in {_words(years)}"
    return Recommendation(
        **facts,
        disposition="tag" if pays and not forbidden else "keep",
        saved_g_per_year=saved if pays and not forbidden else (0.0, 0.0, 0.0),
        break_even_years=years,
        reasons=(*reasons, words, "to be replaced at the next purchase, once its work has moved")
        if pays
        else (*reasons, words),
        refusals=forbidden if pays else (),
    )


def _words(years: tuple[float | None, ...]) -> str:
    low, middle, high = ("never" if value is None else f"{value:.1f}" for value in years)
    return f"{middle} years ({low} to {high})"


def recommend(
    fleet: Fleet,
    telemetry: Telemetry,
    g_per_kwh_by_zone: Mapping[str, Band],
    *,
    now_s: int,
    rules: RecycleRules = RecycleRules(),  # noqa: B008 - frozen
) -> tuple[Recommendation, ...]:
    """Recommend what to do with each node.

    Parameters
    ----------
    fleet : Fleet
        With nodes.
    telemetry : Telemetry
        What was seen of them.
    g_per_kwh_by_zone : mapping of str to tuple of float
        Per grid zone the low, mid and high intensity of a year [g/kWh].
    now_s : int
        Seconds since the epoch; fixes ages.
    rules : RecycleRules
        Thresholds.

    Returns
    -------
    tuple of Recommendation
        One a node, the largest saving first. Together they keep each region's
        headroom: every idle node that is given up counts for the next.

    Raises
    ------
    InputError
        A zone's intensity is missing, or a date is no date.
    """
    found = gather(telemetry, now_s=now_s)
    regions = {region.name: region for region in fleet.regions}
    headroom = Headroom(fleet, found, rules)
    made: list[Recommendation] = []
    # Idle machines of the largest idle power first: they win the headroom that there is.
    for node in sorted(fleet.nodes, key=lambda item: (-item.idle_w, item.name)):
        region = regions[node.region]
        if region.grid_zone not in g_per_kwh_by_zone:
            msg = f"there is no intensity for grid zone '{region.grid_zone}'"
            raise InputError(
                msg, hint=did_you_mean(region.grid_zone, g_per_kwh_by_zone), value=region.grid_zone
            )
        met = g_per_kwh_by_zone[region.grid_zone]
        if not (all(math.isfinite(level) for level in met) and 0 <= met[0] <= met[1] <= met[2]):
            msg = f"the intensity band of grid zone '{region.grid_zone}' is {met}"
            raise InputError(msg, hint="give low <= mid <= high in g/kWh, none negative", value=met)
        made.append(_judge(node, region, evidence_of(found, node.name), met, now_s, rules, headroom))
    return tuple(
        sorted(made, key=lambda item: (-item.saved_g_per_year[1], item.disposition == "keep", item.node))
    )
