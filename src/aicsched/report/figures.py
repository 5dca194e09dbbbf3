"""The pictures of a report, each an SVG text with units on its axes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from aicsched.report.aggregate import (
    emissions_by_region_g,
    emissions_by_slot_g,
    intensity_g_per_kwh,
    region_order,
    slot_wait_h,
    telling_zones,
    work_vcpus,
)
from aicsched.report.labels import LETTER_IN, spread
from aicsched.report.style import AFTER, BAND, BEFORE, INK, INTENSITY, OTHER, PAST, draw
from aicsched.report.words import mass_unit, policy_name, short
from aicsched.slots import HOUR_S

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from aicsched.domain.carbon import CarbonSeries
    from aicsched.domain.placement import Placement
    from aicsched.report.model import ReportData

__all__ = [
    "days_axis",
    "draw_all",
    "forecast_fan",
    "hourly_carbon",
    "pareto_front",
    "placement_map",
    "region_bars",
]

PAST_H: Final = 168
WIDTH_IN: Final = 9.6
PARETO_IN: Final = 3.4
_DAY_H: Final = 24


def draw_all(data: ReportData) -> dict[str, str]:
    """Draw every picture that the facts allow.

    Parameters
    ----------
    data : ReportData
        The facts.

    Returns
    -------
    dict of str to str
        SVG texts by name: ``placement``, ``regions``, ``hourly``, ``forecast`` and, with points on
        the front, ``pareto``.
    """
    made = {
        "placement": placement_map(data),
        "regions": region_bars(data),
        "hourly": hourly_carbon(data),
        "forecast": forecast_fan(data),
    }
    if data.pareto:
        made["pareto"] = pareto_front(data)
    return made


def days_axis(axes: Axes, start_s: int, end_s: int, *, most: int) -> None:
    """Label the UTC midnights of a time axis in hours since `start_s`.

    Parameters
    ----------
    axes : Axes
        Whose horizontal axis is meant.
    start_s, end_s : int
        What it shows, seconds since the epoch.
    most : int
        At most so many labels.
    """
    first = -(-start_s // (_DAY_H * HOUR_S))
    last = (end_s - 1) // (_DAY_H * HOUR_S)  # a label at the very end would run into the neighbour
    every = max(1, -(-(last - first + 1) // most))
    days = range(first, last + 1, every)
    axes.set_xticks([(day * _DAY_H * HOUR_S - start_s) / HOUR_S for day in days])
    dates = [datetime.fromtimestamp(day * _DAY_H * HOUR_S, tz=UTC) for day in days]
    axes.set_xticklabels([f"{date.day} {date:%b}" for date in dates])
    axes.set_xlim(0, (end_s - start_s) / HOUR_S)


def _cut(
    series: CarbonSeries | None, origin_s: int, start_s: int, end_s: int
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return centres of slots [h since origin_s] and values inside a window."""
    if series is None:
        return np.array([]), np.array([])
    part = series.window(series.slots.between(start_s, end_s))
    return (part.slots.starts_s() + part.slots.step_s / 2 - origin_s) / HOUR_S, part.values_g_per_kwh


# ---------------------------------------------------------------- forecasts
def forecast_fan(data: ReportData) -> str:
    """Draw past, forecast with its 80 % band, and what happened, for the zones that matter most.

    Parameters
    ----------
    data : ReportData
        The facts.

    Returns
    -------
    str
        SVG.
    """
    zones = telling_zones(data)
    rows = -(-len(zones) // 2)

    def paint(figure: Figure) -> None:
        height = 2.1 * rows + 0.08
        for index, zone in enumerate(zones):
            left, row = 0.065 + 0.5 * (index % 2), index // 2
            bottom = 1 - (2.1 * (row + 1) - 0.28) / height
            axes = figure.add_axes((left, bottom, 0.425, 1.45 / height))
            _fan(axes, data, zone, first=index == 0)

    return draw("forecast", "Carbon intensity: past, forecast and band", (WIDTH_IN, 2.1 * rows + 0.08), paint)


def _fan(axes: Axes, data: ReportData, zone: str, *, first: bool) -> None:
    forecast = data.forecasts[zone]
    start_s, end_s = data.now_s - PAST_H * HOUR_S, forecast.slots.end_s
    x_past, past = _cut(data.history.get(zone), start_s, start_s, data.now_s)
    x_next, actual = _cut(data.future.get(zone), start_s, data.now_s, end_s)
    x_forecast = (forecast.slots.starts_s() + forecast.slots.step_s / 2 - start_s) / HOUR_S
    axes.plot(x_past, past, color=PAST, linewidth=1.0)
    top = [forecast.mean_g_per_kwh, past, actual]
    if {0.1, 0.9} <= set(forecast.levels):
        low, high = forecast.quantile(0.1), forecast.quantile(0.9)
        axes.fill_between(x_forecast, low, high, color=BAND, alpha=0.55, linewidth=0)
        top.append(high)
    axes.plot(x_next, actual, color=OTHER, linewidth=1.0)
    axes.plot(x_forecast, forecast.mean_g_per_kwh, color=AFTER, linewidth=1.5)
    axes.axvline(PAST_H, color=INK, linewidth=0.8)
    peak = max(float(np.nanmax(item)) for item in top if item.size and not np.isnan(item).all())
    axes.set_ylim(0, peak * (1.3 if first else 1.12) or 1.0)
    axes.set_title(short(f"{zone}  ({_regions_in(data, zone)})", 46))
    axes.set_ylabel("g CO₂e per kWh")
    days_axis(axes, start_s, end_s, most=7)
    if first:
        _name_lines(axes, known=bool(actual.size), end_h=(end_s - start_s) / HOUR_S)


def _regions_in(data: ReportData, zone: str) -> str:
    return ", ".join(region.name for region in data.fleet.regions if region.grid_zone == zone)


def _name_lines(axes: Axes, *, known: bool, end_h: float) -> None:
    """Name the lines once, in the free strip above them."""
    at = axes.get_xaxis_transform()
    axes.text(PAST_H - 3, 0.97, "measured past", color=PAST, ha="right", va="top", transform=at, fontsize=8.5)
    axes.text(
        PAST_H + 3, 0.97, "forecast, 80 % band", color=AFTER, ha="left", va="top", transform=at, fontsize=8.5
    )
    if known:
        axes.text(end_h, 0.86, "what happened", color=OTHER, ha="right", va="top", transform=at, fontsize=8.5)


# ---------------------------------------------------------------- placement
def placement_map(data: ReportData) -> str:
    """Draw where and when work runs before and after, over the carbon intensity.

    Parameters
    ----------
    data : ReportData
        The facts.

    Returns
    -------
    str
        SVG; a row a region, cleanest on top, its colour the intensity, its height the work.
    """
    regions = region_order(data)
    height = 0.36 * len(regions) + 1.15

    def paint(figure: Figure) -> None:
        plans = [("Before: every job at once at home", data.no_wait), ("After: the plan", data.placement)]
        shown = [(title, plan) for title, plan in plans if plan is not None]
        tops = np.max([work_vcpus(data, plan, regions).max(axis=1) for _, plan in shown], axis=0)
        names = [short(name) for name in regions]
        room = np.array([data.fleet.region(name).capacity_vcpus for name in regions])
        width = (0.985 - 0.13) / len(shown)
        box = (0.78 / height, (height - 1.15) / height)
        for index, (title, plan) in enumerate(shown):
            axes = figure.add_axes((0.13 + index * width, box[0], width - 0.012, box[1]))
            _map(axes, data, plan, regions, np.maximum(tops, room))
            axes.set_title(title)
            axes.set_yticks(np.arange(len(regions)) + 0.5, names if index == 0 else [""] * len(regions))
        _colour_key(figure, float(intensity_g_per_kwh(data, regions).max()) or 1.0, height)

    return draw(
        "placement",
        "Work per region and hour, before and after, over carbon intensity",
        (WIDTH_IN, height),
        paint,
    )


def _map(
    axes: Axes, data: ReportData, plan: Placement, regions: tuple[str, ...], full: NDArray[np.float64]
) -> None:
    slots = plan.slots
    span_h = len(slots) * slots.step_h
    grams = intensity_g_per_kwh(data, regions)
    axes.imshow(
        grams, aspect="auto", interpolation="none", cmap=INTENSITY, extent=(0, span_h, len(regions), 0),
        vmin=0, vmax=float(grams.max()) or 1.0,
    )  # fmt: skip
    work = work_vcpus(data, plan, regions) / np.where(full > 0, full, 1.0)[:, None]
    edges_h = np.arange(len(slots) + 1) * slots.step_h
    for row, share in enumerate(work):
        base = row + 0.96
        axes.stairs(
            base - 0.86 * share, edges_h, baseline=base, fill=True, color=INK, alpha=0.85, linewidth=0
        )
    axes.hlines(np.arange(1, len(regions)), 0, span_h, color="white", linewidth=1.6)
    axes.set_ylim(len(regions), 0)
    axes.grid(visible=False)
    days_axis(axes, slots.start_s, slots.end_s, most=6)


def _colour_key(figure: Figure, peak_g_per_kwh: float, height_in: float) -> None:
    axes = figure.add_axes((0.13, 0.36 / height_in, 0.2, 0.1 / height_in))
    axes.imshow(
        np.linspace(0, 1, 64)[None, :], aspect="auto", cmap=INTENSITY, extent=(0, peak_g_per_kwh, 0, 1)
    )
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(labelsize=8, size=0)
    axes.locator_params(axis="x", nbins=4)
    figure.text(0.345, 0.41 / height_in, "g CO₂e per kWh (forecast)", va="center", fontsize=8.5, color=PAST)
    note = "black: vCPUs at work, a full row is the region's capacity"
    figure.text(0.985, 0.41 / height_in, note, va="center", ha="right", fontsize=8.5, color=INK)


# ---------------------------------------------------------------- carbon
def region_bars(data: ReportData) -> str:
    """Draw what each region emits before and after.

    Parameters
    ----------
    data : ReportData
        The facts.

    Returns
    -------
    str
        SVG.
    """
    regions = region_order(data)
    height = 0.4 * len(regions) + 0.58
    after = emissions_by_region_g(data.placement, regions)
    before = None if data.no_wait is None else emissions_by_region_g(data.no_wait, regions)
    peak_g = float(max(after.max(), 0.0 if before is None else before.max()))
    unit, divisor = mass_unit(peak_g)

    def paint(figure: Figure) -> None:
        axes = figure.add_axes((0.13, 0.5 / height, 0.855, (height - 0.58) / height))
        rows = np.arange(len(regions))
        series = [(after, AFTER, "after", 0.19)]
        if before is not None:
            series.insert(0, (before, BEFORE, "before", -0.19))
        for values_g, colour, name, shift in series:
            axes.barh(rows + shift, values_g / divisor, height=0.36, color=colour)
            for row, value_g in enumerate(values_g.tolist()):
                label = f"{value_g / divisor:,.1f}" + (f" {unit} {name}" if row == 0 else "")
                axes.text(value_g / divisor + peak_g / divisor * 0.006, row + shift, label, va="center",
                          fontsize=8, color=PAST if colour == BEFORE else AFTER)  # fmt: skip
        axes.set_yticks(rows, [short(name) for name in regions])
        axes.set_ylim(len(regions) - 0.5, -0.5)
        axes.set_xlim(0, peak_g / divisor * 1.08 or 1.0)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel(f"{unit} CO₂e over the plan (forecast)")

    return draw("regions", "Carbon by region, before and after", (WIDTH_IN, height), paint)


def hourly_carbon(data: ReportData) -> str:
    """Draw what the plan and the baseline emit hour by hour.

    Parameters
    ----------
    data : ReportData
        The facts.

    Returns
    -------
    str
        SVG.
    """
    slots = data.placement.slots
    edges_h = np.arange(len(slots) + 1) * slots.step_h
    after = emissions_by_slot_g(data, data.placement) / slots.step_h
    before = None if data.no_wait is None else emissions_by_slot_g(data, data.no_wait) / slots.step_h
    peak_g = float(max(after.max(), 0.0 if before is None else before.max()))
    unit, divisor = mass_unit(peak_g)

    def paint(figure: Figure) -> None:
        axes = figure.add_axes((0.065, 0.13, 0.92, 0.8))
        if before is not None:
            axes.stairs(before / divisor, edges_h, fill=True, color=BEFORE, alpha=0.35, linewidth=0)
            axes.stairs(before / divisor, edges_h, color=BEFORE, linewidth=1.2, baseline=None)
        axes.stairs(after / divisor, edges_h, color=AFTER, linewidth=1.6, baseline=None)
        axes.set_ylim(0, peak_g / divisor * 1.18 or 1.0)
        axes.set_ylabel(f"{unit} CO₂e per hour")
        days_axis(axes, slots.start_s, slots.end_s, most=12)
        at = axes.transAxes
        if before is not None:
            axes.text(0.99, 0.97, "before", color=PAST, ha="right", va="top", transform=at)
        axes.text(0.99, 0.885, "after", color=AFTER, ha="right", va="top", transform=at, weight="bold")

    return draw("hourly", "Carbon per hour, before and after", (WIDTH_IN, 2.5), paint)


# ---------------------------------------------------------------- carbon against waiting
def pareto_front(data: ReportData) -> str:
    """Draw carbon against waiting, with the proven bound and the other policies.

    Parameters
    ----------
    data : ReportData
        With points on the front.

    Returns
    -------
    str
        SVG.
    """
    # The front counts waiting in whole slots: shifted by what rounding adds, it lies beside the others.
    plan_h = data.mean_delay_h.get(data.placement.policy)
    rounding_h = 0.0 if plan_h is None else plan_h - slot_wait_h(data, data.placement)
    front = sorted(data.pareto, key=lambda point: point.mean_delay_h)
    points = [
        (plan.policy, data.mean_delay_h.get(plan.policy), plan.total_g) for plan in data.baselines.values()
    ]
    points.append(
        (data.placement.policy, data.mean_delay_h.get(data.placement.policy), data.placement.total_g)
    )
    known = [(name, delay_h, total_g) for name, delay_h, total_g in points if delay_h is not None]
    peak_g = max([point.total_g for point in front] + [total_g for _, _, total_g in known])
    unit, divisor = mass_unit(peak_g)

    def paint(figure: Figure) -> None:
        axes = figure.add_axes((0.065, 0.155, 0.92, 0.815))
        waits = [point.mean_delay_h + rounding_h for point in front]
        totals = [point.total_g / divisor for point in front]
        bounds = [max(0.0, point.lower_bound_g) / divisor for point in front]
        axes.fill_between(waits, 0, bounds, color="#eef0f3", linewidth=0)
        axes.plot(waits, bounds, color=PAST, linewidth=1.0, linestyle=(0, (4, 3)))
        axes.plot(waits, totals, color=AFTER, marker="o", markersize=4)
        right_h = max([*waits, *(delay_h for _, delay_h, _ in known)], default=0.0) or 1.0
        axes.set_xlim(-0.02 * right_h, right_h * 1.16)
        axes.set_ylim(0, peak_g / divisor * 1.12)
        axes.set_xlabel("mean wait of a job beyond its own length [h]")
        axes.set_ylabel(f"{unit} CO₂e (forecast)")
        middle = len(front) // 2
        words = "no plan can lie here (proven bound)"
        axes.text(waits[middle], bounds[middle] * 0.9, words, color=PAST, va="top", ha="center", fontsize=8.5)
        fronts = list(zip(waits, totals, strict=True))
        _mark_policies(axes, known, divisor, data.placement.policy, fronts)

    return draw("pareto", "Carbon against mean waiting time", (WIDTH_IN, PARETO_IN), paint)


def _mark_policies(
    axes: Axes,
    known: list[tuple[str, float, float]],
    divisor: float,
    plan: str,
    fronts: list[tuple[float, float]],
) -> None:
    """Mark the policies, their names where they hide neither each other nor a mark."""
    box = axes.get_position()
    size_in = (box.width * WIDTH_IN, box.height * PARETO_IN)
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    labels = [f"{policy_name(name)}: {total_g / divisor:,.1f}" for name, _, total_g in known]
    spots = [(delay_h, total_g / divisor) for _, delay_h, total_g in known] + fronts
    scaled = [
        ((x - left) / (right - left) * size_in[0], (y - low) / (high - low) * size_in[1]) for x, y in spots
    ]
    places = spread(scaled, labels, size_in)
    for (name, delay_h, total_g), label, mark, (x_in, y_in) in zip(
        known, labels, scaled, places, strict=False
    ):
        chosen = name == plan
        colour = AFTER if chosen else OTHER
        marker, size, weight = ("D", 7.0, "bold") if chosen else ("s", 5.5, "normal")
        axes.plot([delay_h], [total_g / divisor], marker=marker, markersize=size, color=colour)
        # On the left of its mark a name ends there, however narrow its letters turn out.
        side, shift_in = ("left", 0.0) if x_in > mark[0] else ("right", LETTER_IN * len(label))
        axes.text((x_in + shift_in) / size_in[0], y_in / size_in[1], label, transform=axes.transAxes,
                  va="center", ha=side, color=colour, weight=weight)  # fmt: skip
