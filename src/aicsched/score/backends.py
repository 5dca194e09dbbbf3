"""Scores of special backends through the one score card, each for its own kind of work."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from aicsched.domain.fleet import BackendKind
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
    from aicsched.score.intensity import Met

__all__ = ["score_backends"]

_HOUR_S = 3600.0


def score_backends(  # noqa: PLR0913 - one keyword per kind of work
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
        Per grid zone, covering the hour from `start_s`.
    start_s : int
        When the work would start, seconds since the epoch.
    circuit, network, call : Circuit, Network, EdgeCall
        The work for each kind.
    weights : ScoreWeights
        Exchange rates.

    Returns
    -------
    tuple of ScoreCard
        Those that can take their work first, least grams first. Totals of
        different kinds are for different work.

    Raises
    ------
    InputError
        A backend lacks a property.
    UnknownZone, SlotError
        A forecast is missing or too short.
    """
    met = met_by_region(fleet, forecasts, start_s, _HOUR_S)
    pue = {region.name: region.pue for region in fleet.regions}

    def card(backend: Backend, here: Met) -> ScoreCard:
        site = pue[backend.region]
        if backend.kind is BackendKind.QUANTUM:
            return score_quantum(backend, circuit, here, site, weights)
        if backend.kind is BackendKind.NEUROMORPHIC:
            return score_neuromorphic(backend, network, here, site)
        return score_edge(backend, call, here, site, weights)

    cards = [card(backend, met[backend.region]) for backend in fleet.backends]
    if fleet.synthetic:
        cards = [replace(item, synthetic=True) for item in cards]
    return tuple(sorted(cards, key=lambda item: (not item.feasible, item.mid_g, item.candidate)))
