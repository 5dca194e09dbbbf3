"""Scores of special backends through the one score card, each for its own kind of work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aicsched.domain.fleet import BackendKind
from aicsched.score.backend_terms import Site
from aicsched.score.edge import EdgeCall, score_edge
from aicsched.score.intensity import met_by_region
from aicsched.score.neuromorphic import Network, score_neuromorphic
from aicsched.score.quantum import Circuit, score_quantum
from aicsched.score.request import ScoreWeights

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aicsched.domain.fleet import Backend, Fleet
    from aicsched.domain.forecast import Forecast
    from aicsched.domain.score import ScoreCard

__all__ = ["score_backends"]

# Long enough for a usual queue and the run.
HORIZON_S: Final = 6 * 3600


def score_backends(
    fleet: Fleet,
    forecasts: Mapping[str, Forecast],
    *,
    start_s: int,
    circuit: Circuit = Circuit(),  # noqa: B008 - frozen
    network: Network = Network(),  # noqa: B008
    call: EdgeCall = EdgeCall(),  # noqa: B008
    weights: ScoreWeights = ScoreWeights(),  # noqa: B008
) -> tuple[ScoreCard, ...]:
    """Score every quantum, neuromorphic and edge backend of a fleet.

    Parameters
    ----------
    fleet : Fleet
        With backends.
    forecasts : mapping of str to Forecast
        Per grid zone, covering six hours from `start_s`.
    start_s : int
        When the work would start, seconds since the epoch; the mean intensity of
        the six hours from then stands for queue and run.
    circuit, network, call : Circuit, Network, EdgeCall
        The work for each kind.
    weights : ScoreWeights
        Exchange rates.

    Returns
    -------
    tuple of ScoreCard
        Those that can take their work first, least grams first. Totals of
        different kinds are for different work: compare within a kind.

    Raises
    ------
    InputError
        A backend lacks a property, or one is out of range.
    UnknownZone, SlotError
        A forecast is missing or too short.
    """
    met = met_by_region(fleet, forecasts, start_s, HORIZON_S)
    pue = {region.name: region.pue for region in fleet.regions}

    def card(backend: Backend) -> ScoreCard:
        site = Site(met[backend.region], pue[backend.region], fleet.synthetic)
        if backend.kind is BackendKind.QUANTUM:
            return score_quantum(backend, circuit, site, weights)
        if backend.kind is BackendKind.NEUROMORPHIC:
            return score_neuromorphic(backend, network, site, weights)
        return score_edge(backend, call, site, weights)

    return tuple(
        sorted(
            (card(backend) for backend in fleet.backends),
            key=lambda item: (not item.feasible, item.mid_g, item.candidate),
        )
    )
