"""Alibaba's openb trace (cluster-trace-gpu-v2023) and the protocol of FGD's evaluation on it."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from aicsched.errors import InputError
from aicsched.place.nodes.problem import Requirements, build_nodes, build_pods
from aicsched.place.nodes.select import select_pods

if TYPE_CHECKING:
    from os import PathLike

    from aicsched.place.nodes.problem import Nodes, Pods

__all__ = ["inflate", "read_openb_nodes", "read_openb_pods"]

_NODE_COLUMNS: Final = ("sn", "cpu_milli", "memory_mib", "gpu", "model")
_POD_COLUMNS: Final = ("name", "cpu_milli", "memory_mib", "num_gpu", "gpu_milli")


def _rows(path: str | PathLike[str], needed: tuple[str, ...]) -> list[dict[str, str]]:
    opened = gzip.open if Path(path).suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8", newline="") as lines:
            rows = list(csv.DictReader(lines))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        msg = f"'{path}' can't be read as CSV: {error}"
        raise InputError(msg, hint="give a file of the trace, plain or .gz", value=str(path)) from error
    missing = [name for name in needed if not rows or name not in rows[0]]
    if missing:
        msg = f"'{path}' has no column {', '.join(missing)}"
        raise InputError(msg, hint=f"a header with {', '.join(needed)} is needed", value=missing)
    return rows


def _numbers(rows: list[dict[str, str]], column: str, path: str | PathLike[str]) -> list[float]:
    made: list[float] = []
    for at, row in enumerate(rows, start=2):
        try:
            made.append(float(row[column]))
        except (TypeError, ValueError) as error:
            msg = f"'{path}' line {at}: {column} is '{row[column]}'"
            raise InputError(msg, hint="a number is needed", value=row[column]) from error
    return made


def read_openb_nodes(path: str | PathLike[str], **power: Any) -> Nodes:
    """Read the list of nodes.

    Parameters
    ----------
    path : path
        CSV, plain or .gz, with the trace's columns.
    **power
        Columns of `build_nodes` that the trace doesn't have.

    Returns
    -------
    Nodes
        All free.

    Raises
    ------
    InputError
        The file can't be read, lacks a column, or a value can't be true.
    """
    rows = _rows(path, _NODE_COLUMNS)
    return build_nodes(
        [row["sn"] for row in rows],
        cpu_milli=_numbers(rows, "cpu_milli", path),
        memory_mib=_numbers(rows, "memory_mib", path),
        gpus=_numbers(rows, "gpu", path),
        gpu_model=[row["model"] for row in rows],
        **power,
    )


def read_openb_pods(path: str | PathLike[str]) -> Pods:
    """Read a list of pods; its times play no part.

    Parameters
    ----------
    path : path
        CSV, plain or .gz, with the trace's columns; ``gpu_spec`` names models, split by ``|``.

    Returns
    -------
    Pods
        In the file's order.

    Raises
    ------
    InputError
        The file can't be read, lacks a column, or a value can't be true.
    """
    rows = _rows(path, _POD_COLUMNS)
    number = np.array(_numbers(rows, "num_gpu", path))
    specs = [frozenset(filter(None, (row.get("gpu_spec") or "").split("|"))) for row in rows]
    kinds = {spec: at for at, spec in enumerate(sorted(set(specs), key=sorted))}
    return build_pods(
        [row["name"] for row in rows],
        cpu_milli=_numbers(rows, "cpu_milli", path),
        memory_mib=_numbers(rows, "memory_mib", path),
        num_gpu=number,
        gpu_milli=np.where(number > 0, _numbers(rows, "gpu_milli", path), 0),
        requirements=[Requirements(gpu_models=spec) for spec in kinds],
        requirement=[kinds[spec] for spec in specs],
    )


def inflate(pods: Pods, gpu_milli: int, *, ratio: float = 1.3, seed: int = 0) -> Pods:
    """Shuffle pods and add drawn ones until they ask for so many times a cluster's GPUs: FGD's protocol.

    Parameters
    ----------
    pods : Pods
        The workload.
    gpu_milli : int
        GPUs of the cluster, in thousandths.
    ratio : float
        Of demand to capacity, at most; pods beyond it are left out.
    seed : int
        Of the shuffle and the draws.

    Returns
    -------
    Pods
        Arrivals; drawn ones are named after their original, with ``+`` and a number.

    Raises
    ------
    InputError
        No pod asks for a GPU, so that no number of them would be enough.
    """
    asked = pods.asked_gpu_milli
    if not asked.any():
        msg = "none of the pods asks for a GPU"
        raise InputError(msg, hint="give a workload with GPUs", value=0)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(pods))
    upto = np.cumsum(asked[order])
    chosen = order[upto <= ratio * gpu_milli].tolist()
    total = int(asked[chosen].sum())
    while len(chosen) >= len(pods):
        drawn = int(rng.integers(len(pods)))
        total += int(asked[drawn])
        if total > ratio * gpu_milli:
            break
        chosen.append(drawn)
    return select_pods(pods, chosen)
