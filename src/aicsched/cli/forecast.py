"""``aicsched forecast``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from aicsched.cli.options import (
    At,
    Carbon,
    Column,
    Horizon,
    Kind,
    Lag,
    Mix,
    Model,
    TimeZone,
    Unit,
    Weather,
    WeatherLag,
    open_carbon,
    open_covariates,
    planning_time,
    zone_forecasts,
)
from aicsched.cli.output import AsJson, ConfigFile, console, emit_json, print_table

if TYPE_CHECKING:
    from aicsched.domain.forecast import Forecast

Zones = Annotated[list[str] | None, typer.Option("--zone", help="Only this grid zone (repeat for more).")]


def _as_dict(item: Forecast) -> dict[str, Any]:
    from aicsched.slots import format_time

    return {
        "issue_time": format_time(item.issue_time_s),
        "kind": str(item.kind),
        "model": item.model,
        "source": item.source,
        "flags": list(item.flags),
        "synthetic": item.synthetic,
        "slot_starts": [format_time(start_s) for start_s in item.slots.starts_s().tolist()],
        "mean_g_per_kwh": [round(value, 4) for value in item.mean_g_per_kwh.tolist()],
        "quantiles_g_per_kwh": {
            f"{level:g}": [round(value, 4) for value in row.tolist()]
            for level, row in zip(item.levels, item.quantiles_g_per_kwh, strict=True)
        },
    }


def forecast(
    carbon: Carbon = None,
    column: Column = None,
    unit: Unit = None,
    kind: Kind = None,
    time_zone: TimeZone = None,
    lag: Lag = 0.0,
    zone: Zones = None,
    weather: Weather = None,
    weather_lag: WeatherLag = 0.0,
    mix: Mix = False,
    at: At = None,
    horizon: Horizon = None,
    model: Model = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Forecast carbon intensity with an 80 % band (the embedded sample without --carbon)."""
    from aicsched.config import load_settings
    from aicsched.slots import format_time

    settings = load_settings(config, horizon_h=horizon, model=model)
    source = open_carbon(
        carbon, column=column, unit=unit, kind=kind, time_zone=time_zone, lag_h=lag, config=config
    )
    at_s = planning_time(at, source)
    zones = zone or list(source.zones())
    covariates = open_covariates(carbon, weather=weather, weather_lag_h=weather_lag, mix=mix, lag_h=lag)
    _, made = zone_forecasts(
        source,
        zones,
        at_s=at_s,
        horizon_h=settings.horizon_h,
        model=settings.model,
        covariates=covariates,
    )
    if as_json:
        emit_json({"forecasts": {name: _as_dict(item) for name, item in made.items()}})
        return
    rows: list[tuple[str, ...]] = []
    for name, item in made.items():
        best = int(item.mean_g_per_kwh.argmin())
        low, high = item.quantile(0.1)[best], item.quantile(0.9)[best]
        start = format_time(item.slots.start_s + best * item.slots.step_s)
        mean = f"{item.mean_g_per_kwh.mean():.0f}"
        rows.append(
            (name, mean, f"{item.mean_g_per_kwh[best]:.0f} ({low:.0f}..{high:.0f})", start, item.model)
        )
    issue = format_time(next(iter(made.values())).issue_time_s)
    title = f"Forecast of {settings.horizon_h} h from {issue} [g/kWh]"
    print_table(title, ("zone", "mean", "cleanest slot (80 % band)", "when", "model"), rows)
    for name, item in made.items():
        if item.flags:
            console().print(f"[dim]{name}: {', '.join(item.flags)}[/dim]")
    say_synthetic(synthetic=any(item.synthetic for item in made.values()))


def say_synthetic(*, synthetic: bool) -> None:
    """Warn a reader of figures that are of no real grid."""
    if synthetic:
        console().print("[yellow]synthetic data: the embedded sample, not a real grid[/yellow]")
