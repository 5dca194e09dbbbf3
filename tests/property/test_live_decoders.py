"""Bodies changed at random: an error of ours, or numbers that a grid can have, and nothing else."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aicsched.domain.carbon import MAX_INTENSITY_G_PER_KWH, Quality
from aicsched.errors import AicschedError
from aicsched.signals.transport import Answer, Transport
from aicsched.slots import SlotGrid
from tests.live_sources_kit import HOUR_S, LIVE, NOW_S, Live
from tests.upstream_kit import Request, VirtualClock

if TYPE_CHECKING:
    from collections.abc import Callable

WINDOW = SlotGrid(NOW_S // HOUR_S * HOUR_S - 26 * HOUR_S, HOUR_S, 30)
SEEN = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["2026-05-04T09:00:00Z", "2026-05-04T09:00:00+14:00", "9999-12-31T23:59:59Z", "DE"])
    | st.sampled_from([0, -1, 300, 3600, 1e308, -0.0, 2500, 2501, 10**400])
)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
)


class InMemory(Transport):
    """Gives the answers of an API without a line between, each changed on its way."""

    def __init__(self, live: Live, change: Callable[[bytes], bytes]) -> None:
        super().__init__(live.name, clock=VirtualClock(NOW_S))
        self._api = live.api(lambda: NOW_S)
        self._change = change

    def get(self, url: str, *, params: Any = None, headers: Any = None, media: str = "") -> Answer:
        plain = {
            name.lower(): value if isinstance(value, str) else value.reveal()
            for name, value in (headers or {}).items()
        }
        asked = {
            name: value if isinstance(value, str) else value.reveal()
            for name, value in (params or {}).items()
        }
        reply = self._api(Request("/" + url.partition("://")[2].partition("/")[2], asked, plain))
        return Answer(body=self._change(reply.body), received_s=NOW_S, server_s=NOW_S)


@cache
def right(live: Live) -> np.ndarray:
    return np.array([live.right(start_s, HOUR_S) for start_s in WINDOW.starts_s().tolist()])


def read(live: Live, change: Callable[[bytes], bytes]) -> None:
    transport = InMemory(live, change)
    try:
        series = live.make("http://127.0.0.1", transport, transport._clock).read(live.zone, WINDOW)
    except AicschedError:
        return
    values, quality = series.values_g_per_kwh, np.asarray(series.quality)
    known = values[np.isfinite(values)]
    assert ((known >= 0) & (known <= MAX_INTENSITY_G_PER_KWH)).all()
    assert series.slots == WINDOW
    ahead = WINDOW.starts_s() > NOW_S + 120
    assert not (quality[ahead] == Quality.ACTUAL).any()
    assert (np.isnan(values) == np.isin(quality, [Quality.MISSING, Quality.QUARANTINED])).all()


def put(value: Any, path: list[int], new: Any) -> Any:
    """Put something at a place, found by turns that are taken modulo what there is."""
    if not path or not isinstance(value, dict | list) or not value:
        return new
    if isinstance(value, dict):
        key = list(value)[path[0] % len(value)]
        return {**value, key: put(value[key], path[1:], new)}
    at = path[0] % len(value)
    return [*value[:at], put(value[at], path[1:], new), *value[at + 1 :]]


@pytest.mark.parametrize("live", LIVE, ids=lambda live: live.name)
def test_unchanged_they_are_right(live: Live) -> None:
    transport = InMemory(live, lambda body: body)
    series = live.make("http://127.0.0.1", transport, transport._clock).read(live.zone, WINDOW)
    known = np.isfinite(series.values_g_per_kwh) & (WINDOW.starts_s() != NOW_S // HOUR_S * HOUR_S)
    assert known.sum() >= 20
    np.testing.assert_allclose(series.values_g_per_kwh[known], right(live)[known], rtol=1e-12)


@pytest.mark.parametrize("live", [live for live in LIVE if live.is_json], ids=lambda live: live.name)
@SEEN
@given(paths=st.lists(st.tuples(st.lists(st.integers(0, 500), max_size=5), anything), min_size=1, max_size=4))
def test_values_put_anywhere(live: Live, paths: list[tuple[list[int], Any]]) -> None:
    def change(body: bytes) -> bytes:
        made = json.loads(body)
        for path, new in paths:
            made = put(made, path, new)
        return json.dumps(made).encode()

    read(live, change)


@pytest.mark.parametrize("live", LIVE, ids=lambda live: live.name)
@SEEN
@given(edits=st.lists(st.tuples(st.integers(0, 10**6), st.binary(max_size=3)), min_size=1, max_size=4))
def test_bytes_put_anywhere(live: Live, edits: list[tuple[int, bytes]]) -> None:
    def change(body: bytes) -> bytes:
        for at, new in edits:
            here = at % (len(body) + 1)
            body = body[:here] + new + body[here + len(new) :]
        return body

    read(live, change)


@pytest.mark.parametrize("live", LIVE, ids=lambda live: live.name)
@SEEN
@given(body=st.binary(max_size=60) | anything.map(lambda value: json.dumps(value).encode()))
def test_any_body(live: Live, body: bytes) -> None:
    read(live, lambda _: body)
