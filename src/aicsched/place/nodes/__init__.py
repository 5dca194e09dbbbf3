"""Pods on nodes: vector capacity, shared GPUs and Kubernetes' rules, by published policies and ours."""

from __future__ import annotations

from aicsched.place.nodes.policies import POLICIES, NodePlan, place_pods
from aicsched.place.nodes.problem import Nodes, Pods, Requirements, build_nodes, build_pods
from aicsched.place.nodes.typical import TypicalPods, typical_pods

__all__ = [
    "POLICIES",
    "NodePlan",
    "Nodes",
    "Pods",
    "Requirements",
    "TypicalPods",
    "build_nodes",
    "build_pods",
    "place_pods",
    "typical_pods",
]
