"""Certificates by cert-manager: a CA of the release's own, the servers', and the scheduler's as a client."""

from __future__ import annotations

from typing import Any, Final

from tools.deploy.pieces import CERT_MANAGER, SERVICE, WEBHOOK, Piece, meta
from tools.deploy.template import Both, Ref

__all__ = ["CERTIFICATES"]

_API: Final = "cert-manager.io/v1"
_SERVED: Final = Both(CERT_MANAGER, SERVICE)
_HOOKED: Final = Both(CERT_MANAGER, WEBHOOK)


def _issuer(name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": _API, "kind": "Issuer", "metadata": meta(name, "certificates"), "spec": spec}


def _certificate(name: str, secret: Any, **spec: Any) -> dict[str, Any]:  # noqa: ANN401 - descriptions
    return {
        "apiVersion": _API,
        "kind": "Certificate",
        "metadata": meta(name, "certificates"),
        "spec": {
            "secretName": secret,
            "duration": Ref("tls.duration"),
            # A new key with each certificate.
            "privateKey": {"algorithm": "ECDSA", "size": 256, "rotationPolicy": "Always"},
            **spec,
            "issuerRef": spec.get("issuerRef", {"kind": "Issuer", "name": "@{name}-ca"}),
        },
    }


def _served(part: str) -> list[str]:
    service = f"@{{name}}-{part}.@{{Release.Namespace}}"
    return [f"{service}.svc", f"{service}.svc.cluster.local", service]


_ROOT: Final = _issuer("self-signed", {"selfSigned": {}})
_AUTHORITY: Final = _certificate(
    "ca",
    "@{name}-ca",
    isCA=True,
    commonName="@{name}-ca",
    duration="43800h",
    issuerRef={"kind": "Issuer", "name": "@{name}-self-signed"},
)
_ISSUER: Final = _issuer("ca", {"ca": {"secretName": "@{name}-ca"}})
_EXTENDER: Final = _certificate(
    "extender", Ref("tls.secret"), dnsNames=_served("extender"), usages=["digital signature", "server auth"]
)
_SCHEDULER: Final = _certificate(
    "scheduler-client",
    "@{name}-scheduler-client",
    commonName="kube-scheduler",
    usages=["digital signature", "client auth"],
)
_GATES: Final = _certificate(
    "gates",
    Ref("gates.webhook.secret"),
    dnsNames=_served("gates"),
    usages=["digital signature", "server auth"],
)

CERTIFICATES: Final = (
    Piece("root-issuer", "cert-manager", _ROOT, CERT_MANAGER),
    Piece("ca", "cert-manager", _AUTHORITY, CERT_MANAGER),
    Piece("issuer", "cert-manager", _ISSUER, CERT_MANAGER),
    Piece("extender", "cert-manager", _EXTENDER, _SERVED),
    Piece("scheduler-client", "cert-manager", _SCHEDULER, _SERVED),
    Piece("gates", "cert-manager", _GATES, _HOOKED),
)
