"""Numba kernels and their numpy twins: arrays in, arrays out."""

from aicsched.forecast.kernels.boosting import BOOST
from aicsched.forecast.kernels.smoothing import SMOOTH
from aicsched.forecast.kernels.windows import CONCORDANCE, REGRET

__all__ = ["BOOST", "CONCORDANCE", "REGRET", "SMOOTH"]
