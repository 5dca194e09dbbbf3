"""The sample's fleet, queue and telemetry are what the demonstration needs."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import numpy as np
import pytest

from aicsched.data import load_table, sources
from aicsched.domain.fleet import BackendKind, Fleet, Node, Region
from aicsched.fleet.aggregate import region_from_nodes
from aicsched.fleet.sample import sample_fleet
from aicsched.fleet.sample_jobs import SAMPLE_NOW_S, sample_jobs
from aicsched.footprint.embodied import amortised_g
from aicsched.footprint.power import families
from aicsched.signals.telemetry_sample import sample_telemetry

if TYPE_CHECKING:
    from pathlib import Path

FLEET = sample_fleet()
JOBS = sample_jobs(FLEET)
TELEMETRY = sample_telemetry([node.name for node in FLEET.nodes], end_s=SAMPLE_NOW_S)


def test_size() -> None:
    assert FLEET.synthetic
    assert len(FLEET.regions) >= 6
    assert len(FLEET.nodes) >= 200
    assert len({node.cpu_family for node in FLEET.nodes}) >= 6
    kinds = [backend.kind for backend in FLEET.backends]
    assert kinds.count(BackendKind.QUANTUM) == 2
    assert kinds.count(BackendKind.NEUROMORPHIC) == 2
    assert kinds.count(BackendKind.EDGE) >= 3


def test_regions_stand_on_sample_zones_with_coordinates() -> None:
    zones = {row["grid_zone"] for row in load_table("sample_zones")}
    for region in FLEET.regions:
        assert region.grid_zone in zones
        assert -90 <= region.latitude_deg <= 90
        assert 1.08 <= region.pue <= 1.6


def test_nodes_are_as_old_as_their_processors_at_least() -> None:
    for node in FLEET.nodes:
        assert node.commissioned[:7] >= families()[node.cpu_family].launched
        assert 678 < node.embodied_kg < 1693  # 10 % and 90 % quantile of published servers


def test_some_nodes_are_protected() -> None:
    kinds = {label for node in FLEET.nodes for label in node.labels}
    assert {"termination-protection", "storage", "iac"} <= kinds


def test_backends_cite_a_source() -> None:
    for backend in FLEET.backends:
        assert sources()[backend.source]["title"]


def test_backend_energies_are_intervals() -> None:
    for backend in FLEET.backends:
        if backend.kind is BackendKind.NEUROMORPHIC:
            ends = [backend.properties[f"synop_{end}_pj"] for end in ("low", "mid", "high")]
            assert ends == sorted(ends)
        if backend.kind is BackendKind.QUANTUM:
            assert backend.properties["t2_us"] <= 2 * backend.properties["t1_us"]


def test_quantum_medians_are_those_of_the_snapshots(shared_data: Path) -> None:

    with (shared_data / "data" / "hardware" / "qpu-snapshots-68.csv").open(newline="") as handle:
        snapshots = {row["backend"]: row for row in csv.DictReader(handle)}
    found = {backend.name: backend.properties for backend in FLEET.backends}
    for name, snapshot in (("qpu-heron", "fake_pittsburgh"), ("qpu-eagle", "fake_sherbrooke")):
        row = snapshots[snapshot]
        assert found[name]["qubits"] == float(row["qubits"])
        for column in ("median_2q_error", "median_readout_error"):
            assert found[name][column] == pytest.approx(float(row[column]), rel=1e-3)
        for ours, theirs in (("t1_us", "median_t1_us"), ("t2_us", "median_t2_us")):
            assert found[name][ours] == pytest.approx(float(row[theirs]), rel=5e-3)


def test_a_region_is_the_mean_of_its_machines() -> None:
    facts = {"region": "r", "memory_gib": 1, "cpu_family": "", "embodied_kg": 1e3}
    nodes = [
        Node(name="a", vcpus=10, idle_w=20, max_w=60, **facts),
        Node(name="b", vcpus=30, idle_w=10, max_w=40, **facts),
    ]
    site = {"pue": 1.2, "wue_l_per_kwh": 0.1, "latitude_deg": 1, "longitude_deg": 2}
    region = region_from_nodes("r", nodes, grid_zone="z", free_share=0.5, **site)
    assert region.capacity_vcpus == 20
    assert region.power_w_per_vcpu == pytest.approx((40 + 30) / 40)
    assert region.embodied_g_per_vcpu_h == pytest.approx(2 * amortised_g(1e3, 4, 3600) / 40, abs=1e-4)


def test_the_queue_has_the_shape_it_claims() -> None:
    assert len(JOBS) >= 500
    assert len({job.job_id for job in JOBS}) == len(JOBS)
    assert min(job.release_s for job in JOBS) >= SAMPLE_NOW_S
    assert max(job.release_s for job in JOBS) <= SAMPLE_NOW_S + 48 * 3600
    assert max(job.deadline_s for job in JOBS) <= SAMPLE_NOW_S + 96 * 3600
    share = {
        name: np.mean([bool(getattr(job, name)) for job in JOBS]) for name in ("deferrable", "suspendable")
    }
    assert share["deferrable"] == pytest.approx(0.76, abs=0.05)
    assert share["suspendable"] == pytest.approx(0.35, abs=0.05)
    assert np.mean([bool(job.allowed_regions) for job in JOBS]) == pytest.approx(0.2, abs=0.05)


def test_the_largest_job_is_small_beside_the_smallest_region() -> None:
    largest = max(job.vcpus for job in JOBS)
    assert min(region.capacity_vcpus for region in FLEET.regions) / largest >= 25


def test_home_is_always_allowed() -> None:
    assert all(not job.allowed_regions or job.home_region in job.allowed_regions for job in JOBS)


def test_equal_seeds_give_equal_queues() -> None:
    assert sample_jobs(FLEET, count=50) == sample_jobs(FLEET, count=50)
    assert sample_jobs(FLEET, count=50) != sample_jobs(FLEET, count=50, seed=8)


def test_one_region_is_enough_for_a_queue() -> None:
    alone = Fleet(regions=(Region(name="a", grid_zone="z", capacity_vcpus=1, power_w_per_vcpu=1),))
    assert {job.home_region for job in sample_jobs(alone, count=20)} == {"a"}


def test_telemetry_has_two_weeks_and_every_character() -> None:
    assert TELEMETRY.synthetic
    assert TELEMETRY.slots.end_s == SAMPLE_NOW_S
    assert len(TELEMETRY.slots) == 14 * 24
    unknown = np.isnan(TELEMETRY.cpu_share)
    assert unknown.any(axis=1).sum() >= 2
    seen = np.where(unknown, 0.5, TELEMETRY.cpu_share)
    assert (seen.max(axis=1) < 0.05).sum() >= 5, "idle machines"
    bursts = (np.median(seen, axis=1) < 0.05) & (seen.max(axis=1) > 0.8)
    assert bursts.sum() >= 1, "a rare batch run"
    assert (seen.mean(axis=1) > 0.4).sum() >= 20, "busy machines"


def test_unknown_is_unknown_in_every_metric() -> None:
    unknown = np.isnan(TELEMETRY.cpu_share)
    assert np.array_equal(unknown, np.isnan(TELEMETRY.network_mb))
    assert np.array_equal(unknown, np.isnan(TELEMETRY.memory_share))


def test_a_node_keeps_its_character_in_any_company() -> None:
    name = FLEET.nodes[3].name
    alone = sample_telemetry([name], end_s=SAMPLE_NOW_S)
    assert np.array_equal(alone.cpu_share[0], TELEMETRY.cpu_share[3], equal_nan=True)
