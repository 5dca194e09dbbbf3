"""How busy nodes will be over a horizon, from what they did at those hours of the day."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from aicsched.slots import DAY_S, HOUR_S

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from aicsched.domain.telemetry import Telemetry

__all__ = ["Utilisation", "over_horizon"]

HOURS_A_DAY: Final = 24
LOOKBACK_DAYS: Final = 28


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Utilisation:
    """CPU utilisation of nodes over a horizon, as a distribution.

    Parameters
    ----------
    mean_share, sd_share : ndarray, shape (n,)
        Moments of the utilisation; 0 where nothing is known.
    coverage_share : ndarray, shape (n,)
        Share of the past slots that were measured; 0 is unknown.
    """

    mean_share: NDArray[np.float64]
    sd_share: NDArray[np.float64]
    coverage_share: NDArray[np.float64]

    @classmethod
    def unknown(cls, count: int) -> Utilisation:
        """Make the utilisation of nodes about which nothing is known.

        Parameters
        ----------
        count : int
            How many nodes.

        Returns
        -------
        Utilisation
            With no coverage.
        """
        return cls(mean_share=np.zeros(count), sd_share=np.zeros(count), coverage_share=np.zeros(count))


def _hour_shares(start_s: float, duration_s: float) -> NDArray[np.float64]:
    """Return which share of a run falls into each hour of the day (UTC)."""
    if duration_s >= DAY_S:
        return np.full(HOURS_A_DAY, 1 / HOURS_A_DAY)
    edges = np.arange(2 * HOURS_A_DAY + 1) * HOUR_S
    begin = start_s % DAY_S
    overlap = np.minimum(edges[1:], begin + duration_s) - np.maximum(edges[:-1], begin)
    return np.maximum(overlap, 0.0).reshape(2, HOURS_A_DAY).sum(axis=0) / duration_s


def over_horizon(
    telemetry: Telemetry | None, nodes: Sequence[str], *, start_s: int, duration_s: float
) -> Utilisation:
    """Foresee the utilisation of nodes over a run.

    Parameters
    ----------
    telemetry : Telemetry or None
        What was measured; only slots that ended by `start_s`, at most 28 days back, are used.
    nodes : sequence of str
        Which nodes, in the order of the result.
    start_s : int
        Start of the run, seconds since the epoch.
    duration_s : float
        Its length [s].

    Returns
    -------
    Utilisation
        Mean and deviation of the hours of day the run touches (law of total
        variance); an hour never measured is taken as the node's other hours.
    """
    count = len(nodes)
    if telemetry is None or not telemetry.nodes:
        return Utilisation.unknown(count)
    slots = telemetry.slots
    past = slots.between(start_s - LOOKBACK_DAYS * DAY_S, start_s)
    if not len(past):
        return Utilisation.unknown(count)
    row_of = {name: row for row, name in enumerate(telemetry.nodes)}
    rows = np.array([row_of.get(name, -1) for name in nodes], dtype=np.int64)
    offset = slots.offset_of(past)
    seen = telemetry.cpu_share[:, offset : offset + len(past)][np.maximum(rows, 0)]
    there = ~np.isnan(seen) & (rows >= 0)[:, None]
    values = np.where(there, seen, 0.0)
    hours = past.starts_s() % DAY_S // HOUR_S
    one_hot = (hours[:, None] == np.arange(HOURS_A_DAY)).astype(np.float64)
    moments = np.stack([there.astype(np.float64) @ one_hot, values @ one_hot, np.square(values) @ one_hot])
    return _pool(moments, _hour_shares(start_s, duration_s), len(past))


def _pool(moments: NDArray[np.float64], weights: NDArray[np.float64], slots: int) -> Utilisation:
    """Pool counts, sums and squares by hour of day (3, n, 24) into one mean and deviation a node."""
    number, total, squares = moments
    of_node = moments.sum(axis=2)
    measured = number > 0
    safe = np.maximum(number, 1.0)
    everything = np.maximum(of_node[0], 1.0)[:, None]
    mean_h = np.where(measured, total / safe, of_node[1][:, None] / everything)
    square_h = np.where(measured, squares / safe, of_node[2][:, None] / everything)
    mean, square = mean_h @ weights, square_h @ weights
    sd = np.sqrt(np.maximum(square - np.square(mean), 0.0))
    return Utilisation(mean_share=mean, sd_share=sd, coverage_share=of_node[0] / slots)
