"""Certificates and tokens: on real handshakes, with files that change under a running server."""

from __future__ import annotations

import asyncio
import http.client
import logging
import ssl
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client import CollectorRegistry

from aicsched.errors import ConfigError
from aicsched.extender.app import ExtenderApp
from aicsched.extender.server import serve
from aicsched.extender.snapshot import SnapshotHolder
from aicsched.extender.trust import CLIENT_NAMES, Trust
from aicsched.extender.trust.files import last_moment_s
from tests.extender_kit import Client, args_by_name, judge_prioritize, snapshot_of
from tests.trust_kit import Authority, Pair, ServerProcess, client_context, make_authority, openssl

if TYPE_CHECKING:
    from collections.abc import Iterator

REQUEST = args_by_name("a", "b")
OLD, NEW = "old-token-0123456789", "new-token-0123456789"


@pytest.fixture(scope="module")
def ours(tmp_path_factory: Any) -> Authority:
    return make_authority(tmp_path_factory.mktemp("ours"), "ours")


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: Any) -> Authority:
    return make_authority(tmp_path_factory.mktemp("theirs"), "theirs")


@pytest.fixture(scope="module")
def pair(ours: Authority) -> Pair:
    return ours.issue("server")


@pytest.fixture(scope="module")
def scheduler(ours: Authority) -> Pair:
    return ours.issue("kube-scheduler", names="")


@pytest.fixture(scope="module")
def mutual(ours: Authority, pair: Pair) -> Iterator[ServerProcess]:
    trust = {"cert_file": pair.cert, "key_file": pair.key, "client_ca_file": ours.cert}
    with ServerProcess(trust=trust, probes_port=0, limits={"read_s": 0.5}) as server:
        yield server


def refused(server: ServerProcess, context: ssl.SSLContext) -> str:
    """Tell how a server refused: in TLS 1.3 only the first read learns it."""
    link = server.link(context)
    try:
        link.request("POST", "/prioritize", b"{}")
        link.getresponse()
    except (ssl.SSLError, http.client.RemoteDisconnected, ConnectionResetError) as error:
        return str(error)
    finally:
        link.close()
    return ""


# ---------------------------------------------------------------- handshakes


def test_a_known_certificate_is_answered_and_kept(mutual: Any, ours: Any, scheduler: Any) -> None:
    link = mutual.link(client_context(ours, scheduler))
    for _ in range(3):
        answer = mutual.call("POST", "/prioritize", REQUEST, link=link)
        assert judge_prioritize(REQUEST, answer) == {"a": 10, "b": 0}
    assert link.sock.version() == "TLSv1.3"
    link.close()


def test_no_certificate_is_refused(mutual: Any, ours: Any) -> None:
    assert "CERTIFICATE_REQUIRED" in refused(mutual, client_context(ours)).upper()


def test_a_certificate_of_another_ca_is_refused(mutual: Any, ours: Any, theirs: Any) -> None:
    said = refused(mutual, client_context(ours, theirs.issue("kube-scheduler", names="")))
    assert "UNKNOWN_CA" in said.upper()


def test_an_expired_certificate_is_refused(mutual: Any, ours: Any) -> None:
    said = refused(mutual, client_context(ours, ours.issue("late", names="", days=-1)))
    assert "EXPIRED" in said.upper()


def test_a_client_that_trusts_another_ca_refuses_us(mutual: Any, theirs: Any) -> None:
    assert "CERTIFICATE_VERIFY_FAILED" in refused(mutual, client_context(theirs))


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_tls_1_2_and_1_3_are_spoken_without_http_2(
    mutual: Any, ours: Any, scheduler: Any, version: Any
) -> None:
    context = client_context(ours, scheduler)
    context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
    context.set_alpn_protocols(["h2", "http/1.1"])
    link = mutual.link(context)
    assert mutual.call("POST", "/prioritize", REQUEST, link=link).status == 200
    assert link.sock.version() == version.replace("_", ".")
    assert link.sock.selected_alpn_protocol() is None
    link.close()


@pytest.mark.parametrize("version", ["TLSv1", "TLSv1_1"])
def test_older_tls_is_refused_by_the_server(mutual: Any, ours: Any, scheduler: Any, version: Any) -> None:
    context = client_context(ours, scheduler)
    context.set_ciphers("ALL:@SECLEVEL=0")  # or the client itself would refuse
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
    assert "ALERT_PROTOCOL_VERSION" in refused(mutual, context)
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # the version was all that was wrong
    assert refused(mutual, context) == ""


def test_plain_http_on_a_tls_port_is_no_crash(mutual: Any, ours: Any, scheduler: Any) -> None:
    with pytest.raises((http.client.BadStatusLine, ConnectionResetError)):
        mutual.call("POST", "/prioritize", REQUEST)
    answer = mutual.call("POST", "/prioritize", REQUEST, context=client_context(ours, scheduler))
    assert answer.status == 200


def test_a_handshake_that_never_comes_is_dropped(mutual: Any) -> None:
    link = mutual.link()
    link.connect()
    begun_s = time.monotonic()
    assert link.sock.recv(1) == b""
    assert time.monotonic() - begun_s < 5
    link.close()


def test_probes_have_a_plain_port_that_answers_nothing_else(mutual: Any, pair: Any) -> None:
    for method, path, status in (("GET", "/livez", 200), ("GET", "/readyz", 200), ("POST", "/filter", 404)):
        link = http.client.HTTPConnection("127.0.0.1", mutual.probes_port, timeout=20)
        link.request(method, path)
        assert link.getresponse().status == status
        link.close()
    expiry = mutual.metrics()["aicsched_certificate_expiry_timestamp_seconds", "server"]
    assert expiry == openssl_end_s(pair.cert)


def openssl_end_s(path: Path) -> float:
    said = openssl("x509", "-in", path, "-noout", "-enddate").strip().partition("=")[2]
    return float(ssl.cert_time_to_seconds(said))


# ---------------------------------------------------------------- files that change


def put(folder: Path, files: dict[str, Path]) -> None:
    """Swap a folder's contents as a kubelet does: new folder, new link, one rename."""
    fresh = folder / f"..{time.monotonic_ns()}"
    fresh.mkdir()
    for name, path in files.items():
        (fresh / name).write_bytes(path.read_bytes())
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(Path("..data") / name)
    (folder / "..tmp").symlink_to(fresh.name)
    (folder / "..tmp").replace(folder / "..data")


def wait_for(condition: Any) -> None:
    until_s = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < until_s, "it didn't happen within 10 s"
        time.sleep(0.02)


def test_all_files_are_taken_anew_while_a_connection_lives_on(
    ours: Any, theirs: Any, pair: Any, scheduler: Any, tmp_path: Any
) -> None:
    put(tmp_path, {"tls.crt": pair.cert, "tls.key": pair.key, "ca.crt": ours.cert})
    trust = {
        "cert_file": tmp_path / "tls.crt",
        "key_file": tmp_path / "tls.key",
        "client_ca_file": tmp_path / "ca.crt",
        "check_s": 0.02,
    }
    new, new_scheduler = theirs.issue("server"), theirs.issue("kube-scheduler", names="")
    reloads = lambda outcome: server.metrics()["aicsched_trust_reloads_total", outcome]  # noqa: E731
    with ServerProcess(trust=trust, probes_port=0) as server:
        kept = server.link(client_context(ours, scheduler))
        assert server.call("POST", "/prioritize", REQUEST, link=kept).status == 200

        # A key that isn't the certificate's: all stays as it was.
        put(tmp_path, {"tls.crt": new.cert, "tls.key": pair.key, "ca.crt": theirs.cert})
        wait_for(lambda: reloads("refused") == 1)
        context = client_context(ours, scheduler)
        assert server.call("POST", "/prioritize", REQUEST, context=context).status == 200

        put(tmp_path, {"tls.crt": new.cert, "tls.key": new.key, "ca.crt": theirs.cert})
        wait_for(lambda: reloads("taken") == 1)
        context = client_context(theirs, new_scheduler)
        assert server.call("POST", "/prioritize", REQUEST, context=context).status == 200
        # The CA that was taken away signs nobody in any more, not even by a resumed session.
        assert "UNKNOWN_CA" in refused(server, client_context(theirs, scheduler)).upper()
        # The connection from before is the same one.
        socket = kept.sock
        assert server.call("POST", "/prioritize", REQUEST, link=kept).status == 200
        assert kept.sock is socket
        kept.close()
        assert reloads("refused") == 1
        assert server.stop() == (0, "")


@pytest.mark.parametrize("broken", [b"", b"no PEM", None])
def test_a_broken_or_missing_file_keeps_the_old(
    ours: Any, pair: Any, tmp_path: Any, broken: Any, caplog: Any
) -> None:
    paths = [tmp_path / name for name in ("tls.crt", "tls.key", "ca.crt")]
    for path, source in zip(paths, (pair.cert, pair.key, ours.cert), strict=True):
        path.write_bytes(source.read_bytes())
    trust = Trust(cert_file=paths[0], key_file=paths[1], client_ca_file=paths[2])
    before = trust.context.newest
    for path in paths:
        good = path.read_bytes()
        path.unlink() if broken is None else path.write_bytes(broken)
        with caplog.at_level(logging.ERROR, logger="aicsched"):
            assert not trust.reload()
            assert not trust.reload()
        path.write_bytes(good)
        assert not trust.reload()
        assert trust.context.newest is before
    assert len(caplog.records) == 3  # each is said once


def test_an_expired_certificate_does_not_replace_a_good_one(ours: Any, pair: Any, tmp_path: Any) -> None:
    cert, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    late = ours.issue("late-server", days=-1)
    registry = CollectorRegistry()

    def use(which: Pair) -> None:
        cert.write_bytes(which.cert.read_bytes())
        key.write_bytes(which.key.read_bytes())

    use(late)
    trust = Trust(cert_file=cert, key_file=key, unverified_clients=True, registry=registry)
    use(pair)
    assert trust.reload()
    use(late)
    assert not trust.reload()
    value = registry.get_sample_value(
        "aicsched_certificate_expiry_timestamp_seconds", {"certificate": "server"}
    )
    assert value == openssl_end_s(pair.cert)


def test_the_first_certificate_to_expire_counts(ours: Any, tmp_path: Any) -> None:
    short, long = ours.issue("short", days=1), ours.issue("long", days=30)
    (tmp_path / "both.crt").write_bytes(long.cert.read_bytes() + short.cert.read_bytes())
    assert last_moment_s(tmp_path / "both.crt") == openssl_end_s(short.cert)
    far = ours.issue("far", days=365 * 60)  # after 2049 times are written another way
    assert last_moment_s(far.cert) == openssl_end_s(far.cert)


# ---------------------------------------------------------------- tokens and names


def guarded(trust: Trust, *, names: Any = None) -> Any:
    app = ExtenderApp(SnapshotHolder(snapshot_of({"a": 1.0, "b": 2.0})), now_s=lambda: 1000.0)
    guard = trust.guard(app)

    async def with_state(scope: Any, receive: Any, send: Any) -> None:
        await guard(scope | ({"state": {CLIENT_NAMES: names}} if names is not None else {}), receive, send)

    return Client(with_state)


def ask(client: Any, *authorization: bytes, path: str = "/prioritize") -> Any:
    headers = [(b"authorization", value) for value in authorization]
    body = b'{"Pod":{},"Nodes":null,"NodeNames":["a","b"]}'
    return client.request("POST", path, body, headers=headers)


@pytest.fixture
def tokens(tmp_path: Any) -> Path:
    path = tmp_path / "tokens"
    path.write_text(f"# two while one replaces the other\n{OLD}\n\n{NEW}\n")
    return path


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ((f"Bearer {OLD}",), 200),
        ((f"bearer  {NEW}",), 200),
        ((), 401),
        ((f"Bearer {OLD}x",), 401),
        ((f"Bearer {OLD[:-1]}",), 401),
        (("Bearer ",), 401),
        (("Bearer",), 401),
        ((OLD,), 401),
        ((f"Basic {OLD}",), 401),
        ((f"Bearer {OLD}", f"Bearer {NEW}"), 401),
        (("Bearer \xff",), 401),
    ],
)
def test_a_caller_needs_one_of_the_tokens(tokens: Any, sent: Any, status: Any) -> None:
    answer = ask(guarded(Trust(token_file=tokens)), *(value.encode("latin-1") for value in sent))
    assert answer.status == status
    if status == 401:
        assert answer.json["code"] == "unauthorized"
        challenge = b'Bearer error="invalid_token"' if sent else b"Bearer"
        assert answer.headers[b"www-authenticate"] == challenge


def test_probes_need_no_token_and_metrics_do(tokens: Any) -> None:
    client = guarded(Trust(token_file=tokens))
    assert client.get("/livez").status == 200
    assert client.get("/readyz").status == 503
    assert client.get("/metrics").status == 401
    assert client.get("/nowhere").status == 401


def test_a_token_that_was_taken_out_is_refused_from_then_on(tokens: Any) -> None:
    registry = CollectorRegistry()
    trust = Trust(token_file=tokens, registry=registry, check_s=0.01)
    client = guarded(trust)
    assert ask(client, f"Bearer {OLD}".encode()).status == 200
    tokens.write_text(NEW)

    async def watch() -> None:
        watching = asyncio.create_task(trust.watch())
        await asyncio.sleep(0.08)
        watching.cancel()

    asyncio.run(watch())
    assert registry.get_sample_value("aicsched_trust_reloads_total", {"outcome": "taken"}) == 1
    assert ask(client, f"Bearer {OLD}".encode()).status == 401
    assert ask(client, f"Bearer {NEW}".encode()).status == 200
    assert registry.get_sample_value("aicsched_trust_refusals_total", {"reason": "token"}) == 1


def test_a_defect_at_one_look_does_not_end_all_later_ones(tokens: Any, monkeypatch: Any, caplog: Any) -> None:
    trust = Trust(token_file=tokens, check_s=0.005)
    looks: list[int] = []

    def broken() -> bool:
        looks.append(1)
        raise ZeroDivisionError

    monkeypatch.setattr(trust, "reload", broken)
    with caplog.at_level(logging.CRITICAL, logger="aicsched"), pytest.raises(TimeoutError):
        asyncio.run(asyncio.wait_for(trust.watch(), 0.3))
    assert len(looks) > 1


@pytest.mark.parametrize(
    ("names", "status"),
    [(frozenset({"kube-scheduler"}), 200), (frozenset({"spiffe://org/ns/x/sa/y"}), 200),
     (frozenset({"node-7"}), 403), (frozenset[str](), 403), (None, 401)],
)  # fmt: skip
def test_a_certificate_needs_one_of_the_names(ours: Any, pair: Any, names: Any, status: Any) -> None:
    allowed = ["kube-scheduler", "spiffe://org/ns/x/sa/y"]
    trust = Trust(cert_file=pair.cert, key_file=pair.key, client_ca_file=ours.cert, client_names=allowed)
    assert ask(guarded(trust, names=names)).status == status


def test_names_of_real_certificates_and_tokens_instead_of_one(
    ours: Any, pair: Any, tokens: Any, scheduler: Any
) -> None:
    trust = {
        "cert_file": pair.cert,
        "key_file": pair.key,
        "client_ca_file": ours.cert,
        "token_file": tokens,
        "client_names": ["kube-scheduler", "spiffe://org/ns/x/sa/y"],
    }
    spiffe = ours.issue("workload", names="URI:spiffe://org/ns/x/sa/y")
    node = ours.issue("node", names="DNS:node-7")
    bearer = {"Authorization": f"Bearer {NEW}"}
    with ServerProcess(trust=trust) as server:
        status = {
            (name, bool(headers)): server.call(
                "POST", "/prioritize", REQUEST, context=client_context(ours, cert), headers=headers
            ).status
            for name, cert in {"scheduler": scheduler, "spiffe": spiffe, "node": node, "none": None}.items()
            for headers in ({}, bearer)
        }
        assert server.call("GET", "/livez", context=client_context(ours)).status == 200
    assert status == {
        ("scheduler", False): 200, ("scheduler", True): 200, ("spiffe", False): 200, ("spiffe", True): 200,
        ("node", False): 403, ("node", True): 200, ("none", False): 401, ("none", True): 200,
    }  # fmt: skip


# ---------------------------------------------------------------- settings that would let anybody in


def test_settings_that_do_not_go_together(ours: Any, pair: Any, tokens: Any) -> None:
    files = {"cert_file": pair.cert, "key_file": pair.key}
    for settings, said in (
        ({}, "lets anybody in"),
        (files, "lets anybody in"),
        ({"cert_file": pair.cert, "token_file": tokens}, "needs its key"),
        ({"client_ca_file": ours.cert}, "can't be verified without TLS"),
        (files | {"token_file": tokens, "client_names": ["x"]}, "no CA verifies"),
    ):
        with pytest.raises(ConfigError, match=said):
            Trust(**settings)


@pytest.mark.parametrize(
    ("content", "said"),
    [("", "no token"), ("# only this", "no token"), ("tiny-one", "too short"), ("a b" * 9, "has signs")],
)
def test_a_token_file_without_good_tokens_is_refused(tmp_path: Any, content: Any, said: Any) -> None:
    path = tmp_path / "tokens"
    path.write_text(content)
    with pytest.raises(ConfigError, match=said) as caught:
        Trust(token_file=path)
    assert not content or content not in str(caught.value)  # a secret isn't repeated


def test_files_that_cannot_be_used_are_named(ours: Any, theirs: Any, pair: Any, tmp_path: Any) -> None:
    locked = tmp_path / "locked.key"
    openssl("pkey", "-in", pair.key, "-aes256", "-passout", "pass:secret", "-out", locked)
    huge = tmp_path / "huge"
    huge.write_bytes(b"x" * (2**20 + 1))
    good = {"cert_file": pair.cert, "key_file": pair.key, "client_ca_file": ours.cert}
    for change, said in (
        ({"key_file": tmp_path / "none"}, "none' can't be read: no such file"),
        ({"key_file": theirs.key}, "key values mismatch"),
        ({"key_file": locked}, "can't be used"),
        ({"cert_file": pair.key}, "can't be used"),
        ({"client_ca_file": pair.key}, "can't be used"),
        ({"client_ca_file": huge}, "over 1 MiB"),
    ):
        with pytest.raises(ConfigError, match=said):
            Trust(**(good | change))


def test_a_token_without_tls_is_for_loopback_only(tokens: Any) -> None:
    app = ExtenderApp(SnapshotHolder(snapshot_of({"a": 1.0})))
    with pytest.raises(ConfigError, match="no loopback address"):
        serve(app, host="0.0.0.0", port=0, trust=Trust(token_file=tokens))


def test_a_name_that_is_no_address_is_refused(pair: Any, tokens: Any) -> None:
    app = ExtenderApp(SnapshotHolder(snapshot_of({"a": 1.0})))
    trust = Trust(cert_file=pair.cert, key_file=pair.key, token_file=tokens)
    with pytest.raises(ConfigError, match="is no address"):
        serve(app, host="example.org", port=0, trust=trust)
