"""One pod at a time on a running cluster: how long a decision takes, beside all of it anew in numpy."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from aicsched.place.nodes.encode import mean_g_per_w, watts_of
from aicsched.place.nodes.live import PodAsk, PriceBook, PricedNodes
from aicsched.slots import HOUR_S, SlotGrid
from benchmarks.tables import Table

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aicsched.place.nodes import Nodes, Pods, TypicalPods

    Floats = NDArray[np.float64]

__all__ = ["anew_by_numpy", "decisions"]

_STRANDED_W: Final = 500.0
_REGIONS: Final = 5
_SLOTS: Final = 168
_WAIT_H: Final = 96
# From here on as many pods go as come.
_FULL_SHARE: Final = 0.6
_LIMIT_MS: Final = 1.0


def _cpu_ms() -> float:
    return time.clock_gettime_ns(time.CLOCK_PROCESS_CPUTIME_ID) / 1e6


def _unusable(cpu: Floats, gpu: Floats, typical: TypicalPods, models: Any) -> tuple[Floats, Floats]:  # noqa: ANN401
    """Return GPU that a mean typical pod can't use on each node: by FGD, and as far as CPU feeds it."""
    stranded, starved = np.zeros(len(cpu)), np.zeros(len(cpu))
    total, whole = gpu.sum(axis=1), (gpu == 1000).sum(axis=1)
    for m in np.flatnonzero(typical.num_gpu > 0).tolist():
        asks, number, milli = (int(x[m]) for x in (typical.cpu_milli, typical.num_gpu, typical.gpu_milli))
        enough = gpu >= milli
        fits = (cpu >= asks) & (enough.sum(axis=1) >= number) & models[m]
        reach = np.where(enough, gpu, 0).sum(axis=1)
        fed = reach if number == 1 else whole // number * number * 1000
        fed = np.minimum(fed, number * milli * cpu / asks) if asks else fed
        stranded += typical.share[m] * np.where(fits, total - reach, total)
        starved += typical.share[m] * np.where(fits, total - fed, total)
    none = typical.share[typical.num_gpu == 0].sum()
    return stranded + none * total, starved + none * total


def anew_by_numpy(
    nodes: Nodes, free: Floats, typical: TypicalPods, ask: PodAsk, g_per_w: Floats, price_g: Floats,
    lost_g: float,
) -> Floats:  # fmt: skip
    """Reckon what a pod costs on each node with array expressions, nothing kept: the rival.

    Parameters
    ----------
    nodes : Nodes
        N machines.
    free : ndarray, shape (N, 2 + GPUs)
        CPU, memory and each GPU.
    typical : TypicalPods
        What usually comes.
    ask : PodAsk
        The pod; its requirements name GPU models at most.
    g_per_w, price_g : ndarray, shape (N,)
        Grams of a watt and of a vCPU for as long as it runs.
    lost_g : float
        Grams of a starved GPU milli.

    Returns
    -------
    ndarray, shape (N,)
        Grams; inf without room.
    """
    cpu, gpu, watts = free[:, 0], free[:, 2:], watts_of(nodes)
    models = [np.array([not some or name in some for name in nodes.gpu_model]) for some in typical.gpu_models]
    need = ask.requirements.gpu_models
    able = (cpu >= ask.cpu_milli) & (free[:, 1] >= ask.memory_mib)
    able &= np.array([not need or name in need for name in nodes.gpu_model])
    number = np.arange(gpu.shape[1]) < nodes.gpus[:, None]
    idle = (cpu == nodes.cpu_milli) & ((gpu == 1000) == number).all(axis=1)
    base = watts[:, 0] * ask.cpu_milli + watts[:, 2] * idle
    _, before = _unusable(cpu, gpu, typical, models)
    best, costs = np.full(len(cpu), np.inf), np.full(len(cpu), np.inf)
    if ask.num_gpu and ask.gpu_milli < 1000:
        ways = [(np.arange(gpu.shape[1]) == g) & (gpu >= ask.gpu_milli) for g in range(gpu.shape[1])]
    else:
        ways = [(gpu == 1000) & (np.cumsum(gpu == 1000, axis=1) <= ask.num_gpu)]
    for way in ways:
        woken = (way & (gpu == 1000)).sum(axis=1)
        stranded, starved = _unusable(cpu - ask.cpu_milli, gpu - ask.gpu_milli * way, typical, models)
        energy = g_per_w * (base + watts[:, 1] * woken)
        cheap = np.where(able & (way.sum(axis=1) == ask.num_gpu), energy + lost_g * stranded, np.inf)
        costs = np.where(
            cheap < best, energy + lost_g * (starved - before) + price_g * ask.cpu_milli / 1000, costs
        )
        best = np.minimum(best, cheap)
    return costs


def _asks(pods: Pods, seed: int) -> list[PodAsk]:
    hours = np.random.default_rng(seed).lognormal(0.5, 1.0, len(pods))
    columns = (pods.cpu_milli, pods.memory_mib, pods.num_gpu, pods.gpu_milli, pods.requirement)
    return [
        PodAsk(
            cpu_milli=cpu, memory_mib=memory, num_gpu=number, gpu_milli=milli,
            requirements=pods.requirements[kind], duration_h=float(length),
        )
        for cpu, memory, number, milli, kind, length in zip(
            *(column.tolist() for column in columns), hours, strict=True
        )
    ]  # fmt: skip


def _book(seed: int) -> PriceBook:
    rng = np.random.default_rng(seed)
    shape = (_REGIONS, _SLOTS)
    return PriceBook(
        slots=SlotGrid(0, HOUR_S, _SLOTS),
        regions=tuple(f"r{at}" for at in range(_REGIONS)),
        g_per_kwh=rng.uniform(30, 600, shape),
        price_g_per_vcpu_h=rng.exponential(2.0, shape) * (rng.random(shape) < 0.2),
    )


def decisions(nodes: Nodes, pods: Pods, typical: TypicalPods, *, smoke: bool) -> Table:
    """Time decisions on a cluster where pods come and go; each tenth is made anew by numpy, too.

    Parameters
    ----------
    nodes : Nodes
        Machines with their power.
    pods : Pods
        Arrivals.
    typical : TypicalPods
        What usually comes.
    smoke : bool
        Small, without the bar on time.

    Returns
    -------
    Table
        CPU milliseconds.
    """
    book = _book(3)
    cluster = PricedNodes(nodes, [book.regions[at % _REGIONS] for at in range(len(nodes))], typical, book)
    region = np.arange(len(nodes)) % _REGIONS
    mean_g = 0.5 * mean_g_per_w(nodes, book.g_per_kwh.mean(axis=1)[region])
    spent: dict[str, list[float]] = {}

    def timed(what: str, call: Any, *given: Any) -> Any:  # noqa: ANN401
        started = _cpu_ms()
        found = call(*given)
        spent.setdefault(what, []).append(_cpu_ms() - started)
        return found

    seen: set[Any] = set()
    here: list[str] = []
    rivals = 0
    for at, ask in enumerate(_asks(pods, 5)):
        new = (ask.size, ask.requirements) not in seen
        seen.add((ask.size, ask.requirements))
        found = timed("a size that is new" if new else "now", cluster.decide, ask, 0.0)
        waits = replace(ask, latest_start_s=_WAIT_H * HOUR_S)
        timed(f"now or at one of {_WAIT_H} later hours", cluster.decide, waits, 0.0)
        if at % (3 if smoke else 60) == 0:
            rivals += 1
            hours = np.minimum(np.maximum(ask.duration_h - np.arange(_SLOTS), 0), 1)
            hours[-1] += max(ask.duration_h - _SLOTS, 0)
            rates = ((book.g_per_kwh @ hours)[region] / 1000, (book.price_g_per_vcpu_h @ hours)[region])
            lost_g = mean_g * ask.duration_h
            theirs = timed(
                "numpy, all anew", anew_by_numpy, nodes, cluster.free(), typical, ask, *rates, lost_g
            )
            ours = cluster.costs_g(ask, 0.0)
            np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)
        if found.node >= 0:
            timed("a pod comes", cluster.bind, str(at), ask, found.node, found.gpus)
            here.append(str(at))
        if at > _FULL_SHARE * len(pods) and here:
            gone = here.pop(at * 7919 % len(here))
            timed("a pod goes", cluster.release, gone)
    timed("new prices", cluster.refresh, book)
    rows = [
        (what, len(times), float(np.mean(times)), float(np.percentile(times, 99)), max(times))
        for what, times in spent.items()
    ]
    if not smoke:
        assert np.percentile(spent["now"], 99) < _LIMIT_MS
    return Table(
        f"One decision on {len(nodes)} nodes [CPU ms]",
        ("what", "times", "mean", "99th percentile", "most"),
        rows,
        f"`PricedNodes` with {_REGIONS} regions × {_SLOTS} hours of intensity and prices, {len(seen)} sizes. "
        f"In {rivals} of the decisions numpy reckons all nodes anew, and finds the same grams on each.",
    )
