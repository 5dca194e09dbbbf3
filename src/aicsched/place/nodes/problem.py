"""Nodes and pods as pure data: columns of numbers, no policy in sight."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from aicsched.domain.carbon import MAX_INTENSITY_G_PER_KWH, frozen_array
from aicsched.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    Integers = NDArray[np.int64]
    Floats = NDArray[np.float64]

__all__ = ["MOST_GPUS", "WHOLE_GPU", "Nodes", "Pods", "Requirements", "build_nodes", "build_pods"]

WHOLE_GPU: Final = 1000
"""A GPU in thousandths."""
MOST_GPUS: Final = 32
_MOST_MILLI: Final = 2**40
_MOST_W: Final = 1e6
NO_GANG: Final = -1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Nodes:
    """Machines, columnar and read-only; made by `build_nodes`.

    Parameters
    ----------
    node_ids : tuple of str
        N machines.
    cpu_milli, memory_mib, gpus : ndarray of int64, shape (N,)
        Capacity: thousandths of a vCPU, MiB, whole GPUs.
    gpu_model : tuple of str
        Of all GPUs of a node; empty without one.
    labels : tuple of dict
        Key to value; ``zone`` stands for the failure domain.
    taints : tuple of frozenset of str
        A pod comes here only if it tolerates all of them.
    cpu_free_milli, memory_free_mib : ndarray of int64, shape (N,)
        What is free now.
    gpu_free_milli : ndarray of int64, shape (N, most GPUs of a node)
        What is free of each GPU [milli]; 0 where there is no such GPU.
    cpu_idle_w, cpu_busy_w : ndarray, shape (N,)
        Power of the machine without its GPUs, idle and with all CPU in use [W].
    gpu_idle_w, gpu_busy_w : ndarray, shape (N,)
        Power of one GPU, idle and in use by any pod, whatever its share [W].
    asleep_w : ndarray, shape (N,)
        Power of the machine while it holds no pod [W].
    pue : ndarray, shape (N,)
        Power usage effectiveness.
    g_per_kwh : ndarray, shape (N,)
        Carbon intensity [g/kWh].
    """

    node_ids: tuple[str, ...]
    cpu_milli: Integers
    memory_mib: Integers
    gpus: Integers
    gpu_model: tuple[str, ...]
    labels: tuple[Mapping[str, str], ...]
    taints: tuple[frozenset[str], ...]
    cpu_free_milli: Integers
    memory_free_mib: Integers
    gpu_free_milli: Integers
    cpu_idle_w: Floats
    cpu_busy_w: Floats
    gpu_idle_w: Floats
    gpu_busy_w: Floats
    asleep_w: Floats
    pue: Floats
    g_per_kwh: Floats

    def __len__(self) -> int:
        return len(self.node_ids)

    @property
    def gpu_milli(self) -> int:
        """All GPUs of all nodes, in thousandths."""
        return WHOLE_GPU * int(self.gpus.sum())


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirements:
    """What pods of one kind ask beyond room.

    Parameters
    ----------
    gpu_models : frozenset of str
        Models that will do; empty for any.
    tolerations : frozenset of str
        Taints that don't matter.
    node_labels : tuple of (str, frozenset of str)
        Node affinity: a label of the node and the values that will do; all must hold.
    labels : frozenset of str
        Names by which other pods mean this one, such as ``"app=web"``.
    anti_affinity : tuple of (str, str)
        A name and a topology: not where such a pod is, in either direction. A topology is
        ``"node"`` or the key of a node's label.
    affinity : tuple of (str, str)
        A name and a topology: only where such a pod is; the first of its own kind goes anywhere.
    spread : tuple of (str, str, int)
        A name, a topology, and by how many such pods domains may differ.
    """

    gpu_models: frozenset[str] = frozenset()
    tolerations: frozenset[str] = frozenset()
    node_labels: tuple[tuple[str, frozenset[str]], ...] = ()
    labels: frozenset[str] = frozenset()
    anti_affinity: tuple[tuple[str, str], ...] = ()
    affinity: tuple[tuple[str, str], ...] = ()
    spread: tuple[tuple[str, str, int], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pods:
    """Pods in the order in which they arrive, columnar and read-only; made by `build_pods`.

    Parameters
    ----------
    pod_ids : tuple of str
        P pods.
    cpu_milli, memory_mib : ndarray of int64, shape (P,)
        Requests.
    num_gpu : ndarray of int64, shape (P,)
        GPUs; 0 for none.
    gpu_milli : ndarray of int64, shape (P,)
        Of each of them: 1000, or less of a single one that is shared.
    requirements : tuple of Requirements
        Kinds of them.
    requirement : ndarray of int64, shape (P,)
        Which kind each pod has.
    priority : ndarray of int64, shape (P,)
        Higher is placed before lower.
    gang : ndarray of int64, shape (P,)
        Pods with the same number from 0 are placed all or none; -1 for none.
    """

    pod_ids: tuple[str, ...]
    cpu_milli: Integers
    memory_mib: Integers
    num_gpu: Integers
    gpu_milli: Integers
    requirements: tuple[Requirements, ...] = field(default=(Requirements(),))
    requirement: Integers
    priority: Integers
    gang: Integers

    def __len__(self) -> int:
        return len(self.pod_ids)

    @property
    def asked_gpu_milli(self) -> Integers:
        """GPU asked by each pod in all, in thousandths; shape (P,)."""
        return self.num_gpu * self.gpu_milli


def _refuse(name: str, bad: NDArray[np.bool_], ids: Sequence[str], words: str, values: Any) -> None:  # noqa: ANN401
    if bad.any():
        at = int(np.flatnonzero(bad.reshape(len(ids), -1).any(axis=1))[0])
        row = np.asarray(values)[at] if np.ndim(values) else values
        msg = f"{name} of '{ids[at]}' is {row}, {words}"
        raise InputError(msg, hint=f"correct this row ({int(bad.sum())} in all)", value=ids[at])


def _wholes(name: str, values: ArrayLike, ids: Sequence[str], shape: tuple[int, ...]) -> Integers:
    given = _shaped(name, values, shape)
    with np.errstate(invalid="ignore"):
        _refuse(name, ~(given == np.floor(given)), ids, "no whole number", given)
        _refuse(name, (given < 0) | (given > _MOST_MILLI), ids, "below 0 or beyond all reason", given)
    return frozen_array(given, np.int64)


def _shaped(name: str, values: ArrayLike, shape: tuple[int, ...]) -> Floats:
    try:
        return np.broadcast_to(np.asarray(values, dtype=np.float64), shape)
    except (TypeError, ValueError) as error:
        msg = f"{name} can't be read as {shape[0]} numbers"
        raise InputError(msg, hint="give one number, or one a row", value=name) from error


def _reals(name: str, values: ArrayLike, ids: Sequence[str], low: float, high: float) -> Floats:
    given = _shaped(name, values, (len(ids),))
    _refuse(name, ~((given >= low) & (given <= high)), ids, f"not from {low:g} to {high:g}", given)
    return frozen_array(given)


def _unique(what: str, ids: Sequence[str]) -> tuple[str, ...]:
    seen: set[str] = set()
    for each in ids:
        if each in seen:
            msg = f"{what} '{each}' is there twice"
            raise InputError(msg, hint="give each an id of its own", value=each)
        seen.add(each)
    return tuple(ids)


def _texts(name: str, values: str | Sequence[str], count: int) -> tuple[str, ...]:
    made = (values,) * count if isinstance(values, str) else tuple(values)
    if len(made) != count:
        msg = f"{name} has {len(made)} entries for {count} rows"
        raise InputError(msg, hint="give one, or one a row", value=name)
    return made


def build_nodes(  # noqa: PLR0913 - one keyword per column
    node_ids: Sequence[str],
    *,
    cpu_milli: ArrayLike,
    memory_mib: ArrayLike,
    gpus: ArrayLike = 0,
    gpu_model: str | Sequence[str] = "",
    labels: Sequence[Mapping[str, str]] | None = None,
    taints: Sequence[frozenset[str]] | None = None,
    cpu_free_milli: ArrayLike | None = None,
    memory_free_mib: ArrayLike | None = None,
    gpu_free_milli: ArrayLike | None = None,
    cpu_idle_w: ArrayLike = 0.0,
    cpu_busy_w: ArrayLike = 0.0,
    gpu_idle_w: ArrayLike = 0.0,
    gpu_busy_w: ArrayLike = 0.0,
    asleep_w: ArrayLike | None = None,
    pue: ArrayLike = 1.0,
    g_per_kwh: ArrayLike = 0.0,
) -> Nodes:
    """Check columns of machines and freeze them; one number stands for all rows.

    Parameters
    ----------
    node_ids : sequence of str
        Each once.
    cpu_milli, memory_mib, gpus, gpu_model, labels, taints : array_like or sequence
        As in `Nodes`.
    cpu_free_milli, memory_free_mib, gpu_free_milli : array_like, optional
        What is free now (default: all of it).
    cpu_idle_w, cpu_busy_w, gpu_idle_w, gpu_busy_w, pue, g_per_kwh : array_like
        As in `Nodes`; without them grams are 0.
    asleep_w : array_like, optional
        Of a machine without a pod (default: its idle power with that of its GPUs, never switched off).

    Returns
    -------
    Nodes
        The columns.

    Raises
    ------
    InputError
        A number is negative, not finite or absurd, more is free than there is, a node with GPUs
        has no model, a row is missing or an id is there twice; the first such row is named.

    Examples
    --------
    >>> nodes = build_nodes(["a"], cpu_milli=64_000, memory_mib=262_144, gpus=8, gpu_model="T4")
    >>> nodes.gpu_milli
    8000
    """
    ids = _unique("node", node_ids)
    count = (len(ids),)
    cpu = _wholes("cpu_milli", cpu_milli, ids, count)
    memory = _wholes("memory_mib", memory_mib, ids, count)
    number = _wholes("gpus", gpus, ids, count)
    _refuse("gpus", number > MOST_GPUS, ids, f"above {MOST_GPUS}", number)
    model = _texts("gpu_model", gpu_model, len(ids))
    _refuse("gpu_model", (number > 0) & np.array([not name for name in model], bool), ids, "no model", model)
    most = int(number.max(initial=0))
    there = np.arange(most) < number[:, None]
    gpu = there * WHOLE_GPU if gpu_free_milli is None else gpu_free_milli
    gpu_free = _wholes("gpu_free_milli", gpu, ids, (len(ids), most))
    cpu_free = cpu if cpu_free_milli is None else _wholes("cpu_free_milli", cpu_free_milli, ids, count)
    memory_free = (
        memory if memory_free_mib is None else _wholes("memory_free_mib", memory_free_mib, ids, count)
    )
    _refuse("cpu_free_milli", cpu_free > cpu, ids, "more than there is", cpu_free)
    _refuse("memory_free_mib", memory_free > memory, ids, "more than there is", memory_free)
    _refuse("gpu_free_milli", gpu_free > there * WHOLE_GPU, ids, "more than there is", gpu_free)
    watts = [
        _reals(name, values, ids, 0.0, _MOST_W)
        for name, values in (
            ("cpu_idle_w", cpu_idle_w), ("cpu_busy_w", cpu_busy_w), ("gpu_idle_w", gpu_idle_w),
            ("gpu_busy_w", gpu_busy_w),
        )
    ]  # fmt: skip
    _refuse("cpu_busy_w", watts[1] < watts[0], ids, "below its idle power", watts[1])
    _refuse("gpu_busy_w", watts[3] < watts[2], ids, "below its idle power", watts[3])
    idle = watts[0] + number * watts[2]
    asleep = idle if asleep_w is None else asleep_w
    asleep = _reals("asleep_w", asleep, ids, 0.0, _MOST_W * (MOST_GPUS + 1))
    _refuse("asleep_w", asleep > idle * (1 + 1e-12), ids, "above its idle power", asleep)
    return Nodes(
        node_ids=ids, cpu_milli=cpu, memory_mib=memory, gpus=number, gpu_model=model,
        labels=tuple(labels) if labels is not None else ({},) * len(ids),
        taints=tuple(taints) if taints is not None else (frozenset[str](),) * len(ids),
        cpu_free_milli=cpu_free, memory_free_mib=memory_free, gpu_free_milli=gpu_free,
        cpu_idle_w=watts[0], cpu_busy_w=watts[1], gpu_idle_w=watts[2], gpu_busy_w=watts[3], asleep_w=asleep,
        pue=_reals("pue", pue, ids, 1.0, 10.0),
        g_per_kwh=_reals("g_per_kwh", g_per_kwh, ids, 0.0, MAX_INTENSITY_G_PER_KWH),
    )  # fmt: skip


def build_pods(  # noqa: PLR0913 - one keyword per column
    pod_ids: Sequence[str],
    *,
    cpu_milli: ArrayLike,
    memory_mib: ArrayLike,
    num_gpu: ArrayLike = 0,
    gpu_milli: ArrayLike = 0,
    requirements: Sequence[Requirements] = (Requirements(),),
    requirement: ArrayLike = 0,
    priority: ArrayLike = 0,
    gang: ArrayLike = NO_GANG,
) -> Pods:
    """Check columns of pods and freeze them; one number stands for all rows.

    Parameters
    ----------
    pod_ids : sequence of str
        Each once, in the order of arrival.
    cpu_milli, memory_mib, num_gpu, gpu_milli, requirements, requirement, priority, gang : array_like
        As in `Pods`.

    Returns
    -------
    Pods
        The columns.

    Raises
    ------
    InputError
        A number is negative, no whole number or absurd; a share of a GPU is above 1000 or is
        of several GPUs; GPUs and their share don't go together; a spread allows no pod at all.

    Examples
    --------
    >>> pods = build_pods(["one", "half"], cpu_milli=4000, memory_mib=8192, num_gpu=1, gpu_milli=[1000, 500])
    >>> pods.asked_gpu_milli.tolist()
    [1000, 500]
    """
    ids = _unique("pod", pod_ids)
    count = (len(ids),)
    number = _wholes("num_gpu", num_gpu, ids, count)
    milli = _wholes("gpu_milli", gpu_milli, ids, count)
    _refuse("num_gpu", number > MOST_GPUS, ids, f"above {MOST_GPUS}", number)
    _refuse(
        "gpu_milli", milli > WHOLE_GPU, ids, "more than one GPU has (1000): ask for several in num_gpu", milli
    )
    _refuse("gpu_milli", (number > 1) & (milli != WHOLE_GPU), ids, "but only one GPU can be shared", milli)
    _refuse("gpu_milli", (number > 0) & (milli == 0), ids, "though it asks for GPUs", milli)
    _refuse("gpu_milli", (number == 0) & (milli > 0), ids, "though it asks for no GPU", milli)
    kind = _wholes("requirement", requirement, ids, count)
    _refuse("requirement", kind >= len(requirements), ids, f"but there are {len(requirements)}", kind)
    for each in requirements:
        if any(skew < 1 for _, _, skew in each.spread):
            msg = f"a spread of {each.spread} lets no pod in"
            raise InputError(msg, hint="a skew is at least 1", value=each.spread)
    return Pods(
        pod_ids=ids,
        cpu_milli=_wholes("cpu_milli", cpu_milli, ids, count),
        memory_mib=_wholes("memory_mib", memory_mib, ids, count),
        num_gpu=number,
        gpu_milli=milli,
        requirements=tuple(requirements),
        requirement=kind,
        priority=_signed("priority", priority, ids),
        gang=_signed("gang", gang, ids),
    )


def _signed(name: str, values: ArrayLike, ids: Sequence[str]) -> Integers:
    given = _shaped(name, values, (len(ids),))
    wrong = ~(np.abs(given) <= _MOST_MILLI) | (given != np.floor(given))
    _refuse(name, wrong, ids, "no whole number within reason", given)
    return frozen_array(given, np.int64)
