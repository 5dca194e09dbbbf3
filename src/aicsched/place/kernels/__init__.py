"""Kernels of placement: plain loops over arrays, compiled where that pays."""

from aicsched.place.kernels.insertion import ANSWER, INSERT
from aicsched.place.kernels.oracle import PRICE
from aicsched.place.kernels.repair import REPAIR

__all__ = ["ANSWER", "INSERT", "PRICE", "REPAIR"]
