"""What a pod costs on each node of a fleet, ready to be asked a thousand times a second."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from aicsched.score.nodes import node_arrays, node_terms
from aicsched.score.request import Request, ScoreWeights
from aicsched.slots import HOUR_S

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from aicsched.domain.fleet import Fleet
    from aicsched.domain.forecast import Forecast
    from aicsched.domain.telemetry import Telemetry
    from aicsched.extender.podrequest import PodRequest
    from aicsched.score.nodes import NodeArrays

__all__ = ["SPANS_H", "FleetCosts", "fleet_costs"]

# A forecast is averaged over these spans beforehand; a pod takes the shortest that holds it.
SPANS_H: Final = (1, 2, 4, 8, 24, 48, 96)
# Replicas ask for the same, and the risks of the nodes take longer to compute than all the rest of an answer.
_REMEMBERED: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FleetCosts:
    """Marginal grams of a pod on every node.

    Parameters
    ----------
    by_span_h : tuple of (int, NodeArrays)
        Per span [h], rising: the nodes with the intensity and load of that span.
    weights : ScoreWeights
        Exchange rates and limits.
    """

    by_span_h: tuple[tuple[int, NodeArrays], ...]
    weights: ScoreWeights
    _remembered: Callable[[PodRequest], NDArray[np.float64]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_remembered", lru_cache(_REMEMBERED)(self._cost_g))

    def cost_g(self, request: PodRequest) -> NDArray[np.float64]:
        """Return what a pod costs on each node.

        Parameters
        ----------
        request : PodRequest
            Its threads and expected duration; beyond the last span the last one's
            mean intensity is taken.

        Returns
        -------
        ndarray, shape (nodes,)
            Operational grams, the idle share it keeps awake, and the risk it brings [g]; read-only.
        """
        return self._remembered(request)

    def _cost_g(self, request: PodRequest) -> NDArray[np.float64]:
        wanted_h = request.duration_s / HOUR_S
        arrays = next((item for span_h, item in self.by_span_h if span_h >= wanted_h), self.by_span_h[-1][1])
        asked = Request(vcpus=request.vcpus, duration_s=request.duration_s)
        total_g = node_terms(asked, arrays, self.weights).total_g
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
    by_span_h = tuple(
        (
            span_h,
            node_arrays(
                Request(vcpus=1.0, duration_s=span_h * HOUR_S), fleet, forecasts, telemetry, start_s=start_s
            ),
        )
        for span_h in covered
    )
    return FleetCosts(by_span_h=by_span_h, weights=weights or ScoreWeights())
