"""The score of 100 pods on 10,000 nodes: our kernel, plain numpy, and the formulas of Trimaran pod by pod.

All three see the same nodes (load with mean and deviation, one in ten without metrics) and
the same pods. Plain numpy is the same score as one would write it first: whole (pods, nodes)
arrays, `np.interp` for the load curve and a gather of neighbours for each risk curve; its totals
must agree with ours. Trimaran's two formulas for risk, LoadVariationRiskBalancing and
LowRiskOverCommitment (kubernetes-sigs/scheduler-plugins), are written in numpy over all nodes, and
run pod by pod as the scheduler calls a plugin; they score CPU and memory risk alone, no grams and
no money, and a machine with a Go scheduler runs other code than this. Kernels are compiled and
arrays made before the clock starts; CPU seconds are the least of several runs.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

# Before numpy is imported: threads that wait for each other would count as CPU time.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from scipy.special import fdtrc

from aicsched.footprint.power import load_shapes
from aicsched.jit import warmup
from aicsched.score.engine import NodeColumns, PodColumns, ScoreEngine
from aicsched.score.request import ScoreWeights
from aicsched.score.risk.curves import RiskCurves
from aicsched.score.utilisation import Utilisation
from benchmarks.tables import Table

if TYPE_CHECKING:
    from collections.abc import Callable

    Array = np.ndarray[Any, np.dtype[np.float64]]

TITLE = "Score: 100 pods on 10,000 nodes, against plain numpy and Trimaran's formulas"
POLICIES = (
    ScoreWeights(g_per_usd=5000.0),
    ScoreWeights(risk_g=20.0, max_g_per_kwh=700.0),
    ScoreWeights(risk_g=1000.0, embodied="sci", max_slo_risk=0.5),
)
REGIONS = 12
KNOTS, POWER = (0.0, 0.1, 0.5, 1.0), load_shapes()[0].share_at([0.0, 0.1, 0.5, 1.0])


def nodes_of(count: int, seed: int = 0) -> NodeColumns:
    """Make nodes.

    Parameters
    ----------
    count : int
        How many.
    seed : int
        Of the generator.

    Returns
    -------
    NodeColumns
        With risk curves from their loads.
    """
    rng = np.random.default_rng(seed)
    idle_w, mid = rng.uniform(40, 120, count), rng.uniform(20, 800, count)
    seen = np.where(rng.uniform(size=count) < 0.1, 0.0, 1.0)
    used = Utilisation(
        mean_share=rng.uniform(0.02, 0.8, count) * seen,
        sd_share=rng.uniform(0.02, 0.15, count),
        coverage_share=seen,
    )
    return NodeColumns.of(
        vcpus=rng.choice([8.0, 16.0, 32.0, 64.0, 96.0, 128.0], count), memory_gib=rng.uniform(32, 768, count),
        idle_w=idle_w, max_w=idle_w + rng.uniform(60, 500, count), pue=rng.uniform(1.05, 1.6, count),
        region=rng.integers(0, REGIONS, count), used=used, g_per_kwh=mid, low_g_per_kwh=0.8 * mid,
        high_g_per_kwh=1.3 * mid, usd_per_kwh=rng.uniform(0.02, 0.3, count),
        usd_per_vcpu_h=np.where(rng.uniform(size=count) < 0.5, np.nan, rng.uniform(0.01, 0.08, count)),
        memory_curves=RiskCurves(
            extra_share=np.linspace(0, 1, 65), risk=np.sort(rng.uniform(0, 0.2, (count, 65)), axis=1)
        ),
        not_ready=rng.uniform(0, 0.02, count), transfer_g_per_gb=rng.uniform(0, 20, count),
        embodied_g_per_vcpu_h=rng.uniform(0, 2, count),
    )  # fmt: skip


def pods_of(count: int) -> PodColumns:
    """Make pods.

    Parameters
    ----------
    count : int
        How many.

    Returns
    -------
    PodColumns
        Of many sizes and all policies.
    """
    rng = np.random.default_rng(1)
    return PodColumns(
        vcpus=rng.uniform(0.1, 16, count), duration_h=rng.uniform(0.1, 4, count),
        memory_gib=rng.uniform(0.1, 64, count), data_gb=rng.uniform(0, 20, count),
        home=rng.integers(-1, REGIONS, count), policy=rng.integers(0, len(POLICIES), count),
    )  # fmt: skip


def least_s(work: Callable[[], object], runs: int, clock: Callable[[], float] = time.process_time) -> float:
    """Return the least seconds of some runs."""
    spent: list[float] = []
    for _ in range(runs):
        began = clock()
        work()
        spent.append(clock() - began)
    return min(spent)


def plain_numpy(nodes: NodeColumns, pods: PodColumns) -> Array:
    """Score all pairs as one would write it first.

    Parameters
    ----------
    nodes : NodeColumns
        n nodes.
    pods : PodColumns
        p pods.

    Returns
    -------
    ndarray, shape (p, n)
        Totals [g], infinite where refused.
    """
    packed = pods.packed()
    vcpus, memory, hours, data, home = (packed[:, place, None] for place in range(5))
    policy = packed[:, 5].astype(int)
    rates = {
        name: np.array([getattr(each, name) for each in POLICIES])[policy][:, None]
        for name in ("risk_g", "g_per_usd", "max_g_per_kwh", "max_slo_risk")
    }
    sci = np.array([each.embodied == "sci" for each in POLICIES])[policy][:, None]
    extra = vcpus / nodes.vcpus

    def power(load: Array) -> Array:
        return np.interp(load, KNOTS, POWER) + np.maximum(load - 1, 0) * (POWER[3] - POWER[2]) / 0.5

    seen, load = nodes.used.coverage_share, nodes.used.mean_share
    share = seen * (power(load + extra) - power(load)) + (1 - seen) * power(extra)
    kwh = share * (nodes.max_w - nodes.idle_w) * nodes.pue * hours / 1000
    awake = seen * (load < 0.05) + (1 - seen)
    idle_kwh = awake * nodes.idle_w * nodes.pue * hours / 1000
    stays = 1 - nodes.memory_curves.at(memory / nodes.memory_gib)
    risk = 1 - (1 - nodes.curves.at(extra)) * stays * (1 - nodes.not_ready)
    rented = ~np.isnan(nodes.usd_per_vcpu_h)
    usd = np.where(rented, nodes.usd_per_vcpu_h * vcpus * hours, (kwh + idle_kwh) * nodes.usd_per_kwh)
    total = (kwh + idle_kwh) * nodes.mid_g_per_kwh + risk * rates["risk_g"] + usd * rates["g_per_usd"]
    total += np.where((home >= 0) & (home != nodes.region), data, 0.0) * nodes.transfer_g_per_gb
    total += sci * nodes.embodied_g_per_vcpu_h * vcpus * hours
    ok = (vcpus <= nodes.vcpus) & (memory <= nodes.memory_gib)
    ok &= (nodes.mid_g_per_kwh <= rates["max_g_per_kwh"]) & (risk <= rates["max_slo_risk"])
    return np.asarray(np.where(ok, total, np.inf), dtype=np.float64)


def _beta_over(mean: Array, sd: Array, limit: Array) -> Array:
    """Return P(beta > limit), by the F distribution: scipy's betaincc takes twenty times as long."""
    spread = mean * (1 - mean)
    nu = spread / np.minimum(np.square(sd), spread * 0.999) - 1
    inside = np.clip(limit, 1e-9, 1 - 1e-9)
    tail = fdtrc(2 * mean * nu, 2 * (1 - mean) * nu, (1 - mean) / mean * inside / (1 - inside))
    return np.asarray(tail, dtype=np.float64)


def trimaran(nodes: NodeColumns, pods: PodColumns, asked: tuple[Array, Array], formula: str) -> Array:
    """Score pod by pod as Trimaran's plugins do, for CPU and memory.

    Parameters
    ----------
    nodes : NodeColumns
        n nodes; a node's memory is taken to be as busy as its CPU.
    pods : PodColumns
        p pods.
    asked : tuple of ndarray
        Threads and memory that the pods on each node request and may use at most, as shares of it.
    formula : str
        ``"LoadVariationRiskBalancing"`` or ``"LowRiskOverCommitment"``, at their default arguments.

    Returns
    -------
    ndarray, shape (p, n)
        Scores in [0, 100].
    """
    mean, sd = np.clip(nodes.used.mean_share, 1e-3, 0.999), np.maximum(nodes.used.sd_share, 1e-3)
    requested, limits = asked
    scores = np.empty((len(pods), len(nodes)))
    for row, (vcpus, memory) in enumerate(zip(pods.vcpus, pods.packed()[:, 1], strict=True)):
        worst = np.zeros(len(nodes))
        for extra in (vcpus / nodes.vcpus, memory / nodes.memory_gib):
            if formula == "LoadVariationRiskBalancing":
                risk = np.minimum(mean + extra, 1.0) / 2 + sd / 2
            else:
                wanted, most = requested + extra, limits + extra
                over = np.where(most > 1, (most - 1) / np.maximum(most - wanted, 1e-9), 0.0)
                risk = 0.5 * np.clip(over, 0, 1) + 0.5 * _beta_over(mean, sd, wanted)
            worst = np.maximum(worst, risk)
        scores[row] = 100 * (1 - np.minimum(worst, 1.0))
    return scores


def _speed(count: int, pods: PodColumns, runs: int) -> Table:
    nodes = nodes_of(count)
    engine = ScoreEngine({4.0: nodes}, POLICIES)
    out, single = np.empty((len(pods), count)), np.empty((len(pods), count), dtype=np.float32)
    ours = engine.totals(pods, out=out).copy()
    plain = plain_numpy(nodes, pods)
    # Risk curves are float32 in the kernel: 6e-8 of a breach, times what a breach counts as.
    np.testing.assert_allclose(ours, plain, rtol=1e-6, atol=1e-4)
    rng = np.random.default_rng(2)
    requested = rng.uniform(0.2, 0.9, count)
    asked = (requested, requested * rng.uniform(1, 2, count))
    works: dict[str, tuple[Callable[[], object], int]] = {
        "ours: totals": (lambda: engine.totals(pods, out=out), runs),
        "ours: totals, single precision out": (lambda: engine.totals(pods, out=single), runs),
        "ours: the best 10 of each pod": (lambda: engine.top(pods, 10), runs),
        "plain numpy, the same totals": (lambda: plain_numpy(nodes, pods), 3),
        "Trimaran LoadVariationRiskBalancing, risk alone": (
            lambda: trimaran(nodes, pods, asked, "LoadVariationRiskBalancing"), 3
        ),
        "Trimaran LowRiskOverCommitment, risk alone": (
            lambda: trimaran(nodes, pods, asked, "LowRiskOverCommitment"), 2
        ),
    }  # fmt: skip
    cpu = {name: 1e3 * least_s(work, repeat) for name, (work, repeat) in works.items()}
    # Wall time is that of a machine with nothing else to do: others' work must be out of the way for once.
    wall = {
        name: 1e3 * least_s(work, 5 * repeat, time.perf_counter) for name, (work, repeat) in works.items()
    }
    base = cpu["ours: totals"]
    rows = [(name, cpu[name], wall[name], cpu[name] / base) for name in works]
    title = f"{len(pods)} pods on {count} nodes"
    return Table(title, ("method", "CPU ms", "wall ms, all CPUs", "ratio: CPU / ours"), rows)


def _growth(sizes: tuple[int, ...], pods: PodColumns, runs: int) -> Table:
    rows: list[tuple[Any, ...]] = []
    for count in sizes:
        began = time.process_time()
        nodes = nodes_of(count)
        engine = ScoreEngine({4.0: nodes}, POLICIES)
        made_s = time.process_time() - began
        out = np.empty((len(pods), count))
        spent = least_s(lambda engine=engine, out=out: engine.totals(pods, out=out), runs)
        rows.append((count, 1e3 * spent, 1e9 * spent / count / len(pods), made_s))
    first = rows[0][2]
    columns = (
        "nodes",
        "CPU ms",
        "CPU ns a pair",
        "ns over the first row's",
        "CPU s to make nodes and risk curves",
    )
    return Table(
        f"Growth: {len(pods)} pods",
        columns,
        [(str(row[0]), row[1], row[2], row[2] / first, row[3]) for row in rows],
    )


def _update(sizes: tuple[int, ...], pods: PodColumns, runs: int) -> Table:
    rows: list[tuple[Any, ...]] = []
    one = {4.0: nodes_of(1, seed=9)}
    for count in sizes:
        engine = ScoreEngine({4.0: nodes_of(count)}, POLICIES)
        totals = engine.totals(pods)

        def change(engine: ScoreEngine = engine, totals: Array = totals) -> None:
            engine.update(count // 2, one)  # noqa: B023 - called at once
            engine.rescore(pods, totals, count // 2)  # noqa: B023

        whole = 1e3 * least_s(lambda engine=engine, totals=totals: engine.totals(pods, out=totals), 5)
        change()
        spent = 1e3 * least_s(change, runs)
        rows.append((str(count), spent, whole, whole / spent))
    columns = ("nodes", "one node changed and scored again: CPU ms", "all scored again: CPU ms", "ratio")
    return Table(f"One node changes, {len(pods)} pods", columns, rows)


def run(*, smoke: bool) -> list[Table]:
    """Measure speed, growth and updates.

    Parameters
    ----------
    smoke : bool
        Few nodes and pods.

    Returns
    -------
    list of Table
        Each with ratios.
    """
    warmup()
    pods, runs = pods_of(20 if smoke else 100), 3 if smoke else 30
    sizes = (200, 2_000) if smoke else (1_000, 3_000, 10_000, 30_000, 100_000)
    tables = [
        _speed(1_000 if smoke else 10_000, pods, runs),
        _growth(sizes, pods, 5),
        _update((sizes[0], sizes[-1]), pods, 20),
    ]
    ratio = {row[0]: row[3] for row in tables[0].rows}
    if not ratio["plain numpy, the same totals"] > 1:
        msg = f"plain numpy is as fast as the kernel: {ratio}"
        raise AssertionError(msg)
    return tables
