"""One request over HTTP: within its time, up to its size, and nothing of its secrets in what goes wrong.

Here and nowhere else is `requests`. Its timeouts bound each wait for bytes, not the
whole: a server that sends one byte a second keeps a client for hours, and looking up
a name has no limit at all. So each request runs in a thread of its own, and when the
time is up the line is cut under it.
"""

from __future__ import annotations

import contextlib
import http.client
import logging
import socket
import threading
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import requests
from requests import exceptions as failures
from requests.adapters import HTTPAdapter

from aicsched import __version__
from aicsched.errors import AicschedError, ConfigError, SignalInvalid, SourceUnavailable
from aicsched.signals.secrets import Secret, masked

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["Call", "Fault", "Reply", "Tls", "exchange"]

_CHUNK_BYTES: Final = 65_536
# As if it had said so itself (RFC 9110, section 15.5.14): the server is well, if asked for less.
_TOO_LARGE: Final = 413
# What is read of an answer that only says why there is none.
_SAID_BYTES: Final = 16_384
_GZIP: Final = 16 + zlib.MAX_WBITS
_LATER: Final = "try again later"
_TRUST: Final = "check the address, the clock and the proxy; REQUESTS_CA_BUNDLE names other authorities"
_HEADERS: Final = {
    "Accept-Encoding": "gzip",
    "Connection": "close",
    "User-Agent": f"aicsched/{__version__}",
}
_in_flight = threading.local()


class _MaskLogs(logging.Filter):
    """Takes secrets out of what urllib3 logs of a request: whole addresses, with their queries."""

    def filter(self, record: logging.LogRecord) -> bool:
        secrets: tuple[Secret, ...] = getattr(_in_flight, "secrets", ())
        if secrets:
            record.msg, record.args = masked(record.getMessage(), secrets), ()
        return True


for _name in ("connection", "connectionpool", "response", "util.retry"):
    logging.getLogger(f"urllib3.{_name}").addFilter(_MaskLogs())


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """Certificates of our own: whom to trust, and who we are.

    Parameters
    ----------
    ca_file : Path, optional
        Certificates of authorities to trust (PEM), by default those that come with `requests`.
        Not checking at all is no choice.
    cert_file, key_file : Path, optional
        Our certificate and its key (PEM), for a server that asks for one.

    Raises
    ------
    ConfigError
        A file is not there, or there is a key without a certificate.
    """

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None

    def __post_init__(self) -> None:
        for file in (self.ca_file, self.cert_file, self.key_file):
            if file is not None and not file.is_file():
                msg = f"there is no file '{file}' of certificates or keys"
                raise ConfigError(msg, hint="check the path", value=str(file))
        if self.key_file and not self.cert_file:
            msg = f"the key '{self.key_file}' comes without a certificate"
            raise ConfigError(msg, hint="give both", value=str(self.key_file))


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What is asked for.

    Parameters
    ----------
    url : str
        Without a query.
    params, headers : mapping of str to str or Secret
        Of the query, and sent along.
    media : str
        The content type that is due, such as ``"application/json"``.
    secrets : tuple of Secret
        What no text may show.
    connect_s, read_s : float
        Longest waits for a connection and for bytes [s].
    most_bytes : int
        Largest body, also when unpacked.
    tls : Tls
        Certificates.
    """

    url: str
    params: Mapping[str, str | Secret]
    headers: Mapping[str, str | Secret]
    media: str
    secrets: tuple[Secret, ...]
    connect_s: float
    read_s: float
    most_bytes: int
    tls: Tls


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back.

    Parameters
    ----------
    status : int
        Of HTTP.
    headers : mapping of str to str
        Their names in lower case.
    body : bytes
        Unpacked; of another status than 200 only its beginning.
    """

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What went wrong with a request.

    Parameters
    ----------
    error : type of AicschedError
        What the caller is to get.
    what : str
        The rest of a sentence that begins with the source.
    hint : str
        The next step.
    again : bool
        Whether another try may help.
    cause : str
        What the client said, masked.
    status : int, optional
        Of HTTP, where there was an answer.
    wait_s : float, optional
        How long the server asks to wait [s].
    """

    error: type[AicschedError]
    what: str
    hint: str
    again: bool
    cause: str = ""
    status: int | None = None
    wait_s: float | None = None


class _Line:
    """The connection of one request, which another thread may cut."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._is_cut = False

    def hold(self, line: socket.socket) -> None:
        with self._lock:
            self.let_go()
            # A second handle: TLS takes the first one away, and a shutdown works through either.
            self._socket = line.dup()
            if self._is_cut:
                _shut(self._socket)

    def cut(self) -> None:
        with self._lock:
            self._is_cut = True
            if self._socket is not None:
                _shut(self._socket)

    def close(self) -> None:
        with self._lock:
            self.let_go()

    def let_go(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _shut(line: socket.socket) -> None:
    # It may be closed already, from either end.
    with contextlib.suppress(OSError):
        line.shutdown(socket.SHUT_RDWR)


class _Adapter(HTTPAdapter):
    """Hands each new connection to the line; no retries, which are the transport's affair."""

    def __init__(self, line: _Line) -> None:
        self._line = line
        super().__init__(pool_connections=1, pool_maxsize=1, max_retries=0)

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - urllib3's
        pool: Any = super().get_connection_with_tls_context(*args, **kwargs)
        base, line = pool.ConnectionCls, self._line

        def new_connection(connection: Any) -> socket.socket:  # noqa: ANN401 - urllib3's
            made = base._new_conn(connection)  # noqa: SLF001 - the only place before TLS begins
            line.hold(made)
            return made

        pool.ConnectionCls = type("HeldConnection", (base,), {"_new_conn": new_connection})
        return pool


def exchange(call: Call, *, within_s: float) -> Reply | Fault:
    """Send a request and read its answer.

    Parameters
    ----------
    call : Call
        What to ask for.
    within_s : float
        All of it, from looking up the name to the last byte [s].

    Returns
    -------
    Reply or Fault
        A reply of any status, or why there is none; nothing is raised for what an upstream does.
    """
    if within_s <= 0:
        return _too_long()
    line = _Line()
    made: list[Reply | Fault | BaseException] = []

    def run() -> None:
        try:
            made.append(_exchange(call, line))
        except BaseException as error:  # noqa: BLE001 - a defect of ours belongs to who called
            made.append(error)
        finally:
            line.close()

    thread = threading.Thread(target=run, name="aicsched-upstream", daemon=True)
    thread.start()
    try:
        thread.join(within_s)
    finally:
        done = bool(made)
        if not done:
            line.cut()
    if not done:
        return _too_long()
    if isinstance(made[0], BaseException):
        raise made[0]
    return made[0]


def _too_long() -> Fault:
    what = "took too long: the time for all tries is up"
    return Fault(error=SourceUnavailable, what=what, hint=_LATER, again=False)


def _exchange(call: Call, line: _Line) -> Reply | Fault:
    _in_flight.secrets = call.secrets
    try:
        with requests.Session() as session:
            # Else a .netrc file in the home folder would send its passwords along.
            session.auth = _as_it_is
            for scheme in ("http://", "https://"):
                session.mount(scheme, _Adapter(line))
            with session.get(
                call.url,
                params={name: _plain(value) for name, value in call.params.items()},
                headers={name: _plain(value) for name, value in call.headers.items()}
                | {"Accept": call.media, **_HEADERS},
                timeout=(call.connect_s, call.read_s),
                allow_redirects=False,
                stream=True,
                verify=str(call.tls.ca_file) if call.tls.ca_file else True,
                cert=_cert(call.tls),
            ) as response:
                return _read(response, call)
    except (OSError, ValueError, http.client.HTTPException, zlib.error) as error:
        return _fault(error, call)
    except Exception as error:
        # Where a body is read, urllib3's own errors reach us; anything else is a defect of ours.
        if type(error).__module__.partition(".")[0] == "urllib3":
            return _fault(error, call)
        raise


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _cert(tls: Tls) -> str | tuple[str, str] | None:
    if tls.cert_file is None:
        return None
    return (str(tls.cert_file), str(tls.key_file)) if tls.key_file else str(tls.cert_file)


def _plain(value: str | Secret) -> str:
    return value.reveal() if isinstance(value, Secret) else value


def _read(response: requests.Response, call: Call) -> Reply | Fault:
    headers = {name.lower(): value for name, value in response.headers.items()}
    body: bytes | Fault = b""
    if response.status_code == requests.codes.ok:
        body = _body(response, headers, call)
    else:
        # What it says beside its refusal is welcome, and no more than that.
        with contextlib.suppress(Exception):
            body = next(response.raw.stream(_SAID_BYTES, decode_content=False), b"")
            if headers.get("content-encoding", "").strip().lower() == "gzip":
                body = zlib.decompressobj(_GZIP).decompress(body, _SAID_BYTES)
    return body if isinstance(body, Fault) else Reply(response.status_code, headers, body)


def _body(response: requests.Response, headers: Mapping[str, str], call: Call) -> bytes | Fault:
    packing = headers.get("content-encoding", "identity").strip().lower()
    if packing not in ("identity", "gzip", ""):
        return _invalid(f"packed its answer as '{packing[:20]}', which wasn't asked for")
    said = headers.get("content-length", "")
    due = int(said) if said.isdecimal() else 0
    unpack = zlib.decompressobj(_GZIP) if packing == "gzip" else None
    body, came = bytearray(), 0
    if due <= call.most_bytes:
        for chunk in response.raw.stream(_CHUNK_BYTES, decode_content=False):
            came += len(chunk)
            _unpack(chunk, unpack, body, call.most_bytes)
            if max(len(body), came) > call.most_bytes:
                break
    if max(len(body), came, due) > call.most_bytes:
        what = f"sent more than {call.most_bytes} bytes"
        return _invalid(what, hint="ask for a shorter window", status=_TOO_LARGE)
    if came < due or (unpack is not None and not unpack.eof):
        return _broken_off()
    return bytes(body)


def _unpack(chunk: bytes, unpack: Any, body: bytearray, most_bytes: int) -> None:  # noqa: ANN401 - of zlib
    """Append what a chunk holds, up to a piece too much: a small chunk may unpack to more than the memory."""
    if unpack is None:
        body += chunk
        return
    while chunk and len(body) <= most_bytes:
        body += unpack.decompress(chunk, _CHUNK_BYTES)
        chunk = unpack.unconsumed_tail


def _invalid(
    what: str, *, hint: str = _LATER, again: bool = False, cause: str = "", status: int | None = None
) -> Fault:
    return Fault(error=SignalInvalid, what=what, hint=hint, again=again, cause=cause, status=status)


def _broken_off(cause: str = "") -> Fault:
    return _invalid("broke off: the answer is shorter than it said", again=True, cause=cause)


def _fault(error: Exception, call: Call) -> Fault:
    """Say what a client's error means, without what it quotes."""
    name = type(error).__name__
    cause = f"{name}: {masked(str(error), call.secrets)}"
    if isinstance(error, zlib.error):
        return _invalid("sent what can't be unpacked", again=True, cause=cause)
    if "IncompleteRead" in cause or "InvalidChunkLength" in cause:
        return _broken_off(cause)
    if isinstance(error, failures.SSLError):
        what = "has no certificate that can be trusted"
        return Fault(error=SourceUnavailable, what=what, hint=_TRUST, again=False, cause=cause)
    # All that requests says of an address or a header that can't be is a ValueError too.
    if isinstance(error, ValueError):
        what, hint = "can't be asked", "check its address and its token"
        return Fault(error=ConfigError, what=what, hint=hint, again=False, cause=cause)
    if isinstance(error, failures.ConnectTimeout):
        what = f"can't be reached within {call.connect_s:g} s"
    elif isinstance(error, failures.Timeout) or name == "ReadTimeoutError":
        what = f"sent nothing for {call.read_s:g} s"
    elif isinstance(error, failures.ProxyError):
        what = "can't be reached through the proxy"
    elif isinstance(error, failures.ConnectionError) and "aborted" not in cause:
        what = "can't be reached"
    else:
        what = "broke off, or sent no HTTP"
    hint = "check the network, or try again later"
    return Fault(error=SourceUnavailable, what=what, hint=hint, again=True, cause=cause)
