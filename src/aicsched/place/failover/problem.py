"""Always-on services in regions that may fail, as pure data: columns of numbers, no solver in sight.

A service of ``d`` threads works in some regions and holds a reserve in others, so
that it lives on when any one failure group is lost. Cost of a plan, in grams an hour::

    sum over services and regions of  use_g[s, r] · used[s, r]   +   idle_g[r] · reserved[s, r]

``reserved`` counts the used threads too: whatever is reserved draws idle power, and
work comes on top. Idle power is measured where machines are known; else it is the
median of the packaged CPU families.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Final

import numpy as np

from aicsched.domain.carbon import frozen_array
from aicsched.errors import Infeasible, InputError, UnknownZone, did_you_mean
from aicsched.footprint.power import families

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from aicsched.domain.fleet import Fleet, Region
    from aicsched.domain.forecast import Forecast
    from aicsched.domain.service import Service
    from aicsched.slots import SlotGrid

__all__ = [
    "FailoverProblem",
    "build_failover",
    "idle_w_per_vcpu",
    "places_of",
    "round_trip_ms",
    "service_capacity",
]

_SHOWN: Final = 5
_EARTH_KM: Final = 6371.0
# Half the speed of light in vacuum: what long routes between large cloud regions come near.
_KM_PER_MS: Final = 149.9
_ROUNDING: Final = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FailoverProblem:
    """Services × regions, columnar and read-only.

    Parameters
    ----------
    service_ids : tuple of str
        S services.
    regions : tuple of str
        R regions.
    groups : tuple of str
        F failure groups: regions of one may be lost together.
    group : ndarray of int64, shape (R,)
        Index of each region's group.
    capacity_vcpus : ndarray, shape (R,)
        Threads that services may reserve.
    demand_vcpus : ndarray, shape (S,)
        Threads that each service needs at its peak, > 0.
    allowed : ndarray of int64, shape (S, K)
        Indices of the regions where it may run, distinct; -1 behind the last.
    use_g : ndarray, shape (S, K)
        Emissions of one thread at work there, beyond its idle power, as a mean over time [g/h].
    idle_g : ndarray, shape (R,)
        Emissions of one reserved thread, at work or not [g/h].

    Raises
    ------
    InputError
        Shapes don't agree, or a number is out of range.
    Infeasible
        Services that can't outlive a loss even alone, with the limits in conflict.
    """

    service_ids: tuple[str, ...]
    regions: tuple[str, ...]
    groups: tuple[str, ...]
    group: NDArray[np.int64]
    capacity_vcpus: NDArray[np.float64]
    demand_vcpus: NDArray[np.float64]
    allowed: NDArray[np.int64]
    use_g: NDArray[np.float64]
    idle_g: NDArray[np.float64]

    def __post_init__(self) -> None:
        for name in ("group", "allowed"):
            object.__setattr__(self, name, frozen_array(getattr(self, name), np.int64))
        for name in ("capacity_vcpus", "demand_vcpus", "use_g", "idle_g"):
            object.__setattr__(self, name, frozen_array(getattr(self, name)))
        _check_shapes(self)
        _check_numbers(self)
        _refuse_hopeless(self)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Services, regions and failure groups: (S, R, F)."""
        return len(self.service_ids), len(self.regions), len(self.groups)

    def leaders(self) -> NDArray[np.int64]:
        """Return the column of the first region of the same group, per service and column.

        Returns
        -------
        ndarray of int64, shape (S, K)
            Behind the last region each column is its own.
        """
        lead = np.tile(np.arange(self.allowed.shape[1]), (len(self.allowed), 1))
        group = np.where(self.allowed >= 0, self.group[self.allowed], -1)
        for at in range(self.allowed.shape[1] - 1, -1, -1):
            same = (group == group[:, at, None]) & (group >= 0)
            lead[same] = at
        return lead


def _check_shapes(problem: FailoverProblem) -> None:
    services, regions, groups = problem.shape
    if not services:
        msg = "there is no service to place"
        raise InputError(msg, hint="give at least one")
    width = problem.allowed.shape[-1] if problem.allowed.ndim == 2 else -1
    wanted = {
        "group": (regions,), "capacity_vcpus": (regions,), "idle_g": (regions,), "demand_vcpus": (services,),
        "allowed": (services, width), "use_g": (services, width),
    }  # fmt: skip
    for name, shape in wanted.items():
        found = getattr(problem, name).shape
        if found != shape:
            msg = f"failover problem: {name} has shape {found} for {services} services, {regions} regions"
            raise InputError(msg, hint=f"give {shape}", value=found)
    if not bool(((problem.group >= 0) & (problem.group < groups)).all()):
        msg = f"failover problem: a group's index is not in 0..{groups - 1}"
        raise InputError(msg, hint="give each region the index of its group")


def _check_numbers(problem: FailoverProblem) -> None:
    known = problem.allowed >= 0
    for name, least, names in (
        ("demand_vcpus", _ROUNDING, problem.service_ids),
        ("capacity_vcpus", 0.0, problem.regions),
        ("idle_g", 0.0, problem.regions),
        ("use_g", 0.0, problem.service_ids),
    ):
        values = getattr(problem, name)
        bad = ~((values >= least) & np.isfinite(values))
        bad = (bad & known).any(axis=1) if name == "use_g" else bad
        if bad.any():
            at = int(np.argmax(bad))
            value = float(np.ravel(values[at])[np.argmax(~(np.ravel(values[at]) >= least))])
            msg = f"'{names[at]}': {name} is {value}"
            raise InputError(
                msg, hint=f"give a finite number, {'above' if least else 'at least'} 0", value=value
            )
    ordered = (known[:, :-1] | ~known[:, 1:]).all() and (problem.allowed < len(problem.regions)).all()
    empty = np.unique(problem.allowed[known & (problem.allowed < len(problem.regions))])
    empty = empty[problem.capacity_vcpus[empty] == 0]
    if empty.size:
        msg = f"'{problem.regions[int(empty[0])]}' has no capacity, and services may run there"
        raise InputError(msg, hint="leave it out of their allowed regions")
    ranked = np.sort(problem.allowed, axis=1)
    twice = (ranked[:, 1:] == ranked[:, :-1]) & (ranked[:, 1:] >= 0)
    if not ordered or twice.any():
        msg = "failover problem: allowed regions are out of range, twice, or behind a -1"
        raise InputError(msg, hint="give distinct indices of regions, then -1")


def _refuse_hopeless(problem: FailoverProblem) -> None:
    """Refuse services that can't outlive a loss even where they had all regions to themselves."""
    _, _, groups = problem.shape
    room = np.where(problem.allowed >= 0, problem.capacity_vcpus[problem.allowed], 0.0)
    by_group = np.zeros((len(room), groups))
    rows = np.arange(len(room))
    for at in range(room.shape[1]):
        by_group[rows, problem.group[problem.allowed[:, at]]] += room[:, at]
    several = (by_group > 0).sum(axis=1) > 1
    left = by_group.sum(axis=1) - by_group.max(axis=1)
    short = left < problem.demand_vcpus * (1 - _ROUNDING)
    faults: list[tuple[str, str]] = []
    for at in np.flatnonzero(~several | short).tolist():
        worst = problem.groups[int(by_group[at].argmax())]
        if not several[at]:
            words = f"may run only where '{worst}' is lost as a whole"
            faults.append(("failure_group", f"'{problem.service_ids[at]}' {words}"))
        else:
            words = f"needs {problem.demand_vcpus[at]:g} vCPUs, and {left[at]:g} are left without '{worst}'"
            faults.append(("capacity", f"'{problem.service_ids[at]}' {words}"))
    if faults:
        shown = "; ".join(words for _, words in faults[:_SHOWN])
        more = f" and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        msg = f"{len(faults)} of {len(room)} services can't outlive the loss of a group: {shown}{more}"
        names = tuple(sorted({name for name, _ in faults}))
        hint = "allow more regions, loosen the latency limit, or add capacity"
        raise Infeasible(msg, constraints=names, hint=hint, value=[words for _, words in faults])


# ---------------------------------------------------------------- from services and a fleet
def idle_w_per_vcpu(fleet: Fleet) -> dict[str, float]:
    """Return what one idle hardware thread draws in each region.

    Parameters
    ----------
    fleet : Fleet
        With machines where they are known.

    Returns
    -------
    dict of str to float
        Mean over a region's machines, else the median of the packaged CPU families [W].
    """
    usual_w = median(item.idle_w_per_vcpu for item in families().values())
    made: dict[str, float] = {}
    for region in fleet.regions:
        nodes = [node for node in fleet.nodes if node.region == region.name]
        threads = math.fsum(node.vcpus for node in nodes)
        made[region.name] = math.fsum(node.idle_w for node in nodes) / threads if nodes else usual_w
    return made


def service_capacity(fleet: Fleet) -> dict[str, float]:
    """Return the threads that always-on services may reserve in each region.

    Parameters
    ----------
    fleet : Fleet
        With machines where they are known.

    Returns
    -------
    dict of str to float
        All threads of the region's machines, since deferrable work gives way; where none is known, the
        region's capacity [vCPUs].
    """
    made = {region.name: region.capacity_vcpus for region in fleet.regions}
    known: dict[str, float] = {}
    for node in fleet.nodes:
        known[node.region] = known.get(node.region, 0.0) + node.vcpus
    return made | known


def round_trip_ms(one: Region, other: Region) -> float:
    """Estimate the network round trip between two regions.

    Parameters
    ----------
    one, other : Region
        With coordinates.

    Returns
    -------
    float
        Twice the great circle at half the speed of light [ms]; 0 for a region and itself, NaN
        where a coordinate is unknown.

    Examples
    --------
    >>> from aicsched.domain.fleet import Region
    >>> def at(name, lat, lon):
    ...     return Region(name=name, grid_zone="z", capacity_vcpus=1, power_w_per_vcpu=1,
    ...                   latitude_deg=lat, longitude_deg=lon)
    >>> round(round_trip_ms(at("London", 51.5, -0.1), at("New York", 40.7, -74.0)))
    74
    """
    if one.name == other.name:
        return 0.0
    facts = (one.latitude_deg, one.longitude_deg, other.latitude_deg, other.longitude_deg)
    if any(math.isnan(value) for value in facts):
        return math.nan
    lat1, lat2 = math.radians(one.latitude_deg), math.radians(other.latitude_deg)
    half = math.radians(other.longitude_deg - one.longitude_deg) / 2
    square = math.sin((lat2 - lat1) / 2) ** 2 + math.cos(lat1) * math.cos(lat2) * math.sin(half) ** 2
    return 2 * _EARTH_KM * 2 * math.asin(min(1.0, math.sqrt(square))) / _KM_PER_MS


def places_of(service: Service, fleet: Fleet, capacity_vcpus: Mapping[str, float]) -> list[int]:
    """Return the regions where a service may run.

    Parameters
    ----------
    service : Service
        With its allowed regions and latency limit.
    fleet : Fleet
        Regions, with coordinates where a limit needs them.
    capacity_vcpus : mapping of str to float
        A region without capacity is none.

    Returns
    -------
    list of int
        Indices, rising; possibly none.

    Raises
    ------
    InputError
        A region doesn't exist, or has no coordinates where a limit needs them.
    """
    names = [region.name for region in fleet.regions]
    for name in (service.home_region, *service.allowed_regions):
        if name not in names:
            msg = f"service '{service.service_id}' names region '{name}', which the fleet doesn't have"
            raise InputError(msg, hint=did_you_mean(name, names), value=name)
    home = fleet.region(service.home_region)
    found: list[int] = []
    for index, region in enumerate(fleet.regions):
        refused = bool(service.allowed_regions) and region.name not in service.allowed_regions
        if refused or not capacity_vcpus[region.name]:
            continue
        if math.isfinite(service.latency_limit_ms):
            away_ms = round_trip_ms(home, region)
            if math.isnan(away_ms):
                msg = f"service '{service.service_id}' has a latency limit, but '{region.name}' or its home "
                msg += f"'{home.name}' has no coordinates"
                raise InputError(msg, hint="give latitude_deg and longitude_deg, or allowed_regions instead")
            if away_ms > service.latency_limit_ms:
                continue
        found.append(index)
    return found


def _refuse_homeless(services: Sequence[Service], places: Sequence[list[int]]) -> None:
    for service, found in zip(services, places, strict=True):
        if not found:
            msg = (
                f"service '{service.service_id}' may run in no region within {service.latency_limit_ms:g} ms"
            )
            names = ("allowed_regions", "latency")
            raise Infeasible(msg, constraints=names, hint="allow more", value=service.service_id)


def _intensity(fleet: Fleet, forecasts: Mapping[str, Forecast], slots: SlotGrid) -> NDArray[np.float64]:
    kinds = {forecast.kind for forecast in forecasts.values()}
    if len(kinds) > 1:
        msg = f"the forecasts mix {' and '.join(sorted(map(str, kinds)))} intensities"
        hint = "average and marginal answer different questions: give one kind"
        raise InputError(msg, hint=hint, value=kinds)
    rows: list[NDArray[np.float64]] = []
    for region in fleet.regions:
        if region.grid_zone not in forecasts:
            msg = f"region '{region.name}' lies in grid zone '{region.grid_zone}', which has no forecast"
            raise UnknownZone(msg, hint=did_you_mean(region.grid_zone, forecasts), value=region.grid_zone)
        forecast = forecasts[region.grid_zone]
        offset = forecast.slots.offset_of(slots)
        rows.append(forecast.mean_g_per_kwh[offset : offset + len(slots)])
    return np.array(rows)


def build_failover(
    services: Sequence[Service],
    fleet: Fleet,
    forecasts: Mapping[str, Forecast] | None,
    slots: SlotGrid,
    *,
    capacity_vcpus: Mapping[str, float] | None = None,
    extra_g_per_vcpu_h: Mapping[str, float] | None = None,
) -> FailoverProblem:
    """Lay services, regions and forecasts out as columns.

    Parameters
    ----------
    services : sequence of Service
        Always-on work.
    fleet : Fleet
        Regions with their failure groups.
    forecasts : mapping of str to Forecast or None
        Per grid zone, all of one kind, covering `slots`; None where grams don't matter, as for
        `least_fill`: then every grid counts as equally clean.
    slots : SlotGrid
        Over which emissions are averaged, weighted by each service's demand.
    capacity_vcpus : mapping of str to float, optional
        Threads that services may reserve, per region; by default `service_capacity`.
    extra_g_per_vcpu_h : mapping of str to float, optional
        What else a reserved thread costs per region, in grams an hour: money, times the grams
        that one is ready to emit for it.

    Returns
    -------
    FailoverProblem
        Its split of a service among regions is the same in all slots, and its reserve covers the peak.

    Raises
    ------
    InputError
        A region that doesn't exist, coordinates that a latency limit needs, or kinds of intensity
        that are mixed.
    Infeasible
        Services that can't outlive a loss even alone.
    UnknownZone
        A region's grid zone has no forecast.
    SlotError
        A forecast doesn't cover the grid.
    """
    room = service_capacity(fleet) | dict(capacity_vcpus or {})
    extra = dict.fromkeys(room, 0.0) | dict(extra_g_per_vcpu_h or {})
    idle_w = idle_w_per_vcpu(fleet)
    g_per_kwh = np.ones((len(fleet.regions), len(slots)))
    if forecasts is not None:
        g_per_kwh = _intensity(fleet, forecasts, slots)
    names = [region.failure_group or region.name for region in fleet.regions]
    groups = tuple(dict.fromkeys(names))
    busy_w = np.array([region.power_w_per_vcpu * region.pue for region in fleet.regions])
    spare_w = np.array([idle_w[region.name] * region.pue for region in fleet.regions])
    places = [places_of(service, fleet, room) for service in services]
    _refuse_homeless(services, places)
    width = max((len(item) for item in places), default=0)
    allowed = np.full((len(services), max(2, width)), -1, dtype=np.int64)
    use_g = np.zeros(allowed.shape)
    by_profile: dict[tuple[float, ...], NDArray[np.float64]] = {}
    for row, (service, found) in enumerate(zip(services, places, strict=True)):
        if service.hourly_share not in by_profile:
            mean_g_per_kwh = (g_per_kwh * service.share_in(slots)).mean(axis=1)
            by_profile[service.hourly_share] = busy_w * mean_g_per_kwh / 1000.0
        allowed[row, : len(found)] = found
        use_g[row, : len(found)] = by_profile[service.hourly_share][found]
    return FailoverProblem(
        service_ids=tuple(service.service_id for service in services),
        regions=tuple(region.name for region in fleet.regions),
        groups=groups,
        group=np.array([groups.index(name) for name in names]),
        capacity_vcpus=np.array([room[region.name] for region in fleet.regions]),
        demand_vcpus=np.array([service.vcpus for service in services]),
        allowed=allowed,
        use_g=use_g,
        idle_g=spare_w * g_per_kwh.mean(axis=1) / 1000.0
        + np.array([extra[region.name] for region in fleet.regions]),
    )
