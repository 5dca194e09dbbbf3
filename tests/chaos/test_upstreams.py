"""Each live source beside each way to misbehave: an error of ours or right numbers, and no secret."""

from __future__ import annotations

import json
import logging
import re
import resource
import time
import traceback
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from aicsched.errors import AicschedError, ConfigError, SignalError
from aicsched.signals.clock import SystemClock
from aicsched.slots import SlotGrid
from tests import upstream_kit as kit
from tests.live_sources_kit import HOUR_S, LIVE, NOW_S, SECRET, Live

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from aicsched.domain.carbon import CarbonSeries

    Behave = Callable[[kit.Handler, kit.Reply], None]

WINDOW = SlotGrid(NOW_S // HOUR_S * HOUR_S - 30 * HOUR_S, HOUR_S, 36)
MOST_KB = 60_000

SLOW: dict[str, Behave] = {
    "silent": kit.silent,
    "slow headers": kit.slow_headers,
    "slow body": kit.slow_body,
    "slow chunks": kit.slow_chunks,
}
WRONG: dict[str, Behave] = {
    "hangs up": kit.hang_up,
    "429": kit.status(429, Retry_After="7"),
    "429 for long": kit.status(429, Retry_After="86400"),
    "500": kit.status(500),
    "503 until": kit.status(503, Retry_After="Wed, 21 Oct 2099 07:28:00 GMT"),
    "401": kit.status(401),
    "403": kit.status(403),
    "404": kit.status(404),
    "204": kit.status(204),
    "web page": kit.html,
    "web page called json": kit.html_as_json,
    "octets": kit.octets,
    "truncated": kit.truncated,
    "truncated chunks": kit.truncated_chunks,
    "half a body": kit.half,
    "huge": kit.huge,
    "huge, unsaid": kit.huge_unsaid,
    "bomb": kit.bomb,
    "half packed": kit.half_packed,
    "badly packed": kit.badly_packed,
    "strangely packed": kit.strangely_packed,
    "redirect": kit.redirect("http://127.0.0.1:9/login"),
    "reset midway": kit.reset_midway,
    "no http": kit.no_http,
    "bad headers": kit.bad_headers,
    "utf-16": kit.utf_16,
    "no utf-8": kit.no_utf_8,
    "nothing": kit.body(b""),
    "null": kit.body(b"null"),
    "a list": kit.body(b"[]"),
    "an empty object": kit.body(b"{}"),
    "a number": kit.body(b"NaN"),
    "deep": kit.body(b"[" * 100_000),
    "deep objects": kit.body(b'{"x":' * 50_000),
}


class ShiftedClock(SystemClock):
    """Runs as the real one does, from the time of the tests' answers on."""

    def __init__(self) -> None:
        self._begun_s = time.time()

    def now_s(self) -> float:
        return NOW_S + time.time() - self._begun_s


@pytest.fixture(params=LIVE, ids=lambda live: live.name)
def live(request: pytest.FixtureRequest) -> Live:
    return request.param


@pytest.fixture
def server(live: Live, monkeypatch: pytest.MonkeyPatch) -> Iterator[kit.Upstream]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with kit.upstream(live.api(lambda: NOW_S)) as made:
        made.time_s = lambda: NOW_S
        yield made


def after(times: int, behave: Behave) -> Behave:
    """Be well a few times, then misbehave."""
    return kit.after_failing(times, kit.well, behave)


def put_to(live: Live, server: kit.Upstream, window: SlotGrid = WINDOW, **given: Any) -> Any:
    """Read from a source; return its series, or the error of ours that it ended in."""
    given.setdefault("limits", kit.SMALL if window is WINDOW else kit.Limits())
    try:
        return live.source(server.url, **given).read(live.zone, window)
    except AicschedError as error:
        return error


def refuse_wrong(live: Live, found: CarbonSeries | AicschedError, *, flaky: bool = False) -> None:
    """Right numbers, or the right kind of error, and no secret in either."""
    if isinstance(found, AicschedError):
        assert isinstance(found, SignalError | ConfigError), repr(found)
        assert not flaky, repr(found)
        assert found.hint
        _refuse_secret("".join(traceback.format_exception(found)) + repr(found.value) + repr(vars(found)))
        return
    starts_s = found.slots.starts_s()
    known = np.isfinite(found.values_g_per_kwh) & (starts_s != NOW_S // HOUR_S * HOUR_S)
    right = np.array([live.right(int(start_s), found.slots.step_s) for start_s in starts_s])
    np.testing.assert_allclose(found.values_g_per_kwh[known], right[known], rtol=1e-12)


def _refuse_secret(text: str) -> None:
    for form in (SECRET, "made-up%2Fsecret", "made-up/secret", json.dumps(SECRET)[1:-1], "bWU6bWFkZS11"):
        assert form not in text, text


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("way", list(WRONG))
def test_what_is_wrong_is_an_error_or_right(
    live: Live, server: kit.Upstream, way: str, first: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.behave = after(first, WRONG[way])
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun_s = time.monotonic()
    found = put_to(live, server)
    assert time.monotonic() - begun_s < 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb < MOST_KB
    refuse_wrong(live, found)
    assert first or isinstance(found, AicschedError)
    _refuse_secret(caplog.text + "".join(repr(record.__dict__) for record in caplog.records))


@pytest.mark.parametrize("way", list(SLOW))
def test_what_is_slow_ends_in_time(live: Live, server: kit.Upstream, way: str) -> None:
    server.behave = SLOW[way]
    begun_s = time.monotonic()
    found = put_to(live, server, limits=kit.QUICK, clock=ShiftedClock())
    assert time.monotonic() - begun_s < kit.QUICK.total_s + 3
    assert isinstance(found, AicschedError)
    refuse_wrong(live, found)


@pytest.mark.parametrize(
    "way", ["hangs up", "500", "429", "truncated", "reset midway", "half packed", "no http"]
)
def test_what_passes_leaves_right_numbers(live: Live, server: kit.Upstream, way: str) -> None:
    server.behave = kit.after_failing(2, WRONG[way])
    refuse_wrong(live, put_to(live, server), flaky=True)


def test_half_a_window_is_never_the_whole(live: Live, server: kit.Upstream) -> None:
    window = SlotGrid(WINDOW.start_s - live.span_s, HOUR_S, live.span_s // HOUR_S)
    assert not isinstance(put_to(live, server, window), AicschedError)
    requests = len(server.seen)
    for well in range(requests):
        server.behave = after(well, kit.status(500))
        assert isinstance(put_to(live, server, window), AicschedError)


def test_clocks_that_differ_are_said(live: Live, server: kit.Upstream) -> None:
    for offset_s in (-3600, 3600):
        server.behave = kit.dated(offset_s)
        found = put_to(live, server)
        refuse_wrong(live, found, flaky=True)
        assert f"clock-skew:{-offset_s}" in found.flags


# ------------------------------------------------------------------ shapes that drift


def keys_of(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set(value).union(*map(keys_of, value.values())) if value else set()
    return set().union(*map(keys_of, value)) if isinstance(value, list) and value else set()


def changed(value: Any, key: str, how: Callable[[dict[str, Any], str], None]) -> Any:
    """Change a key wherever it stands."""
    if isinstance(value, list):
        return [changed(each, key, how) for each in value]
    if not isinstance(value, dict):
        return value
    made = {name: changed(each, key, how) for name, each in value.items()}
    if key in made:
        how(made, key)
    return made


def renamed(found: dict[str, Any], key: str) -> None:
    found[f"{key}V4"] = found.pop(key)


def put(value: Any) -> Callable[[dict[str, Any], str], None]:
    def how(found: dict[str, Any], key: str) -> None:
        found[key] = value

    return how


DRIFTS: dict[str, Callable[[dict[str, Any], str], None]] = {
    "renamed": renamed,
    "null": put(None),
    "a word": put("unbekannt"),
    "a number as text": put("412"),
    "true": put(True),
    "a list": put([]),
    "an object": put({}),
    "negative": put(-1e9),
    "far too large": put(1e12),
    "another time": put("2031-01-01T00:00:00Z"),
    "no time": put("0000-00-00T00:00:00Z"),
    "without offset": put("2026-05-04T10:00:00"),
}


def drifting(key: str, how: Callable[[dict[str, Any], str], None]) -> Behave:
    def behave(handler: kit.Handler, reply: kit.Reply) -> None:
        body = json.dumps(changed(json.loads(reply.body), key, how)).encode()
        handler.send(kit.replace(reply, body=body))

    return behave


@pytest.mark.parametrize("way", list(DRIFTS))
@pytest.mark.parametrize("live", [live for live in LIVE if live.is_json], ids=lambda live: live.name)
def test_a_shape_that_drifts_gives_no_wrong_number(live: Live, server: kit.Upstream, way: str) -> None:
    bodies: list[bytes] = []

    def listen(handler: kit.Handler, reply: kit.Reply) -> None:
        bodies.append(reply.body)
        handler.send(reply)

    server.behave = listen
    refuse_wrong(live, put_to(live, server), flaky=True)
    refused = 0
    for key in sorted(set().union(*(keys_of(json.loads(body)) for body in bodies))):
        server.behave = drifting(key, DRIFTS[way])
        found = put_to(live, server)
        refuse_wrong(live, found)
        refused += isinstance(found, AicschedError)
    assert refused


XML_DRIFTS: dict[str, Callable[[str, str], str]] = {
    "renamed": lambda name, text: f"<{name}V4>{text}</{name}V4>",
    "gone": lambda _name, _text: "",
    "empty": lambda name, _text: f"<{name}></{name}>",
    "a word": lambda name, _text: f"<{name}>unbekannt</{name}>",
    "a number": lambda name, _text: f"<{name}>412</{name}>",
    "nested": lambda name, text: f"<{name}><{name}>{text}</{name}></{name}>",
    "twice": lambda name, text: f"<{name}>{text}</{name}>" * 2,
    "negative": lambda name, _text: f"<{name}>-1000000000</{name}>",
    "far too large": lambda name, _text: f"<{name}>1e12</{name}>",
    "another time": lambda name, _text: f"<{name}>2031-01-01T00:00Z</{name}>",
    "without offset": lambda name, _text: f"<{name}>2026-05-04T10:00</{name}>",
}
LEAF = re.compile(r"<([\w.]+)((?: [^<>]*)?)>([^<]*)</\1>")


@pytest.mark.parametrize("way", list(XML_DRIFTS))
@pytest.mark.parametrize("live", [live for live in LIVE if not live.is_json], ids=lambda live: live.name)
def test_xml_that_drifts_gives_no_wrong_number(live: Live, server: kit.Upstream, way: str) -> None:
    names: set[str] = set()

    def listen(handler: kit.Handler, reply: kit.Reply) -> None:
        names.update(found.group(1) for found in LEAF.finditer(reply.body.decode()))
        handler.send(reply)

    server.behave = listen
    refuse_wrong(live, put_to(live, server), flaky=True)
    assert {"psrType", "quantity", "position", "resolution", "start", "end", "curveType"} <= names
    refused = 0
    for name in sorted(names):

        def drift(handler: kit.Handler, reply: kit.Reply, name: str = name) -> None:
            def one(element: re.Match[str]) -> str:
                return XML_DRIFTS[way](name, element[3]) if element[1] == name else element[0]

            handler.send(kit.replace(reply, body=LEAF.sub(one, reply.body.decode()).encode()))

        server.behave = drift
        found = put_to(live, server)
        refuse_wrong(live, found)
        refused += isinstance(found, AicschedError)
    assert refused


@pytest.mark.parametrize("live", [live for live in LIVE if live.is_json], ids=lambda live: live.name)
def test_more_fields_than_documented_are_no_drift(live: Live, server: kit.Upstream) -> None:
    def more(handler: kit.Handler, reply: kit.Reply) -> None:
        body = json.loads(reply.body)
        handler.send(
            kit.json_reply({**body, "_disclaimer": {"made": ["up"]}}, Date=kit.formatdate(NOW_S, usegmt=True))
        )

    server.behave = more
    refuse_wrong(live, put_to(live, server), flaky=True)
