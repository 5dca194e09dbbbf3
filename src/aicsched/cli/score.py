"""``aicsched score``: what a request costs in grams, here or there, and why."""

from __future__ import annotations

from dataclasses import dataclass
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
from aicsched.cli.output import AsJson, ConfigFile, console, emit_json, output_folder, print_table
from aicsched.cli.prices import Bought, Exchange, Prices, open_prices
from aicsched.errors import ConfigError, InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aicsched.config import Settings
    from aicsched.domain.score import ScoreCard
    from aicsched.score.policy import Policy
    from aicsched.score.request import Request, ScoreWeights
    from aicsched.score.sensitivity import Lines
    from aicsched.signals.base import CarbonSource

__all__ = ["app", "card_dict"]

app = typer.Typer(
    help="Score regions, nodes and special backends in grams, term by term.", no_args_is_help=True
)
Vcpus = Annotated[float, typer.Option("--vcpus", min=0.001, help="Hardware threads the request keeps busy.")]
# Forecasts reach 21 days.
Hours = Annotated[float, typer.Option("--hours", min=0.001, max=504.0, help="How long it runs [h].")]
Data = Annotated[
    float, typer.Option("--data-gb", min=0.0, help="Data moved when it runs away from home [GB].")
]
Home = Annotated[str, typer.Option("--home", help="Its home region.")]
Memory = Annotated[float, typer.Option("--memory-gib", min=0.0, help="Memory it holds [GiB].")]
Top = Annotated[int, typer.Option("--top", min=1, help="How many to print.")]
Telemetry = Annotated[str | None, typer.Option("--telemetry", help="Node telemetry, CSV or parquet.")]
PolicyFile = Annotated[
    Path | None,
    typer.Option("--policy-file", metavar="FILE", help="Exchange rates, thresholds and hard limits, TOML."),
]
Preset = Annotated[
    str | None, typer.Option("--preset", help="carbon-first, balanced or slo-first; under a policy file too.")
]
Namespace = Annotated[str, typer.Option("--namespace", help="Whose policy of the file to take.")]
Sensitivity = Annotated[
    Path | None,
    typer.Option(
        "--sensitivity", metavar="FILE", help="Draw how the ranking moves with the exchange rates (SVG)."
    ),
]
Front = Annotated[
    Path | None,
    typer.Option("--front", metavar="FILE", help="Draw emissions against risk, with the Pareto front (SVG)."),
]


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

    totals = {"low_g": card.low_g, "mid_g": card.mid_g, "high_g": card.high_g, "carbon_g": card.carbon_g}
    money = None if card.money is None else card.money._asdict()
    parts = {"money": money, "slo_risk_parts": dict(card.slo_risk_parts)}
    return (
        dataclasses.asdict(card) | parts | totals | {"feasible": card.feasible, "explanation": explain(card)}
    )


def _show(
    title: str, cards: Sequence[ScoreCard], *, top: int, as_json: bool, pictures: _Pictures | None = None
) -> None:
    from aicsched.score.explain import explain
    from aicsched.units import format_mass

    shown = list(cards[:top])
    files = pictures.draw(cards) if pictures else {}
    if as_json:
        told: dict[str, Any] = {"scores": [card_dict(card) for card in shown], "candidates": len(cards)}
        told |= {"moves": _moves(cards)} if pictures else {}
        emit_json(told | ({"files": files} if files else {}))
        return
    priced = any(card.money is not None for card in cards)
    rows = [
        (
            card.candidate,
            format_mass(card.mid_g),
            f"{format_mass(card.low_g)} .. {format_mass(card.high_g)}",
            f"{card.slo_risk:.1%}",
            *((("-" if card.money_usd is None else f"{card.money_usd:.4g}"),) if priced else ()),
            card.refusals[0] if card.refusals else "yes",
        )
        for card in shown
    ]
    columns = ("candidate", "total", "range", "SLO risk", *(("USD",) if priced else ()), "can take it")
    print_table(title, columns, rows)
    feasible = [card for card in cards if card.feasible]
    if feasible:
        console().print(explain(feasible[0]))
    # Totals compare only where the work is the same: backends of two kinds do two kinds of it.
    rivals = [card for card in feasible[1:] if card.request == feasible[0].request]
    if rivals:
        console().print(explain(feasible[0], rivals[-1]))
    if not priced and any(card.rates.g_per_usd for card in cards):
        console().print("[yellow]no price is known: money is left out of the totals (see --prices)[/yellow]")
    for name, path in files.items():
        console().print(f"{name}  {path}")
    if any(card.synthetic for card in shown):
        console().print("[yellow]synthetic data: parts of the input are the embedded sample[/yellow]")


def _moves(cards: Sequence[ScoreCard]) -> dict[str, Any]:
    """Tell who is best at which rates, and who is on the front."""
    from aicsched.score.sensitivity import lines_of, pareto_front, reigns

    def told(lines: Lines) -> list[dict[str, Any]]:
        return [{"candidate": each.candidate, "low": each.low, "high": each.high} for each in reigns(lines)]

    return {
        "risk_g": told(lines_of(cards, "risk_g")),
        "g_per_usd": told(lines_of(cards, "g_per_usd")),
        "front": [card.candidate for card in pareto_front(cards)],
    }


@dataclass(frozen=True, slots=True)
class _Pictures:
    """Which pictures of a ranking are asked for."""

    sensitivity: Path | None = None
    front: Path | None = None

    def draw(self, cards: Sequence[ScoreCard]) -> dict[str, str]:
        """Draw and write them; return the files by name."""
        if self.sensitivity is None and self.front is None:
            return {}
        from aicsched.files import write_text
        from aicsched.report.score_figures import front_picture, sensitivity_picture

        made: dict[str, str] = {}
        asked = (("sensitivity", self.sensitivity, sensitivity_picture), ("front", self.front, front_picture))
        for name, path, picture in asked:
            if path is not None:
                output_folder(path.parent)
                made[name] = str(write_text(path, picture(cards) + "\n"))
        return made


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
    preset: Preset = None,
    policy_file: PolicyFile = None,
    namespace: Namespace = "",
    prices: Prices = None,
    purchase: Bought = "on-demand",
    exchange: Exchange = None,
    sensitivity: Sensitivity = None,
    front: Front = None,
    top: Top = 20,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Rank regions for a request."""
    from aicsched.score.regions import score_regions

    source = open_carbon(
        carbon, column=column, unit=unit, kind=kind, time_zone=time_zone, lag_h=lag, config=config
    )
    policy = _Chosen(preset, policy_file, namespace)
    inputs = _Inputs(source, fleet, at, model, hours, config, policy)
    request = _request(vcpus, hours, data_gb, home)
    paid = open_prices(prices, purchase=purchase, exchange=exchange, start_s=inputs.at_s, hours=hours)
    cards = score_regions(
        request, inputs.fleet, inputs.forecasts, start_s=inputs.at_s, weights=inputs.weights, prices=paid
    )
    pictures = _Pictures(sensitivity, front)
    _show(f"Regions for {request.describe()}", cards, top=top, as_json=as_json, pictures=pictures)


@app.command("nodes")
def nodes(
    vcpus: Vcpus = 4.0,
    hours: Hours = 4.0,
    data_gb: Data = 0.0,
    home: Home = "",
    memory_gib: Memory = 0.0,
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
    preset: Preset = None,
    policy_file: PolicyFile = None,
    namespace: Namespace = "",
    prices: Prices = None,
    purchase: Bought = "on-demand",
    exchange: Exchange = None,
    sensitivity: Sensitivity = None,
    front: Front = None,
    top: Top = 20,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Rank nodes for a request."""
    from aicsched.cli.options import open_telemetry
    from aicsched.score.nodes import score_nodes

    source = open_carbon(
        carbon, column=column, unit=unit, kind=kind, time_zone=time_zone, lag_h=lag, config=config
    )
    policy = _Chosen(preset, policy_file, namespace)
    inputs = _Inputs(source, fleet, at, model, hours, config, policy)
    request = _request(vcpus, hours, data_gb, home, memory_gib)
    seen = open_telemetry(telemetry, inputs.fleet)
    paid = open_prices(prices, purchase=purchase, exchange=exchange, start_s=inputs.at_s, hours=hours)
    weights = inputs.weights
    cards = score_nodes(
        request, inputs.fleet, inputs.forecasts, seen, start_s=inputs.at_s, weights=weights, prices=paid
    )
    pictures = _Pictures(sensitivity, front)
    _show(f"Nodes for {request.describe()}", cards, top=top, as_json=as_json, pictures=pictures)


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
    preset: Preset = None,
    policy_file: PolicyFile = None,
    namespace: Namespace = "",
    top: Top = 20,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Rank quantum, neuromorphic and edge backends, each for its default workload."""
    from aicsched.score.backends import score_backends

    source = open_carbon(
        carbon, column=column, unit=unit, kind=kind, time_zone=time_zone, lag_h=lag, config=config
    )
    policy = _Chosen(preset, policy_file, namespace)
    inputs = _Inputs(source, fleet, at, model, 24.0, config, policy)
    cards = score_backends(inputs.fleet, inputs.forecasts, start_s=inputs.at_s, weights=inputs.weights)
    _show("Backends, each for its default workload", cards, top=top, as_json=as_json)


def _request(vcpus: float, hours: float, data_gb: float, home: str, memory_gib: float = 0.0) -> Request:
    """Make the request of the options."""
    from aicsched.score.request import Request

    if data_gb and not home:
        msg = f"--data-gb {data_gb:g} without --home"
        raise InputError(msg, hint="say where the data lies: what stays there isn't moved", value=data_gb)
    seconds = hours * 3600.0
    return Request(vcpus=vcpus, duration_s=seconds, data_gb=data_gb, home_region=home, memory_gib=memory_gib)


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
        policy: _Chosen,
    ) -> None:
        from aicsched.config import load_settings

        settings = load_settings(config, model=model)
        self.fleet = open_fleet(fleet)
        zones = sorted({region.grid_zone for region in self.fleet.regions})
        horizon_h = max(24, int(hours) + 1)
        at_s = planning_time(at, source)
        _, self.forecasts = zone_forecasts(
            source, zones, at_s=at_s, horizon_h=horizon_h, model=settings.model
        )
        self.at_s = next(iter(self.forecasts.values())).issue_time_s
        self.weights = policy.weights(settings)


@dataclass(frozen=True, slots=True)
class _Chosen:
    """Which policy is asked for."""

    preset: str | None = None
    file: Path | None = None
    namespace: str = ""

    def policy(self) -> Policy | None:
        """Return the policy, or None where none is asked for."""
        from aicsched.score.policy import preset, read_policies

        if self.file is not None:
            return read_policies(self.file, base=self.preset or "").policy(self.namespace)
        if self.namespace:
            msg = f"--namespace {self.namespace} without --policy-file"
            raise ConfigError(msg, hint="presets hold for all namespaces", value=self.namespace)
        return None if self.preset is None else preset(self.preset)

    def weights(self, settings: Settings) -> ScoreWeights:
        """Return the policy's weights, else those of the settings."""
        from aicsched.score.request import ScoreWeights

        policy = self.policy()
        if policy is not None:
            return policy.weights
        return ScoreWeights(
            risk_g=settings.slo_risk_g,
            cpu_limit_share=settings.cpu_limit_share,
            latency_limit_ms=settings.latency_limit_ms,
        )


@app.command("policy")
def policy(
    preset: Preset = None,
    policy_file: PolicyFile = None,
    namespace: Namespace = "",
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Show each exchange rate, threshold and limit, and where it comes from."""
    import dataclasses

    from aicsched.config import load_settings

    chosen = _Chosen(preset, policy_file, namespace)
    found = chosen.policy()
    weights = chosen.weights(load_settings(config))
    origins = {} if found is None else found.origins
    rows = [
        (each.name, getattr(weights, each.name), origins.get(each.name, "settings and defaults"))
        for each in dataclasses.fields(weights)
    ]
    name = "settings" if found is None else found.name
    if as_json:
        emit_json(
            {"policy": name, "values": {key: {"value": value, "source": whose} for key, value, whose in rows}}
        )
        return
    print_table(
        f"Policy: {name}",
        ("value of", "is", "from"),
        [(key, str(value), whose) for key, value, whose in rows],
    )
