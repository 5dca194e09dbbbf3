"""Who may call a server: certificates, tokens, and both anew when their files change.

`Trust` holds both. A server hands it its connections and guards its app by it; both
always go by the newest files that could be used. TLS is 1.2 or 1.3, clients' certificates
are verified by a CA of the operator's choice, tokens are those of RFC 6750.
"""

from __future__ import annotations

import asyncio
import hmac
import ssl
import time
from typing import TYPE_CHECKING, Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge

from aicsched.errors import ConfigError
from aicsched.extender.probes import OPEN_PATHS
from aicsched.extender.trust.files import (
    fingerprint_of,
    last_moment_s,
    make_context,
    read_tokens,
    token_digest,
)
from aicsched.extender.web import refusal, send_reply
from aicsched.observe import get_logger, metric

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection
    from pathlib import Path

    from aicsched.extender.routes import Reply
    from aicsched.extender.web import Headers, Receive, Scope, Send

    App = Callable[[Scope, Receive, Send], Awaitable[None]]

__all__ = ["CLIENT_NAMES", "Trust", "client_names"]

CLIENT_NAMES: Final = "aicsched_client_names"
"""In the state of an ASGI scope: the names in the client's verified certificate."""
_CHECK_S: Final = 10.0
_log = get_logger("extender")


class _NewestContext(ssl.SSLContext):
    """Stands where a listener keeps its context for good, and begins each connection by the newest."""

    newest: ssl.SSLContext

    def wrap_bio(self, *args: Any, **named: Any) -> ssl.SSLObject:
        return self.newest.wrap_bio(*args, **named)


class Trust:
    """Certificates and tokens of one server, read anew when their files change.

    With `client_ca_file` a caller must have a certificate of that CA (and one of
    `client_names`, if there are any); with `token_file` it must send one of the tokens; with
    both, either will do, since kube-scheduler has certificates only and other tools mostly
    tokens only. ``/livez`` and ``/readyz`` need neither.

    A connection that stands lives on when files change. A file that can't be used leaves
    everything as it was: it is logged, counted, and tried again once it changes.

    Parameters
    ----------
    cert_file, key_file : Path, optional
        The server's certificate with its chain, and its key: PEM.
    client_ca_file : Path, optional
        Who signs clients' certificates: PEM, several while one replaces the other.
    token_file : Path, optional
        Bearer tokens, one a line.
    client_names : collection of str
        Common names, DNS names and URIs (SPIFFE IDs): a client's certificate must have one
        of them. Needed where the CA signs for more than the scheduler.
    unverified_clients : bool
        True to let anybody call over TLS, as webhooks do whose caller has no certificate.
    registry : CollectorRegistry, optional
        Where expiry, reloads and refusals are shown.
    check_s : float
        How often files are looked at [s].

    Raises
    ------
    ConfigError
        A file can't be used, or the settings together would let anybody in.
    """

    def __init__(  # noqa: PLR0913 - each is a setting of the operator's
        self,
        *,
        cert_file: Path | None = None,
        key_file: Path | None = None,
        client_ca_file: Path | None = None,
        token_file: Path | None = None,
        client_names: Collection[str] = (),
        unverified_clients: bool = False,
        registry: CollectorRegistry | None = None,
        check_s: float = _CHECK_S,
    ) -> None:
        self._cert, self._key, self._ca, self._token = cert_file, key_file, client_ca_file, token_file
        self._names = frozenset(client_names)
        self._open = unverified_clients
        self._check_s = check_s
        self._check_settings()
        self._paths = [path for path in (cert_file, key_file, client_ca_file, token_file) if path]
        self._tokens: frozenset[bytes] = frozenset()
        self._context = _NewestContext(ssl.PROTOCOL_TLS_SERVER) if cert_file else None
        self._expiry_s: dict[str, float] = {}
        self._metrics = _Metrics(registry if registry is not None else CollectorRegistry())
        self._complaint = ""
        self._taken = fingerprint_of(self._paths)
        self._load(self._taken)
        for name, last_s in self._expiry_s.items():
            if last_s < time.time():
                _log.warning("the certificate of %s has expired: clients will refuse it", name)

    def _check_settings(self) -> None:
        if (self._cert is None) != (self._key is None):
            msg = "a certificate needs its key, and a key its certificate"
            raise ConfigError(msg, hint="set both tls_cert_file and tls_key_file")
        if self._ca is not None and self._cert is None:
            msg = "clients' certificates can't be verified without TLS"
            raise ConfigError(msg, hint="set tls_cert_file and tls_key_file, too")
        if self._names and self._ca is None:
            msg = "clients' names are those of their certificates, and no CA verifies these"
            raise ConfigError(msg, hint="set client_ca_file, too")
        if self._ca is None and self._token is None and not self._open:
            msg = "TLS alone lets anybody in who reaches the port"
            raise ConfigError(msg, hint="set client_ca_file (kube-scheduler) or token_file (other tools)")

    @property
    def context(self) -> ssl.SSLContext | None:
        """For a listener; None without TLS. Connections made later go by files read later."""
        return self._context

    def reload(self) -> bool:
        """Take changed files, if they can be used.

        Returns
        -------
        bool
            Whether anything was taken.
        """
        try:
            found = fingerprint_of(self._paths)
            if found == self._taken:
                self._complaint = ""
                return False
            self._load(found)
        except ConfigError as error:
            if str(error) != self._complaint:  # once, not at every look
                self._complaint = str(error)
                _log.error("certificates and tokens are kept as they were: %s", error)
                self._metrics.reloads.labels("refused").inc()
            return False
        self._taken, self._complaint = found, ""
        _log.info("took new certificates or tokens")
        self._metrics.reloads.labels("taken").inc()
        return True

    def _load(self, fingerprint: bytes) -> None:
        tokens = read_tokens(self._token) if self._token else frozenset[bytes]()
        expiry_s: dict[str, float] = {}
        context = None
        if self._cert and self._key:
            context = make_context(self._cert, self._key, self._ca)
            expiry_s["server"] = last_moment_s(self._cert)
        if context is not None and self._ca:
            expiry_s["client_ca"] = last_moment_s(self._ca)
            if self._token:
                context.verify_mode = ssl.CERT_OPTIONAL  # who has no certificate needs a token
        if fingerprint_of(self._paths) != fingerprint:
            msg = "files changed while they were read"
            raise ConfigError(msg, hint="they are tried again soon")
        for name, last_s in expiry_s.items():
            if last_s < time.time() <= self._expiry_s.get(name, 0.0):
                msg = f"the new certificate of {name} has expired, and the present one has not"
                raise ConfigError(msg, hint="give a newer one")
        if self._context is not None and context is not None:
            self._context.newest = context
        self._tokens, self._expiry_s = tokens, expiry_s
        for name, last_s in expiry_s.items():
            self._metrics.expiry.labels(name).set(last_s)

    async def watch(self) -> None:
        """Look at the files again and again, until cancelled."""
        while True:
            await asyncio.sleep(self._check_s)
            try:
                await asyncio.to_thread(self.reload)
            except Exception:  # noqa: BLE001 - a defect at one look must not end all later ones
                _log.exception("certificates and tokens are kept as they were")

    def guard(self, app: App) -> App:
        """Put an app behind certificates and tokens.

        Parameters
        ----------
        app : callable
            Speaks ASGI.

        Returns
        -------
        callable
            Refuses with 401 or 403, else asks the app.
        """

        async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http" and scope["path"] not in OPEN_PATHS:
                refused = self._refuse(scope)
                if refused is not None:
                    await send_reply(send, *refused, bodiless=scope["method"] == "HEAD")
                    return
            await app(scope, receive, send)

        return guarded

    def _refuse(self, scope: Scope) -> tuple[Reply, Headers] | None:
        names = scope.get("state", {}).get(CLIENT_NAMES)
        known = names is not None and (not self._names or not self._names.isdisjoint(names))
        if known or self._open or self._has_token(scope):
            return None
        close = (b"connection", b"close")
        if names is not None:
            self._metrics.refusals.labels("client_name").inc()
            return refusal(403, "forbidden", "no name in this certificate may call"), (close,)
        sent = any(name == b"authorization" for name, _ in scope["headers"])
        self._metrics.refusals.labels("token" if sent else "no_credentials").inc()
        challenge = b'Bearer error="invalid_token"' if sent else b"Bearer"
        reply = refusal(401, "unauthorized", "send a token that the server knows: Authorization: Bearer …")
        return reply, ((b"www-authenticate", challenge), close)

    def _has_token(self, scope: Scope) -> bool:
        sent = [value for name, value in scope["headers"] if name == b"authorization"]
        if len(sent) != 1:
            return False
        scheme, _, token = sent[0].partition(b" ")
        digest = token_digest(token.strip())
        # All are compared, each in constant time: how long it takes tells nothing.
        same = [hmac.compare_digest(digest, known) for known in self._tokens]
        return scheme.lower() == b"bearer" and any(same)


def client_names(transport: asyncio.BaseTransport) -> frozenset[str] | None:
    """Read the names in a client's verified certificate.

    Parameters
    ----------
    transport : asyncio.BaseTransport
        Of a connection.

    Returns
    -------
    frozenset of str or None
        Common names, DNS names and URIs; None without a verified certificate.
    """
    connection = transport.get_extra_info("ssl_object")
    certificate = None if connection is None else connection.getpeercert()
    if not certificate:
        return None
    common = [value for part in certificate["subject"] for key, value in part if key == "commonName"]
    return frozenset(
        [*common, *(value for kind, value in certificate.get("subjectAltName", ()) if kind in {"DNS", "URI"})]
    )


class _Metrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        expiry = metric("aicsched_certificate_expiry_timestamp_seconds")
        reloads = metric("aicsched_trust_reloads_total")
        refusals = metric("aicsched_trust_refusals_total")
        self.expiry = Gauge(expiry.name, expiry.help, expiry.labels, registry=registry)
        self.reloads = Counter(reloads.name, reloads.help, reloads.labels, registry=registry)
        self.refusals = Counter(refusals.name, refusals.help, refusals.labels, registry=registry)
        for outcome in ("taken", "refused"):  # a series that starts at 0 shows its first increase
            self.reloads.labels(outcome)
        for reason in ("no_credentials", "token", "client_name"):
            self.refusals.labels(reason)
