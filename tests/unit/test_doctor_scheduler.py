"""The doctor on configurations: each trap is told at its place, and a sound one is left in peace."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from aicsched.cli.app import main
from aicsched.errors import InputError
from aicsched.extender.doctor.entries import check_scheduler
from aicsched.extender.doctor.finding import Severity
from aicsched.extender.doctor.profiles import in_tree_weight, nodes_reached
from aicsched.extender.doctor.schedulerfile import parse_go_duration_s, read_scheduler_file

if TYPE_CHECKING:
    from pathlib import Path

SOUND: dict[str, Any] = {
    "apiVersion": "kubescheduler.config.k8s.io/v1",
    "kind": "KubeSchedulerConfiguration",
    "percentageOfNodesToScore": 100,
    "extenders": [
        {
            "urlPrefix": "https://10.96.0.20:8888",
            "prioritizeVerb": "prioritize",
            "weight": 3,
            "enableHTTPS": True,
            "tlsConfig": {"caFile": "/etc/aicsched/ca.crt", "certFile": "/c.crt", "keyFile": "/c.key"},
            "httpTimeout": "300ms",
            "nodeCacheCapable": True,
            "ignorable": True,
        }
    ],
}


def changed(top: dict[str, Any] | None = None, **extender: Any) -> dict[str, Any]:
    """Change the sound configuration; None takes a key away."""
    made = copy.deepcopy(SOUND) | (top or {})
    for key, value in extender.items():
        made["extenders"][0].pop(key, None)
        if value is not None:
            made["extenders"][0][key] = value
    return made


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as left:
        main(list(arguments))
    return int(left.value.code), capsys.readouterr().out


def codes(content: dict[str, Any], least: Severity = Severity.WARNING, **options: Any) -> set[str]:
    bad = [Severity.ERROR] if least is Severity.ERROR else [Severity.ERROR, Severity.WARNING]
    return {found.code for found in check_scheduler(content, **options) if found.severity in bad}


def test_a_sound_configuration_has_nothing_to_mend() -> None:
    assert codes(SOUND) == set()
    assert codes(changed(urlPrefix="http://127.0.0.1:8888", enableHTTPS=None, tlsConfig=None)) == set()


CASES = {
    "full-node-mode": changed(nodeCacheCapable=False),
    "empty-nodes": changed(nodeCacheCapable=None, filterVerb="filter"),
    "plain-http": changed(urlPrefix="http://10.0.0.3:8888", tlsConfig=None, enableHTTPS=None),
    "url": changed(urlPrefix="10.0.0.3:8888"),
    "tls-silent": changed(tlsConfig=None),
    "tls-insecure": changed(tlsConfig={"insecure": True}),
    "tls-contradiction": changed(tlsConfig={"insecure": True, "caFile": "/ca"}),
    "tls-half": changed(tlsConfig={"caFile": "/ca", "certFile": "/c"}),
    "tls-unused": changed(urlPrefix="http://localhost:8888"),
    "not-ignorable": changed(ignorable=False, filterVerb="filter"),
    "bootstrap": changed(ignorable=None, bindVerb="bind"),
    "timeout-long": changed(httpTimeout=None),
    "timeout-short": changed(httpTimeout="20ms"),
    "timeout-form": changed(httpTimeout="300"),
    "weight-zero": changed(weight=None),
    "weight-low": changed(weight=2),
    "weight-high": changed(weight=100),
    "weight-overflow": changed(weight=2**60),
    "no-score": changed(prioritizeVerb=None, filterVerb="filter"),
    "no-verb": changed(prioritizeVerb=None),
    "verb-unknown": changed(prioritizeVerb="prioritise"),
    "resource-name": changed(managedResources=[{"name": "carbon"}]),
    "resource-unchecked": changed(managedResources=[{"name": "a.io/x", "ignoredByScheduler": True}]),
    "resource-twice": changed(managedResources=[{"name": "a.io/x"}, {"name": "a.io/x"}]),
    "percentage-range": changed({"percentageOfNodesToScore": 101}),
    "part-of-nodes": changed({"percentageOfNodesToScore": None}),
    "no-extender": SOUND | {"extenders": []},
}


@pytest.mark.parametrize("code", sorted(CASES))
def test_each_trap_is_told_with_a_fix(code: str) -> None:
    found = [each for each in check_scheduler(CASES[code]) if each.code == code]
    assert found, codes(CASES[code])
    assert all(each.fix and each.where for each in found)


def test_traps_between_extenders_are_told() -> None:
    two = copy.deepcopy(SOUND)
    two["extenders"] = [two["extenders"][0] | {"bindVerb": "bind"} for _ in range(2)]
    assert {"two-binders", "same-url"} <= codes(two)
    assert "not-ours" in codes(two)
    assert "not-ours" not in codes(two, url="10.96.0.20")


def test_profiles_decide_how_many_nodes_come_and_what_a_weight_is_worth() -> None:
    part = changed({"profiles": [{"percentageOfNodesToScore": 10}, {"schedulerName": "two"}]})
    assert "part-of-nodes" in codes(part)
    assert "part-of-nodes" not in codes(part, nodes=90)
    # Figures seen on a real scheduler: 1,200 -> 492, 1,500 -> 570, 5,000 -> 500.
    assert [nodes_reached(count) for count in (50, 100, 1200, 1500, 5000)] == [50, 100, 492, 570, 500]
    alone = {"plugins": {"multiPoint": {"disabled": [{"name": "*"}], "enabled": [{"name": "NodeAffinity"}]}}}
    assert in_tree_weight(alone) == 0
    heavier = {"plugins": {"score": {"enabled": [{"name": "NodeAffinity", "weight": 50}, {"name": "Mine"}]}}}
    assert in_tree_weight(heavier) == 12 - 2 + 50 + 1


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("300ms", 0.3), ("1h2m3s", 3723.0), ("1.5s", 1.5), ("0", 0.0), ("-1s", -1.0), ("5", None), ("", None),
     (5, None), ("1s garbage", None), ("--1s", None), ("µs", None)],
)  # fmt: skip
def test_durations_are_read_as_go_writes_them(text: object, seconds: float | None) -> None:
    assert parse_go_duration_s(text) == (None if seconds is None else pytest.approx(seconds))


def test_a_configuration_is_found_wherever_it_stands(tmp_path: Path) -> None:
    plain = tmp_path / "plain.yaml"
    plain.write_text("---\nkind: Other\n---\n" + yaml.safe_dump(SOUND))
    held = tmp_path / "map.json"
    held.write_text(json.dumps({"kind": "ConfigMap", "data": {"config.yaml": yaml.safe_dump(SOUND)}}))
    assert read_scheduler_file(plain).content == read_scheduler_file(held).content == SOUND
    assert read_scheduler_file(plain).findings == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [("a: [", r"no YAML \(line"), ("kind: Pod", "holds no Kube"), ("", "holds no Kube"), ("\0", "no YAML"),
     (f"---\n{yaml.safe_dump(SOUND)}\n---\n{yaml.safe_dump(SOUND)}", "holds 2 documents")],
)  # fmt: skip
def test_what_holds_no_configuration_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=said):
        read_scheduler_file(path)
    with pytest.raises(InputError, match="can't be read"):
        read_scheduler_file(tmp_path)


def test_what_strict_decoding_refuses_is_told_with_the_nearest_name(tmp_path: Path) -> None:
    wrong = changed({"apiVersion": "kubescheduler.config.k8s.io/v1beta3"}, ignoreable=True)
    wrong["extenders"][0]["tlsConfig"]["ca"] = "x"
    path = tmp_path / "x.yaml"
    path.write_text(yaml.safe_dump(wrong))
    found = {each.where: each for each in read_scheduler_file(path).findings}
    assert set(found) == {"apiVersion", "extenders[0].ignoreable", "extenders[0].tlsConfig.ca"}
    assert "ignorable" in found["extenders[0].ignoreable"].fix


def test_the_command_tells_the_worst_first_and_by_its_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "scheduler.yaml"
    path.write_text(yaml.safe_dump(changed(ignorable=None, filterVerb="filter", weight=1)))
    code, said = run(capsys, "doctor", str(path))
    assert code == 3
    lines = [line.split()[0] for line in said.splitlines() if line[:1].isupper()]
    assert len(lines) > 2
    assert lines == sorted(lines, key=["ERROR", "WARNING", "INFO"].index)
    path.write_text(yaml.safe_dump(SOUND))
    code, said = run(capsys, "doctor", str(path), "--json", "--nodes", "50")
    assert code == 0
    assert json.loads(said)["counts"]["error"] == 0


WORDS = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 200), st.text(max_size=8), st.just("filter"), st.just("1s"),
    st.lists(st.dictionaries(st.sampled_from(["name", "ignoredByScheduler"]), st.text(max_size=5))),
    st.dictionaries(st.sampled_from(["caFile", "insecure"]), st.booleans()),
)  # fmt: skip


ENTRIES = st.dictionaries(st.sampled_from(sorted(SOUND["extenders"][0])), WORDS)


@given(st.lists(st.one_of(ENTRIES, WORDS), max_size=3), WORDS, WORDS)
def test_no_configuration_is_too_odd_to_be_checked(extenders: Any, percentage: Any, profiles: Any) -> None:
    content = {"extenders": extenders, "percentageOfNodesToScore": percentage, "profiles": profiles}
    for found in check_scheduler(content):
        assert found.message
