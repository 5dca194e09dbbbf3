"""Settings of deferral: the table ``[gates]``.

How the cluster is reached and on which grids its regions are stands in ``[extender]``,
where carbon signals come from in ``[signals]``: deferral and scores go by the same.
"""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - pydantic reads it when it makes the model
from typing import Final, Self

from pydantic import Field, field_validator, model_validator

from aicsched.config.tables import Table

__all__ = ["GatesSettings"]

_LAST_PORT: Final = 65_535
# Others decide by the second, so a lease must outlast a few lost renewals.
_SHORTEST_LEASE_S: Final = 3.0


class GatesSettings(Table):
    """What ``aicsched gates`` may be told.

    Parameters
    ----------
    namespaces : tuple of str
        Where pods and Jobs may be deferred; empty for everywhere but `excluded_namespaces`.
    excluded_namespaces : tuple of str
        Where nothing is ever deferred.
    default_delay_h : float
        How late those may start that say nothing about it [h].
    longest_delay_h : float
        No one waits longer than this, whatever it says [h].
    min_saving_share : float
        Work waits only where that saves at least this share of what it would emit at once.
    replan_gain_share : float
        A plan gives way only to one that saves this share more of what it would emit at once.
    policy : str
        ``optimal``, or a published policy of `aicsched.place.policies`.
    capacity : bool
        Whether plans keep to what is free on the nodes.
    refresh_s : float
        Forecasts are made anew so often [s].
    replan_s : float
        All plans are looked at again so often [s].
    forecast_wait_s : float
        Without any forecast, new work waits this long for one, and then starts [s].
    margin_s : float
        Releases are done this long before the latest start [s].
    releases_per_s : float
        Releases are spread to this rate; never beyond the latest start.
    events_per_s : float
        Events are sent at most at this rate.
    lease_name, lease_namespace : str
        Of the Lease by which replicas choose one that acts; by default in the namespace of the pod.
    lease_s : float
        How long the Lease of a replica that died holds [s].
    ledger : Path, optional
        File of the ledger that deferrals are booked in.
    host : str
        Where the webhook listens.
    port : int
        Of the webhook and the probes; 0 takes a free one.
    metrics_port : int, optional
        Port of its own for ``/metrics`` and the probes.
    metrics_host : str, optional
        Where that port is, when it isn't `host`.
    tls_cert_file, tls_key_file : Path, optional
        Certificate chain and key of the webhook, PEM; the API server speaks to it by TLS only.
    """

    namespaces: tuple[str, ...] = ()
    excluded_namespaces: tuple[str, ...] = ("kube-system", "kube-public", "kube-node-lease")
    default_delay_h: float = Field(default=12.0, ge=0, le=504)
    longest_delay_h: float = Field(default=72.0, gt=0, le=504)
    min_saving_share: float = Field(default=0.02, ge=0, lt=1)
    replan_gain_share: float = Field(default=0.05, ge=0, lt=1)
    policy: str = "optimal"
    capacity: bool = True
    refresh_s: float = Field(default=300.0, ge=1, le=3600)
    replan_s: float = Field(default=900.0, ge=1, le=86_400)
    forecast_wait_s: float = Field(default=900.0, ge=0, le=86_400)
    margin_s: float = Field(default=5.0, ge=0, le=600)
    releases_per_s: float = Field(default=50.0, gt=0, le=1000)
    events_per_s: float = Field(default=10.0, gt=0, le=1000)
    lease_name: str = Field(default="aicsched-gates", min_length=1)
    lease_namespace: str | None = None
    lease_s: float = Field(default=15.0, ge=_SHORTEST_LEASE_S, le=120)
    ledger: Path | None = None
    host: str = "127.0.0.1"
    port: int = Field(default=8443, ge=0, le=_LAST_PORT)
    metrics_port: int | None = Field(default=None, ge=0, le=_LAST_PORT)
    metrics_host: str | None = None
    tls_cert_file: Path | None = None
    tls_key_file: Path | None = None

    @field_validator("namespaces", "excluded_namespaces", mode="before")
    @classmethod
    def _from_text(cls, value: object) -> object:
        """Read what stands in the environment: ``shop,batch``."""
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @model_validator(mode="after")
    def _together(self) -> Self:
        if (self.tls_cert_file is None) != (self.tls_key_file is None):
            msg = "tls_cert_file and tls_key_file go together"
            raise ValueError(msg)
        if self.metrics_host is not None and self.metrics_port is None:
            msg = "metrics_host needs metrics_port"
            raise ValueError(msg)
        if self.default_delay_h > self.longest_delay_h:
            msg = "default_delay_h is over longest_delay_h"
            raise ValueError(msg)
        both = sorted(set(self.namespaces) & set(self.excluded_namespaces))
        if both:
            msg = f"'{both[0]}' stands in namespaces and in excluded_namespaces"
            raise ValueError(msg)
        return self

    def takes(self, namespace: str) -> bool:
        """Tell whether work of a namespace may be deferred.

        Parameters
        ----------
        namespace : str
            Of a pod or Job.

        Returns
        -------
        bool
            By `namespaces` and `excluded_namespaces`.

        Examples
        --------
        >>> GatesSettings().takes("shop"), GatesSettings().takes("kube-system")
        (True, False)
        """
        return namespace not in self.excluded_namespaces and (
            not self.namespaces or namespace in self.namespaces
        )
