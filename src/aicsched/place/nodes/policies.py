"""Policies by their published names, and one call that places a stream of pods with any of them.

`random`, `first_fit`, `best_fit`, `dot_product`, `gpu_packing`, `gpu_clustering` and `fgd` do what the
evaluation of FGD compares (Weng et al., "Beware of Fragmentation", USENIX ATC 2023): scores of 0 to 100
whole points; among equals the first in an order of the nodes that is drawn once. `carbon_fgd` is ours:
grams per hour, for the watts a pod adds and for the GPUs it strands.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import numpy as np

from aicsched.domain.carbon import frozen_array
from aicsched.errors import ConfigError, InputError, did_you_mean
from aicsched.place.nodes.encode import (
    W_PER_KW,
    arrivals_of,
    eligible_nodes,
    facts_of,
    mean_g_per_w,
    models_of,
    rules_of,
    shapes_of,
    state_of,
    tags_of,
    watts_of,
)
from aicsched.place.nodes.kernels import layout as at
from aicsched.place.nodes.kernels.stream import PLACE_STREAM
from aicsched.place.nodes.typical import FGD_POPULARITY, tables_of, typical_pods

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aicsched.place.nodes.problem import Nodes, Pods
    from aicsched.place.nodes.typical import TypicalPods

__all__ = ["POLICIES", "NodePlan", "place_pods"]

POLICIES: Final = MappingProxyType(
    {
        "random": at.RANDOM,
        "first_fit": at.FIRST_FIT,
        "best_fit": at.BEST_FIT,
        "dot_product": at.DOT_PRODUCT,
        "gpu_packing": at.GPU_PACKING,
        "gpu_clustering": at.GPU_CLUSTERING,
        "fgd": at.FGD,
        "carbon_fgd": at.CARBON_FGD,
    }
)
"""Names, and the kernel's numbers for them."""
_SEED_BITS: Final = 2**32
# A score and a GPU are kept for each size of pod on each node: 16 bytes.
_MOST_SCORES: Final = 10**8


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NodePlan:
    """Where pods run.

    Parameters
    ----------
    policy : str
        By name.
    node : ndarray of int64, shape (P,)
        Index of each pod's node; -1 where it found none.
    gpu_bits : ndarray of int64, shape (P,)
        Which of the node's GPUs it takes, as bits.
    order : ndarray of int64, shape (P,)
        Pods in the order in which they were placed.
    evaluations : int
        Scores worked out: the cost, independent of the machine.
    """

    policy: str
    node: NDArray[np.int64]
    gpu_bits: NDArray[np.int64]
    order: NDArray[np.int64]
    evaluations: int

    def gpus(self, pod: int) -> tuple[int, ...]:
        """Return the GPUs of one pod.

        Parameters
        ----------
        pod : int
            Index.

        Returns
        -------
        tuple of int
            Rising.
        """
        bits = int(self.gpu_bits[pod])
        return tuple(gpu for gpu in range(bits.bit_length()) if bits >> gpu & 1)


def _grams(nodes: Nodes, stranded_w_per_gpu: float) -> NDArray[np.float64]:
    """Return grams per hour by node: per CPU milli, per GPU woken, for waking the node, per milli lost."""
    # Without an intensity watts are as good: only ratios matter.
    g_per_kwh = nodes.g_per_kwh if nodes.g_per_kwh.any() else np.ones(len(nodes))
    lost = np.full((len(nodes), 1), stranded_w_per_gpu / 1000.0 * mean_g_per_w(nodes, g_per_kwh))
    return frozen_array(np.hstack([watts_of(nodes) * g_per_kwh[:, None] / W_PER_KW, lost]))


def place_pods(
    nodes: Nodes,
    pods: Pods,
    policy: str = "carbon_fgd",
    *,
    typical: TypicalPods | None = None,
    seed: int = 0,
    stranded_w_per_gpu: float = 500.0,
) -> NodePlan:
    """Place pods one after another, each for good, without a look at those to come.

    Parameters
    ----------
    nodes : Nodes
        Machines with what is free of them.
    pods : Pods
        In the order in which they arrive.
    policy : str
        One of `POLICIES`.
    typical : TypicalPods, optional
        What usually comes, for `fgd` and `carbon_fgd` (default: counted over these pods; for `fgd` the most
        frequent that make up 95 % of them, as in FGD's evaluation).
    seed : int
        Of the order of nodes by which equals are told apart, and of the draws of `random`.
    stranded_w_per_gpu : float
        For `carbon_fgd`: as many watts a GPU is worth that nobody can use, the exchange rate of room for
        energy. It may be wide of any watt measured: 0 heeds energy only, and much of it room only.

    Returns
    -------
    NodePlan
        A node for each pod that found one. Equal input and seed give equal plans.

    Raises
    ------
    ConfigError
        No such policy; a seed or a rate out of range.
    InputError
        More than 10^8 pairs of a node and a distinct size of pod: scores of all are kept.

    Notes
    -----
    A pod takes the first whole GPUs of its node; which one it shares, `fgd` and `carbon_fgd` choose by
    FGD's measure (and grams), the others take the one with the least room. A gang that can't be placed
    whole isn't placed at all. Nobody is moved or sent away for a higher priority.

    `carbon_fgd` adds up, per hour: the grams of the watts a pod adds (its CPU, the GPUs it wakes, the node if
    it wakes that; power × PUE × intensity), and the rise of starved GPU in the mean over typical pods, priced
    by `stranded_w_per_gpu` at the fleet's mean grams per watt. Starved is what a typical pod can't use where
    FGD (https://www.usenix.org/conference/atc23/presentation/weng) looks at whether one fits, but for CPU
    all that fit: free GPU beyond what the node's free CPU feeds is starved, too.

    Examples
    --------
    >>> from aicsched.place.nodes import build_nodes, build_pods
    >>> nodes = build_nodes(["a", "b"], cpu_milli=32_000, memory_mib=65_536, gpus=2, gpu_model="T4")
    >>> pods = build_pods(["x", "y"], cpu_milli=4000, memory_mib=8192, num_gpu=1, gpu_milli=500)
    >>> place_pods(nodes, pods).node.tolist()
    [0, 0]
    """
    if policy not in POLICIES:
        msg = f"there is no policy '{policy}' for nodes"
        raise ConfigError(msg, hint=did_you_mean(policy, POLICIES), value=policy)
    if not 0 <= seed < _SEED_BITS:
        msg = f"the seed is {seed}"
        raise ConfigError(msg, hint="give one from 0 to below 2^32", value=seed)
    if not 0 <= stranded_w_per_gpu < np.inf:
        msg = f"stranded_w_per_gpu is {stranded_w_per_gpu}"
        raise ConfigError(msg, hint="give watts from 0", value=stranded_w_per_gpu)
    shapes, order = shapes_of(pods), arrivals_of(pods)
    eligible = eligible_nodes(shapes, nodes, pods.requirements)
    if len(shapes.sizes) * len(nodes) > _MOST_SCORES:
        msg = f"{len(shapes.sizes)} sizes of pods on {len(nodes)} nodes are too many pairs to keep scores of"
        raise InputError(msg, hint="round requests, so that there are fewer sizes", value=len(shapes.sizes))
    rules, tallies = rules_of(shapes, nodes, pods.requirements, eligible)
    models = models_of(nodes)
    if typical is None and len(pods):
        typical = typical_pods(pods, FGD_POPULARITY if policy == "fgd" else 1.0)
    if not len(pods) or typical is None:
        none = np.zeros(0, dtype=np.int64)
        return NodePlan(policy=policy, node=none, gpu_bits=none, order=order, evaluations=0)
    shape = shapes.of_pod[order]
    arrivals = np.stack([shape, pods.gang[order], shapes.size[shape]], axis=1)
    grams = _grams(nodes, stranded_w_per_gpu)
    tags = max(tags_of(nodes), 1 + int(shapes.sizes[:, 4].max()))
    turn = _turn(policy, len(nodes), seed)
    found, bits, evaluations = PLACE_STREAM(
        POLICIES[policy],
        arrivals,
        shapes.sizes,
        np.ascontiguousarray(eligible[:, turn]),
        state_of(nodes)[np.append(turn, len(nodes))],
        facts_of(nodes, models, tags, grams)[turn],
        grams[turn],
        tables_of(typical, models),
        (*rules[:4], np.ascontiguousarray(rules[4][:, turn]), rules[5]),
        tallies,
        np.array([(seed * 2654435761 + 88172645) % (_SEED_BITS - 1) + 1], dtype=np.int64),
        max(int(nodes.cpu_milli.max(initial=0)), 1),
    )
    node, gpu_bits = np.empty(len(pods), np.int64), np.empty(len(pods), np.int64)
    node[order], gpu_bits[order] = np.where(found < 0, -1, np.append(turn, -1)[found]), bits
    return NodePlan(
        policy=policy,
        node=frozen_array(node, np.int64),
        gpu_bits=frozen_array(gpu_bits, np.int64),
        order=frozen_array(order, np.int64),
        evaluations=int(evaluations),
    )


def _turn(policy: str, count: int, seed: int) -> NDArray[np.int64]:
    """Return the order in which nodes are looked at: the first of equals is taken.

    FGD's simulator names nodes after a random permutation and takes the first name among equals: what all
    nodes are equal for, such as pods without a GPU under `gpu_packing`, fills one node after another
    (hkust-adsl/kubernetes-scheduler-simulator, pkg/simulator/simulator.go and the patched selectHost).
    """
    if POLICIES[policy] in {at.FIRST_FIT, at.CARBON_FGD}:
        return np.arange(count)
    return np.random.default_rng(seed).permutation(count)
