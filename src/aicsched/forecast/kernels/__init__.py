"""Numba kernels and their numpy twins: arrays in, arrays out."""

from aicsched.forecast.kernels.smoothing import SMOOTH

__all__ = ["SMOOTH"]
