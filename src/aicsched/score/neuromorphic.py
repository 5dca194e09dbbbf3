"""Scores of neuromorphic systems: does the network fit, and how many joules an inference takes.

Published energies of one synaptic operation differ by a factor of 45 for the same
chip, by what is counted (core, chip, board). So each constant comes as low, mid
and high, and so does the score.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aicsched.errors import InputError
from aicsched.score.backend_terms import (
    JOULES_PER_KWH,
    Interval,
    backend_card,
    energy_term,
    number,
    static_term,
)

if TYPE_CHECKING:
    from aicsched.domain.fleet import Backend
    from aicsched.domain.score import ScoreCard
    from aicsched.score.backend_terms import Site
    from aicsched.score.request import ScoreWeights

__all__ = ["Network", "inference_j", "score_neuromorphic"]

JOULES_PER_PICOJOULE: Final = 1e-12
US_PER_S: Final = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A spiking network and how often it runs.

    The default is the convolutional network of the NIR paper (8,970 neurons,
    903,680 virtual synapses). Its spike rate is an assumption: 5 % of the synapses
    in a step, 1 to 20 %.

    Parameters
    ----------
    neurons, synapses : int
        Size.
    steps : int
        Time steps of an inference.
    rate_low_share, rate_mid_share, rate_high_share : float
        Share of the synapses that carry a spike in a step.
    inferences : int
        How many.

    Raises
    ------
    InputError
        A number is out of its range.

    References
    ----------
    Pedersen et al. 2024, doi:10.1038/s41467-024-52259-9 (NIR).
    """

    neurons: int = 8_970
    synapses: int = 903_680
    steps: int = 100
    rate_low_share: float = 0.01
    rate_mid_share: float = 0.05
    rate_high_share: float = 0.20
    inferences: int = 1_000_000

    def __post_init__(self) -> None:
        rates = (0.0, self.rate_low_share, self.rate_mid_share, self.rate_high_share, 1.0)
        if min(self.neurons, self.synapses, self.steps, self.inferences) < 1 or list(rates) != sorted(rates):
            msg = f"{self} is no spiking network"
            raise InputError(msg, hint="counts are at least 1 and rates rise from 0 to 1", value=self)

    def describe(self) -> str:
        """Return the network in words.

        Returns
        -------
        str
            With numbers.
        """
        return f"{self.inferences:,} inferences of {self.neurons:,} neurons and {self.synapses:,} synapses"


def inference_j(network: Network, synop_pj: Interval, neuron_pj: Interval) -> Interval:
    """Return the dynamic energy of one inference.

    Parameters
    ----------
    network : Network
        The network.
    synop_pj, neuron_pj : Interval
        Energy of a synaptic operation and of a neuron's update [pJ].

    Returns
    -------
    Interval
        steps · (neurons · e_neuron + synapses · rate · e_synop) [J].

    References
    ----------
    Davies et al. 2018, doi:10.1109/MM.2018.112130359; Höppner et al., arXiv:1903.08941.

    Examples
    --------
    >>> loihi = inference_j(Network(), Interval(27.1, 27.1, 27.1), Interval(81, 81, 81))
    >>> round(1000 * loihi.mid, 3)  # millijoules
    0.195
    """
    rates = (network.rate_low_share, network.rate_mid_share, network.rate_high_share)
    low, mid, high = (
        network.steps * (network.neurons * neuron + network.synapses * rate * synop) * JOULES_PER_PICOJOULE
        for neuron, rate, synop in zip(neuron_pj, rates, synop_pj, strict=True)
    )
    return Interval(low, mid, high)


def _constants(backend: Backend, what: str) -> Interval:
    found = Interval(*(number(backend, f"{what}_{end}_pj") for end in ("low", "mid", "high")))
    if list(found) != sorted(found):
        msg = f"neuromorphic backend '{backend.name}': {what}_low_pj, _mid_pj and _high_pj don't rise"
        raise InputError(msg, hint="sort them", value=tuple(found))
    return found


def score_neuromorphic(backend: Backend, network: Network, site: Site, weights: ScoreWeights) -> ScoreCard:
    """Score a neuromorphic system for a network.

    Parameters
    ----------
    backend : Backend
        Properties ``neurons``, ``synapses``, ``synop_{low,mid,high}_pj``,
        ``neuron_{low,mid,high}_pj`` and ``step_us``.
    network : Network
        The job.
    site : Site
        Intensity and PUE of where it stands.
    weights : ScoreWeights
        The latency objective, and what missing it counts as.

    Returns
    -------
    ScoreCard
        Refused where the network doesn't fit. A step takes a fixed time, so the
        latency objective is met or missed for certain.

    Raises
    ------
    InputError
        A property is missing or out of range.
    """
    each_j = inference_j(network, _constants(backend, "synop"), _constants(backend, "neuron"))
    seconds = network.steps * number(backend, "step_us") / US_PER_S
    busy_s = seconds * network.inferences
    refusals = tuple(
        f"needs {need:,} {what}, it has {number(backend, what):,.0f}"
        for what, need in (("neurons", network.neurons), ("synapses", network.synapses))
        if number(backend, what) < need
    )
    late = 1.0 if seconds * 1000.0 > weights.latency_limit_ms else 0.0
    energy = each_j.times(network.inferences / JOULES_PER_KWH)
    note = f"{each_j.mid * 1e3:.3g} mJ an inference ({each_j.low * 1e3:.2g} to {each_j.high * 1e3:.2g})"
    return backend_card(
        backend,
        network.describe(),
        (
            energy_term("operational", energy, site, note),
            static_term(backend, Interval(busy_s, busy_s, busy_s), site),
        ),
        risk=Interval(late, late, late),
        why=f"late ({seconds * 1000:.3g} of {weights.latency_limit_ms:g} ms)",
        refusals=refusals,
        site=site,
        weights=weights,
    )
