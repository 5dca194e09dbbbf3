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
stated, in points, and its standard error from twenty blocks of time. Forecasts from
neighbouring moments and of one cluster's nodes tell much of the same: errors are wide.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, NamedTuple

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from aicsched.jit import warmup
from aicsched.score.risk.exceed import exceedance
from aicsched.score.slo_risk import beta_tail
from benchmarks.score_risk_data import made_up, recorded
from benchmarks.score_risk_rivals import Candidate, candidates
from benchmarks.tables import Table

if TYPE_CHECKING:
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
# No method states less than this, or logarithms would punish a single surprise without bound.
LEAST_RISK = 1e-4


class Outcome(NamedTuple):
    """Forecasts of one horizon: what came, and what each method said."""

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
    return Outcome(broke, known, ours, chosen, hindsight, np.broadcast_to(rates, broke.shape))


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


def reliability(
    risk: Array, broke: Array, block: Integers, tenths: int = 10
) -> list[tuple[float, float] | None]:
    """Return how much more often events came than was stated, by tenths of risk.

    Parameters
    ----------
    risk, broke : ndarray, shape (m,)
        Stated probabilities, and 1 where it came true.
    block : ndarray of int, shape (m,)
        In which block of time each lies: forecasts of one block lean on each other.
    tenths : int
        How many bins.

    Returns
    -------
    list of (float, float) or None
        Excess in points and its standard error; None where no two blocks have any.
    """
    made: list[tuple[float, float] | None] = []
    place = np.minimum((risk * tenths).astype(np.int64), tenths - 1)
    for tenth in range(tenths):
        chosen = place == tenth
        count = np.bincount(block[chosen], minlength=BLOCKS).astype(np.float64)
        excess = np.bincount(block[chosen], broke[chosen] - risk[chosen], minlength=BLOCKS)
        used = int((count > 0).sum())
        if used < 2:
            made.append(None)
            continue
        mean = excess.sum() / count.sum()
        spread = np.sqrt(np.square(excess - mean * count).sum() * used / (used - 1)) / count.sum()
        made.append((100 * float(mean), 100 * float(spread)))
    return made


def _reliability(outcomes: list[Outcome], pick: str = "ours") -> list[tuple[float, float] | None]:
    parts: list[tuple[Array, Array, Integers]] = []
    for each in outcomes:
        risk = each.ours if pick == "ours" else each.chosen[pick]
        moments = len(risk)
        block = np.broadcast_to((np.arange(moments) * BLOCKS // moments)[:, None, None], risk.shape)
        parts.append((risk[each.known], each.broke[each.known], block[each.known]))
    risks, broken, blocks = (np.concatenate(each) for each in zip(*parts, strict=True))
    return reliability(risks, broken, blocks)


def _told(found: list[tuple[float, float] | None]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for tenth, each in enumerate(found):
        text = None if each is None else f"{each[0]:+.1f} ± {each[1]:.1f}"
        row[f"{10 * tenth} to {10 * tenth + 10} %"] = text
    known = [abs(each[0]) for each in found if each is not None and each[1] <= KNOWN_POINTS]
    beyond = [each for each in found if each is not None and abs(each[0]) > 3.0 + 2 * each[1]]
    within = sum(value <= 3 for value in known)
    row[f"known to {KNOWN_POINTS} points: within ±3"] = f"{within} of {len(known)}"
    row["beyond ±3 by over two errors"] = str(len(beyond))
    return row


def _speed(nodes: int, slots: int) -> list[tuple[Any, ...]]:
    """Measure a refresh of curves, beside the beta tail on the same grid of loads."""
    rng = np.random.default_rng(1)
    wave = 0.4 + 0.2 * np.sin(2 * np.pi * np.arange(slots) / 24)
    loads = np.clip(wave + 0.1 * rng.normal(size=(nodes, slots)), 0, 1)
    limits = np.full(nodes, LIMIT)
    grid = np.linspace(0, 1, 129)
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
    for name, traces in sets.items():
        outcomes = [_outcome(traces, horizon) for horizon in traces.horizons]
        scores[name] = _scores(outcomes)
        ratios = list(_by_horizon(traces, outcomes).items())
        horizons.append((name, ", ".join(f"{text}: {value:.2f}" for text, value in ratios)))
        reliable[name] = _told(_reliability(outcomes))
        rivals[name] = _told(_reliability(outcomes, TRIMARAN[0]))
        print(f"  {name}: {scores[name][RATIO]:.3f}", flush=True)
    if smoke:
        assert all(each[RATIO] < 0.9 for each in scores.values())
    note = (
        "Mean of squared errors; less is better. Rivals with the window and factor that were best before. "
        "The recorded year of Alibaba is one week over and over, so that all of its future lies in its past: "
        "the row below takes the week alone, with 84 hours to learn from."
    )
    excess = "Points by which events came more often than stated, with its standard error."

    def table(title: str, rows: dict[str, dict[str, Any]], text: str) -> Table:
        columns = ("traces", *next(iter(rows.values())))
        return Table(title, columns, [(name, *row.values()) for name, row in rows.items()], text)

    nodes, slots = (300, 200) if smoke else (10_000, 672)
    columns = ("run of", "ours: CPU s", "ours: s", "beta tail on the same grid: CPU s", "ours / beta tail")
    return [
        table("Brier scores", scores, note),
        Table("Ratio to Trimaran's better formula by horizon", ("traces", "ours / theirs"), horizons),
        table("Reliability, ours", reliable, excess),
        table("Reliability, LowRiskOverCommitment", rivals, excess),
        Table(f"A refresh of the curves of {nodes} nodes, {slots} hours", columns, _speed(nodes, slots)),
    ]
