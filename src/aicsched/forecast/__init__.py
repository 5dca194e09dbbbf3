"""Forecasts of carbon intensity and of utilisation, with intervals that hold what they promise."""

from aicsched.forecast.panel import UtilisationPanel
from aicsched.forecast.scenarios import sample_scenarios, sample_scenarios_of
from aicsched.forecast.zones import forecast_zones, make_forecaster

__all__ = ["UtilisationPanel", "forecast_zones", "make_forecaster", "sample_scenarios", "sample_scenarios_of"]
