"""Utilisation and demand of thousands of series at once, updated with each value, never refitted."""

from aicsched.forecast.panel.forecast import PanelForecast
from aicsched.forecast.panel.panel import UtilisationPanel

__all__ = ["PanelForecast", "UtilisationPanel"]
