"""Nodes, pods and policies at random, and a score of one pair in plain Python: the oracle of the engine."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from aicsched.score.engine import NodeColumns, PodColumns
from aicsched.score.request import ScoreWeights
from aicsched.score.risk.curves import RiskCurves
from aicsched.score.utilisation import Utilisation

REGIONS = ("north", "south", "west")
POLICIES = (
    ScoreWeights(),
    ScoreWeights(risk_g=20.0, g_per_usd=5000.0, embodied="sci", max_g_per_kwh=500.0),
    ScoreWeights(risk_g=1000.0, max_slo_risk=0.6, regions=("north", "west")),
)
# Teads' points of rated power, from its published table.
TEADS = ((0.0, 0.1, 0.5, 1.0), (0.12, 0.32, 0.75, 1.02))


def random_nodes(count: int, seed: int, *, points: int = 9, **changes: Any) -> NodeColumns:
    """Make nodes: one in five has no metrics, one in five no price."""
    rng = np.random.default_rng(seed)
    idle_w = rng.uniform(20, 150, count)
    coverage = np.where(rng.uniform(size=count) < 0.2, 0.0, rng.choice([0.3, 1.0], count))
    mid = rng.uniform(20, 800, count)
    facts: dict[str, Any] = {
        "vcpus": rng.choice([2.0, 16.0, 64.0, 96.0], count),
        "memory_gib": rng.uniform(8, 512, count),
        "idle_w": idle_w,
        "max_w": idle_w + rng.uniform(0, 500, count),
        "pue": rng.uniform(1, 1.6, count),
        "region": rng.integers(0, len(REGIONS), count),
        "used": Utilisation(
            mean_share=rng.uniform(0, 1, count) * (coverage > 0),
            sd_share=rng.uniform(0, 0.2, count),
            coverage_share=coverage,
        ),
        "curves": RiskCurves(
            extra_share=np.linspace(0, 1, points), risk=np.sort(rng.uniform(0, 1, (count, points)), axis=1)
        ),
        "memory_curves": RiskCurves(
            extra_share=np.linspace(0, 1, points), risk=np.sort(rng.uniform(0, 0.3, (count, points)), axis=1)
        ),
        "not_ready": rng.uniform(0, 0.1, count),
        "g_per_kwh": mid,
        "low_g_per_kwh": mid * 0.8,
        "high_g_per_kwh": mid * 1.3,
        "usd_per_kwh": np.where(rng.uniform(size=count) < 0.2, np.nan, rng.uniform(-0.05, 0.3, count)),
        "usd_per_vcpu_h": np.where(rng.uniform(size=count) < 0.5, np.nan, rng.uniform(0.01, 0.1, count)),
        "transfer_g_per_gb": rng.uniform(0, 20, count),
        "embodied_g_per_vcpu_h": rng.uniform(0, 2, count),
        "power_band": np.array([[0.9], [1.2], [0.93], [1.1]]) * np.ones(count),
    }
    return NodeColumns.of(**(facts | changes))


def random_pods(count: int, seed: int) -> PodColumns:
    """Make pods of all sizes, some larger than any node, of all policies."""
    rng = np.random.default_rng(seed)
    return PodColumns(
        vcpus=rng.choice([0.1, 1.0, 7.3, 48.0, 120.0], count),
        duration_h=rng.choice([0.2, 1.0, 3.7, 30.0], count),
        memory_gib=rng.uniform(0, 256, count),
        data_gb=rng.uniform(0, 50, count),
        home=rng.integers(-1, len(REGIONS), count),
        policy=rng.integers(0, len(POLICIES), count),
    )


def power_share(load: float) -> float:
    """Return where between idle and full power a load stands; past full, the last piece goes on."""
    points = np.array(TEADS[1])
    if load > 1:
        return 1 + (load - 1) * (1.02 - 0.75) / 0.9 / 0.5
    return float(np.interp(load, TEADS[0], (points - 0.12) / 0.9))


def plain_terms(nodes: NodeColumns, pods: PodColumns, pod: int, node: int) -> dict[str, float]:
    """Score one pod on one node, straight from the formulas; a refusal is infinite."""
    get = lambda table, name, at: float(getattr(table, name)[at])  # noqa: E731
    vcpus, hours = get(pods, "vcpus", pod), get(pods, "duration_h", pod)
    policy = POLICIES[int(get(pods, "policy", pod))]
    extra = vcpus / get(nodes, "vcpus", node)
    coverage, load = float(nodes.used.coverage_share[node]), float(nodes.used.mean_share[node])
    share = coverage * (power_share(load + extra) - power_share(load)) + (1 - coverage) * power_share(extra)
    idle_w, max_w, pue = (get(nodes, name, node) for name in ("idle_w", "max_w", "pue"))
    kwh = share * (max_w - idle_w) * pue * hours / 1000
    awake = coverage * (coverage > 0 and load < 0.05) + (1 - coverage)
    idle_kwh = awake * idle_w * pue * hours / 1000
    per_kwh, per_vcpu_h = get(nodes, "usd_per_kwh", node), get(nodes, "usd_per_vcpu_h", node)
    priced = not (math.isnan(per_kwh) and math.isnan(per_vcpu_h))
    usd = vcpus * hours * per_vcpu_h if not math.isnan(per_vcpu_h) else (kwh + idle_kwh) * per_kwh
    usd = usd if priced else 0.0
    load_risk = float(np.interp(extra, nodes.curves.extra_share, nodes.curves.risk[node]))
    held = get(pods, "memory_gib", pod) / get(nodes, "memory_gib", node)
    memory_risk = float(np.interp(held, nodes.memory_curves.extra_share, nodes.memory_curves.risk[node]))
    risk = 1 - (1 - load_risk) * (1 - memory_risk) * (1 - get(nodes, "not_ready", node))
    region, home = int(nodes.region[node]), int(get(pods, "home", pod))
    intensity = get(nodes, "mid_g_per_kwh", node)
    refused = (
        vcpus > get(nodes, "vcpus", node)
        or get(pods, "memory_gib", pod) > get(nodes, "memory_gib", node)
        or bool(policy.regions and REGIONS[region] not in policy.regions)
        or intensity > policy.max_g_per_kwh
        or risk > policy.max_slo_risk
        or (policy.g_per_usd > 0 and not priced)
    )
    return {
        "operational": kwh * intensity,
        "idle_share": idle_kwh * intensity,
        "transfer": get(pods, "data_gb", pod) * get(nodes, "transfer_g_per_gb", node)
        if home not in {-1, region} else 0.0,
        "embodied": get(nodes, "embodied_g_per_vcpu_h", node) * vcpus * hours * (policy.embodied == "sci"),
        "money": usd * policy.g_per_usd,
        "slo_risk": risk * policy.risk_g,
        "refused": math.inf if refused else 0.0,
    }  # fmt: skip
