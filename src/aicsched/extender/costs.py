"""What a pod costs on each node of a fleet, ready to be asked a thousand times a second."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np

from aicsched.score.engine import PodColumns, ScoreEngine
from aicsched.score.nodes import node_columns
from aicsched.score.request import ScoreWeights
from aicsched.slots import HOUR_S

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from aicsched.domain.fleet import Fleet
    from aicsched.domain.forecast import Forecast
    from aicsched.domain.telemetry import Telemetry
    from aicsched.extender.podrequest import PodRequest

__all__ = ["SPANS_H", "FleetCosts", "fleet_costs"]

# A forecast is averaged over these spans beforehand; a pod takes the shortest that holds it.
SPANS_H: Final = (1, 2, 4, 8, 24, 48, 96)
# Replicas ask for the same.
_REMEMBERED: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FleetCosts:
    """Marginal grams of a pod on every node.

    Parameters
    ----------
    engine : ScoreEngine
        Of the nodes, with the spans that forecasts cover; its first policy counts.
    """

    engine: ScoreEngine
    _remembered: Callable[[PodRequest], NDArray[np.float64]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_remembered", lru_cache(_REMEMBERED)(self._cost_g))

    def cost_g(self, request: PodRequest) -> NDArray[np.float64]:
        """Return what a pod costs on each node.

        Parameters
        ----------
        request : PodRequest
            Its threads, memory and expected duration; beyond the last span the last one's
            mean intensity is taken.

        Returns
        -------
        ndarray, shape (nodes,)
            Operational grams, the idle share it keeps awake, and the risk it brings [g]; read-only.
        """
        return self._remembered(request)

    def _cost_g(self, request: PodRequest) -> NDArray[np.float64]:
        pod = PodColumns(
            vcpus=np.array([request.vcpus]),
            duration_h=np.array([request.duration_s / HOUR_S]),
            memory_gib=np.array([request.memory_gib]),
        )
        # Whether a pod fits is for the scheduler's own filters, which know what is free.
        total_g: NDArray[np.float64] = self.engine.totals(pod, refuse=False)[0]
        total_g.flags.writeable = False
        return total_g


def fleet_costs(
    fleet: Fleet,
    forecasts: Mapping[str, Forecast],
    telemetry: Telemetry | None,
    *,
    start_s: int,
    weights: ScoreWeights | None = None,
) -> FleetCosts:
    """Lay out all that a cost needs, once per snapshot.

    Parameters
    ----------
    fleet : Fleet
        With the nodes of a cluster.
    forecasts : mapping of str to Forecast
        Per grid zone, from `start_s` on for at least an hour.
    telemetry : Telemetry or None
        What the nodes did.
    start_s : int
        The time of the snapshot, seconds since the epoch.
    weights : ScoreWeights, optional
        Exchange rates; by default the runbook's.

    Returns
    -------
    FleetCosts
        In the order of ``fleet.nodes``.

    Raises
    ------
    UnknownZone, SlotError
        A forecast is missing or shorter than an hour.
    """
    end_s = min(forecast.slots.end_s for forecast in forecasts.values())
    covered = [span_h for span_h in SPANS_H if start_s + span_h * HOUR_S <= end_s] or [SPANS_H[0]]
    chosen = weights or ScoreWeights()
    spans = {
        float(span_h): node_columns(
            fleet, forecasts, telemetry, start_s=start_s, duration_s=span_h * HOUR_S, weights=chosen
        )
        for span_h in covered
    }
    return FleetCosts(engine=ScoreEngine(spans, (chosen,), [region.name for region in fleet.regions]))
