"""``aicsched simulate``: policies over a trace of jobs and of intensities."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aicsched.cli.output import AsJson, console, emit_json, print_table
from aicsched.cli.regions import losses, places
from aicsched.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aicsched.executor import Executor
    from aicsched.simulate import Places, Result, Trace, Truth

__all__ = ["simulate"]

_DEFAULT = "no_wait,lowest_slot,lowest_window,carbon_time,price,ecovisor_threshold,wait_awhile"


def simulate(
    jobs: Annotated[
        Path,
        typer.Option("--jobs", metavar="FILE", help="Trace with the columns arrival_time, length and cpus."),
    ],
    carbon: Annotated[
        list[str],
        typer.Option(
            "--carbon",
            metavar="FILE…",
            help="Carbon intensity, a row a slot; several zones make several regions, ZONE=FILE names one.",
        ),
    ],
    policy: Annotated[
        list[str] | None,
        typer.Option("--policy", metavar="NAME…", help="Which policies, repeated or with commas."),
    ] = None,
    start_hour: Annotated[
        str,
        typer.Option("--start-hour", metavar="H,…", help="Hour of the intensity where jobs begin."),
    ] = "0",
    wait: Annotated[
        str, typer.Option("--wait", metavar="HxH,…", help="How long jobs of each queue may be idle [h].")
    ] = "6x24",
    queue_limit: Annotated[
        str, typer.Option("--queue-limit", metavar="H,…", help="Below it a job is in the shorter queue [h].")
    ] = "2",
    knows: Annotated[
        str,
        typer.Option("--knows", metavar="mean|lives|past", help="What is known of lengths, by queue."),
    ] = "mean",
    time_unit: Annotated[
        str | None, typer.Option("--time-unit", metavar="s|min|h", help="Unit of the times in the trace.")
    ] = None,
    fleet: Annotated[
        Path | None,
        typer.Option("--fleet", help="Regions with zone, capacity, power and PUE, JSON or CSV."),
    ] = None,
    home: Annotated[
        str | None, typer.Option("--home", metavar="REGION", help="Home of jobs that don't say theirs.")
    ] = None,
    outage: Annotated[
        list[str] | None,
        typer.Option("--outage", metavar="REGION=H-H…", help="A region is lost from hour to hour."),
    ] = None,
    rto: Annotated[
        float,
        typer.Option("--rto", metavar="H", min=0, help="How long after a loss work can go on elsewhere [h]."),
    ] = 0.0,
    column: Annotated[str | None, typer.Option("--column", help="Which column holds the intensity.")] = None,
    repeat_carbon: Annotated[
        bool, typer.Option("--repeat-carbon", help="Begin the intensity anew where it ends before the jobs.")
    ] = False,
    reserved: Annotated[
        str, typer.Option("--reserved", metavar="CPUS,…", help="Reserved CPUs, paid in any case.")
    ] = "0",
    cap: Annotated[
        float | None,
        typer.Option("--cap", metavar="CPUS", min=0, help="No more CPUs are busy at once, in each region."),
    ] = None,
    tick: Annotated[
        float | None,
        typer.Option(
            "--tick",
            metavar="S",
            min=0,
            help="Go by ticks, as published figures do; 0: exact. By default 5, among several regions 0.",
        ),
    ] = None,
    watts: Annotated[float, typer.Option("--watts-per-cpu", min=0, help="Power of a busy CPU [W].")] = 1.0,
    suspend_cost: Annotated[
        float,
        typer.Option("--suspend-cost", metavar="S", min=0, help="To save and to load a state [s]."),
    ] = 0.0,
    spot_loss: Annotated[
        float, typer.Option("--spot-loss", metavar="RATE", min=0, help="Spot machines lost per hour.")
    ] = 0.0,
    checkpoint: Annotated[
        float,
        typer.Option("--checkpoint", metavar="S", min=0, help="How often work is saved against losses [s]."),
    ] = 0.0,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of what goes wrong.")] = 0,
    processes: Annotated[int, typer.Option("--processes", min=1, help="Processes to use.")] = 1,
    dask: Annotated[
        str | None, typer.Option("--dask", metavar="ADDRESS", help="Run on this Dask scheduler instead.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Simulate policies over a trace of jobs: emissions, waits and costs beside those of not waiting."""
    from aicsched.simulate import Costs, Queues, World, read_trace, read_truths
    from aicsched.simulate.sweep import cases, sweep

    trace = read_trace(jobs, time_unit=time_unit)
    truths = read_truths(carbon, column=column)
    several = len(truths) > 1 or fleet is not None
    ticks = (0.0 if several else 5.0) if tick is None else tick
    room = float("inf") if cap is None else cap
    limits = _numbers(queue_limit, "--queue-limit")
    wanted = cases(
        [name for item in policy or [_DEFAULT] for name in item.split(",") if name.strip()],
        starts_h=_numbers(start_hour, "--start-hour"),
        queues=[Queues.parse(item, limits) for item in wait.split(",")],
        worlds=[
            World(
                reserved_vcpus=size, save_s=suspend_cost, load_s=suspend_cost, spot_loss_per_h=spot_loss,
                checkpoint_s=checkpoint, seed=seed, cap_vcpus=room, costs=Costs(watts_per_vcpu=watts),
                outages=() if several else losses(outage or (), ["site"]).get("site", ()),
            )
            for size in _numbers(reserved, "--reserved")
        ],
        tick_s=ticks,
        knows=knows,
    )  # fmt: skip
    if repeat_carbon:
        latest = max(case.start_h * 3600 + max(case.queues.waits_s) for case in wanted)
        least_s = latest + float((trace.arrival_s + trace.length_s).max())
        truths = {zone: truth.repeated(least_s) for zone, truth in truths.items()}
    where: Truth | Places = next(iter(truths.values()))
    if several:
        where = places(truths, wanted[0].world, jobs, fleet=fleet, home=home, outage=outage or (), rto_h=rto)
    results = sweep(trace, where, wanted, executor=_executor(dask, processes))
    if as_json:
        emit_json(_payload(trace, where, results, ticks))
        return
    _print(trace, results, ticks)


def _numbers(text: str, flag: str) -> list[float]:
    try:
        return [float(item) for item in text.split(",")]
    except ValueError as error:
        msg = f"{flag} {text} is no list of numbers"
        raise ConfigError(msg, hint="separate them by commas", value=text) from error


def _executor(dask: str | None, processes: int) -> Executor | None:
    from aicsched.executor import DaskExecutor, ProcessExecutor

    if dask is not None:
        return DaskExecutor(dask)
    return ProcessExecutor(processes) if processes > 1 else None


def _payload(trace: Trace, where: Truth | Places, results: Sequence[Result], tick_s: float) -> dict[str, Any]:
    from aicsched.simulate import Truth

    step_s = where.step_s if isinstance(where, Truth) else where.sites.sites[0].truth.step_s
    return {
        "policies": [item.as_dict() for item in results],
        "baseline": "no_wait",
        "jobs": len(trace),
        "time_unit": trace.time_unit,
        "tick_s": tick_s,
        "slot_s": step_s,
        "watts_per_cpu": results[0].case.world.costs.watts_per_vcpu,
    }


def _print(trace: Trace, results: Sequence[Result], tick_s: float) -> None:
    from aicsched.units import format_mass

    several = len({(item.case.start_h, item.case.queues, item.case.world) for item in results}) > 1
    regions = results[0].regions is not None
    rows: list[tuple[str, ...]] = []
    for item in results:
        facts = item.as_dict()
        which = (f"{facts['start_hour']:g}", _waits(item), f"{item.case.world.reserved_vcpus:g}")
        rows.append(
            (
                facts["policy"],
                *(which if several else ()),
                format_mass(facts["carbon_g"]),
                f"{facts['carbon_ratio']:.4f}",
                f"{facts['mean_wait_h']:.2f}",
                f"{facts['cost']:.2f}",
                f"{facts['suspended_jobs']}",
                facts["lengths"],
                *((facts["region_choice"], f"{facts['moves']}", f"{facts['requeued']}") if regions else ()),
            )
        )
    heads = ("emits", "ratio", "wait [h]", "cost", "suspended", "lengths")
    heads += ("regions", "moves", "requeued") if regions else ()
    more = ("start [h]", "slack [h]", "reserved") if several else ()
    slack = "" if several else f", slack {_waits(results[0])} h"
    cap = results[0].case.world.cap_vcpus
    limit = f"at most {cap:g} CPUs" if isinstance(cap, float) and cap < float("inf") else "no cap"
    room = f"{len(results[0].regions)} regions" if results[0].regions else limit
    print_table(f"{len(trace)} jobs{slack}, {room}", ("policy", *more, *heads), rows)
    note = f"Perfect forecasts; times in ticks of {tick_s:g} s." if tick_s else "Perfect forecasts."
    console().print(f"{note} Ratio: to no_wait. Lengths: what the policy knew of them.")


def _waits(item: Result) -> str:
    return "x".join(f"{hours:g}" for hours in item.as_dict()["slack_h"])
