"""The utilisation panel on recorded series, beside what each simple method reaches on the same origins.

**Protocol.** Each series is taken on its own clock from its first value, on a regular
grid, repeated stamps once and missing ones NaN. The first 60 % teach; from there on
forecasts start every quarter of the horizon, and each is held against all its leads.
The error is the mean absolute error over the mean one-step change of the first 60 %:
below 1 is better than the noise of one step. There is no public split of these sets:
the pool's constants were chosen on half of the series (every second one in the order
of the SHA-256 of its name; of the two hourly clusters and the taxi series, Google's is
held out), and the figures here are of the other half, as ``held out``.
Pods report every 57 s, which is no part of a day: they are taken as minutes.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from aicsched.forecast.panel import UtilisationPanel

if TYPE_CHECKING:
    from pathlib import Path

Array = np.ndarray[Any, np.dtype[np.float64]]
Integers = np.ndarray[Any, np.dtype[np.int64]]

DAY_S = 86_400
TEACHING_SHARE = 0.6
SETS = {
    "NAB CPU 5 min, 1 h": ("nab", 12, 300),
    "NAB CPU 5 min, 24 h": ("nab", 288, 300),
    "NAB network, requests 5 min, 1 h": ("nab_other", 12, 300),
    "NAB network, requests 5 min, 24 h": ("nab_other", 288, 300),
    "NAB taxi demand 30 min, 24 h": ("taxi", 48, 1800),
    "pods' GPU duty 57 s, 15 steps": ("gpu", 15, 60),
    "pods' GPU duty 57 s, 60 steps": ("gpu", 60, 60),
    "pods' memory 57 s, 15 steps": ("mem", 15, 60),
    "pods' memory 57 s, 60 steps": ("mem", 60, 60),
    "cluster CPU hourly (Alibaba), 24 h": ("alibaba", 24, 3600),
    "cluster CPU hourly (Google), 24 h": ("google", 24, 3600),
}
HOURLY = {"alibaba": "Alibaba_CPU_Data_Hourly_1", "google": "GoogleClusteData_CPU_Data_Hourly_1"}
# Sets of one series are chosen on, or held out, whole.
CHOSEN_ON = {"taxi": True, "alibaba": True, "google": False}


class Scores(NamedTuple):
    """What one method reached on one series."""

    error: float
    coverage: float
    width: float


def _on_grid(times_s: Array, values: Array, step_s: float) -> Array:
    """Lay values on a regular grid from the first one on; of repeated stamps the first counts."""
    place = np.rint((times_s - times_s[0]) / step_s).astype(np.int64)
    made = np.full(place[-1] + 1, np.nan)
    made[place[::-1]] = values[::-1]
    return made


def read_set(folder: Path, name: str) -> dict[str, Array]:
    """Read one set of series.

    Parameters
    ----------
    folder : Path
        Where the recorded files lie.
    name : str
        One of the sets.

    Returns
    -------
    dict of str to ndarray
        Values by name, NaN where missing; series that never move in training are left out.
    """
    import pandas as pd

    if name in HOURLY:
        load = pd.read_parquet(folder / f"util_{HOURLY[name]}.parquet")["cpu_load"]
        return {name: load.to_numpy(dtype=np.float64)}
    made: dict[str, Array] = {}
    if name in {"gpu", "mem"}:
        for pod, part in pd.read_parquet(folder / f"util_ali_genai_{name}.parquet").groupby("pod"):
            values = part["value"].to_numpy(dtype=np.float64)
            made[f"{name}{pod}"] = _on_grid(part["timestamp_anon"].to_numpy(dtype=np.float64), values, 57)
    else:
        for label, part in pd.read_parquet(folder / "util_nab.parquet").groupby("series"):
            kind = "taxi" if label == "nyc_taxi" else "nab" if "cpu" in str(label) else "nab_other"
            if kind == name:
                step_s = 1800 if kind == "taxi" else 300
                times_s = part["time"].to_numpy().astype("datetime64[s]").astype(np.float64)
                made[str(label)] = _on_grid(times_s, part["value"].to_numpy(dtype=np.float64), step_s)
    return {label: values for label, values in made.items() if _scale(values) > 0}


def chosen_on(name: str, labels: list[str]) -> dict[str, bool]:
    """Tell on which series the constants were chosen.

    Parameters
    ----------
    name : str
        The set.
    labels : list of str
        Its series.

    Returns
    -------
    dict of str to bool
        False for the held-out half.
    """
    if name in CHOSEN_ON:
        return dict.fromkeys(labels, CHOSEN_ON[name])
    order = sorted(labels, key=lambda label: hashlib.sha256(label.encode()).hexdigest())
    return {label: place % 2 == 0 for place, label in enumerate(order)}


def _scale(values: Array) -> float:
    return float(np.nanmean(np.abs(np.diff(values[: int(len(values) * TEACHING_SHARE)]))))


def _origins(values: Array, horizon: int) -> Integers:
    return np.arange(int(len(values) * TEACHING_SHARE), len(values) - horizon + 1, max(1, horizon // 4))


def _actual(values: Array, horizon: int) -> Array:
    return np.lib.stride_tricks.sliding_window_view(values, horizon)[_origins(values, horizon)]


def simple_errors(values: Array, horizon: int, step_s: int) -> dict[str, float]:
    """Return the scaled errors of what needs no pool.

    Parameters
    ----------
    values : ndarray, shape (n,)
        One series.
    horizon : int
        Leads.
    step_s : int
        Seconds between values.

    Returns
    -------
    dict of str to float
        By method; those that need a longer past are left out.
    """
    origins = _origins(values, horizon)
    filled = values.copy()
    for place in np.flatnonzero(np.isnan(filled)):
        filled[place] = filled[place - 1]
    day, hour = DAY_S // step_s, max(1, 3600 // step_s)
    smooth = np.empty_like(filled)
    level = filled[0]
    for place, value in enumerate(filled):
        level += 0.2 * (value - level)
        smooth[place] = level
    flat = {
        "naive": filled[origins - 1],
        "last hour's mean": np.array([filled[at - hour : at].mean() for at in origins]),
        "SES 0.2": smooth[origins - 1],
        "median of a day": np.array([np.nanmedian(values[max(0, at - day) : at]) for at in origins]),
    }
    made = {name: np.repeat(each[:, None], horizon, axis=1) for name, each in flat.items()}
    if origins[0] >= day:
        made["seasonal naive"] = np.array([filled[at - day : at][np.arange(horizon) % day] for at in origins])
    made["ridge AR(24), refitted"] = _autoregression(filled, horizon, day, origins)
    actual, scale = _actual(values, horizon), _scale(values)
    return {name: float(np.nanmean(np.abs(actual - each))) / scale for name, each in made.items()}


def _autoregression(filled: Array, horizon: int, day: int, origins: Integers) -> Array:
    """Forecast by a ridge regression on 24 lags and the day before, refitted every 5 % of the past."""
    order = 24
    lags = [*range(1, order + 1), *([day] if day > order and origins[0] >= 2 * day else [])]
    made = np.empty((len(origins), horizon))
    fitted_until, weights, mean = -1, np.zeros(len(lags)), 0.0
    for row, origin in enumerate(origins):
        if origin >= fitted_until:
            times = np.arange(lags[-1], origin)
            mean = filled[:origin].mean()
            inputs = np.column_stack([filled[times - lag] for lag in lags]) - mean
            gram = inputs.T @ inputs
            ridge = 1e-2 * len(times) * inputs.var() + 1e-12
            weights = np.linalg.solve(gram + ridge * np.eye(len(lags)), inputs.T @ (filled[times] - mean))
            fitted_until = origin + len(filled) // 20
        path = [*(filled[origin - lags[-1] : origin] - mean)]
        for _ in range(horizon):
            path.append(float(sum(weight * path[-lag] for weight, lag in zip(weights, lags, strict=True))))
        made[row] = np.array(path[-horizon:]) + mean
    return made


def panel_scores(series: dict[str, Array], horizon: int, step_s: int) -> dict[str, Scores]:
    """Lead a panel through a set and score its forecasts.

    Parameters
    ----------
    series : dict of str to ndarray
        Values by name.
    horizon : int
        Leads.
    step_s : int
        Seconds between values.

    Returns
    -------
    dict of str to Scores
        By name.
    """
    made: dict[str, Scores] = {}
    by_length: dict[int, list[str]] = {}
    for label, values in series.items():
        by_length.setdefault(len(values), []).append(label)
    for length, labels in by_length.items():
        block = np.array([series[label] for label in labels])
        panel = UtilisationPanel(labels, step_s=step_s, horizon=horizon)
        origins = _origins(block[0], horizon)
        medians, bands = [], []
        taken = 0
        for origin in origins:
            panel.update(block[:, taken:origin], time_s=taken * step_s)
            taken = int(origin)
            foreseen = panel.forecast()
            medians.append(foreseen.median)
            bands.append(foreseen.quantiles)
        for row, label in enumerate(labels):
            actual, scale = _actual(block[row], horizon), _scale(block[row])
            low = np.array([each[0, row] for each in bands])
            high = np.array([each[-1, row] for each in bands])
            known = np.isfinite(actual)
            inside = (actual >= low) & (actual <= high)
            made[label] = Scores(
                float(np.nanmean(np.abs(actual - np.array([each[row] for each in medians])))) / scale,
                float(inside[known].mean()),
                float((high - low).mean()) / scale,
            )
        assert length >= taken
    return made


def accuracy(folder: Path, *, smoke: bool, half: bool | None = False) -> dict[str, Any]:
    """Measure the panel and the simple methods on all sets.

    Parameters
    ----------
    folder : Path
        Where the recorded files lie.
    smoke : bool
        Two sets only.
    half : bool, optional
        False for the held-out series, True for those that the constants were chosen on, None for all.

    Returns
    -------
    dict
        Per set the mean scaled errors, the coverage of the 80 % band, and the panel's error over the
        best single method's.
    """
    results: dict[str, Any] = {}
    for title, (name, horizon, step_s) in SETS.items():
        if smoke and name not in {"google", "gpu"}:
            continue
        series = read_set(folder, name)
        known = chosen_on(name, list(series))
        series = {label: series[label] for label in series if half is None or known[label] == half}
        if not series:
            continue
        simple = [simple_errors(values, horizon, step_s) for values in series.values()]
        methods = {
            method: float(np.mean([each[method] for each in simple]))
            for method in simple[0]
            if all(method in each for each in simple)
        }
        scores = panel_scores(series, horizon, step_s)
        error = float(np.mean([each.error for each in scores.values()]))
        results[f"{title}, {len(series)} series"] = {
            **methods,
            "ours: panel": error,
            "ratio, best single method / ours": min(methods.values()) / error,
            "coverage of the 80 % band": float(np.mean([each.coverage for each in scores.values()])),
            "width of the band": float(np.mean([each.width for each in scores.values()])),
        }
    return results
