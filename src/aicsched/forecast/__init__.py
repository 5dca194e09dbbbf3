"""Forecasts of carbon intensity, with intervals that hold what they promise."""

from aicsched.forecast.zones import forecast_zones, make_forecaster

__all__ = ["forecast_zones", "make_forecaster"]
