"""The pods a cluster usually gets, and tables of them by CPU and GPU, for the measures of fragmentation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from aicsched.domain.carbon import frozen_array
from aicsched.errors import InputError
from aicsched.place.nodes.problem import MOST_GPUS, WHOLE_GPU

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from aicsched.place.nodes.problem import Pods

    Tables = tuple[NDArray[Any], ...]

__all__ = ["FGD_POPULARITY", "TypicalPods", "tables_of", "typical_pods"]

FGD_POPULARITY: Final = 0.95
"""Share of pods that FGD's evaluation counts as typical, the most frequent first.

Source: hkust-adsl/kubernetes-scheduler-simulator, scripts/generate_config_and_run.py, podPopularityThreshold.
"""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TypicalPods:
    """How often which pod comes: FGD's target workload.

    Parameters
    ----------
    cpu_milli, num_gpu, gpu_milli : ndarray of int64, shape (M,)
        What they ask.
    gpu_models : tuple of frozenset of str
        Models that will do; empty for any.
    share : ndarray, shape (M,)
        Of all pods; sums to 1.
    """

    cpu_milli: NDArray[np.int64]
    num_gpu: NDArray[np.int64]
    gpu_milli: NDArray[np.int64]
    gpu_models: tuple[frozenset[str], ...]
    share: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.share)


def typical_pods(pods: Pods, popularity: float = 1.0) -> TypicalPods:
    """Count which pods there usually are, most frequent first.

    Parameters
    ----------
    pods : Pods
        Pods of the past, or a sample of those to come. Memory plays no part.
    popularity : float
        Stop once this share of them is covered.

    Returns
    -------
    TypicalPods
        Shares among those kept.

    Raises
    ------
    InputError
        There is no pod, or the popularity isn't above 0 and at most 1.

    References
    ----------
    Weng et al., "Beware of Fragmentation: Scheduling GPU-Sharing Workloads with
    Fragmentation Gradient Descent", USENIX ATC 2023, section 3.
    """
    if not 0 < popularity <= 1:
        msg = f"popularity is {popularity}"
        raise InputError(msg, hint="give a share above 0, at most 1", value=popularity)
    if not len(pods):
        msg = "there are no pods to learn what is typical from"
        raise InputError(msg, hint="give pods of the past", value=0)
    counts: dict[tuple[int, int, int, tuple[str, ...]], int] = {}
    rows = np.stack([pods.cpu_milli, pods.num_gpu, pods.gpu_milli, pods.requirement], axis=1).tolist()
    names = [tuple(sorted(each.gpu_models)) for each in pods.requirements]
    for cpu, number, milli, kind in rows:
        key = (cpu, number, milli, names[kind])
        counts[key] = counts.get(key, 0) + 1
    kept: list[tuple[tuple[int, int, int, tuple[str, ...]], int]] = []
    upto = 0
    for key, many in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        if upto >= popularity * len(pods):
            break
        kept.append((key, many))
        upto += many
    return TypicalPods(
        cpu_milli=frozen_array([key[0] for key, _ in kept], np.int64),
        num_gpu=frozen_array([key[1] for key, _ in kept], np.int64),
        gpu_milli=frozen_array([key[2] for key, _ in kept], np.int64),
        gpu_models=tuple(frozenset(key[3]) for key, _ in kept),
        share=frozen_array([many / upto for _, many in kept]),
    )


def tables_of(typical: TypicalPods, models: Sequence[str]) -> Tables:
    """Sum typical pods up by thresholds of CPU and GPU, per model: what the kernels look up.

    Parameters
    ----------
    typical : TypicalPods
        The pods; those without a GPU can use none, whatever is free.
    models : sequence of str
        Of GPUs.

    Returns
    -------
    tuple of ndarray
        CPU levels (k,); milli levels up to each milli (1001,); kinds (1 + single + several, 2):
        how many, then number and milli of each; ``single`` (models, k + 1, levels + 1) and ``several``
        (models, k + 1, GPUs + 1): shares of pods that fit; ``share`` and ``need`` (models, kinds, k + 1):
        shares of pods up to a CPU level, and their GPU milli per CPU milli.
    """
    asks = np.flatnonzero(typical.num_gpu > 0)
    cpu_levels = np.unique(typical.cpu_milli[asks])
    alone = typical.num_gpu == 1
    milli_levels = np.unique(typical.gpu_milli[alone])
    several_kinds = np.unique(typical.num_gpu[typical.num_gpu > 1])
    kinds = [(len(milli_levels), 0), *((1, milli) for milli in milli_levels.tolist())]
    kinds += [(number, WHOLE_GPU) for number in several_kinds.tolist()]
    k, some = len(cpu_levels), max(len(models), 1)
    single = np.zeros((some, k + 1, len(milli_levels) + 1))
    several = np.zeros((some, k + 1, MOST_GPUS + 1))
    share = np.zeros((some, len(kinds), k + 1))
    need = np.zeros((some, len(kinds), k + 1))
    for m in asks.tolist():
        cpu, number, milli = int(typical.cpu_milli[m]), int(typical.num_gpu[m]), int(typical.gpu_milli[m])
        weight = float(typical.share[m])
        level = int(np.searchsorted(cpu_levels, cpu)) + 1
        able = [
            o for o, name in enumerate(models) if not typical.gpu_models[m] or name in typical.gpu_models[m]
        ]
        if number == 1:
            kind = int(np.searchsorted(milli_levels, milli)) + 1
            single[able, level:, kind:] += weight
        else:
            kind = len(milli_levels) + 1 + int(np.searchsorted(several_kinds, number))
            several[able, level:, number:] += weight
        share[able, kind, level:] += weight
        need[able, kind, level:] += weight * number * milli / cpu if cpu else 0.0
    milli_level = np.searchsorted(milli_levels, np.arange(WHOLE_GPU + 1), side="right")
    return (
        frozen_array(cpu_levels, np.int64),
        frozen_array(milli_level, np.int64),
        frozen_array(np.array(kinds).reshape(-1, 2), np.int64),
        frozen_array(single),
        frozen_array(several),
        frozen_array(share),
        frozen_array(need),
    )
