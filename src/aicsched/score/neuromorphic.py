"""Scores of neuromorphic systems: does the network fit, and how many joules an inference takes.

Published energies per operation differ by a factor of 45 between sources that
measure a core and those that measure a system, so a score is an interval.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aicsched.domain.score import ScoreCard, ScoreTerm
from aicsched.score.properties import need
from aicsched.units import kwh_from_watts

if TYPE_CHECKING:
    from aicsched.domain.fleet import Backend
    from aicsched.score.intensity import Met

__all__ = ["Network", "inference_j", "score_neuromorphic"]

_JOULES_PER_KWH = 3.6e6
_PICO = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A spiking network and how often it runs.

    Parameters
    ----------
    neurons, synapses : int
        Its size; by default that of a published convolutional example.
    steps : int
        Time steps an inference.
    spike_share : float
        Mean share of neurons that spike in a step; 5 % is assumed where unknown.
    inferences : int
        How many.
    """

    neurons: int = 8970
    synapses: int = 903_680
    steps: int = 100
    spike_share: float = 0.05
    inferences: int = 1_000_000

    def describe(self) -> str:
        """Return the network in words."""
        return f"{self.inferences:,} inferences of {self.neurons:,} neurons and {self.synapses:,} synapses"


def inference_j(network: Network, backend: Backend) -> tuple[float, float, float]:
    """Return the dynamic energy of one inference.

    Parameters
    ----------
    network : Network
        The network.
    backend : Backend
        With energies per synaptic operation and neuron update.

    Returns
    -------
    tuple of float
        T·(N·e_neuron + S·rate·e_synop), low, mid and high [J].

    Raises
    ------
    InputError
        A property is missing.
    """

    def energy(end: str) -> float:
        update = network.neurons * need(backend, f"neuron_{end}_pj")
        events = network.synapses * network.spike_share * need(backend, f"synop_{end}_pj")
        return network.steps * (update + events) * _PICO

    return energy("low"), energy("mid"), energy("high")


def score_neuromorphic(backend: Backend, network: Network, met: Met, pue: float) -> ScoreCard:
    """Score a neuromorphic system for a network.

    Parameters
    ----------
    backend : Backend
        The system.
    network : Network
        The job.
    met : Met
        Intensity that it meets.
    pue : float
        Of its site.

    Returns
    -------
    ScoreCard
        An interval; refused where the network doesn't fit.

    Raises
    ------
    InputError
        A property is missing.
    """
    low_j, mid_j, high_j = (value * network.inferences * pue for value in inference_j(network, backend))
    seconds = network.inferences * network.steps * need(backend, "step_us") * 1e-6
    idle_kwh = kwh_from_watts(backend.static_w * pue, seconds)
    refusals = tuple(
        f"holds {need(backend, name):,.0f} {name}"
        for name, wanted in (("neurons", network.neurons), ("synapses", network.synapses))
        if wanted > need(backend, name)
    )
    return ScoreCard(
        candidate=backend.name,
        candidate_kind=str(backend.kind),
        request=network.describe(),
        terms=(
            ScoreTerm(
                name="operational",
                low_g=low_j / _JOULES_PER_KWH * met.low_g_per_kwh,
                mid_g=mid_j / _JOULES_PER_KWH * met.mid_g_per_kwh,
                high_g=high_j / _JOULES_PER_KWH * met.high_g_per_kwh,
                note=f"{low_j / 1000:.3g} to {high_j / 1000:.3g} kJ of spikes, by source",
            ),
            ScoreTerm(
                name="idle_share",
                low_g=idle_kwh * met.low_g_per_kwh,
                mid_g=idle_kwh * met.mid_g_per_kwh,
                high_g=idle_kwh * met.high_g_per_kwh,
                note=f"{backend.static_w:g} W for {seconds:,.0f} s",
            ),
        ),
        refusals=refusals,
        inputs=(met.source, backend.source),
        synthetic=met.synthetic,
    )
