"""Our forecasters beside statsforecast, naive ones and CarbonCast's own, on the same issue times.

Zones and window are the published ones: 13 grids, July to December 2021, life-cycle
intensity, 96 hours, with weather forecasts as they were issued and the source mix up to
then. Ours learn every week and are asked every day; rivals learn anew each time, from the
history that serves them best. Intervals are each method's own. CPU seconds are of this process, on one BLAS
thread; each method answers once before the clock starts.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

# Before numpy is imported: threads that wait for each other would count as CPU time.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from aicsched.forecast.backtest import backtest
from aicsched.forecast.base import Covariates
from aicsched.forecast.measure import measure
from benchmarks.forecast_data import (
    HORIZON,
    SMOKE_ZONES,
    ZONES,
    anchor_runs,
    folder,
    other_cases,
    real_case,
    sample_case,
)
from benchmarks.forecast_rivals import Measured, rival, seasonal_naive, statsforecast_models, weekly_mean
from benchmarks.tables import Table, ratios

if TYPE_CHECKING:
    from pathlib import Path

    from aicsched.forecast.measure import ZoneResult, ZoneRun
    from benchmarks.forecast_data import Case

TITLE = "Forecast: ours against statsforecast, naive ones and CarbonCast"
ANCHOR = "CarbonCast, first tier (shipped forecasts)"
REFERENCE = "ours: auto, all that is known"
BLIND = "ours: auto, intensity only"
THETA = "statsforecast AutoTheta, 4 weeks"
COLUMNS = (
    "method", "d1 [%]", "d2 [%]", "d3 [%]", "d4 [%]", "96 h [%]", "p95 [%]", "MAE [g]",
    "held d1", "held d2", "held d3", "held d4", "held, worst zone", "width [%]", "pinball [%]", "right order",
    "saving of oracle's", "CPU ms fit", "CPU ms forecast", "96 h / ours", "CPU / ours",
)  # fmt: skip
NOTE = (
    "d1 to d4: mean absolute percentage error by lead day, mean of zones and issue times; p95: its 95th "
    "percentile over issue times; held: share inside the 80 % interval; width and pinball loss (10 and 90 %) "
    "over the zone's mean; right order: concordance of 96 hours; saving: of a 4-hour job within 96 h, over "
    "that with perfect foresight. Ratios: error over ours with all that is known; CPU of a fit over ours of "
    "intensity only, which is what the others know."
)
# Published day-ahead errors on direct intensity, July to December 2021: Maji et al. 2022 (DACF), table 4,
# doi:10.1145/3538637.3538849, and there the best before it, Leerbeck et al. 2020,
# doi:10.1016/j.apenergy.2020.115527.
DACF = {
    "CISO": (7.41, 7.94), "PJM": (3.30, 3.59), "ERCO": (8.05, 8.19),
    "ISNE": (4.44, 4.86), "SE": (6.47, 6.80), "DE": (9.08, 9.91),
}  # fmt: skip


class Bound(NamedTuple):
    """What the quick run must not be worse than."""

    method: str
    measure: str
    least: float
    most: float


# On 3 zones and 26 issue times of the window: measured, and about 4 % for other machines' arithmetic. CPU
# times depend on what else a machine does: their bound is a third of what was measured.
REAL_BOUNDS = (
    Bound("ours: ridge, intensity only", "96 h [%]", 0.0, 11.2),
    Bound("ours: ridge + weather", "96 h [%]", 0.0, 7.05),
    Bound("ours: ridge, all that is known", "96 h [%]", 0.0, 6.9),
    Bound(REFERENCE, "d1 [%]", 0.0, 3.55),
    Bound(REFERENCE, "96 h [%]", 0.0, 6.1),
    Bound(REFERENCE, "saving of oracle's", 0.86, 1.0),
    Bound(REFERENCE, "held d1", 0.72, 0.9),
    Bound(ANCHOR, "96 h / ours", 1.74, 9.0),
    Bound("seasonal naive", "96 h / ours", 2.3, 9.0),
    Bound(THETA, "96 h / ours", 2.15, 9.0),
    Bound(THETA, "CPU / ours", 1.6, 1e3),
)
SAMPLE_BOUNDS = (
    Bound("ours: ridge, intensity only", "96 h [%]", 0.0, 16.0),
    Bound("seasonal naive", "96 h / ours", 1.0, 9.0),
    Bound(THETA, "CPU / ours", 1.6, 1e3),
)


# ---------------------------------------------------------------- measuring
def ours(
    case: Case, model: str, *, weather: bool = False, every: bool = False
) -> tuple[Measured, dict[str, ZoneRun]]:
    """Backtest one of our models.

    Parameters
    ----------
    case : Case
        Zones and issue times.
    model : str
        Its name.
    weather : bool
        Whether it gets weather.
    every : bool
        Whether it gets all covariates.

    Returns
    -------
    tuple of Measured, dict
        What it was worth and cost, and its forecasts per zone.
    """
    offered: dict[str, Covariates] = {}
    if every:
        offered = dict(case.covariates)
    elif weather:
        offered = {zone: Covariates(weather=item.weather) for zone, item in case.covariates.items()}
    result = backtest(
        case.series,
        model=model,
        start_s=case.start_s,
        end_s=case.end_s,
        horizon=HORIZON,
        every_h=24 * case.every_days,
        refit_days=case.refit_days,
        covariates=offered,
        keep_forecasts=True,
    )
    return Measured(result.zones, result.cpu_s_per_fit, result.cpu_s_per_forecast), result.runs


def every_14th(runs: dict[str, ZoneRun]) -> dict[str, ZoneResult]:
    """Measure every 14th forecast of daily ones.

    Parameters
    ----------
    runs : dict of str to ZoneRun
        Daily forecasts.

    Returns
    -------
    dict of str to ZoneResult
        Per zone.
    """
    return {
        zone: measure(
            replace(
                run,
                issue_times_s=run.issue_times_s[::14],
                actual_g_per_kwh=run.actual_g_per_kwh[::14],
                mean_g_per_kwh=run.mean_g_per_kwh[::14],
                quantiles_g_per_kwh=run.quantiles_g_per_kwh[::14],
            )
        )
        for zone, run in runs.items()
    }


def our_methods(case: Case) -> dict[str, tuple[Measured, dict[str, ZoneRun]]]:
    """Backtest our models with what each may know.

    Parameters
    ----------
    case : Case
        Zones and issue times.

    Returns
    -------
    dict
        Per method what it was worth, and its forecasts.
    """
    made = {
        "ours: seasonal": ours(case, "seasonal"),
        "ours: ridge, intensity only": ours(case, "ridge"),
        BLIND: ours(case, "auto"),
    }
    if case.covariates:
        made["ours: ridge + weather"] = ours(case, "ridge", weather=True)
        made["ours: ridge, all that is known"] = ours(case, "ridge", every=True)
        made[REFERENCE] = ours(case, "auto", every=True)
    return made


# ---------------------------------------------------------------- tables
def figures(found: Measured) -> list[float | None]:
    """Return a method's figures in the order of the columns, ratios aside.

    Parameters
    ----------
    found : Measured
        Of some zones.

    Returns
    -------
    list of float or None
        NaN or None where nothing is known.
    """
    items = list(found.zones.values())

    def mean(values: list[Any]) -> float:
        known = np.array(values, dtype=np.float64)
        return float(np.nanmean(known)) if np.isfinite(known).any() else float("nan")

    by_day = [mean([item.mape[day] for item in items]) for day in range(4)]
    held = [mean([item.coverage80[day] for item in items]) for day in range(4)]
    worst = min((min(item.coverage80) for item in items), default=float("nan"))
    saved, best = (
        mean([item.regret[f"{name}_{HORIZON}h"] for item in items])
        for name in ("saving_share", "oracle_saving_share")
    )
    cpu = [
        None if value is None else 1e3 * value for value in (found.cpu_s_per_fit, found.cpu_s_per_forecast)
    ]
    return [
        *by_day, mean(by_day), mean([item.mape_p95 for item in items]), mean([item.mae for item in items]),
        *held, worst, mean([item.width80_percent for item in items]),
        mean([item.pinball_percent for item in items]),
        mean([item.concordance[f"{HORIZON}h"] for item in items]), saved / best, *cpu,
    ]  # fmt: skip


def comparison(title: str, methods: dict[str, Measured], reference: str) -> Table:
    """Lay methods side by side, with ratios to one of them.

    Parameters
    ----------
    title : str
        Above the table.
    methods : dict of str to Measured
        In the order of the rows.
    reference : str
        Name of the method whose error the others' is compared with.

    Returns
    -------
    Table
        With the columns of `COLUMNS`.
    """
    rows = {name: figures(found) for name, found in methods.items()}
    whole, fit = COLUMNS.index("96 h [%]") - 1, COLUMNS.index("CPU ms fit") - 1
    error = ratios([row[whole] for row in rows.values()], rows[reference][whole])
    cpu = ratios([row[fit] for row in rows.values()], rows[BLIND][fit])
    cells = [
        (name, *row, left, right) for (name, row), left, right in zip(rows.items(), error, cpu, strict=True)
    ]
    return Table(title, COLUMNS, cells, NOTE)


def by_zone(anchor: dict[str, ZoneResult], mine: dict[str, ZoneResult]) -> Table:
    """Lay ours beside the anchor in each zone at each lead day.

    Parameters
    ----------
    anchor, mine : dict of str to ZoneResult
        Of the same zones.

    Returns
    -------
    Table
        With how many zones are better at every lead day in its title.
    """
    columns = ["zone"]
    for day in range(1, 5):
        columns += [f"d{day} anchor [%]", f"d{day} ours [%]", f"d{day} anchor / ours"]
    columns += ["96 h anchor [%]", "96 h ours [%]", "better at every lead day"]
    rows: list[tuple[Any, ...]] = []
    wins = 0
    for zone, first in anchor.items():
        pairs = list(zip(first.mape, mine[zone].mape, strict=True))
        better = all(left > right for left, right in pairs)
        wins += better
        cells = [value for left, right in pairs for value in (left, right, left / right)]
        whole = [float(np.mean(column)) for column in zip(*pairs, strict=True)]
        rows.append((zone, *cells, *whole, "yes" if better else "no"))
    title = f"Each zone against the anchor: better at every lead day in {wins} of {len(rows)}"
    return Table(title, tuple(columns), rows)


def dacf_table(root: Path) -> Table:
    """Lay ours beside the published day-ahead errors on direct intensity.

    Parameters
    ----------
    root : Path
        Of the data.

    Returns
    -------
    Table
        A row a grid, and their mean.
    """
    case = real_case(root, column="ci_direct", zones=tuple(DACF))
    found, _ = ours(case, "auto", every=True)
    first = measure_all(anchor_runs(root, case, kind="direct"))
    rows: list[tuple[Any, ...]] = [
        (zone, DACF[zone][0], DACF[zone][1], first[zone].mape[0], item.mape[0], DACF[zone][0] / item.mape[0])
        for zone, item in found.zones.items()
    ]
    means = [float(np.mean([row[at] for row in rows])) for at in range(1, 5)]
    rows.append(("mean", *means, means[0] / means[3]))
    columns = (
        "grid", "DACF, as published [%]", "best before it, as published [%]", "CarbonCast, first tier [%]",
        "ours: auto, all that is known [%]", "DACF / ours",
    )  # fmt: skip
    note = "Day-ahead error on direct intensity, 181 issue times."
    return Table("Day ahead, direct intensity, the six grids of DACF", columns, rows, note)


def measure_all(runs: dict[str, ZoneRun]) -> dict[str, ZoneResult]:
    """Measure each zone's forecasts.

    Parameters
    ----------
    runs : dict of str to ZoneRun
        Per zone.

    Returns
    -------
    dict of str to ZoneResult
        Per zone.
    """
    return {zone: measure(run) for zone, run in runs.items()}


def others_table(root: Path) -> Table:
    """Try the model on other zones and years as it is.

    Parameters
    ----------
    root : Path
        Of the data.

    Returns
    -------
    Table
        A row a file.
    """
    columns = (
        "file", "period", "issue times", "refused", "d1 [%]", "d4 [%]", "96 h [%]", "MAE [g]", "MASE",
        "held by the 80 % band", "right order", "naive 96 h [%]", "7-day mean 96 h [%]", "naive / ours",
        "7-day mean / ours",
    )  # fmt: skip
    rows: list[tuple[Any, ...]] = []
    for name, (case, period) in other_cases(root).items():
        found, runs = ours(case, "auto", every=True)
        ((zone, item),) = found.zones.items()
        times_s = [int(time_s) for time_s in runs[zone].issue_times_s]
        whole = float(np.nanmean(item.mape))
        plain = [
            float(np.nanmean(rival(call, case, times_s=times_s).zones[zone].mape))
            for call in (seasonal_naive, weekly_mean)
        ]
        rows.append(
            (
                name, period, len(times_s), item.refused, item.mape[0], item.mape[3], whole,
                float(np.nanmean(item.mae)), float(np.nanmean(item.mase)), float(np.nanmean(item.coverage80)),
                item.concordance[f"{HORIZON}h"], *plain, *(value / whole for value in plain),
            )
        )  # fmt: skip
    note = (
        "Nothing was tuned on these. Life-cycle intensity, but for AZPS, whose kind is not told; from "
        "intensity alone (em), or with the source mix (eia, eci); no weather."
    )
    return Table("Other zones and years, as it is", columns, rows, note)


# ---------------------------------------------------------------- the run
def guard(table: Table, bounds: tuple[Bound, ...]) -> None:
    """Stop where accuracy got worse than stated.

    Parameters
    ----------
    table : Table
        Of `comparison`.
    bounds : tuple of Bound
        Each on one method and measure.

    Raises
    ------
    AssertionError
        A figure is outside its bounds, or not known.
    """
    rows = {row[0]: dict(zip(table.columns, row, strict=True)) for row in table.rows}
    for bound in bounds:
        found = rows[bound.method][bound.measure]
        ok = found is not None and bound.least <= found <= bound.most
        assert ok, f"{bound.method}: {bound.measure} is {found}, not in {bound.least:g} to {bound.most:g}"


def smoke_tables() -> list[Table]:
    """Compare on three zones and 26 issue times, and hold the bounds.

    Returns
    -------
    list of Table
        One table; on the embedded sample where there are no real grids.

    Raises
    ------
    AssertionError
        A bound is broken.
    """
    root = folder()
    if root is None:
        case = sample_case()
    else:
        # Learning costs most of the time: once a month is enough to see that accuracy holds.
        real = real_case(root, column="ci_lifecycle", zones=SMOKE_ZONES)
        case = real._replace(every_days=7, refit_days=28)
    methods = {"seasonal naive": rival(seasonal_naive, case), "7-day hourly mean": rival(weekly_mean, case)}
    if root is not None:
        methods = {
            ANCHOR: Measured(measure_all(anchor_runs(root, case, kind="lifecycle")), None, None),
            **methods,
        }
    methods |= {name: rival(call, case) for name, call in statsforecast_models(smoke=True).items()}
    methods |= {name: found for name, (found, _) in our_methods(case).items()}
    reference = REFERENCE if root is not None else BLIND
    where = "synthetic sample" if root is None else "real grids"
    size = f"{len(case.series)} zones × {len(case.times_s())} issue times"
    table = comparison(f"Quick comparison, {where}: {size}", methods, reference)
    guard(table, SAMPLE_BOUNDS if root is None else REAL_BOUNDS)
    return [table]


def run(*, smoke: bool) -> list[Table]:
    """Measure all methods.

    Parameters
    ----------
    smoke : bool
        Three zones, 26 issue times, and bounds that must hold.

    Returns
    -------
    list of Table
        Methods side by side with ratios, and ours against the anchor in each zone.

    Raises
    ------
    SourceUnavailable
        statsforecast is not installed.
    AssertionError
        A bound of the quick run is broken.
    """
    root = folder()
    if smoke or root is None:
        return smoke_tables()
    daily = real_case(root, column="ci_lifecycle")
    sparse = daily._replace(every_days=14)
    plain = {"seasonal naive": seasonal_naive, "7-day hourly mean": weekly_mean}
    anchor = measure_all(anchor_runs(root, daily, kind="lifecycle"))
    mine = our_methods(daily)
    few: dict[str, Measured] = {
        ANCHOR: Measured(measure_all(anchor_runs(root, sparse, kind="lifecycle")), None, None)
    }
    few |= {name: rival(call, sparse) for name, call in (plain | statsforecast_models(smoke=False)).items()}
    few |= {
        name: Measured(every_14th(runs), found.cpu_s_per_fit, found.cpu_s_per_forecast)
        for name, (found, runs) in mine.items()
    }
    whole: dict[str, Measured] = {ANCHOR: Measured(anchor, None, None)}
    whole |= {name: rival(call, daily) for name, call in plain.items()}
    whole |= {name: found for name, (found, _) in mine.items()}
    count = len(sparse.times_s())
    return [
        comparison(f"{len(ZONES)} zones × {count} issue times, every 14th day", few, REFERENCE),
        comparison(f"{len(ZONES)} zones × {len(daily.times_s())} issue times, every day", whole, REFERENCE),
        by_zone(anchor, mine[REFERENCE][0].zones),
        dacf_table(root),
        others_table(root),
    ]
