"""The pictures of a drill: who works where before and after a loss, and how soon services are whole."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from aicsched.report.style import AFTER, BAND, BEFORE, INK, OTHER, PAST, draw
from aicsched.report.words import short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from aicsched.capacity import DrillResult

__all__ = ["loads", "recovery"]

WIDTH_IN: Final = 9.6
_MOST_ROWS: Final = 40


def loads(result: DrillResult, name: str) -> str:
    """Draw what works in each region before and after the loss, with its capacity.

    Parameters
    ----------
    result : DrillResult
        Of one loss.
    name : str
        Unlike those of other pictures of the page.

    Returns
    -------
    str
        SVG.
    """
    regions = list(result.capacity_vcpus)
    height = 0.42 * len(regions) + 0.6
    rows = np.arange(len(regions))
    before = np.array([result.before_vcpus[region] for region in regions])
    after = np.array([result.after_vcpus[region] for region in regions])
    room = np.array([result.capacity_vcpus[region] for region in regions])
    peak = float(max(before.max(), after.max(), room.max())) or 1.0

    def paint(figure: Figure) -> None:
        axes = figure.add_axes((0.13, 0.5 / height, 0.855, (height - 0.58) / height))
        axes.barh(rows - 0.19, before, height=0.36, color=BEFORE)
        axes.barh(rows + 0.19, after, height=0.36, color=AFTER)
        axes.vlines(room, rows - 0.42, rows + 0.42, color=INK, linewidth=1.4)
        for row, region in enumerate(regions):
            gone = region in result.lost_regions
            words = "lost" if gone else f"{after[row]:,.0f}" + (" after" if row == 0 else "")
            first = f"{before[row]:,.0f}" + (" vCPUs before" if row == 0 else "")
            step = peak * 0.006
            axes.text(before[row] + step, row - 0.19, first, va="center", fontsize=8, color=PAST)
            axes.text(
                after[row] + step, row + 0.19, words, va="center", fontsize=8, color=OTHER if gone else AFTER
            )
        axes.set_yticks(rows, [short(region) for region in regions])
        axes.set_ylim(len(regions) - 0.5, -0.5)
        axes.set_xlim(0, peak * 1.1)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("vCPUs of services at their peak; black: what a region can hold")

    return draw(name, f"Work per region before and after {result.lost} is lost", (WIDTH_IN, height), paint)


def recovery(result: DrillResult, name: str) -> str:
    """Draw how soon each service is whole again, the slowest on top.

    Parameters
    ----------
    result : DrillResult
        With at least one service hit.
    name : str
        Unlike those of other pictures of the page.

    Returns
    -------
    str
        SVG; at most forty services.
    """
    slowest = sorted(result.rows, key=lambda row: (-row.rto_s[2], row.service_id))[:_MOST_ROWS]
    height = 0.19 * len(slowest) + 0.75
    known = [row.rto_s[3] for row in slowest if math.isfinite(row.rto_s[3])]
    limit = result.facts.rto_limit_s
    right = max([limit, *known]) * 1.08

    def paint(figure: Figure) -> None:
        axes = figure.add_axes((0.2, 0.5 / height, 0.785, (height - 0.75) / height))
        for at, row in enumerate(slowest):
            _line(axes, at, row.rto_s, right)
        axes.axvline(limit, color=INK, linewidth=1.0, linestyle=(0, (4, 3)))
        words = f"runbook: {limit:g} s"
        axes.text(limit, -0.9, words, color=INK, fontsize=8.5, ha="center", va="bottom")
        axes.set_yticks(np.arange(len(slowest)), [short(row.service_id, 24) for row in slowest], fontsize=7.5)
        axes.set_ylim(len(slowest) - 0.4, -0.6)
        axes.set_xlim(0, right)
        axes.set_xlabel("seconds until whole again: best to worst case, dot: median, bar's end: 95 %")

    return draw(name, f"Time to recover when {result.lost} is lost", (WIDTH_IN, height), paint)


def _line(axes: Axes, at: int, times_s: tuple[float, float, float, float], right: float) -> None:
    low, usual, late, high = times_s
    if math.isinf(late):
        axes.text(right * 0.99, at, "finds no room", color=OTHER, fontsize=7.5, ha="right", va="center")
        return
    axes.hlines(at, low, high, color=BAND, linewidth=1.2)
    axes.hlines(at, usual, late, color=AFTER, linewidth=3.0)
    axes.plot([usual], [at], color=AFTER, marker="o", markersize=3.5)
