"""``aicsched backtest``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from aicsched.cli.forecast import Zones, say_synthetic
from aicsched.cli.options import (
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
)
from aicsched.cli.output import AsJson, ConfigFile, console, emit_json, output_folder, print_table

if TYPE_CHECKING:
    from aicsched.executor import Executor
    from aicsched.forecast.backtest import BacktestResult

_REPORT_LEVELS: Final = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)


def backtest(
    start: Annotated[str, typer.Option("--start", metavar="ISO", help="First issue time, with offset.")],
    end: Annotated[str, typer.Option("--end", metavar="ISO", help="Last issue time, with offset.")],
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
    horizon: Horizon = None,
    model: Model = None,
    every: Annotated[
        int, typer.Option("--every", metavar="H", min=1, help="Hours between issue times.")
    ] = 24,
    refit: Annotated[
        int, typer.Option("--refit", metavar="DAYS", min=1, help="Days between learnings of the model.")
    ] = 7,
    jobs: Annotated[int, typer.Option("--jobs", min=1, help="Processes to use.")] = 1,
    dask: Annotated[
        str | None, typer.Option("--dask", metavar="ADDRESS", help="Run on this Dask scheduler instead.")
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option("--resume", metavar="FOLDER", help="Keep what is done here, and go on from it."),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option("--report", metavar="FILE", help="Write a page with tables and pictures (HTML)."),
    ] = None,
    rival: Annotated[
        str | None, typer.Option("--rival", help="Another model to draw beside it in the report.")
    ] = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Measure a forecaster on the past: rolling origins, accuracy, coverage and scheduling regret."""
    from aicsched.cli.progress import parts
    from aicsched.config import load_settings
    from aicsched.forecast.backtest import backtest as run
    from aicsched.forecast.base import LEVELS
    from aicsched.slots import HOUR_S, parse_time

    settings = load_settings(config, horizon_h=horizon, model=model)
    source = open_carbon(
        carbon, column=column, unit=unit, kind=kind, time_zone=time_zone, lag_h=lag, config=config
    )
    series = {name: source.read(name) for name in zone or source.zones()}
    step_s = min((item.slots.step_s for item in series.values()), default=HOUR_S)
    choices: dict[str, Any] = {
        "start_s": parse_time(start),
        "end_s": parse_time(end),
        "horizon": settings.horizon_h * HOUR_S // step_s,
        "every_h": every,
        "refit_days": refit,
        "covariates": open_covariates(carbon, weather=weather, weather_lag_h=weather_lag, mix=mix, lag_h=lag),
        "executor": _executor(dask, jobs),
        "checkpoint": resume,
        "keep_forecasts": report is not None,
        "levels": _REPORT_LEVELS if report else LEVELS,
    }
    if report is not None:
        output_folder(report.parent)
    with parts(quiet=as_json) as progress:
        result = run(series, model=settings.model, **choices, progress=progress)
        other = run(series, model=rival, **choices, progress=progress) if rival and report else None
    if report is not None:
        from aicsched.report.backtest_page import write_backtest_report

        write_backtest_report(result, series, report, rival=other)
    if as_json:
        emit_json(result.as_dict() | ({"files": {"report": str(report)}} if report else {}))
        return
    _print(result)
    if report is not None:
        console().print(f"report  {report}")
    say_synthetic(synthetic=result.synthetic)


def _executor(dask: str | None, jobs: int) -> Executor | None:
    from aicsched.executor import DaskExecutor, ProcessExecutor

    if dask is not None:
        return DaskExecutor(dask)
    return ProcessExecutor(jobs) if jobs > 1 else None


def _print(result: BacktestResult) -> None:
    payload = result.as_dict()
    whole = list(payload["mean"]["concordance"])[-1:]
    columns = ["MAPE by lead day [%]", "p95", "80 % band holds"]
    columns += [f"saving of a 4-h job in {label}" for label in whole]
    rows: list[tuple[str, ...]] = []
    for name, item in [*payload["zones"].items(), ("mean", payload["mean"])]:
        saved = [item["regret"].get(f"saving_share_of_oracle_{label}") for label in whole]
        rows.append(
            (
                name,
                " / ".join(_number(value, 2) for value in item["mape"]),
                _number(item["mape_p95"], 1),
                " / ".join(_number(value, 2) for value in item["coverage80"]),
                *(f"{_number(value, 2)} of best" for value in saved),
            )
        )
    title = f"{payload['model']}: {payload['origins']} origins, {payload['cpu_s_per_fit']:.3f} CPU s a fit"
    print_table(title, ("zone", *columns), rows)


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
