"""``aicsched signals`` as a user runs it, offline and against an upstream on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from aicsched.domain.carbon import CarbonSeries, IntensityKind, Quality
from aicsched.signals.carbon.file import FileCarbon
from aicsched.signals.carbon.sample import SAMPLE_NOW_S, SampleCarbon
from aicsched.signals.store import SignalStore
from aicsched.slots import HOUR_S, SlotGrid, format_time, parse_time
from tests.cli_kit import answer, run

if TYPE_CHECKING:
    from pathlib import Path

AT = format_time(SAMPLE_NOW_S)


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AICSCHED_CONFIG", raising=False)
    return tmp_path


def test_the_sample_is_fetched_told_and_replayed(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    fetched = answer(capsys, "signals", "fetch", "--source", "sample")["fetched"]
    assert [row["new"] for row in fetched] == [1440] * 9
    assert {row["new"] for row in answer(capsys, "signals", "fetch", "--source", "sample")["fetched"]} == {0}
    for hours, state in ((0, "fresh"), (2, "fresh"), (3, "degraded"), (6, "degraded"), (7, "neutral")):
        told = answer(capsys, "signals", "status", "--at", format_time(SAMPLE_NOW_S + hours * HOUR_S))
        assert {row["state"] for row in told["signals"]} == {state}
        assert {row["age_s"] for row in told["signals"]} == {hours * HOUR_S}
    row = told["signals"][0]
    assert (row["slots"], row["gaps"], row["revisions"], row["synthetic"]) == (1440, 0, 0, True)
    known = answer(
        capsys, "signals", "replay", "--zone", "syn-coal", "--at", AT, "--from", "2026-04-29T00:00Z"
    )
    wanted = SampleCarbon().read("syn-coal", SlotGrid(SAMPLE_NOW_S - 24 * HOUR_S, HOUR_S, 24))
    assert [row["ci_g_per_kwh"] for row in known["readings"]] == wanted.values_g_per_kwh.tolist()
    code, out, _ = run(capsys, "signals", "status", "--at", AT)
    assert code == 0
    assert "fresh" in out
    code, out, _ = run(capsys, "signals", "fetch", "--source", "sample", "--zone", "syn-coal")
    assert (code, "syn-coal" in out, "syn-alpine" in out) == (0, True, False)


@pytest.mark.parametrize("name", ["known.csv", "known.parquet"])
def test_a_replay_is_carbon_for_other_commands(
    capsys: pytest.CaptureFixture[str], folder: Path, name: str
) -> None:
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    run(capsys, "signals", "fetch", "--source", "sample")
    assert run(capsys, "signals", "replay", "--at", AT, "--out", name)[0] == 0
    options = ("forecast", "--zone", "syn-coal", "--horizon", "24", "--at", AT)
    direct, replayed, stored = (
        answer(capsys, *options, *carbon)["forecasts"]["syn-coal"]
        for carbon in ((), ("--carbon", name), ("--carbon", "store:signals.db"))
    )
    assert direct["mean_g_per_kwh"] == replayed["mean_g_per_kwh"] == stored["mean_g_per_kwh"]
    assert direct["synthetic"]
    assert replayed["synthetic"]
    assert stored["synthetic"]
    again = FileCarbon([folder / name]).read("syn-coal")
    np.testing.assert_array_equal(
        again.values_g_per_kwh, SampleCarbon().read("syn-coal").before(SAMPLE_NOW_S).values_g_per_kwh
    )


def test_what_was_known_before_a_revision_is_told_as_it_was(
    capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    rows = ["2021-01-01T00:00Z,400,2021-01-01T01:30Z", "2021-01-01T01:00Z,410,2021-01-01T02:30Z"]
    rows += ["2021-01-01T00:00Z,455,2021-01-01T05:00Z"]
    (folder / "DE.csv").write_text("time,ci_g_per_kwh,reading_time\n" + "\n".join(rows))
    answer(capsys, "signals", "fetch", "--carbon", "DE.csv")

    def known(at: str, *more: str) -> list[float]:
        told = answer(capsys, "signals", "replay", "--at", f"2021-01-01T{at}Z", *more)
        return [row["ci_g_per_kwh"] for row in told["readings"]]

    assert known("02:00") == [400]
    assert known("04:59") == [400, 410]
    assert known("05:00") == [455, 410]
    assert known("05:00", "--all-readings") == [400, 455, 410]
    assert (
        answer(capsys, "signals", "replay", "--at", "2021-01-01T01:00Z", code=2)["error"]["code"]
        == "unknown-zone"
    )
    (told,) = answer(capsys, "signals", "status", "--at", "2021-01-01T05:00Z")["signals"]
    assert (told["revisions"], told["state"], told["zone"]) == (1, "degraded", "DE")


def test_bad_input_is_told_with_the_next_step(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    for arguments, words in (
        (("signals", "status"), "does not exist"),
        (("signals", "replay"), "does not exist"),
        (("signals", "fetch"), "no source of signals is declared"),
        (("signals", "fetch", "--source", "uk", "--at", AT), "--at is for files and the sample"),
        (("signals", "fetch", "--source", "smaple"), "did you mean sample"),
        (("signals", "fetch", "--source", "eia"), "set AICSCHED_EIA_KEY"),
        (("signals", "fetch", "--source", "sample", "--zone", "syn-cool"), "did you mean syn-coal"),
        (("signals", "fetch", "--source", "sample", "--to", AT), "add --from"),
        (("forecast", "--carbon", "store:absent.db"), "does not exist"),
        (("forecast", "--carbon", "store:a.db", "DE.csv"), "give the store alone"),
    ):
        code, _, err = run(capsys, *arguments)
        assert (code, words in err) == (2, True), (arguments, err)
    run(capsys, "signals", "fetch", "--source", "sample")
    for arguments, words in (
        (("signals", "replay", "--kind", "averge"), "did you mean average"),
        (("signals", "replay", "--zone", "syn-cool"), "did you mean syn-coal"),
        (("signals", "replay", "--at", "2026-04-30T00:00"), "no time zone"),
        (("signals", "replay", "--at", AT, "--to", "2026-01-01T00:00Z"), "add --from"),
    ):
        code, _, err = run(capsys, *arguments)
        assert (code, words in err) == (2, True), (arguments, err)
    (folder / "broken.db").write_bytes(b"SQLite format 3\x00" + bytes(200))
    assert run(capsys, "signals", "status", "--store", "broken.db")[0] in (2, 3)


def test_average_and_marginal_are_never_written_as_one(
    capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    slots = SlotGrid(parse_time("2021-01-01T00:00Z"), HOUR_S, 3)
    with SignalStore(folder / "signals.db") as store:
        for kind, level in ((IntensityKind.AVERAGE, 300.0), (IntensityKind.MARGINAL, 700.0)):
            series = CarbonSeries(
                grid_zone="DE", kind=kind, source="a:x", slots=slots, values_g_per_kwh=np.full(3, level)
            )
            store.record(series, slots.end_s)
    code, _, err = run(capsys, "signals", "replay", "--zone", "DE")
    assert (code, "say which kind" in err) == (2, True)
    run(capsys, "signals", "replay", "--zone", "DE", "--kind", "marginal", "--out", "m.csv")
    again = FileCarbon([folder / "m.csv"]).read("DE")
    assert (again.kind, again.values_g_per_kwh.tolist()) == (IntensityKind.MARGINAL, [700.0] * 3)


def test_of_several_sources_the_declared_order_decides(
    capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    slots = SlotGrid(parse_time("2021-01-01T00:00Z"), HOUR_S, 3)
    with SignalStore(folder / "signals.db") as store:
        for name, level in (("eia-930:lifecycle", 300.0), ("electricity-maps:lifecycle", 400.0)):
            quality = np.array([Quality.ACTUAL, Quality.ACTUAL, Quality.FORECAST])
            series = CarbonSeries(
                grid_zone="DE",
                kind=IntensityKind.AVERAGE,
                source=name,
                slots=slots,
                values_g_per_kwh=np.full(3, level),
                quality=quality,
            )
            store.record(series, slots.end_s)
    code, _, err = run(capsys, "signals", "replay", "--zone", "DE")
    assert (code, "signals.order" in err) == (2, True)
    told = answer(capsys, "signals", "replay", "--zone", "DE", "--source", "electricity-maps")
    # What a source only foresaw is not known.
    assert [row["ci_g_per_kwh"] for row in told["readings"]] == [400.0, 400.0]
    (folder / "aicsched.toml").write_text('[signals]\norder = ["eia", "electricity-maps"]\n')
    told = answer(capsys, "signals", "replay", "--zone", "DE")
    assert {row["source"] for row in told["readings"]} == {"eia-930:lifecycle"}


def test_a_live_source_is_fetched_and_its_faults_are_exit_code_3(
    capsys: pytest.CaptureFixture[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AICSCHED_EIA_KEY", "k")
    (folder / "aicsched.toml").write_text(
        '[signals]\norder = ["eia", "sample"]\n[signals.eia]\nurl = "http://127.0.0.1:9"\nzones = ["CISO"]\n'
    )
    told = answer(capsys, "signals", "fetch", code=3)
    by_zone = {row["zone"]: row for row in told["fetched"]}
    assert "can't be reached" in by_zone["CISO"]["error"]
    # The sample's present is not ours: it is stored, and told as old.
    assert by_zone["syn-coal"]["error"] is None
    states = {row["zone"]: row for row in answer(capsys, "signals", "status")["signals"]}
    assert states["syn-coal"]["state"] == "neutral"
    row = states["CISO"]
    assert (row["state"], row["failures"]) == ("neutral", 1)
    assert "can't be reached" in row["last_error"]
    code, _, err = run(capsys, "signals", "fetch", "--zone", "XX")
    assert (code, "knows no grid zone" in err) == (2, True)
    (folder / "aicsched.toml").write_text('[signals]\norder = ["eia"]\n')
    code, _, err = run(capsys, "signals", "fetch")
    assert (code, "say which: --zone" in err) == (2, True)
