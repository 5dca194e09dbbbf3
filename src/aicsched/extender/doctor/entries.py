"""Checks of the entries of a scheduler's extenders.

What each says was seen on kube-scheduler 1.36, or stands in its source
(pkg/scheduler/extender.go, apis/config/validation).
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from aicsched.errors import did_you_mean
from aicsched.extender.doctor.finding import Finding, Severity
from aicsched.extender.doctor.profiles import check_profiles, in_tree_weight
from aicsched.extender.doctor.schedulerfile import parse_go_duration_s, table_at, tables_at

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["VERBS", "check_scheduler"]

VERBS: Final = {
    "filterVerb": "filter", "prioritizeVerb": "prioritize", "bindVerb": "bind", "preemptVerb": "preempt",
}  # fmt: skip
"""What our extender answers to, by the field that names it."""
_DEFAULT_TIMEOUT_S: Final = 5.0
_LONG_S: Final = 1.0
_SHORT_S: Final = 0.1
# One preferred node affinity of weight 100 gives 200 points; a weight of 3 gives up to 300.
_LEAST_WEIGHT: Final = 3
_MOST_LEVEL: Final = 10
_MOST_INT64: Final = 2**63 - 1
_GOOD_TIMEOUT: Final = "write httpTimeout: 300ms"


@dataclass(frozen=True, slots=True)
class _Entry:
    """One extender of a configuration."""

    where: str
    told: Mapping[str, Any]
    ours: bool
    in_tree: int

    def has(self, key: str) -> bool:
        return bool(self.told.get(key))

    @property
    def decides(self) -> bool:
        """Whether its failure can keep a pod from being placed."""
        return self.has("filterVerb") or self.has("bindVerb")

    def finding(self, code: str, severity: Severity, key: str, message: str, fix: str = "") -> Finding:
        where = f"{self.where}.{key}" if key else self.where
        return Finding(code=code, severity=severity, where=where, message=message, fix=fix)


def check_scheduler(
    content: Mapping[str, Any], *, nodes: int | None = None, url: str | None = None
) -> tuple[Finding, ...]:
    """Check a scheduler's configuration for what would go wrong with its extenders.

    Parameters
    ----------
    content : mapping
        A KubeSchedulerConfiguration.
    nodes : int, optional
        In the cluster; by default 1,000 are supposed.
    url : str, optional
        A part of our extender's ``urlPrefix``, where there are several; by default the
        only one is ours, or those that have ``aicsched`` in it.

    Returns
    -------
    tuple of Finding
        In the order of the checks.
    """
    extenders = tables_at(content, "extenders")
    if not extenders:
        return (
            Finding(
                code="no-extender",
                severity=Severity.ERROR,
                where="extenders",
                message="there is none: carbon has no say",
                fix="add one, as docs/kubernetes.md shows",
            ),
        )
    profiles = tables_at(content, "profiles") or [{}]
    in_tree = max(in_tree_weight(profile) for profile in profiles)
    entries = [
        _Entry(f"extenders[{place}]", told, _is_ours(told, url, len(extenders)), in_tree)
        for place, told in enumerate(extenders)
    ]
    found: list[Finding] = []
    if not any(entry.ours for entry in entries):
        known = [str(told.get("urlPrefix")) for told in extenders]
        found.append(
            Finding(
                code="not-ours",
                severity=Severity.WARNING,
                where="extenders",
                message=f"none of {len(extenders)} extenders is known to be aicsched's: {', '.join(known)}",
                fix="say which by --url",
            )
        )
    for entry in entries:
        for check in _CHECKS:
            found += check(entry)
    found += _between(entries)
    found += check_profiles(content, nodes)
    return tuple(found)


def _is_ours(told: Mapping[str, Any], url: str | None, count: int) -> bool:
    prefix = str(told.get("urlPrefix", ""))
    if url is not None:
        return url in prefix
    return count == 1 or "aicsched" in prefix


def _address(entry: _Entry) -> Iterator[Finding]:
    prefix = entry.told.get("urlPrefix")
    parts = urlsplit(str(prefix or ""))
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        yield entry.finding(
            "url", Severity.ERROR, "urlPrefix", f"{prefix!r} is no address of HTTP", "write https://HOST:PORT"
        )
        return
    if parts.scheme == "http" and not _is_loopback(parts.hostname):
        yield entry.finding(
            "plain-http",
            Severity.ERROR,
            "urlPrefix",
            "plain HTTP over the network: anybody on the way reads pods and steers placement",
            "write https://… and tlsConfig with caFile, certFile and keyFile",
        )
    if parts.hostname.endswith((".svc", ".svc.cluster.local")):
        yield entry.finding(
            "cluster-dns",
            Severity.INFO,
            "urlPrefix",
            "a kube-scheduler in the host's network resolves names of Services only with "
            "dnsPolicy: ClusterFirstWithHostNet",
            "set it on kube-scheduler's pod, or write the Service's clusterIP",
        )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _tls(entry: _Entry) -> Iterator[Finding]:
    tls = table_at(entry.told, "tlsConfig")
    has_ca = bool(tls.get("caFile") or tls.get("caData"))
    if has_ca and tls.get("insecure"):
        yield entry.finding(
            "tls-contradiction",
            Severity.ERROR,
            "tlsConfig.insecure",
            "with a CA, kube-scheduler refuses to start",
            "remove insecure",
        )
    elif tls.get("insecure"):
        yield entry.finding(
            "tls-insecure",
            Severity.ERROR,
            "tlsConfig.insecure",
            "the extender's certificate is not verified: anybody may answer in its place",
            "remove insecure, and write caFile",
        )
    elif entry.has("enableHTTPS") and not has_ca:
        yield entry.finding(
            "tls-silent",
            Severity.ERROR,
            "enableHTTPS",
            "without a CA, kube-scheduler silently does not verify the extender's certificate",
            "write tlsConfig: {caFile: …}, with enableHTTPS or without",
        )
    for name in ("cert", "key"):
        other = "key" if name == "cert" else "cert"
        if (tls.get(f"{name}File") or tls.get(f"{name}Data")) and not (
            tls.get(f"{other}File") or tls.get(f"{other}Data")
        ):
            yield entry.finding(
                "tls-half",
                Severity.ERROR,
                f"tlsConfig.{name}File",
                f"a {name} without its {other}: no certificate is shown to an extender that asks for one",
                f"write {other}File, too",
            )
    if urlsplit(str(entry.told.get("urlPrefix", ""))).scheme == "http" and tls:
        yield entry.finding(
            "tls-unused",
            Severity.WARNING,
            "tlsConfig",
            "unused: urlPrefix says http",
            "write https://… there",
        )


def _node_cache(entry: _Entry) -> Iterator[Finding]:
    if entry.has("nodeCacheCapable"):
        return
    if not (entry.has("filterVerb") or entry.has("prioritizeVerb")):
        return
    fix = "write nodeCacheCapable: true"
    yield entry.finding(
        "full-node-mode",
        Severity.ERROR,
        "nodeCacheCapable",
        "whole Node objects are sent, some 10 KB each: at 1,000 nodes kube-scheduler alone spends some 90 ms "
        "of CPU on a pod",
        fix,
    )
    if entry.has("filterVerb"):
        yield entry.finding(
            "empty-nodes",
            Severity.ERROR,
            "nodeCacheCapable",
            "after a filter in this mode, the scheduler's own scores take each node for empty "
            "(kubernetes#141781), and pods pile up on full ones",
            fix,
        )


def _failure(entry: _Entry) -> Iterator[Finding]:
    if entry.has("ignorable"):
        return
    if entry.decides:
        yield entry.finding(
            "not-ignorable",
            Severity.ERROR,
            "ignorable",
            "while the extender is away, no pod is placed at all",
            "write ignorable: true",
        )
    if entry.decides and not entry.has("managedResources"):
        yield entry.finding(
            "bootstrap",
            Severity.ERROR,
            "ignorable",
            "the extender's own pods need the extender to be placed: once all are gone, none comes back",
            "write ignorable: true, or give its pods another schedulerName",
        )


def _timeout(entry: _Entry) -> Iterator[Finding]:
    given = entry.told.get("httpTimeout")
    timeout_s = _DEFAULT_TIMEOUT_S if given is None else parse_go_duration_s(given)
    if timeout_s is None or timeout_s < 0:
        yield entry.finding(
            "timeout-form",
            Severity.ERROR,
            "httpTimeout",
            f"{given!r} is no duration, and kube-scheduler refuses to start",
            _GOOD_TIMEOUT,
        )
        return
    timeout_s = timeout_s or _DEFAULT_TIMEOUT_S
    calls = sum(entry.has(verb) for verb in ("filterVerb", "prioritizeVerb"))
    if timeout_s > _LONG_S:
        said = "unset, so 5 s" if given in {None, "0", "0s"} else str(given)
        yield entry.finding(
            "timeout-long",
            Severity.WARNING,
            "httpTimeout",
            f"{said}: pods are placed one after the other, so an extender that hangs holds up each for "
            f"{timeout_s * max(1, calls):g} s",
            _GOOD_TIMEOUT,
        )
    elif timeout_s < _SHORT_S:
        yield entry.finding(
            "timeout-short",
            Severity.WARNING,
            "httpTimeout",
            f"{given}: a busy machine answers later now and then, and its scores are dropped without a word",
            _GOOD_TIMEOUT,
        )


def _weight(entry: _Entry) -> Iterator[Finding]:
    if not entry.has("prioritizeVerb"):
        if entry.ours:
            yield entry.finding(
                "no-score",
                Severity.WARNING,
                "prioritizeVerb",
                "nodes are not scored by carbon",
                "write prioritizeVerb: prioritize",
            )
        return
    weight = entry.told.get("weight", 0)
    if not isinstance(weight, int) or isinstance(weight, bool) or weight <= 0:
        yield entry.finding(
            "weight-zero",
            Severity.ERROR,
            "weight",
            f"{weight!r}: kube-scheduler refuses to start with a prioritizeVerb and no positive weight",
            "write weight: 3",
        )
        return
    points, others = weight * 100, entry.in_tree * 100
    if weight * _MOST_LEVEL * 10 > _MOST_INT64:
        yield entry.finding(
            "weight-overflow", Severity.ERROR, "weight", "scores wrap around 64 bits", "write weight: 3"
        )
        return
    share = weight / (weight + entry.in_tree)
    told = (
        f"{weight} gives up to {points} points beside the in-tree plugins' {others}: {share:.0%} of the whole"
    )
    if weight < _LEAST_WEIGHT and entry.ours:
        yield entry.finding(
            "weight-low",
            Severity.WARNING,
            "weight",
            f"{told}; one preferred node affinity of weight 100 outweighs it",
            "write weight: 3, or more",
        )
    elif weight > entry.in_tree:
        yield entry.finding(
            "weight-high",
            Severity.WARNING,
            "weight",
            f"{told}; spreading and balance hardly count any more",
            f"write at most weight: {entry.in_tree}",
        )
    else:
        yield entry.finding("weight", Severity.INFO, "weight", told)


def _verbs(entry: _Entry) -> Iterator[Finding]:
    named = [field for field in VERBS if entry.has(field)]
    if not named:
        yield entry.finding(
            "no-verb",
            Severity.ERROR,
            "",
            "it names no verb, so it is never called",
            "write prioritizeVerb: prioritize",
        )
    if not entry.ours:
        return
    for field in named:
        given = str(entry.told[field]).strip("/")
        if given.rpartition("/")[2] != VERBS[field]:
            yield entry.finding(
                "verb-unknown",
                Severity.ERROR,
                field,
                f"'{given}' is answered with 404"
                + (", and all scores are dropped without a word" if field == "prioritizeVerb" else ""),
                f"{did_you_mean(given, VERBS.values(), count=1)} Write {field}: {VERBS[field]}",
            )
    if entry.has("filterVerb"):
        yield entry.finding(
            "filter-cost",
            Severity.INFO,
            "filterVerb",
            "a second call for each pod; it refuses nodes only for limits that were asked for; a pod that "
            "was refused may wait up to 5 minutes for its next try",
            "leave it out where no hard limits are used",
        )
    for field, setting in (("bindVerb", "bind"), ("preemptVerb", "preempt")):
        if entry.has(field):
            yield entry.finding(
                f"needs-{setting}",
                Severity.INFO,
                field,
                f"answered only with {setting} = true under [extender] in aicsched's settings",
                f"leave it out unless you need it: {setting}ing needs no carbon"
                if setting == "bind"
                else "leave it out where no hard limits are used",
            )


def _resources(entry: _Entry) -> Iterator[Finding]:
    for place, item in enumerate(tables_at(entry.told, "managedResources")):
        name, key = str(item.get("name", "")), f"managedResources[{place}]"
        domain, slash, _ = name.partition("/")
        if not slash or domain.endswith("kubernetes.io"):
            yield entry.finding(
                "resource-name",
                Severity.ERROR,
                f"{key}.name",
                f"'{name}' is no extended resource, and kube-scheduler refuses to start",
                "write DOMAIN/NAME with a domain of your own",
            )
        if item.get("ignoredByScheduler"):
            yield entry.finding(
                "resource-unchecked",
                Severity.WARNING,
                f"{key}.ignoredByScheduler",
                f"nobody checks any more whether a node has '{name}'",
                "remove it: aicsched counts no resources",
            )


def _between(entries: Sequence[_Entry]) -> Iterator[Finding]:
    binders = [entry for entry in entries if entry.has("bindVerb")]
    if len(binders) > 1:
        yield binders[1].finding(
            "two-binders",
            Severity.ERROR,
            "bindVerb",
            f"{len(binders)} extenders bind, and kube-scheduler refuses to start",
            "leave bindVerb to one of them",
        )
    seen: dict[str, str] = {}
    urls: dict[str, str] = {}
    for entry in entries:
        url = str(entry.told.get("urlPrefix", "")).rstrip("/")
        if url in urls:
            yield entry.finding(
                "same-url",
                Severity.WARNING,
                "urlPrefix",
                f"the same as that of {urls[url]}: it is called, and counts, twice",
                "remove one of the two",
            )
        urls.setdefault(url, entry.where)
        for place, item in enumerate(tables_at(entry.told, "managedResources")):
            name, key = str(item.get("name", "")), f"managedResources[{place}].name"
            if name in seen:
                yield entry.finding(
                    "resource-twice",
                    Severity.ERROR,
                    key,
                    f"'{name}' is {seen[name]}'s, too, and kube-scheduler refuses to start",
                    "name it once",
                )
            seen.setdefault(name, entry.where)


_CHECKS: Final = (_address, _tls, _verbs, _node_cache, _failure, _timeout, _weight, _resources)
