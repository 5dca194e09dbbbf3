"""Kernels of placement: plain loops over arrays, compiled where that pays."""

from aicsched.place.kernels.insertion import ANSWER, INSERT, PLACE
from aicsched.place.kernels.oracle import BOUND, PRICE
from aicsched.place.kernels.repair import REPAIR
from aicsched.place.kernels.runner_up import RUNNER_UP
from aicsched.place.kernels.settling import EVICT, SETTLE

__all__ = ["ANSWER", "BOUND", "EVICT", "INSERT", "PLACE", "PRICE", "REPAIR", "RUNNER_UP", "SETTLE"]
