"""``aicsched score``: what a request costs in grams, here or there, and why."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aicsched.cli.options import (
    At,
    Carbon,
    Column,
    FleetFile,
    Kind,
    Lag,
    Model,
    TimeZone,
    Unit,
    open_carbon,
    open_fleet,
    planning_time,
    zone_forecasts,
)  # fmt: skip
from aicsched.cli.output import AsJson, ConfigFile, console, emit_json, print_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aicsched.domain.score import ScoreCard
    from aicsched.signals.base import CarbonSource

__all__ = ["app", "card_dict"]

app = typer.Typer(
    help="Score regions, nodes and special backends in grams, term by term.", no_args_is_help=True
)
Vcpus = Annotated[float, typer.Option("--vcpus", min=0.001, help="Hardware threads the request keeps busy.")]
Hours = Annotated[float, typer.Option("--hours", min=0.001, help="How long it runs [h].")]
Data = Annotated[
    float, typer.Option("--data-gb", min=0.0, help="Data moved when it runs away from home [GB].")
]
Home = Annotated[str, typer.Option("--home", help="Its home region.")]
Top = Annotated[int, typer.Option("--top", min=1, help="How many to print.")]
Telemetry = Annotated[str | None, typer.Option("--telemetry", help="Node telemetry, CSV or parquet.")]


@app.callback()
def group() -> None:
    """Score regions, nodes and special backends in grams, term by term."""


def card_dict(card: ScoreCard) -> dict[str, Any]:
    """Turn a score card into plain values.

    Parameters
    ----------
    card : ScoreCard
        A score.

    Returns
    -------
    dict
        With its terms, totals and the sentence that explains it.
    """
    import dataclasses

    from aicsched.score.explain import explain

    totals = {"low_g": card.low_g, "mid_g": card.mid_g, "high_g": card.high_g}
    return dataclasses.asdict(card) | totals | {"feasible": card.feasible, "explanation": explain(card)}


def _show(title: str, cards: Sequence[ScoreCard], *, top: int, as_json: bool) -> None:
    from aicsched.score.explain import explain
    from aicsched.units import format_mass

    shown = list(cards[:top])
    if as_json:
        emit_json({"scores": [card_dict(card) for card in shown], "candidates": len(cards)})
        return
    rows = [
        (
            card.candidate,
            format_mass(card.mid_g),
            f"{format_mass(card.low_g)} .. {format_mass(card.high_g)}",
            f"{card.slo_risk:.1%}",
            card.refusals[0] if card.refusals else "yes",
        )
        for card in shown
    ]
    print_table(title, ("candidate", "total", "range", "SLO risk", "can take it"), rows)
    feasible = [card for card in cards if card.feasible]
    if feasible:
        console().print(explain(feasible[0]))
    # Totals compare only where the work is the same: backends of two kinds do two kinds of it.
    rivals = [card for card in feasible[1:] if card.request == feasible[0].request]
    if rivals:
        console().print(explain(feasible[0], rivals[-1]))
    if any(card.synthetic for card in shown):
        console().print("[yellow]synthetic data: parts of the input are the embedded sample[/yellow]")


@app.command("regions")
def regions(
    vcpus: Vcpus = 4.0,
    hours: Hours = 4.0,
    data_gb: Data = 0.0,
    home: Home = "",
    carbon: Carbon = None,
    column: Column = None,
    unit: Unit = None,
    kind: Kind = None,
    time_zone: TimeZone = None,
    lag: Lag = 0.0,
    fleet: FleetFile = None,
    at: At = None,
    model: Model = None,
    top: Top = 20,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Rank regions for a request."""
    from aicsched.score.regions import score_regions
    from aicsched.score.request import Request

    source = open_carbon(carbon, column=column, unit=unit, kind=kind, time_zone=time_zone, lag_h=lag)
    inputs = _Inputs(source, fleet, at, model, hours, config, sample=not carbon)
    request = Request(vcpus=vcpus, duration_s=hours * 3600.0, data_gb=data_gb, home_region=home)
    cards = score_regions(
        request, inputs.fleet, inputs.forecasts, start_s=inputs.at_s, weights=inputs.weights
    )
    _show(f"Regions for {request.describe()}", cards, top=top, as_json=as_json)


@app.command("nodes")
def nodes(
    vcpus: Vcpus = 4.0,
    hours: Hours = 4.0,
    data_gb: Data = 0.0,
    home: Home = "",
    carbon: Carbon = None,
    column: Column = None,
    unit: Unit = None,
    kind: Kind = None,
    time_zone: TimeZone = None,
    lag: Lag = 0.0,
    fleet: FleetFile = None,
    telemetry: Telemetry = None,
    at: At = None,
    model: Model = None,
    top: Top = 20,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Rank nodes for a request."""
    from aicsched.cli.options import open_telemetry
    from aicsched.score.nodes import score_nodes
    from aicsched.score.request import Request

    source = open_carbon(carbon, column=column, unit=unit, kind=kind, time_zone=time_zone, lag_h=lag)
    inputs = _Inputs(source, fleet, at, model, hours, config, sample=not carbon)
    request = Request(vcpus=vcpus, duration_s=hours * 3600.0, data_gb=data_gb, home_region=home)
    seen = open_telemetry(telemetry, inputs.fleet)
    cards = score_nodes(
        request, inputs.fleet, inputs.forecasts, seen, start_s=inputs.at_s, weights=inputs.weights
    )
    _show(f"Nodes for {request.describe()}", cards, top=top, as_json=as_json)


@app.command("backends")
def backends(
    carbon: Carbon = None,
    column: Column = None,
    unit: Unit = None,
    kind: Kind = None,
    time_zone: TimeZone = None,
    lag: Lag = 0.0,
    fleet: FleetFile = None,
    at: At = None,
    model: Model = None,
    top: Top = 20,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Rank quantum, neuromorphic and edge backends, each for its default workload."""
    from aicsched.score.backends import score_backends

    source = open_carbon(carbon, column=column, unit=unit, kind=kind, time_zone=time_zone, lag_h=lag)
    inputs = _Inputs(source, fleet, at, model, 24.0, config, sample=not carbon)
    cards = score_backends(inputs.fleet, inputs.forecasts, start_s=inputs.at_s, weights=inputs.weights)
    _show("Backends, each for its default workload", cards, top=top, as_json=as_json)


class _Inputs:
    """What every score needs: fleet, forecasts, time and exchange rates."""

    def __init__(
        self,
        source: CarbonSource,
        fleet: Path | None,
        at: str | None,
        model: str | None,
        hours: float,
        config: Path | None,
        *,
        sample: bool,
    ) -> None:
        from aicsched.config import load_settings
        from aicsched.score.request import ScoreWeights

        settings = load_settings(config, model=model)
        self.fleet = open_fleet(fleet)
        zones = sorted({region.grid_zone for region in self.fleet.regions})
        horizon_h = max(24, int(hours) + 1)
        at_s = planning_time(at, sample=sample)
        _, self.forecasts = zone_forecasts(
            source, zones, at_s=at_s, horizon_h=horizon_h, model=settings.model
        )
        self.at_s = next(iter(self.forecasts.values())).issue_time_s
        self.weights = ScoreWeights(
            risk_g=settings.slo_risk_g,
            cpu_limit_share=settings.cpu_limit_share,
            latency_limit_ms=settings.latency_limit_ms,
        )
