"""Whatever is asked of the API: an answer or a problem, just as its own document says."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aicsched.extender.app import ExtenderApp
from aicsched.extender.sample import sample_snapshot
from aicsched.extender.snapshot import SnapshotHolder
from tests.extender_kit import Client

SAMPLE = sample_snapshot()
CLIENT = Client(ExtenderApp(SnapshotHolder(SAMPLE), now_s=lambda: SAMPLE.issued_at_s))
TOLD = CLIENT.get("/openapi.json").json
ROUTE = TOLD["paths"]["/api/v1/score"]["post"]


def validator(schema: Any) -> Any:
    return jsonschema.Draft202012Validator(schema | {"components": TOLD["components"]})


ASKED = validator(ROUTE["requestBody"]["content"]["application/json"]["schema"])
ANSWERED = {
    status: validator(next(iter(each["content"].values()))["schema"])
    for status, each in ROUTE["responses"].items()
}

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
number = st.integers(-5, 10**7) | st.floats(-1e7, 1e7) | st.sampled_from([0, 1e-300, 1e6, 8784, 8785])
scalars = st.none() | st.booleans() | number | text
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)
region = st.sampled_from([each.name for each in SAMPLE.costs.fleet.regions])
works = st.fixed_dictionaries(
    {"vcpus": st.floats(1e-6, 1e6), "duration_h": st.floats(1e-3, 96.0)},
    optional={
        "memory_gib": st.floats(0, 1e9),
        "home_region": region | st.just(""),
        "data_gb": st.floats(0, 1e9),
        "namespace": text,
        "policy": st.sampled_from(["", "balanced", "carbon-first", "slo-first"]),
        "name": text,
    },
)
queries = st.fixed_dictionaries(
    {"work": st.lists(works, min_size=1, max_size=4)},
    optional={
        "by": st.sampled_from(["node", "region"]),
        "candidates": st.none() | st.lists(st.sampled_from(SAMPLE.names) | region | text, max_size=8),
        "best": st.integers(1, 30),
    },
)
KEYS = ["work", "by", "candidates", "best", "x"]
nearly = st.builds(
    lambda query, key, value: query | {key: value}, queries, st.sampled_from(KEYS), anything
) | st.builds(
    lambda work, key, value: {"work": [work | {key: value}]},
    works, st.sampled_from(["vcpus", "duration_h", "memory_gib", "policy", "name", "y"]), anything,
)  # fmt: skip


def post(body: bytes) -> Any:
    answer = CLIENT.post("/api/v1/score", body)
    ANSWERED[str(answer.status)].validate(answer.json)
    return answer


@settings(deadline=None)
@given(queries)
def test_what_is_a_query_is_answered(query: Any) -> None:
    answer = post(json.dumps(query).encode())
    assert answer.status == 200
    assert len(answer.json["scores"]) == len(query["work"])
    for score in answer.json["scores"]:
        told = [(bool(each["refusals"]), each["mid_g"]) for each in score["candidates"]]
        assert told == sorted(told)
        assert len(told) == min(score["considered"], query.get("best", 10))
        assert all(each["low_g"] <= each["mid_g"] <= each["high_g"] for each in score["candidates"])


@settings(deadline=None)
@given(nearly | anything)
@example({"work": [{"vcpus": True, "duration_h": 1}]})
@example({"work": [{"vcpus": 1, "duration_h": 1}], "best": None})
@example({"work": [{"vcpus": 1, "duration_h": 1, "name": "x" * 254}]})
def test_the_document_and_the_decoder_agree(query: Any) -> None:
    best = query.get("best") if isinstance(query, dict) else None
    if isinstance(best, float) and best.is_integer():
        return  # to JSON Schema 2.0 is an integer, which no tool writes so
    answer = post(json.dumps(query).encode())
    assert answer.status in {200, 400, 422}
    assert (answer.status != 400) == ASKED.is_valid(query)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_bytes_are_answered_or_refused(body: bytes) -> None:
    assert post(body).status in {200, 400, 422}


@settings(deadline=None)
@given(st.text(max_size=30), st.text(max_size=30), st.binary(max_size=40), st.binary(max_size=40))
def test_any_path_is_explained_or_refused(namespace: str, pod: str, query: bytes, accept: bytes) -> None:
    answer = CLIENT.request("GET", f"/explain/{namespace}/{pod}", headers=[(b"accept", accept)], query=query)
    assert answer.status in {400, 404, 405}
