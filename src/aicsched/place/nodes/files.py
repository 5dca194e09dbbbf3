"""Machines and pods from files that people write, and from openb's lists."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aicsched.errors import InputError
from aicsched.fleet.pod_schemas import MACHINES, PODS
from aicsched.fleet.tables import read_objects
from aicsched.place.nodes.openb import read_openb_nodes, read_openb_pods
from aicsched.place.nodes.problem import NO_GANG, WHOLE_GPU, Requirements, build_nodes, build_pods

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aicsched.place.nodes.problem import Nodes, Pods

__all__ = ["read_machines", "read_pods"]

_MIB_PER_GIB = 1024
_MILLI = 1000


def _is_openb(file: Path) -> bool:
    if not file.name.endswith((".csv", ".csv.gz")):
        return False
    opened = gzip.open if file.suffix == ".gz" else open
    try:
        with opened(file, "rt", encoding="utf-8") as lines:
            return "cpu_milli" in lines.readline()
    except (OSError, UnicodeDecodeError) as error:
        msg = f"'{file}' can't be read: {error}"
        raise InputError(msg, hint="give a CSV, parquet or JSON file", value=str(file)) from error


def _column(rows: Sequence[dict[str, Any]], name: str, default: Any, factor: float = 1.0) -> list[Any]:  # noqa: ANN401
    found = [row.get(name, default) for row in rows]
    # 0.1 of a vCPU is 100 milli, whatever binary fractions make of it.
    return found if factor == 1.0 else [round(each * factor, 6) for each in found]


def read_machines(path: str | Path) -> Nodes:
    """Read machines.

    Parameters
    ----------
    path : str or Path
        As ``aicsched schema machines`` says, or an openb list of nodes (CSV, plain or .gz).

    Returns
    -------
    Nodes
        All free.

    Raises
    ------
    InputError
        The file or a row is not what it must be.
    """
    if _is_openb(Path(path)):
        return read_openb_nodes(path)
    rows = read_objects(path, MACHINES, dict)
    idle, gpu_idle = _column(rows, "idle_w", 0.0), _column(rows, "gpu_idle_w", 0.0)
    return build_nodes(
        _column(rows, "name", ""),
        cpu_milli=np.floor(_column(rows, "vcpus", 0.0, _MILLI)),
        memory_mib=np.floor(_column(rows, "memory_gib", 0.0, _MIB_PER_GIB)),
        gpus=_column(rows, "gpus", 0),
        gpu_model=_column(rows, "gpu_model", ""),
        labels=[{key: str(value) for key, value in row.get("labels", {}).items()} for row in rows],
        taints=[frozenset(row.get("taints", ())) for row in rows],
        cpu_idle_w=idle,
        cpu_busy_w=[row.get("max_w", least) for row, least in zip(rows, idle, strict=True)],
        gpu_idle_w=gpu_idle,
        gpu_busy_w=[row.get("gpu_max_w", least) for row, least in zip(rows, gpu_idle, strict=True)],
        pue=_column(rows, "pue", 1.0),
        g_per_kwh=_column(rows, "g_per_kwh", 0.0),
    )


def _rule(text: str, pod: str) -> tuple[str, str]:
    name, mark, topology = text.rpartition("@")
    if not (mark and name and topology):
        msg = f"'{text}' of pod '{pod}' is no rule"
        raise InputError(msg, hint="write name@topology, for example app=web@zone", value=text)
    return name, topology


def _spread(text: str, pod: str) -> tuple[str, str, int]:
    rule, _, skew = text.rpartition(":")
    if not skew.isdigit():
        msg = f"'{text}' of pod '{pod}' is no spread"
        raise InputError(msg, hint="write name@topology:skew, for example app=web@zone:1", value=text)
    return (*_rule(rule, pod), int(skew))


def _requirements(row: dict[str, Any]) -> Requirements:
    pod = row["name"]
    wanted = row.get("node_labels", {}).items()
    return Requirements(
        gpu_models=frozenset(row.get("gpu_models", ())),
        tolerations=frozenset(row.get("tolerations", ())),
        labels=frozenset(row.get("labels", ())),
        node_labels=tuple((key, frozenset(str(values).split("|"))) for key, values in wanted),
        affinity=tuple(_rule(text, pod) for text in row.get("affinity", ())),
        anti_affinity=tuple(_rule(text, pod) for text in row.get("anti_affinity", ())),
        spread=tuple(_spread(text, pod) for text in row.get("spread", ())),
    )


def read_pods(path: str | Path) -> Pods:
    """Read pods.

    Parameters
    ----------
    path : str or Path
        As ``aicsched schema pods`` says, or an openb list of pods (CSV, plain or .gz).

    Returns
    -------
    Pods
        In the order of the file.

    Raises
    ------
    InputError
        The file or a row is not what it must be.
    """
    if _is_openb(Path(path)):
        return read_openb_pods(path)
    rows = read_objects(path, PODS, dict)
    needs = [_requirements(row) for row in rows]
    kinds = {need: at for at, need in enumerate(dict.fromkeys(needs))}
    gangs = {name: at for at, name in enumerate(dict.fromkeys(row["gang"] for row in rows if "gang" in row))}
    return build_pods(
        _column(rows, "name", ""),
        cpu_milli=np.ceil(_column(rows, "vcpus", 0.0, _MILLI)),
        memory_mib=np.ceil(_column(rows, "memory_gib", 0.0, _MIB_PER_GIB)),
        num_gpu=_column(rows, "gpus", 0),
        gpu_milli=[row.get("gpu_milli", WHOLE_GPU if row.get("gpus") else 0) for row in rows],
        requirements=tuple(kinds),
        requirement=[kinds[need] for need in needs],
        priority=_column(rows, "priority", 0),
        gang=[gangs[row["gang"]] if "gang" in row else NO_GANG for row in rows],
    )
