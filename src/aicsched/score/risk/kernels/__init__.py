"""Kernels of the risk: past situations of a node, and what came of them."""

from aicsched.score.risk.kernels.analogue import CURVES, DESCRIBE, MOMENTS

__all__ = ["CURVES", "DESCRIBE", "MOMENTS"]
