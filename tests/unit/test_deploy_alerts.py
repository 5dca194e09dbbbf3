"""The alerts by Prometheus' own tools: each fires when it should, says what it should, and else is quiet."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.debian_kit import NotToBeHad, find_programs
from tests.deploy_kit import DEPLOY, our_series, series_of
from tools.deploy.alerts import ALERTS, OTHERS, groups

if TYPE_CHECKING:
    from pathlib import Path

    from tests.prometheus_kit import Binaries

EXTENDER = 'namespace="aicsched-system",job="aicsched-extender-metrics"'
GATES = 'namespace="aicsched-system",job="aicsched-gates-metrics"'


def test_alerts_name_only_series_that_are_there() -> None:
    named = {series for alert in ALERTS for series in series_of(alert.expr)}
    assert named <= our_series() | OTHERS.keys()


def test_each_alert_is_said_once_and_has_something_to_do() -> None:
    names = [alert.name for alert in ALERTS]
    assert len(set(names)) == len(names)
    for alert in ALERTS:
        assert alert.severity in {"critical", "warning"}
        assert alert.to_do.endswith(".")
        assert re.fullmatch(r"\d+[mh]", alert.wait)


def test_the_rules_of_the_cluster_are_those_of_the_file() -> None:
    held = yaml.safe_load((DEPLOY / "prometheus/rules.yml").read_text("utf-8"))["groups"]
    (made,) = [
        each
        for each in yaml.safe_load_all((DEPLOY / "rendered/full.yaml").read_text("utf-8"))
        if each["kind"] == "PrometheusRule"
    ]
    assert held == groups() == made["spec"]["groups"]


def run(*command: object) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_promtool_takes_the_rules(prometheus_binaries: Binaries) -> None:
    told = run(prometheus_binaries.promtool, "check", "rules", DEPLOY / "prometheus/rules.yml")
    assert f"{len(ALERTS)} rules found" in told


@dataclass(frozen=True)
class Case:
    """Series by which an alert fires after two hours, those by which it doesn't, and what it says."""

    fires: dict[str, str]
    quiet: dict[str, str]
    says: str
    labels: dict[str, str] = field(default_factory=dict)


def per_minute(start: float, rate: float) -> str:
    return f"{start}+{rate}x180"


def latency(slow_share: float, edge: str) -> dict[str, str]:
    """Make a histogram: all within 5 s, and all but a share within an edge."""
    head = f'aicsched_extender_request_duration_seconds_bucket{{{EXTENDER},verb="filter"'
    fast = 600 * (1 - slow_share)
    return {
        f'{head},le="{edge}"}}': per_minute(0, fast),
        f'{head},le="0.5"}}': per_minute(0, 600),
        f'{head},le="+Inf"}}': per_minute(0, 600),
    }


def requests(rate: float, code: str = "200") -> dict[str, str]:
    name = f'aicsched_extender_requests_total{{{EXTENDER},verb="filter",code="{code}"}}'
    return {name: per_minute(0, rate)}


def fallbacks(rate: float) -> dict[str, str]:
    return requests(100) | {
        f'aicsched_extender_fallbacks_total{{{EXTENDER},reason="stale"}}': per_minute(0, rate)
    }


def snapshot(seconds: float) -> dict[str, str]:
    return {f'aicsched_snapshot_age_seconds{{{EXTENDER},pod="e-1"}}': f"{seconds}x180"}


def refresh(seconds: float) -> dict[str, str]:
    head = f'aicsched_refresh_age_seconds{{{EXTENDER},pod="e-1",refresher='
    return {f'{head}"telemetry"}}': f"{seconds}x180"}


def age(hours: float) -> dict[str, str]:
    return {f'aicsched_signal_age_seconds{{{EXTENDER},source="uk"}}': f"{hours * 3600}x180"}


def reads(fresh: float, stored: float) -> dict[str, str]:
    head = f'aicsched_signal_reads_total{{{EXTENDER},source="uk",outcome='
    return {f'{head}"fresh"}}': per_minute(0, fresh), f'{head}"stored"}}': per_minute(0, stored)}


def refused(values: str) -> dict[str, str]:
    return {f'aicsched_signal_refused_values_total{{{EXTENDER},source="uk",reason="negative"}}': values}


def skew(seconds: float) -> dict[str, str]:
    return {f'aicsched_signal_clock_skew_seconds{{{EXTENDER},source="uk"}}': f"{seconds}x180"}


def cpu(share: float) -> dict[str, str]:
    name = 'container_cpu_usage_seconds_total{namespace="aicsched-system",container="extender",pod="e-1"}'
    return {name: per_minute(0, 60 * share)}


def idle(share: float) -> dict[str, str]:
    return {'node_cpu_seconds_total{instance="n-1",mode="idle",cpu="0"}': per_minute(0, 60 * share)}


def restarts(values: str) -> dict[str, str]:
    head = 'kube_pod_container_status_restarts_total{namespace="aicsched-system",pod="e-1",container='
    return {f'{head}"extender"}}': values}


def certificate(days_left: float) -> dict[str, str]:
    head = "aicsched_certificate_expiry_timestamp_seconds"
    return {f'{head}{{{EXTENDER},certificate="server"}}': f"{7200 + days_left * 86400}x180"}


def renewal(days_left: float) -> dict[str, str]:
    head = "certmanager_certificate_expiration_timestamp_seconds"
    ends_s = 7200 + days_left * 86400
    return {f'{head}{{namespace="aicsched-system",name="aicsched-scheduler-client"}}': f"{ends_s}x180"}


def reloads(values: str) -> dict[str, str]:
    return {f'aicsched_trust_reloads_total{{{EXTENDER},pod="e-1",outcome="refused"}}': values}


def callers(rate: float) -> dict[str, str]:
    return {f'aicsched_trust_refusals_total{{{EXTENDER},reason="token"}}': per_minute(0, rate)}


def lateness(late: float) -> dict[str, str]:
    head = "aicsched_gates_release_lateness_seconds"
    return {
        f'{head}_bucket{{{GATES},le="0.0"}}': per_minute(0, 1),
        f"{head}_count{{{GATES}}}": per_minute(0, 1 + late),
    }


def leaders(*leads: int) -> dict[str, str]:
    return {f'aicsched_gates_leader{{{GATES},pod="g-{n}"}}': f"{lead}x180" for n, lead in enumerate(leads)}


def faults(rate: float) -> dict[str, str]:
    return {f'aicsched_gates_faults_total{{{GATES},part="refused"}}': per_minute(0, rate)}


def foresight(hours: float) -> dict[str, str]:
    return {f"aicsched_gates_forecast_age_seconds{{{GATES}}}": f"{hours * 3600}x180"}


UP = {f'up{{{EXTENDER},pod="e-1"}}': "1x180"}
DOWN = {f'up{{{EXTENDER},pod="e-1"}}': "1x30 0x150"}
GATES_UP = {f'up{{{GATES},pod="g-1"}}': "1x180"}
GATES_DOWN = {f'up{{{GATES},pod="g-1"}}': "0x180"}
WAITING = {'scheduler_pending_pods{queue="gated"}': "3x180"}
PLACES = {'scheduler_schedule_attempts_total{result="scheduled"}': per_minute(0, 60)}
ASKED = "The scheduler places pods and never asks the extender."
UK = {"source": "uk"}
E1 = {"pod": "e-1"}

CASES = {
    "ExtenderDown": Case(DOWN, UP, "No extender answers: pods are placed without regard to carbon."),
    "ExtenderNotAsked": Case(PLACES | requests(0), PLACES | requests(120), ASKED),
    "ExtenderSlow": Case(
        latency(0.05, "0.1"), latency(0.005, "0.1"),
        "filter takes 420ms at p99; the runbook allows 100 ms.", {"verb": "filter"},
    ),
    "ExtenderTimesOut": Case(
        latency(0.05, "0.25"), latency(0.005, "0.25"),
        "filter takes 450ms at p99: beyond the httpTimeout of 300 ms it holds up every pod.",
        {"verb": "filter"},
    ),
    "ExtenderRefuses": Case(
        requests(95) | requests(5, "413"), requests(1000) | requests(1, "413"),
        "5% of the extender's answers are refusals or errors.",
    ),
    "FallbacksFrequent": Case(fallbacks(10), fallbacks(1), "10% of the extender's answers are neutral."),
    "FallbacksPrevail": Case(
        fallbacks(80), fallbacks(40), "80% of the extender's answers are neutral: carbon has no say."
    ),
    "SnapshotStale": Case(
        snapshot(600), snapshot(30),
        "e-1 answers from a snapshot that is 10m 0s old: all answers are neutral.", E1,
    ),
    "RefreshFails": Case(
        refresh(3600), refresh(600), "telemetry of e-1 was last refreshed 1h 0m 0s ago.",
        {"pod": "e-1", "refresher": "telemetry"},
    ),
    "SignalStale": Case(
        age(3), age(1.5), "The newest value of uk is 3h 0m 0s old: forecasts stand in for it.", UK
    ),
    "SignalLost": Case(
        age(7), age(5), "The newest value of uk is 7h 0m 0s old: its zones count as neutral.", UK
    ),
    "SignalReadsFail": Case(reads(1, 4), reads(4, 1), "80% of the reads from uk bring nothing new.", UK),
    "SignalValuesRefused": Case(
        refused(per_minute(0, 1)), refused("7x180"), "uk sends values that can't be true (negative).",
        {"source": "uk", "reason": "negative"},
    ),
    "ClockSkewed": Case(skew(-300), skew(-90), "Our clock and that of uk are 5m 0s apart.", UK),
    "ExtenderCpuHigh": Case(
        cpu(0.9), cpu(0.7), "e-1 uses 90% of the one core that its loop can use.", E1
    ),
    "NodeCpuHigh": Case(
        idle(0.1), idle(0.3), "n-1 is 90% busy; the runbook's limit is 80 %.", {"instance": "n-1"}
    ),
    "Restarts": Case(
        restarts(per_minute(0, 0.1)), restarts("9x180"), "extender in e-1 restarted 6 times in an hour.",
        {"pod": "e-1", "container": "extender"},
    ),
    "CertificateExpires": Case(
        certificate(10), certificate(30),
        "The certificate of server ends in 10d 0h 0m 0s, and was not renewed.",
        {"certificate": "server"},
    ),
    "CertificateEnds": Case(
        certificate(1), certificate(3), "The certificate of server ends in 1d 0h 0m 0s.",
        {"certificate": "server"},
    ),
    "CertificateNotRenewed": Case(
        renewal(10), renewal(30),
        "cert-manager has not renewed aicsched-scheduler-client, which ends in 10d 0h 0m 0s.",
        {"name": "aicsched-scheduler-client"},
    ),
    "TrustRefusesFiles": Case(
        reloads(per_minute(0, 0.1)), reloads("3x180"),
        "e-1 goes on with the old certificate or token: the new one can't be used.", E1,
    ),
    "CallersRefused": Case(
        callers(12), callers(1), "200m callers a second are refused (token).", {"reason": "token"}
    ),
    "GatesLate": Case(
        lateness(0.05), lateness(0), "3 pods or Jobs were released behind their latest start within an hour."
    ),
    "GatesNoLeader": Case(
        leaders(0, 0), leaders(0, 1), "No replica of the gates acts: deferred pods are not released."
    ),
    "GatesFault": Case(
        faults(1), faults(0), "Something of the gates fails again and again: refused.", {"part": "refused"}
    ),
    "GatesForecastOld": Case(
        foresight(8), foresight(2), "The gates plan by a forecast that is 8h 0m 0s old."
    ),
    "GatesDown": Case(
        GATES_DOWN | WAITING, GATES_UP | WAITING,
        "No replica of the gates answers, and pods wait for their release.",
    ),
}  # fmt: skip


def test_each_alert_has_its_case() -> None:
    assert CASES.keys() == {alert.name for alert in ALERTS}


def test_alerts_fire_when_they_should_and_else_are_quiet(
    prometheus_binaries: Binaries, tmp_path: Path
) -> None:
    tests: list[dict[str, Any]] = []
    for alert in ALERTS:
        case = CASES[alert.name]
        expected = {
            "exp_labels": {"severity": alert.severity, "service": "aicsched", **case.labels},
            "exp_annotations": {
                "summary": case.says,
                "description": alert.to_do,
                "runbook": f"docs/deployment.md, {alert.name}",
            },
        }
        for series, alerts in ((case.fires, [expected]), (case.quiet, [])):
            tests.append(
                {
                    "name": f"{alert.name} {'fires' if alerts else 'is quiet'}",
                    "interval": "1m",
                    "input_series": [{"series": name, "values": each} for name, each in series.items()],
                    "alert_rule_test": [
                        {"eval_time": "2h", "alertname": f"Aicsched{alert.name}", "exp_alerts": alerts}
                    ],
                }
            )
    file = tmp_path / "rules_test.yml"
    about = {
        "rule_files": [str(DEPLOY / "prometheus/rules.yml")],
        "evaluation_interval": "1m",
        "tests": tests,
    }
    file.write_text(yaml.safe_dump(about, sort_keys=False))
    assert "SUCCESS" in run(prometheus_binaries.promtool, "test", "rules", file)


def test_alertmanager_takes_its_configuration() -> None:
    try:
        (amtool,) = find_programs("prometheus-alertmanager", "amtool")
    except NotToBeHad as reason:
        pytest.skip(f"NOT TESTED by amtool: {reason}")
    file = DEPLOY / "examples/alertmanager/alertmanager.yml"
    assert "SUCCESS" in run(amtool, "check-config", file)
    # What each alert's labels lead to.
    for severity, receiver in (("critical", "pagerduty"), ("warning", "morning")):
        labels = ("service=aicsched", f"severity={severity}")
        told = run(amtool, "config", "routes", "test", f"--config.file={file}", *labels)
        assert told.strip() == receiver
