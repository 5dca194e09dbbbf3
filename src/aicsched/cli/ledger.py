"""``aicsched ledger``: read and verify what was decided."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aicsched.cli.output import AsJson, console, emit_json, print_table

app = typer.Typer(help="The ledger of decisions.", no_args_is_help=True)
LedgerPath = Annotated[Path, typer.Argument(help="The ledger file.")]


@app.callback()
def group() -> None:
    """The ledger of decisions."""


@app.command("verify")
def verify(path: LedgerPath, as_json: AsJson = False) -> None:
    """Recompute the hash chain; exit code 3 when an entry was changed, lost or moved."""
    from aicsched.account.ledger import Ledger

    with Ledger(path, read_only=True) as ledger:
        report = ledger.verify()
    if as_json:
        emit_json({"path": str(path), "entries": report.entries, "head": report.head, "intact": True})
        return
    console().print(f"{path}: {report.entries} entries, the chain is intact, head {report.head[:16]}…")


@app.command("show")
def show(
    path: LedgerPath,
    job: Annotated[str | None, typer.Option("--job", help="Only this job or node.")] = None,
    limit: Annotated[int, typer.Option("--limit", help="At most this many, newest last.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Show decisions with what they emit and avoid."""
    import dataclasses

    from aicsched.account.ledger import Ledger
    from aicsched.slots import format_time
    from aicsched.units import format_mass

    with Ledger(path, read_only=True) as ledger:
        decisions = list(ledger.entries(limit=limit, subject=job))
    if as_json:
        rows = [dataclasses.asdict(item) | {"avoided_g": item.avoided_g} for item in decisions]
        emit_json({"path": str(path), "decisions": rows})
        return
    cells = [
        (
            item.subject,
            item.region,
            format_time(item.start_s),
            format_mass(item.operational_g),
            format_mass(item.avoided_g),
            item.reason,
        )
        for item in decisions
    ]
    print_table(f"Decisions in {path}", ("subject", "region", "start", "emits", "avoids", "reason"), cells)
