"""Pictures of scores: how a ranking moves with the exchange rates, and what no rate can change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from aicsched.errors import InputError
from aicsched.report.labels import LETTER_IN, spread
from aicsched.report.style import AFTER, BEFORE, INK, OTHER, PAST, draw
from aicsched.report.words import mass_unit, short
from aicsched.score.sensitivity import RISK_STEP, Lines, crossings, lines_of, pareto_front, reigns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from aicsched.domain.score import ScoreCard

__all__ = ["front_picture", "sensitivity_picture"]

_WIDTH_IN: Final = 9.6
_ROW_IN: Final = 2.9
_MOST_SHOWN: Final = 7
_FRONT_IN: Final = 3.6
_MOST_NAMED: Final = 8
_AXES: Final = {
    "risk_g": "grams that a certain breach counts as",
    "g_per_usd": "grams that a dollar counts as",
}
# Okabe and Ito's colours, told apart by every kind of colour vision (https://jfly.uni-koeln.de/color/).
_COLOURS: Final = (AFTER, OTHER, "#009e73", "#cc79a7", "#e69f00", "#56b4e9", INK)
# How far about the rate in use the axis goes, and where it begins when that is 0.
_SPAN: Final = 100.0
_FROM: Final = 1.0
# Totals further apart than this are drawn by their logarithm.
_WIDE: Final = 20.0
_TO: Final = 1e5


def sensitivity_picture(cards: Sequence[ScoreCard]) -> str:
    """Draw totals and ranks over each exchange rate, with the rates at which the best one changes.

    Parameters
    ----------
    cards : sequence of ScoreCard
        Of one request, at one set of rates.

    Returns
    -------
    str
        SVG; a row of two plots a rate: totals, and places among those shown. Who is the
        best of all candidates is worked out exactly and written above.

    Raises
    ------
    InputError
        No candidate can take the request.
    """
    found = {name: lines_of(cards, name) for name in ("risk_g", "g_per_usd")}
    rows = {name: lines for name, lines in found.items() if lines.candidates}
    if not rows:
        msg = "no candidate can take the request, so that there is nothing to draw"
        raise InputError(msg, hint="see the refusals of the scores")
    height = _ROW_IN * len(rows) + 0.1

    def paint(figure: Figure) -> None:
        for row, (name, lines) in enumerate(rows.items()):
            low = 1 - (row + 1) * _ROW_IN / height + 0.5 / height
            tall = (_ROW_IN - 1.0) / height
            kept, colours, span = _shown(lines)
            totals = figure.add_axes((0.07, low, 0.40, tall))
            _paint_totals(totals, kept, colours, span)
            ranks = figure.add_axes((0.53, low, 0.30, tall))
            _paint_ranks(ranks, kept, colours, span)
            for axes in (totals, ranks):
                axes.set_xscale("log")
                axes.set_xlim(*span)
                axes.set_xlabel(_AXES[name])
                if lines.now > 0:
                    axes.axvline(lines.now, color=PAST, linewidth=0.9, linestyle=(0, (4, 3)))
            words = _reign_words(lines, span)
            figure.text(0.07, low + tall + 0.1 / height, words, fontsize=9.0, weight="bold", color=INK)

    return draw("sensitivity", "Totals and places over the exchange rates", (_WIDTH_IN, height), paint)


def _span(lines: Lines) -> tuple[float, float]:
    return (lines.now / _SPAN, lines.now * _SPAN) if lines.now > 0 else (_FROM, _TO)


def _shown(lines: Lines) -> tuple[Lines, dict[str, str], tuple[float, float]]:
    """Choose whom to draw: who is best at some rate of the axis, then the best at the rate in use."""
    span = _span(lines)
    best = [each.candidate for each in reigns(lines) if each.low < span[1] and each.high > span[0]]
    index = {name: place for place, name in enumerate(lines.candidates)}
    order = [lines.candidates[place] for place in np.argsort(lines.at(lines.now), kind="stable").tolist()]
    names = list(dict.fromkeys([*best, *order]))[:_MOST_SHOWN]
    rows = [index[name] for name in names]
    kept = Lines(candidates=tuple(names), base_g=lines.base_g[rows], slope=lines.slope[rows], now=lines.now)
    return kept, dict(zip(names, _COLOURS, strict=False)), span


def _paint_totals(axes: Axes, lines: Lines, colours: dict[str, str], span: tuple[float, float]) -> None:
    rates = np.geomspace(*span, 200)
    totals = np.stack([lines.at(rate) for rate in rates.tolist()])
    unit, divisor = mass_unit(float(np.median(totals)))
    for place, name in enumerate(lines.candidates):
        axes.plot(rates, totals[:, place] / divisor, color=colours[name])
    if 0 < _WIDE * totals.min() < totals.max():
        axes.set_yscale("log")
    axes.set_ylabel(f"total [{unit} CO₂e]")


def _paint_ranks(axes: Axes, lines: Lines, colours: dict[str, str], span: tuple[float, float]) -> None:
    low, high = span
    inside = [each.rate for each in crossings(lines, most=high) if each.rate > low]
    edges = np.unique([low, *inside, high])
    middles = np.sqrt(edges[:-1] * edges[1:])
    order = [np.argsort(lines.at(rate), kind="stable") for rate in middles.tolist()]
    places = np.stack([np.argsort(each, kind="stable") for each in order]) + 1
    count = len(lines.candidates)
    for place, name in enumerate(lines.candidates):
        axes.stairs(places[:, place], edges, baseline=None, color=colours[name], linewidth=2.0)
        label = f"{places[-1, place]}  {short(name)}"
        axes.text(1.02, places[-1, place], label, color=colours[name], va="center", fontsize=8.5,
                  transform=axes.get_yaxis_transform(), clip_on=False)  # fmt: skip
    axes.set_ylim(count + 0.6, 0.4)
    axes.set_yticks(range(1, count + 1))
    axes.set_ylabel("place among these")


def _reign_words(lines: Lines, span: tuple[float, float]) -> str:
    """Say who is the best of all, from which rate to which."""
    parts: list[str] = []
    for each in reigns(lines):
        if each.high <= span[0] or each.low >= span[1]:
            continue
        since = f" from {_rate(each.low)}" if each.low > 0 else ""
        until = "" if np.isinf(each.high) else f" to {_rate(each.high)}"
        parts.append(f"{short(each.candidate)}{since}{until}")
    if len(parts) == 1:
        return f"best at each of these rates: {parts[0].partition(' ')[0]}"
    shown = parts if len(parts) <= 4 else [*parts[:3], f"{len(parts) - 3} more"]
    return "best: " + "; ".join(shown)


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def front_picture(cards: Sequence[ScoreCard]) -> str:
    """Draw emissions against risk, with the cards that no other beats in everything.

    Parameters
    ----------
    cards : sequence of ScoreCard
        Of one request.

    Returns
    -------
    str
        SVG; money stands beside the names of the front where it is known.

    Raises
    ------
    InputError
        No candidate can take the request.
    """
    front = pareto_front(cards)
    if not front:
        msg = "no candidate can take the request, so that there is nothing to draw"
        raise InputError(msg, hint="see the refusals of the scores")
    able = [card for card in cards if card.feasible]
    unit, divisor = mass_unit(max(card.carbon_g for card in able))
    points = np.array([(card.carbon_g / divisor, 100 * card.slo_risk) for card in able])
    marks = np.array([(card.carbon_g / divisor, 100 * card.slo_risk) for card in front])

    def paint(figure: Figure) -> None:
        axes = figure.add_axes((0.085, 0.15, 0.9, 0.80))
        axes.plot(points[:, 0], points[:, 1], "o", color=BEFORE, markersize=3.5, alpha=0.6, linewidth=0)
        axes.plot(marks[:, 0], marks[:, 1], "o", color=AFTER, markersize=6, linewidth=0)
        if points[:, 0].min() > 0:
            axes.set_xscale("log")
        # Straight up to where risks are the same, so that no risk at all has its place.
        axes.set_yscale("symlog", linthresh=100 * RISK_STEP)
        axes.set_ylim(-20 * RISK_STEP, max(4 * float(points[:, 1].max()), 1000 * RISK_STEP))
        axes.set_xlabel(f"emissions [{unit} CO₂e]")
        axes.set_ylabel("SLO risk [%]")
        _name_front(axes, front, marks)
        words = f"blue: {len(front)} of {len(able)}, which no other beats in emissions, money and risk"
        axes.text(
            0.995, 0.985, words, transform=axes.transAxes, ha="right", va="top", color=PAST, fontsize=8.5
        )

    return draw("front", "Emissions against risk, and the Pareto front", (_WIDTH_IN, _FRONT_IN), paint)


def _name_front(axes: Axes, front: Sequence[ScoreCard], marks: NDArray[np.float64]) -> None:
    """Write the names of the front where none hides another."""
    box = axes.get_position()
    size_in = (box.width * _WIDTH_IN, box.height * _FRONT_IN)
    chosen = np.unique(np.linspace(0, len(front) - 1, min(len(front), _MOST_NAMED)).astype(int)).tolist()
    labels = [
        short(front[at].candidate)
        + ("" if front[at].money_usd is None else f", {front[at].money_usd:.3g} USD")
        for at in chosen
    ]
    spots = [marks[at] for at in chosen] + [marks[at] for at in range(len(front)) if at not in chosen]
    shares = axes.transAxes.inverted().transform(axes.transData.transform(np.array(spots)))
    scaled = [(float(x) * size_in[0], float(y) * size_in[1]) for x, y in shares]
    for label, mark, (x_in, y_in) in zip(labels, scaled, spread(scaled, labels, size_in), strict=False):
        side, shift_in = ("left", 0.0) if x_in > mark[0] else ("right", LETTER_IN * len(label))
        axes.text((x_in + shift_in) / size_in[0], y_in / size_in[1], label, transform=axes.transAxes,
                  va="center", ha=side, color=AFTER, fontsize=8.5)  # fmt: skip
