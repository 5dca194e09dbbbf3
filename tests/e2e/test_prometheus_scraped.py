"""A real Prometheus scrapes a real exporter, and what we read of it is the load that was recorded."""

from __future__ import annotations

import json
import math
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from aicsched.signals.prometheus.read import PrometheusTelemetry
from aicsched.signals.prometheus.server import PrometheusServer
from tests.e2e.serving import serving
from tests.prometheus_kit import Binaries
from tests.prometheus_kit import serving as serving_prometheus

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.e2e

EXPORTER = "tests/e2e/exporter.py"
STEP_S = 5
STEPS = 12


def record(folder: Path, machines: tuple[str, ...]) -> tuple[Path, dict[str, Any]]:
    """Write down what machines will do from the next step on."""
    rng = np.random.default_rng(11)
    start_s = math.ceil(time.time() / STEP_S + 0.2) * STEP_S
    history = {
        "start_s": start_s,
        "step_s": STEP_S,
        "machines": {
            name: {
                "cpu_share": rng.uniform(0.05, 0.95, STEPS).tolist(),
                "memory_share": rng.uniform(0.1, 0.9, STEPS).tolist(),
                "network_mb": rng.uniform(1, 900, STEPS).tolist(),
            }
            for name in machines
        },
    }
    path = folder / "history.json"
    path.write_text(json.dumps(history))
    return path, history


def scraping(port: int, machines: tuple[str, ...]) -> str:
    """Write a configuration that scrapes machines each second, each under an address of its own."""
    jobs = [
        {
            "job_name": f"node-{name}",
            "metrics_path": f"/{name}/metrics",
            "static_configs": [{"targets": [f"127.0.0.1:{port}"], "labels": {"instance": f"{name}:9100"}}],
        }
        for name in machines
    ]
    return json.dumps({"global": {"scrape_interval": "1s"}, "scrape_configs": jobs})


def test_what_is_scraped_is_what_was_recorded_and_a_dead_exporter_is_unknown(
    tmp_path: Path, prometheus_binaries: Binaries
) -> None:
    machines = ("alpha", "beta", "gamma")
    path, history = record(tmp_path, machines)
    with serving([EXPORTER, path], announced="listens on ") as exporter:
        config = scraping(exporter.port, machines)
        with serving_prometheus(prometheus_binaries, tmp_path / "tsdb", config=config) as address:
            time.sleep(max(history["start_s"] + 5 * STEP_S + 1.5 - time.time(), 0))
            exporter.kill()
            reader = PrometheusTelemetry(PrometheusServer(address), scrape_s=1)
            time.sleep(2 * STEP_S)
            window = reader.last_slots(7, STEP_S)
            seen = reader.read(window)
    assert seen.nodes == machines
    first = (window.start_s - history["start_s"]) // STEP_S
    known = range(max(1, -first), 5 - first)
    assert len(known) >= 3
    for row, name in enumerate(machines):
        for field, within in (("cpu_share", 0.02), ("memory_share", 1e-6)):
            told = [history["machines"][name][field][first + slot] for slot in known]
            found = getattr(seen, field)[row, known.start : known.stop]
            np.testing.assert_allclose(found, told, atol=within, err_msg=f"{name} {field}")
        told_mb = [history["machines"][name]["network_mb"][first + slot] for slot in known]
        np.testing.assert_allclose(
            seen.network_mb[row, known.start : known.stop], told_mb, rtol=0.03, err_msg=name
        )
    # Nobody scraped the last slot: it is unknown, not idle.
    assert np.isnan(seen.cpu_share[:, -1]).all()
