"""Kernels of the utilisation panel: thousands of series, one step or one forecast at a time."""

from aicsched.forecast.kernels.panel.forecast import PANEL_FORECAST
from aicsched.forecast.kernels.panel.update import PANEL_UPDATE

__all__ = ["PANEL_FORECAST", "PANEL_UPDATE"]
