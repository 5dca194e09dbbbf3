"""``aicsched plan``: the main job on the user's files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aicsched.cli.money import GramsPerDollar, money_weight, print_money
from aicsched.cli.options import (
    At,
    Carbon,
    Column,
    FleetFile,
    Horizon,
    Kind,
    Lag,
    Model,
    Services,
    TimeZone,
    Unit,
    open_carbon,
    open_fleet,
    planning_time,
)
from aicsched.cli.output import AsJson, ConfigFile, console, emit_json, output_folder, print_table
from aicsched.cli.prices import Bought, Exchange, Prices
from aicsched.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aicsched.domain.fleet import Fleet
    from aicsched.domain.job import Job
    from aicsched.domain.service import Service
    from aicsched.workflow import PlanRun

__all__ = ["plan", "print_plan"]


def plan(
    jobs: Annotated[
        Path | None,
        typer.Option("--jobs", help="The queue, CSV, JSON or parquet (see `aicsched schema jobs`)."),
    ] = None,
    services: Services = None,
    gives_way: Annotated[
        str,
        typer.Option("--gives-way", help="Jobs that may sit in the reserve: suspendable, all or none."),
    ] = "suspendable",
    carbon: Carbon = None,
    column: Column = None,
    unit: Unit = None,
    kind: Kind = None,
    time_zone: TimeZone = None,
    lag: Lag = 0.0,
    fleet: FleetFile = None,
    at: At = None,
    horizon: Horizon = None,
    model: Model = None,
    risk: Annotated[
        str, typer.Option("--risk", help="expected grams, or cvar: the mean of the worst scenarios.")
    ] = "expected",
    alpha: Annotated[
        float,
        typer.Option("--alpha", min=0, help="Share of scenarios that does not count for cvar, below 1."),
    ] = 0.9,
    g_per_usd: GramsPerDollar = None,
    prices: Prices = None,
    purchase: Bought = "on-demand",
    exchange: Exchange = None,
    out: Annotated[
        Path, typer.Option("--out", help="Folder for the report, the ledger and the plan.")
    ] = Path("aicsched-out"),
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Plan a queue of jobs in space and time, with a proof, a ledger and a report."""
    from aicsched.cli.progress import stages
    from aicsched.config import load_settings
    from aicsched.fleet.jobs_file import check_jobs
    from aicsched.publish import save_plan
    from aicsched.workflow import plan_work, summary

    if risk not in {"expected", "cvar"}:
        msg = f"--risk is '{risk}'"
        raise InputError(msg, hint="give expected or cvar", value=risk)
    settings = load_settings(config, horizon_h=horizon, model=model)
    folder = output_folder(out)
    with stages(quiet=as_json) as progress:
        progress("read files")
        source, sites = (
            open_carbon(
                carbon, column=column, unit=unit, kind=kind, time_zone=time_zone, lag_h=lag, config=config
            ),
            open_fleet(fleet),
        )
        at_s = planning_time(at, source)
        queue = _queue(jobs, sites)
        check_jobs(queue, sites)
        run = plan_work(
            source, sites, queue, services=_services(services), gives_way=gives_way, at_s=at_s,
            horizon_h=settings.horizon_h, model=settings.model, gap_share=settings.gap_share,
            seed=settings.seed, cvar_alpha=alpha if risk == "cvar" else None,
            money=money_weight(g_per_usd, prices, purchase, exchange),
            progress=progress,
        )  # fmt: skip
        progress("write")
        files = save_plan(run, folder)
    if as_json:
        emit_json(summary(run) | {"files": files})
        return
    print_plan(run)
    for name, path in files.items():
        console().print(f"{name:>9}  {path}")


def _services(path: Path | None) -> tuple[Service, ...]:
    if path is None:
        return ()
    from aicsched.fleet.services_file import read_services

    return read_services(path)


def _queue(path: Path | None, fleet: Fleet) -> tuple[Job, ...]:
    if path is not None:
        from aicsched.fleet.jobs_file import read_jobs

        return read_jobs(path)
    if not fleet.synthetic:
        # Made-up jobs on a real fleet would give a real-looking number.
        msg = "no jobs were given for this fleet"
        raise InputError(msg, hint="add --jobs FILE (see `aicsched schema jobs`)")
    from aicsched.fleet.sample_jobs import sample_jobs

    return sample_jobs(fleet)


def print_plan(run: PlanRun) -> None:
    """Print a plan beside the baselines.

    Parameters
    ----------
    run : PlanRun
        What was planned.
    """
    from aicsched.units import format_mass
    from aicsched.workflow import summary

    facts = summary(run)
    rows = [
        (
            name,
            format_mass(item["total_g"]),
            f"{item['saved_share']:.1%}",
            format_mass(item["realised_g"]) if item["realised_g"] is not None else "not known yet",
            f"{item['mean_delay_h']:.1f} h",
        )
        for name, item in facts["policies"].items()
    ]
    rows += [(name, "no feasible plan", "", "", "") for name in run.unplaced]
    title = f"{facts['jobs']} jobs, {facts['regions']} regions, {facts['horizon_h']:g} h from {facts['at']}"
    print_table(title, ("policy", "emits (forecast)", "saves", "emits (actual)", "mean wait"), rows)
    if facts["money"] is None:
        gap = "no bound" if facts["gap"] is None else f"at most {facts['gap']:.2%} from optimal"
        console().print(f"The plan is {gap} ({facts['method']}); checked by an independent validator.")
        _print_risk(facts["risk"])
        _print_caps(facts)
    else:
        print_money(facts["money"])
    for note in run.notes:
        console().print(f"[dim]note: {note}[/dim]")
    if run.synthetic:
        console().print("[yellow]synthetic data: parts of the input are the embedded sample[/yellow]")


def _print_risk(facts: Mapping[str, Any] | None) -> None:
    """Print how the plan does in bad scenarios, beside the plan of least expected grams."""
    from aicsched.units import format_mass

    if facts is None:
        return
    other = facts["expected_plan"]
    rows = [
        ("this plan", format_mass(facts["cvar_g"]), format_mass(facts["fresh_cvar_g"])),
        ("least expected grams", format_mass(other["cvar_g"]), format_mass(other["fresh_cvar_g"])),
    ]
    title = f"{facts['measure']} of all grams, {facts['scenarios']} scenarios"
    print_table(title, ("plan", "as planned", "in as many fresh scenarios"), rows)
    gap = (
        "without a bound" if facts["gap"] is None else f"at most {facts['gap']:.2%} above the least possible"
    )
    console().print(f"Its {facts['measure']} is {gap}.")


def _print_caps(facts: Mapping[str, Any]) -> None:
    """Print what the limits that bind cost."""
    from aicsched.units import format_mass

    rows = [
        (
            cap["region"],
            format_mass(cap["worth_g"]),
            format_mass(cap["g_per_more_vcpu"]),
            str(cap["binding_slots"]),
            cap["fullest_slots"][0],
        )
        for cap in facts["caps"]
        if cap["fullest_slots"]
    ]
    if not rows:
        console().print("No limit of vCPUs costs anything at the plan's prices.")
        return
    columns = ("region", "limit costs", "one more vCPU saves at most", "full slots", "fullest at")
    print_table(
        "What the capacity limits cost, at the plan's prices and as if jobs could be split", columns, rows
    )
