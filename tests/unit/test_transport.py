"""The one way to upstreams: bounded in time, size and tries, and silent about secrets."""

from __future__ import annotations

import json
import logging
import pickle
import re
import resource
import threading
import time
import traceback
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

import pytest
import stamina

from aicsched.errors import AicschedError, ConfigError, SignalInvalid, SourceUnavailable
from aicsched.signals.clock import SystemClock
from aicsched.signals.decoding import decode_json
from aicsched.signals.secrets import MASK, Secret, basic_auth, masked
from aicsched.signals.transport import Answer, Limits, Transport
from tests import upstream_kit as kit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BODY = {"zone": "DE", "g": [412.5, 380.0]}
TOKEN = "tok/en+of 4711"


def api(request: kit.Request) -> kit.Reply:
    return kit.json_reply(BODY)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[kit.Upstream]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with kit.upstream(api) as made:
        yield made


def ask(
    server: kit.Upstream, limits: Limits = kit.SMALL, **given: Any
) -> tuple[Answer | AicschedError, float]:
    """Ask once, on a virtual clock for the waits, and take the time on the real one."""
    transport = Transport("test", limits=limits, clock=given.pop("clock", kit.VirtualClock()))
    begun_s = time.monotonic()
    try:
        found: Answer | AicschedError = transport.get(f"{server.url}/v3/latest", **given)
    except AicschedError as error:
        found = error
    return found, time.monotonic() - begun_s


def test_a_good_answer_comes_through_with_both_clocks(server: kit.Upstream) -> None:
    found, _ = ask(server, params={"zone": "DE"}, headers={"auth-token": Secret(TOKEN)})
    assert isinstance(found, Answer)
    assert json.loads(found.body) == BODY
    assert abs((found.server_s or 0) - time.time()) < 5
    (seen,) = server.seen
    assert seen.params == {"zone": "DE"}
    assert seen.headers["auth-token"] == TOKEN
    assert seen.headers["user-agent"].startswith("aicsched/")


def test_a_packed_answer_is_unpacked(server: kit.Upstream) -> None:
    server.behave = kit.packed
    found, _ = ask(server)
    assert isinstance(found, Answer)
    assert json.loads(found.body) == BODY


WRONG: dict[str, tuple[Callable[[kit.Handler, kit.Reply], None], type[AicschedError], str, int]] = {
    "silent": (kit.silent, SourceUnavailable, "sent nothing for 0.4 s|too long", 3),
    "hangs up": (kit.hang_up, SourceUnavailable, "broke off", 3),
    "slow headers": (kit.slow_headers, SourceUnavailable, "too long", 1),
    "slow body": (kit.slow_body, SourceUnavailable, "too long", 1),
    "slow chunks": (kit.slow_chunks, SourceUnavailable, "too long", 1),
    "429": (kit.status(429), SourceUnavailable, "too many requests", 3),
    "500": (kit.status(500), SourceUnavailable, "internal error", 3),
    "503": (kit.status(503), SourceUnavailable, "unavailable", 3),
    "501": (kit.status(501), SourceUnavailable, "501", 3),
    "404": (kit.status(404), SignalInvalid, "not found", 1),
    "401": (kit.status(401), ConfigError, "refuses the token", 1),
    "403": (kit.status(403), ConfigError, "refuses the token", 1),
    "204": (kit.status(204), SignalInvalid, "204", 1),
    "web page": (kit.html, SignalInvalid, "web page .* login", 1),
    "octets": (kit.octets, SignalInvalid, "octet-stream", 1),
    "truncated": (kit.truncated, SignalInvalid, "broke off", 3),
    "truncated chunks": (kit.truncated_chunks, SignalInvalid, "broke off", 3),
    "reset": (kit.reset_midway, SourceUnavailable, "broke off", 3),
    "huge": (kit.huge, SignalInvalid, "more than 200000 bytes", 1),
    "huge, unsaid": (kit.huge_unsaid, SignalInvalid, "more than 200000 bytes", 1),
    "bomb": (kit.bomb, SignalInvalid, "more than 200000 bytes", 1),
    "half packed": (kit.half_packed, SignalInvalid, "broke off", 3),
    "badly packed": (kit.badly_packed, SignalInvalid, "can't be unpacked", 3),
    "strangely packed": (kit.strangely_packed, SignalInvalid, "'br'", 1),
    "no http": (kit.no_http, SourceUnavailable, "no HTTP", 3),
    "points to itself": (kit.redirect("/v3/latest"), SourceUnavailable, "another address", 1),
}


SLOW = frozenset({"silent", "slow headers", "slow body", "slow chunks"})


@pytest.mark.parametrize("way", list(WRONG))
def test_each_misbehaviour_is_an_error_of_ours_in_time(server: kit.Upstream, way: str) -> None:
    behave, error, words, tries = WRONG[way]
    server.behave = behave
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    limits = kit.QUICK if way in SLOW else kit.SMALL
    found, took_s = ask(server, limits, headers={"auth-token": Secret(TOKEN)}, params={"key": Secret(TOKEN)})
    assert type(found) is error
    assert isinstance(found, AicschedError)
    assert re.search(words, str(found)), str(found)
    # On this virtual clock each try has the whole time; in earnest they share it.
    assert took_s < tries * limits.total_s + 3
    assert len(server.seen) == tries
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000
    told = "".join(traceback.format_exception(found)) + repr(found) + repr(found.value)
    for form in (TOKEN, "tok%2Fen%2Bof+4711", "tok/en%2Bof%204711"):
        assert form not in told


def test_the_whole_call_keeps_its_time_on_a_real_clock(server: kit.Upstream) -> None:
    server.behave = kit.silent
    found, took_s = ask(server, kit.QUICK, clock=SystemClock())
    assert type(found) is SourceUnavailable
    assert took_s < kit.QUICK.total_s + 3


def test_a_cut_line_leaves_no_thread_behind(server: kit.Upstream) -> None:
    server.behave = kit.slow_headers
    for _ in range(3):
        ask(server, Limits(read_s=0.4, total_s=0.2))
    until_s = time.monotonic() + 2
    while any(each.name == "aicsched-upstream" for each in threading.enumerate()):
        assert time.monotonic() < until_s
        time.sleep(0.01)


def test_nobody_there_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with kit.upstream(api) as server:
        url = server.url
    clock = kit.VirtualClock()
    with pytest.raises(SourceUnavailable, match=r"can't be reached \(3 tries\)"):
        Transport("test", limits=kit.SMALL, clock=clock).get(url)
    assert len(clock.waits) == 2


def test_a_passing_fault_is_tried_over(server: kit.Upstream) -> None:
    server.behave = kit.after_failing(2, kit.status(503))
    clock = kit.VirtualClock()
    found, _ = ask(server, Limits(), clock=clock)
    assert isinstance(found, Answer)
    assert len(server.seen) == 3
    assert all(0.1 < wait_s < 0.6 for wait_s in clock.waits)


def test_waits_are_jittered(server: kit.Upstream) -> None:
    server.behave = kit.status(503)
    clock = kit.VirtualClock()
    ask(server, Limits(tries=4, open_after=9), clock=clock)
    assert len(set(clock.waits)) == 3


@pytest.mark.parametrize("as_date", [False, True])
def test_retry_after_is_waited_for(server: kit.Upstream, *, as_date: bool) -> None:
    clock = kit.VirtualClock(time.time())
    after = formatdate(time.time() + 8, usegmt=True) if as_date else "7"
    server.behave = kit.after_failing(1, kit.status(429, Retry_After=after))
    found, _ = ask(server, Limits(), clock=clock)
    assert isinstance(found, Answer)
    assert 6 < clock.waits[0] <= 8.1


@pytest.mark.parametrize("after", ["120", "999999999999", "Wed, 21 Oct 2099 07:28:00 GMT"])
def test_a_long_retry_after_is_kept_between_calls_and_capped(server: kit.Upstream, after: str) -> None:
    clock = kit.VirtualClock()
    transport = Transport("test", limits=Limits(), clock=clock)
    server.behave = kit.status(429, Retry_After=after)
    with pytest.raises(SourceUnavailable, match="too many"):
        transport.get(server.url)
    assert clock.waits == []
    server.behave = kit.well
    with pytest.raises(SourceUnavailable, match="asked to be left alone") as caught:
        transport.get(server.url)
    assert len(server.seen) == 1
    assert caught.value.value <= 300
    clock.time_s += caught.value.value
    assert transport.get(server.url).body


@pytest.mark.parametrize("after", ["-5", "soon", "", "1e9", "Wed, 99 Oct 2099"])
def test_a_strange_retry_after_is_none(server: kit.Upstream, after: str) -> None:
    server.behave = kit.after_failing(1, kit.status(503, Retry_After=after))
    found, _ = ask(server, Limits())
    assert isinstance(found, Answer)


def test_the_circuit_opens_rests_and_closes(server: kit.Upstream) -> None:
    clock = kit.VirtualClock()
    transport = Transport("test", limits=Limits(), clock=clock)
    server.behave = kit.status(500)
    for _ in range(2):
        with pytest.raises(SourceUnavailable, match="500"):
            transport.get(server.url)
    assert len(server.seen) == 5
    with pytest.raises(SourceUnavailable, match="kept failing: no request for another 60 s"):
        transport.get(server.url)
    assert len(server.seen) == 5
    clock.time_s += 60
    with pytest.raises(SourceUnavailable, match="500"):
        transport.get(server.url)
    assert len(server.seen) == 6  # the one trial of the half-open circuit
    with pytest.raises(SourceUnavailable, match="kept failing"):
        transport.get(server.url)
    clock.time_s += 60
    server.behave = kit.well
    assert transport.get(server.url).body
    server.behave = kit.after_failing(2, kit.status(500))
    assert transport.get(server.url).body


def test_a_half_open_circuit_lets_one_through_at_a_time(server: kit.Upstream) -> None:
    transport = Transport("test", limits=Limits(open_after=1, tries=1), clock=kit.VirtualClock())
    server.behave = kit.status(500)
    with pytest.raises(SourceUnavailable):
        transport.get(server.url)
    transport._clock.time_s += 60
    came, go = threading.Event(), threading.Event()

    def wait(handler: kit.Handler, reply: kit.Reply) -> None:
        came.set()
        go.wait(5)
        kit.well(handler, reply)

    server.behave = wait
    trial = threading.Thread(target=transport.get, args=(server.url,))
    trial.start()
    assert came.wait(5)
    with pytest.raises(SourceUnavailable, match="kept failing"):
        transport.get(server.url)
    go.set()
    trial.join()
    assert transport.get(server.url).body


def test_refusals_do_not_open_the_circuit(server: kit.Upstream) -> None:
    transport = Transport("test", limits=Limits(open_after=2), clock=kit.VirtualClock())
    for code in (401, 404, 400, 302, 403):
        server.behave = kit.status(code)
        with pytest.raises(AicschedError) as caught:
            transport.get(server.url)
        assert caught.value.value == code


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed_and_no_token_goes_elsewhere(server: kit.Upstream, code: int) -> None:
    with kit.upstream(api) as other:
        server.behave = kit.redirect(f"{other.url}/x?key=1", code)
        found, _ = ask(server, headers={"auth-token": Secret(TOKEN)})
        assert type(found) is SourceUnavailable
        assert other.seen == []
    assert "key=1" not in str(found)


def test_what_the_api_says_is_quoted_without_the_token(server: kit.Upstream) -> None:
    server.behave = kit.status(400)
    found, _ = ask(server, headers={"auth-token": Secret(TOKEN)})
    assert "status 400" in str(found)
    assert MASK in str(found)


def test_logs_hold_no_secret(server: kit.Upstream, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    server.behave = kit.after_failing(1, kit.status(503), kit.bad_headers)
    header = basic_auth("u", Secret("pa ss/"))
    ask(
        server,
        params={"api_key": Secret(TOKEN)},
        headers={"authorization": header},
    )
    assert len(server.seen) == 2
    said = caplog.text + "".join(repr(record.__dict__) for record in caplog.records)
    assert {"urllib3.connectionpool", "urllib3.connection"} <= {record.name for record in caplog.records}
    for form in (TOKEN, "tok%2Fen", "pa ss/", header.reveal()[6:]):
        assert form not in said


def test_no_password_of_a_netrc_file_goes_along(
    server: kit.Upstream, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password hidden")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    ask(server)
    assert "authorization" not in server.seen[0].headers


def test_no_cookie_is_kept(server: kit.Upstream) -> None:
    transport = Transport("test", limits=Limits(), clock=kit.VirtualClock())
    server.api = lambda _: kit.json_reply(BODY, **{"Set-Cookie": "id=1"})
    for _ in range(2):
        transport.get(server.url)
    assert all("cookie" not in seen.headers for seen in server.seen)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ftp://example.org", "no address of http"),
        ("example.org/v3", "no address of http"),
        ("https://me:hidden@example.org/v3", "a user or a password in it"),
        ("http://example.org/v3", "in plain text"),
        ("https://exa mple.org/v3", "can't be asked"),
        ("https://", "no address of http"),
    ],
)
def test_an_address_that_can_not_be_used_is_a_setting_to_mend(url: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        Transport("test", limits=kit.QUICK).get(url, headers={"auth-token": Secret(TOKEN)})
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize("changed", [{"tries": 0}, {"total_s": -1.0}, {"read_s": float("nan")}])
def test_limits_are_positive(changed: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(changed))):
        Limits(**changed)


def test_stamina_is_the_switch_of_tries(server: kit.Upstream) -> None:
    server.behave = kit.status(503)
    with stamina.set_testing(True, attempts=1):
        ask(server)
    assert len(server.seen) == 1


def test_clocks_that_differ_are_told(server: kit.Upstream) -> None:
    server.behave = kit.dated(-3600)
    found, _ = ask(server, clock=kit.VirtualClock(time.time()))
    assert isinstance(found, Answer)
    assert found.flags()[0].startswith(("clock-skew:3600", "clock-skew:3599", "clock-skew:3601"))
    assert Answer(body=b"", received_s=100.0, server_s=0.0).flags() == ()
    assert Answer(body=b"", received_s=100.0).flags() == ()


class TestSecret:
    @pytest.mark.parametrize("bad", ["", "  \n", "a\nb", "a\x00b"])
    def test_what_is_no_token_is_refused_unquoted(self, bad: str) -> None:
        with pytest.raises(ConfigError) as caught:
            Secret(bad)
        assert repr(bad) not in str(caught.value)

    def test_no_writing_shows_it(self) -> None:
        secret = Secret(f"{TOKEN}\n")
        assert secret.reveal() == TOKEN
        for text in (str(secret), repr(secret), f"{secret}", f"{secret:>10}", f"{secret!r}", repr([secret])):
            assert TOKEN not in text
        with pytest.raises(TypeError):
            pickle.dumps(secret)

    def test_a_secret_within_another_is_masked_with_it(self) -> None:
        assert masked("key=abcdef", [Secret("abc"), Secret("abcdef")]) == "key=***"

    @pytest.mark.parametrize("said", ['a\\"b\\/c', "a%22b%2Fc", "a%22b/c", 'a"b/c'])
    def test_each_writing_is_masked(self, said: str) -> None:
        assert masked(f"<{said}>", [Secret('a"b/c')]) == "<***>"

    def test_a_colon_would_split_the_pair(self) -> None:
        with pytest.raises(ConfigError, match="colon"):
            basic_auth("a:b", Secret("c"))


@pytest.mark.parametrize(
    "body",
    [b"", b"[" * 100_000, b"\xff\xfe", b'{"g": NaN}', b'{"g": 1e999}', b"null", b"{}", b'{"g": "1"}', b"[1]"],
)
def test_what_does_not_decode_is_invalid(body: bytes) -> None:
    with pytest.raises(SignalInvalid, match="test sent"):
        decode_json(body, dict[str, float] if body != b"{}" else list[int], source="test")
