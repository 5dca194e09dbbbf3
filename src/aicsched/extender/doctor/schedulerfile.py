"""Reads a KubeSchedulerConfiguration, on its own or inside a ConfigMap."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, cast

import yaml

from aicsched.errors import InputError, did_you_mean
from aicsched.extender.doctor.finding import Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

__all__ = ["KIND", "SchedulerFile", "parse_go_duration_s", "read_scheduler_file", "table_at", "tables_at"]

KIND: Final = "KubeSchedulerConfiguration"
VERSION: Final = "kubescheduler.config.k8s.io/v1"
# Fields of kube-scheduler's v1 types (k8s.io/kube-scheduler/config/v1/types.go, 1.36); it refuses others.
_TOP: Final = frozenset(
    {
        "apiVersion",
        "kind",
        "parallelism",
        "leaderElection",
        "clientConnection",
        "enableProfiling",
        "enableContentionProfiling",
        "percentageOfNodesToScore",
        "podInitialBackoffSeconds",
        "podMaxBackoffSeconds",
        "profiles",
        "extenders",
        "delayCacheUntilActive",
    }
)
_EXTENDER: Final = frozenset(
    {
        "urlPrefix",
        "filterVerb",
        "preemptVerb",
        "prioritizeVerb",
        "weight",
        "bindVerb",
        "enableHTTPS",
        "tlsConfig",
        "httpTimeout",
        "nodeCacheCapable",
        "managedResources",
        "ignorable",
    }
)
_TLS: Final = frozenset(
    {
        "insecure",
        "serverName",
        "certFile",
        "keyFile",
        "caFile",
        "certData",
        "keyData",
        "caData",
    }
)
_PROFILE: Final = frozenset(
    {
        "schedulerName",
        "percentageOfNodesToScore",
        "plugins",
        "pluginConfig",
    }
)
_PART: Final = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_SECONDS: Final = {
    "ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0,
}  # fmt: skip
_MOST_BYTES: Final = 4 * 2**20
_WHICH: Final = "name the file that kube-scheduler gets by --config, or the ConfigMap with it"


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerFile:
    """A configuration, and what is wrong with its form.

    Parameters
    ----------
    content : dict
        The configuration; keys that are fields of its types.
    findings : tuple of Finding
        What a strict reader refuses.
    """

    content: dict[str, Any]
    findings: tuple[Finding, ...] = field(default=())


def parse_go_duration_s(text: object) -> float | None:
    """Read a duration as Go writes it.

    Parameters
    ----------
    text : object
        ``"300ms"``, ``"1m30s"``.

    Returns
    -------
    float or None
        Seconds; None when it is none. A number without a unit isn't one, unless it is ``"0"``.

    Examples
    --------
    >>> parse_go_duration_s("1m30s"), parse_go_duration_s("300ms"), parse_go_duration_s(5)
    (90.0, 0.3, None)
    """
    if not isinstance(text, str):
        return None
    if text.lstrip("+-") == "0":
        return 0.0
    sign = -1.0 if text.startswith("-") else 1.0
    body = text.lstrip("+-")
    if not body or len(text) - len(body) > 1 or _PART.sub("", body):
        return None
    return sign * sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(body))


def table_at(table: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Return a nested mapping; empty where there is none.

    Parameters
    ----------
    table : mapping
        Of a configuration.
    key : str
        Which.

    Returns
    -------
    dict
        What stands there.
    """
    found = table.get(key)
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def tables_at(table: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    """Return a list of mappings; empty where there is none.

    Parameters
    ----------
    table : mapping
        Of a configuration.
    key : str
        Which.

    Returns
    -------
    list of dict
        What stands there.
    """
    found = table.get(key)
    items = cast("list[Any]", found) if isinstance(found, list) else []
    return [cast("dict[str, Any]", item) if isinstance(item, dict) else {} for item in items]


def read_scheduler_file(path: Path) -> SchedulerFile:
    """Read the configuration in a file.

    Parameters
    ----------
    path : Path
        YAML or JSON, one or several documents; a ConfigMap's data are looked into.

    Returns
    -------
    SchedulerFile
        Of the one configuration in it.

    Raises
    ------
    InputError
        The file can't be read, is no YAML, or holds no configuration, or more than one.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            msg = f"'{path}' is larger than 4 MiB"
            raise InputError(msg, hint=_WHICH, value=str(path))
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        msg = f"'{path}' can't be read ({getattr(error, 'strerror', None) or 'no text'})"
        raise InputError(
            msg, hint="name the file that kube-scheduler gets by --config", value=str(path)
        ) from error
    found = list(_configurations(text, str(path)))
    if len(found) == 1:
        return SchedulerFile(content=found[0], findings=tuple(_form(found[0])))
    if found:
        msg = f"'{path}' holds {len(found)} documents of kind {KIND}"
        raise InputError(msg, hint="check one at a time", value=len(found))
    msg = f"'{path}' holds no {KIND}"
    raise InputError(
        msg,
        hint="name the file that kube-scheduler gets by --config, or the ConfigMap with it",
        value=str(path),
    )


def _configurations(text: str, where: str) -> Iterator[dict[str, Any]]:
    for document in _documents(text, where):
        if document.get("kind") == KIND:
            yield document
        elif document.get("kind") in {"ConfigMap", "List"}:
            for item in tables_at(document, "items"):
                yield from _inside(item, where)
            yield from _inside(document, where)
        elif "extenders" in document and "kind" not in document:
            yield document


def _inside(config_map: Mapping[str, Any], where: str) -> Iterator[dict[str, Any]]:
    for key, content in table_at(config_map, "data").items():
        if isinstance(content, str) and KIND in content:
            yield from _configurations(content, f"{where}, data.{key}")


def _documents(text: str, where: str) -> list[dict[str, Any]]:
    try:
        return [item for item in yaml.safe_load_all(text) if isinstance(item, dict)]
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f" (line {mark.line + 1})" if mark is not None else ""
        msg = f"{where} is no YAML{line}: {getattr(error, 'problem', None) or error}"
        raise InputError(msg, hint="mend it, or take it from the running cluster") from error


def _form(content: Mapping[str, Any]) -> Iterator[Finding]:
    """Find what kube-scheduler's strict decoding refuses."""
    version = content.get("apiVersion")
    if version != VERSION:
        yield Finding(
            code="api-version",
            severity=Severity.ERROR,
            where="apiVersion",
            message=f"'{version}' is none that kube-scheduler reads: it refuses to start",
            fix=f"write apiVersion: {VERSION}",
        )
    if content.get("kind") != KIND:
        yield Finding(
            code="kind",
            severity=Severity.ERROR,
            where="kind",
            message="there is none",
            fix=f"write kind: {KIND}",
        )
    yield from _unknown(content, _TOP, "")
    for place, extender in enumerate(tables_at(content, "extenders")):
        yield from _unknown(extender, _EXTENDER, f"extenders[{place}].")
        yield from _unknown(table_at(extender, "tlsConfig"), _TLS, f"extenders[{place}].tlsConfig.")
    for place, profile in enumerate(tables_at(content, "profiles")):
        yield from _unknown(profile, _PROFILE, f"profiles[{place}].")


def _unknown(table: Mapping[str, Any], known: frozenset[str], where: str) -> Iterator[Finding]:
    for key in table:
        if key not in known:
            yield Finding(
                code="unknown-field",
                severity=Severity.ERROR,
                where=f"{where}{key}",
                message="there is no such field: kube-scheduler refuses to start",
                fix=did_you_mean(str(key), known),
            )
