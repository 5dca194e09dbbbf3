"""The British Carbon Intensity API: answers in the documented shape, made here, and what can be off."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aicsched.domain.carbon import EmissionScope, IntensityKind, Quality
from aicsched.errors import AicschedError, SignalGap, SignalInvalid, SlotError, UnknownZone
from aicsched.signals.carbon.uk import UkCarbon, decode_uk
from aicsched.signals.transport import Transport
from aicsched.slots import HOUR_S, SlotGrid, parse_time
from tests.mix_apis_kit import UkApi
from tests.upstream_kit import QUICK, Upstream, VirtualClock, upstream

if TYPE_CHECKING:
    from collections.abc import Iterator

STEP_S = 1800
HERE_S = parse_time("2026-05-01T12:00Z")
NOW_S = HERE_S + 700


def _foreseen(start_s: int) -> int:
    return 100 + start_s // STEP_S % 48


def _afterwards(start_s: int) -> int | None:
    return _foreseen(start_s) - 3 if start_s < HERE_S else None


def _api() -> UkApi:
    made = UkApi(lambda: NOW_S, level=_foreseen)
    made.actual = _afterwards
    return made


@pytest.fixture
def api() -> UkApi:
    return _api()


@pytest.fixture
def server(api: UkApi) -> Iterator[Upstream]:
    with upstream(api) as made:
        made.time_s = lambda: NOW_S
        yield made


def _source(server: Upstream) -> UkCarbon:
    clock = VirtualClock(NOW_S)
    return UkCarbon(url=server.url, transport=Transport("uk", limits=QUICK, clock=clock), clock=clock)


def _around(before: int, after: int, step_s: int = STEP_S) -> SlotGrid:
    return SlotGrid(HERE_S - before * step_s, step_s, before + after)


def test_the_past_is_actual_and_what_is_ahead_is_forecast(server: Upstream) -> None:
    series = _source(server).read("GB", _around(2, 3))
    assert (series.kind, series.source) == (IntensityKind.AVERAGE, "uk-carbon-intensity:direct#GB")
    foreseen = [_foreseen(start_s) for start_s in series.slots.starts_s().tolist()]
    expected = [foreseen[0] - 3, foreseen[1] - 3, *foreseen[2:]]
    assert series.values_g_per_kwh.tolist() == expected
    assert np.asarray(series.quality).tolist() == [Quality.ACTUAL] * 2 + [Quality.FORECAST] * 3
    paths = [request.path for request in server.seen]
    assert paths == ["/intensity/2026-05-01T11:00Z/2026-05-01T12:00Z", "/intensity/2026-05-01T12:00Z/fw48h"]


def test_without_a_window_it_reads_three_days_back_and_two_ahead(server: Upstream) -> None:
    series = _source(server).read("GB")
    assert (series.slots.start_s, series.slots.end_s) == (HERE_S - 72 * HOUR_S, HERE_S + 48 * HOUR_S)
    assert series.missing == 0


def test_a_long_past_is_asked_for_in_parts(server: Upstream) -> None:
    series = _source(server).read("GB", _around(30 * 48, 0))
    assert len(server.seen) == 3
    assert series.missing == 0
    assert (np.asarray(series.quality) == Quality.ACTUAL).all()


def test_hours_are_means_of_their_halves(server: Upstream) -> None:
    series = _source(server).read("GB", _around(2, 0, HOUR_S))
    starts_s = series.slots.starts_s()
    expected = [(_foreseen(start_s) + _foreseen(start_s + STEP_S)) / 2 - 3 for start_s in starts_s.tolist()]
    assert series.values_g_per_kwh.tolist() == expected


@pytest.mark.parametrize("as_list", [False, True])
def test_what_a_region_foresaw_of_the_past_is_an_estimate(
    api: UkApi, server: Upstream, as_list: bool
) -> None:
    api.as_list = as_list
    series = _source(server).read("GB-london", _around(2, 2))
    assert np.asarray(series.quality).tolist() == [Quality.ESTIMATED] * 2 + [Quality.FORECAST] * 2
    assert all(request.path.startswith("/regional/") for request in server.seen)
    assert all(request.path.endswith("/regionid/13") for request in server.seen)


def test_a_past_without_an_actual_value_keeps_its_forecast_and_says_so(api: UkApi, server: Upstream) -> None:
    api.actual = lambda start_s: None if start_s == HERE_S - STEP_S else 90
    series = _source(server).read("GB", _around(2, 0))
    assert np.asarray(series.quality).tolist() == [Quality.ACTUAL, Quality.FORECAST]
    assert series.values_g_per_kwh[1] == _foreseen(HERE_S - STEP_S)


def test_nothing_known_is_missing(api: UkApi, server: Upstream) -> None:
    api.actual = lambda _start_s: None
    api.forecast = lambda start_s: None if start_s == HERE_S - STEP_S else 100
    series = _source(server).read("GB", _around(3, 0))
    assert np.isnan(series.values_g_per_kwh).tolist() == [False, False, True]
    api.forecast = lambda _start_s: None
    with pytest.raises(SignalGap):
        _source(server).read("GB", _around(3, 0))


def test_an_actual_value_of_the_future_is_not_believed(api: UkApi, server: Upstream) -> None:
    api.actual = lambda _start_s: 90
    series = _source(server).read("GB", _around(48, 2))
    # The running half-hour may have an estimate, the one after it none.
    assert np.asarray(series.quality).tolist()[-3:] == [
        Quality.ACTUAL,
        Quality.ESTIMATED,
        Quality.QUARANTINED,
    ]
    assert np.isnan(series.values_g_per_kwh[-1])


def test_beyond_the_forecast_slots_are_missing(server: Upstream) -> None:
    series = _source(server).read("GB", SlotGrid(HERE_S + 46 * HOUR_S, HOUR_S, 4))
    assert np.isnan(series.values_g_per_kwh).tolist() == [False, False, True, True]
    with pytest.raises(SignalGap):
        _source(server).read("GB", SlotGrid(HERE_S + 80 * HOUR_S, HOUR_S, 4))


@pytest.mark.parametrize(("start_s", "step_s"), [(HERE_S, 900), (HERE_S, 2700), (HERE_S - 900, STEP_S)])
def test_slots_that_are_no_half_hours_are_refused(server: Upstream, start_s: int, step_s: int) -> None:
    with pytest.raises(SlotError, match="half-hours"):
        _source(server).read("GB", SlotGrid(start_s, step_s, 2))
    assert not server.seen


def test_an_unknown_zone_costs_no_request(server: Upstream) -> None:
    with pytest.raises(UnknownZone, match="GB"):
        _source(server).read("UK")
    assert not server.seen


def test_its_factors_count_burning_only() -> None:
    source = UkCarbon()
    assert (source.scope, len(source.zones())) == (EmissionScope.DIRECT, 18)


def _bodies() -> tuple[dict[str, Any], dict[str, Any]]:
    api = _api()
    starts_s = range(HERE_S - 2 * STEP_S, HERE_S + 2 * STEP_S, STEP_S)
    national = {"data": [api.row(start_s, None) for start_s in starts_s]}
    regional = {"data": {"regionid": 13, "data": [api.row(start_s, 13) for start_s in starts_s]}}
    return national, regional


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        (("from",), "2026-05-01 00:00", "from"),
        (("from",), "soon", "from"),
        (("from",), None, "from"),
        (("to",), "2026-05-01T13:00Z", "to"),
        (("intensity",), 140, "intensity"),
        (("intensity", "forecast"), "140", "forecast"),
        (("intensity", "actual"), "low", "actual"),
        (("intensity", "actual"), True, "actual"),
    ],
)
def test_a_field_that_is_not_what_is_documented_is_named(
    path: tuple[str, ...], value: Any, named: str
) -> None:
    body = _bodies()[0]
    inside = body["data"][1]
    for key in path[:-1]:
        inside = inside[key]
    inside[path[-1]] = value
    with pytest.raises(SignalInvalid, match=named):
        decode_uk(json.dumps(body).encode(), region=None, source="uk", read_s=0)


@pytest.mark.parametrize("field", ["forecast", "actual"])
def test_a_field_that_is_gone_is_no_gap(field: str) -> None:
    body = _bodies()[0]
    for row in body["data"]:
        del row["intensity"][field]
    with pytest.raises(SignalInvalid, match=field):
        decode_uk(json.dumps(body).encode(), region=None, source="uk", read_s=0)


def test_another_region_is_refused() -> None:
    body = json.dumps(_bodies()[1]).encode()
    assert len(decode_uk(body, region=13, source="uk", read_s=0)) == 4
    with pytest.raises(SignalInvalid, match="regionid"):
        decode_uk(body, region=12, source="uk", read_s=0)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_mangled_body_is_refused_or_read_never_anything_else(data: st.DataObject) -> None:
    which = data.draw(st.integers(0, 1))
    body = bytearray(json.dumps(_bodies()[which]).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(body) - 1))
        how = data.draw(st.sampled_from(["cut", "byte", "insert"]))
        if how == "cut":
            del body[at : at + data.draw(st.integers(1, 40))]
        elif how == "byte":
            body[at] = data.draw(st.integers(0, 255))
        else:
            body[at:at] = data.draw(st.binary(max_size=5))
        if not body:
            break
    try:
        points = decode_uk(bytes(body), region=(None, 13)[which], source="uk", read_s=0)
    except AicschedError:
        return
    assert len(points.values_g_per_kwh) == len(points.quality) == len(points.start_s)
