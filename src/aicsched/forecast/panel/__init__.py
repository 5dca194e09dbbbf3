"""Utilisation and demand of thousands of series at once, updated with each value, never refitted."""

from aicsched.forecast.panel.forecast import PanelForecast
from aicsched.forecast.panel.panel import UtilisationPanel
from aicsched.forecast.panel.seasonal import SeasonalFit, fit_seasonal

__all__ = ["PanelForecast", "SeasonalFit", "UtilisationPanel", "fit_seasonal"]
