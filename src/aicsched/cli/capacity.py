"""``aicsched capacity``: how much more fits, until when, and who lives on when a region is lost."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aicsched.cli.options import (
    At,
    Carbon,
    Column,
    FleetFile,
    Kind,
    Model,
    Services,
    TimeZone,
    Unit,
    open_carbon,
    open_fleet,
    open_services,
    open_telemetry,
    planning_time,
    zone_forecasts,
)
from aicsched.cli.output import AsJson, console, emit_json, output_folder, print_table
from aicsched.errors import InputError

if TYPE_CHECKING:
    from aicsched.capacity import DrillResult, Growth
    from aicsched.domain.fleet import Fleet
    from aicsched.domain.service import Service
    from aicsched.place.failover import FailoverPlan, FailoverProblem

__all__ = ["app"]

HELP = "Headroom at the 95 % quantile of demand, growth, and drills: what happens when a region is lost."
_WEEK_H = 168
_SHOWN = 12
_SPREAD = "LOW:USUAL:HIGH"
_SYNTHETIC = "[yellow]synthetic data: parts of the input are the embedded sample[/yellow]"

app = typer.Typer(help=HELP, no_args_is_help=True)

TelemetryFile = Annotated[str | None, typer.Option("--telemetry", help="Node telemetry, CSV or parquet.")]
Level = Annotated[
    float, typer.Option("--level", metavar="SHARE", min=0.5, max=1, help="Quantile of demand that must fit.")
]
Mode = Annotated[str, typer.Option("--mode", help="dedicated: a reserve each; shared: one for all.")]


@app.callback()
def group() -> None:
    """Headroom at the 95 % quantile of demand, growth, and drills: what happens when a region is lost."""


@app.command("headroom")
def headroom(
    fleet: FleetFile = None,
    telemetry: TelemetryFile = None,
    services: Services = None,
    level: Level = 0.95,
    mode: Mode = "dedicated",
    as_json: AsJson = False,
) -> None:
    """Show how much more demand fits while any one region, or zone of a pool, may be lost."""
    from aicsched.capacity import fleet_headroom

    sites = open_fleet(fleet)
    seen = open_telemetry(telemetry, sites)
    rows = fleet_headroom(sites, seen, level=level)
    work = open_services(services, sites) if services is not None or sites.synthetic else ()
    grown = _services_growth(work, sites, mode) if work else None
    synthetic = sites.synthetic or seen.synthetic
    if as_json:
        found = [asdict(row) | {"free": row.free, "sentence": row.sentence()} for row in rows]
        emit_json({"headroom": found, "services": grown, "level": level, "synthetic": synthetic})
        return
    cells = [
        (
            row.name,
            row.resource,
            f"{row.capacity:,.0f}",
            f"{row.demand:,.0f}",
            f"{row.fits:,.0f}",
            row.binding,
        )
        for row in rows
        if row.scope != "pool" or not row.survives
    ]
    columns = ("place", "resource", "capacity", f"demand (P{level * 100:g})", "more fits", "then binds")
    print_table("Headroom with any one loss survived [vCPU, GiB]", columns, cells)
    hidden = len(rows) - len(cells)
    console().print(f"{hidden} node pools outlive the loss of a zone or machine (see --json).")
    if grown:
        console().print(grown["sentence"])
    if synthetic:
        console().print(_SYNTHETIC)


def _services_growth(work: tuple[Service, ...], sites: Fleet, mode: str) -> dict[str, Any]:
    """Return by how much services may grow, all alike, where they may run only in some regions."""
    from aicsched.place.failover import build_failover, least_fill
    from aicsched.slots import HOUR_S, SlotGrid

    fill = least_fill(build_failover(work, sites, None, SlotGrid(0, HOUR_S, 1)), _mode(mode))
    more = 1 / fill.upper - 1
    binding = ", ".join(fill.binding[:3])
    words = f"may grow by {more:.0%}" if more >= 0 else f"must shrink by {-more:.0%}"
    words += f" for any one loss to be survived, {mode} reserve included (binding: {binding})"
    return {
        "count": len(work),
        "may_grow_share": more,
        "at_most_share": 1 / fill.lower - 1,
        "binding": list(fill.binding),
        "mode": mode,
        "sentence": f"{len(work)} services, as far as their regions and latencies allow, {words}.",
    }


def _mode(name: str) -> Any:  # noqa: ANN401 - imported late
    from aicsched.place.failover import FailoverMode

    if name not in set(FailoverMode):
        msg = f"'{name}' is no mode"
        raise InputError(msg, hint="use dedicated or shared", value=name)
    return FailoverMode(name)


def _problem(work: tuple[Service, ...], sites: Fleet, curves: dict[str, Any]) -> FailoverProblem:
    from aicsched.place.failover import build_failover

    return build_failover(work, sites, curves, next(iter(curves.values())).slots)


@app.command("growth")
def growth(
    fleet: FleetFile = None,
    telemetry: TelemetryFile = None,
    level: Level = 0.95,
    kind: Annotated[
        str, typer.Option("--growth", help="linear: an amount a day; compound: a share a day.")
    ] = "linear",
    as_json: AsJson = False,
) -> None:
    """Show how fast demand grows, and when each region, or the fleet with one lost, is full."""
    from aicsched.capacity import fleet_outlook

    if kind not in {"linear", "compound"}:
        msg = f"'{kind}' is no kind of growth"
        raise InputError(msg, hint="use linear or compound", value=kind)
    sites = open_fleet(fleet)
    seen = open_telemetry(telemetry, sites)
    rows = fleet_outlook(sites, seen, level=level, kind="linear" if kind == "linear" else "compound")
    synthetic = sites.synthetic or seen.synthetic
    if as_json:
        found = [asdict(row) | {"flat": row.growth.flat, "sentence": row.sentence()} for row in rows]
        emit_json({"growth": found, "level": level, "synthetic": synthetic})
        return
    cells = [
        (
            row.name,
            row.resource,
            f"{row.growth.level:,.0f}",
            f"{row.growth.limit:,.0f}",
            _rate(row.growth),
            *(_days(row.growth.exhausted_in_days[at]) for at in (1, 0, 2)),
        )
        for row in rows
    ]
    columns = (
        "place", "", "now", "limit", "a day (80 %)", "full [days]", "earliest", "latest",
    )  # fmt: skip
    print_table(f"Growth of the P{level * 100:g} of each day [vCPU, GiB]", columns, cells)
    console().print(f"From {rows[0].growth.days} days; the fleet's limit is what its largest loss leaves.")
    if synthetic:
        console().print(_SYNTHETIC)


def _days(value: float) -> str:
    return f"{value:,.0f}" if value < float("inf") else "never"


def _rate(grown: Growth) -> str:
    low, mid, high = grown.per_day
    if grown.kind == "compound":
        return f"{mid:+.2%} ({low:+.2%} to {high:+.2%})"
    return f"{mid:+.3g} ({low:+.3g} to {high:+.3g})"


@app.command("drill")
def drill(
    lose: Annotated[
        str | None, typer.Option("--lose", metavar="NAME", help="Region or failure group (default: each).")
    ] = None,
    fleet: FleetFile = None,
    services: Services = None,
    as_is: Annotated[
        bool, typer.Option("--as-is", help="Nothing is reserved: work is at home and moves to what is free.")
    ] = False,
    mode: Mode = "dedicated",
    warm: Annotated[bool, typer.Option("--warm", help="Reserved pods run already.")] = False,
    detection: Annotated[
        str, typer.Option(help="Until the loss is noticed [s], low:usual:high.")
    ] = "20:45:90",
    shift: Annotated[str, typer.Option(help="Until traffic is elsewhere [s].")] = "20:60:90",
    pod_start: Annotated[str, typer.Option(help="Until an ordered pod is ready [s].")] = "3:10:40",
    pods_per_s: Annotated[str, typer.Option(help="Pods a region can start at once [1/s].")] = "5:10:20",
    restore: Annotated[str, typer.Option(help="Data a region can restore [GB/s].")] = "0.5:1:2",
    carbon: Carbon = None,
    column: Column = None,
    unit: Unit = None,
    kind: Kind = None,
    time_zone: TimeZone = None,
    at: At = None,
    model: Model = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for a page with pictures.")] = None,
    as_json: AsJson = False,
) -> None:
    """Lose a region: who lives on where, who does not fit, and how soon all is whole again."""
    from aicsched.capacity import DrillFacts, Spread, run_drill
    from aicsched.cli.progress import stages

    facts = DrillFacts(
        detection_s=Spread.parse(detection), shift_s=Spread.parse(shift), pod_start_s=Spread.parse(pod_start),
        pods_per_s=Spread.parse(pods_per_s), restore_gb_per_s=Spread.parse(restore), warm=warm,
    )  # fmt: skip
    folder = None if out is None else output_folder(out)
    sites = open_fleet(fleet)
    work = open_services(services, sites)
    with stages(quiet=as_json) as progress:
        progress("forecast")
        source = open_carbon(carbon, column=column, unit=unit, kind=kind, time_zone=time_zone)
        zones = sorted({region.grid_zone for region in sites.regions})
        curves = zone_forecasts(
            source, zones, at_s=planning_time(at, source), horizon_h=_WEEK_H, model=model or "auto"
        )[1]
        progress("place")
        cost_g = _grams(sites, curves)
        plan = None if as_is else _planned(work, sites, curves, mode)
        names = [lose] if lose else list(dict.fromkeys(r.failure_group or r.name for r in sites.regions))
        progress("drill")
        results = [
            run_drill(work, sites, name, plan=plan, cost_g_per_vcpu_h=cost_g, facts=facts) for name in names
        ]
    synthetic = sites.synthetic or any(curve.synthetic for curve in curves.values())
    files: dict[str, str] = {}
    if folder is not None:
        from aicsched.report.drill_page import write_drill_report

        page = write_drill_report(results, folder / "drill.html", plan=plan, synthetic=synthetic)
        files = {"page": str(page)}
        if plan is not None:
            files["plan"] = str(_write_plan(plan, folder / "failover-plan.json"))
    if as_json:
        found = [result.summary() for result in results]
        emit_json({"drills": found, "plan": _plan_facts(plan), "files": files, "synthetic": synthetic})
        return
    _print_drill(results, plan, files)
    if synthetic:
        console().print(_SYNTHETIC)


def _grams(sites: Fleet, curves: dict[str, Any]) -> dict[str, float]:
    """Return what a busy thread emits in each region on average [g/h]."""
    return {
        region.name: region.power_w_per_vcpu
        * region.pue
        * float(curves[region.grid_zone].mean_g_per_kwh.mean())
        / 1000.0
        for region in sites.regions
    }


def _planned(work: tuple[Service, ...], sites: Fleet, curves: dict[str, Any], mode: str) -> FailoverPlan:
    from aicsched.place.failover import solve_failover
    from aicsched.place.failover.check import check_failover

    chosen = _mode(mode)
    problem = _problem(work, sites, curves)
    plan = solve_failover(problem, chosen, gap=1e-4 if chosen == "dedicated" else 1e-3)
    check_failover(plan)
    return plan


def _plan_facts(plan: FailoverPlan | None) -> dict[str, Any] | None:
    if plan is None:
        return None
    proof, demand = plan.certificate, float(plan.problem.demand_vcpus.sum())
    prices = dict(zip(plan.problem.regions, plan.prices_g_per_vcpu_h.tolist(), strict=True))
    return {
        "mode": str(plan.mode),
        "total_g_per_h": plan.total_g,
        "lower_bound_g_per_h": proof.lower_bound_g,
        "gap": proof.gap,
        "method": proof.method,
        "iterations": proof.iterations,
        "reserve_share": float(plan.spare_vcpus.sum()) / demand,
        "prices_g_per_vcpu_h": prices,
        "checked": True,
    }


def _write_plan(plan: FailoverPlan, path: Path) -> Path:
    import json

    from aicsched.files import write_text

    document = {"plan": _plan_facts(plan), "services": plan.rows()}
    return write_text(path, json.dumps(document, indent=1, sort_keys=True) + "\n")


def _print_drill(results: list[DrillResult], plan: FailoverPlan | None, files: dict[str, str]) -> None:
    if plan is None:
        console().print("Nothing is reserved: lost work goes where room is left, the urgent first.")
    else:
        facts = _plan_facts(plan) or {}
        console().print(
            f"N+1 plan ({plan.mode} reserve, {facts['reserve_share']:.0%} of demand): "
            f"{plan.total_g / 1000:.2f} kg an hour, at most {facts['gap']:.2%} from optimal; "
            "checked by an independent validator."
        )
    rows = [
        (
            result.lost,
            str(len(result.rows)),
            f"{result.lost_vcpus:,.0f}",
            f"{result.unserved_vcpus:,.0f}",
            f"{max((row.rto_s[1] for row in result.rows), default=0):.0f} s",
            f"{max((row.rto_s[2] for row in result.rows), default=0):.0f} s",
            f"{sum(row.meets_rto for row in result.rows)}/{len(result.rows)}",
            f"{sum(row.meets_rpo for row in result.rows)}/{len(result.rows)}",
        )
        for result in results
    ]
    limits = results[0].facts
    columns = (
        "lost", "hit", "vCPUs", "no room", "slowest", "95 %", f"RTO {limits.rto_limit_s:g} s",
        f"RPO {limits.rpo_limit_s:g} s",
    )  # fmt: skip
    print_table("Drill", columns, rows)
    if len(results) == 1:
        for row in results[0].rows[:_SHOWN]:
            console().print(f"  {row.sentence()}")
    for name, path in files.items():
        console().print(f"{name}: {path}")
