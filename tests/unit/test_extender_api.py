"""Scores for other tools: the same as the library's own, in the form that the document says."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from typing import Any

import jsonschema
import pytest

from aicsched.extender.api.score import ScoreApi
from aicsched.extender.app import ExtenderApp
from aicsched.extender.routes import Request as Asked
from aicsched.extender.routes import Route
from aicsched.extender.sample import sample_snapshot
from aicsched.extender.snapshot import Snapshot, SnapshotHolder
from aicsched.score.nodes import score_nodes
from aicsched.score.policy import preset
from aicsched.score.regions import score_regions
from aicsched.score.request import Request
from aicsched.signals.telemetry_sample import sample_telemetry
from tests.extender_kit import Client, args_by_name, args_full, judge_prioritize, preemption, snapshot_of

HOUR_S = 3600
WORK = {"vcpus": 4, "duration_h": 4}
POD = {
    "metadata": {
        "name": "web",
        "namespace": "shop",
        "annotations": {"aicsched.io/expected-duration": "4h", "aicsched.io/policy": "slo-first"},
    },
    "spec": {"containers": [{"resources": {"requests": {"cpu": "4"}}}]},
}


@pytest.fixture(scope="module")
def sample() -> Snapshot:
    return sample_snapshot()


def client(snapshot: Any, *, age_s: float = 5.0, **more: Any) -> Client:
    at_s = 0.0 if snapshot is None else snapshot.issued_at_s + age_s
    return Client(ExtenderApp(SnapshotHolder(snapshot), now_s=lambda: at_s, **more))


@pytest.fixture(scope="module")
def api(sample: Snapshot) -> Client:
    return client(sample)


def document(of: Client) -> Any:
    answer = of.get("/openapi.json")
    assert answer.status == 200
    return answer.json


def judge(of: Client, path: str, method: str, answer: Any) -> Any:
    """Hold an answer against what the document says of it."""
    told = document(of)
    content = told["paths"][path][method]["responses"][str(answer.status)]["content"]
    kind = answer.headers[b"content-type"].partition(b";")[0].decode()
    if kind != "text/plain":
        schema = content[kind]["schema"] | {"components": told["components"]}
        jsonschema.Draft202012Validator(schema).validate(answer.json)
    else:
        assert kind in content
    return answer


def scored(of: Client, *work: Any, status: int = 200, **more: Any) -> Any:
    answer = of.post("/api/v1/score", {"work": list(work) or [WORK]} | more)
    assert answer.status == status, answer.body
    return judge(of, "/api/v1/score", "post", answer).json


# ---------------------------------------------------------------- scores


@pytest.mark.parametrize("policy", ["balanced", "carbon-first", "slo-first"])
def test_scores_of_nodes_are_the_librarys_own(sample: Snapshot, api: Client, policy: str) -> None:
    costs = sample.costs
    request = Request(vcpus=4, duration_s=4 * HOUR_S, memory_gib=8, home_region="north", data_gb=3)
    telemetry = sample_telemetry(sample.names, end_s=costs.start_s)
    cards = score_nodes(
        request,
        costs.fleet,
        costs.forecasts,
        telemetry,
        start_s=costs.start_s,
        weights=preset(policy).weights,
    )
    work = WORK | {"memory_gib": 8, "home_region": "north", "data_gb": 3, "policy": policy, "name": "mine"}
    (score,) = scored(api, work, best=300)["scores"]
    assert (score["name"], score["work"]) == ("mine", request.describe())
    assert (score["met_over_h"], score["considered"]) == (4, len(cards))
    assert [each["candidate"] for each in score["candidates"]] == [card.candidate for card in cards]
    for ours, card in zip(score["candidates"], cards, strict=True):
        assert ours["mid_g"] == pytest.approx(card.mid_g, rel=1e-12)
        assert (ours["low_g"], ours["high_g"]) == pytest.approx((card.low_g, card.high_g), rel=1e-9)
        assert ours["carbon_g"] == pytest.approx(card.carbon_g, rel=1e-12)
        assert [term["name"] for term in ours["terms"]] == [term.name for term in card.terms]
        assert [term["note"] for term in ours["terms"]] == [term.note for term in card.terms]
        assert sum(term["mid_g"] for term in ours["terms"]) == pytest.approx(ours["mid_g"])
        assert ours["refusals"] == list(card.refusals)
        assert ours["inputs"] == list(card.inputs)
        assert ours["synthetic"]


def test_scores_of_regions_are_the_librarys_own(sample: Snapshot, api: Client) -> None:
    costs = sample.costs
    cards = score_regions(
        Request(vcpus=4, duration_s=4 * HOUR_S), costs.fleet, costs.forecasts, start_s=costs.start_s
    )
    (score,) = scored(api, by="region")["scores"]
    assert [(each["candidate"], each["mid_g"]) for each in score["candidates"]] == [
        (card.candidate, card.mid_g) for card in cards
    ]
    assert [each["level"] for each in score["candidates"]] == sorted(
        (each["level"] for each in score["candidates"]), reverse=True
    )
    (part,) = scored(api, by="region", candidates=["texas", "north", "nowhere"])["scores"]
    assert ([each["candidate"] for each in part["candidates"]], part["unknown"]) == (
        ["north", "texas"], ["nowhere"]
    )  # fmt: skip
    assert [each["level"] for each in part["candidates"]] == [10, 0]


def test_levels_are_those_that_the_scheduler_is_told(sample: Snapshot, api: Client) -> None:
    names = sample.names[3:40]
    request = args_by_name(*names, pod=POD)
    told = judge_prioritize(request, api.post("/prioritize", request))
    (score,) = scored(api, WORK | {"policy": "slo-first"}, candidates=list(names), best=50)["scores"]
    assert {each["candidate"]: each["level"] for each in score["candidates"]} == told


def test_some_candidates_are_told_and_strangers_named(sample: Snapshot, api: Client) -> None:
    few = [*sample.names[:6], "a-stranger", sample.names[0]]
    first, second = scored(api, WORK, WORK | {"vcpus": 1}, candidates=few, best=3)["scores"]
    for score in (first, second):
        assert (score["considered"], len(score["candidates"])) == (6, 3)
        assert score["unknown"] == ["a-stranger"]
    (none,) = scored(api, candidates=[])["scores"]
    assert (none["considered"], none["candidates"]) == (0, [])


def test_what_can_not_take_the_work_comes_last_with_the_reason(sample: Snapshot, api: Client) -> None:
    largest = max(node.vcpus for node in sample.costs.fleet.nodes)
    (score,) = scored(api, WORK | {"vcpus": largest + 1}, best=5)["scores"]
    assert all("vCPUs" in each["refusals"][0] for each in score["candidates"])
    (mixed,) = scored(api, WORK | {"vcpus": largest}, best=1000)["scores"]
    fits = [not each["refusals"] for each in mixed["candidates"]]
    assert any(fits)
    assert fits == sorted(fits, reverse=True)


def test_beyond_the_forecast_nodes_meet_its_mean_and_regions_are_refused(api: Client) -> None:
    (score,) = scored(api, WORK | {"duration_h": 500}, best=1)["scores"]
    assert score["met_over_h"] == 96
    told = scored(api, WORK | {"duration_h": 500}, by="region", status=422)
    assert "does not cover 500 h" in told["detail"]


def test_on_a_dark_grid_there_is_no_number(sample: Snapshot) -> None:
    costs = sample.costs
    region = costs.fleet.nodes[0].region
    dark = tuple(
        "unknown" if node.region == region else state
        for node, state in zip(costs.fleet.nodes, costs.signals, strict=True)
    )
    of = client(replace(sample, costs=replace(costs, signals=dark)))
    (score,) = scored(of, best=1000)["scores"]
    assert set(score["unscored"]) == {node.name for node in costs.fleet.nodes if node.region == region}
    assert region not in {each["region"] for each in score["candidates"]}
    assert score["considered"] + len(score["unscored"]) == len(costs.fleet.nodes)
    (regions,) = scored(of, by="region")["scores"]
    assert regions["unscored"] == [region]


def test_the_basis_is_told(sample: Snapshot, api: Client) -> None:
    basis = scored(api)["basis"]
    assert (basis["issued_at"], basis["age_s"], basis["synthetic"]) == ("2026-04-30T00:00:00Z", 5, True)
    assert set(basis["sources"]) == set(sample.sources)


# ---------------------------------------------------------------- problems


@pytest.mark.parametrize(
    ("body", "status", "code", "pointer", "told"),
    [
        (b"", 400, "malformed-body", "", "truncated"),
        (b"x", 400, "malformed-body", "", "malformed"),
        (b"\xff", 400, "malformed-body", "", ""),
        (b'{"work":[{"name":' + b"[" * 100_000, 400, "malformed-body", "#/work/0/name", "`str`"),
        (b'{"work":[{"vcpus":1e400}]}', 400, "malformed-body", "#/work/0/vcpus", "out of range"),
        ([], 400, "malformed-body", "", "object"),
        ({}, 400, "malformed-body", "", "`work`"),
        ({"work": []}, 400, "malformed-body", "#/work", "length >= 1"),
        ({"work": [WORK] * 101}, 400, "malformed-body", "#/work", "length <= 100"),
        ({"work": [{"vcpus": 1}]}, 400, "malformed-body", "#/work/0", "`duration_h`"),
        ({"work": [WORK, WORK | {"vcpus": 0}]}, 400, "malformed-body", "#/work/1/vcpus", "> 0.0"),
        ({"work": [WORK | {"vcpus": "4"}]}, 400, "malformed-body", "#/work/0/vcpus", "float"),
        ({"work": [WORK | {"cpus": 1}]}, 400, "malformed-body", "#/work/0", "unknown field `cpus`"),
        ({"work": [WORK], "by": "zone"}, 400, "malformed-body", "#/by", "zone"),
        ({"work": [WORK], "best": 0}, 400, "malformed-body", "#/best", ">= 1"),
        ({"work": [WORK], "candidates": [1]}, 400, "malformed-body", "#/candidates/0", "str"),
        ({"work": [WORK] * 11, "best": 1000}, 422, "too-much", "#/best", "over 10000"),
        ({"work": [WORK | {"policy": "carbon-frist"}]}, 422, "unknown-policy", "#/work/0/policy", "frist"),
        ({"work": [WORK | {"home_region": "nrth"}]}, 422, "unknown-region", "#/work/0/home_region", "nrth"),
    ],
)
def test_a_bad_question_is_told_what_and_where(
    api: Client, body: Any, status: int, code: str, pointer: str, told: str
) -> None:
    answer = judge(api, "/api/v1/score", "post", api.post("/api/v1/score", body))
    assert answer.headers[b"content-type"] == b"application/problem+json"
    problem = answer.json
    assert (answer.status, problem["status"], problem["code"]) == (status, status, code)
    assert problem.get("pointer", "") == pointer
    assert told in problem["detail"]
    assert problem["hint"]


def test_a_mistyped_name_is_answered_by_the_nearest(api: Client) -> None:
    told = scored(api, WORK | {"policy": "carbon-frist"}, status=422)
    assert told["hint"].startswith("did you mean carbon-first")


@pytest.mark.parametrize(
    ("age_s", "change", "code"),
    [
        (0.0, None, "no-snapshot"),
        (61.0, {"max_age_s": 60.0}, "stale"),
        (-200.0, {}, "clock-skew"),
        (5.0, {"neutral": True}, "no-signal"),
    ],
)
def test_without_good_signals_there_is_a_problem_and_no_number(
    sample: Snapshot, age_s: float, change: Any, code: str
) -> None:
    of = client(None if change is None else replace(sample, **change), age_s=age_s)
    assert scored(of, status=503)["code"] == code


def test_costs_without_a_fleet_have_no_scores() -> None:
    assert scored(client(snapshot_of({"a": 1.0})), status=503)["code"] == "no-scores"


def test_few_are_answered_at_a_time(sample: Snapshot) -> None:
    waiting, entered = threading.Event(), threading.Semaphore(0)

    def unfit(snapshot: Any) -> str:
        entered.release()
        waiting.wait(20)
        return ""

    api = ScoreApi(holder=SnapshotHolder(sample), unfit=unfit, now_s=lambda: sample.issued_at_s)
    question = Asked(json.dumps({"work": [WORK], "best": 1}).encode())
    answers: list[Any] = []
    threads = [threading.Thread(target=lambda: answers.append(api.answer(question))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert entered.acquire(timeout=20)
    busy = api.answer(question)
    waiting.set()
    for thread in threads:
        thread.join(20)
    assert (busy.status, json.loads(busy.body)["code"]) == (503, "busy")
    assert [answer.status for answer in answers] == [200, 200]
    assert api.answer(question).status == 200


def test_limits_are_told_as_problems_too(api: Client) -> None:
    for method, headers, status in (
        ("PUT", [], 405),
        ("POST", [(b"content-type", b"text/plain")], 415),
        ("POST", [(b"content-length", b"999999999")], 413),
    ):
        answer = judge(
            api, "/api/v1/score", "post", api.request(method, "/api/v1/score", b"{}", headers=headers)
        )
        assert answer.status == status
        assert answer.headers[b"content-type"] == b"application/problem+json"


# ---------------------------------------------------------------- the document


def test_the_document_describes_every_route_and_no_other(sample: Snapshot) -> None:
    bare, full = client(sample), client(sample, preempt=True, binder=object())
    for of in (bare, full):
        told = document(of)
        named = {each["operationId"] for path in told["paths"].values() for each in path.values()}
        assert named == set(of.app.routes.names)
        for path, operations in told["paths"].items():
            example = path.replace("{namespace}", "n").replace("{pod}", "p")
            route, parts = of.app.routes.find(example)
            assert [method.upper() for method in operations] == [route.method]
            assert len(parts) == path.count("{")
    assert set(document(full)["paths"]) - set(document(bare)["paths"]) == {"/bind", "/preempt"}


def test_the_document_is_openapi_of_sound_schemas(sample: Snapshot) -> None:
    told = document(client(sample, preempt=True, binder=object()))
    assert told["openapi"].startswith("3.1.")
    assert set(told) == {"openapi", "info", "paths", "components", "security"}
    for schema in told["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    text = json.dumps(told)
    wanted = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert wanted == set(told["components"]["schemas"])
    for path in told["paths"].values():
        for operation in path.values():
            assert operation["summary"]
            assert "200" in operation["responses"]
            assert all(each["description"] for each in operation["responses"].values())
    described = told["components"]["schemas"]["Candidate"]["properties"]
    assert described["refusals"]["description"] == "Why it can't take the work; empty when it can."


def test_answers_to_the_scheduler_are_what_the_document_says(sample: Snapshot) -> None:
    class Binder:
        def bind(self, wanted: Any) -> None:
            pass

    of = client(sample, preempt=True, binder=Binder())
    binding = {"PodName": "p", "PodNamespace": "n", "PodUID": "u", "Node": "a"}
    for path, body in (
        ("/filter", args_by_name(*sample.names[:3])),
        ("/filter", args_full(*sample.names[:3])),
        ("/prioritize", args_by_name(*sample.names[:3], pod=POD)),
        ("/preempt", preemption({"a": (["u"], 1)}, full=True)),
        ("/preempt", preemption({"a": (["u"], 1)}, full=False)),
        ("/bind", binding),
    ):
        told = document(of)
        asked = told["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
        jsonschema.Draft202012Validator(asked | {"components": told["components"]}).validate(body)
        assert judge(of, path, "post", of.post(path, body)).status == 200
        assert judge(of, path, "post", of.post(path, b"{")).status == 400
    for path in ("/openapi.json", "/livez", "/readyz"):
        judge(of, path, "get", of.get(path))


def test_a_route_added_later_is_not_described_but_does_no_harm(sample: Snapshot) -> None:
    of = client(sample, routes=[Route(name="x", path="/x", answer=lambda _: b"")])
    assert "/x" not in document(of)["paths"]


# ---------------------------------------------------------------- explanations


def explained(of: Client, query: str = "", *, accept: bytes = b"", path: str = "/explain/shop/web") -> Any:
    headers = [(b"accept", accept)] if accept else []
    return of.request("GET", path, headers=headers, query=query.encode())


def test_the_node_that_a_pod_went_to_is_held_beside_the_best(asked: Client, sample: Snapshot) -> None:
    everything = explained(asked, "best=300").json["nodes"]
    best, worst = everything[0], everything[-1]
    answer = judge(
        asked, "/explain/{namespace}/{pod}", "get", explained(asked, f"best=2&node={worst['node']}")
    )
    assert [each["node"] for each in answer.json["nodes"]] == [
        best["node"], everything[1]["node"], worst["node"]
    ]  # fmt: skip
    more_g = worst["total_g"] - best["total_g"]
    beside = answer.json["beside"]
    assert beside.startswith(f"{worst['node']} costs {more_g:.3g} g more than {best['node']}, mostly by ")
    assert beside.endswith(f"level {worst['level']} beside {best['level']}.")
    assert beside in explained(asked, f"node={worst['node']}", accept=b"text/plain").body.decode()
    assert "is as good as any" in explained(asked, f"node={best['node']}").json["beside"]
    stranger = judge(asked, "/explain/{namespace}/{pod}", "get", explained(asked, "node=nrth-24"))
    assert (stranger.status, stranger.json["code"]) == (404, "unknown-node")
    assert "north-24" in stranger.json["hint"]


def test_a_node_that_is_filtered_or_dark_is_told_so(sample: Snapshot) -> None:
    region = sample.costs.fleet.nodes[0].region
    other = next(node.name for node in sample.costs.fleet.nodes if node.region != region)
    meta = POD["metadata"] | {"annotations": {"aicsched.io/allowed-regions": region}}
    of = client(sample)
    of.post("/prioritize", args_by_name(other, pod=POD | {"metadata": meta}))
    assert (
        explained(of, f"node={other}").json["beside"].startswith(f"{other} is filtered: the pod's aicsched")
    )
    dark = replace(sample, costs=replace(sample.costs, signals=("unknown", *sample.costs.signals[1:])))
    of = client(dark)
    of.post("/prioritize", args_by_name(other, pod=POD))
    assert "Nothing is known of the grid" in explained(of, f"node={sample.names[0]}").json["beside"]
    of = client(replace(sample, max_age_s=1.0))
    of.post("/prioritize", args_by_name(other, pod=POD))
    assert explained(of, f"node={other}").json["beside"] == "All nodes get level 5: stale."


BAD_QUERIES = [
    *("weight=0", "weight=1001", "weight=x", "best=", "best=-1", "best=%D9%A1", "best=1e3", "best=1234567890")
]


@pytest.fixture
def asked(sample: Snapshot) -> Client:
    of = client(sample)
    request = args_by_name(*sample.names, pod=POD)
    judge_prioritize(request, of.post("/prioritize", request))
    return of


def test_why_is_told_term_by_term(asked: Client, sample: Snapshot) -> None:
    answer = judge(asked, "/explain/{namespace}/{pod}", "get", explained(asked, "best=300"))
    told = answer.json
    assert (told["namespace"], told["pod"]) == ("shop", "web")
    assert told["asked"]["policy"] == "preset slo-first"
    assert (told["asked"]["vcpus"], told["asked"]["duration_s"]) == (4, 4 * HOUR_S)
    assert {each["node"] for each in told["nodes"]} == set(sample.names)
    request = args_by_name(*sample.names, pod=POD)
    levels = judge_prioritize(request, asked.post("/prioritize", request))
    assert {each["node"]: each["level"] for each in told["nodes"]} == levels
    assert all(
        sum(each["terms_g"].values()) == pytest.approx(each["total_g"], rel=1e-9) for each in told["nodes"]
    )


def test_the_weight_is_worth_what_is_told(asked: Client) -> None:
    (worth,) = explained(asked, "weight=12").json["influence"]
    assert worth == {"weight": 12, "points": 1200, "in_tree_points": 1200, "share": 0.5}
    assert len(explained(asked).json["influence"]) > 1


@pytest.mark.parametrize("query", BAD_QUERIES)
def test_a_bad_query_is_told(asked: Client, query: str) -> None:
    answer = judge(asked, "/explain/{namespace}/{pod}", "get", explained(asked, query))
    assert answer.status == 400
    assert "from 1 to" in answer.json["hint"]


@pytest.mark.parametrize(
    ("accept", "text"),
    [
        (b"", False), (b"*/*", False), (b"application/json", False), (b"text/plain", True), (b"text/*", True),
        (b"text/html,application/xhtml+xml,*/*;q=0.8", False), (b"text/plain;q=0.5, application/json", False),
        (b"TEXT/PLAIN; charset=utf-8, */*;q=0.1", True), (b"text/plain;q=x", False), (b"\xff;q", False),
    ],
)  # fmt: skip
def test_people_get_text_where_they_ask_for_it(asked: Client, accept: bytes, text: bool) -> None:
    answer = judge(asked, "/explain/{namespace}/{pod}", "get", explained(asked, "best=2", accept=accept))
    assert answer.headers[b"content-type"].startswith(b"text/plain" if text else b"application/json")
    if text:
        first, *_ = answer.body.decode().splitlines()
        assert first.startswith("pod shop/web: 4 vCPUs and 0 GiB for 4 h (by annotation), scored by preset")
        assert b"what the extender's weight is worth" in answer.body
        rows = [line for line in answer.body.decode().splitlines() if " fresh " in line]
        assert len(rows) == 2


def test_a_pod_that_was_not_scored_is_not_found(asked: Client) -> None:
    answer = explained(asked, path="/explain/shop/other")
    assert judge(asked, "/explain/{namespace}/{pod}", "get", answer).status == 404
    assert explained(asked, path="/explain/shop/").status == 404
    assert explained(client(None)).status == 404


def test_an_explanation_of_neutral_answers_says_so(sample: Snapshot) -> None:
    of = client(replace(sample, max_age_s=1.0))
    of.post("/prioritize", args_by_name(*sample.names[:2], pod=POD))
    assert explained(of).json["sentence"] == "All nodes get level 5: stale."
    assert b"All nodes get level 5: stale." in explained(of, accept=b"text/plain").body
