"""The line below the transport: TLS, proxies, names, threads and file descriptors."""

from __future__ import annotations

import contextlib
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from aicsched.errors import AicschedError, SourceUnavailable
from aicsched.signals.clock import SystemClock
from aicsched.signals.transport import Answer, Limits, Secret, Transport
from tests import upstream_kit as kit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aicsched.signals.clock import Clock

HEADERS = {"auth-token": Secret("a-token")}


def api(request: kit.Request) -> kit.Reply:
    return kit.json_reply({"path": request.path})


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[kit.Upstream]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    with kit.upstream(api) as made:
        yield made


def transport(limits: Limits = kit.SMALL, clock: Clock | None = None) -> Transport:
    return Transport("test", limits=limits, clock=clock or kit.VirtualClock())


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a certificate of our own for this machine, and its key, in one file."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl on this machine to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    key, made = folder / "key.pem", folder / "certificate.pem"
    asked = f"req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout {key} -out {made}"
    names = "subjectAltName=DNS:localhost,IP:127.0.0.1"
    subprocess.run(["openssl", *asked.split(), "-addext", names], check=True, capture_output=True)
    both = folder / "both.pem"
    both.write_text(key.read_text() + made.read_text())
    return both


@pytest.fixture
def secured(server: kit.Upstream, certificate: Path) -> str:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    # The handshake is the handler's thread's affair: one that hangs must not hold up the others.
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    return server.url.replace("http://127.0.0.1", "https://localhost")


class TestTls:
    def test_a_trusted_upstream_answers(
        self, secured: str, certificate: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
        assert b"/v3" in transport().get(f"{secured}/v3", headers=HEADERS).body

    def test_an_untrusted_one_is_not_asked_anything(self, secured: str, server: kit.Upstream) -> None:
        with pytest.raises(SourceUnavailable, match="no certificate that can be trusted"):
            transport().get(secured, headers=HEADERS)
        assert server.seen == []

    def test_a_dripping_body_is_cut_through_tls(
        self, secured: str, server: kit.Upstream, certificate: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
        server.behave = kit.slow_headers
        begun_s = time.monotonic()
        with pytest.raises(SourceUnavailable, match="too long"):
            transport(kit.QUICK).get(secured, headers=HEADERS)
        assert time.monotonic() - begun_s < kit.QUICK.total_s + 3
        _refuse_leftovers()

    def test_a_handshake_that_drips_is_cut(self) -> None:
        stop = threading.Event()

        def drip(server: socket.socket) -> None:
            while not stop.is_set():
                with contextlib.suppress(OSError), server.accept()[0] as line:
                    # The head of a handshake record, and then its bytes one by one.
                    for byte in b"\x16\x03\x03\x40\x00" + bytes(1000):
                        line.send(bytes([byte]))
                        if stop.wait(0.05):
                            break

        with socket.create_server(("127.0.0.1", 0)) as server:
            server.settimeout(0.1)
            thread = threading.Thread(target=drip, args=(server,))
            thread.start()
            begun_s = time.monotonic()
            url = f"https://127.0.0.1:{server.getsockname()[1]}/"
            with pytest.raises(SourceUnavailable):
                transport(kit.QUICK, SystemClock()).get(url, headers=HEADERS)
            assert time.monotonic() - begun_s < kit.QUICK.total_s + 3
            _refuse_leftovers()
            stop.set()
            thread.join()


def _refuse_leftovers() -> None:
    until_s = time.monotonic() + 2
    while any(each.name == "aicsched-upstream" for each in threading.enumerate()):
        assert time.monotonic() < until_s
        time.sleep(0.01)


def test_a_proxy_that_is_down_is_named_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, f"http://user:proxy-pass@127.0.0.1:{port}")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SourceUnavailable, match="through the proxy") as caught:
        transport().get("https://api.example.org/v3", headers=HEADERS)
    assert "proxy-pass" not in "".join(traceback.format_exception(caught.value))


def test_a_name_that_is_looked_up_for_ever_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    stop = threading.Event()

    def hang(*_: Any, **__: Any) -> list[Any]:
        stop.wait(5)
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    begun_s = time.monotonic()
    with pytest.raises(SourceUnavailable, match="too long"):
        transport(Limits(total_s=0.3)).get("https://api.example.org/v3", headers=HEADERS)
    assert time.monotonic() - begun_s < 3
    stop.set()
    _refuse_leftovers()


def test_many_threads_share_a_transport(server: kit.Upstream) -> None:
    shared = transport()
    with ThreadPoolExecutor(16) as pool:
        paths = [f"/v3/{number}" for number in range(200)]
        found: list[Answer] = list(pool.map(lambda path: shared.get(server.url + path), paths))
    assert [answer.body for answer in found] == [b'{"path": "%s"}' % path.encode() for path in paths]


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="no list of open files on this machine")
def test_no_file_descriptor_stays_open(server: kit.Upstream) -> None:
    ways = [kit.well, kit.status(500), kit.truncated, kit.huge, kit.reset_midway, kit.hang_up, kit.slow_body]
    asked = transport(Limits(read_s=0.4, total_s=0.2, tries=1, open_after=10**6))
    counts: list[int] = []
    for _ in range(3):
        for way in ways:
            server.behave = way
            with contextlib.suppress(AicschedError):
                asked.get(server.url, headers=HEADERS)
        _refuse_leftovers()
        time.sleep(0.1)  # the server's own ends
        counts.append(len(list(Path("/proc/self/fd").iterdir())))
    assert counts[-1] <= counts[0] + 1


ASK = """
from aicsched.errors import SourceUnavailable
from aicsched.signals.transport import Transport
try:
    Transport("test").get("http://127.0.0.1:9/")
except SourceUnavailable as error:
    print(error)
"""


def test_tries_are_not_printed_where_nobody_asked_for_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    done = subprocess.run([sys.executable, "-c", ASK], capture_output=True, text=True, check=True)
    assert "(3 tries)" in done.stdout
    assert done.stderr == ""
