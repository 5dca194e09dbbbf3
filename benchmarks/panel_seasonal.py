"""Seasonal smoothing of a panel beside statsforecast: CPU per series, and errors of the next day.

Each method learns from the same 672 hours (four weeks) of each series and foresees the
24 hours behind them. Ours finds both parameters in 49 passes through each series, all
series side by side; AutoETS(ANA) searches the same model with its initial states,
AutoTheta its four. Series: synthetic utilisation, and the recorded hourly grids where
they are at hand, every 14th day of 2020. CPU seconds are the least of several runs, of
one thread; kernels are compiled before.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

# Before numpy is imported: threads that wait for each other would count as CPU time.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from aicsched.errors import SourceUnavailable
from aicsched.forecast.panel import fit_seasonal
from aicsched.jit import warmup

Array = np.ndarray[Any, np.dtype[np.float64]]

TITLE = "Seasonal smoothing: many series at once against statsforecast"
PAST, DAY = 672, 24


def _synthetic(count: int) -> Array:
    rng = np.random.default_rng(20_260_301)
    hours = np.arange(PAST + DAY)
    wave = rng.uniform(2, 20, (count, 1)) * np.sin(hours * 2 * np.pi / DAY + rng.uniform(0, 6, (count, 1)))
    walk = np.cumsum(rng.normal(0, 0.5, (count, len(hours))), axis=1) * rng.uniform(0, 1, (count, 1))
    return 50 + wave + walk + rng.normal(0, 1, (count, len(hours))) * rng.uniform(0.3, 3, (count, 1))


def _recorded(few: int | None) -> Array | None:
    root = Path(os.environ.get("AICSCHED_SHARED") or Path(__file__).resolve().parents[2] / "shared")
    paths = sorted((root / "data" / "carbon").glob("ccast13_???*.parquet"))
    paths = [path for path in paths if "_wx96_" not in path.name and "firsttier" not in path.name][:few]
    if not paths:
        return None
    import pandas as pd

    rows: list[Array] = []
    for path in paths:
        values = pd.read_parquet(path, columns=["ci_lifecycle"])["ci_lifecycle"].to_numpy(dtype=np.float64)
        starts = range(0, 366 * DAY - PAST - DAY, 14 * DAY)
        rows += [np.log(values[start : start + PAST + DAY]) for start in starts]
    return np.array(rows)


def _measure(values: Array, models: dict[str, Any], rival_rows: int) -> dict[str, float]:
    past, future = values[:, :PAST], values[:, PAST:]
    made = fit_seasonal(past, DAY).forecast(DAY)
    spent: list[float] = []
    for _ in range(5):
        began = time.process_time()
        fit_seasonal(past, DAY).forecast(DAY)
        spent.append(time.process_time() - began)
    chosen = np.linspace(0, len(values) - 1, min(rival_rows, len(values))).astype(np.int64)
    naive = float(np.abs(past[chosen, -DAY:] - future[chosen]).mean())
    error = float(np.abs(made[chosen] - future[chosen]).mean())
    ours = min(spent) / len(values)
    figures = {
        "ours: CPU us per series": 1e6 * ours,
        "ours: error over seasonal naive's": error / naive,
    }
    for name, model in models.items():
        model.forecast(y=past[0], h=DAY)
        began = time.process_time()
        rival = np.array([model.forecast(y=past[row], h=DAY)["mean"] for row in chosen])
        each = (time.process_time() - began) / len(chosen)
        figures[f"{name}: CPU us per series"] = 1e6 * each
        figures[f"{name}: error over seasonal naive's"] = float(np.abs(rival - future[chosen]).mean()) / naive
        figures[f"ratio, CPU {name} / ours"] = each / ours
        figures[f"ratio, error {name} / ours"] = float(np.abs(rival - future[chosen]).mean()) / error
    return figures


def run(*, smoke: bool) -> dict[str, Any]:
    """Measure speed and errors.

    Parameters
    ----------
    smoke : bool
        Few series.

    Returns
    -------
    dict
        Per set of series CPU and errors of ours and of rivals, and ratios (above 1: ours is better).

    Raises
    ------
    SourceUnavailable
        statsforecast is not installed.
    """
    try:
        from statsforecast.models import AutoETS, AutoTheta
    except ImportError as error:
        msg = "statsforecast is not installed"
        raise SourceUnavailable(msg, hint="pip install 'aicsched[bench]'") from error
    os.environ["AICSCHED_THREADS"] = "1"
    warmup()
    models = {
        "AutoETS(ANA)": AutoETS(season_length=DAY, model="ANA"),
        "AutoTheta": AutoTheta(season_length=DAY),
    }
    results: dict[str, Any] = {}
    for name, values in (
        ("synthetic utilisation", _synthetic(100 if smoke else 2_000)),
        ("recorded grids, log intensity", _recorded(1 if smoke else None)),
    ):
        if values is not None:
            results[f"{name}, {len(values)} series"] = _measure(values, models, 5 if smoke else 100)
    return results
