"""``aicsched signals``: what is known of carbon signals, fetching more, and what was known when."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aicsched.cli.options import (
    Carbon,
    Column,
    Kind,
    Lag,
    TimeZone,
    Unit,
    open_carbon,
    open_store,
    stored_carbon,
)
from aicsched.cli.output import AsJson, ConfigFile, console, emit_json, print_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aicsched.domain.carbon import CarbonSeries, IntensityKind
    from aicsched.signals.base import CarbonSource
    from aicsched.signals.live import LastKnownGood
    from aicsched.signals.store import SignalStore, StoredSeries, Tries
    from aicsched.slots import SlotGrid

app = typer.Typer(
    help="Carbon signals: the last known good values, and what was known when.", no_args_is_help=True
)

Store = Annotated[
    Path | None,
    typer.Option("--store", help="The store; else signals.store of the settings (signals.db)."),
]
Zones = Annotated[list[str] | None, typer.Option("--zone", help="Only this grid zone (repeat for more).")]
At = Annotated[str | None, typer.Option("--at", metavar="ISO", help="A time with offset; by default now.")]
From = Annotated[str | None, typer.Option("--from", metavar="ISO", help="Start of the window, with offset.")]
To = Annotated[str | None, typer.Option("--to", metavar="ISO", help="End of the window, with offset.")]
UNAVAILABLE = 3
# More zones than this are not meant when none is named.
MANY = 24


@app.callback()
def group() -> None:
    """Carbon signals: the last known good values, and what was known when."""


def _store(path: Path | None, config: Path | None, *, read_only: bool) -> SignalStore:
    from aicsched.config import load_settings

    return open_store(load_settings(config).signals, path, read_only=read_only)


def _now_s(at: str | None) -> int:
    from aicsched.slots import parse_time

    return int(time.time()) if at is None else parse_time(at)


def _time(epoch_s: int | None) -> str | None:
    from aicsched.slots import format_time

    return None if not epoch_s else format_time(epoch_s)


def _short(row: dict[str, Any]) -> str:
    """Return a source without the zone, which stands beside it."""
    return str(row["source"]).removesuffix(f"#{row['zone']}")


# ---------------------------------------------------------------- status
def _status_row(item: StoredSeries, tried: Tries | None, now_s: int) -> dict[str, Any]:
    from aicsched.signals.staleness import SKEW_LIMIT_S, staleness

    age_s = now_s - item.end_s - item.lag_s if item.slots else None
    skewed = tried is not None and abs(tried.skew_s or 0) > SKEW_LIMIT_S
    return {
        "source": item.key.source,
        "zone": item.key.grid_zone,
        "kind": str(item.key.kind),
        "step_s": item.key.step_s,
        "state": str(staleness(age_s, item.key.step_s, skewed=skewed)),
        "newest_slot_end": _time(item.end_s),
        "age_s": None if age_s is None else max(0, age_s),
        "lag_s": item.lag_s,
        "slots": item.slots,
        "gaps": item.gaps,
        "revisions": item.revisions,
        "read": _time(item.read_s),
        "synthetic": item.synthetic,
        "failures": tried.failures if tried else 0,
        "last_error": tried.error if tried and tried.error else None,
        "last_error_time": _time(tried.error_s) if tried else None,
        "clock_skew_s": tried.skew_s if tried else None,
        "refused": dict(tried.refusals) if tried else {},
    }


def _never_read(item: Tries) -> dict[str, Any]:
    return {
        "source": item.source,
        "zone": item.grid_zone,
        "state": "neutral",
        "slots": 0,
        "failures": item.failures,
        "last_error": item.error or None,
        "last_error_time": _time(item.error_s),
        "refused": dict(item.refusals),
    }


@app.command("status")
def status(store: Store = None, at: At = None, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Show per source and zone the newest slot, its age and state, gaps, revisions and the last error."""
    now_s = _now_s(at)
    with _store(store, config, read_only=True) as held:
        # How reading went is kept of the last try only: an earlier time knows nothing of it.
        tries = {
            (item.source, item.grid_zone): item
            for item in held.tries()
            if at is None or item.tried_s <= now_s
        }
        series = held.series(at_s=None if at is None else now_s)
        damaged = [str(path) for path in held.damaged]
        path = str(held.path)
    rows = [_status_row(item, tries.get(item.key[:2]), now_s) for item in series]
    seen = {item.key[:2] for item in series}
    rows += [_never_read(item) for place, item in tries.items() if place not in seen]
    if as_json:
        emit_json({"store": path, "at": _time(now_s), "damaged": damaged, "signals": rows})
        return
    cells = [
        (
            row["zone"],
            _short(row),
            row["state"],
            row.get("newest_slot_end") or "never",
            "" if row.get("age_s") is None else f"{row['age_s'] / 3600:.1f}",
            f"{row['slots']} / {row.get('gaps', 0)} / {row.get('revisions', 0)}",
            row["last_error"] or "",
        )
        for row in rows
    ]
    heading = (
        "zone",
        "source",
        "state",
        "newest slot ends",
        "age [h]",
        "slots / gaps / revised",
        "last error",
    )
    print_table(f"Signals in {path} at {_time(now_s)}", heading, cells)
    for name in damaged:
        console().print(f"[yellow]damaged, and set aside: {name}[/yellow]")


# ---------------------------------------------------------------- fetch
def _window(start: str | None, end: str | None, step_s: int, now_s: int) -> SlotGrid | None:
    from aicsched.errors import InputError
    from aicsched.slots import SlotGrid, format_time, parse_time

    if start is None:
        if end is not None:
            msg = "--to without --from names no window"
            raise InputError(msg, hint="add --from")
        return None
    first_s = parse_time(start) // step_s * step_s
    last_s = now_s if end is None else parse_time(end)
    if last_s - first_s < step_s:
        till = format_time(last_s)
        msg = f"from {start} to {till} there is no {'time' if step_s == 1 else 'whole hour'}"
        raise InputError(msg, hint="let --to (by default now) lie after --from", value=till)
    return SlotGrid(first_s, step_s, (last_s - first_s) // step_s)


def _asked(
    held: SignalStore, sources: dict[str, CarbonSource], zones: Sequence[str]
) -> tuple[list[tuple[LastKnownGood, str]], list[dict[str, Any]]]:
    """Return what is to be read, and a row for each source that can't name its zones."""
    from aicsched.errors import AicschedError, InputError
    from aicsched.signals.base import refuse_unknown_zone
    from aicsched.signals.live import LastKnownGood

    asked: list[tuple[LastKnownGood, str]] = []
    failed: list[dict[str, Any]] = []
    everywhere: list[str] = []
    for name, source in sources.items():
        live = LastKnownGood(source, held)
        try:
            known = live.zones()
        except AicschedError as error:
            failed.append({"source": live.source_id, "zone": "*", "new": 0, "error": error.message})
            continue
        if not zones and len(known) > MANY:
            msg = f"{name} knows {len(known)} zones"
            hint = f"say which: --zone, or zones below [signals.{name}] in the settings"
            raise InputError(msg, hint=hint, value=len(known))
        everywhere += known
        asked += [(live, zone) for zone in (zones or known) if zone in known]
    for zone in zones:
        if not failed:  # else it may be of a source that can't say
            refuse_unknown_zone(zone, everywhere, " and ".join(sources))
    return asked, failed


def _fetch_live(
    held: SignalStore,
    sources: dict[str, CarbonSource],
    zones: Sequence[str],
    window: SlotGrid | None,
    *,
    quiet: bool,
) -> list[dict[str, Any]]:
    from aicsched.cli.progress import parts
    from aicsched.errors import AicschedError

    asked, rows = _asked(held, sources, zones)
    with parts(quiet=quiet) as told:
        for number, (live, zone) in enumerate(asked, start=1):
            row: dict[str, Any] = {"source": live.source_id, "zone": zone, "error": None}
            before = _count(held)
            try:
                series = live.read(zone, window)
                row |= {"flags": list(series.flags), "newest_slot_end": _time(_newest(series))}
            except AicschedError as error:
                row["error"] = error.message
            tried = _tried(held, live.source_id, zone)
            if tried is not None and tried.failures:
                row["error"] = tried.error
            rows.append(row | {"new": _count(held) - before})
            told(f"{live.source_id} {zone}", number, len(asked))
    return rows


def _tried(held: SignalStore, source: str, zone: str) -> Tries | None:
    found = [item for item in held.tries() if (item.source, item.grid_zone) == (source, zone)]
    return found[0] if found else None


def _newest(series: CarbonSeries) -> int | None:
    from aicsched.signals.staleness import newest_end_s

    return newest_end_s(series)


def _count(held: SignalStore) -> int:
    return sum(item.slots + item.revisions for item in held.series())


def _fetch_files(
    held: SignalStore, source: CarbonSource, zones: Sequence[str], window: SlotGrid | None, at_s: int
) -> list[dict[str, Any]]:
    """Record what files or the sample held at a time, with their own reading times where they have any."""
    from dataclasses import replace

    rows: list[dict[str, Any]] = []
    for zone in zones or source.zones():
        series = source.read(zone).known_at(at_s)
        if series.source == f"{source.source_id}#{zone}":
            # The sample, whose zones have one source, as when it is declared; a file is its own.
            series = replace(series, source=source.source_id)
        if window is not None:
            series = series.window(series.slots.between(window.start_s, window.end_s))
        new = held.record(series, None if series.readings is not None else at_s)
        held.note_try(series.source, zone, at_s)
        rows.append(
            {
                "source": series.source,
                "zone": zone,
                "new": new,
                "newest_slot_end": _time(_newest(series)),
                "error": None,
            }
        )
    return rows


def _refuse_future(at_s: int) -> None:
    from aicsched.errors import InputError
    from aicsched.signals.staleness import SKEW_LIMIT_S
    from aicsched.slots import format_time

    now_s = _now_s(None)
    if at_s > now_s + SKEW_LIMIT_S:
        msg = f"nothing can have been read at {format_time(at_s)}: it is {format_time(now_s)}"
        raise InputError(msg, hint="give --at the time at which the files were read", value=at_s)


@app.command("fetch")
def fetch(
    source: Annotated[
        list[str] | None,
        typer.Option("--source", help="Only this declared source (repeat for more), or sample: offline."),
    ] = None,
    carbon: Carbon = None,
    column: Column = None,
    unit: Unit = None,
    kind: Kind = None,
    time_zone: TimeZone = None,
    lag: Lag = 0.0,
    zone: Zones = None,
    start: From = None,
    end: To = None,
    at: At = None,
    store: Store = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Read the declared sources (or files, or the sample) into the store; exit code 3 when one failed."""
    from aicsched.config import load_settings
    from aicsched.errors import InputError
    from aicsched.signals.declared import open_declared, open_source
    from aicsched.slots import HOUR_S

    settings = load_settings(config).signals
    offline = bool(carbon) or source == ["sample"]
    if carbon and source:
        msg = "--carbon reads files, and --source names declared sources"
        raise InputError(msg, hint="give one of them", value=source)
    if at is not None and not offline:
        msg = "--at is for files and the sample: a live source is read now"
        raise InputError(msg, hint="leave out --at", value=at)
    with _store(store, config, read_only=False) as held:
        if offline:
            from aicsched.signals.carbon.sample import SAMPLE_NOW_S

            opened = open_carbon(
                carbon, column=column, unit=unit, kind=kind, time_zone=time_zone, lag_h=lag, config=config
            )
            at_s = SAMPLE_NOW_S if at is None and not carbon else _now_s(at)
            _refuse_future(at_s)
            rows = _fetch_files(held, opened, zone or (), _window(start, end, HOUR_S, at_s), at_s)
        else:
            if source:
                sources = {name: open_source(name, settings.sources.get(name)) for name in source}
            else:
                sources = open_declared(settings)
            window = _window(start, end, HOUR_S, _now_s(None))
            rows = _fetch_live(held, sources, zone or (), window, quiet=as_json)
        path = str(held.path)
    _tell_fetched(path, rows, as_json=as_json)
    if any(row["error"] for row in rows):
        raise typer.Exit(UNAVAILABLE)


def _tell_fetched(path: str, rows: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        emit_json({"store": path, "fetched": rows})
        return
    cells = [
        (
            row["zone"],
            _short(row),
            str(row["new"]),
            row.get("newest_slot_end") or "",
            row["error"] or "",
        )
        for row in rows
    ]
    heading = ("zone", "source", "new values", "newest slot ends", "error")
    print_table(f"Fetched into {path}", heading, cells)


# ---------------------------------------------------------------- replay
def _kind(kind: str | None) -> IntensityKind | None:
    from aicsched.domain.carbon import IntensityKind
    from aicsched.errors import InputError, did_you_mean

    if kind is not None and kind not in set(IntensityKind):
        msg = f"'{kind}' is no kind of intensity"
        raise InputError(msg, hint=did_you_mean(kind, [str(item) for item in IntensityKind]), value=kind)
    return None if kind is None else IntensityKind(kind)


@app.command("replay")
def replay(
    zone: Zones = None,
    at: At = None,
    start: From = None,
    end: To = None,
    source: Annotated[
        list[str] | None,
        typer.Option("--source", help="Which source comes first, of several for a zone."),
    ] = None,
    kind: Kind = None,
    every: Annotated[
        bool, typer.Option("--all-readings", help="Every reading until then, not the newest of each slot.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Write CSV (or .parquet), which --carbon reads."),
    ] = None,
    store: Store = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Show what was known at a time, exactly: a table, JSON, or a file for --carbon."""
    from aicsched.config import load_settings
    from aicsched.signals.export import reading_rows, write_readings

    at_s = _now_s(at)
    window = _window(start, end, 1, at_s)
    settings = load_settings(config).signals
    with open_store(settings, store, read_only=True) as held:
        stored = stored_carbon(held, settings, order=tuple(source or ()), kind=_kind(kind), known_at_s=at_s)
        for name in source or ():
            stored.refuse_unknown_source(name)
        series = {name: stored.read_with_provenance(name) for name in (zone or stored.zones())}
    rows = [
        row
        for item, provenance in series.values()
        for row in reading_rows(item, every=every, provenance=provenance)
        if window is None or window.start_s <= row.start_s < window.end_s
    ]
    if out is not None:
        write_readings(out, rows)
    if as_json:
        emit_json(
            {
                "known_at": _time(at_s),
                "out": str(out) if out else None,
                "readings": [row.facts() for row in rows],
            }
        )
        return
    if out is not None:
        console().print(f"{len(rows)} readings of {len(series)} zones, as known at {_time(at_s)}: {out}")
        return
    cells = [tuple(str(value) for value in row.facts().values())[:-1] for row in rows]
    heading = ("zone", "slot", "g/kWh", "kind", "quality", "read", "source")
    print_table(f"Known at {_time(at_s)}", heading, cells)
