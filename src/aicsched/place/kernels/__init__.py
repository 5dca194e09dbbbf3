"""Kernels of placement: plain loops over arrays, compiled where that pays."""

from aicsched.place.kernels.insertion import ANSWER, INSERT, LEVEL_ANSWER, LEVEL_INSERT, LEVEL_PLACE, PLACE
from aicsched.place.kernels.oracle import BOUND, LEVEL_BOUND, LEVEL_PRICE, PRICE
from aicsched.place.kernels.repair import LEVEL_REPAIR, REPAIR
from aicsched.place.kernels.runner_up import LEVEL_RUNNER_UP, RUNNER_UP
from aicsched.place.kernels.settling import EVICT, LEVEL_EVICT, LEVEL_SETTLE, SETTLE

__all__ = [
    "ANSWER",
    "BOUND",
    "EVICT",
    "INSERT",
    "LEVEL_ANSWER",
    "LEVEL_BOUND",
    "LEVEL_EVICT",
    "LEVEL_INSERT",
    "LEVEL_PLACE",
    "LEVEL_PRICE",
    "LEVEL_REPAIR",
    "LEVEL_RUNNER_UP",
    "LEVEL_SETTLE",
    "PLACE",
    "PRICE",
    "REPAIR",
    "RUNNER_UP",
    "SETTLE",
]
