"""The risk of all nodes over all spans, in a process of its own.

It takes seconds of one CPU and a hundred megabytes, once a slot: in the process that
answers, requests would wait for the interpreter, and the memory would stay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from aicsched.errors import ExecutorError
from aicsched.executor import ProcessExecutor
from aicsched.observe import get_logger
from aicsched.score.risk.assess import assess
from aicsched.slots import HOUR_S

if TYPE_CHECKING:
    from aicsched.domain.telemetry import Telemetry
    from aicsched.score.risk.assess import NodeRisk
    from aicsched.score.slo_risk import Objectives

__all__ = ["NOBODY", "AssessTask", "assess_all", "assess_apart"]

_log = get_logger("extender.live")
NOBODY = ""
"""Stands for a node of which nothing is known."""


class AssessTask(NamedTuple):
    """What is to be assessed.

    Parameters
    ----------
    telemetry : Telemetry
        What was measured.
    nodes : dict of str to float
        Hardware threads of each node.
    objectives : tuple of Objectives
        Thresholds.
    spans_h : tuple of float
        Lengths of runs [h].
    start_s : int
        Their start, seconds since the epoch.
    """

    telemetry: Telemetry
    nodes: dict[str, float]
    objectives: tuple[Objectives, ...]
    spans_h: tuple[float, ...]
    start_s: int


def assess_all(task: AssessTask) -> dict[tuple[Objectives, float], NodeRisk]:
    """Assess nodes, here and now.

    Parameters
    ----------
    task : AssessTask
        At least one node.

    Returns
    -------
    dict of (Objectives, float) to NodeRisk
        By thresholds and span [h]; a row for each node, and a last one for `NOBODY`.
    """
    names = [*task.nodes, NOBODY]
    vcpus = np.array([*task.nodes.values(), float(np.median([*task.nodes.values()]))])
    return {
        (objectives, span_h): assess(
            task.telemetry, names, vcpus, objectives, start_s=task.start_s, duration_s=span_h * HOUR_S
        )
        for objectives in task.objectives
        for span_h in task.spans_h
    }


def assess_apart(task: AssessTask) -> dict[tuple[Objectives, float], NodeRisk]:
    """Assess nodes in another process, which ends afterwards.

    Parameters
    ----------
    task : AssessTask
        At least one node.

    Returns
    -------
    dict of (Objectives, float) to NodeRisk
        As `assess_all`, which does the work here where no process can be had.
    """
    try:
        ((_, made),) = ProcessExecutor(1).map_unordered(assess_all, [task])
    except (ExecutorError, OSError) as error:
        _log.warning("risk is assessed in the serving process, which answers slower meanwhile: %s", error)
        return assess_all(task)
    return made
