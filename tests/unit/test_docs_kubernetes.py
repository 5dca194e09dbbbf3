"""The administrator's guide: what it tells to write is accepted, and its figures are the code's."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from aicsched.config import load_settings
from aicsched.extender import names
from aicsched.extender.app import ExtenderApp
from aicsched.extender.doctor.entries import check_scheduler
from aicsched.extender.doctor.finding import Severity
from aicsched.extender.doctor.profiles import DEFAULT_WEIGHTS, nodes_reached
from aicsched.extender.doctor.schedulerfile import read_scheduler_file
from aicsched.extender.sample import sample_snapshot
from aicsched.extender.snapshot import SnapshotHolder
from aicsched.observe import METRICS

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "docs" / "kubernetes.md"
TEXT = GUIDE.read_text(encoding="utf-8")
EXAMPLES = sorted((ROOT / "deploy").glob("examples/kube-scheduler/*.yaml"))


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def documents() -> list[dict[str, Any]]:
    return [item for block in blocks("yaml") for item in yaml.safe_load_all(block)]


def test_its_scheduler_configuration_has_nothing_to_mend() -> None:
    (content,) = [item for item in documents() if item["kind"] == "KubeSchedulerConfiguration"]
    found = check_scheduler(content, nodes=5000)
    assert {each.severity for each in found} <= {Severity.INFO, Severity.OK}, found


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_examples_beside_the_manifests_have_nothing_to_mend(path: Path) -> None:
    read = read_scheduler_file(path)
    found = (*read.findings, *check_scheduler(read.content, nodes=5000))
    assert {each.severity for each in found} <= {Severity.INFO, Severity.OK}, found


def test_its_settings_are_read(tmp_path: Path) -> None:
    (block,) = blocks("toml")
    path = tmp_path / "aicsched.toml"
    path.write_text(block)
    settings = load_settings(path)
    assert settings.extender.grid_zones == {"rack-1": "DE"}
    assert settings.signals.order == ("electricity-maps",)


def test_its_request_is_answered_as_it_says() -> None:
    (body,) = re.findall(r"-d '(\{.*?\})'", TEXT, re.DOTALL)
    snapshot = sample_snapshot()
    app = ExtenderApp(SnapshotHolder(snapshot), now_s=lambda: snapshot.issued_at_s)
    levels = {row["Host"]: row["Score"] for row in json.loads(app.handlers.prioritize(body.encode()))}
    assert set(levels) == set(json.loads(body)["NodeNames"])
    assert levels.pop("no-such-node") == 5
    assert sorted(levels.values()) == [0, 10]


def test_its_names_are_ours() -> None:
    known = {value for name in names.__all__ if isinstance(value := getattr(names, name), str)}
    used = {found.rstrip(".:") for found in re.findall(r"aicsched\.io/[a-z-]+", TEXT)}
    assert used
    assert used <= known
    metrics = {item.name for item in METRICS}
    assert set(re.findall(r"`(aicsched_[a-z_]+)`", TEXT)) <= metrics


def test_its_figures_are_those_of_the_checks() -> None:
    assert f"only {nodes_reached(1000)} reach the extender, at 5,000 only {nodes_reached(5000)}" in TEXT
    whole = sum(DEFAULT_WEIGHTS.values())
    assert f"0 to {whole * 100:,} points" in TEXT
    for weight, points, share in re.findall(r"^\| (\d+) \| ([\d,]+) \| (\d+) % \|", TEXT, re.MULTILINE):
        assert int(points.replace(",", "")) == int(weight) * 100
        assert int(share) == round(100 * int(weight) / (int(weight) + whole))


def test_its_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)", TEXT):
        assert (GUIDE.parent / target).exists(), target
