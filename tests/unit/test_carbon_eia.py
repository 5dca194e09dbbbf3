"""EIA-930: answers in the documented shape, made here, and each way in which they can be off."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aicsched.data.zones import grid_zone
from aicsched.domain.carbon import IntensityKind, Quality
from aicsched.errors import AicschedError, ConfigError, SignalGap, SignalInvalid, SlotError, UnknownZone
from aicsched.footprint.intensity import emission_factors
from aicsched.signals.carbon.eia import EIA_ZONES, EiaCarbon, decode_eia
from aicsched.signals.transport import Transport
from aicsched.slots import HOUR_S, SlotGrid, parse_time
from tests.mix_apis_kit import EiaApi, eia_row
from tests.upstream_kit import QUICK, Upstream, VirtualClock, status, upstream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

NOW_S = parse_time("2026-05-01T12:20Z")
END_S = parse_time("2026-05-01T12:00Z")
MIX = {"COL": 100.0, "NG": 300.0, "NUC": 200.0, "SUN": 250.0, "WND": 150.0, "BAT": -80.0}
KEY = "k3y-of-a-test"


def _power_mw(fuel: str, start_s: int) -> float:
    """A mix that changes from hour to hour, in whole megawatts."""
    return MIX[fuel] + (start_s // HOUR_S % 24 if fuel == "NG" else 0)


def _text(fuel: str, start_s: int) -> str:
    return str(_power_mw(fuel, start_s))


@pytest.fixture
def api() -> EiaApi:
    return EiaApi(lambda: NOW_S, key=KEY, codes=tuple(MIX), power=_text)


@pytest.fixture
def server(api: EiaApi) -> Iterator[Upstream]:
    with upstream(api) as made:
        made.time_s = lambda: NOW_S
        yield made


def _source(server: Upstream, **options: Any) -> EiaCarbon:
    clock = VirtualClock(NOW_S)
    transport = Transport("eia-930", limits=options.pop("limits", QUICK), clock=clock)
    return EiaCarbon(
        options.pop("api_key", KEY), url=f"{server.url}/v2", transport=transport, clock=clock, **options
    )


def _expected(start_s: int, scope: str = "lifecycle") -> float:
    factors = emission_factors(scope)
    fuels = {"COL": "coal", "NG": "gas", "NUC": "nuclear", "SUN": "solar", "WND": "wind"}
    powers = {fuel: _power_mw(code, start_s) for code, fuel in fuels.items()}
    return sum(factors[fuel] * power for fuel, power in powers.items()) / sum(powers.values())


@pytest.mark.parametrize("scope", ["lifecycle", "direct"])
def test_a_window_is_the_intensity_of_its_mix(server: Upstream, scope: str) -> None:
    window = SlotGrid(END_S - 24 * HOUR_S, HOUR_S, 24)
    series = _source(server, scope=scope).read("CISO", window)
    assert (series.kind, series.source) == (IntensityKind.AVERAGE, f"eia-930:{scope}#CISO")
    assert series.slots == window
    expected = [_expected(start_s, scope) for start_s in window.starts_s().tolist()]
    np.testing.assert_allclose(series.values_g_per_kwh, expected, rtol=1e-12)
    assert (np.asarray(series.quality) == Quality.ACTUAL).all()


def test_a_period_names_the_end_of_its_hour(api: EiaApi, server: Upstream) -> None:
    marked = parse_time("2026-05-01T03:00Z")
    api.power = lambda fuel, start_s: (
        1000.0 if fuel == "COL" and start_s + HOUR_S == marked else _power_mw(fuel, start_s)
    )
    series = _source(server).read("CISO", SlotGrid(END_S - 12 * HOUR_S, HOUR_S, 12))
    assert series.slots.index_at(marked - HOUR_S) == int(np.argmax(series.values_g_per_kwh))


def test_without_a_window_it_reads_three_days(server: Upstream) -> None:
    series = _source(server).read("ERCO")
    assert (series.slots.end_s, len(series.slots), series.missing) == (END_S, 72, 0)


def test_hours_not_reported_yet_are_missing(server: Upstream) -> None:
    series = _source(server).read("CISO", SlotGrid(END_S - 2 * HOUR_S, HOUR_S, 6))
    assert np.isnan(series.values_g_per_kwh).tolist() == [False] * 2 + [True] * 4


def test_longer_slots_weigh_hours_by_what_they_generate(server: Upstream) -> None:
    series = _source(server).read("CISO", SlotGrid(END_S - 6 * HOUR_S, 3 * HOUR_S, 2))
    gas = [_power_mw("NG", END_S - hour * HOUR_S) for hour in (3, 2, 1)]
    factors, rest = emission_factors(), {"coal": 100.0, "nuclear": 200.0, "solar": 250.0, "wind": 150.0}
    emitted = factors["gas"] * np.mean(gas) + sum(factors[fuel] * power for fuel, power in rest.items())
    assert series.values_g_per_kwh[1] == pytest.approx(emitted / (np.mean(gas) + sum(rest.values())))


def test_a_fuel_that_reports_late_leaves_its_hours_without_a_value(api: EiaApi, server: Upstream) -> None:
    late = END_S - 2 * HOUR_S
    api.leave_out = lambda fuel, start_s: fuel == "NG" and start_s >= late
    series = _source(server).read("CISO", SlotGrid(late - HOUR_S, HOUR_S, 3))
    assert (series.missing, series.flags) == (2, ("fuel-missing:2",))
    # Even where the whole window lacks it: the two days before show that there is gas.
    with pytest.raises(SignalGap, match="fuel-missing:2"):
        _source(server).read("CISO", SlotGrid(late, HOUR_S, 2))


@pytest.mark.parametrize("kind", [str, int, float])
def test_numbers_come_as_texts_and_as_numbers(api: EiaApi, server: Upstream, kind: type) -> None:
    api.power = lambda fuel, start_s: kind(int(_power_mw(fuel, start_s)))
    series = _source(server).read("CISO", SlotGrid(END_S - HOUR_S, HOUR_S, 1))
    assert series.values_g_per_kwh[0] == pytest.approx(_expected(END_S - HOUR_S))


@pytest.mark.parametrize("empty", [None, ""])
def test_an_empty_value_is_a_missing_one(api: EiaApi, server: Upstream, empty: Any) -> None:
    last_s = END_S - HOUR_S
    api.power = lambda fuel, start_s: empty if (fuel, start_s) == ("NG", last_s) else _power_mw(fuel, start_s)
    series = _source(server).read("CISO", SlotGrid(END_S - 2 * HOUR_S, HOUR_S, 2))
    assert np.isnan(series.values_g_per_kwh).tolist() == [False, True]


def test_pages_are_read_to_the_last(server: Upstream) -> None:
    window = SlotGrid(END_S - 60 * 24 * HOUR_S, HOUR_S, 60 * 24)
    source = _source(server, limits=type(QUICK)(total_s=10.0))
    series = source.read("CISO", window)
    assert [request.params["offset"] for request in server.seen] == ["0", "5000"]
    assert series.missing == 0


@pytest.mark.parametrize("total", [lambda rows: rows + 7, lambda rows: rows - 7, lambda _rows: 10**9])
def test_other_rows_than_promised_are_refused(
    api: EiaApi, server: Upstream, total: Callable[[int], int]
) -> None:
    api.total = total
    with pytest.raises(SignalInvalid, match="are promised"):
        _source(server).read("CISO")


@pytest.mark.parametrize("total", ["many", -1, 1.5, None, []])
def test_a_total_that_is_no_count_is_refused(api: EiaApi, server: Upstream, total: Any) -> None:
    api.total = lambda _rows: total
    with pytest.raises(SignalInvalid, match="total"):
        _source(server).read("CISO")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("period", "2026-05-01T03-07:00"),
        ("period", "2026-05-01"),
        ("respondent", "ERCO"),
        ("fueltype", "natural gas"),
        ("value", "a lot"),
        ("value", "NaN"),
        ("value", "1e999"),
        ("value", True),
        ("value-units", "gigawatthours"),
        ("value-units", None),
    ],
)
def test_a_field_that_is_not_what_is_documented_is_refused_by_name(field: str, value: Any) -> None:
    rows = [eia_row(END_S, fuel, power) for fuel, power in MIX.items()]
    rows[2][field] = value
    body = json.dumps({"response": {"total": len(rows), "data": rows}}).encode()
    with pytest.raises(SignalInvalid, match=field) as caught:
        decode_eia(body, zone="CISO", source="eia-930")
    assert str(value) not in str(caught.value) or value is None


@pytest.mark.parametrize("field", ["period", "respondent", "fueltype", "value", "value-units"])
def test_a_field_that_is_gone_is_named(field: str) -> None:
    row = eia_row(END_S, "NG", 1)
    del row[field]
    body = json.dumps({"response": {"total": 1, "data": [row]}}).encode()
    with pytest.raises(SignalInvalid, match=field):
        decode_eia(body, zone="CISO", source="eia-930")


def test_half_hours_are_refused(server: Upstream) -> None:
    with pytest.raises(SlotError, match="whole hours"):
        _source(server).read("CISO", SlotGrid(END_S - HOUR_S, 1800, 2))
    with pytest.raises(SlotError, match="whole hours"):
        _source(server).read("CISO", SlotGrid(END_S - 1800, HOUR_S, 1))
    assert not server.seen


def test_an_unknown_zone_costs_no_request(server: Upstream) -> None:
    with pytest.raises(UnknownZone, match="CISO"):
        _source(server).read("CIS0")
    assert not server.seen


def test_an_empty_window_costs_no_request(server: Upstream) -> None:
    assert len(_source(server).read("CISO", SlotGrid(END_S, HOUR_S, 0)).slots) == 0
    assert not server.seen


def test_a_refused_key_is_a_setting_to_mend_and_stays_unseen(server: Upstream) -> None:
    with pytest.raises(ConfigError) as caught:
        _source(server, api_key="another-k3y").read("CISO")
    assert "another-k3y" not in str(caught.value)
    server.behave = status(500)
    with pytest.raises(AicschedError) as failed:
        _source(server).read("CISO")
    assert KEY not in f"{failed.value} {failed.value.__cause__}"


def test_zones_are_named_once_and_none_as_a_country_elsewhere() -> None:
    assert len(set(EIA_ZONES)) == len(EIA_ZONES) > 60
    assert min(len(zone) for zone in EIA_ZONES) > 2
    for zone in EIA_ZONES:
        with suppress(UnknownZone):
            assert grid_zone(zone).country == "US"


@pytest.mark.parametrize(("zone", "asked"), [("US-SE", "SE"), ("US-CAR-SC", "SC"), ("US48", "US48")])
def test_zones_with_names_of_ours_are_asked_for_by_their_codes(
    server: Upstream, zone: str, asked: str
) -> None:
    assert _source(server).read(zone).grid_zone == zone
    assert server.seen[0].params["facets[respondent][]"] == asked


def test_own_factors_show_in_the_id(server: Upstream) -> None:
    source = _source(server, factors_g_per_kwh={"coal": 1000.0})
    assert source.source_id == "eia-930:lifecycle:coal=1000"
    window = SlotGrid(END_S - HOUR_S, HOUR_S, 1)
    assert (
        source.read("CISO", window).values_g_per_kwh[0]
        > _source(server).read("CISO", window).values_g_per_kwh[0]
    )


def test_the_mix_is_what_forecasts_take(server: Upstream) -> None:
    mix = _source(server).read_mix("CISO", SlotGrid(END_S - 5 * HOUR_S, HOUR_S, 5))
    assert mix.sources == ("coal", "gas", "nuclear", "solar", "wind")
    assert mix.generation_mw[2].tolist() == [200.0] * 5


# What CarbonCast, and who published the year of AZPS, count for each fuel where it isn't ours.
CARBONCAST = {"solar": 45.0, "oil": 650.0}
AZPS = {"solar": 41.0, "oil": 650.0, "hydro": 0.0, "nuclear": 0.0, "other": 230.0}
CODES = {
    "coal": "COL",
    "nat_gas": "NG",
    "nuclear": "NUC",
    "oil": "OIL",
    "hydro": "WAT",
    "solar": "SUN",
    "wind": "WND",
    "other": "OTH",
}


@pytest.mark.parametrize(
    ("zone", "name", "start", "factors"),
    [
        ("NYIS", "eia_NYIS", "2021-03-01T00:00Z", CARBONCAST),
        ("BPAT", "eia_BPAT", "2021-07-01T00:00Z", CARBONCAST),
        ("FPL", "eia_FPL", "2022-01-24T00:00Z", CARBONCAST),
        ("AZPS", "eia_AZPS_2022", "2022-06-01T00:00Z", AZPS),
    ],
)
def test_recorded_months_come_out_as_published(
    shared_data: Path, zone: str, name: str, start: str, factors: dict[str, float]
) -> None:
    """Real generation through the whole path: the API's rows, pages, ends of hours, mix and gaps."""
    pq = pytest.importorskip("pyarrow.parquet", reason="pyarrow reads the recorded mixes")
    table: Any = pq.read_table(shared_data / "data" / "carbon" / f"{name}.parquet")
    hours = {int(at.timestamp()): row for row, at in enumerate(table["time"].to_pylist())}
    fuels = [each for each in table.column_names if each.startswith("gen_")]
    power = {CODES.get(each[4:], each[4:]): table[each].to_numpy() for each in fuels}

    def told(code: str, start_s: int) -> float | None:
        value = float(power[code][hours[start_s]])
        return None if np.isnan(value) else value

    window = SlotGrid(parse_time(start), HOUR_S, 30 * 24)
    api = EiaApi(lambda: window.end_s, key=KEY, codes=tuple(power), power=told)
    with upstream(api) as server:
        server.time_s = lambda: window.end_s
        clock = VirtualClock(window.end_s)
        transport = Transport("eia-930", limits=type(QUICK)(total_s=30.0), clock=clock)
        source = EiaCarbon(
            KEY, url=f"{server.url}/v2", transport=transport, clock=clock, factors_g_per_kwh=factors
        )
        series = source.read(zone, window)
    column = next(each for each in table.column_names if each.startswith("ci_"))
    published = table[column].to_numpy()[[hours[start_s] for start_s in window.starts_s().tolist()]]
    np.testing.assert_allclose(series.values_g_per_kwh, published, atol=0.1)
    # Florida reported nothing for 19 days: those hours stay without a value.
    assert series.missing == int(np.isnan(published).sum()) == (456 if zone == "FPL" else 0)


BODY = json.dumps(
    {
        "response": {
            "total": 12,
            "data": [eia_row(END_S - h * HOUR_S, f, p) for h in (0, 1) for f, p in MIX.items()],
        }
    }
).encode()


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_mangled_body_is_refused_or_read_never_anything_else(data: st.DataObject) -> None:
    body = bytearray(BODY)
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
        rows, total = decode_eia(bytes(body), zone="CISO", source="eia-930")
    except AicschedError:
        return
    assert total >= 0
    assert len(rows.code) == len(rows.start_s) == len(rows.lasts_s) == len(rows.power_mw)
    assert not np.isinf(rows.power_mw).any()
