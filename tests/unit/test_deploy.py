"""What deploy/ holds: current, valid by Kubernetes' own schemas, without rights it doesn't need."""

from __future__ import annotations

import copy
import json
import re
from typing import TYPE_CHECKING, Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from aicsched.config import load_settings
from aicsched.extender import names
from aicsched.extender.doctor.cluster import READ_RIGHTS
from aicsched.extender.doctor.entries import check_scheduler
from aicsched.extender.doctor.finding import Severity
from aicsched.extender.doctor.schedulerfile import read_scheduler_file
from tests.deploy_kit import CUSTOM, DEPLOY, ROOT, VARIANTS, by_key, pods_of, rendered, role_of
from tools.deploy.__main__ import main
from tools.deploy.template import Both, Equals, Is, Lines, Not, Ref, Text, Tree, When, helm, plain, write_yaml
from tools.deploy.tree import NAMESPACE, OVERLAYS, render
from tools.deploy.values import defaults, merged, schema, values_yaml

if TYPE_CHECKING:
    from pathlib import Path

OVERLAY_NAMES = [overlay.name for overlay in OVERLAYS]
# The oldest that the chart takes, and the newest that there are schemas of.
VERSIONS = ("1.30", "1.37")
READ = ["list", "watch"]


# ---------------------------------------------------------------- the files


def test_what_is_made_is_current(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check"]) == 0, capsys.readouterr().out


def test_the_image_is_a_placeholder_everywhere() -> None:
    for path in DEPLOY.rglob("*.yaml"):
        for image in re.findall(r"image: \"?([^\s\"{]+)", path.read_text("utf-8")):
            assert image.startswith(("registry.example.com/", "registry.k8s.io/", "ghcr.io/spiffe/")), path


@pytest.mark.parametrize("name", VARIANTS)
def test_objects_are_valid_by_the_schemas_of_kubernetes(name: str) -> None:
    objects = [each for each in render(VARIANTS[name]) if each["kind"] not in CUSTOM]
    assert len(objects) >= 6
    for version in VERSIONS if name in OVERLAY_NAMES else ("1.36",):
        for each in objects:
            kubernetes_validate.validate(each, version, strict=True)


def test_the_schemas_find_a_typing_error() -> None:
    wrong = copy.deepcopy(by_key(rendered())["Deployment", NAMESPACE, "aicsched-extender"])
    wrong["spec"]["template"]["spec"]["containers"][0]["readinesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, "1.36", strict=True)


@pytest.mark.parametrize("name", OVERLAY_NAMES)
def test_plain_manifests_can_be_applied_in_their_order(name: str) -> None:
    objects = rendered(name)
    kinds = [each["kind"] for each in objects]
    assert kinds[0] == "Namespace"
    assert kinds.index("ServiceAccount") < kinds.index(
        "DaemonSet" if name == "host-network" else "Deployment"
    )
    assert objects == render(next(each.values for each in OVERLAYS if each.name == name))


# ---------------------------------------------------------------- values


def test_values_agree_with_their_schema() -> None:
    checker = jsonschema.Draft7Validator(schema())
    jsonschema.Draft7Validator.check_schema(schema())
    assert yaml.safe_load(values_yaml()) == defaults()
    for values in VARIANTS.values():
        checker.validate(merged(defaults(), values))
        checker.validate(values)


@pytest.mark.parametrize(
    "wrong",
    [
        {"replica": 3},
        {"replicas": "3"},
        {"replicas": 0},
        {"mode": "sidecar"},
        {"port": 70_000},
        {"gates": {"enable": True}},
        {"image": {"digest": "sha256:abc"}},
        {"name": "Green"},
        {"tls": {"duration": "90d"}},
        {"nodeSelector": {"gpu": True}},
    ],
    ids=str,
)
def test_values_that_mean_nothing_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft7Validator(schema()).validate(wrong)


@pytest.mark.parametrize("name", VARIANTS)
def test_settings_are_taken_by_the_program(name: str, tmp_path: Path) -> None:
    found = [each for each in render(VARIANTS[name]) if "aicsched.toml" in each.get("data", {})]
    assert found
    for each in found:
        file = tmp_path / "aicsched.toml"
        file.write_text(each["data"]["aicsched.toml"])
        settings = load_settings(file)
        held = merged(defaults(), VARIANTS[name])
        if each["metadata"]["name"].endswith("-gates"):
            own = settings.gates
            assert (own.port, own.metrics_port) == (held["gates"]["webhook"]["port"], held["metricsPort"])
            assert (own.tls_cert_file is None) == (own.host == "127.0.0.1")
            assert own.lease_name == f"{held['name']}-gates"
            assert own.lease_namespace == NAMESPACE
            continue
        assert (settings.port, settings.extender.metrics_port) == (held["port"], held["metricsPort"])
        # Without TLS nobody but the machine or pod itself may call.
        assert (settings.extender.tls_cert_file is None) == (settings.host == "127.0.0.1")
        assert (settings.extender.client_ca_file is None) == (settings.host == "127.0.0.1")
        assert settings.extender.bind == held["bind"]["enabled"]


# ---------------------------------------------------------------- rights


def test_the_extender_may_read_and_nothing_else() -> None:
    for values in ({}, {"mode": "hostNetwork"}):
        assert role_of("aicsched-extender", values=values)["rules"] == [
            {"apiGroups": [""], "resources": ["nodes", "pods"], "verbs": READ},
        ]
    # What the doctor asks a cluster for is the same.
    granted = {
        (group, resource, verb)
        for rule in role_of("aicsched-extender")["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert granted == set(READ_RIGHTS)


def test_binding_is_granted_where_it_is_asked_for() -> None:
    more = role_of("aicsched-extender", values={"bind": {"enabled": True}})["rules"]
    assert {"apiGroups": [""], "resources": ["pods/binding"], "verbs": ["create"]} in more
    assert len(more) == len(role_of("aicsched-extender")["rules"]) + 2


def test_the_gates_write_pods_jobs_events_and_their_own_lease() -> None:
    values = {"gates": {"enabled": True}}
    writes = {
        resource: set(rule["verbs"]) - {"get", *READ}
        for rule in role_of("aicsched-gates", values=values)["rules"]
        for resource in rule["resources"]
        if set(rule["verbs"]) - {"get", *READ}
    }
    assert writes == {"pods": {"patch"}, "jobs": {"patch"}, "events": {"create"}}
    inside = role_of("aicsched-gates", values=values, kind="Role")["rules"]
    assert [rule["resources"] for rule in inside] == [["leases"], ["leases"]]
    assert inside[1]["resourceNames"] == ["aicsched-gates"]
    (config,) = [
        each["data"]["aicsched.toml"]
        for each in render(values)
        if each["kind"] == "ConfigMap" and each["metadata"]["name"] == "aicsched-gates"
    ]
    assert 'lease_name = "aicsched-gates"' in config


@pytest.mark.parametrize("name", VARIANTS)
def test_no_role_has_wildcards_or_secrets(name: str) -> None:
    for each in render(VARIANTS[name]):
        if each["kind"] in {"ClusterRole", "Role"}:
            for rule in each["rules"]:
                assert "*" not in rule["verbs"] + rule["resources"] + rule["apiGroups"]
                assert not {"secrets", "configmaps", "pods/exec"} & set(rule["resources"])


@pytest.mark.parametrize("name", VARIANTS)
def test_pods_are_unprivileged(name: str) -> None:
    pods = pods_of(render(VARIANTS[name]))
    assert pods
    for spec in pods.values():
        whole = spec["securityContext"]
        assert whole["runAsNonRoot"]
        assert whole["runAsUser"] > 0
        assert whole["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in spec["containers"]:
            held = container["securityContext"]
            assert held["readOnlyRootFilesystem"]
            assert held["allowPrivilegeEscalation"] is False
            assert held["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["requests"].keys() == {"cpu", "memory"}
            assert "memory" in container["resources"]["limits"]
            assert container["livenessProbe"]
            assert container["readinessProbe"]
        mounted = {mount["name"] for each in spec["containers"] for mount in each["volumeMounts"]}
        assert mounted == {volume["name"] for volume in spec["volumes"]}


@pytest.mark.parametrize("name", VARIANTS)
def test_names_and_ports_meet(name: str) -> None:
    objects = render(VARIANTS[name])
    held = by_key(objects)
    kinds = {kind: {key[2] for key in held if key[0] == kind} for kind in {key[0] for key in held}}
    templates = [each["spec"]["template"] for each in objects if each["kind"] in {"Deployment", "DaemonSet"}]
    for template in templates:
        assert template["spec"]["serviceAccountName"] in kinds["ServiceAccount"]
        for volume in template["spec"]["volumes"]:
            assert volume.get("configMap", {}).get("name", "aicsched") in {"aicsched", *kinds["ConfigMap"]}
    for each in objects:
        if each["kind"] not in {"Service", "PodDisruptionBudget", "NetworkPolicy"}:
            continue
        spec = each["spec"]
        chosen = spec.get("podSelector", spec.get("selector", {}))
        chosen = chosen.get("matchLabels", chosen)
        fitting = [one for one in templates if chosen.items() <= one["metadata"]["labels"].items()]
        assert len(fitting) == 1
        ports = {port["name"] for one in fitting[0]["spec"]["containers"] for port in one["ports"]}
        named = [port["targetPort"] for port in spec.get("ports", ())]
        named += [port["port"] for rule in spec.get("ingress", ()) for port in rule["ports"]]
        assert set(named) <= ports


def test_the_network_policy_lets_the_hosts_in() -> None:
    policy = by_key(rendered())["NetworkPolicy", NAMESPACE, "aicsched-extender"]["spec"]
    (verbs,) = [rule for rule in policy["ingress"] if rule["ports"][0]["port"] == "extender"]
    # A pod selector never matches kube-scheduler, which is on the hosts' network.
    assert all("ipBlock" in peer for peer in verbs["from"])
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert all(rule["to"] and rule["ports"] for rule in policy["egress"])


def test_the_webhook_never_stops_anybody() -> None:
    (hook,) = by_key(rendered("full"))["MutatingWebhookConfiguration", "", "aicsched-gates"]["webhooks"]
    assert hook["failurePolicy"] == "Ignore"
    assert hook["timeoutSeconds"] <= 5
    assert hook["objectSelector"] == {"matchLabels": {names.DEFERRABLE: "true"}}
    assert {"kube-system", NAMESPACE} <= set(hook["namespaceSelector"]["matchExpressions"][0]["values"])


# ---------------------------------------------------------------- examples


@pytest.mark.parametrize("name", ["service", "host-network"])
def test_the_doctor_finds_nothing_in_the_example(name: str) -> None:
    read = read_scheduler_file(DEPLOY / "examples/kube-scheduler" / f"{name}.yaml")
    found = [*read.findings, *check_scheduler(read.content, nodes=1000)]
    assert [each for each in found if each.severity in {Severity.ERROR, Severity.WARNING}] == []


def test_the_doctor_finds_nothing_in_the_second_scheduler(tmp_path: Path) -> None:
    file = tmp_path / "scheduler.yaml"
    file.write_text(
        yaml.safe_dump(by_key(rendered("second-scheduler"))["ConfigMap", NAMESPACE, "aicsched-scheduler"])
    )
    read = read_scheduler_file(file)
    found = [*read.findings, *check_scheduler(read.content, nodes=1000)]
    assert [each for each in found if each.severity in {Severity.ERROR, Severity.WARNING}] == []


def test_the_certificate_is_for_the_name_that_the_scheduler_calls() -> None:
    config = yaml.safe_load((DEPLOY / "examples/kube-scheduler/service.yaml").read_text("utf-8"))
    (extender,) = config["extenders"]
    called, port = re.fullmatch(r"https://([a-z.-]+):(\d+)", extender["urlPrefix"]).groups()
    objects = by_key(rendered("full"))
    certificate = objects["Certificate", NAMESPACE, "aicsched-extender"]["spec"]
    assert called in certificate["dnsNames"]
    assert extender["tlsConfig"]["serverName"] in certificate["dnsNames"]
    service = objects["Service", NAMESPACE, "aicsched-extender"]
    assert called == f"{service['metadata']['name']}.{NAMESPACE}.svc"
    assert [each["port"] for each in service["spec"]["ports"]] == [int(port)]
    mounted = pods_of(list(objects.values()))["Deployment/aicsched-extender"]["volumes"]
    assert certificate["secretName"] in {each.get("secret", {}).get("secretName") for each in mounted}
    identity = yaml.safe_load((DEPLOY / "examples/spiffe/cluster-spiffe-id.yaml").read_text("utf-8"))
    assert called in identity["spec"]["dnsNameTemplates"]


def test_the_application_sets_values_that_the_chart_has() -> None:
    application = yaml.safe_load((DEPLOY / "examples/argocd/application.yaml").read_text("utf-8"))
    source = application["spec"]["source"]
    assert (ROOT / source["path"] / "Chart.yaml").exists()
    jsonschema.Draft7Validator(schema()).validate(source["helm"]["valuesObject"])
    objects = by_key(render(source["helm"]["valuesObject"]))
    (ignored,) = application["spec"]["ignoreDifferences"]
    assert (ignored["kind"], "", ignored["name"]) in objects
    # The order of the list of sources is read by the program itself.
    assert "order" in objects["ConfigMap", NAMESPACE, "aicsched-extender"]["data"]["aicsched.toml"]


def test_the_constraint_speaks_of_the_names_that_are_used() -> None:
    text = (DEPLOY / "examples/gatekeeper/template.yaml").read_text("utf-8")
    used = set(re.findall(rf"{re.escape(names.DOMAIN)}/[a-z-]+", text))
    known = {getattr(names, name) for name in names.__all__}
    assert used <= known
    assert {names.DEFERRABLE, names.GATE, names.MAX_DELAY, names.LATEST_START, names.DEADLINE} <= used
    constraint = yaml.safe_load((DEPLOY / "examples/gatekeeper/constraint.yaml").read_text("utf-8"))
    account = f"system:serviceaccount:{NAMESPACE}:aicsched-gates"
    assert account in constraint["spec"]["parameters"]["writers"]


def test_the_image_is_built_from_what_is_pinned() -> None:
    text = (DEPLOY / "Containerfile").read_text("utf-8")
    assert re.search(
        r"^ARG BASE=docker\.io/library/python:3\.11\.\d+-slim-bookworm@sha256:[0-9a-f]{64}$",
        text,
        re.MULTILINE,
    )
    assert set(re.findall(r"^FROM (\S+)", text, re.MULTILINE)) == {"${BASE}"}
    assert "--require-hashes" in text
    user = pods_of(rendered())["Deployment/aicsched-extender"]["securityContext"]["runAsUser"]
    assert f"USER {user}:{user}" in text
    for line in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE):
        assert all((ROOT / source).exists() for source in line.split())


# ---------------------------------------------------------------- the two writings


VALUES = {"a": {"text": "x: y", "on": True, "count": 1_000_000, "tree": {"k": [1]}, "none": {}}, "off": False}


def test_a_description_is_filled_for_given_values() -> None:
    about = {
        "name": "@{a.text}!",
        "count": Ref("a.count"),
        "tree": Tree("a.tree"),
        "there": When(Is("a.on"), "yes"),
        "gone": When(Is("off"), "no"),
        "not": When(Not(Is("off")), 1),
        "both": When(Both(Is("a.on"), Equals("a.text", "x: y")), 2),
        "list": [When(Is("off"), 1), 2],
        "more": {"z": 1, "<<": Tree("a.tree")},
        "file": Text.of("one @{a.count}", When(Is("off"), "two"), Lines("a.text")),
    }
    assert plain(about, VALUES) == {
        "name": "x: y!",
        "count": 1_000_000,
        "tree": {"k": [1]},
        "there": "yes",
        "not": 1,
        "both": 2,
        "list": [2],
        "more": {"k": [1], "z": 1},
        "file": "one 1000000\nx: y\n",
    }


def test_a_template_says_the_same_to_helm() -> None:
    assert helm({"n": Ref("a.count"), "s": Ref("a.text"), "b": Ref("a.on")}, VALUES) == (
        "n: {{ int .Values.a.count }}\ns: {{ .Values.a.text | quote }}\nb: {{ .Values.a.on }}\n"
    )
    assert helm({"x": When(Not(Is("off")), ["@{a.text}"])}, VALUES) == (
        '{{- if (not .Values.off) }}\nx:\n  - "{{ .Values.a.text }}"\n{{- end }}\n'
    )
    # What other tools put into double braces is theirs.
    assert helm({"x": "{{ $labels.verb }}"}, VALUES) == 'x: "{{`{{ $labels.verb }}`}}"\n'
    with pytest.raises(ValueError, match="can't be conditional"):
        helm({"x": [{"a": When(Is("off"), 1), "b": 2}]}, VALUES)


def test_written_yaml_reads_back() -> None:
    data = {
        "texts": [
            "yes",
            "1.0",
            "0x1F",
            "null",
            "a: b",
            "#c",
            "",
            " pad",
            "1e3",
            "ü",
            "2001-01-01",
            "-",
            "a #b",
        ],
        "empty": {"list": [], "dict": {}},
        "nested": [{"a": [{"b": 1}], "c": {"d": None}}, [1, 2], "x"],
        "lines": "one\n\n  two\n",
        "unended": "one\ntwo",
        "numbers": [0, -1, 1.5, True],
    }
    assert yaml.safe_load(write_yaml(data)) == data


def test_the_dashboard_in_the_cluster_is_the_one_in_the_folder() -> None:
    held = by_key(rendered("full"))["ConfigMap", NAMESPACE, "aicsched-dashboard"]["data"]["aicsched.json"]
    assert json.loads(held) == json.loads((DEPLOY / "grafana/aicsched.json").read_text("utf-8"))
