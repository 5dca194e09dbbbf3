"""The embedded sample's telemetry: two weeks of made-up utilisation, a character per node."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

import numpy as np

from aicsched.domain.telemetry import Telemetry
from aicsched.slots import HOUR_S, SlotGrid

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["sample_telemetry"]

_DAY_H: Final = 24
# How often each character occurs, and its mean load by day and by night.
_CHARACTERS: Final = (
    ("busy", 0.34, 0.62, 0.48),
    ("office", 0.34, 0.45, 0.12),
    ("light", 0.15, 0.14, 0.09),
    ("batch", 0.03, 0.015, 0.010),
    ("idle", 0.09, 0.012, 0.012),
    ("silent", 0.05, 0.30, 0.20),
)
_SILENT_SHARE: Final = 0.6
_BATCH_H: Final = 9
_BATCH_SHARE: Final = 0.85


def _character(draw: float) -> tuple[str, float, float]:
    reached = 0.0
    for name, share, day, night in _CHARACTERS:
        reached += share
        if draw < reached:
            return name, day, night
    return _CHARACTERS[-1][0], _CHARACTERS[-1][2], _CHARACTERS[-1][3]


def sample_telemetry(nodes: Sequence[str], *, end_s: int, days: int = 14) -> Telemetry:
    """Make the telemetry of some nodes.

    Parameters
    ----------
    nodes : sequence of str
        Their names, which fix their characters.
    end_s : int
        End of the last hour, seconds since the epoch.
    days : int
        How many days back.

    Returns
    -------
    Telemetry
        Hourly, marked synthetic. Some nodes are nearly idle, some only until a
        rare batch run, and a few fell silent for days: unknown there, not idle.

    Examples
    --------
    >>> made = sample_telemetry(["a", "b"], end_s=1_777_507_200)
    >>> made.cpu_share.shape
    (2, 336)
    """
    hours = days * _DAY_H
    grid = SlotGrid(end_s - hours * HOUR_S, HOUR_S, hours)
    hour = (grid.starts_s() // HOUR_S) % _DAY_H
    weekend = ((grid.starts_s() // (HOUR_S * _DAY_H) + 3) % 7) >= 5  # Saturday and Sunday
    by_day = np.exp(-0.5 * ((hour - 13.0) / 4.0) ** 2) * np.where(weekend, 0.35, 1.0)
    cpu, network, memory = (np.empty((len(nodes), hours)) for _ in range(3))
    for row, name in enumerate(nodes):
        rng = np.random.default_rng(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big"))
        character, day, night = _character(rng.random())
        noise = rng.normal(0.0, 0.12 * day + 0.001, hours)
        load = np.clip(night + (day - night) * by_day + noise, 0.001, 0.99)
        if character == "batch":  # a run at the month's end looks idle on all other days
            begin = int(rng.integers(0, max(1, hours - _BATCH_H)))
            load[begin : begin + _BATCH_H] = _BATCH_SHARE
        cpu[row] = load.round(4)
        network[row] = (load * 900.0 if character != "idle" else np.full(hours, 0.1)).round(2)
        memory[row] = np.clip(0.15 + 0.6 * load, 0.0, 1.0).round(4)
        if character == "silent":
            gone = slice(0, int(hours * _SILENT_SHARE))
            cpu[row, gone] = network[row, gone] = memory[row, gone] = np.nan
    return Telemetry(
        nodes=tuple(nodes),
        slots=grid,
        cpu_share=cpu,
        network_mb=network,
        memory_share=memory,
        source="sample:v1:telemetry",
        synthetic=True,
    )
