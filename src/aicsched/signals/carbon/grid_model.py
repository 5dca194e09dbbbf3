"""A made-up electricity grid that obeys physics: demand, weather, merit order, intensity.

Nothing here is a measurement of any grid. Demand has a daily, a weekly and a
yearly shape; the sun stands where astronomy puts it; wind is autocorrelated and
Weibull-distributed; hydropower follows the residual load within a week's water;
what is left is met by coal and gas in the order of a merit order. Life-cycle
factors of the fuels give the average intensity, the blocks at the margin the
marginal one.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from aicsched.data import load_table
from aicsched.footprint.intensity import emission_factors, mix_intensity

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import TypeAlias

    from numpy.typing import NDArray

    Array: TypeAlias = NDArray[np.float64]

__all__ = ["FUELS", "GridYear", "simulate_grid"]

FUELS: Final = ("nuclear", "hydro", "biomass", "wind", "solar", "gas", "coal")
_HOUR_S: Final = 3600
_DAY_H: Final = 24
_YEAR_DAYS: Final = 365.2425
_WEEKEND_CUT_SHARE: Final = 0.08
_WIND_SITES: Final = 4
# Blocks of the merit order: fuel and the share of its capacity that bids there.
_MERIT: Final = (("coal", 0.5), ("gas", 0.6), ("coal", 0.5), ("gas", 0.4))
# Thermal plant that must run for voltage and frequency: a share of demand, and of what there is.
_MUST_RUN_SHARE: Final = 0.06
_MUST_RUN_OF_THERMAL_SHARE: Final = 0.1
# Hydropower: what a year's rain allows on average, what rivers carry at least, how far lakes shift it.
_WATER_SHARE: Final = 0.48
_LEAST_FLOW_SHARE: Final = 0.08
_RESERVOIR_H: Final = 7 * 24
_BISECTIONS: Final = 24
# Half the step in demand over which the margin is averaged, as a share of demand.
_MARGIN_SHARE: Final = 0.02


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GridYear:
    """One zone's hours.

    Parameters
    ----------
    demand_mw : ndarray, shape (n,)
        Demand met in each hour [MW].
    generation_mw : dict of str to ndarray, shape (n,)
        By fuel [MW]; they add up to the demand.
    average_g_per_kwh, marginal_g_per_kwh : ndarray, shape (n,)
        Life-cycle intensities, rounded to 0.01.
    """

    demand_mw: Array
    generation_mw: dict[str, Array]
    average_g_per_kwh: Array
    marginal_g_per_kwh: Array


def _total(parts: Iterable[Array]) -> Array:
    return np.array(list(parts)).sum(axis=0)


def _smooth_noise(rng: np.random.Generator, count: int, hours: float) -> Array:
    """Return a Gaussian process of unit variance that forgets within some hours."""
    keep = float(np.exp(-1.0 / hours))
    shocks = rng.standard_normal(count) * np.sqrt(1 - keep**2)
    shocks[0] = rng.standard_normal()
    made = np.empty(count)
    state = 0.0
    for index, shock in enumerate(shocks.tolist()):
        state = keep * state + shock if index else shock
        made[index] = state
    return made


def _demand_mw(zone: dict[str, float], start_s: int, hours: Array, rng: np.random.Generator) -> Array:
    local_h = (hours + start_s / _HOUR_S + zone["longitude_deg"] / 15.0) % _DAY_H
    day = (hours + start_s / _HOUR_S) // _DAY_H
    weekend = (day + 3) % 7 >= 5  # 1970-01-01 was a Thursday; 5 and 6 are the weekend
    daily = -0.13 * np.cos(2 * np.pi * (local_h - 3.5) / _DAY_H)
    daily += 0.05 * np.cos(4 * np.pi * (local_h - 19.5) / _DAY_H)
    yearly = zone["winter_share"] * np.cos(2 * np.pi * (day % _YEAR_DAYS - 15.0) / _YEAR_DAYS)
    noise = 0.025 * _smooth_noise(rng, len(hours), 36.0)
    return zone["demand_mw"] * (1 + daily + yearly - _WEEKEND_CUT_SHARE * weekend + noise)


def _solar_mw(zone: dict[str, float], start_s: int, hours: Array, rng: np.random.Generator) -> Array:
    """Return photovoltaic power by the sun's height and a day's clouds (Cooper 1969 declination)."""
    since_h = hours + start_s / _HOUR_S + 0.5
    day_of_year = since_h / _DAY_H % _YEAR_DAYS
    declination = np.deg2rad(23.45) * np.sin(2 * np.pi * (284 + day_of_year) / 365)
    hour_angle = np.deg2rad(15.0) * ((since_h + zone["longitude_deg"] / 15.0) % _DAY_H - 12)
    latitude = np.deg2rad(zone["latitude_deg"])
    height = np.sin(latitude) * np.sin(declination)
    height += np.cos(latitude) * np.cos(declination) * np.cos(hour_angle)
    clouds = 1 / (1 + np.exp(-1.2 * _smooth_noise(rng, len(hours), 30.0) - 0.6))
    return zone["solar_mw"] * 0.85 * np.maximum(0.0, height) ** 1.15 * (0.25 + 0.75 * clouds)


def _wind_mw(zone: dict[str, float], hours: Array, rng: np.random.Generator) -> Array:
    """Return wind power: a Weibull speed through a turbine's curve, smoothed over a zone's sites."""
    common = _smooth_noise(rng, len(hours), 84.0)
    power = np.zeros(len(hours))
    for _ in range(_WIND_SITES):
        weather = 0.72 * common + 0.69 * _smooth_noise(rng, len(hours), 30.0)
        probability = 1 / (1 + np.exp(-1.702 * weather))
        speed = 8.0 * np.sqrt(-np.log1p(-np.minimum(probability, 1 - 1e-9)))
        power += np.clip((speed - 3.0) / 10.5, 0.0, 1.0) ** 1.5
    return zone["wind_mw"] * 0.92 * power / _WIND_SITES


def _hydro_mw(zone: dict[str, float], residual_mw: Array) -> Array:
    """Return hydropower: each week's water goes where the residual load is highest.

    Above a level L the reservoirs follow the load; L is where the week's water is
    just used up, found by bisection. Water that nobody needs stays in the lake.
    """
    top, least = zone["hydro_mw"], _LEAST_FLOW_SHARE * zone["hydro_mw"]
    made = np.empty_like(residual_mw)
    for start in range(0, len(residual_mw), _RESERVOIR_H):
        need = residual_mw[start : start + _RESERVOIR_H]
        low, high = 0.0, max(0.0, float(need.max()))
        for _ in range(_BISECTIONS):
            level = (low + high) / 2
            spent = float(np.minimum(np.maximum(need - level, least), top).mean())
            low, high = (level, high) if spent > _WATER_SHARE * top else (low, level)
        made[start : start + _RESERVOIR_H] = np.clip(need - high, least, top)
    return made


def _dispatch(zone: dict[str, float], need_mw: Array) -> dict[str, Array]:
    """Meet a thermal need block by block; the last takes what rounding leaves."""
    made = {"coal": np.zeros_like(need_mw), "gas": np.zeros_like(need_mw)}
    left = need_mw.copy()
    for fuel, share in _MERIT:
        block = np.minimum(left, zone[f"{fuel}_mw"] * share)
        made[fuel] += block
        left -= block
    made["gas"] += left
    return made


def simulate_grid(zone_id: str, *, start_s: int, hours: int, seed: int) -> GridYear:
    """Make the hours of one sample zone.

    Parameters
    ----------
    zone_id : str
        A row of the table ``sample_zones``.
    start_s : int
        Start of the first hour, a UTC midnight, seconds since the epoch.
    hours : int
        How many, whole days.
    seed : int
        Seed of the weather; zones differ by their names.

    Returns
    -------
    GridYear
        The same for the same arguments, everywhere.
    """
    row = {item["grid_zone"]: item for item in load_table("sample_zones")}[zone_id]
    zone = {name: float(value) for name, value in row.items() if name not in {"grid_zone", "unit", "source"}}
    digest = hashlib.sha256(f"{seed}:{zone_id}".encode()).digest()
    rng = np.random.default_rng(int.from_bytes(digest[:8], "big"))
    time_h = np.arange(hours, dtype=np.float64)
    demand = _demand_mw(zone, start_s, time_h, rng)
    generation = {
        "nuclear": np.full(hours, 0.9 * zone["nuclear_mw"]),
        "biomass": np.full(hours, 0.6 * zone["biomass_mw"]),
        "wind": _wind_mw(zone, time_h, rng),
        "solar": _solar_mw(zone, start_s, time_h, rng),
    }
    generation["hydro"] = _hydro_mw(zone, demand - _total(generation.values()))
    need = demand - _total(generation.values())
    thermal_mw = zone["coal_mw"] + zone["gas_mw"]
    # What no plant can meet is shed, as a grid operator would: rare, and never in the packaged sample.
    shed = np.maximum(0.0, need - thermal_mw)
    demand, need = demand - shed, need - shed
    must_run = np.minimum(_MUST_RUN_SHARE * demand, _MUST_RUN_OF_THERMAL_SHARE * thermal_mw)
    spare = np.maximum(0.0, must_run - need)
    _curtail(generation, spare)
    thermal = np.maximum(need, must_run)
    thermal = np.maximum(thermal, demand - _total(generation.values()))
    generation |= _dispatch(zone, thermal)
    factors = emission_factors()
    average = mix_intensity([generation[fuel] for fuel in FUELS], [factors[fuel] for fuel in FUELS])
    in_lakes = generation["hydro"] > _LEAST_FLOW_SHARE * zone["hydro_mw"] * 1.01
    backup = np.where(in_lakes, factors["hydro"], factors["wind"])
    marginal = _marginal(zone, need, must_run, demand, factors, backup)
    return GridYear(
        demand_mw=demand,
        generation_mw=generation,
        average_g_per_kwh=average.round(2),
        marginal_g_per_kwh=marginal.round(2),
    )


def _curtail(generation: dict[str, Array], spare_mw: Array) -> None:
    """Turn renewables down where nothing can use them: wind and solar first, then hydro, then the rest."""
    left = spare_mw.copy()
    for fuels in (("wind", "solar"), ("hydro",), ("biomass", "nuclear")):
        there = _total(generation[fuel] for fuel in fuels)
        cut = np.minimum(left, there)
        share = np.divide(cut, there, out=np.zeros_like(there), where=there > 0)
        for fuel in fuels:
            generation[fuel] = generation[fuel] * (1 - share)
        left -= cut


def _marginal(
    zone: dict[str, float],
    need: Array,
    must_run: Array,
    demand: Array,
    factors: Mapping[str, float],
    backup_g_per_kwh: Array,
) -> Array:
    """Return what the next kilowatt-hour emits: the blocks that a small step in demand moves."""
    step = _MARGIN_SHARE * demand
    more = _dispatch(zone, np.maximum(need + step, must_run))
    less = _dispatch(zone, np.maximum(need - step, must_run))
    moved = {fuel: (more[fuel] - less[fuel]) / (2 * step) for fuel in more}
    # What thermal plant doesn't answer comes out of lakes, or from renewables that were turned down.
    rest = np.maximum(0.0, 1 - _total(moved.values()))
    return _total(moved[fuel] * factors[fuel] for fuel in moved) + rest * backup_g_per_kwh
