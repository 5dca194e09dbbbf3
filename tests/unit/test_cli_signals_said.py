"""``aicsched signals`` does what its options say, or says what is wrong with them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

from aicsched.cli.output import print_table
from aicsched.domain.carbon import CarbonSeries, IntensityKind
from aicsched.signals.carbon.file import FileCarbon
from aicsched.signals.carbon.sample import SAMPLE_NOW_S, SampleCarbon
from aicsched.signals.live import LastKnownGood
from aicsched.signals.store import SignalStore
from aicsched.slots import HOUR_S, SlotGrid, format_time, parse_time
from tests.cli_kit import answer, run
from tests.mix_apis_kit import UkApi
from tests.signals_kit import HandClock
from tests.upstream_kit import upstream

if TYPE_CHECKING:
    from pathlib import Path

AT = format_time(SAMPLE_NOW_S)
DAY_S = 24 * HOUR_S
SLOTS = SlotGrid(parse_time("2021-01-01T00:00Z"), HOUR_S, 4)


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AICSCHED_CONFIG", raising=False)
    return tmp_path


def series_of(source: str, values: list[float], zone: str = "DE") -> CarbonSeries:
    return CarbonSeries(
        grid_zone=zone,
        kind=IntensityKind.AVERAGE,
        source=source,
        slots=SLOTS,
        values_g_per_kwh=np.array(values),
    )


def recorded(folder: Path, *series: CarbonSeries, read_s: int = SLOTS.end_s) -> None:
    with SignalStore(folder / "signals.db") as store:
        for item in series:
            store.record(item, read_s)


# ---------------------------------------------------------------- one source, one id
def test_the_sample_is_one_series_however_it_was_read(
    capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    run(capsys, "signals", "fetch", "--source", "sample")
    with SignalStore(folder / "signals.db") as store:
        LastKnownGood(SampleCarbon(), store, clock=HandClock(SAMPLE_NOW_S)).read("syn-coal")
        sources = {key.source for key in store.series_keys()}
    assert sources == {SampleCarbon().source_id}
    assert answer(capsys, "forecast", "--zone", "syn-coal", "--at", AT, "--carbon", "store:signals.db")


def test_files_keep_their_id_when_a_zone_is_added(folder: Path) -> None:
    for zone in ("DE", "FR"):
        (folder / f"{zone}.csv").write_text("time,ci_g_per_kwh\n2021-01-01T00:00Z,400\n")
    one, two = FileCarbon([folder / "DE.csv"]), FileCarbon([folder / "DE.csv", folder / "FR.csv"])
    assert one.source_id == two.source_id == "file"
    assert FileCarbon([folder / "DE.csv"], name="meter", column="ci_g_per_kwh").source_id == (
        "meter:ci_g_per_kwh"
    )


def test_an_exact_id_goes_before_what_only_begins_like_it(
    capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    recorded(folder, series_of("file", [1.0] * 4), series_of("file:DE.csv#ci", [2.0] * 4))
    (folder / "aicsched.toml").write_text('[signals]\norder = ["file"]\n')
    told = answer(capsys, "signals", "replay", "--zone", "DE")
    assert {row["ci_g_per_kwh"] for row in told["readings"]} == {1.0}


# ---------------------------------------------------------------- several sources of a store
def test_each_slot_of_a_store_has_the_first_source_with_a_value(
    capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    nan = float("nan")
    recorded(
        folder,
        series_of("eia-930:lifecycle", [1.0, nan, 1.0, nan]),
        series_of("electricity-maps:lifecycle", [2.0, 2.0, 2.0, 2.0]),
        series_of("uk-carbon-intensity:direct", [3.0] * 4),
    )
    (folder / "aicsched.toml").write_text('[signals]\norder = ["eia", "uk", "electricity-maps"]\n')
    told = answer(capsys, "signals", "replay", "--zone", "DE", "--at", format_time(SLOTS.end_s + 1800))
    eia, maps = "eia-930:lifecycle", "electricity-maps:lifecycle"
    assert [(row["ci_g_per_kwh"], row["source"]) for row in told["readings"]] == [
        (1.0, eia),
        (2.0, maps),
        (1.0, eia),
        (2.0, maps),  # no word of burning only: it would be a jump
    ]
    assert {row["reading_time"] for row in told["readings"]} == {format_time(SLOTS.end_s)}
    told = answer(capsys, "signals", "replay", "--zone", "DE", "--source", "eia")
    assert [row["ci_g_per_kwh"] for row in told["readings"]] == [1.0, 1.0]


def test_scopes_of_a_store_meet_only_where_that_is_said(
    capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    nan = float("nan")
    recorded(
        folder,
        series_of("eia-930:lifecycle", [1.0, nan, 1.0, nan]),
        series_of("uk-carbon-intensity:direct", [3.0] * 4),
    )
    for mixed, wanted in (("false", [1.0, 1.0]), ("true", [1.0, 3.0, 1.0, 3.0])):
        text = f'[signals]\norder = ["eia", "uk"]\nmixed_scopes = {mixed}\n'
        (folder / "aicsched.toml").write_text(text)
        told = answer(capsys, "signals", "replay", "--zone", "DE")
        assert [row["ci_g_per_kwh"] for row in told["readings"]] == wanted


# ---------------------------------------------------------------- options
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("fetch", "--carbon", "DE.csv", "--source", "nosuch"), "give one of them"),
        (("fetch", "--carbon", "DE.csv", "--source", "sample"), "give one of them"),
        (("fetch", "--carbon", "DE.csv", "--at", "2990-01-01T00:00Z"), "nothing can have been read at"),
        (("fetch", "--source", "sample", "--at", "2990-01-01T00:00Z"), "nothing can have been read at"),
        (("replay", "--zone", "DE", "--source", "nosuch"), "holds nothing of a source 'nosuch'"),
        (("replay", "--source", "eai"), "did you mean eia-930:lifecycle"),
        (
            ("replay", "--from", "2021-01-01T03:00Z", "--to", "2021-01-01T01:00Z"),
            "let --to (by default now) lie after --from",
        ),
        (
            ("fetch", "--carbon", "DE.csv", "--from", "2021-01-01T03:10Z", "--to", "2021-01-01T03:50Z"),
            "there is no whole hour",
        ),
    ],
)
def test_what_would_be_ignored_or_empty_is_refused(
    capsys: pytest.CaptureFixture[str], folder: Path, arguments: tuple[str, ...], words: str
) -> None:
    (folder / "DE.csv").write_text("time,ci_g_per_kwh\n2021-01-01T00:00Z,400\n")
    recorded(folder, series_of("eia-930:lifecycle", [1.0] * 4))
    code, _, err = run(capsys, "signals", *arguments)
    assert (code, words in err) == (2, True), err


def test_a_clock_that_is_a_minute_ahead_may_fetch(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    (folder / "DE.csv").write_text("time,ci_g_per_kwh\n2021-01-01T00:00Z,400\n")
    soon = format_time(int(time.time()) + 60)
    assert run(capsys, "signals", "fetch", "--carbon", "DE.csv", "--at", soon)[0] == 0


def test_a_zone_that_no_declared_source_knows_is_told(
    capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    (folder / "aicsched.toml").write_text('[signals]\norder = ["sample"]\n')
    code, _, err = run(capsys, "signals", "fetch", "--zone", "syn-coal", "--zone", "syn-alpin")
    assert (code, "did you mean syn-alpine" in err) == (2, True), err
    assert answer(capsys, "signals", "status")["signals"] == []


def test_named_settings_reach_the_store_of_other_commands(
    capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    recorded(
        folder, series_of("eia-930:lifecycle", [1.0] * 4), series_of("electricity-maps:lifecycle", [2.0] * 4)
    )
    options = ("forecast", "--carbon", "store:signals.db", "--zone", "DE", "--horizon", "1")
    code, _, err = run(capsys, *options)
    assert (code, "signals.order" in err) == (2, True)
    (folder / "other.toml").write_text('[signals]\norder = ["eia"]\n')
    code, _, err = run(capsys, *options, "--config", "other.toml")
    # Four hours teach nothing: that is the next thing to be told.
    assert (code, "signals.order" in err, "2 days of history" in err) == (2, False, True), err


# ---------------------------------------------------------------- what held at a time
def test_status_tells_what_held_at_a_time(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    at_s = SLOTS.start_s + 2 * HOUR_S
    recorded(folder, series_of("a:x", [1.0, 2.0, float("nan"), float("nan")]), read_s=at_s)
    recorded(folder, series_of("a:x", [1.5, 2.0, 3.0, 4.0]), series_of("b:x", [1.0] * 4, "FR"))
    with SignalStore(folder / "signals.db") as store:
        store.note_try("a:x", "DE", SLOTS.end_s, error="down since")
    (then,) = answer(capsys, "signals", "status", "--at", format_time(at_s))["signals"]
    assert (then["zone"], then["slots"], then["revisions"], then["age_s"]) == ("DE", 2, 0, 0)
    assert (then["state"], then["read"], then["last_error"]) == ("fresh", format_time(at_s), None)
    later = answer(capsys, "signals", "status", "--at", format_time(SLOTS.end_s))["signals"]
    assert [(row["zone"], row["slots"], row["revisions"]) for row in later] == [("DE", 4, 1), ("FR", 4, 0)]
    assert later[0]["last_error"] == "down since"
    before = format_time(SLOTS.start_s)
    assert answer(capsys, "signals", "status", "--at", before)["signals"] == []


# ---------------------------------------------------------------- a live source
def test_a_backfill_by_the_hour_is_there_for_readers(
    capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    with upstream(UkApi(time.time, level=lambda start_s: 100 + start_s // 1800 % 48)) as server:
        text = f'[signals]\norder = ["uk"]\n[signals.uk]\nurl = "{server.url}"\nzones = ["GB"]\n'
        (folder / "aicsched.toml").write_text(text)
        since = format_time(int(time.time()) // DAY_S * DAY_S - 9 * DAY_S)
        (row,) = answer(capsys, "signals", "fetch", "--from", since)["fetched"]
        assert (row["error"], row["new"] > 9 * 40) == (None, True)
        told = answer(capsys, "signals", "status")["signals"]
    assert [(row["step_s"], row["slots"] > 9 * 40) for row in told] == [(1800, True)]


@pytest.mark.parametrize(("late_h", "code"), [(0, 0), (4, 0), (9, 2)])
def test_what_is_read_live_is_planned_from_now_however_late_it_is(
    capsys: pytest.CaptureFixture[str], folder: Path, late_h: int, code: int
) -> None:
    api = UkApi(lambda: time.time() - late_h * HOUR_S, level=lambda start_s: 100 + start_s // 1800 % 48)
    with upstream(api) as server:
        text = f'[signals]\norder = ["uk"]\n[signals.uk]\nurl = "{server.url}"\nzones = ["GB"]\n'
        (folder / "other.toml").write_text(text)
        options = ("--carbon", "live:", "--config", "other.toml", "--horizon", "3")
        hours = {int(time.time()) // HOUR_S}
        told = answer(capsys, "forecast", "--model", "seasonal", *options, code=code)
        hours.add(int(time.time()) // HOUR_S)
    if code:
        assert told["error"]["code"] == "signal-gap"
        return
    made = told["forecasts"]["GB"]
    assert parse_time(made["slot_starts"][0]) in {hour * HOUR_S for hour in hours}
    assert ("degraded" in made["flags"]) is (late_h > 0)


# ---------------------------------------------------------------- tables
def test_a_table_with_a_heading_too_few_is_no_table() -> None:
    with pytest.raises(ValueError, match="3 cells below 2 headings"):
        print_table("wrong", ("a", "b"), [("1", "2", "3")])
