"""How CPU seconds grow with the number of jobs, fitted over three decades, and how gaps close in them.

The problems are those of `place_scale`: five regions, 96 hours, lengths and threads of the PAI
trace, 100 to 100,000 jobs. Each is planned to one gap or until its steps, a fixed number a job,
are used up. The exponent is the slope of a line through the logarithms, with Student's 95 %
interval. How many of the largest job a region holds stands beside it: few large
jobs are harder than many small ones. The rival is HiGHS on the relaxation of the direct model,
asked up to 1,000 jobs. A full run draws both pictures of ``docs/placement.md``.
"""

from __future__ import annotations

import resource
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from matplotlib.colors import to_hex

from aicsched.files import write_text
from aicsched.place.ground import ground_of
from aicsched.place.pricing import Oracle
from aicsched.place.solve import solve
from aicsched.report.style import AFTER, BEFORE, OTHER, PAST, PRICES, draw
from benchmarks.place_scale import instance, relaxation_g
from benchmarks.tables import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

    from aicsched.domain.placement import Placement
    from aicsched.place.problem import Problem

TITLE = "Growth of planning time with the number of jobs"
IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
_REGIONS, _HOURS, _SLACK, _MOST = 5, 96, 12, 8
_GAP = 0.02
_FULL = (100, 316, 1_000, 3_162, 10_000, 31_623, 100_000)
# From here on a region holds more than a few of the largest job, so that only the number of jobs grows.
_LEAST_FINE = 3_000
_SMOKE = (40, 80, 160)
_MOST_RIVAL = 1_000
_ORACLE_S = 0.2
_STARTS_S = 0.01


class Fit(NamedTuple):
    """A power law: y = scale · x^exponent.

    Parameters
    ----------
    exponent : float
        Its exponent.
    low, high : float
        Its 95 % interval, by Student's t; NaN for two points.
    scale : float
        Of the law.
    """

    exponent: float
    low: float
    high: float
    scale: float


class Case(NamedTuple):
    """What one size took.

    Parameters
    ----------
    jobs : int
        Its jobs.
    grains : float
        Capacity of a region over its largest job.
    gap : float
        Proven gap at the end.
    solve_s, oracle_s : float
        CPU seconds of the plan, and of one answer of the oracle.
    rival_s : float or None
        CPU seconds of HiGHS on the relaxation.
    iterations : int
        Steps of prices and repair.
    peak_gb : float
        Most memory so far [GB].
    seen : list of tuple of float
        CPU seconds and gap after each stage.
    """

    jobs: int
    grains: float
    gap: float
    solve_s: float
    oracle_s: float
    rival_s: float | None
    iterations: int
    peak_gb: float
    seen: list[tuple[float, float]]


def fit(sizes: Sequence[float], values: Sequence[float]) -> Fit:
    """Fit a power law by least squares on the logarithms.

    Parameters
    ----------
    sizes, values : sequence of float
        Above 0; at least two.

    Returns
    -------
    Fit
        The law.

    Examples
    --------
    >>> law = fit([1, 10, 100, 1000], [3, 300, 30_000, 3_000_000])
    >>> round(law.exponent, 9), round(law.low, 6), round(law.high, 6), round(law.scale, 9)
    (2.0, 2.0, 2.0, 3.0)
    """
    from scipy.stats import t

    x, y = np.log10(np.asarray(sizes, float)), np.log10(np.asarray(values, float))
    apart = x - x.mean()
    slope = float(apart @ y / (apart @ apart))
    start = float(y.mean() - slope * x.mean())
    free = len(x) - 2
    if free < 1:
        return Fit(slope, float("nan"), float("nan"), 10.0**start)
    left = y - start - slope * x
    wide = float(t.ppf(0.975, free)) * float(np.sqrt((left @ left) / free / (apart @ apart)))
    return Fit(slope, slope - wide, slope + wide, 10.0**start)


def _oracle_s(problem: Problem, plan: Placement) -> float:
    """Return the CPU seconds of one answer at the plan's prices, the least of several."""
    oracle = Oracle(ground_of(problem))
    rows = [plan.prices_g_per_vcpu_h[name] for name in problem.regions]
    prices_g = np.array(rows)[None] * problem.slots.step_h
    oracle.bound(prices_g)
    times: list[float] = []
    while sum(times) < _ORACLE_S:
        begun = time.process_time()
        oracle.bound(prices_g)
        times.append(time.process_time() - begun)
    return min(times)


def measure(count: int, *, gap: float = _GAP, ask: bool) -> Case:
    """Plan one size.

    Parameters
    ----------
    count : int
        Jobs.
    gap : float
        To stop at.
    ask : bool
        Whether HiGHS is asked, too.

    Returns
    -------
    Case
        What it took.
    """
    problem, _ = instance(count, _REGIONS, _HOURS, _SLACK, _MOST)
    seen: list[tuple[float, float]] = []
    begun = time.process_time()
    plan = solve(
        problem,
        gap=gap,
        progress=lambda best, bound: seen.append((time.process_time() - begun, best / bound - 1)),
    )
    solve_s = time.process_time() - begun
    rival_s = None
    if ask:
        begun = time.process_time()
        bound_g = relaxation_g(problem)
        rival_s = time.process_time() - begun
        assert bound_g <= plan.total_g * (1 + 1e-9), "the plan lies below the relaxation"
    return Case(
        jobs=count,
        grains=float(problem.capacity.max() / problem.vcpus.max()),
        gap=plan.certificate.gap,
        solve_s=solve_s,
        oracle_s=_oracle_s(problem, plan),
        rival_s=rival_s,
        iterations=plan.certificate.iterations,
        peak_gb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
        seen=[*seen, (solve_s, plan.certificate.gap)],
    )


def laws(cases: Sequence[Case]) -> dict[str, tuple[list[int], list[float]]]:
    """Return the sizes and CPU seconds that each law is fitted to.

    Parameters
    ----------
    cases : sequence of Case
        Rising in jobs.

    Returns
    -------
    dict
        By the law's name; laws with less than two points are left out.
    """
    fine = [case for case in cases if case.jobs >= _LEAST_FINE]
    points = {
        "plan with its proof": [(case.jobs, case.solve_s) for case in cases],
        f"the same, from {_LEAST_FINE:,} jobs": [(case.jobs, case.solve_s) for case in fine],
        "one answer of the oracle": [(case.jobs, case.oracle_s) for case in cases],
        "HiGHS, the bound alone": [(case.jobs, case.rival_s) for case in cases if case.rival_s is not None],
    }
    return {
        name: ([jobs for jobs, _ in pairs], [spent for _, spent in pairs])
        for name, pairs in points.items()
        if len(pairs) > 1
    }


def growth_picture(cases: Sequence[Case]) -> str:
    """Draw CPU seconds against jobs with the fitted laws.

    Parameters
    ----------
    cases : sequence of Case
        Rising in jobs, at least two.

    Returns
    -------
    str
        SVG, both axes logarithmic.
    """

    def paint(figure: Figure) -> None:
        axes = figure.add_axes((0.085, 0.13, 0.61, 0.83))
        axes.set_xscale("log")
        axes.set_yscale("log")
        looks = dict(zip(laws(cases), (BEFORE, AFTER, OTHER, PAST), strict=False))
        for name, (sizes, values) in laws(cases).items():
            law, ends = fit(sizes, values), np.array([sizes[0], sizes[-1]], float)
            axes.plot(sizes, values, color=looks[name], marker="o", markersize=4, linestyle="none")
            axes.plot(ends, law.scale * ends**law.exponent, color=looks[name], linewidth=1.0)
        for row, (name, points) in enumerate(laws(cases).items()):
            law = fit(*points)
            words = f"{name}:\njobs^{law.exponent:.2f} (95 %: {law.low:.2f} to {law.high:.2f})"
            figure.text(0.715, 0.92 - 0.13 * row, words, color=looks[name], fontsize=8.5, va="top")
        axes.set_xlabel(f"jobs ({_REGIONS} regions x {_HOURS} h)")
        axes.set_ylabel("CPU seconds")

    return draw("growth", "CPU seconds against the number of jobs, with fitted exponents", (9.6, 4.2), paint)


def gap_picture(cases: Sequence[Case]) -> str:
    """Draw how the proven gap closes in CPU seconds, one line a size.

    Parameters
    ----------
    cases : sequence of Case
        Rising in jobs.

    Returns
    -------
    str
        SVG, both axes logarithmic; stages without a plan are left out.
    """

    def paint(figure: Figure) -> None:
        axes = figure.add_axes((0.085, 0.15, 0.755, 0.81))
        axes.set_xscale("log")
        axes.set_yscale("log")
        ends: list[tuple[float, float, str, str]] = []
        for at, case in enumerate(cases):
            kept = [(max(spent, _STARTS_S), gap) for spent, gap in case.seen if np.isfinite(gap) and gap > 0]
            if not kept:
                continue
            # From pale to dark with the size.
            colour = to_hex(PRICES(0.3 + 0.7 * at / max(1, len(cases) - 1)))
            spent, gaps = zip(*kept, strict=True)
            axes.step(spent, [100 * gap for gap in gaps], where="post", color=colour, linewidth=1.4)
            axes.plot(spent[-1], 100 * gaps[-1], color=colour, marker="o", markersize=4)
            ends.append((100 * gaps[-1], spent[-1], f"{case.jobs:,} jobs: {100 * gaps[-1]:.2f} %", colour))
        axes.axhline(100 * _GAP, color=PAST, linewidth=0.9, linestyle=(0, (4, 3)))
        axes.set_xlabel("CPU seconds; dot: the end")
        axes.set_ylabel("proven gap [%]; dashed: the gap asked for")
        axes.yaxis.set_major_formatter(lambda value, _at: f"{value:g}")
        axes.xaxis.set_major_formatter(lambda value, _at: f"{value:g}")
        for row, (_, _, words, colour) in enumerate(ends):
            figure.text(0.855, 0.93 - 0.07 * row, words, color=colour, fontsize=8.5, va="center")

    return draw("gap-time", "Proven gap against CPU seconds, by number of jobs", (9.6, 3.8), paint)


def _tables(cases: Sequence[Case]) -> list[Table]:
    rows = [
        (
            str(case.jobs), case.grains, case.gap, case.solve_s, 1e3 * case.solve_s / case.jobs,
            case.iterations, 1e3 * case.oracle_s, case.peak_gb, case.rival_s,
            case.rival_s / case.solve_s if case.rival_s else None,
        )
        for case in cases
    ]  # fmt: skip
    fits = [(name, fit(*points)) for name, points in laws(cases).items()]
    columns = (
        "jobs", "capacity over largest job", "proven gap", "CPU s", "CPU ms a job", "steps",
        "oracle [CPU ms]", "peak memory so far [GB]", "HiGHS, bound only [CPU s]", "ratio, HiGHS / ours",
    )  # fmt: skip
    note = (
        f"Each planned to a gap of {_GAP:.0%}, or until the steps that its jobs allow are used up.\n\n"
        "![CPU seconds against jobs](../docs/images/growth.svg)\n\n"
        "![Proven gap against CPU seconds](../docs/images/gap-time.svg)"
    )
    spans = [(name, law.exponent, law.low, law.high) for name, law in fits]
    return [
        Table("", columns, rows, note),
        Table("CPU s ~ jobs^exponent", ("law", "exponent", "95 % from", "95 % to"), spans),
    ]


def run(*, smoke: bool) -> list[Table]:
    """Measure all sizes and fit.

    Parameters
    ----------
    smoke : bool
        Small sizes, and no picture is kept.

    Returns
    -------
    list of Table
        Per size, and the exponents.
    """
    if not smoke:
        # Kernels are compiled and scipy is loaded before anything is measured.
        warm, _ = instance(3000, 3, 48, 6, 8)
        solve(warm, gap=0.001)
        measure(316, ask=False)
    measure(_SMOKE[0], ask=True)
    cases = [measure(count, ask=count <= _MOST_RIVAL) for count in (_SMOKE if smoke else _FULL)]
    pictures = {"growth": growth_picture(cases), "gap-time": gap_picture(cases)}
    if smoke:
        assert all("</svg>" in svg for svg in pictures.values())
        assert all(0 <= case.gap < 0.5 for case in cases), cases
    else:
        for name, svg in pictures.items():
            write_text(IMAGES / f"{name}.svg", svg)
    return _tables(cases)
