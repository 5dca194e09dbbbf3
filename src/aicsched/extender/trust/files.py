"""Reads certificates and tokens from files that others replace while we run.

Kubernetes mounts a secret as links through ``..data``, which is swapped as a whole, but
two files are still opened one after the other. So they are read before and after they
are loaded: what changed meanwhile isn't taken, and looked at again.
"""

from __future__ import annotations

import hashlib
import re
import ssl
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from aicsched.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["fingerprint_of", "last_moment_s", "make_context", "read_tokens", "token_digest"]

_MAX_BYTES: Final = 2**20
# RFC 6750 §2.1 (b64token); shorter ones could be guessed.
_TOKEN: Final = re.compile(rb"[A-Za-z0-9._~+/-]{16,4096}=*")
_PEM: Final = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_SEQUENCE, _VERSION, _UTC_TIME, _LONG_TIME = 0x30, 0xA0, 0x17, 0x18


class _SaysWhy(ssl.SSLObject):
    """Lets the client be told why its handshake failed.

    The event loops drop a connection as soon as a handshake fails, with the alert unsent: the
    client would see an end without a reason. Asking for more once makes them send it; the
    failure follows when the client answers, hangs up, or takes too long.
    """

    _failure: ssl.SSLError | None = None

    def do_handshake(self) -> None:
        if self._failure is not None:
            raise self._failure
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError, ssl.SSLSyscallError):
            raise
        except ssl.SSLError as error:
            self._failure = error
            raise ssl.SSLWantReadError from error


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except OSError as error:
        msg = f"'{path}' can't be read: {(error.strerror or str(error)).lower()}"
        raise ConfigError(msg, hint="mount it where the settings say, readable for this user") from error
    if len(content) > _MAX_BYTES:
        msg = f"'{path}' is over 1 MiB"
        raise ConfigError(msg, hint="give certificates, keys and tokens only")
    return content


def fingerprint_of(paths: list[Path]) -> bytes:
    """Tell whether files changed.

    Parameters
    ----------
    paths : list of Path
        Read in this order.

    Returns
    -------
    bytes
        A digest of all their contents.

    Raises
    ------
    ConfigError
        One can't be read.
    """
    digest = hashlib.sha256()
    for path in paths:
        digest.update(hashlib.sha256(_read(path)).digest())
    return digest.digest()


def make_context(cert_file: Path, key_file: Path, client_ca_file: Path | None) -> ssl.SSLContext:
    """Load a server's side of TLS 1.2 and 1.3.

    Parameters
    ----------
    cert_file : Path
        The server's certificate and what it was signed by (PEM).
    key_file : Path
        Its key (PEM), without a password.
    client_ca_file : Path or None
        Who signs clients' certificates (PEM); a client with another one is refused.

    Returns
    -------
    ssl.SSLContext
        Without ALPN, since a scheduler that is offered HTTP/2 uses it.

    Raises
    ------
    ConfigError
        A file can't be read, or key and certificate don't belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.sslobject_class = _SaysWhy
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # A client could make the server work without end by asking for keys anew (TLS 1.2 only).
    context.options |= ssl.OP_NO_RENEGOTIATION
    try:
        # OpenSSL would ask at the terminal for the password of an encrypted key.
        context.load_cert_chain(cert_file, key_file, password="")
    except (OSError, ssl.SSLError) as error:
        msg = f"'{cert_file}' and '{key_file}' can't be used: {_reason(error)}"
        raise ConfigError(msg, hint="give a certificate and its own key, both PEM, no password") from error
    if client_ca_file is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            context.load_verify_locations(client_ca_file)
        except (OSError, ssl.SSLError) as error:
            msg = f"'{client_ca_file}' can't be used: {_reason(error)}"
            raise ConfigError(msg, hint="give the certificate that signs clients', PEM") from error
    return context


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or "no PEM").lower().replace("_", " ")
    return (error.strerror or str(error)).lower()


def last_moment_s(path: Path) -> float:
    """Tell when the first of a file's certificates expires.

    Parameters
    ----------
    path : Path
        PEM.

    Returns
    -------
    float
        Seconds since the epoch.

    Raises
    ------
    ConfigError
        There is no certificate in it.

    References
    ----------
    RFC 5280 §4.1: Certificate, TBSCertificate, Validity.
    """
    found = _PEM.findall(_read(path))
    try:
        return min(_not_after_s(ssl.PEM_cert_to_DER_cert(pem.decode("ascii"))) for pem in found)
    except (ValueError, IndexError) as error:
        msg = f"'{path}' holds no certificate that can be read"
        raise ConfigError(msg, hint="give PEM: -----BEGIN CERTIFICATE-----") from error


def _not_after_s(der: bytes) -> float:
    _, at, _ = _element(der, 0)  # Certificate
    _, at, _ = _element(der, at)  # its TBSCertificate
    tag, _, after = _element(der, at)
    if tag == _VERSION:
        at = after
    for _ in ("serialNumber", "signature", "issuer"):
        _, _, at = _element(der, at)
    tag, at, _ = _element(der, at)  # validity
    if tag != _SEQUENCE:
        raise ValueError(tag)
    _, _, at = _element(der, at)  # notBefore
    tag, at, after = _element(der, at)
    text = der[at:after].decode("ascii")
    if tag == _UTC_TIME:
        text = ("19" if text >= "50" else "20") + text
    elif tag != _LONG_TIME:
        raise ValueError(tag)
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()


def _element(der: bytes, at: int) -> tuple[int, int, int]:
    """Read a head of DER: its tag, where its content begins, and where it ends."""
    size = der[at + 1]
    begin = at + 2
    if size >= 0x80:
        count = size - 0x80
        size = int.from_bytes(der[begin : begin + count], "big")
        begin += count
    return der[at], begin, begin + size


def read_tokens(path: Path) -> frozenset[bytes]:
    """Read bearer tokens.

    Parameters
    ----------
    path : Path
        One token a line: several while a new one is handed out. ``#`` begins a comment.

    Returns
    -------
    frozenset of bytes
        Their digests: the tokens themselves aren't kept.

    Raises
    ------
    ConfigError
        There is none in it, or one is too short or has other signs than RFC 6750 allows.
    """
    lines = [line.strip() for line in _read(path).splitlines()]
    tokens = [line for line in lines if line and not line.startswith(b"#")]
    hint = "write one token a line, 16 or more of A-Z a-z 0-9 - . _ ~ + /"
    if not tokens:
        msg = f"'{path}' holds no token"
        raise ConfigError(msg, hint=hint)
    if not all(_TOKEN.fullmatch(token) for token in tokens):
        msg = f"a token in '{path}' is too short, or has signs that a header can't carry"
        raise ConfigError(msg, hint=hint)
    return frozenset(map(token_digest, tokens))


def token_digest(token: bytes) -> bytes:
    """Make what tokens are compared by.

    Parameters
    ----------
    token : bytes
        As it is sent.

    Returns
    -------
    bytes
        SHA-256: of one length, so that comparing tells nothing of the token's.
    """
    return hashlib.sha256(token).digest()
