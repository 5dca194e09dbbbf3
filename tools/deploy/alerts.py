"""What wakes somebody: one table that rules, their Kubernetes object and the docs come from.

Every series is ours and in `aicsched.observe.METRICS`, or one of `OTHERS`, whose names their projects
document as stable. ``$NAME`` stands for what the release's objects are called, ``$NAMESPACE`` for where.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

__all__ = ["ALERTS", "OTHERS", "Alert", "docs_table", "groups"]

# Series of others: who exposes each, and since which version under this name.
OTHERS: Final = {
    "up": "Prometheus",
    "container_cpu_usage_seconds_total": "kubelet (cAdvisor)",
    "kube_pod_container_status_restarts_total": "kube-state-metrics 2",
    "node_cpu_seconds_total": "node_exporter 0.16",
    "certmanager_certificate_expiration_timestamp_seconds": "cert-manager 1.0",
    "scheduler_schedule_attempts_total": "kube-scheduler 1.18",
    "scheduler_pending_pods": "kube-scheduler 1.18",
}


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert.

    Parameters
    ----------
    name : str
        Behind ``Aicsched``.
    severity : str
        ``critical`` wakes somebody, ``warning`` waits for the morning.
    expr : str
        PromQL.
    wait : str
        How long it must hold.
    summary : str
        What is wrong; ``{{ $labels.x }}`` and ``{{ $value }}`` are Prometheus'.
    to_do : str
        What to do about it.
    """

    name: str
    severity: str
    expr: str
    wait: str
    summary: str
    to_do: str


_EXTENDER: Final = 'job="$NAME-extender-metrics",namespace="$NAMESPACE"'
_GATES: Final = 'job="$NAME-gates-metrics",namespace="$NAMESPACE"'
_OURS: Final = 'namespace="$NAMESPACE",job=~"$NAME-(extender|gates)-metrics"'
_FALLBACKS: Final = (
    f"sum(rate(aicsched_extender_fallbacks_total{{{_EXTENDER}}}[5m]))"
    f" / sum(rate(aicsched_extender_requests_total{{{_EXTENDER}}}[5m]))"
)
_P99: Final = (
    "histogram_quantile(0.99, sum by (le, verb) "
    f"(rate(aicsched_extender_request_duration_seconds_bucket{{{_EXTENDER}}}[5m])))"
)
_ERRORS: Final = (
    f'sum(rate(aicsched_extender_requests_total{{{_EXTENDER},code!="200"}}[5m]))'
    f" / sum(rate(aicsched_extender_requests_total{{{_EXTENDER}}}[5m]))"
)
_AGE: Final = f"max by (source) (aicsched_signal_age_seconds{{{_OURS}}})"
_CERTIFICATE: Final = (
    f"min by (certificate) (aicsched_certificate_expiry_timestamp_seconds{{{_OURS}}}) - time()"
)
_CLIENT: Final = (
    "min by (name) (certmanager_certificate_expiration_timestamp_seconds"
    '{namespace="$NAMESPACE",name=~"$NAME-.*"}) - time()'
)
_SHARE: Final = "{{ $value | humanizePercentage }}"
_SECONDS: Final = "{{ $value | humanizeDuration }}"

ALERTS: Final = (
    Alert(
        "ExtenderDown",
        "critical",
        f"absent(up{{{_EXTENDER}}} == 1)",
        "2m",
        "No extender answers: pods are placed without regard to carbon.",
        "Look at the pods' events and logs. Placement itself goes on where the scheduler has "
        "`ignorable: true`.",
    ),
    Alert(
        "ExtenderNotAsked",
        "warning",
        "sum(rate(scheduler_schedule_attempts_total[15m])) > 0"
        f" unless sum(rate(aicsched_extender_requests_total{{{_EXTENDER}}}[15m])) > 0",
        "30m",
        "The scheduler places pods and never asks the extender.",
        "Look for `extender` in kube-scheduler's log: with `ignorable: true` wrong addresses and "
        "certificates show there only. `aicsched doctor` checks its configuration.",
    ),
    Alert(
        "ExtenderSlow",
        "warning",
        f"{_P99} > 0.1",
        "10m",
        "{{ $labels.verb }} takes " + _SECONDS + " at p99; the runbook allows 100 ms.",
        "See the panel of CPU: give the pod more, or set `nodeCacheCapable: true` if bodies are large.",
    ),
    Alert(
        "ExtenderTimesOut",
        "critical",
        f"{_P99} > 0.3",
        "5m",
        "{{ $labels.verb }} takes "
        + _SECONDS
        + " at p99: beyond the httpTimeout of 300 ms it holds up every pod.",
        "Restart the pods; if that doesn't help, take the extender out of the scheduler's configuration.",
    ),
    Alert(
        "ExtenderRefuses",
        "warning",
        f"{_ERRORS} > 0.01",
        "10m",
        _SHARE + " of the extender's answers are refusals or errors.",
        "See which code: 413 is a body over the limit, 401 and 403 a client nobody knows, 503 too many at "
        "a time.",
    ),
    Alert(
        "FallbacksFrequent",
        "warning",
        f"{_FALLBACKS} > 0.05",
        "10m",
        _SHARE + " of the extender's answers are neutral.",
        "The label `reason` says why: `stale` and `no_snapshot` point to signals or the API server.",
    ),
    Alert(
        "FallbacksPrevail",
        "critical",
        f"{_FALLBACKS} > 0.5",
        "15m",
        _SHARE + " of the extender's answers are neutral: carbon has no say.",
        "As above; `/readyz?verbose` of a pod tells which input is missing.",
    ),
    Alert(
        "SnapshotStale",
        "critical",
        f"max by (pod) (aicsched_snapshot_age_seconds{{{_EXTENDER}}}) > 300",
        "5m",
        "{{ $labels.pod }} answers from a snapshot that is " + _SECONDS + " old: all answers are neutral.",
        "Its log says what a new one fails of. `max_age_s` is the limit, `refresh_s` how often one is made.",
    ),
    Alert(
        "RefreshFails",
        "warning",
        f"max by (pod, refresher) (aicsched_refresh_age_seconds{{{_EXTENDER}}}) > 1800",
        "10m",
        "{{ $labels.refresher }} of {{ $labels.pod }} was last refreshed " + _SECONDS + " ago.",
        "`snapshot` needs the API server, `telemetry` Prometheus, `carbon` the sources of signals; "
        "`aicsched doctor --live` tries each.",
    ),
    Alert(
        "SignalStale",
        "warning",
        f"{_AGE} > 2 * 3600",
        "15m",
        "The newest value of {{ $labels.source }} is " + _SECONDS + " old: forecasts stand in for it.",
        "Check the source, its token, and that the network policy lets pods reach it.",
    ),
    Alert(
        "SignalLost",
        "critical",
        f"{_AGE} > 6 * 3600",
        "5m",
        "The newest value of {{ $labels.source }} is " + _SECONDS + " old: its zones count as neutral.",
        "As above; name a second source in `[signals] order`.",
    ),
    Alert(
        "SignalReadsFail",
        "warning",
        f'sum by (source) (rate(aicsched_signal_reads_total{{{_OURS},outcome!="fresh"}}[30m]))'
        f" / sum by (source) (rate(aicsched_signal_reads_total{{{_OURS}}}[30m])) > 0.5",
        "30m",
        _SHARE + " of the reads from {{ $labels.source }} bring nothing new.",
        "`aicsched signals status` tells what it answers.",
    ),
    Alert(
        "SignalValuesRefused",
        "warning",
        f"sum by (source, reason) (increase(aicsched_signal_refused_values_total{{{_OURS}}}[1h])) > 0",
        "10m",
        "{{ $labels.source }} sends values that can't be true ({{ $labels.reason }}).",
        "They are kept out. Tell who runs the source.",
    ),
    Alert(
        "ClockSkewed",
        "warning",
        f"max by (source) (abs(aicsched_signal_clock_skew_seconds{{{_OURS}}})) > 120",
        "15m",
        "Our clock and that of {{ $labels.source }} are " + _SECONDS + " apart.",
        "Check NTP on the nodes; the same skew at all sources is ours.",
    ),
    Alert(
        "ExtenderCpuHigh",
        "warning",
        "sum by (pod) (rate(container_cpu_usage_seconds_total"
        '{namespace="$NAMESPACE",container="extender"}[5m])) > 0.8',
        "15m",
        "{{ $labels.pod }} uses " + _SHARE + " of the one core that its loop can use.",
        "Look who calls it: the scheduler asks twice a pod. Full node objects cost 30 times as much as "
        "names.",
    ),
    Alert(
        "NodeCpuHigh",
        "warning",
        '1 - avg by (instance) (rate(node_cpu_seconds_total{mode="idle"}[5m])) > 0.8',
        "15m",
        "{{ $labels.instance }} is " + _SHARE + " busy; the runbook's limit is 80 %.",
        "Scores avoid it already. Weigh risk more (the preset `slo-first`), or add machines.",
    ),
    Alert(
        "Restarts",
        "warning",
        "sum by (pod, container) (increase(kube_pod_container_status_restarts_total"
        '{namespace="$NAMESPACE",container=~"extender|gates"}[1h])) > 3',
        "0m",
        "{{ $labels.container }} in {{ $labels.pod }} restarted {{ $value | humanize }} times in an hour.",
        "`kubectl logs --previous` tells why; exit code 137 is memory, for more of which see `resources`.",
    ),
    Alert(
        "CertificateExpires",
        "warning",
        f"{_CERTIFICATE} < 14 * 86400",
        "1h",
        "The certificate of {{ $labels.certificate }} ends in " + _SECONDS + ", and was not renewed.",
        "`kubectl describe certificate` tells what cert-manager waits for. A new one is taken up without "
        "restart.",
    ),
    Alert(
        "CertificateEnds",
        "critical",
        f"{_CERTIFICATE} < 2 * 86400",
        "5m",
        "The certificate of {{ $labels.certificate }} ends in " + _SECONDS + ".",
        "As above. Once it ends the scheduler goes on without the extender.",
    ),
    Alert(
        "CertificateNotRenewed",
        "warning",
        f"{_CLIENT} < 14 * 86400",
        "1h",
        "cert-manager has not renewed {{ $labels.name }}, which ends in " + _SECONDS + ".",
        "`kubectl describe certificate` tells what it waits for. The scheduler's own is to be copied to its "
        "nodes after that.",
    ),
    Alert(
        "TrustRefusesFiles",
        "warning",
        f'sum by (pod) (increase(aicsched_trust_reloads_total{{{_OURS},outcome="refused"}}[1h])) > 0',
        "10m",
        "{{ $labels.pod }} goes on with the old certificate or token: the new one can't be used.",
        "Its log says why. Certificate and key must belong together, and not have expired.",
    ),
    Alert(
        "CallersRefused",
        "warning",
        f"sum by (reason) (rate(aicsched_trust_refusals_total{{{_OURS}}}[10m])) > 0.1",
        "10m",
        "{{ $value | humanize }} callers a second are refused ({{ $labels.reason }}).",
        "If it is kube-scheduler, its certificate's name isn't in `tls.clients`; else find out who it is.",
    ),
    Alert(
        "GatesLate",
        "critical",
        f"sum(increase(aicsched_gates_release_lateness_seconds_count{{{_GATES}}}[1h]))"
        f' - sum(increase(aicsched_gates_release_lateness_seconds_bucket{{{_GATES},le="0.0"}}[1h])) > 0',
        "0m",
        "{{ $value | humanize }} pods or Jobs were released behind their latest start within an hour.",
        "See the gates' faults by part and their clock's skew; `releases_per_s` may be too low for a crowd.",
    ),
    Alert(
        "GatesNoLeader",
        "critical",
        f"sum(aicsched_gates_leader{{{_GATES}}}) == 0",
        "2m",
        "No replica of the gates acts: deferred pods are not released.",
        "Look at the gates' logs and at the Lease. By hand: `kubectl patch` the gate off the pods that are "
        "due; docs/deferral.md tells how.",
    ),
    Alert(
        "GatesFault",
        "warning",
        f"sum by (part) (increase(aicsched_gates_faults_total{{{_GATES}}}[15m])) > 0",
        "15m",
        "Something of the gates fails again and again: {{ $labels.part }}.",
        "It is tried again all the time; the log says why. `refused` is a right that is missing.",
    ),
    Alert(
        "GatesForecastOld",
        "warning",
        f"max(aicsched_gates_forecast_age_seconds{{{_GATES}}}) > 6 * 3600",
        "15m",
        "The gates plan by a forecast that is " + _SECONDS + " old.",
        "As for SignalStale. Plans that were made stand; new work starts after `forecast_wait_s`.",
    ),
    Alert(
        "GatesDown",
        "critical",
        f'absent(up{{{_GATES}}} == 1) and on () sum(scheduler_pending_pods{{queue="gated"}}) > 0',
        "2m",
        "No replica of the gates answers, and pods wait for their release.",
        "As above.",
    ),
)


def groups(name: str = "aicsched", namespace: str = "aicsched-system") -> list[dict[str, Any]]:
    """Return the rules as Prometheus reads them.

    Parameters
    ----------
    name, namespace : str
        Of the release; holes for a chart.

    Returns
    -------
    list of dict
        One group.
    """
    rules = [
        {
            "alert": f"Aicsched{alert.name}",
            "expr": alert.expr.replace("$NAMESPACE", namespace).replace("$NAME", name),
            "for": alert.wait,
            "labels": {"severity": alert.severity, "service": "aicsched"},
            "annotations": {
                "summary": alert.summary,
                "description": alert.to_do,
                "runbook": f"docs/deployment.md, {alert.name}",
            },
        }
        for alert in ALERTS
    ]
    return [{"name": "aicsched", "rules": rules}]


def docs_table() -> str:
    """Write the table of alerts for the docs.

    Returns
    -------
    str
        Markdown.
    """
    rows = ["| alert | severity | holds when | what to do |", "| --- | --- | --- | --- |"]
    for alert in ALERTS:
        when = alert.expr.replace("$NAMESPACE", "…").replace("|", "\\|")
        rows.append(f"| {alert.name} | {alert.severity} | `{when}` for {alert.wait} | {alert.to_do} |")
    return "\n".join(rows) + "\n"
