"""What deploy/ holds, by the programs that read it: Helm, kustomize, Gatekeeper, a real API server."""

from __future__ import annotations

import copy
import json
import subprocess
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from aicsched.extender import names
from tests.debian_kit import NotToBeHad
from tests.deploy_kit import CUSTOM, DEPLOY, VARIANTS, by_key, pods_of, rendered, role_of
from tests.e2e.control_plane import RefusedError, free_port, scheduler
from tests.e2e.go_tools import go_tool
from tests.e2e.objects import (
    eventually,
    make_namespace,
    make_nodes,
    make_pods,
    nodes_of,
    plain_pod,
    wait_bound,
)
from tests.e2e.serving import SNAPSHOT, grams_of, serving
from tools.deploy.template import write_yaml
from tools.deploy.tree import NAMESPACE, OVERLAYS, render

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.control_plane import ControlPlane

pytestmark = pytest.mark.e2e

CHART = DEPLOY / "helm/aicsched"
OVERLAY_NAMES = [overlay.name for overlay in OVERLAYS]


def tool(name: str) -> Path:
    try:
        return go_tool(name)
    except NotToBeHad as reason:
        pytest.skip(f"NOT TESTED by {name}: {reason}")


def run(*command: object, text: str | None = None) -> subprocess.CompletedProcess[str]:
    parts = [str(part) for part in command]
    return subprocess.run(parts, input=text, capture_output=True, text=True, check=False)


def objects_in(done: subprocess.CompletedProcess[str]) -> dict[tuple[str, str, str], dict[str, Any]]:
    assert done.returncode == 0, done.stderr
    return by_key(list(yaml.safe_load_all(done.stdout)))


# ---------------------------------------------------------------- Helm and kustomize


@pytest.mark.parametrize("name", VARIANTS)
def test_helm_makes_the_same_objects(name: str, tmp_path: Path) -> None:
    values = tmp_path / "values.yaml"
    values.write_text(yaml.safe_dump(VARIANTS[name]))
    chosen = ("-f", values, "--kube-version", "1.36.0", "--namespace", "green")
    done = run(tool("helm"), "template", "any", CHART, *chosen)
    assert objects_in(done) == by_key(render(VARIANTS[name], chart=True, namespace="green"))
    assert run(tool("helm"), "lint", "--strict", CHART, "-f", values).returncode == 0


@pytest.mark.parametrize("wrong", ["replica=3", "mode=sidecar", "gates.enabled=maybe", "port=0"])
def test_helm_refuses_what_the_schema_does(wrong: str) -> None:
    done = run(tool("helm"), "template", "any", CHART, "--kube-version", "1.36.0", "--set", wrong)
    assert done.returncode != 0
    assert wrong.partition("=")[0].rpartition(".")[2] in done.stderr


@pytest.mark.parametrize("name", OVERLAY_NAMES)
def test_kustomize_makes_the_plain_manifest(name: str) -> None:
    done = run(tool("kustomize"), "build", DEPLOY / "kustomize/overlays" / name)
    assert objects_in(done) == by_key(rendered(name))


def test_an_overlay_of_ones_own_may_add_a_component_and_name_an_image(tmp_path: Path) -> None:
    work = tmp_path / "kustomize"
    assert run("cp", "-r", DEPLOY / "kustomize", work).returncode == 0
    mine = work / "overlays/mine"
    mine.mkdir()
    about = {
        "resources": ["../extender"],
        "components": ["../../components/bind"],
        "images": [
            {"name": "registry.example.com/aicsched", "newName": "mirror.example.com/a", "newTag": "9"}
        ],
    }
    (mine / "kustomization.yaml").write_text(yaml.safe_dump(about))
    made = objects_in(run(tool("kustomize"), "build", mine))
    assert made["ClusterRole", "", "aicsched-bind"]["rules"][1]["resources"] == ["pods/binding"]
    (container,) = pods_of(list(made.values()))["Deployment/aicsched-extender"]["containers"]
    assert container["image"] == "mirror.example.com/a:9"


def test_identities_of_spiffe_take_the_place_of_the_secret() -> None:
    made = objects_in(run(tool("kustomize"), "build", DEPLOY / "examples/spiffe"))
    spec = pods_of(list(made.values()))["Deployment/aicsched-extender"]
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    assert volumes["tls"] == {"name": "tls", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}
    assert volumes["workload-api"]["csi"]["driver"] == "csi.spiffe.io"
    paths = [
        {mount["name"]: mount["mountPath"] for mount in each["volumeMounts"]}["tls"]
        for each in (*spec["containers"], *spec["initContainers"])
    ]
    settings = made["ConfigMap", NAMESPACE, "aicsched-spiffe-helper"]["data"]["helper.conf"]
    assert set(paths) == {"/etc/aicsched-tls"}
    assert 'cert_dir = "/etc/aicsched-tls"' in settings
    told = made["ConfigMap", NAMESPACE, "aicsched-extender"]["data"]["aicsched.toml"]
    for file in ("tls.crt", "tls.key", "ca.crt"):
        assert f"/etc/aicsched-tls/{file}" in told
        assert f'"{file}"' in settings


@pytest.mark.parametrize("name", VARIANTS)
def test_custom_resources_are_what_their_projects_define(name: str) -> None:
    custom = [each for each in render(VARIANTS[name]) if each["kind"] in CUSTOM]
    if not custom:
        return
    done = run(tool("strict"), text="\n---\n".join(map(write_yaml, custom)))
    assert done.returncode == 0, done.stdout
    wrong = copy.deepcopy(custom)
    wrong[0]["spec"]["namespaceSelektor"] = {}
    assert "namespaceSelektor" in run(tool("strict"), text="\n---\n".join(map(write_yaml, wrong))).stdout


# ---------------------------------------------------------------- Gatekeeper

GATES = f"system:serviceaccount:{NAMESPACE}:aicsched-gates"
WAITS = {names.DEFERRABLE: "true"}
NOW = datetime.now(UTC)
SOON = (NOW + timedelta(hours=5)).strftime("%Y-%m-%dT%H:%M:%SZ")
FAR = (NOW + timedelta(hours=500)).strftime("%Y-%m-%dT%H:%M:%SZ")


def pod(labels: Any = None, said: Any = None, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "x", "namespace": "shop", "labels": labels or {}, "annotations": said or {}},
        "spec": {"containers": [{"name": "c", "image": "i"}], **spec},
    }


def job(labels: Any = None, said: Any = None, inner: Any = None) -> dict[str, Any]:
    template = {"metadata": inner or {}, "spec": pod()["spec"]}
    return pod(labels, said) | {"apiVersion": "batch/v1", "kind": "Job", "spec": {"template": template}}


def review(made: dict[str, Any], user: str = "jane", old: Any = None) -> dict[str, Any]:
    kind = {"group": "batch" if made["kind"] == "Job" else "", "version": "v1", "kind": made["kind"]}
    request = {
        "uid": "1",
        "kind": kind,
        "resource": {"group": kind["group"], "version": "v1", "resource": f"{made['kind'].lower()}s"},
        "name": "x",
        "namespace": "shop",
        "operation": "UPDATE" if old else "CREATE",
        "userInfo": {"username": user},
        "object": made,
    }
    request |= {"oldObject": old} if old else {}
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}


BOUNDED = pod(WAITS, {names.MAX_DELAY: "6h"})
FORGED = pod(WAITS, {names.MAX_DELAY: "6h", names.RELEASED_AT: SOON})
SYSTEM = pod(WAITS, {names.MAX_DELAY: "6h"}, priorityClassName="system-node-critical")
GATE = {"schedulingGates": [{"name": names.GATE}]}
HONEST = {
    "says nothing": review(pod()),
    "at most six hours": review(BOUNDED),
    "compound duration": review(pod(WAITS, {names.MAX_DELAY: "2h30m"})),
    "latest start soon": review(pod(WAITS, {names.LATEST_START: SOON})),
    "deadline and duration": review(pod(WAITS, {names.DEADLINE: FAR, names.EXPECTED_DURATION: "2h"})),
    "gate, bounded": review(pod(WAITS, {names.MAX_DELAY: "6h"}, **GATE)),
    "Job": review(job(WAITS, {names.MAX_DELAY: "6h"})),
    "written by the gates": review(FORGED, GATES, BOUNDED),
    "made for a released Job": review(FORGED, "system:serviceaccount:kube-system:job-controller"),
    "kept by its owner": review(FORGED, "jane", FORGED),
    "not deferrable": review(pod({names.DEFERRABLE: "false"})),
}
DISHONEST = {
    "no bound": (review(pod(WAITS)), "until when"),
    "label": (review(pod({names.DEFERRABLE: "yes"})), "write"),
    "no duration": (review(pod(WAITS, {names.MAX_DELAY: "soon"})), "2h30m"),
    "too long": (review(pod(WAITS, {names.MAX_DELAY: "4d"})), "at most 72 h"),
    "no moment": (review(pod(WAITS, {names.LATEST_START: "tomorrow"})), "write a time"),
    "too late": (review(pod(WAITS, {names.LATEST_START: FAR})), "at most 72 h"),
    "system": (review(SYSTEM), "system-"),
    "gate without bound": (review(pod(None, None, **GATE)), "until when"),
    "forged": (review(FORGED), "by the gates only"),
    "changed by its owner": (review(FORGED, "jane", BOUNDED), "by the gates only"),
    "deadline alone": (review(pod(WAITS, {names.DEADLINE: SOON})), "until when"),
    "Job without bound": (review(job(WAITS)), "until when"),
    "template without bound": (review(job(None, None, {"labels": WAITS})), "until when"),
}


def test_gatekeeper_keeps_deferral_honest(tmp_path: Path) -> None:
    cases = []
    told = {name: (one, {"violations": 0}) for name, one in HONEST.items()}
    told |= {name: (one, {"violations": 1, "message": part}) for name, (one, part) in DISHONEST.items()}
    for number, (name, (one, assertion)) in enumerate(told.items()):
        (tmp_path / f"{number}.json").write_text(json.dumps(one))
        cases.append({"name": name, "object": f"{number}.json", "assertions": [assertion]})
    for file in ("template.yaml", "constraint.yaml"):
        (tmp_path / file).write_text((DEPLOY / "examples/gatekeeper" / file).read_text("utf-8"))
    suite = {
        "apiVersion": "test.gatekeeper.sh/v1alpha1",
        "kind": "Suite",
        "metadata": {"name": "honest"},
        "tests": [
            {
                "name": "honest",
                "template": "template.yaml",
                "constraint": "constraint.yaml",
                "cases": cases,
            }
        ],
    }
    (tmp_path / "suite.yaml").write_text(yaml.safe_dump(suite))
    done = run(tool("gator"), "verify", tmp_path / "suite.yaml", "-v")
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("--- PASS") == len(cases) + 1


# ---------------------------------------------------------------- a real API server

GROUPS = {
    "ClusterRole": ("apis/rbac.authorization.k8s.io/v1", "clusterroles"),
    "ClusterRoleBinding": ("apis/rbac.authorization.k8s.io/v1", "clusterrolebindings"),
    "ConfigMap": ("api/v1", "configmaps"),
    "DaemonSet": ("apis/apps/v1", "daemonsets"),
    "Deployment": ("apis/apps/v1", "deployments"),
    "MutatingWebhookConfiguration": ("apis/admissionregistration.k8s.io/v1", "mutatingwebhookconfigurations"),
    "Namespace": ("api/v1", "namespaces"),
    "NetworkPolicy": ("apis/networking.k8s.io/v1", "networkpolicies"),
    "PodDisruptionBudget": ("apis/policy/v1", "poddisruptionbudgets"),
    "PriorityClass": ("apis/scheduling.k8s.io/v1", "priorityclasses"),
    "Role": ("apis/rbac.authorization.k8s.io/v1", "roles"),
    "RoleBinding": ("apis/rbac.authorization.k8s.io/v1", "rolebindings"),
    "Service": ("api/v1", "services"),
    "ServiceAccount": ("api/v1", "serviceaccounts"),
}
DRY = "?dryRun=All&fieldValidation=Strict"


def path_of(made: dict[str, Any]) -> str:
    group, plural = GROUPS[made["kind"]]
    namespace = made["metadata"].get("namespace")
    return f"/{group}/namespaces/{namespace}/{plural}" if namespace else f"/{group}/{plural}"


@pytest.fixture(scope="module", params=OVERLAY_NAMES)
def applied(request: pytest.FixtureRequest, shared_plane: ControlPlane) -> Iterator[tuple[str, ControlPlane]]:
    """Give a cluster with an overlay's namespace, whose rules of security are the real ones."""
    namespace = next(each for each in rendered(request.param) if each["kind"] == "Namespace")
    # Without a controller it never quite goes away: each overlay has one of its own name.
    namespace["metadata"]["name"] = f"{NAMESPACE}-{request.param}"
    shared_plane.call("POST", path_of(namespace), namespace)
    # The server makes its own classes a little after it is ready.
    eventually(lambda: shared_plane.call("GET", "/apis/scheduling.k8s.io/v1/priorityclasses")["items"][1:])
    yield request.param, shared_plane
    shared_plane.call("DELETE", f"{path_of(namespace)}/{namespace['metadata']['name']}")


def test_the_api_server_takes_every_object(applied: tuple[str, ControlPlane]) -> None:
    name, plane = applied
    values = next(each.values for each in OVERLAYS if each.name == name)
    objects = render(values, namespace=f"{NAMESPACE}-{name}")
    taken = [each for each in objects if each["kind"] not in {*CUSTOM, "Namespace"}]
    for each in taken:
        answer = plane.call("POST", path_of(each) + DRY, each)
        assert answer["metadata"]["name"] == each["metadata"]["name"]
    assert len(taken) >= 6
    wrong = copy.deepcopy(next(each for each in taken if each["kind"] in {"Deployment", "DaemonSet"}))
    wrong["spec"]["template"]["spec"]["containers"][0]["livenessProb"] = {}
    with pytest.raises(RefusedError, match=r"unknown field.*livenessProb"):
        plane.call("POST", path_of(wrong) + DRY, wrong)


def test_pods_keep_the_rules_of_security_of_their_namespace(applied: tuple[str, ControlPlane]) -> None:
    name, plane = applied
    namespace = f"{NAMESPACE}-{name}"
    values = next(each.values for each in OVERLAYS if each.name == name)
    for key, spec in pods_of(render(values, namespace=namespace)).items():
        made = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "one"}, "spec": spec}
        path = f"/api/v1/namespaces/{namespace}/pods{DRY}"
        answer = plane.call("POST", path, made)
        assert answer["spec"]["priority"] == 2_000_000_000, key
        if name != "host-network":
            wrong = copy.deepcopy(made)
            wrong["spec"]["containers"][0]["securityContext"]["capabilities"] = {}
            with pytest.raises(RefusedError, match="violates PodSecurity"):
                plane.call("POST", path, wrong)


def allowed(plane: ControlPlane, user: str, verb: str, group: str, resource: str, **more: str) -> bool:
    about = {"verb": verb, "group": group, "resource": resource, **more}
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": user, "resourceAttributes": about},
    }
    return plane.call("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", body)["status"]["allowed"]


MAY = {
    "aicsched-extender": [(verb, "", kind) for verb in ("list", "watch") for kind in ("nodes", "pods")],
    "aicsched-gates": [
        ("patch", "", "pods"),
        ("watch", "batch", "jobs"),
        ("patch", "batch", "jobs"),
        ("create", "events.k8s.io", "events"),
    ],
}
MAY_NOT = [
    ("delete", "", "pods"),
    ("update", "", "nodes"),
    ("patch", "", "nodes"),
    ("create", "", "pods"),
    ("list", "", "secrets"),
    ("get", "", "configmaps"),
    ("create", "rbac.authorization.k8s.io", "clusterrolebindings"),
    ("update", "coordination.k8s.io", "leases"),
]


@pytest.mark.parametrize("account", MAY)
def test_an_account_may_what_its_roles_say_and_no_more(account: str, shared_plane: ControlPlane) -> None:
    role = role_of(account, values={"gates": {"enabled": True}})
    role["metadata"]["name"] = f"only-{account}"
    user = f"system:serviceaccount:{NAMESPACE}:{account}"
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": f"only-{account}"},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": f"only-{account}",
        },
        "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": user}],
    }
    try:
        for each in (role, binding):
            shared_plane.call("POST", path_of(each), each)
        for asked in MAY[account]:
            assert allowed(shared_plane, user, *asked), asked
        refused = [*MAY_NOT, ("create", "", "pods/binding")]
        refused += [("patch", "", "pods")] if account == "aicsched-extender" else []
        for asked in refused:
            resource, _, part = asked[2].partition("/")
            more = {"subresource": part} if part else {}
            assert not allowed(shared_plane, user, asked[0], asked[1], resource, **more), asked
    finally:
        for each in (binding, role):
            shared_plane.call("DELETE", f"{path_of(each)}/{each['metadata']['name']}")


def test_roles_of_the_system_that_are_bound_are_there(shared_plane: ControlPlane) -> None:
    bound = [each["roleRef"] for each in rendered("second-scheduler") if each["kind"].endswith("Binding")]
    system = [each for each in bound if not each["name"].startswith("aicsched-")]
    assert len(system) == 3
    for each in system:
        where = "kube-system" if each["kind"] == "Role" else None
        made = {"kind": each["kind"], "metadata": {"namespace": where}}
        assert shared_plane.call("GET", f"{path_of(made)}/{each['name']}")["rules"]


# ---------------------------------------------------------------- a second scheduler


def test_a_second_scheduler_places_the_pods_that_name_it(plane: ControlPlane) -> None:
    """Its configuration and its rights are the manifest's, the account's token the API server's own."""
    port = free_port()
    objects = render({"mode": "secondScheduler", "port": port})
    held = by_key(objects)
    make_namespace(plane, NAMESPACE)
    token = plane.service_account(NAMESPACE, "aicsched-extender")
    granted = [each for each in objects if each["apiVersion"].startswith("rbac.")]
    for each in granted:
        plane.call("POST", path_of(each), each)
    config = yaml.safe_load(held["ConfigMap", NAMESPACE, "aicsched-scheduler"]["data"]["config.yaml"])
    # In a pod it would find the API server by itself.
    config["clientConnection"] = {"kubeconfig": str(plane.kubeconfig(token))}
    nodes = make_nodes(plane, 5)
    green = nodes[3]
    try:
        with serving(["-c", SNAPSHOT, grams_of(nodes, green), str(port)]), scheduler(plane, config):
            pods = [plain_pod(f"p-{n}", schedulerName="carbon-scheduler") for n in range(3)]
            named = make_pods(plane, pods)
            others = make_pods(plane, [plain_pod("other")])
            assert set(wait_bound(plane, named).values()) == {green}
            leases = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases"
            lease = plane.call("GET", f"{leases}/carbon-scheduler")
            assert lease["spec"]["holderIdentity"]
            assert nodes_of(plane)[others[0]] == ""
    finally:
        for each in granted:
            plane.call("DELETE", f"{path_of(each)}/{each['metadata']['name']}")
        plane.call("DELETE", f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/aicsched-extender")
