from __future__ import annotations

import asyncio
import json
import logging
import time
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from aicsched.errors import ConfigError
from aicsched.extender.app import ExtenderApp
from aicsched.extender.limits import Limits
from aicsched.extender.metrics import FALLBACKS
from aicsched.extender.names import ALLOWED_REGIONS
from aicsched.extender.routes import Reply, Route, RouteTable, verb
from aicsched.extender.snapshot import SnapshotHolder
from tests.extender_kit import (
    NEUTRAL,
    Client,
    Costs,
    Raising,
    args_by_name,
    args_full,
    judge_filter,
    judge_prioritize,
    snapshot_of,
)

GRAMS = {"green": 1.0, "grey": 5.0, "black": 9.0}


def make_client(snapshot: Any = None, *, now_s: Any = 1000.0, limits: Any = None) -> Any:
    snapshot = snapshot_of(GRAMS) if snapshot is None else snapshot
    app = ExtenderApp(SnapshotHolder(snapshot or None), limits=limits, now_s=lambda: now_s)
    return Client(app)


def samples(client: Any) -> Any:
    text = client.get("/metrics").body.decode()
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.mark.parametrize("path", ["/prioritize", "/ext/prioritize", "/a/b/prioritize/"])
@pytest.mark.parametrize("make", [args_by_name, args_full])
def test_prioritize_prefers_low_carbon_under_any_prefix(path: Any, make: Any) -> None:
    request = make("black", "green", "grey", "new-node")
    scores = judge_prioritize(request, make_client().post(path, request))
    assert scores == {"black": 0, "green": 10, "grey": 5, "new-node": NEUTRAL}


@pytest.mark.parametrize("make", [args_by_name, args_full])
def test_filter_lets_every_node_pass(make: Any) -> None:
    request = make("black", "green", "new-node", "new-node")
    judge_filter(request, make_client().post("/ext/filter", request))


@pytest.mark.parametrize("make", [args_by_name, args_full])
def test_filter_of_nothing_is_never_an_empty_object(make: Any) -> None:
    judge_filter(make(), make_client().post("/filter", make()))


FAULTS = {
    "no_snapshot": {"snapshot": False},
    "stale": {"snapshot": snapshot_of(GRAMS, max_age_s=60.0), "now_s": 1061.0},
    "clock_skew": {"snapshot": snapshot_of(GRAMS), "now_s": 800.0},
    "fault": {"snapshot": snapshot_of(GRAMS, costs=Raising())},
}


@pytest.mark.parametrize("reason", FAULTS)
def test_a_fault_gives_equal_scores_and_is_counted(reason: Any, caplog: Any) -> None:
    client = make_client(**FAULTS[reason])
    request = args_by_name("green", "black", "new-node", "black")
    with caplog.at_level(logging.CRITICAL, logger="aicsched"):
        scores = judge_prioritize(request, client.post("/prioritize", request))
    assert set(scores.values()) == {NEUTRAL}
    judge_filter(request, client.post("/filter", request))
    assert samples(client)["aicsched_extender_fallbacks_total", reason] == 1


@pytest.mark.parametrize("costs", [Costs([1.0]), Costs([1.0, float("nan"), float("inf")])])
def test_costs_of_a_wrong_shape_or_without_numbers_are_no_error(costs: Any) -> None:
    request = args_by_name("green", "grey", "black")
    scores = judge_prioritize(
        request, make_client(snapshot_of(GRAMS, costs=costs)).post("/prioritize", request)
    )
    assert set(scores.values()) == {NEUTRAL}


def test_an_odd_pod_gives_equal_scores() -> None:
    client = make_client()
    request = args_by_name("green", "black", pod={"spec": {"containers": "none"}})
    assert set(judge_prioritize(request, client.post("/prioritize", request)).values()) == {NEUTRAL}
    assert samples(client)["aicsched_extender_fallbacks_total", "unreadable_pod"] == 1


def test_a_snapshot_just_young_enough_is_used() -> None:
    client = make_client(snapshot_of(GRAMS, max_age_s=60.0), now_s=1060.0)
    request = args_by_name("green", "black")
    assert judge_prioritize(request, client.post("/prioritize", request)) == {"green": 10, "black": 0}


def test_more_nodes_than_any_cluster_are_answered_but_not_scored() -> None:
    request = args_by_name("green", "black", *(f"n{at}" for at in range(10_000)))
    assert set(judge_prioritize(request, make_client().post("/prioritize", request)).values()) == {NEUTRAL}


@pytest.mark.parametrize("verb", ["filter", "prioritize"])
@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"{}", b"\xff", b'{"NodeNames":[{}]}', b"<html>"])
def test_what_cannot_be_read_is_the_callers_fault(verb: Any, body: Any) -> None:
    answer = make_client().post(f"/{verb}", body)
    assert answer.status == 400
    assert answer.json["code"] == "malformed-body"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/filter", 405),
        ("PUT", "/prioritize", 405),
        ("HEAD", "/ext/filter", 405),
        ("POST", "/livez", 405),
        ("POST", "/bind", 404),
        ("POST", "/ext/preempt", 404),
        ("POST", "/", 404),
        ("GET", "/livez/x", 404),
    ],
)
def test_other_paths_and_methods_are_refused_in_json(method: Any, path: Any, status: Any) -> None:
    answer = make_client().request(method, path, b"{}")
    assert answer.status == status
    assert answer.json["error"] if method != "HEAD" else not answer.body
    assert (b"allow" in answer.headers) == (status == 405)


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (b"application/json", 200),
        (b"application/json; charset=utf-8", 200),
        (b"Application/JSON;charset=UTF-8", 200),
        (b"text/plain", 415),
        (b"application/xml", 415),
        (b"", 415),
    ],
)
def test_content_types(kind: Any, status: Any) -> None:
    body = json.dumps(args_by_name("green")).encode()
    assert make_client().request("POST", "/filter", body, headers=[(b"content-type", kind)]).status == status


def test_a_missing_content_type_is_taken_as_json() -> None:
    body = json.dumps(args_by_name("green")).encode()
    assert make_client().request("POST", "/filter", body, headers=[]).status == 200


def test_a_declared_size_over_the_limit_is_refused_unread() -> None:
    async def never() -> Any:
        raise AssertionError

    head = [(b"content-length", str(64 * 2**20 + 1).encode())]
    answer = asyncio.run(make_client().raw("POST", "/filter", never, headers=head))
    assert answer.status == 413
    assert answer.headers[b"connection"] == b"close"


def test_an_undeclared_size_is_counted_while_it_streams() -> None:
    read = 0

    async def endless() -> Any:
        nonlocal read
        read += 2**20
        return {"type": "http.request", "body": bytes(2**20), "more_body": True}

    answer = asyncio.run(make_client().raw("POST", "/filter", endless))
    assert answer.status == 413
    assert read == 65 * 2**20


def test_bodies_together_are_bounded_and_released() -> None:
    client = make_client(limits=Limits(body_bytes=3000, buffered_bytes=1000))
    assert client.post("/filter", bytes(1001)).status == 503
    body = json.dumps(args_by_name("green")).encode()
    assert client.post("/filter", body).status == 200


def test_a_body_by_name_has_a_lower_limit() -> None:
    name = "n" * 1000
    request = args_by_name(*(f"{name}{at}" for at in range(8500)))
    assert make_client().post("/prioritize", request).status == 413


@pytest.mark.parametrize("full", [False, True])
def test_a_crowd_of_tiny_nodes_is_refused_before_it_is_decoded(full: Any) -> None:
    node = b'{"metadata":{"name":"","x":"' + bytes([32]) * 100 + b'"}}'
    many = b",".join([node] * 110_000) if full else b",".join([b'"a"'] * 110_000)
    body = b'{"Nodes":{"items":[' + many + b"]}}" if full else b'{"NodeNames":[' + many + b"]}"
    assert make_client().post("/prioritize", body).status == 413


def test_large_headers_are_refused() -> None:
    head = [(b"x-padding", b"x" * 17_000)]
    assert make_client().request("POST", "/filter", b"{}", headers=head).status == 431


def test_a_slow_body_is_given_up() -> None:
    async def slow() -> Any:
        await asyncio.sleep(60)

    client = make_client(limits=Limits(read_s=0.01))
    assert asyncio.run(client.raw("POST", "/filter", slow)).status == 408


def test_a_client_that_hangs_up_gets_no_answer_and_frees_its_place() -> None:
    async def gone() -> Any:
        return {"type": "http.disconnect"}

    client = make_client(limits=Limits(requests=1))
    assert asyncio.run(client.raw("POST", "/filter", gone)) is None
    assert client.post("/filter", args_by_name("green")).status == 200


def test_requests_at_a_time_are_bounded_and_probes_are_not() -> None:
    client = make_client(limits=Limits(requests=2))
    body = json.dumps(args_by_name("green")).encode()

    async def crowd() -> Any:
        waiting = asyncio.Event()

        async def slow() -> Any:
            await waiting.wait()
            return {"type": "http.request", "body": body}

        held = [asyncio.create_task(client.raw("POST", "/filter", slow)) for _ in range(2)]
        await asyncio.sleep(0)
        busy = await client.arequest("POST", "/filter", body)
        live = await client.arequest("GET", "/livez")
        waiting.set()
        return busy, live, await asyncio.gather(*held)

    busy, live, held = asyncio.run(crowd())
    assert busy.status == 503
    assert live.status == 200
    assert [answer.status for answer in held] == [200, 200]
    assert client.post("/filter", body).status == 200


def test_many_at_a_time_each_get_their_own_answer() -> None:
    client = make_client(snapshot_of({f"n{at}": float(at) for at in range(50)}))

    async def crowd() -> Any:
        requests = [args_by_name(f"n{at}", f"n{at + 1}") for at in range(40)]
        bodies = [json.dumps(request).encode() for request in requests]
        tasks = [client.arequest("POST", "/prioritize", body, chunk=7) for body in bodies]
        return zip(requests, await asyncio.gather(*tasks), strict=True)

    for at, (request, answer) in enumerate(asyncio.run(crowd())):
        assert judge_prioritize(request, answer) == {f"n{at}": 10, f"n{at + 1}": 0}


def test_readiness_waits_for_snapshot_and_warm_up_and_ends_with_draining() -> None:
    client = make_client(snapshot=False)
    assert client.get("/readyz").status == 503
    client.app.warm_up()
    assert b"[-]snapshot failed" in client.get("/readyz").body
    client.app.holder.replace(snapshot_of(GRAMS))
    assert client.get("/readyz").body == b"ok\n"
    verbose = asyncio.run(client.raw("GET", "/readyz", None, query=b"verbose")).body.splitlines()
    assert verbose == [b"[+]snapshot ok", b"[+]warm_up ok", b"[+]not_draining ok", b"readyz check passed"]
    client.app.warm_up()
    client.app.start_draining()
    assert client.get("/readyz").status == 503
    assert client.get("/livez").status == 200
    assert client.post("/filter", args_by_name("green")).status == 200


def test_a_stale_snapshot_does_not_take_readiness_away() -> None:
    client = make_client(snapshot_of(GRAMS, max_age_s=1.0), now_s=9e9)
    client.app.warm_up()
    assert client.get("/readyz").status == 200


def test_a_defect_in_the_costs_does_not_stop_the_start(caplog: Any) -> None:
    client = make_client(snapshot_of(GRAMS, costs=Raising()))
    with caplog.at_level(logging.CRITICAL, logger="aicsched"):
        client.app.warm_up()
    assert client.get("/readyz").status == 200


def test_metrics_count_answers_nodes_and_ages() -> None:
    client = make_client(snapshot_of(GRAMS, sources={"carbon": 400.0}))
    client.post("/filter", args_by_name("green", "grey"))
    client.post("/filter", b"{")
    client.post("/prioritize", args_full("green", "grey", "black"))
    found = samples(client)
    assert found["aicsched_extender_requests_total", "200", "filter"] == 1
    assert found["aicsched_extender_requests_total", "400", "filter"] == 1
    assert found["aicsched_extender_nodes_scored_total", "prioritize"] == 3
    assert found["aicsched_extender_request_duration_seconds_count", "filter"] == 2
    assert found["aicsched_signal_age_seconds", "carbon"] == 600.0


def test_every_reason_for_a_fallback_is_shown_from_the_start() -> None:
    found = samples(make_client())
    assert {key[1] for key in found if key[0] == "aicsched_extender_fallbacks_total"} == set(FALLBACKS)


def test_head_of_a_probe_has_no_body() -> None:
    answer = make_client().request("HEAD", "/livez")
    assert (answer.status, answer.body) == (200, b"")


def test_probes_can_have_a_port_of_their_own() -> None:
    client = make_client()
    probes = Client(client.app.probes_app)
    client.post("/filter", args_by_name("green"))
    assert samples(probes)["aicsched_extender_requests_total", "200", "filter"] == 1
    assert probes.post("/filter", args_by_name("green")).status == 404


def test_other_protocols_than_http_are_left_alone() -> None:
    assert asyncio.run(make_client().app({"type": "lifespan"}, None, None)) is None


def test_routes_are_found_by_path_pattern_or_last_word() -> None:
    table = RouteTable(
        [
            verb("filter", lambda body: body),
            Route(name="api", path="/api/v1/score", answer=lambda request: request.body),
            Route(name="explain", method="GET", path="/explain/{ns}/{pod}", answer=lambda request: b""),
        ]
    )
    found: dict[str, Any] = {
        path: table.find(path) for path in ("/x/filter/", "/api/v1/score", "/explain/team/filter")
    }
    assert {path: (route.name, parts) for path, (route, parts) in found.items()} == {
        "/x/filter/": ("filter", ()),
        "/api/v1/score": ("api", ()),
        "/explain/team/filter": ("explain", ("team", "filter")),
    }
    assert [table.find(path) for path in ("/explain/team", "/explain//x", "/x/api/v1/score", "", "*")] == [
        None
    ] * 5
    assert table.names == ["api", "explain", "filter"]


@pytest.mark.parametrize("path", ["/api", "*/filter", "/explain/{ns}", "openapi"])
def test_a_path_taken_twice_or_none_is_refused(path: Any) -> None:
    table = RouteTable([Route(name="x", path=p, answer=None) for p in ("/api", "*/filter", "/explain/{pod}")])
    with pytest.raises(ConfigError, match="is taken already, or is no path"):
        table.add(Route(name="y", path=path, answer=None))


def test_further_routes_share_reading_limits_and_counting() -> None:
    client = make_client()
    client.app.routes.add(
        verb("bind", lambda body: body[::-1], in_thread=True),
        Route(name="tell", method="GET", path="/tell/{ns}/{pod}", answer=lambda request: Reply(
            b"/".join([part.encode() for part in request.parts]) + b"?" + request.query, 404, b"text/plain"
        )),
    )  # fmt: skip
    assert client.post("/ext/bind", b"abc").body == b"cba"
    assert client.get("/ext/bind").status == 405
    answer = asyncio.run(client.raw("GET", "/tell/team/web-0", None, query=b"a=1"))
    assert (answer.status, answer.body) == (404, b"team/web-0?a=1")
    assert answer.headers[b"content-type"] == b"text/plain"
    assert client.request("POST", "/tell/team/web-0").headers[b"allow"] == b"GET, HEAD"
    found = samples(client)
    assert found["aicsched_extender_requests_total", "200", "bind"] == 1
    assert found["aicsched_extender_requests_total", "404", "tell"] == 1


def test_an_answer_that_waits_too_long_is_given_up() -> None:
    client = make_client(limits=Limits(answer_s=0.01))
    client.app.routes.add(verb("bind", lambda body: time.sleep(0.05), in_thread=True))
    assert client.post("/bind", b"{}").status == 504


def test_a_defect_in_a_verb_is_answered_neutral_or_by_a_fault(caplog: Any) -> None:
    def broken(_: Any) -> Any:
        raise ZeroDivisionError

    client = make_client()
    client.app.handlers._holder = None  # a defect where nobody expects one
    request = args_by_name("green", "black")
    with caplog.at_level(logging.CRITICAL, logger="aicsched"):
        assert set(judge_prioritize(request, client.post("/prioritize", request)).values()) == {NEUTRAL}
        client.app.handlers._metrics = None
        judge_filter(request, client.post("/filter", request))
        hard = args_by_name("green", "black", pod={"metadata": {"annotations": {ALLOWED_REGIONS: "DE"}}})
        refused = client.post("/filter", hard).json
        assert (refused["NodeNames"], set(refused["FailedAndUnresolvableNodes"])) == ([], {"green", "black"})
        assert client.post("/filter", b"{").status == 400
        client.app.routes.add(verb("bind", broken), verb("preempt", broken, fallback=broken))
        assert client.post("/bind", b"{}").json["code"] == "fault"
        assert client.post("/preempt", b"{}").status == 500
    assert samples(client)["aicsched_extender_fallbacks_total", "fault"] == 3


@pytest.mark.parametrize("verb", ["filter", "prioritize"])
@pytest.mark.parametrize(("depth", "status"), [(64, 200), (500, 200), (2000, 400), (200_000, 400)])
def test_depth_is_bounded(verb: Any, depth: Any, status: Any) -> None:
    pod = b'{"metadata":{"annotations":{"aicsched.io/x":"1"}},"spec":{"x":%b%b}}' % (
        b"[" * depth,
        b"]" * depth,
    )
    body = b'{"Pod":%b,"Nodes":null,"NodeNames":["green"]}' % pod
    assert make_client().post(f"/{verb}", body).status == status


@pytest.mark.parametrize(("coding", "status"), [(b"gzip", 415), (b"br", 415), (b"identity", 200), (b"", 200)])
def test_packed_bodies_are_refused(coding: Any, status: Any) -> None:
    body = json.dumps(args_by_name("green")).encode()
    answer = make_client().request("POST", "/filter", body, headers=[(b"content-encoding", coding)])
    assert answer.status == status


def test_readiness_can_depend_on_more() -> None:
    app = ExtenderApp(SnapshotHolder(snapshot_of(GRAMS)), checks={"nodes": lambda: False})
    app.warm_up()
    assert b"[-]nodes failed" in Client(app).get("/readyz").body
