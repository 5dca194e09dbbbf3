"""Live sources as one, beside their APIs: one of them down, late or without a forecast."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from aicsched.config.signals import read_signals
from aicsched.domain.carbon import Quality
from aicsched.errors import ConfigError, SourceUnavailable
from aicsched.signals.carbon.merge import MergedCarbon
from aicsched.signals.live import LastKnownGood
from aicsched.signals.precedence import open_merged
from aicsched.signals.store import SignalStore
from aicsched.slots import HOUR_S, SlotGrid, parse_time
from tests.live_sources_kit import LIVE, NOW_S, SECRET, Live, hourly_mean, of_the_mix
from tests.upstream_kit import Upstream, VirtualClock, status, upstream

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from aicsched.signals.base import CarbonSource

HERE_S = NOW_S // HOUR_S * HOUR_S
WINDOW = SlotGrid(HERE_S - 12 * HOUR_S, HOUR_S, 24)
BY_NAME = {live.name: live for live in LIVE}


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Upstream]]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    maps, entsoe = BY_NAME["electricity-maps"], BY_NAME["entsoe"]
    with upstream(maps.api(lambda: NOW_S)) as first, upstream(entsoe.api(lambda: NOW_S)) as second:
        first.time_s = second.time_s = lambda: NOW_S
        yield {maps.name: first, entsoe.name: second}


def _source(servers: dict[str, Upstream], name: str) -> CarbonSource:
    live: Live = BY_NAME[name]
    return live.source(servers[name].url, clock=VirtualClock(NOW_S))


def _merged(servers: dict[str, Upstream], *order: str) -> MergedCarbon:
    return MergedCarbon([_source(servers, name) for name in order])


def test_what_one_has_measured_and_what_the_other_foresees(servers: dict[str, Upstream]) -> None:
    series, provenance = _merged(servers, "entsoe", "electricity-maps").read_with_provenance("DE", WINDOW)
    for slot, start_s in enumerate(WINDOW.starts_s().tolist()):
        source, right = ("entsoe", of_the_mix) if start_s < HERE_S else ("electricity-maps", hourly_mean)
        assert provenance.source_of(slot) == f"{source}:lifecycle"
        if start_s != HERE_S:
            assert series.values_g_per_kwh[slot] == pytest.approx(right(start_s, HOUR_S), rel=1e-12)
    qualities = np.asarray(series.quality)
    assert set(qualities[:12].tolist()) == {Quality.ACTUAL}
    assert set(qualities[13:].tolist()) == {Quality.FORECAST}
    assert series.flags == ("merged:entsoe:lifecycle=12", "merged:electricity-maps:lifecycle=12")


@pytest.mark.parametrize("down", ["electricity-maps", "entsoe"])
def test_where_one_is_down_the_other_speaks_and_it_is_said(servers: dict[str, Upstream], down: str) -> None:
    servers[down].behave = status(500)
    past = SlotGrid(HERE_S - 24 * HOUR_S, HOUR_S, 20)
    series = _merged(servers, "electricity-maps", "entsoe").read("DE", past)
    right = of_the_mix if down == "electricity-maps" else hourly_mean
    expected = [right(start_s, HOUR_S) for start_s in past.starts_s().tolist()]
    np.testing.assert_allclose(series.values_g_per_kwh, expected, rtol=1e-12)
    # The second is not even asked where the first has it all.
    said = f"unavailable:{down}:lifecycle=source-unavailable"
    assert (said in series.flags) == (down == "electricity-maps")


def test_where_all_are_down_all_are_named(servers: dict[str, Upstream]) -> None:
    for server in servers.values():
        server.behave = status(503)
    with pytest.raises(SourceUnavailable, match=r"electricity-maps.*entsoe"):
        _merged(servers, "electricity-maps", "entsoe").read("DE", WINDOW)


def test_average_and_marginal_sources_are_never_asked_together(servers: dict[str, Upstream]) -> None:
    marginal = BY_NAME["watttime"].source("http://127.0.0.1:9")
    with pytest.raises(ConfigError, match="average and marginal"):
        MergedCarbon([_source(servers, "entsoe"), marginal])
    british = BY_NAME["uk"].source("http://127.0.0.1:9")
    with pytest.raises(ConfigError, match="life cycle and burning only"):
        MergedCarbon([_source(servers, "entsoe"), british])


def test_beside_a_store_a_stale_first_gives_way_to_a_fresh_second(
    servers: dict[str, Upstream], tmp_path: Path
) -> None:
    clock = VirtualClock(NOW_S)
    with SignalStore(tmp_path / "signals.db") as store:
        live = [
            LastKnownGood(BY_NAME[name].source(servers[name].url, clock=clock), store, clock=clock)
            for name in ("electricity-maps", "entsoe")
        ]
        merged = MergedCarbon(live)
        past = SlotGrid(HERE_S - 24 * HOUR_S, HOUR_S, 20)
        assert merged.read("DE", past).flags[0] == "merged:electricity-maps:lifecycle=20"
        servers["electricity-maps"].behave = status(500)
        series, provenance = merged.read_with_provenance("DE", past)
        right = {"electricity-maps:lifecycle": hourly_mean, "entsoe:lifecycle": of_the_mix}
        said = [provenance.source_of(slot) for slot in range(len(past))]
        expected = [
            right[str(who)](at, HOUR_S) for who, at in zip(said, past.starts_s().tolist(), strict=True)
        ]
        np.testing.assert_allclose(series.values_g_per_kwh, expected, rtol=1e-12)
        assert said.count("entsoe:lifecycle") > len(past) // 2
        assert (np.asarray(series.quality) == Quality.ACTUAL).all()
        # With the second down as well, what was said before is all there is, and called stale.
        servers["entsoe"].behave = status(500)
        clock.sleep(2 * HOUR_S)
        before = merged.read("DE", past)
        assert before.missing == 0
        assert Quality.STALE in set(np.asarray(before.quality).tolist())


def test_settings_declare_the_order(servers: dict[str, Upstream], tmp_path: Path) -> None:
    table = {
        "order": ["entsoe", "electricity-maps"],
        "entsoe": {"zones": {"DE": "DE_LU"}, "url": f"{servers['entsoe'].url}/api"},
        "electricity-maps": {"zones": ["DE"], "url": servers["electricity-maps"].url},
    }
    settings = read_signals(table, {"ENTSOE_TOKEN": SECRET, "ELECTRICITY_MAPS_TOKEN": SECRET})
    clock = VirtualClock(NOW_S)
    with SignalStore(tmp_path / "signals.db") as store:
        merged = open_merged(settings, store=store, clock=clock)
        assert merged.zones() == ("DE",)
        first = merged.read("DE", WINDOW)
        assert {each.split("=")[0] for each in first.flags} >= {
            "merged:entsoe:lifecycle",
            "merged:electricity-maps:lifecycle",
        }
        for server in servers.values():
            server.behave = status(500)
        clock.sleep(HOUR_S)
        before = open_merged(settings, store=store, clock=clock).read("DE", WINDOW)
        known = ~np.isnan(before.values_g_per_kwh)
        np.testing.assert_array_equal(before.values_g_per_kwh[known], first.values_g_per_kwh[known])
    with pytest.raises(ConfigError, match="did you mean entsoe"):
        open_merged(settings, scopes={"entso": "direct"})
    with pytest.raises(ConfigError, match="no source of signals"):
        open_merged(read_signals({}, {}))


def test_files_have_their_scope_said(tmp_path: Path) -> None:
    rows = "".join(f"2026-05-01T{hour:02}:00Z,{400 + hour}\n" for hour in range(24))
    (tmp_path / "syn-coal.csv").write_text("time,ci_g_per_kwh\n" + rows)
    table = {"order": ["file", "sample"], "file": {"paths": [str(tmp_path / "syn-coal.csv")]}}
    settings = read_signals(table, {})
    with pytest.raises(ConfigError, match="it is not known whether file "):
        open_merged(settings)
    clock = VirtualClock(parse_time("2026-05-02T00:00Z"))
    merged = open_merged(settings, scopes={"file": "lifecycle"}, clock=clock)
    assert merged.read("syn-coal").values_g_per_kwh.tolist() == [400.0 + hour for hour in range(24)]
