"""The risk of nodes beside Trimaran's formulas on recorded loads: Brier score, reliability, speed.

**Task.** At a moment of which only the past is known, a pod that adds a load is to run
for a horizon. The event: in some slot of that horizon, load plus added load passes 80 %.
Added loads are 0, 10, 20, 30 and 50 % of a node, the same for all sets; horizons are a
slot, and some longer ones (see the table). A set's score is the mean over all of these,
with those that always or never happen.

**Split.** Ours was chosen on origins in the second quarter of each trace, one set of
constants for all. The rivals' windows and factors are chosen there too, for each set,
horizon and formula by itself; beside that stands what they reach with the choice that
turns out best on the reported half, which nobody could know. The second half is
reported. Forecasts of all methods are of the same moments and nodes.

**Reliability.** Forecasts by tenths of stated risk: how often it came true less what was
stated, in points, and its standard error, clustered both by twenty blocks of time and by
node (Cameron, Gelbach and Miller 2011, doi:10.1198/jbes.2010.07136): neighbouring moments
tell much of the same, and so do all moments of one flat pod. Where a record repeats
itself, blocks are of its period: copies of a moment are one. A tenth whose error is at
most 1.5 points is known, and must lie within ±3. Of others that is asked which can be
told: within ±3, or no further from 0 than chance takes one in twenty (2.09 errors, as of
Student's t with 19 degrees of freedom); of tenths stated rightly, chance puts one in
twenty beyond that.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from aicsched.files import write_text
from aicsched.jit import warmup
from aicsched.report.style import AFTER, BAND, BEFORE, draw
from aicsched.score.risk.curves import GRID_POINTS
from aicsched.score.risk.exceed import exceedance
from aicsched.score.slo_risk import beta_tail
from benchmarks.score_risk_data import made_up, recorded
from benchmarks.score_risk_rivals import Candidate, candidates
from benchmarks.tables import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from benchmarks.score_risk_data import TraceSet

Array = np.ndarray[Any, np.dtype[np.float64]]
Integers = np.ndarray[Any, np.dtype[np.int64]]

TITLE = "Risk of passing 80 % of a node during a run, beside Trimaran's formulas"
LIMIT = 0.8
EXTRA = np.array([0.0, 0.1, 0.2, 0.3, 0.5])
FORMULAS = ("LowRiskOverCommitment", "LoadVariationRiskBalancing", "normal tail")
TRIMARAN = FORMULAS[:2]
RATIO = "ratio to Trimaran's better"
BLOCKS = 20
# A tenth of which the frequency is known no better than this [points] decides nothing.
KNOWN_POINTS = 1.5
ALLOWED_POINTS = 3.0
# 95 % of Student's t with a degree of freedom less than there are blocks.
BAND_ERRORS = 2.09
IMAGE = Path(__file__).resolve().parents[1] / "docs" / "images" / "score-risk.svg"
# No method states less than this, or logarithms would punish a single surprise without bound.
LEAST_RISK = 1e-4


class Outcome(NamedTuple):
    """Forecasts of one horizon: in which block each moment lies, what came, and what each method said."""

    block: Integers
    broke: Array
    known: np.ndarray[Any, np.dtype[np.bool_]]
    ours: Array
    chosen: dict[str, Array]
    hindsight: dict[str, Array]
    climate: Array


def _tops(loads: Array, horizon: int) -> Array:
    """Return the highest known load of the horizon after each slot (n, t)."""
    made = np.full(loads.shape, np.nan)
    ahead = np.lib.stride_tricks.sliding_window_view(loads[:, 1:], horizon, axis=1)
    made[:, : ahead.shape[1]] = np.fmax.reduce(ahead, axis=2)
    return made


def _origins(slots: int, horizon: int, *, report: bool, most: int) -> Integers:
    first, last = (slots // 2, slots - horizon - 1) if report else (slots // 4, slots // 2 - horizon)
    step = max(1, horizon // 4)
    every = np.arange(first, last, step)
    if len(every) <= most:
        return every
    return every[np.linspace(0, len(every) - 1, most).astype(np.int64)]


def _ours(traces: TraceSet, horizon: int, origins: Integers) -> Array:
    limits = np.full(len(traces.loads), LIMIT)
    made = np.empty((len(origins), len(limits), len(EXTRA)))
    for row, origin in enumerate(origins.tolist()):
        past = traces.loads[:, : origin + 1]
        risk = exceedance(past, limits, horizon=horizon, per_day=traces.per_day).risk
        # As a scheduler looks it up: straight between the points of the table.
        grid = np.linspace(0, 1, risk.shape[1])
        made[row] = [np.interp(EXTRA, grid, each) for each in risk]
    return made


def _brier(risk: Array, broke: Array, known: np.ndarray[Any, np.dtype[np.bool_]]) -> float:
    return float(np.mean(np.square(risk - broke)[known]))


def _best(traces: TraceSet, origins: Integers, tops: Array) -> dict[str, Candidate]:
    """Choose each formula's parameters on some origins."""
    broke, known = _events(tops, origins)
    best: dict[str, tuple[float, Candidate]] = {}
    for candidate, risk in candidates(traces.loads, origins, LIMIT, EXTRA):
        score = _brier(risk, broke, known)
        if candidate.name not in best or score < best[candidate.name][0]:
            best[candidate.name] = (score, candidate)
    return {name: candidate for name, (_, candidate) in best.items()}


def _events(tops: Array, origins: Integers) -> tuple[Array, np.ndarray[Any, np.dtype[np.bool_]]]:
    came = tops[:, origins].T[:, :, None]
    known = np.broadcast_to(~np.isnan(came), (*came.shape[:2], len(EXTRA)))
    return (came + EXTRA > LIMIT).astype(np.float64), known


def _outcome(traces: TraceSet, horizon: int) -> Outcome:
    tops = _tops(traces.loads, horizon)
    slots = traces.loads.shape[1]
    tuning = _origins(slots, horizon, report=False, most=traces.snapshots)
    origins = _origins(slots, horizon, report=True, most=traces.snapshots)
    broke, known = _events(tops, origins)
    ours = _ours(traces, horizon, origins)
    known = known & ~np.isnan(ours)
    wanted = _best(traces, tuning, tops)
    chosen: dict[str, Array] = {}
    hindsight: dict[str, Array] = {}
    for candidate, risk in candidates(traces.loads, origins, LIMIT, EXTRA):
        if candidate == wanted[candidate.name]:
            chosen[candidate.name] = risk
        best = hindsight.get(candidate.name)
        if best is None or _brier(risk, broke, known) < _brier(best, broke, known):
            hindsight[candidate.name] = risk
    past = tops[:, : slots // 2 - horizon]
    rates = np.nanmean(np.where(np.isnan(past)[:, :, None], np.nan, past[:, :, None] + EXTRA > LIMIT), axis=1)
    climate = np.broadcast_to(rates, broke.shape)
    return Outcome(_blocks(origins, traces.copied), broke, known, ours, chosen, hindsight, climate)


def _blocks(origins: Integers, copied: int) -> Integers:
    """Return in which block of the reported time, or of the period that is repeated, moments lie."""
    if copied:
        return origins % copied * BLOCKS // copied
    return (origins - origins[0]) * BLOCKS // (origins[-1] + 1 - origins[0])


def _log_loss(risk: Array, broke: Array) -> float:
    inside = np.clip(risk, LEAST_RISK, 1 - LEAST_RISK)
    return float(-np.mean(np.where(broke > 0, np.log(inside), np.log(1 - inside))))


def _scores(outcomes: list[Outcome]) -> dict[str, Any]:
    """Return the scores of one set, as means over horizons."""

    def mean(pick: str, name: str | None = None) -> float:
        values: list[float] = []
        for each in outcomes:
            risk = getattr(each, pick) if name is None else getattr(each, pick)[name]
            values.append(_brier(risk, each.broke, each.known))
        return float(np.mean(values))

    rivals = {name: mean("chosen", name) for name in FORMULAS}
    ours, least = mean("ours"), min(mean("hindsight", name) for name in TRIMARAN)
    better = min(TRIMARAN, key=lambda name: rivals[name])
    stated = np.concatenate([each.ours[each.known] for each in outcomes])
    return {
        "forecasts": len(stated),
        "base rate": float(np.mean([each.broke[each.known].mean() for each in outcomes])),
        "ours": ours,
        **rivals,
        "base rate of the past": mean("climate"),
        RATIO: ours / rivals[better],
        "ratio to its best in hindsight": ours / least,
        "log loss, ours": float(np.mean([_log_loss(e.ours[e.known], e.broke[e.known]) for e in outcomes])),
        "log loss, Trimaran's better": float(
            np.mean([_log_loss(e.chosen[better][e.known], e.broke[e.known]) for e in outcomes])
        ),
        "sharpness: sd of risk": float(stated.std()),
    }


def _by_horizon(traces: TraceSet, outcomes: list[Outcome]) -> dict[str, float]:
    made: dict[str, float] = {}
    for horizon, each in zip(traces.horizons, outcomes, strict=True):
        rivals = min(_brier(each.chosen[name], each.broke, each.known) for name in TRIMARAN)
        made[f"{horizon} slots"] = _brier(each.ours, each.broke, each.known) / rivals
    return made


class Tenth(NamedTuple):
    """Forecasts of one tenth of risk: by how many points events came more often than was stated."""

    excess: float
    error: float
    forecasts: int
    stated: float

    @property
    def known(self) -> bool:
        """Whether its frequency is known."""
        return self.error <= KNOWN_POINTS

    @property
    def holds(self) -> bool:
        """Whether it keeps what is asked of it."""
        band = 0.0 if self.known else BAND_ERRORS * self.error
        return abs(self.excess) <= max(ALLOWED_POINTS, band)


def _clustered(rest: Array, cluster: Integers) -> float:
    """Return the variance of a sum whose parts lean on each other within clusters."""
    sums = np.bincount(cluster, rest)
    used = len(np.unique(cluster))
    return float(np.square(sums).sum()) * used / max(used - 1, 1)


def reliability(
    risk: Array, broke: Array, block: Integers, node: Integers, tenths: int = 10
) -> list[Tenth | None]:
    """Return how much more often events came than was stated, by tenths of risk.

    Parameters
    ----------
    risk, broke : ndarray, shape (m,)
        Stated probabilities, and 1 where it came true.
    block, node : ndarray of int, shape (m,)
        Of which block of time and which node each is: forecasts of one lean on each other.
    tenths : int
        How many bins.

    Returns
    -------
    list of Tenth or None
        None where no two blocks have any.
    """
    made: list[Tenth | None] = []
    place = np.minimum((risk * tenths).astype(np.int64), tenths - 1)
    for tenth in range(tenths):
        chosen = np.flatnonzero(place == tenth)
        if len(np.unique(block[chosen])) < 2:
            made.append(None)
            continue
        excess = broke[chosen] - risk[chosen]
        mean, count = float(excess.mean()), len(chosen)
        rest, by_time, by_node = excess - mean, block[chosen], node[chosen]
        variance = _clustered(rest, by_time)
        if len(np.unique(by_node)) > 1:
            both = _clustered(rest, by_node * BLOCKS + by_time)
            variance = max(variance, variance + _clustered(rest, by_node) - both)
        error = 100 * float(np.sqrt(variance)) / count
        made.append(Tenth(100 * mean, error, count, float(risk[chosen].mean())))
    return made


def _reliability(outcomes: list[Outcome], pick: str = "ours", half: int | None = None) -> list[Tenth | None]:
    """Return the tenths of a set, or of the earlier (0) or the later half (1) of its reported moments."""
    parts: list[tuple[Array, Array, Integers, Integers]] = []
    for each in outcomes:
        risk = each.ours if pick == "ours" else each.chosen[pick]
        moments, nodes = risk.shape[:2]
        block = np.broadcast_to(each.block[:, None, None], risk.shape)
        node = np.broadcast_to(np.arange(nodes)[None, :, None], risk.shape)
        wanted = each.known.copy()
        if half is not None:
            wanted[moments // 2 :] &= half == 1
            wanted[: moments // 2] &= half == 0
        parts.append((risk[wanted], each.broke[wanted], block[wanted], node[wanted]))
    risks, broken, blocks, nodes_of = (np.concatenate(each) for each in zip(*parts, strict=True))
    return reliability(risks, broken, blocks, nodes_of)


def _kept(found: list[Tenth | None], *, known: bool) -> str:
    chosen = [each for each in found if each is not None and each.known == known]
    return f"{sum(each.holds for each in chosen)} of {len(chosen)}"


def _told(found: list[Tenth | None], halves: list[list[Tenth | None]]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for tenth, each in enumerate(found):
        text = None if each is None else f"{each.excess:+.1f} ± {each.error:.1f}"
        row[f"{10 * tenth} to {10 * tenth + 10} %"] = text
    row[f"known to {KNOWN_POINTS} points: within ±3"] = _kept(found, known=True)
    row["others: within ±3 or their 95 % band"] = _kept(found, known=False)
    both = [[each for each in half if each is not None] for half in halves]
    row["earlier and later half alone: hold"] = ", ".join(
        f"{sum(each.holds for each in half)} of {len(half)}" for half in both
    )
    return row


def picture(found: dict[str, list[Tenth | None]], rivals: dict[str, list[Tenth | None]]) -> str:
    """Draw how often events came against how often they were stated to, a panel a set.

    Parameters
    ----------
    found, rivals : dict of str to list of Tenth or None
        Per set, ours and the rival's.

    Returns
    -------
    str
        SVG.
    """
    columns = min(5, len(found))
    rows = -(-len(found) // columns)

    def paint(figure: Figure) -> None:
        for place, (name, tenths) in enumerate(found.items()):
            left, top = place % columns, place // columns
            box = (0.045 + left * 0.955 / columns, 1 - (top + 0.86) / rows, 0.8 / columns, 0.7 / rows)
            axes = figure.add_axes(box)
            axes.fill_between([0, 1], [-0.03, 0.97], [0.03, 1.03], color=BAND, linewidth=0)
            for each, colour, size in ((rivals[name], BEFORE, 3), (tenths, AFTER, 4)):
                drawn = [tenth for tenth in each if tenth is not None]
                stated = [tenth.stated for tenth in drawn]
                came = [tenth.stated + tenth.excess / 100 for tenth in drawn]
                errors = [BAND_ERRORS * tenth.error / 100 for tenth in drawn]
                axes.errorbar(stated, came, errors, color=colour, fmt="o", markersize=size, elinewidth=0.8)
            axes.set_xlim(0, 1)
            axes.set_ylim(0, 1)
            axes.set_title(name, fontsize=7.5)
        figure.text(0.5, 0.005, "stated risk", ha="center", fontsize=8.5)
        figure.text(0.004, 0.5, "how often it came true", va="center", rotation=90, fontsize=8.5)

    title = (
        "How often limits were passed against the stated risk, ours (blue) and LowRiskOverCommitment (grey)"
    )
    return draw("score-risk", title, (11.0, 2.4 * rows), paint)


def _speed(nodes: int, slots: int) -> list[tuple[Any, ...]]:
    """Measure a refresh of curves, beside the beta tail on the same grid of loads."""
    rng = np.random.default_rng(1)
    wave = 0.4 + 0.2 * np.sin(2 * np.pi * np.arange(slots) / 24)
    loads = np.clip(wave + 0.1 * rng.normal(size=(nodes, slots)), 0, 1)
    limits = np.full(nodes, LIMIT)
    grid = np.linspace(0, 1, GRID_POINTS)
    rows: list[tuple[Any, ...]] = []
    began = time.process_time()
    mean, spread = loads[:, -24:].mean(axis=1), loads[:, -24:].std(axis=1)
    beta_tail(mean[:, None], spread[:, None], LIMIT - grid)
    rival_s = time.process_time() - began
    for horizon in (1, 2, 4, 8, 24, 48, 96):
        wall, began = time.perf_counter(), time.process_time()
        exceedance(loads, limits, horizon=horizon, per_day=24)
        spent = time.process_time() - began
        rows.append((f"{horizon} h", spent, time.perf_counter() - wall, rival_s, spent / rival_s))
    rows.append(("all seven", *(float(sum(row[at] for row in rows)) for at in (1, 2)), None, None))
    return rows


def run(*, smoke: bool) -> list[Table]:
    """Measure scores, reliability and speed.

    Parameters
    ----------
    smoke : bool
        A small made-up set only.

    Returns
    -------
    list of Table
        With the rivals of the same run.
    """
    warmup()
    sets = made_up() if smoke else recorded() or made_up(60, 60)
    scores: dict[str, dict[str, Any]] = {}
    horizons: list[tuple[Any, ...]] = []
    reliable: dict[str, dict[str, Any]] = {}
    rivals: dict[str, dict[str, Any]] = {}
    drawn: tuple[dict[str, list[Tenth | None]], dict[str, list[Tenth | None]]] = ({}, {})
    for name, traces in sets.items():
        outcomes = [_outcome(traces, horizon) for horizon in traces.horizons]
        scores[name] = _scores(outcomes)
        ratios = list(_by_horizon(traces, outcomes).items())
        horizons.append((name, ", ".join(f"{text}: {value:.2f}" for text, value in ratios)))
        for rows, kept, pick in ((reliable, drawn[0], "ours"), (rivals, drawn[1], TRIMARAN[0])):
            kept[name] = _reliability(outcomes, pick)
            rows[name] = _told(kept[name], [_reliability(outcomes, pick, half) for half in (0, 1)])
        print(f"  {name}: {scores[name][RATIO]:.3f}", flush=True)
    svg = picture(*drawn)
    if smoke:
        assert all(each[RATIO] < 0.9 for each in scores.values())
        assert "</svg>" in svg
    else:
        write_text(IMAGE, svg)
    note = (
        "Mean of squared errors; less is better. Rivals with the window and factor that were best before. "
        "The recorded year of Alibaba is one week over and over, that of Google four weeks with a little "
        "noise, so that all of their future lies in their past: the rows below take the week and the four "
        "weeks alone, with 84 and 336 hours to learn from."
    )
    excess = (
        "Points by which events came more often than stated, with its standard error, clustered by time and "
        "node. Tenths that are known must lie within ±3; others within ±3 or their 95 % band, beyond which "
        "chance puts one in twenty.\n\n![Came against stated](../docs/images/score-risk.svg)"
    )
    other = "As above."

    def table(title: str, rows: dict[str, dict[str, Any]], text: str) -> Table:
        columns = ("traces", *next(iter(rows.values())))
        return Table(title, columns, [(name, *row.values()) for name, row in rows.items()], text)

    nodes, slots = (300, 200) if smoke else (10_000, 672)
    columns = ("run of", "ours: CPU s", "ours: s", "beta tail on the same grid: CPU s", "ours / beta tail")
    return [
        table("Brier scores", scores, note),
        Table("Ratio to Trimaran's better formula by horizon", ("traces", "ours / theirs"), horizons),
        table("Reliability, ours", reliable, excess),
        table("Reliability, LowRiskOverCommitment", rivals, other),
        Table(f"A refresh of the curves of {nodes} nodes, {slots} hours", columns, _speed(nodes, slots)),
    ]
