"""Asking a Prometheus server, or one that speaks its language, within our own limits.

`prometheus_api_client` knows the interface; our transport carries it: its own session would
wait forever, read without end, follow redirects with a token in hand and, if told so, not look
at certificates. Times come as seconds since the epoch, so that no naive one arises.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import urlsplit

import msgspec
from prometheus_api_client.prometheus_connect import PrometheusConnect

from aicsched.errors import ConfigError, SignalInvalid
from aicsched.observe import get_logger
from aicsched.signals.decoding import decode_json
from aicsched.signals.transport import Limits, Secret, Tls, Transport

if TYPE_CHECKING:
    from collections.abc import Mapping

    from requests import Session

    from aicsched.signals.clock import Clock
    from aicsched.slots import SlotGrid

__all__ = ["PrometheusServer", "Series", "TooMuch"]

# The server refuses longer series (its own limit, in force since 2.0).
MOST_POINTS: Final = 11_000
# Thanos and its kin answer with less than all rather than fail, unless told not to.
_WHOLE: Final = {"partial_response": "false"}
_TOO_LARGE: Final = 413
_CANNOT: Final = 422
_log = get_logger("signals.prometheus")


class TooMuch(SignalInvalid):
    """The answer is larger than the server or we allow: ask for fewer slots at once."""


class Series(msgspec.Struct, frozen=True):
    """One series of an answer.

    Parameters
    ----------
    metric : dict of str to str
        Its labels.
    values : list of (float, str)
        Times [s] and values, as they came.
    """

    metric: dict[str, str]
    values: list[tuple[float, str]]


class _Matrix(msgspec.Struct, tag_field="resultType", tag="matrix"):
    result: list[Series]


class _Scalar(msgspec.Struct, tag_field="resultType", tag="scalar"):
    result: tuple[float, str]


class _Answer(msgspec.Struct):
    data: _Matrix | _Scalar | list[str]
    warnings: list[str] = []


@dataclass(frozen=True, slots=True)
class _Response:
    """What the client's library looks at of an answer: all others have been raised by then."""

    body: bytes
    source: str
    status_code: int = 200

    def json(self) -> dict[str, Any]:
        answer = decode_json(self.body, _Answer, source=self.source)
        for warning in answer.warnings:
            _log.warning("%s: %s", self.source, warning[:200])
        data = answer.data
        return {"data": data if isinstance(data, list) else {"result": data.result}}


class _Session:
    """Stands where the client's library expects a session of requests."""

    verify = True
    cert = None

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def mount(self, prefix: str, adapter: object) -> None:
        """Take no adapter: tries and waits are the transport's."""

    def close(self) -> None:
        """Nothing stays open."""

    def request(self, *, url: str, params: Mapping[str, object], headers: Any, **_: object) -> _Response:  # noqa: ANN401
        texts = {name: str(value) for name, value in params.items()}
        try:
            answer = self._transport.get(url, params=texts, headers=headers)
        except SignalInvalid as error:
            if error.value == _TOO_LARGE or (error.value == _CANNOT and "too many samples" in error.message):
                raise TooMuch(error.message, hint="ask for fewer slots at once") from error
            if isinstance(error.value, int):
                error.hint = "check the query"
            raise
        return _Response(body=answer.body, source=self._transport.source)


class PrometheusServer:
    """A server of Prometheus' interface.

    Parameters
    ----------
    url : str
        Its address, up to ``/api/v1``.
    token : Secret, optional
        Sent as ``Authorization: Bearer``.
    headers : mapping of str to str or Secret, optional
        More to send, such as a tenant's.
    tls : Tls, optional
        Certificates of our own.
    limits : Limits, optional
        Of each request.
    clock : Clock, optional
        By default the machine's.

    Raises
    ------
    ConfigError
        The address can't be used.

    Examples
    --------
    >>> PrometheusServer("https://prometheus.example.org/").source
    'prometheus:prometheus.example.org'
    """

    def __init__(
        self,
        url: str,
        *,
        token: Secret | None = None,
        headers: Mapping[str, str | Secret] | None = None,
        tls: Tls | None = None,
        limits: Limits | None = None,
        clock: Clock | None = None,
    ) -> None:
        host = urlsplit(url).hostname
        if not host or "?" in url or "#" in url:
            msg = "the address of Prometheus is none" if not host else "the address has more than a path"
            raise ConfigError(msg, hint="write for example https://prometheus.example.org/prometheus")
        self.source = f"prometheus:{host}"
        sent = dict(headers or {})
        if token is not None:
            sent["Authorization"] = Secret(f"Bearer {token.reveal()}")
        limits = limits or Limits()
        session = _Session(Transport(self.source, limits=limits, clock=clock, tls=tls))
        self._client = PrometheusConnect(
            url=url.rstrip("/"),
            headers=sent,
            session=cast("Session", session),
            timeout=cast("int", (limits.connect_s, limits.read_s)),
        )

    def now_s(self) -> float:
        """Ask for the server's time.

        Returns
        -------
        float
            Seconds since the epoch: slots end by the clock that stamped the samples.
        """
        result: Any = self._client.custom_query("time()")
        return float(result[0])

    def values_of(self, label: str, window: SlotGrid) -> list[str]:
        """List the values of a label.

        Parameters
        ----------
        label : str
            Its name; ``__name__`` for the names of metrics.
        window : SlotGrid
            About when.

        Returns
        -------
        list of str
            In their order.
        """
        span = {"start": str(window.start_s), "end": str(window.end_s)}
        return self._client.get_label_values(label, params=span | _WHOLE)

    def at_ends(self, expr: str, window: SlotGrid) -> list[Series]:
        """Evaluate a query at the end of each slot.

        Parameters
        ----------
        expr : str
            PromQL that looks back over one slot.
        window : SlotGrid
            At most 11,000 slots.

        Returns
        -------
        list of Series
            Those with a value somewhere; a slot without one is not in them.

        Raises
        ------
        TooMuch
            The answer is too large.
        SourceUnavailable, SignalInvalid, ConfigError
            As the transport has it.
        """
        result: Any = self._client.custom_query_range(
            expr,
            start_time=datetime.fromtimestamp(window.start_s + window.step_s, UTC),
            end_time=datetime.fromtimestamp(window.end_s, UTC),
            step=str(window.step_s),
            params=dict(_WHOLE),
        )
        return result
