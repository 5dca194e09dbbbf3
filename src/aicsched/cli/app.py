"""The application: its commands, and how faults leave it.

Exit codes: 0 done, 2 bad input, 3 infeasible or unavailable, 1 a defect of ours,
130 interrupted. No traceback reaches a user unless ``--debug`` asks for it.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import traceback
import warnings
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from aicsched import __version__
from aicsched.cli import (
    backtest,
    capacity,
    cloud_regions,
    config,
    demo,
    doctor,
    fleet,
    forecast,
    gates,
    ledger,
    place_nodes,
    plan,
    recycle,
    schema,
    score,
    serve,
    signals,
    simulate,
    telemetry,
)
from aicsched.errors import AicschedError, AicschedWarning, Infeasible

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["expand_repeated", "main"]

# These take several values after one flag, so that a shell's glob works: --carbon zones/*.parquet
REPEATED: Final = frozenset({"--carbon", "--policy", "--prices", "--weather"})
DEFECT: Final = 1
# Nearly all that a command makes lives to its end: looking through it for rubbish again and again, as at
# Python's thresholds, takes a tenth of the demonstration's time and frees next to nothing.
GC_THRESHOLDS: Final = (50_000, 20, 20)
INTERRUPTED: Final = 130

app = typer.Typer(
    name="aicsched",
    help="Carbon-aware scheduling: from real signals to a plan with a proof, and a ledger of it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command("demo")(demo.demo)
app.command("plan")(plan.plan)
app.command("place-nodes")(place_nodes.place_nodes)
app.command("forecast")(forecast.forecast)
app.command("backtest")(backtest.backtest)
app.command("simulate")(simulate.simulate)
app.add_typer(score.app, name="score")
signals.app.command("telemetry")(telemetry.telemetry)
app.add_typer(signals.app, name="signals")
app.add_typer(fleet.app, name="fleet")
app.add_typer(capacity.app, name="capacity")
app.add_typer(recycle.app, name="recycle")
app.add_typer(ledger.app, name="ledger")
app.command("regions")(cloud_regions.regions)
app.command("serve")(serve.serve)
app.command("gates")(gates.gates)
app.command("doctor")(doctor.doctor)
app.add_typer(config.app, name="config")
app.command("schema")(schema.schema)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"aicsched {__version__}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of a fault.")] = False,
) -> None:
    """Carbon-aware scheduling: from real signals to a plan with a proof, and a ledger of it."""


def expand_repeated(arguments: list[str]) -> list[str]:
    """Repeat a flag in front of each of its values.

    Parameters
    ----------
    arguments : list of str
        What the user typed.

    Returns
    -------
    list of str
        The same with ``--carbon a b`` written as ``--carbon a --carbon b``.

    Examples
    --------
    >>> expand_repeated(["plan", "--carbon", "a.csv", "b.csv", "--at", "now"])
    ['plan', '--carbon', 'a.csv', '--carbon', 'b.csv', '--at', 'now']
    """
    expanded: list[str] = []
    flag = ""
    values = 0
    for argument in arguments:
        if argument.startswith("-"):
            flag, values = (argument if argument in REPEATED else ""), 0
        elif flag:
            values += 1
            if values > 1:
                expanded.append(flag)
        expanded.append(argument)
    return expanded


def _report(error: AicschedError, *, as_json: bool) -> int:
    if as_json:
        fault: dict[str, object] = {"code": error.code, "message": error.message, "hint": error.hint}
        if isinstance(error, Infeasible):
            fault["constraints"] = list(error.constraints)
        typer.echo(json.dumps({"error": fault}, indent=2, sort_keys=True))
    typer.echo(f"aicsched: {error}", err=True)
    return error.exit_code


def _warn(others: Callable[..., None]) -> Callable[..., None]:
    """Return what prints our own warnings as one line, and leaves others as they are."""

    def show(message: Warning | str, category: type[Warning], *rest: Any) -> None:
        if issubclass(category, AicschedWarning):
            typer.echo(f"aicsched: warning: {message}", err=True)
        else:
            others(message, category, *rest)

    return show


def _run(arguments: list[str]) -> int:
    as_json = "--json" in arguments
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always", AicschedWarning)
            warnings.showwarning = _warn(warnings.showwarning)
            result = app(
                args=expand_repeated(arguments or ["--help"]), prog_name="aicsched", standalone_mode=False
            )
    except AicschedError as error:
        if "--debug" in arguments:
            traceback.print_exc()
        return _report(error, as_json=as_json)
    except typer.Abort:
        return INTERRUPTED
    except typer.TyperException as error:
        typer.echo(f"aicsched: {error.format_message()} (see `aicsched --help`)", err=True)
        return error.exit_code
    return result if isinstance(result, int) else 0


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit.

    Parameters
    ----------
    arguments : list of str, optional
        By default those of the process.

    Raises
    ------
    SystemExit
        Always, with the exit code.
    """
    given = sys.argv[1:] if arguments is None else arguments
    gc.set_threshold(*GC_THRESHOLDS)
    try:
        code = _run(given)
        sys.stdout.flush()
    except KeyboardInterrupt:
        typer.echo("aicsched: interrupted", err=True)
        code = INTERRUPTED
    except BrokenPipeError:
        # The reader (head, less) went away: that is no fault, but Python must not complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except Exception as error:  # noqa: BLE001 - the last line of defence: no traceback reaches a user
        if "--debug" in given:
            traceback.print_exc()
        hint = (
            "this is a defect of aicsched: please report it with the output of the same command and --debug"
        )
        typer.echo(f"aicsched: internal error: {type(error).__name__}: {error}; {hint}", err=True)
        code = DEFECT
    raise SystemExit(code)
