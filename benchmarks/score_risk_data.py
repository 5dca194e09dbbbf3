"""Recorded loads as shares of a node, for the risk of passing a limit."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.panel_accuracy import read_set

Array = np.ndarray[Any, np.dtype[np.float64]]

DAY_S = 86_400
# The recorded years of two clusters are a week and four weeks over and over.
WEEK_H = 168
MONTH_H = 672
# Of demand that has no capacity of its own: 80 % is what the highest 5 % of the first half passes.
PEAK_LEVEL = 0.95
NODES_OF_A_TRACE = 8


class TraceSet(NamedTuple):
    """Loads of one kind.

    Parameters
    ----------
    loads : ndarray, shape (n, t)
        Shares in [0, 1]; NaN where missing or past the end of a series.
    per_day : int
        Slots a day.
    horizons : tuple of int
        How long pods run [slots].
    snapshots : int
        From how many moments to foresee.
    copied : int
        Slots after which the record repeats itself, exactly or but for noise; 0 where it doesn't.
    """

    loads: Array
    per_day: int
    horizons: tuple[int, ...]
    snapshots: int
    copied: int = 0


def _stacked(series: list[Array]) -> Array:
    made = np.full((len(series), max(map(len, series))), np.nan)
    for row, values in enumerate(series):
        made[row, : len(values)] = values
    return made


def _busy(starts: Array, lengths: Array, sizes: Array, nodes: int, slots: int) -> Array:
    """Return the mean use of each slot (nodes, slots); jobs are dealt to nodes in turn, times in slots."""
    steps = np.zeros((nodes, slots + 1))
    node = np.arange(len(starts)) % nodes
    for times, sign in ((starts, 1.0), (starts + lengths, -1.0)):
        place = np.clip(times, 0, slots)
        slot = np.minimum(place.astype(np.int64), slots - 1)
        late = place - slot
        np.add.at(steps, (node, slot), sign * sizes * (1 - late))
        np.add.at(steps, (node, slot + 1), sign * sizes * late)
    return np.cumsum(steps, axis=1)[:, :slots]


def _as_shares(busy: Array) -> Array:
    """Give demand a capacity: its peaks in the first half reach 80 %."""
    peak = np.quantile(busy[:, : busy.shape[1] // 2], PEAK_LEVEL)
    return np.clip(busy / peak * 0.8, 0.0, 1.0)


def _gaia(folder: Path, name: str) -> Array:
    import pandas as pd

    jobs = pd.read_csv(folder / "gaia" / f"{name}.csv.gz").sort_values("arrival_time")
    starts, lengths, sizes = (
        jobs[each].to_numpy(dtype=np.float64) for each in ("arrival_time", "length", "cpus")
    )
    # The first three days fill the machines up.
    return _as_shares(_busy(starts, lengths, sizes, NODES_OF_A_TRACE, 365 * 24)[:, 72:])


def _openb(folder: Path) -> Array:
    import pandas as pd

    pods = pd.read_csv(folder / "openb" / "openb_pod_list_default.csv.gz").dropna(subset=["scheduled_time"])
    pods = pods.sort_values("scheduled_time")
    # The four weeks in which most of its pods run, in slots of ten minutes.
    began, slots = 10.5e6, 4_000
    starts = (pods["scheduled_time"].to_numpy(dtype=np.float64) - began) / 600
    lengths = (pods["deletion_time"] - pods["scheduled_time"]).to_numpy(dtype=np.float64) / 600
    sizes = (pods["cpu_milli"], pods["memory_mib"], pods["num_gpu"] * pods["gpu_milli"])
    rows = [_as_shares(_busy(starts, lengths, size.to_numpy(dtype=np.float64), 1, slots)) for size in sizes]
    return np.concatenate(rows)


def recorded() -> dict[str, TraceSet]:
    """Read all recorded sets.

    Returns
    -------
    dict of str to TraceSet
        Empty where the recorded files aren't at hand.
    """
    root = Path(os.environ.get("AICSCHED_SHARED") or Path(__file__).resolve().parents[2] / "shared") / "data"
    carbon, workloads = root / "carbon", root / "workloads"
    if not (carbon / "util_nab.parquet").is_file() or not (workloads / "openb").is_dir():
        return {}
    alibaba, google = (_stacked(list(read_set(carbon, name).values())) for name in ("alibaba", "google"))
    nab, gpu, memory = (_stacked(list(read_set(carbon, name).values())) for name in ("nab", "gpu", "mem"))
    minutes = round(DAY_S / 57)
    return {
        "cluster CPU hourly (Alibaba)": TraceSet(alibaba, 24, (1, 4, 24), 400, copied=WEEK_H),
        "the same, its one week": TraceSet(alibaba[:, :WEEK_H], 24, (1, 4, 12), 400),
        "cluster CPU hourly (Google)": TraceSet(google, 24, (1, 4, 24), 600, copied=MONTH_H),
        "the same, its four weeks": TraceSet(google[:, :MONTH_H], 24, (1, 4, 24), 400),
        "pods' GPU duty 57 s": TraceSet(gpu / 100, minutes, (1, 15, 60), 60),
        "pods' memory 57 s": TraceSet(memory, minutes, (1, 15, 60), 60),
        "NAB CPU 5 min": TraceSet(nab / 100, 288, (1, 12, 72), 150),
        "GAIA demand hourly (Alibaba PAI)": TraceSet(_gaia(workloads, "pai-100k"), 24, (1, 4, 24), 150),
        "GAIA demand hourly (Azure)": TraceSet(_gaia(workloads, "azure-100k"), 24, (1, 4, 24), 150),
        "openb demand 10 min": TraceSet(_openb(workloads), 144, (1, 6, 36), 200),
    }


def made_up(nodes: int = 6, days: int = 12) -> dict[str, TraceSet]:
    """Make a small set: a daily wave and what lasts for some hours.

    Parameters
    ----------
    nodes : int
        How many.
    days : int
        How long.

    Returns
    -------
    dict of str to TraceSet
        One set.
    """
    rng = np.random.default_rng(7)
    slots = 24 * days
    lasting = np.zeros((nodes, slots))
    for slot in range(1, slots):
        lasting[:, slot] = 0.7 * lasting[:, slot - 1] + 0.05 * rng.normal(size=nodes)
    wave = 0.45 + 0.2 * np.sin(2 * np.pi * np.arange(slots) / 24)
    return {"made up hourly": TraceSet(np.clip(wave + lasting, 0, 1), 24, (1, 6), 12)}
