"""Settings of the scheduler extender: the table ``[extender]``.

``host`` and ``port`` stand at the top of the file, since the sample takes them too.
Tokens and keys are in files of their own, which a cluster mounts from a secret.
"""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - pydantic reads it when it makes the model
from typing import Final, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from aicsched.config.tables import Table

__all__ = ["ExtenderSettings"]

_LAST_PORT: Final = 65_535


class ExtenderSettings(Table):
    """What ``aicsched serve`` may be told.

    Parameters
    ----------
    metrics_port : int, optional
        Port of its own for ``/metrics`` and the probes; without one they are on the main port.
    metrics_host : str, optional
        Where that port is, when it isn't `host`.
    kubeconfig : Path, optional
        By default ``$KUBECONFIG``, ``~/.kube/config``, or what a pod is given.
    context : str, optional
        Of the kubeconfig; by default its current one.
    grid_zones : dict of str to str
        Electricity zone by region of the cluster, over the packaged table of cloud regions;
        nodes without a region label stand in one called ``cluster``.
    refresh_s : float
        A new snapshot so often [s].
    max_age_s : float
        Answers are neutral once a snapshot is older than this [s].
    horizon_h : int
        How far intensities are foreseen [h]; a pod that lives longer meets the mean of that.
    policies : Path, optional
        A policy file; by default the preset ``balanced`` holds everywhere.
    prometheus : str, optional
        Address of a Prometheus with the nodes' metrics; without it all loads are unknown.
    prometheus_token_file : Path, optional
        Holds the bearer token that it wants.
    prometheus_ca_file : Path, optional
        Whom its certificate must be signed by, PEM; by default whom the machine trusts.
    history_days : int
        How much of the nodes' past risk is learnt from [days].
    telemetry_step_s : int
        Length of the slots that the past is cut into [s]; shorter ones follow faster and cost more.
    hard_limits : bool
        Whether the limits of policies filter nodes; a pod's own annotations always do.
    bind, preempt : bool
        Whether these verbs are offered.
    ledger : Path, optional
        File of the ledger that placements are booked in.
    tls_cert_file, tls_key_file : Path, optional
        Certificate chain and key of the server, PEM.
    client_ca_file : Path, optional
        Whom clients' certificates must be signed by, PEM.
    client_names : tuple of str
        Common names, DNS names or URIs: a client's certificate must have one of them.
    token_file : Path, optional
        Holds the bearer tokens that clients may show, one a line.
    max_names_body_mib, max_body_mib : int
        Largest body by name, and with whole nodes [MiB].
    max_requests : int
        Requests at a time.
    max_connections : int
        Open connections at a time.
    read_s, write_s : float
        How long a request may take to arrive, and an answer to be taken [s].
    drain_s : float
        How long requests under way get at the end [s].
    settle_s : float
        How long readiness is off before connections are closed at the end [s].
    """

    metrics_port: int | None = Field(default=None, ge=0, le=_LAST_PORT)
    metrics_host: str | None = None
    kubeconfig: Path | None = None
    context: str | None = None
    grid_zones: dict[str, str] = Field(default_factory=dict)
    refresh_s: float = Field(default=30.0, ge=1, le=3600)
    max_age_s: float = Field(default=300.0, ge=1)
    horizon_h: int = Field(default=48, ge=1, le=96)
    policies: Path | None = None
    prometheus: str | None = None
    prometheus_token_file: Path | None = None
    prometheus_ca_file: Path | None = None
    history_days: int = Field(default=14, ge=1, le=60)
    telemetry_step_s: int = Field(default=3600, ge=60, le=3600)
    hard_limits: bool = False
    bind: bool = False
    preempt: bool = False
    ledger: Path | None = None
    tls_cert_file: Path | None = None
    tls_key_file: Path | None = None
    client_ca_file: Path | None = None
    client_names: tuple[str, ...] = ()
    token_file: Path | None = None
    max_names_body_mib: int = Field(default=8, ge=1, le=1024)
    max_body_mib: int = Field(default=64, ge=1, le=1024)
    max_requests: int = Field(default=64, ge=1, le=10_000)
    max_connections: int = Field(default=512, ge=1, le=100_000)
    read_s: float = Field(default=2.0, gt=0, le=600)
    write_s: float = Field(default=10.0, gt=0, le=600)
    drain_s: float = Field(default=5.0, ge=0, le=600)
    settle_s: float = Field(default=5.0, ge=0, le=600)

    @field_validator("grid_zones", mode="before")
    @classmethod
    def _from_text(cls, value: object) -> object:
        """Read what stands in the environment: ``north=DE,west=FR``."""
        if not isinstance(value, str):
            return value
        pairs = [part.partition("=") for part in value.split(",") if part.strip()]
        if not all(region.strip() and zone.strip() for region, _, zone in pairs):
            msg = "write for example north=DE,west=FR"
            raise ValueError(msg)
        return {region.strip(): zone.strip() for region, _, zone in pairs}

    @field_validator("telemetry_step_s")
    @classmethod
    def _parts_of_an_hour(cls, value: int) -> int:
        if 3600 % value:
            msg = "use a length that divides an hour, such as 300, 900 or 3600"
            raise ValueError(msg)
        return value

    @field_validator("prometheus")
    @classmethod
    def _an_address(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            msg = "it is no address; write for example https://prometheus.monitoring:9090"
            raise ValueError(msg)
        if parts.username or parts.password:
            msg = "a password in an address is shown and logged; use prometheus_token_file"
            raise ValueError(msg)
        return value

    @model_validator(mode="after")
    def _together(self) -> Self:
        if (self.tls_cert_file is None) != (self.tls_key_file is None):
            msg = "tls_cert_file and tls_key_file go together"
            raise ValueError(msg)
        if self.client_ca_file is not None and self.tls_cert_file is None:
            msg = "client_ca_file needs tls_cert_file and tls_key_file"
            raise ValueError(msg)
        if self.max_names_body_mib > self.max_body_mib:
            msg = "max_names_body_mib is over max_body_mib"
            raise ValueError(msg)
        if self.metrics_host is not None and self.metrics_port is None:
            msg = "metrics_host needs metrics_port"
            raise ValueError(msg)
        if self.max_age_s < self.refresh_s:
            msg = "max_age_s is below refresh_s: every answer would turn neutral"
            raise ValueError(msg)
        return self
