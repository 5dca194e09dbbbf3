"""The utilisation panel: its speed beside refitting, and its accuracy beside simple methods.

Speed: 10,000 series of a minute's step with a day of past; one new value each, then a
forecast of 60 steps with an 80 % band. Rivals answer the same question by learning
anew: statsforecast's AutoTheta and simple exponential smoothing (``SES``, which gives
no band) on the day's 1,440 points, one series after another, and a ridge AR(8) refitted
for all series at once in numpy. Kernels are compiled before the clock starts; CPU
seconds are the least of several runs, on one BLAS thread.

Accuracy: the protocol of `benchmarks.panel_accuracy`, where the recorded series are at hand.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Before numpy is imported: threads that wait for each other would count as CPU time.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from aicsched.errors import SourceUnavailable
from aicsched.forecast.panel import UtilisationPanel
from aicsched.jit import warmup
from benchmarks.panel_accuracy import accuracy

if TYPE_CHECKING:
    from collections.abc import Callable

    Array = np.ndarray[Any, np.dtype[np.float64]]

TITLE = "Utilisation panel: one value more for each series, against refitting"
PAST = 1_440
HORIZON = 60


def _series(count: int, steps: int) -> Array:
    """Make utilisations in [0, 1]: levels of their own, a day's wave, a slow walk, noise."""
    rng = np.random.default_rng(20_260_301)
    level = rng.uniform(0.1, 0.7, (count, 1))
    wave = 0.1 * np.sin(np.arange(steps) * 2 * np.pi / 1_440 + rng.uniform(0, 6, (count, 1)))
    walk = np.cumsum(rng.normal(0, 0.003, (count, steps)), axis=1)
    return np.clip(level + wave + walk + rng.normal(0, 0.03, (count, steps)), 0, 1)


def _least_s(work: Callable[[], object], runs: int) -> float:
    """Return the least CPU seconds of some runs."""
    spent: list[float] = []
    for _ in range(runs):
        began = time.process_time()
        work()
        spent.append(time.process_time() - began)
    return min(spent)


def _ours(count: int, steps: int) -> dict[str, float]:
    values = _series(count, steps + 40)
    panel = UtilisationPanel([f"node-{row} cpu" for row in range(count)], lower=0, upper=1)
    panel.update(values[:, :steps], time_s=0)
    place = iter(range(steps, steps + 40))
    wall: list[float] = []

    def step() -> None:
        began = time.perf_counter()
        panel.update(values[:, next(place)])
        panel.forecast(HORIZON, levels=(0.1, 0.9))
        wall.append(time.perf_counter() - began)

    spent = _least_s(step, 30)
    return {
        "ours: CPU ms": 1e3 * spent,
        "ours: wall ms, all CPUs": 1e3 * min(wall),
        "ours: CPU us per series": 1e6 * spent / count,
        "ours: bytes per series": float(panel.bytes_per_series),
    }


def _ridge(values: Array, order: int = 8) -> Array:
    """Refit an AR(8) of each series on its day, and lead it on."""
    mean = values.mean(axis=1, keepdims=True)
    centred = values - mean
    inputs = np.lib.stride_tricks.sliding_window_view(centred, order, axis=1)[:, :-1]
    gram = np.einsum("nti,ntj->nij", inputs, inputs) + 1e-6 * np.eye(order)
    weights = np.linalg.solve(gram, np.einsum("nti,nt->ni", inputs, centred[:, order:])[..., None])[..., 0]
    path = centred[:, -order:]
    for _ in range(HORIZON):
        path = np.column_stack([path, (path[:, -order:] * weights).sum(axis=1)])
    return path[:, order:] + mean


def _rivals(count: int, steps: int) -> dict[str, float]:
    """Return the CPU ms of refitting all series, from a few of them."""
    try:
        from statsforecast.models import AutoTheta, SimpleExponentialSmoothingOptimized
    except ImportError as error:
        msg = "statsforecast is not installed"
        raise SourceUnavailable(msg, hint="pip install 'aicsched[bench]'") from error
    few = _series(20, steps)
    made: dict[str, float] = {}
    models: tuple[tuple[str, Any, dict[str, Any]], ...] = (
        ("statsforecast AutoTheta", AutoTheta(season_length=1), {"level": [80]}),
        ("statsforecast SES", SimpleExponentialSmoothingOptimized(), {}),
    )
    for name, model, options in models:
        model.forecast(y=few[0], h=HORIZON, **options)

        def all_few(model: Any = model, options: dict[str, Any] = options) -> None:  # noqa: ANN401
            for values in few:
                model.forecast(y=values, h=HORIZON, **options)

        made[f"{name}: CPU ms"] = 1e3 * _least_s(all_few, 2) * count / len(few)
    block = _series(200, steps)
    made["numpy AR(8) refitted: CPU ms"] = 1e3 * _least_s(lambda: _ridge(block), 3) * count / len(block)
    return made


def run(*, smoke: bool) -> dict[str, Any]:
    """Measure speed and accuracy.

    Parameters
    ----------
    smoke : bool
        Few series.

    Returns
    -------
    dict
        Times, rivals' times over ours, and errors by set.

    Raises
    ------
    SourceUnavailable
        statsforecast is not installed.
    """
    warmup()
    count, steps = (600, 300) if smoke else (10_000, PAST)
    ours = _ours(count, steps)
    rivals = _rivals(count, steps)
    ratios = {f"ratio, {name[:-8]} / ours": spent / ours["ours: CPU ms"] for name, spent in rivals.items()}
    results: dict[str, Any] = {f"{count} series, {HORIZON} steps and a band": {**ours, **rivals, **ratios}}
    if not smoke:
        many = _ours(100_000, 200)
        growth = many["ours: CPU us per series"] / ours["ours: CPU us per series"]
        results["100000 series, 60 steps and a band"] = {**many, "CPU per series over that of 10000": growth}
    root = Path(os.environ.get("AICSCHED_SHARED") or Path(__file__).resolve().parents[2] / "shared")
    folder = root / "data" / "carbon"
    if (folder / "util_nab.parquet").is_file():
        results.update({f"held out: {name}": each for name, each in accuracy(folder, smoke=smoke).items()})
    return results
