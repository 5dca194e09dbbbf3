"""How live sources reach their upstreams: few tries, bounded time and memory, and no secret in any text.

A `Transport` belongs to one source. It asks at most three times with a jittered wait
between, heeds ``Retry-After``, and stops calling an upstream that keeps failing
(`Circuit`). `requests` sends (`aicsched.signals.wire`), `stamina` counts the tries.
What an upstream does wrong comes out as one of our errors: the answer can't be had
(`SourceUnavailable`), is not what was promised (`SignalInvalid`), or our side of it is
wrong (`ConfigError`). Redirects are never followed: a token must go to nobody else.
"""

from __future__ import annotations

import logging
import math
import random
from dataclasses import dataclass, field, fields
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import stamina

from aicsched.domain.flags import Flag
from aicsched.errors import ConfigError, SignalInvalid, SourceUnavailable
from aicsched.observe import get_logger
from aicsched.signals.circuit import Circuit
from aicsched.signals.clock import SKEW_LIMIT_S, SystemClock
from aicsched.signals.secrets import MASK, Secret, masked
from aicsched.signals.wire import Call, Fault, Reply, Tls, exchange

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from aicsched.signals.clock import Clock

__all__ = ["JSON", "XML", "Answer", "Limits", "Secret", "Tls", "Transport", "UpstreamFault"]

JSON: Final = "application/json"
XML: Final = "application/xml"
_SAID_CHARS: Final = 160
_FIRST_WAIT_S: Final = 0.25
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
_ASKS_TO_WAIT: Final = frozenset({429, 503})
# Answers after which another try may help (RFC 9110, section 15; RFC 8470 for 425).
_PASSING: Final = frozenset({408, 425, 429})
_NAMES: Final = {
    401: "401 (unauthorised)",
    403: "403 (forbidden)",
    404: "404 (not found)",
    429: "429 (too many requests)",
    500: "500 (internal error)",
    502: "502 (bad gateway)",
    503: "503 (unavailable)",
    504: "504 (gateway timeout)",
}
_log = get_logger("signals.transport")
# Else Python prints each try that stamina logs where no logging was set up.
logging.getLogger("stamina").addHandler(logging.NullHandler())


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long, how often and how much.

    Parameters
    ----------
    connect_s : float
        Longest wait for a connection [s].
    read_s : float
        Longest wait for bytes [s].
    total_s : float
        Longest time of a call with all its tries and waits [s].
    tries : int
        Most requests a call.
    retry_after_cap_s : float
        Longest rest that an upstream may ask for [s].
    open_after : int
        So many failed requests in a row open the circuit.
    open_for_s : float
        How long it stays open [s].
    response_bytes : int
        Largest body, as sent and unpacked.

    Raises
    ------
    ConfigError
        One is not positive.

    Examples
    --------
    >>> Limits(tries=1).total_s
    15.0
    """

    connect_s: float = 3.0
    read_s: float = 10.0
    total_s: float = 15.0
    tries: int = 3
    retry_after_cap_s: float = 300.0
    open_after: int = 5
    open_for_s: float = 60.0
    response_bytes: int = 32 * 2**20

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if not (value > 0 and math.isfinite(value)):
                msg = f"limit '{item.name}' is {value}"
                raise ConfigError(msg, hint="use a positive number", value=value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What an upstream answered.

    Parameters
    ----------
    body : bytes
        Unpacked.
    received_s : float
        When, by our clock, seconds since the epoch.
    server_s : float, optional
        When, by the upstream's (header ``Date``).
    """

    body: bytes = field(repr=False)
    received_s: float
    server_s: float | None = None

    def flags(self) -> tuple[str, ...]:
        """Tell whether the clocks differ.

        Returns
        -------
        tuple of str
            ``"clock-skew:SECONDS"`` where they do by more than two minutes (positive: ours is ahead).

        Examples
        --------
        >>> Answer(body=b"", received_s=7200.0, server_s=3600.0).flags()
        ('clock-skew:3600',)
        """
        if self.server_s is None or abs(self.received_s - self.server_s) <= SKEW_LIMIT_S:
            return ()
        return (Flag.CLOCK_SKEW.of(round(self.received_s - self.server_s)),)


class UpstreamFault(Exception):
    """What a client's library said, without secrets: the cause of our errors, in place of its own."""


class _FailedTry(Exception):
    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.what)
        self.fault = fault


class Transport:
    """Asks one upstream.

    Parameters
    ----------
    source : str
        Its id, for messages.
    limits : Limits
        How long, how often and how much.
    clock : Clock, optional
        By default the machine's; a virtual one makes waits take no time.
    secrets : iterable of Secret
        More that no text may show, beside those among headers and parameters.
    tls : Tls, optional
        Certificates, where the usual ones don't do.

    Examples
    --------
    >>> Transport("electricity-maps").get("ftp://example.org/latest")
    Traceback (most recent call last):
        ...
    aicsched.errors.ConfigError: electricity-maps: 'ftp://example.org/latest' is no address ...
    """

    def __init__(
        self,
        source: str,
        *,
        limits: Limits = Limits(),
        clock: Clock | None = None,
        secrets: Iterable[Secret] = (),
        tls: Tls | None = None,
    ) -> None:
        self.source = source
        self.limits = limits
        self._clock: Clock = clock or SystemClock()
        self._secrets = tuple(secrets)
        self._tls = tls or Tls()
        self._circuit = Circuit(open_after=limits.open_after, open_for_s=limits.open_for_s, clock=self._clock)

    def get(
        self,
        url: str,
        *,
        params: Mapping[str, str | Secret] | None = None,
        headers: Mapping[str, str | Secret] | None = None,
        media: str = JSON,
    ) -> Answer:
        """Ask for what is at an address.

        Parameters
        ----------
        url : str
            Without a query, user or password. With secrets it is https, or on this machine.
        params : mapping of str to str or Secret, optional
            The query.
        headers : mapping of str to str or Secret, optional
            Sent along.
        media : str
            The content type that is due.

        Returns
        -------
        Answer
            Of status 200.

        Raises
        ------
        SourceUnavailable
            It can't be reached, takes too long, answers 429 or 5xx, points elsewhere, or is
            left alone for a while since it kept failing or asked for it.
        SignalInvalid
            The answer is too large (`value` is then 413), cut short, of another content type
            (a login page), or refuses the request. `value` is the status, where it is one.
        ConfigError
            The address can't be used, or the token is refused: `value` is then 401 or 403.
        """
        call = self._call(url, params or {}, headers or {}, media)
        where = f"{self.source} ({_place(url)})"
        tries = 1 if self._admitted(where) else self.limits.tries
        found, made = self._tried(call, tries)
        if isinstance(found, Answer):
            return found
        # Out of any handler: who walks along causes and contexts meets nothing that isn't masked.
        cause = UpstreamFault(found.cause) if found.cause else None
        msg = f"{where} {found.what}{f' ({made} tries)' if made > 1 else ''}"
        raise found.error(msg, hint=found.hint, value=found.status) from cause

    def _tried(self, call: Call, tries: int) -> tuple[Answer | Fault, int]:
        until_s = self._clock.monotonic_s() + self.limits.total_s
        made = 0

        def wait_before_next(error: Exception) -> float | bool:
            if made == tries or not isinstance(error, _FailedTry):
                return False
            return self._waited(error.fault, until_s)

        try:
            for attempt in stamina.retry_context(on=wait_before_next, attempts=tries, timeout=None):
                with attempt:
                    made += 1
                    return self._ask(call, until_s), made
        except _FailedTry as failed:
            return failed.fault, made
        raise AssertionError(tries)  # pragma: no cover - there is one try at least

    def _call(
        self,
        url: str,
        params: Mapping[str, str | Secret],
        headers: Mapping[str, str | Secret],
        media: str,
    ) -> Call:
        own = [value for value in (*params.values(), *headers.values()) if isinstance(value, Secret)]
        split = urlsplit(url)
        if "@" in split.netloc:
            msg = f"{self.source}: the address of {split.hostname} has a user or a password in it"
            raise ConfigError(msg, hint="give them as settings of their own")
        if split.scheme not in ("http", "https") or not split.hostname:
            msg = f"{self.source}: '{_place(url)}' is no address of http or https"
            raise ConfigError(msg, hint="write for example https://api.example.org", value=_place(url))
        if own and split.scheme == "http" and split.hostname not in _LOOPBACK:
            msg = f"{self.source}: a token would go to {split.hostname} in plain text"
            raise ConfigError(msg, hint="use https", value=_place(url))
        return Call(
            url=url,
            params=params,
            headers=headers,
            media=media,
            secrets=(*own, *self._secrets),
            connect_s=self.limits.connect_s,
            read_s=self.limits.read_s,
            most_bytes=self.limits.response_bytes,
            tls=self._tls,
        )

    def _admitted(self, where: str) -> bool:
        """Tell whether this call is the one trial of a half-open circuit."""
        wait_s, trial = self._circuit.admit()
        if wait_s > 0:
            why = "kept failing" if trial else "asked to be left alone"
            msg = f"{where} {why}: no request for another {math.ceil(wait_s)} s"
            raise SourceUnavailable(msg, hint="try again later", value=wait_s)
        return trial

    def _ask(self, call: Call, until_s: float) -> Answer:
        found = exchange(call, within_s=until_s - self._clock.monotonic_s())
        answer = found if isinstance(found, Fault) else self._judged(found, call)
        # A server that refuses a request is well; one that can't answer is not.
        if isinstance(answer, Answer) or (answer.status is not None and not _is_passing(answer.status)):
            self._circuit.succeeded()
        else:
            self._circuit.failed()
        if isinstance(answer, Answer):
            _log.debug("%s %s: %d bytes", self.source, _place(call.url), len(answer.body))
            return answer
        _log.debug("%s %s: %s", self.source, _place(call.url), answer.what)
        if answer.wait_s is not None:
            self._circuit.rest(min(answer.wait_s, self.limits.retry_after_cap_s))
        raise _FailedTry(answer)

    def _waited(self, fault: Fault, until_s: float) -> float | bool:
        """Wait on our clock, which stamina's own waits don't know, and tell it whether to go on."""
        wait_s = _FIRST_WAIT_S * random.uniform(0.5, 2.0)  # noqa: S311 - spreads clients, hides nothing
        wait_s = max(wait_s, self._circuit.rest_s())
        if not fault.again or self._circuit.is_open or self._clock.monotonic_s() + wait_s >= until_s:
            return False
        self._clock.sleep(wait_s)
        return 0.0

    def _judged(self, reply: Reply, call: Call) -> Answer | Fault:
        now_s = self._clock.now_s()
        server_s = _http_date_s(reply.headers.get("date", ""))
        if reply.status != 200:
            return self._refusal(reply, call, now_s if server_s is None else server_s)
        media = reply.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media == "text/html":
            return Fault(
                error=SignalInvalid,
                what=f"sent a web page where {call.media} was due: a login page, or a proxy's",
                hint="check the address, the token and the network",
                again=False,
            )
        if media and not _same_media(media, call.media):
            return Fault(
                error=SignalInvalid,
                what=f"sent '{media[:40]}' where {call.media} was due",
                hint="check the address",
                again=False,
            )
        return Answer(body=reply.body, received_s=now_s, server_s=server_s)

    def _refusal(self, reply: Reply, call: Call, now_s: float) -> Fault:
        status = reply.status
        name = _NAMES.get(status, str(status))
        said = _said(reply, call.secrets)
        if status in (401, 403):
            return Fault(
                error=ConfigError,
                what=f"refuses the token: {name}{said}",
                hint="check the token and what its subscription covers",
                again=False,
                status=status,
            )
        if 300 <= status < 400:
            target = masked(_place(reply.headers.get("location", "")), call.secrets)
            return Fault(
                error=SourceUnavailable,
                what=f"points to another address ('{target[:_SAID_CHARS]}'), which is not followed",
                hint="check the address",
                again=False,
                status=status,
            )
        if _is_passing(status):
            after = reply.headers.get("retry-after", "") if status in _ASKS_TO_WAIT else ""
            return Fault(
                error=SourceUnavailable,
                what=f"answered {name}{said}",
                hint="try again later",
                again=True,
                status=status,
                wait_s=_retry_after_s(after, now_s),
            )
        return Fault(
            error=SignalInvalid,
            what=f"answered {name}{said}",
            hint="check the zone and the window",
            again=False,
            status=status,
        )


def _is_passing(status: int) -> bool:
    return status in _PASSING or status >= 500


def _place(url: str) -> str:
    """Return an address without what may be secret: user, password, query and fragment."""
    try:
        split = urlsplit(url)
        host = split.hostname or ""
        port = f":{split.port}" if split.port else ""
    except ValueError:
        return MASK
    return f"{split.scheme}://{host}{port}{split.path}" if host else split.path


def _same_media(media: str, due: str) -> bool:
    """Tell whether a media type is the one that is due, by any of its names (RFC 6839, RFC 7303)."""
    form = due.removeprefix("application/")
    return media == due or (due in (JSON, XML) and (media == f"text/{form}" or media.endswith(f"+{form}")))


def _said(reply: Reply, secrets: tuple[Secret, ...]) -> str:
    """Quote what an API says of its refusal; a web page, or anything packed, says nothing of use."""
    media = reply.headers.get("content-type", "").lower()
    if "json" not in media and "text/plain" not in media:
        return ""
    text = "".join(sign if sign.isprintable() else " " for sign in reply.body.decode("utf-8", "replace"))
    text = " ".join(masked(text, secrets).split())
    return f", saying {text[:_SAID_CHARS]}" if text and "\ufffd" not in text else ""


def _http_date_s(text: str) -> float | None:
    try:
        moment = parsedate_to_datetime(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _retry_after_s(text: str, now_s: float) -> float | None:
    """Read ``Retry-After``: seconds or a date (RFC 9110, section 10.2.3)."""
    text = text.strip()
    if text.isdecimal():
        return min(float(text[:9]), 1e9)
    until_s = _http_date_s(text)
    return None if until_s is None else max(until_s - now_s, 0.0)
