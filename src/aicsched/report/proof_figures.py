"""Pictures of what proves a plan: the prices of its limits, and the gap as it closed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from aicsched.report.aggregate import region_order
from aicsched.report.figures import WIDTH_IN, days_axis
from aicsched.report.style import AFTER, INK, PAST, PRICES, draw
from aicsched.report.words import mass, mass_unit, percent, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from aicsched.report.model import ReportData

__all__ = ["closing_gap", "draw_proof", "price_map"]

_GAP_IN: Final = 2.6
_MOST_MARKED: Final = 40


def draw_proof(data: ReportData) -> dict[str, str]:
    """Draw the pictures of the proof that the facts allow.

    Parameters
    ----------
    data : ReportData
        The facts.

    Returns
    -------
    dict of str to str
        SVG texts by name: ``prices`` where a limit binds, ``gap`` where the search had stages.
    """
    made: dict[str, str] = {}
    if any(price > 0 for row in data.placement.prices_g_per_vcpu_h.values() for price in row):
        made["prices"] = price_map(data)
    if len(data.placement.certificate.trace) > 1:
        made["gap"] = closing_gap(data)
    return made


def price_map(data: ReportData) -> str:
    """Draw where and when a limit of vCPUs binds, and what a vCPU-hour is worth there.

    Parameters
    ----------
    data : ReportData
        With prices in its plan.

    Returns
    -------
    str
        SVG; a row a region as in `placement_map`, its colour the price.
    """
    regions = region_order(data)
    count = len(data.placement.slots)
    rows = [data.placement.prices_g_per_vcpu_h.get(name, (0.0,) * count) for name in regions]
    prices_g = np.array(rows, np.float64)
    height = 0.3 * len(regions) + 1.15

    def paint(figure: Figure) -> None:
        axes = figure.add_axes((0.13, 0.78 / height, 0.735, (height - 0.88) / height))
        _paint_prices(axes, data, prices_g)
        axes.set_yticks(np.arange(len(regions)) + 0.5, [short(name) for name in regions])
        for row, sum_g in enumerate((prices_g.sum(axis=1) * data.placement.slots.step_h).tolist()):
            if sum_g > 0:
                axes.text(1.01, row + 0.5, f"{sum_g:.3g} g", transform=axes.get_yaxis_transform(),
                          va="center", fontsize=8.5, color=INK)  # fmt: skip
        _price_key(figure, float(prices_g.max()), height)

    return draw("prices", "Price of a vCPU-hour per region and hour", (WIDTH_IN, height), paint)


def _paint_prices(axes: Axes, data: ReportData, prices_g: NDArray[np.float64]) -> None:
    slots = data.placement.slots
    span_h = len(slots) * slots.step_h
    axes.imshow(
        np.where(prices_g > 0, prices_g, np.nan), aspect="auto", interpolation="none", cmap=PRICES,
        extent=(0, span_h, len(prices_g), 0), vmin=0, vmax=float(prices_g.max()) or 1.0,
    )  # fmt: skip
    axes.hlines(np.arange(1, len(prices_g)), 0, span_h, color="#e3e6ea", linewidth=0.8)
    axes.set_ylim(len(prices_g), 0)
    axes.grid(visible=False)
    days_axis(axes, slots.start_s, slots.end_s, most=8)


def _price_key(figure: Figure, peak_g: float, height_in: float) -> None:
    axes = figure.add_axes((0.13, 0.36 / height_in, 0.2, 0.1 / height_in))
    axes.imshow(np.linspace(0, 1, 64)[None, :], aspect="auto", cmap=PRICES, extent=(0, peak_g, 0, 1))
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(labelsize=8, size=0)
    axes.set_xticks([0, peak_g / 2, peak_g], ["0", f"{peak_g / 2:.2g}", f"{peak_g:.2g}"])
    words = "g CO₂e per vCPU-hour; blank: no price"
    figure.text(0.345, 0.41 / height_in, words, va="center", fontsize=8.5, color=PAST)
    note = "right: one more vCPU throughout"
    figure.text(0.985, 0.41 / height_in, note, va="center", ha="right", fontsize=8.5, color=INK)


def closing_gap(data: ReportData) -> str:
    """Draw how the best plan and the proven bound came together.

    Parameters
    ----------
    data : ReportData
        With the trace of the search in the plan's certificate.

    Returns
    -------
    str
        SVG; stages from left to right, not time, so that equal plans give equal pictures.
    """
    trace = np.array(data.placement.certificate.trace, np.float64)
    trace[~np.isfinite(trace)] = np.nan
    known = trace[np.isfinite(trace)]
    peak_g = float(known.max()) if known.size else 1.0
    unit, divisor = mass_unit(peak_g)
    best, bound = trace.T / divisor
    steps = np.arange(len(trace))

    def paint(figure: Figure) -> None:
        axes = figure.add_axes((0.085, 0.19, 0.9, 0.76))
        marker = "o" if len(steps) <= _MOST_MARKED else ""
        axes.fill_between(steps, bound, best, color="#eef0f3", linewidth=0)
        axes.plot(steps, best, color=AFTER, marker=marker, markersize=3.5)
        axes.plot(steps, bound, color=PAST, marker=marker, markersize=3.5, linestyle=(0, (4, 3)))
        low, high = (float(known.min()), peak_g) if known.size else (0.0, 1.0)
        margin = 0.22 * (high - low) or 0.1 * abs(high) or 1.0
        axes.set_ylim((low - margin) / divisor, (high + margin) / divisor)
        axes.set_xlim(-0.02 * steps[-1], 1.02 * steps[-1])
        axes.set_xticks(np.unique(np.linspace(0, steps[-1], min(9, len(steps))).astype(int)))
        axes.set_xlabel("stage of the search (0: before any price)")
        axes.set_ylabel(f"{unit} CO₂e (forecast)")
        at = axes.transAxes
        axes.text(0.99, 0.97, f"best plan so far: {mass(_last(trace[:, 0]))} at the end", color=AFTER,
                  ha="right", va="top", transform=at)  # fmt: skip
        axes.text(0.99, 0.03, f"proven bound: {mass(_last(trace[:, 1]))}{_gap_words(data)}", color=PAST,
                  ha="right", va="bottom", transform=at)  # fmt: skip

    return draw("gap", "Best plan and proven bound, stage by stage", (WIDTH_IN, _GAP_IN), paint)


def _last(values: NDArray[np.float64]) -> float | None:
    return float(values[-1]) if np.isfinite(values[-1]) else None


def _gap_words(data: ReportData) -> str:
    gap = data.placement.certificate.gap
    return "" if gap == float("inf") else f", gap {percent(gap, 2)}"
