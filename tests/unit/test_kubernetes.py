"""A fleet from Kubernetes: objects, power, and a cluster that changes and misbehaves under watch."""

from __future__ import annotations

import json
import math
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from aicsched.cli import main
from aicsched.errors import ConfigError, InputError, SignalInvalid, SourceUnavailable, UnitError
from aicsched.fleet.file import fleet_to_json, read_fleet
from aicsched.fleet.kubernetes.cluster import Cluster
from aicsched.fleet.kubernetes.objects import Amount, node_facts, pod_facts
from aicsched.fleet.kubernetes.power import FAMILY_LABEL, power_of
from aicsched.fleet.kubernetes.watch import ClusterWatch, WatchLimits, connect
from aicsched.footprint.power import families, family_power, power_band
from tests.kube_kit import ApiServer, api_client, api_server, budget, node, pod

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

QUICK = WatchLimits(connect_s=1, read_s=1, watch_s=60, first_wait_s=0.05, longest_wait_s=0.1)
NFD = "feature.node.kubernetes.io/cpu-"


# ------------------------------------------------------------------ what a pod holds


def requests(cpu: str = "", memory: str = "", **more: Any) -> dict[str, Any]:
    given = {key: value for key, value in (("cpu", cpu), ("memory", memory)) if value}
    return {"name": more.pop("name", "c"), "resources": {"requests": given}, **more}


@pytest.mark.parametrize(
    ("spec", "status", "due"),
    [
        ({"containers": [requests("500m", "1Gi"), requests("1", "512Mi")]}, {}, (1.5, 1.5)),
        ({"containers": [requests()]}, {}, (0, 0)),
        # Initialisation needs more than the rest.
        ({"containers": [requests("1")], "initContainers": [requests("3"), requests("2")]}, {}, (3, 0)),
        # A sidecar goes on beside all that starts after it.
        (
            {
                "containers": [requests("1")],
                "initContainers": [requests("2"), requests("1", restartPolicy="Always"), requests("4")],
            },
            {},
            (5, 0),
        ),
        (
            {"containers": [requests("3")], "initContainers": [requests("1", restartPolicy="Always")]},
            {},
            (4, 0),
        ),
        (
            {"containers": [requests("1", "1Gi")], "overhead": {"cpu": "250m", "memory": "64Mi"}},
            {},
            (1.25, 1.0625),
        ),
        # Of the pod as a whole: what it doesn't name is its containers'.
        ({"containers": [requests("1", "1Gi")], "resources": {"requests": {"cpu": "4"}}}, {}, (4, 1)),
        # Shrinking, and not there yet.
        (
            {"containers": [requests("1", name="a")]},
            {"containerStatuses": [{"name": "a", "allocatedResources": {"cpu": "2"}}]},
            (2, 0),
        ),
    ],
)
def test_a_pod_holds_what_the_scheduler_counts(
    spec: dict[str, Any], status: dict[str, Any], due: tuple[float, float]
) -> None:
    got = pod_facts({"metadata": {"name": "p"}, "spec": spec, "status": status}).request
    assert (got.vcpus, got.memory_gib, got.pods) == (*due, 1)


def test_accelerators_of_all_vendors_count() -> None:
    given = {"nvidia.com/gpu": "2", "amd.com/gpu": "1", "gpu.intel.com/i915": "1", "hugepages-2Mi": "1Gi"}
    facts = node_facts(node("a", capacity=given))
    assert facts.capacity.gpus == 4
    assert facts.allocatable == Amount(15.89, 63, 4, 110)


def test_nodes_tell_what_they_are() -> None:
    taints = [{"key": "dedicated", "value": "ml", "effect": "NoSchedule"}]
    facts = node_facts(node("a", taints=taints, cordoned=True, ready=False))
    assert (facts.region, facts.node_zone, facts.provider) == ("eu-central-1", "eu-central-1a", "aws")
    assert (facts.schedulable, facts.ready, facts.takes_pods) == (False, False, False)
    assert facts.taints[0].key == "dedicated"
    assert facts.created == "2026-01-02"
    assert facts.labels["kubernetes.io/hostname"] == "a"
    soft = [{"key": "spot", "effect": "PreferNoSchedule"}]
    assert node_facts(node("b", taints=soft)).takes_pods
    with pytest.raises(UnitError, match=r"no CPU in status.capacity"):
        node_facts({"metadata": {"name": "new"}, "spec": {}, "status": {}})


# ------------------------------------------------------------------ whose power


def cpuid(vendor: str, family: int, model: int, *features: str) -> dict[str, str]:
    made = {f"{NFD}model.vendor_id": vendor, f"{NFD}model.family": str(family), f"{NFD}model.id": str(model)}
    return made | {f"{NFD}cpuid.{feature}": "true" for feature in features}


@pytest.mark.parametrize(
    ("labels", "provider", "family", "source"),
    [
        ({FAMILY_LABEL: "intel-icelake", f"{NFD}model.vendor_id": "AMD"}, "", "intel-icelake", "label"),
        (cpuid("AMD", 25, 1), "", "amd-epyc-gen3", "nfd"),
        (cpuid("Intel", 6, 85, "AVX512F"), "", "intel-skylake", "nfd"),
        (cpuid("Intel", 6, 85, "AVX512F", "AVX512VNNI"), "", "intel-cascadelake", "nfd"),
        ({"node.kubernetes.io/instance-type": "c6a.4xlarge"}, "aws", "amd-epyc-gen3", "instance-type"),
        ({"beta.kubernetes.io/instance-type": "n2d-standard-8"}, "azure", "unknown", "fallback"),
        ({"node.kubernetes.io/instance-type": "c6a.4xlarge"}, "", "unknown", "fallback"),
        ({"node.kubernetes.io/instance-type": "x99.huge"}, "aws", "unknown", "fallback"),
        ({}, "", "unknown", "fallback"),
    ],
)
def test_power_follows_the_best_that_labels_tell(
    labels: dict[str, str], provider: str, family: str, source: str
) -> None:
    got = power_of(labels, vcpus=16, provider=provider)
    assert (got.family, got.source) == (family, source)
    assert bool(got.reason) == (family == "unknown")
    assert got.idle_w == pytest.approx(16 * family_power(family).idle_w_per_vcpu)
    assert 0 < got.idle_w < got.max_w


def test_reasons_are_told() -> None:
    assert "may be several CPUs" in power_of(cpuid("Intel", 6, 85), vcpus=1).reason
    assert "Intel family 6 model 7" in power_of(cpuid("Intel", 6, 7), vcpus=1).reason
    kind = {"node.kubernetes.io/instance-type": "x99.huge"}
    assert "x99.huge" in power_of(kind, vcpus=1, provider="aws").reason
    with pytest.raises(InputError, match=r"no CPU family 'intel-icelakes'.*did you mean intel-icelake"):
        power_of({FAMILY_LABEL: "intel-icelakes"}, vcpus=1)


def test_a_thread_of_a_core_of_its_own_counts_as_two() -> None:
    got = power_of({"node.kubernetes.io/instance-type": "m7a.4xlarge"}, vcpus=16, provider="aws")
    assert got.max_w == pytest.approx(32 * family_power("amd-epyc-gen4").max_w_per_vcpu)


def test_an_unknown_family_is_as_uncertain_as_all_together() -> None:
    unknown, known = family_power("unknown"), list(families().values())
    assert unknown.idle_low_w_per_vcpu == min(each.idle_low_w_per_vcpu for each in known)
    assert unknown.max_high_w_per_vcpu == max(each.max_high_w_per_vcpu for each in known)
    band, narrow = power_band("unknown"), power_band("intel-icelake")
    assert band.idle_low < narrow.idle_low
    assert band.idle_high > narrow.idle_high
    assert band.range_high > narrow.range_high


# ------------------------------------------------------------------ a cluster at one moment


NODES = [node("a"), node("b", cordoned=True), node("c", taints=[{"key": "x", "effect": "NoExecute"}])]
PODS = [
    pod("web-1", "a", "2", "4Gi"),
    pod("web-2", "b", "1", "1Gi", bound="2026-05-01T11:00:00Z"),
    pod("job-1", "a", "8", "8Gi", phase="Succeeded"),
    pod("new-1", "a", "1", "1Gi", bound="2026-05-01T12:00:00Z"),
    pod("late-1"),
]


def test_free_is_what_pods_may_still_request() -> None:
    cluster = Cluster.of(NODES, PODS)
    a, b, c = cluster.nodes
    assert cluster.requested("a") == Amount(3, 5, 0, 2)
    assert cluster.free(a).vcpus == pytest.approx(12.89)
    assert cluster.free(a).memory_gib == 58
    assert cluster.free(b) == cluster.free(c) == Amount()
    assert cluster.faults == ()


def test_what_metrics_do_not_show_yet_is_told() -> None:
    cluster = Cluster.of(NODES, [*PODS, pod("dark-1", "b", "3", bound="no time")])
    unseen = cluster.unseen(1777629600)  # 2026-05-01T10:00Z
    assert unseen["a"].pods == 1
    assert unseen["a"].request.vcpus == 1
    assert unseen["b"].pods == 2  # one that tells no time may be new
    assert unseen["b"].request.vcpus == 4
    more = Cluster.of(
        NODES, [*PODS, pod("dark-1", "b", "3", bound="no time"), pod("quiet-1", "c", "0", bound="?")]
    )
    share = more.unseen_share(1777629600, ["c", "gone", "b", "a"])
    np.testing.assert_allclose(share, [0.1 / 16, 0, 4 / 16, 1 / 16])
    assert math.isnan(pod_facts(pod("x", "b", bound="no time")).bound_s)


def by_rule(key: str, operator: str, *values: str) -> dict[str, Any]:
    rule = {"key": key, "operator": operator, "values": list(values)}
    return budget("one", "", 0, selector={"matchExpressions": [rule]})


@pytest.mark.parametrize(
    ("made", "held"),
    [
        (budget("one", "web", 0), True),
        (budget("one", "web", 1), False),
        (budget("one", "api", 0), False),
        (budget("one", "web", 0, namespace="other"), False),
        (budget("one", "", 0, selector={}), True),
        (by_rule("app", "In", "web"), True),
        (by_rule("app", "NotIn", "web", "new", "job"), False),
        (by_rule("tier", "Exists"), False),
        (by_rule("tier", "DoesNotExist"), True),
        (by_rule("app", "Near"), True),
    ],
)
def test_spent_budgets_hold_nodes(made: dict[str, Any], held: bool) -> None:
    assert bool(Cluster.of(NODES, PODS, [made]).held_by("a")) == held


def test_what_can_not_be_read_is_left_out_and_told() -> None:
    odd = [node("a"), node("twin"), node("twin"), node("sick", capacity={"cpu": "many"}), {"metadata": None}]
    cluster = Cluster.of(odd, [pod("web-1", "a", "lots"), pod("web-2", "a", "-1")], [{"metadata": 7}])
    assert [each.name for each in cluster.nodes] == ["a"]
    told = "\n".join(cluster.faults)
    assert "node 'twin' appears 2 times" in told
    assert "node 'sick' is left out: 'many' is not a Kubernetes quantity" in told
    assert "pod 'shop/web-1' is left out: 'lots'" in told
    assert "pod 'shop/web-2' is left out: '-1' of cpu is negative" in told
    # What the pods hold isn't known, so nothing may be promised.
    assert cluster.free(cluster.nodes[0]) == Amount()


def test_a_fleet_stands_on_the_table_of_regions(tmp_path: Path) -> None:
    bare = dict.fromkeys(("topology.kubernetes.io/region", "node.kubernetes.io/instance-type"))
    nodes = [*NODES, node("d", labels=bare, provider_id="")]
    fleet = Cluster.of(nodes, PODS, source="kubernetes:test").fleet({"cluster": "PL"})
    germany, own = fleet.regions
    assert (germany.name, germany.grid_zone, germany.pue) == ("eu-central-1", "DE", 1.24)
    assert germany.capacity_vcpus == pytest.approx(12.89)
    assert germany.capacity_memory_gib == 58
    assert (own.name, own.grid_zone, own.pue) == ("cluster", "PL", 1.0)
    first, last = fleet.nodes[0], fleet.nodes[-1]
    assert (first.cpu_family, first.vcpus, first.memory_gib) == ("amd-epyc-gen3", 16, 64)
    assert (first.node_zone, first.region) == ("eu-central-1a", "eu-central-1")
    assert (last.cpu_family, last.region) == ("unknown", "cluster")
    assert first.embodied_kg < last.embodied_kg  # a part of a server, and a whole one
    (tmp_path / "fleet.json").write_text(fleet_to_json(fleet))
    again = read_fleet(tmp_path / "fleet.json")
    assert [each.cpu_family for each in again.nodes] == [each.cpu_family for each in fleet.nodes]
    assert again.regions[0].capacity_vcpus == germany.capacity_vcpus


def test_a_fleet_without_nodes_or_grid_is_refused() -> None:
    with pytest.raises(InputError, match=r"kubernetes shows no node"):
        Cluster.of([]).fleet()
    with pytest.raises(InputError, match=r"on which grid region 'lab' is; .*lab=DE"):
        Cluster.of([node("a", labels={"topology.kubernetes.io/region": "lab"})]).fleet()


# ------------------------------------------------------------------ under watch


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with api_server() as made:
        made.put("nodes", node("a"), node("b"))
        made.put("pods", pod("web-1", "a", "2", "4Gi"), pod("web-2", "b"))
        made.put("budgets", budget("web", "web", 0))
        yield made


def watching(server: ApiServer, limits: WatchLimits = QUICK) -> ClusterWatch:
    return ClusterWatch(api_client(server.url, token="s3cret-token"), limits=limits, source="test")


def until(true: Callable[[], bool], within_s: float = 10.0) -> None:
    end_s = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < end_s, "it never came to be"
        time.sleep(0.01)


def names(watch: ClusterWatch) -> list[str]:
    return sorted(each.name for each in watch.cluster().nodes)


def test_a_cluster_is_listed_and_followed(server: ApiServer) -> None:
    with watching(server) as watch:
        watch.wait(10)
        assert names(watch) == ["a", "b"]
        assert watch.cluster().requested("a") == Amount(2, 4, 0, 1)
        assert [each.name for each in watch.cluster().held_by("a")] == ["web"]
        server.put("nodes", node("c"))
        server.put("pods", pod("web-3", "a", "1", "1Gi"))
        server.drop("nodes", "b")
        until(lambda: names(watch) == ["a", "c"])
        until(lambda: watch.cluster().requested("a") == Amount(3, 5, 0, 2))
        server.put("nodes", node("a", cordoned=True))
        until(lambda: not next(each for each in watch.cluster().nodes if each.name == "a").schedulable)
        assert watch.faults() == ()
        assert watch.heard_s() < 10
    # Nothing was listed twice, and all threads have ended.
    assert sum("watch" not in asked for _, asked in server.seen) == 3
    assert not [each for each in threading.enumerate() if each.name == "SharedInformer"]


def test_long_lists_come_in_pages(server: ApiServer) -> None:
    server.put("nodes", *(node(f"n{index:02}") for index in range(25)))
    limits = WatchLimits(page=10, read_s=1, first_wait_s=0.05)
    with watching(server, limits) as watch:
        watch.wait(10)
        assert len(watch.cluster().nodes) == 27
    assert [asked.get("continue") for kind, asked in server.seen if kind == "nodes"][:3] == [None, "10", "20"]


def test_a_watch_that_is_cut_goes_on_where_it_was(server: ApiServer) -> None:
    with watching(server) as watch:
        watch.wait(10)
        server.put("nodes", node("c"))
        until(lambda: "c" in names(watch))
        server.cut()
        server.put("nodes", node("d"))
        until(lambda: names(watch) == ["a", "b", "c", "d"])
        until(lambda: watch.faults() == ())
    assert sum("watch" not in asked for _, asked in server.seen) == 3


def test_a_version_that_is_too_old_is_listed_again(server: ApiServer) -> None:
    with watching(server) as watch:
        watch.wait(10)
        server.stores["nodes"].objects.pop(("", "b"))  # nobody is told
        server.compact()
        until(lambda: names(watch) == ["a"])
        server.put("nodes", node("e"))
        until(lambda: names(watch) == ["a", "e"])
    assert sum("watch" not in asked for kind, asked in server.seen if kind == "nodes") == 2


def test_bookmarks_count_as_life(server: ApiServer) -> None:
    kinds = ("nodes", "pods", "budgets")
    with watching(server, WatchLimits(silent_s=1.0, read_s=1)) as watch:
        watch.wait(10)
        until(lambda: watch.heard_s() > 1.0)
        with pytest.raises(SourceUnavailable, match=r"test has not been heard for"):
            watch.cluster()

        def alive() -> bool:
            for kind in kinds:
                server.bookmark(kind)
            return watch.heard_s() < 0.5

        until(alive)
        assert names(watch) == ["a", "b"]


@pytest.mark.parametrize(
    ("code", "error", "told"),
    [
        (401, ConfigError, r"test: pods: the token or certificate is refused \(401\)"),
        (403, ConfigError, r"pods may not be listed and watched \(403\); grant get, list and watch on pods"),
        (404, ConfigError, r"not known there"),
        (500, SourceUnavailable, r"answered 500"),
        (429, SourceUnavailable, r"answered 429"),
        (302, SourceUnavailable, r"answered 302"),
    ],
)
def test_refusals_are_told(server: ApiServer, code: int, error: type[Exception], told: str) -> None:
    server.status["pods"] = code
    with watching(server) as watch:
        with pytest.raises(error, match=told):
            watch.wait(0.3 if error is SourceUnavailable else 10)
        with pytest.raises(SourceUnavailable, match=r"has not been listed yet"):
            watch.cluster()


def test_no_right_to_budgets_names_their_group(server: ApiServer) -> None:
    server.status["budgets"] = 403
    with watching(server) as watch, pytest.raises(ConfigError, match=r"poddisruptionbudgets.policy"):
        watch.wait(10)


def test_no_nodes_is_not_no_right(server: ApiServer) -> None:
    server.stores["nodes"].objects.clear()
    with watching(server) as watch:
        watch.wait(10)
        with pytest.raises(InputError, match=r"test shows no node"):
            watch.cluster().fleet()


@pytest.mark.parametrize(
    "body", [b"<html>login</html>", b"[]", b'{"items": [7]}', b'{"kind": "NodeList"}', b"{" * 10**5]
)
def test_what_is_no_list_is_told(server: ApiServer, body: bytes) -> None:
    server.garbage["nodes"] = body
    with watching(server) as watch, pytest.raises(SignalInvalid, match=r"sent no list of nodes"):
        watch.wait(0.3)


def test_a_page_that_is_too_large_is_not_read(server: ApiServer) -> None:
    limits = WatchLimits(page_bytes=500, first_wait_s=0.05, read_s=1)
    with watching(server, limits) as watch, pytest.raises(SignalInvalid, match=r"more than 500 bytes"):
        watch.wait(0.3)


def test_a_silent_server_is_left_in_time(server: ApiServer) -> None:
    server.silent = {"nodes"}
    limits = WatchLimits(read_s=0.2, first_wait_s=0.05)
    with watching(server, limits) as watch, pytest.raises(SourceUnavailable, match=r"test: nodes"):
        watch.wait(0.5)


def test_a_list_that_does_not_come_in_time_is_told(server: ApiServer) -> None:
    server.silent = {"pods"}
    limits = WatchLimits(read_s=5)
    with (
        watching(server, limits) as watch,
        pytest.raises(SourceUnavailable, match=r"has not listed its pods"),
    ):
        watch.wait(0.3)


def test_a_list_that_expires_between_pages_is_begun_again(server: ApiServer) -> None:
    server.put("nodes", *(node(f"n{index:02}") for index in range(15)))
    server.expire_pages = 1
    with watching(server, WatchLimits(page=10, read_s=1, first_wait_s=0.05)) as watch:
        watch.wait(10)
        assert len(watch.cluster().nodes) == 17
    assert [
        asked.get("continue") for kind, asked in server.seen if kind == "nodes" and "watch" not in asked
    ] == [
        None,
        "10",
        None,
        "10",
    ]


def test_no_server_is_told_and_not_hammered() -> None:
    watch = ClusterWatch(api_client("http://127.0.0.1:9"), limits=QUICK, source="test")
    with watch, pytest.raises(SourceUnavailable, match=r"can't be reached"):
        watch.wait(0.5)


def test_failures_are_waited_after(server: ApiServer) -> None:
    with watching(server) as watch:
        watch.wait(10)
        server.watch_status = {"nodes": 500, "pods": 500, "budgets": 500}
        server.cut()
        until(lambda: bool(watch.faults()))
        before, start_s = len(server.seen), time.monotonic()
        time.sleep(0.6)
        asked = (len(server.seen) - before) / (time.monotonic() - start_s)
        assert asked < 3 / 0.05 + 10  # three kinds, each at most once in half the longest wait
        assert names(watch) == ["a", "b"]
        server.watch_status = {}
        server.put("nodes", node("c"))
        until(lambda: names(watch) == ["a", "b", "c"])
        until(lambda: watch.faults() == ())


def test_nodes_of_one_name_are_left_out(server: ApiServer) -> None:
    server.stores["nodes"].doubles.append(node("a", capacity={"cpu": "2"}))
    with watching(server) as watch:
        watch.wait(10)
        cluster = watch.cluster()
    assert [each.name for each in cluster.nodes] == ["b"]
    assert "node 'a' appears 2 times" in cluster.faults[0]


def test_an_end_comes_at_once_and_a_second_start_works(server: ApiServer) -> None:
    watch = watching(server)
    for _ in range(3):
        watch.start()
        watch.wait(10)
        assert names(watch) == ["a", "b"]
        start_s = time.monotonic()
        watch.stop()
        assert time.monotonic() - start_s < 2


def test_no_secret_is_told(server: ApiServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    server.status["nodes"] = 403
    with watching(server) as watch:
        with pytest.raises(ConfigError) as caught:
            watch.wait(10)
        told = " ".join(watch.faults())
    assert "s3cret" not in caplog.text + str(caught.value) + told


def test_a_label_that_names_no_family_tells_its_node() -> None:
    with pytest.raises(InputError, match=r"node 'a': .*no CPU family 'm9'"):
        Cluster.of([node("a", labels={FAMILY_LABEL: "m9"})]).fleet()


# ------------------------------------------------------------------ which cluster


KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: lab
clusters: [{{name: lab, cluster: {{server: "{url}"}}}}]
users: [{{name: me, user: {{token: s3cret-token}}}}]
contexts: [{{name: lab, context: {{cluster: lab, user: me}}}}]
"""


def test_a_kubeconfig_leads_to_its_cluster(server: ApiServer, tmp_path: Path) -> None:
    (tmp_path / "config").write_text(KUBECONFIG.format(url=server.url))
    with ClusterWatch(connect(kubeconfig=tmp_path / "config", context="lab")) as watch:
        watch.wait(10)
        assert names(watch) == ["a", "b"]


def test_a_cluster_that_is_none_is_told(
    server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config").write_text(KUBECONFIG.format(url=server.url))
    with pytest.raises(ConfigError, match=r"no cluster to reach.*did you mean lab"):
        connect(kubeconfig=tmp_path / "config", context="lap")
    with pytest.raises(ConfigError, match=r"no cluster to reach"):
        connect(kubeconfig=tmp_path / "none")
    (tmp_path / "config").write_text("{")
    with pytest.raises(ConfigError, match=r"no cluster to reach"):
        connect(kubeconfig=tmp_path / "config")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(ConfigError, match=r"name a kubeconfig, or run within a cluster"):
        connect()


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as caught:
        main(list(arguments))
    out, err = capsys.readouterr()
    return int(caught.value.code or 0), out, err


def test_the_command_shows_a_cluster_and_writes_its_fleet(
    server: ApiServer, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "config").write_text(KUBECONFIG.format(url=server.url))
    lab = {"topology.kubernetes.io/region": "lab", "node.kubernetes.io/instance-type": None}
    server.put("nodes", node("c", labels=lab, provider_id=""), node("d", capacity={"cpu": "x"}))
    given = ("fleet", "show", "--kubernetes", "--kubeconfig", str(tmp_path / "config"))
    code, _, err = run(capsys, *given)
    assert code == 2
    assert "on which grid region 'lab' is" in err
    path = tmp_path / "fleet.json"
    code, out, err = run(capsys, *given, "--grid-zone", "lab=PL", "--out", str(path))
    assert code == 0, err
    assert "CPU families: 2 × amd-epyc-gen3, 1 × unknown" in out
    assert "1 × unknown, a band as wide as all families: neither" in out
    assert "node 'd' is left out" in out
    code, out, err = run(capsys, *given, "--grid-zone", "lab=PL", "--json")
    told = json.loads(out)
    assert [(row["region"], row["grid_zone"], row["nodes"]) for row in told["regions"]] == [
        ("eu-central-1", "DE", 2),
        ("lab", "PL", 1),
    ]
    assert run(capsys, "fleet", "show", "--fleet", str(path), "--json")[0] == 0
    assert [each.name for each in read_fleet(path).nodes] == ["a", "b", "c"]
    server.status["nodes"] = 403
    code, _, err = run(capsys, *given)
    assert code == 2
    assert "grant get, list and watch on nodes" in err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--kubernetes", "--fleet", "x.json"), "choose one"),
        (("--context", "lab"), "add --kubernetes"),
        (("--kubernetes", "--kubeconfig", "none"), "no cluster to reach"),
    ],
)
def test_the_command_refuses_what_makes_no_sense(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], told: str
) -> None:
    code, _, err = run(capsys, "fleet", "show", *arguments)
    assert code == 2
    assert told in err


def test_the_command_shows_the_sample(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "fleet", "show")
    assert code == 0
    assert "no limit" in out
