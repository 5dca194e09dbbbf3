"""What the dashboard shows: rows of panels, each with its queries and how to read it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["PANELS", "Panel"]

_OURS: Final = 'namespace="$namespace"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One panel.

    Parameters
    ----------
    title : str
        What it shows.
    about : str
        How to read it.
    queries : dict of str to str
        PromQL by legend.
    unit : str
        Of Grafana: ``s``, ``percentunit``, ``reqps``, ``short`` and the like.
    kind : str
        ``timeseries``, ``stat`` or ``heatmap``.
    width, height : int
        In the grid of 24 columns.
    limits : tuple of (float, str)
        Colours from a value on.
    stacked : bool
        Whether series add up.
    """

    title: str
    about: str
    queries: dict[str, str]
    unit: str
    kind: str = "timeseries"
    width: int = 12
    height: int = 8
    limits: tuple[tuple[float, str], ...] = ()
    stacked: bool = False


def _rate(series: str, by: str, more: str = "") -> str:
    return f"sum by ({by}) (rate({series}{{{_OURS}{more}}}[$__rate_interval]))"


def _p(share: float) -> str:
    return (
        f"histogram_quantile({share}, "
        + _rate("aicsched_extender_request_duration_seconds_bucket", "le, verb")
        + ")"
    )


_NEUTRAL: Final = (
    f"sum(rate(aicsched_extender_fallbacks_total{{{_OURS}}}[$__rate_interval]))"
    f" / sum(rate(aicsched_extender_requests_total{{{_OURS}}}[$__rate_interval]))"
)
_AGE: Final = f"max by (source) (aicsched_signal_age_seconds{{{_OURS}}})"
_ON_LIMIT: Final = ((0.0, "green"), (0.1, "orange"), (0.3, "red"))
_BY_AGE: Final = ((0.0, "green"), (7_200.0, "orange"), (21_600.0, "red"))

# Rows of the dashboard, each with its panels.
PANELS: Final[dict[str, tuple[Panel, ...]]] = {
    "At a glance": (
        Panel(
            title="Extenders that answer",
            about="Two or more, unless somebody drains nodes.",
            queries={"up": 'sum(up{namespace="$namespace",job=~".*-extender-metrics"})'},
            unit="short",
            kind="stat",
            width=6,
            height=4,
            limits=((0.0, "red"), (1.0, "orange"), (2.0, "green")),
        ),
        Panel(
            title="Neutral answers",
            about="Share of answers in which carbon had no say, for want of a fresh input.",
            queries={"neutral": _NEUTRAL},
            unit="percentunit",
            kind="stat",
            width=6,
            height=4,
            limits=((0.0, "green"), (0.05, "orange"), (0.5, "red")),
        ),
        Panel(
            title="Slowest verb, p99",
            about="The runbook allows 100 ms, the scheduler waits 300 ms.",
            queries={"p99": f"max({_p(0.99)})"},
            unit="s",
            kind="stat",
            width=6,
            height=4,
            limits=_ON_LIMIT,
        ),
        Panel(
            title="Oldest signal",
            about="Orange: forecasts stand in. Red: its zones count as neutral.",
            queries={"age": f"max({_AGE})"},
            unit="s",
            kind="stat",
            width=6,
            height=4,
            limits=_BY_AGE,
        ),
    ),
    "Carbon": (
        Panel(
            title="Expected emissions of what was placed",
            about="Beside them the same pods at the mean of the nodes they could have gone to.",
            queries={
                "placed": f"sum(increase(aicsched_placed_grams_total{{{_OURS}}}[1h]))",
                "at the mean": f"sum(increase(aicsched_counterfactual_grams_total{{{_OURS}}}[1h]))",
            },
            unit="massg",
        ),
        Panel(
            title="Intensity expected next hour",
            about="Of each grid zone with nodes, in grams of CO2e a kWh.",
            queries={
                "{{zone}}": f"max by (zone) (aicsched_carbon_intensity_grams_per_kwh{{{_OURS}}})",
            },
            unit="suffix: g/kWh",
        ),
        Panel(
            title="Nodes by state of their grid's signal",
            about="Neutral ones are neither preferred nor avoided.",
            queries={"{{state}}": f"max by (state) (aicsched_snapshot_nodes{{{_OURS}}})"},
            unit="short",
            width=8,
            stacked=True,
        ),
        Panel(
            title="Grid zones by state of their signal",
            about="Fresh, degraded after two slots, neutral after six hours.",
            queries={"{{state}}": f"max by (state) (aicsched_carbon_signal_zones{{{_OURS}}})"},
            unit="short",
            width=8,
            stacked=True,
        ),
        Panel(
            title="Placements booked",
            about="Placements that the watch saw, by what came of them in the ledger.",
            queries={"{{outcome}}": _rate("aicsched_decisions_total", "outcome")},
            unit="short",
            width=8,
        ),
    ),
    "Extender": (
        Panel(
            title="Requests",
            about="The scheduler asks filter and prioritize once a pod. Codes other than 200 are refusals.",
            queries={"{{verb}} {{code}}": _rate("aicsched_extender_requests_total", "verb, code")},
            unit="reqps",
        ),
        Panel(
            title="Time to answer",
            about="Placement of every pod waits for this.",
            queries={"{{verb}} p50": _p(0.5), "{{verb}} p99": _p(0.99)},
            unit="s",
            limits=_ON_LIMIT,
        ),
        Panel(
            title="Neutral answers by reason",
            about="`stale`, `no_snapshot`: signals or the API server. `fault`: a defect of ours.",
            queries={"{{reason}}": _rate("aicsched_extender_fallbacks_total", "reason")},
            unit="reqps",
            stacked=True,
        ),
        Panel(
            title="Nodes scored",
            about="Per second. Far below nodes x pods: the scheduler samples (percentageOfNodesToScore).",
            queries={"{{verb}}": _rate("aicsched_extender_nodes_scored_total", "verb")},
            unit="short",
        ),
        Panel(
            title="CPU",
            about="The loop of one extender can use one core.",
            queries={
                "{{pod}}": _rate("container_cpu_usage_seconds_total", "pod", ',container=~"extender|gates"')
            },
            unit="percentunit",
            limits=((0.0, "green"), (0.8, "red")),
        ),
        Panel(
            title="Pods placed, and asked about",
            about="If pods are placed and nobody asks the extender, the scheduler's settings are wrong.",
            queries={
                "scheduler {{result}}": "sum by (result) "
                "(rate(scheduler_schedule_attempts_total[$__rate_interval]))",
                "asked to {{verb}}": _rate("aicsched_extender_requests_total", "verb"),
            },
            unit="reqps",
        ),
    ),
    "Snapshot": (
        Panel(
            title="Age of the snapshot",
            about="Every answer is made from one; beyond 300 s (max_age_s) all are neutral.",
            queries={"{{pod}}": f"max by (pod) (aicsched_snapshot_age_seconds{{{_OURS}}})"},
            unit="s",
            width=8,
            limits=((0.0, "green"), (90.0, "orange"), (300.0, "red")),
        ),
        Panel(
            title="Time since each part went well",
            about="Snapshot, telemetry and carbon signals are refreshed at their own pace.",
            queries={
                "{{pod}} {{refresher}}": f"max by (pod, refresher) (aicsched_refresh_age_seconds{{{_OURS}}})"
            },
            unit="s",
            width=8,
        ),
        Panel(
            title="Refreshes that failed, time to build",
            about="A build that takes long delays nothing but the next snapshot.",
            queries={
                "{{refresher}} failed": f"sum by (refresher) "
                f"(increase(aicsched_refresh_failures_total{{{_OURS}}}[1h]))",
                "build p99": "histogram_quantile(0.99, "
                + _rate("aicsched_snapshot_build_seconds_bucket", "le")
                + ")",
            },
            unit="short",
            width=8,
        ),
    ),
    "Signals": (
        Panel(
            title="Age of the newest value",
            about="Above two hours forecasts stand in, above six the zones count as neutral.",
            queries={"{{source}}": _AGE},
            unit="s",
            limits=_BY_AGE,
        ),
        Panel(
            title="Reads by outcome",
            about="`fresh` is new values, `stored` what was known before, since the source failed.",
            queries={"{{source}} {{outcome}}": _rate("aicsched_signal_reads_total", "source, outcome")},
            unit="reqps",
            stacked=True,
        ),
        Panel(
            title="Values refused",
            about="Negative, of the future, twice: kept out of every answer.",
            queries={
                "{{source}} {{reason}}": _rate("aicsched_signal_refused_values_total", "source, reason")
            },
            unit="short",
        ),
        Panel(
            title="Clock skew",
            about="Our clock ahead of each source's; the same at all is ours. Degraded beyond 120 s.",
            queries={"{{source}}": f"max by (source) (aicsched_signal_clock_skew_seconds{{{_OURS}}})"},
            unit="s",
        ),
    ),
    "Gates": (
        Panel(
            title="Held back",
            about="Pods and Jobs that wait for a cleaner hour.",
            queries={"{{kind}}": f"max by (kind) (aicsched_gates_waiting{{{_OURS}}})"},
            unit="short",
            width=8,
            stacked=True,
        ),
        Panel(
            title="Releases by reason",
            about="`planned` is the hour that was chosen; `latest_start` and `no_forecast` saved nothing.",
            queries={
                "{{reason}}": f"sum by (reason) (increase(aicsched_gates_releases_total{{{_OURS}}}[1h]))"
            },
            unit="short",
            width=8,
            stacked=True,
        ),
        Panel(
            title="Late releases",
            about="Behind their latest start, within an hour: there should be none.",
            queries={
                "late": f"sum(increase(aicsched_gates_release_lateness_seconds_count{{{_OURS}}}[1h]))"
                f' - sum(increase(aicsched_gates_release_lateness_seconds_bucket{{{_OURS},le="0.0"}}[1h]))'
            },
            unit="short",
            width=8,
            limits=((0.0, "green"), (0.5, "red")),
        ),
        Panel(
            title="What waiting is expected to save",
            about="Of all that waits now, beside starting at once.",
            queries={"saving": f"sum(aicsched_gates_planned_saving_grams{{{_OURS}}})"},
            unit="massg",
            width=8,
        ),
        Panel(
            title="Who acts, and plans that moved",
            about="One replica leads.",
            queries={
                "leaders": f"sum(aicsched_gates_leader{{{_OURS}}})",
                "plans moved in an hour": f"sum(increase(aicsched_gates_replans_total{{{_OURS}}}[1h]))",
            },
            unit="short",
            width=8,
        ),
        Panel(
            title="Faults of the gates, by part",
            about="What failed is tried again.",
            queries={"{{part}}": _rate("aicsched_gates_faults_total", "part")},
            unit="short",
            width=8,
        ),
        Panel(
            title="Answers of the webhook",
            about="What it made of the pods that asked to be deferred.",
            queries={"{{outcome}}": _rate("aicsched_gates_reviews_total", "outcome")},
            unit="reqps",
        ),
        Panel(
            title="Age of the gates' forecast, skew of their clock",
            about="Without a forecast new work starts after a while; whichever clock is ahead counts.",
            queries={
                "forecast": f"max(aicsched_gates_forecast_age_seconds{{{_OURS}}})",
                "skew": f"max(abs(aicsched_gates_clock_skew_seconds{{{_OURS}}}))",
            },
            unit="s",
        ),
    ),
    "Trust": (
        Panel(
            title="Certificates",
            about="Time until each ends; cert-manager renews in the last third.",
            queries={
                "{{certificate}}": "min by (certificate) "
                f"(aicsched_certificate_expiry_timestamp_seconds{{{_OURS}}}) - time()"
            },
            unit="s",
            width=8,
        ),
        Panel(
            title="New certificates and tokens",
            about="`refused` ones can't be used: the old ones hold on.",
            queries={
                "{{outcome}}": f"sum by (outcome) (increase(aicsched_trust_reloads_total{{{_OURS}}}[1h]))"
            },
            unit="short",
            width=8,
        ),
        Panel(
            title="Callers refused",
            about="Nobody but kube-scheduler and your own tools should call.",
            queries={"{{reason}}": _rate("aicsched_trust_refusals_total", "reason")},
            unit="reqps",
            width=8,
        ),
    ),
    "Cluster": (
        Panel(
            title="CPU of nodes",
            about="The runbook's limit is 80 %.",
            queries={
                "{{instance}}": "1 - avg by (instance) "
                '(rate(node_cpu_seconds_total{mode="idle"}[$__rate_interval]))'
            },
            unit="percentunit",
            limits=((0.0, "green"), (0.8, "red")),
        ),
        Panel(
            title="Pods that wait",
            about="`gated` pods are deferred until a cleaner hour.",
            queries={"{{queue}}": "sum by (queue) (scheduler_pending_pods)"},
            unit="short",
            stacked=True,
        ),
    ),
}
