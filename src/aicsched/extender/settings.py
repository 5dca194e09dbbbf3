"""What the table ``[extender]`` says about a server's bounds and about whom it trusts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aicsched.extender.limits import Limits
from aicsched.extender.trust import Trust

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from aicsched.config.extender import ExtenderSettings

__all__ = ["limits_of", "trust_of"]


def limits_of(settings: ExtenderSettings) -> Limits:
    """Read the bounds.

    Parameters
    ----------
    settings : ExtenderSettings
        Of the operator.

    Returns
    -------
    Limits
        What isn't settable is as by default.

    Examples
    --------
    >>> from aicsched.config.extender import ExtenderSettings
    >>> limits_of(ExtenderSettings(max_body_mib=16)).body_bytes
    16777216
    """
    return Limits(
        body_bytes=settings.max_body_mib * 2**20,
        names_body_bytes=settings.max_names_body_mib * 2**20,
        buffered_bytes=2 * settings.max_body_mib * 2**20,
        requests=settings.max_requests,
        connections=settings.max_connections,
        read_s=settings.read_s,
        write_s=settings.write_s,
        drain_s=settings.drain_s,
        settle_s=settings.settle_s,
    )


def trust_of(settings: ExtenderSettings, registry: CollectorRegistry | None = None) -> Trust | None:
    """Read the certificates and tokens.

    Parameters
    ----------
    settings : ExtenderSettings
        Of the operator.
    registry : CollectorRegistry, optional
        Where expiry, reloads and refusals are shown.

    Returns
    -------
    Trust or None
        None where neither is set: then only loopback can be served.

    Raises
    ------
    ConfigError
        A file can't be used.

    Examples
    --------
    >>> from aicsched.config.extender import ExtenderSettings
    >>> trust_of(ExtenderSettings()) is None
    True
    """
    if settings.tls_cert_file is None and settings.token_file is None:
        return None
    return Trust(
        cert_file=settings.tls_cert_file,
        key_file=settings.tls_key_file,
        client_ca_file=settings.client_ca_file,
        token_file=settings.token_file,
        client_names=settings.client_names,
        registry=registry,
    )
