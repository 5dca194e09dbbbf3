"""ENTSO-E's actual generation per type: documents in the documented shape, made here, and what can be off."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from importlib import util
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aicsched.domain.carbon import IntensityKind, Quality
from aicsched.errors import AicschedError, ConfigError, SignalGap, SignalInvalid, SlotError, UnknownZone
from aicsched.footprint.intensity import emission_factors
from aicsched.signals.carbon.entsoe import ENTSOE_ZONES, EntsoeCarbon, decode_entsoe
from aicsched.signals.transport import Transport
from aicsched.slots import HOUR_S, SlotGrid, parse_time
from tests.mix_apis_kit import AREA, NO_DATA, EntsoeApi, entsoe_document, entsoe_series
from tests.upstream_kit import QUICK, Upstream, VirtualClock, upstream

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest.importorskip("entsoe", reason="the extra grid is not installed")

TOKEN = "t0ken-of-a-test"
END_S = parse_time("2026-05-01T12:00Z")
NOW_S = END_S + 1800
TYPES = {"B04": ("gas", 300.0), "B05": ("coal", 200.0), "B16": ("solar", 100.0), "B19": ("wind", 400.0)}
FACTORS = emission_factors()


def _told(code: str, points: dict[int, Any], **options: Any) -> str:
    return entsoe_series(code, points, **{"start_s": END_S - HOUR_S, "end_s": END_S} | options)


@pytest.fixture
def api() -> EntsoeApi:
    """Hourly but for the sun, which comes by quarters."""
    made = EntsoeApi(
        lambda: NOW_S, token=TOKEN, codes=tuple(TYPES), power=lambda code, _start_s: TYPES[code][1]
    )
    made.steps_s = {"B16": 900}
    return made


@pytest.fixture
def server(api: EntsoeApi) -> Iterator[Upstream]:
    with upstream(api) as made:
        made.time_s = lambda: NOW_S
        yield made


def _source(server: Upstream, **options: Any) -> EntsoeCarbon:
    clock = VirtualClock(NOW_S)
    limits = options.pop("limits", type(QUICK)(total_s=10.0))
    transport = Transport("entsoe", limits=limits, clock=clock)
    return EntsoeCarbon(
        options.pop("token", TOKEN), url=f"{server.url}/api", transport=transport, clock=clock, **options
    )


def _mean(powers: dict[str, float], scope: str = "lifecycle") -> float:
    factors = emission_factors(scope)
    return sum(factors[fuel] * power for fuel, power in powers.items()) / sum(powers.values())


@pytest.mark.parametrize("scope", ["lifecycle", "direct"])
def test_a_window_is_the_intensity_of_its_mix(server: Upstream, scope: str) -> None:
    window = SlotGrid(END_S - 6 * HOUR_S, HOUR_S, 6)
    made = _source(server, scope=scope).read("DE_LU", window)
    assert (made.kind, made.source) == (IntensityKind.AVERAGE, f"entsoe:{scope}#DE_LU")
    np.testing.assert_allclose(made.values_g_per_kwh, _mean(dict(TYPES.values()), scope))
    assert (np.asarray(made.quality) == Quality.ACTUAL).all()
    assert server.seen[0].params["in_Domain"] == AREA


def test_quarter_hours_among_hours_are_weighed_by_their_energy(api: EntsoeApi, server: Upstream) -> None:
    api.power = lambda code, start_s: 4.0 * (start_s % HOUR_S) / 900 if code == "B16" else TYPES[code][1]
    made = _source(server).read("DE_LU", SlotGrid(END_S - HOUR_S, HOUR_S, 1))
    powers = {fuel: power for fuel, power in TYPES.values() if fuel != "solar"} | {"solar": 6.0}
    assert made.values_g_per_kwh[0] == pytest.approx(_mean(powers))
    with pytest.raises(SlotError, match="3600 s"):
        _source(server).read("DE_LU", SlotGrid(END_S - HOUR_S, 900, 4))


def test_a_zone_by_quarter_hours_is_read_by_quarter_hours(api: EntsoeApi, server: Upstream) -> None:
    api.steps_s = dict.fromkeys(TYPES, 900)
    made = _source(server).read("DE_LU", SlotGrid(END_S - HOUR_S, 900, 4))
    assert (len(made.slots), made.missing) == (4, 0)


def test_quarter_hours_are_asked_for_by_whole_hours(api: EntsoeApi, server: Upstream) -> None:
    api.steps_s = dict.fromkeys(TYPES, 900)
    window = SlotGrid(END_S - HOUR_S + 900, 900, 2)
    made = _source(server).read("DE_LU", window)
    assert (made.slots, made.missing) == (window, 0)
    asked = server.seen[0].params
    assert {asked["periodStart"][-2:], asked["periodEnd"][-2:]} == {"00"}


@pytest.mark.parametrize(
    ("day", "hours"),
    [
        (("2026-03-29T00:00+01:00", "2026-03-30T00:00+02:00"), 23),
        (("2025-10-26T00:00+02:00", "2025-10-27T00:00+01:00"), 25),
    ],
)
def test_days_of_23_and_25_hours_have_a_value_each(
    server: Upstream, day: tuple[str, str], hours: int
) -> None:
    window = SlotGrid.from_times(*day)
    made = _source(server).read("DE_LU", window)
    assert (len(window), made.missing) == (hours, 0)
    assert server.seen[0].params["periodEnd"] == f"{datetime.fromtimestamp(window.end_s, tz=UTC):%Y%m%d%H%M}"


def test_without_a_window_it_reads_three_days(server: Upstream) -> None:
    made = _source(server).read("SE_3")
    assert (made.slots.end_s, len(made.slots), made.missing) == (END_S, 72, 0)


def test_a_long_window_is_asked_for_in_parts(api: EntsoeApi, server: Upstream) -> None:
    api.steps_s = {}
    made = _source(server).read("DE_LU", SlotGrid(END_S - 40 * 86_400, 86_400, 40))
    assert (len(server.seen), made.missing) == (2, 0)


def test_a_type_that_reports_late_leaves_its_hours_without_a_value(api: EntsoeApi, server: Upstream) -> None:
    late = END_S - 2 * HOUR_S
    api.power = lambda code, start_s: None if code == "B04" and start_s >= late else TYPES[code][1]
    made = _source(server).read("DE_LU", SlotGrid(late - HOUR_S, HOUR_S, 3))
    assert np.isnan(made.values_g_per_kwh).tolist() == [False, True, True]
    assert made.flags == ("fuel-missing:2",)
    with pytest.raises(SignalGap, match="fuel-missing:2"):
        _source(server).read("DE_LU", SlotGrid(late, HOUR_S, 2))


def test_nothing_at_all_is_a_gap(server: Upstream) -> None:
    with pytest.raises(SignalGap):
        _source(server).read("DE_LU", SlotGrid(END_S + 96 * HOUR_S, HOUR_S, 2))


def test_storage_and_what_it_takes_count_for_nothing(api: EntsoeApi, server: Upstream) -> None:
    def pumped(first_s: int, last_s: int) -> str:
        hours = dict.fromkeys(range(1, (last_s - first_s) // HOUR_S + 1), 900.0)
        both = (_told("B10", hours, start_s=first_s, end_s=last_s, side=side) for side in ("in", "out"))
        return "".join(both)

    api.extra = pumped
    made = _source(server).read("DE_LU", SlotGrid(END_S - 2 * HOUR_S, HOUR_S, 2))
    np.testing.assert_allclose(made.values_g_per_kwh, _mean(dict(TYPES.values())))


def test_a_type_that_only_consumes_is_not_missing() -> None:
    body = entsoe_document(
        _told("B16", {1: 50.0}, start_s=END_S - 2 * HOUR_S, end_s=END_S - HOUR_S),
        _told("B16", {1: 3.0}, side="out"),
    )
    rows = decode_entsoe(body, area=AREA, source="entsoe")
    assert dict(zip(rows.start_s.tolist(), rows.power_mw.tolist(), strict=True)) == {
        END_S - 2 * HOUR_S: 50.0,
        END_S - HOUR_S: 0.0,
    }


def test_a_type_that_does_both_counts_what_it_makes() -> None:
    body = entsoe_document(_told("B19", {1: 50.0}), _told("B19", {1: 3.0}, side="out"))
    assert decode_entsoe(body, area=AREA, source="entsoe").power_mw.tolist() == [50.0]


def test_positions_left_out_repeat_the_last_value_on_one_kind_of_curve_and_are_gaps_on_the_other() -> None:
    options = {"start_s": END_S - 4 * HOUR_S, "end_s": END_S}
    steps = decode_entsoe(
        entsoe_document(_told("B04", {1: 7, 3: 9}, curve="A03", **options)), area=AREA, source="e"
    )
    assert steps.power_mw.tolist() == [7.0, 7.0, 9.0, 9.0]
    plain = decode_entsoe(entsoe_document(_told("B04", {1: 7, 3: 9}, **options)), area=AREA, source="e")
    assert ((plain.start_s - options["start_s"]) // HOUR_S).tolist() == [0, 2]


def test_no_matching_data_is_no_rows_and_another_refusal_is_none() -> None:
    assert len(decode_entsoe(NO_DATA, area=AREA, source="entsoe").code) == 0
    for body in (NO_DATA.replace(b"999", b"B32"), NO_DATA.replace(b"No matching data found", b"Too much")):
        with pytest.raises(SignalInvalid, match="refuses the request"):
            decode_entsoe(body, area=AREA, source="entsoe")


GOOD = entsoe_document(*(_told(code, {1: power}) for code, (_, power) in TYPES.items()))


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        (AREA, "10YFR-RTE------C", "inBiddingZone_Domain.mRID"),
        ("MAW", "KWH", "quantity_Measure_Unit.name"),
        ("<curveType>A01</curveType>", "", "curveType"),
        ("<curveType>A01", "<curveType>A02", "curveType"),
        ("<psrType>B04", "<psrType>Fossil", "psrType"),
        ("<psrType>B04</psrType>", "", "psrType"),
        ("PT60M", "PT1H", "resolution"),
        ("PT60M", "P1D", "resolution"),
        ("<position>1", "<position>0", "position"),
        ("<position>1", "<position>2", "position"),
        ("<quantity>300.0", "<quantity>3,5", "Point"),
        ("<quantity>300.0", "<quantity>many", "Point"),
        ("<quantity>300.0", "<quantity>1e9", "Point"),
        ("<quantity>300.0</quantity>", "", "Point"),
        ("<start>2026-05-01T11:00Z", "<start>2026-05-01 11:00", "timeInterval"),
        (
            "<end>2026-05-01T12:00Z</end></timeInterval>\n<res",
            "<end>2026-05-01T12:20Z</end></timeInterval>\n<res",
            "timeInterval",
        ),
        ("<Period>", "<period>", "whole XML"),
        ("<TimeSeries>", "<TimeSeries >", "TimeSeries"),
        ("</GL_MarketDocument>", "", "whole XML"),
        ("GL_MarketDocument", "Publication_MarketDocument", "another document"),
        ("<mRID>1", "<!-- <TimeSeries> --><mRID>1", "definitions"),
        ("<GL_MarketDocument", '<!DOCTYPE x [<!ENTITY y "z">]><GL_MarketDocument', "definitions"),
    ],
)
def test_what_is_not_documented_is_refused_by_name(old: str, new: str, named: str) -> None:
    text = GOOD.decode()
    assert old in text
    count = -1 if "MarketDocument" in old and "/" not in old and "<" not in old else 1
    with pytest.raises(SignalInvalid, match=named):
        decode_entsoe(text.replace(old, new, count).encode(), area=AREA, source="entsoe")


def test_line_breaks_and_indents_change_nothing() -> None:
    wide = GOOD.replace(b"><", b">\r\n\t    <")
    rows, same = (decode_entsoe(body, area=AREA, source="entsoe") for body in (wide, GOOD))
    assert rows.power_mw.tolist() == same.power_mw.tolist()
    assert rows.start_s.tolist() == same.start_s.tolist()


def test_half_a_document_is_never_read_as_a_whole_one() -> None:
    """The parser that reads points takes whatever is there: a cut must be noticed before."""
    for end in range(0, len(GOOD.rstrip()) - 1, 7):
        with pytest.raises(SignalInvalid):
            decode_entsoe(GOOD[:end], area=AREA, source="entsoe")


def test_a_type_that_is_new_is_named_and_counts_as_other(api: EntsoeApi, server: Upstream) -> None:
    def new(first_s: int, last_s: int) -> str:
        hours = dict.fromkeys(range(1, (last_s - first_s) // HOUR_S + 1), 1000.0)
        return _told("B99", hours, start_s=first_s, end_s=last_s)

    api.extra = new
    made = _source(server).read("DE_LU", SlotGrid(END_S - HOUR_S, HOUR_S, 1))
    assert made.flags == ("fuel-unknown:B99",)
    assert made.values_g_per_kwh[0] == pytest.approx(_mean({**dict(TYPES.values()), "other": 1000.0}))


def test_a_refused_token_is_a_setting_to_mend_and_stays_unseen(server: Upstream) -> None:
    with pytest.raises(ConfigError) as caught:
        _source(server, token="another-t0ken").read("DE_LU")
    assert "another-t0ken" not in f"{caught.value} {caught.value.__cause__}"


def test_an_unknown_zone_costs_no_request(server: Upstream) -> None:
    with pytest.raises(UnknownZone, match="DE_LU"):
        _source(server).read("DE_LUX")
    with pytest.raises(SlotError, match="quarter-hours"):
        _source(server).read("DE_LU", SlotGrid(END_S, 600, 6))
    assert len(_source(server).read("DE_LU", SlotGrid(END_S, HOUR_S, 0)).slots) == 0
    assert not server.seen


def test_each_zone_is_one_that_entsoe_py_knows() -> None:
    from entsoe.mappings import lookup_area

    codes = [lookup_area(zone).code for zone in ENTSOE_ZONES]
    assert len(set(codes)) == len(ENTSOE_ZONES)


def test_without_the_extra_its_name_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(util, "find_spec", lambda _name: None)
    with pytest.raises(ConfigError, match=r"aicsched\[grid\]"):
        EntsoeCarbon(TOKEN)


def test_importing_the_source_does_not_import_the_extra() -> None:
    import subprocess

    code = "import sys, aicsched.signals.carbon.entsoe; print('entsoe' in sys.modules, 'bs4' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_the_mix_is_what_forecasts_take(server: Upstream) -> None:
    mix = _source(server).read_mix("DE_LU", SlotGrid(END_S - 5 * HOUR_S, HOUR_S, 5))
    assert set(mix.sources) == {"coal", "gas", "solar", "wind"}


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_a_mangled_body_is_refused_or_read_never_anything_else(data: st.DataObject) -> None:
    body = bytearray(GOOD)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(body) - 1))
        how = data.draw(st.sampled_from(["cut", "byte", "insert"]))
        if how == "cut":
            del body[at : at + data.draw(st.integers(1, 60))]
        elif how == "byte":
            body[at] = data.draw(st.integers(0, 255))
        else:
            body[at:at] = data.draw(st.binary(max_size=5))
        if not body:
            break
    try:
        rows = decode_entsoe(bytes(body), area=AREA, source="entsoe")
    except AicschedError:
        return
    assert len(rows.code) == len(rows.power_mw) <= len(TYPES)
    assert np.isfinite(rows.power_mw).all()
