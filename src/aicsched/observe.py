"""What operators see: logger names and the catalogue of metrics.

The library logs below ``aicsched`` and adds no handler. Each metric is declared
here once, with its unit in its name and a bounded set of labels (never a pod or
a node), so that dashboards and alerts can be checked against one list.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["METRICS", "Metric", "get_logger", "metric"]

logging.getLogger("aicsched").addHandler(logging.NullHandler())


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric that a server exposes.

    Parameters
    ----------
    name : str
        ``aicsched_<noun>_<unit>[_total]``.
    kind : str
        ``"counter"``, ``"gauge"`` or ``"histogram"``.
    help : str
        One line.
    labels : tuple of str
        Bounded label names.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()


METRICS: Final = (
    Metric("aicsched_extender_requests_total", "counter", "Requests answered.", ("verb", "code")),
    Metric("aicsched_extender_request_duration_seconds", "histogram", "Time to answer.", ("verb",)),
    Metric("aicsched_extender_fallbacks_total", "counter", "Neutral answers given.", ("reason",)),
    Metric("aicsched_extender_nodes_scored_total", "counter", "Nodes scored.", ("verb",)),
    Metric("aicsched_extender_bindings_total", "counter", "Pods that were to be bound.", ("outcome",)),
    Metric("aicsched_gates_waiting", "gauge", "Pods and Jobs that are held back.", ("kind",)),
    Metric("aicsched_gates_releases_total", "counter", "Releases.", ("reason",)),
    Metric("aicsched_gates_release_lateness_seconds", "histogram", "Releases behind their latest start."),
    Metric("aicsched_gates_replans_total", "counter", "Planned starts that were moved."),
    Metric("aicsched_gates_planned_saving_grams", "gauge", "What waiting is expected to save."),
    Metric("aicsched_gates_leader", "gauge", "1 on the replica that acts."),
    Metric("aicsched_gates_clock_skew_seconds", "gauge", "Our clock ahead of the API server's."),
    Metric("aicsched_gates_forecast_age_seconds", "gauge", "Age of what plans are made from."),
    Metric("aicsched_gates_faults_total", "counter", "What failed, and is tried again.", ("part",)),
    Metric("aicsched_gates_reviews_total", "counter", "Answers of the webhook.", ("outcome",)),
    Metric("aicsched_signal_age_seconds", "gauge", "Age of the newest value of a signal.", ("source",)),
    Metric("aicsched_signal_reads_total", "counter", "Reads from a source.", ("source", "outcome")),
    Metric("aicsched_signal_refused_values_total", "counter", "Values refused.", ("source", "reason")),
    Metric("aicsched_carbon_intensity_grams_per_kwh", "gauge", "Intensity expected next hour.", ("zone",)),
    Metric("aicsched_carbon_signal_zones", "gauge", "Grid zones by state of their signal.", ("state",)),
    Metric("aicsched_snapshot_age_seconds", "gauge", "Age of the snapshot that answers are made from."),
    Metric("aicsched_snapshot_build_seconds", "histogram", "Time to build a snapshot."),
    Metric("aicsched_snapshot_nodes", "gauge", "Nodes by state of their grid's signal.", ("state",)),
    Metric("aicsched_refresh_failures_total", "counter", "Failed refreshes.", ("refresher",)),
    Metric("aicsched_refresh_age_seconds", "gauge", "Time since a refresh went well.", ("refresher",)),
    Metric("aicsched_decisions_total", "counter", "Placements seen, by what came of booking.", ("outcome",)),
    Metric("aicsched_placed_grams_total", "counter", "Expected emissions of placed pods."),
    Metric("aicsched_counterfactual_grams_total", "counter", "The same at the mean of the nodes."),
    Metric("aicsched_signal_clock_skew_seconds", "gauge", "Our clock ahead of a source's.", ("source",)),
    Metric("aicsched_certificate_expiry_timestamp_seconds", "gauge", "When it expires.", ("certificate",)),
    Metric("aicsched_trust_reloads_total", "counter", "Changed certificates and tokens.", ("outcome",)),
    Metric("aicsched_trust_refusals_total", "counter", "Callers refused.", ("reason",)),
)


def metric(name: str) -> Metric:
    """Look up a metric's declaration.

    Parameters
    ----------
    name : str
        Its full name.

    Returns
    -------
    Metric
        The declaration.

    Raises
    ------
    KeyError
        It isn't declared: a programming error, found by the first test that runs.

    Examples
    --------
    >>> metric("aicsched_signal_age_seconds").labels
    ('source',)
    """
    return {item.name: item for item in METRICS}[name]


def get_logger(name: str) -> logging.Logger:
    """Return the logger of a part of the library.

    Parameters
    ----------
    name : str
        For example ``"extender"``.

    Returns
    -------
    logging.Logger
        Named ``aicsched.<name>``.

    Examples
    --------
    >>> get_logger("extender").name
    'aicsched.extender'
    """
    return logging.getLogger(f"aicsched.{name}")
