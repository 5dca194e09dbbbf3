"""Whatever a client sends: an answer of extender/v1, or a refusal that blames the client."""

from __future__ import annotations

import itertools
import json
import math
from typing import Any

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from aicsched.extender.app import ExtenderApp
from aicsched.extender.levels import levels_from_grams
from aicsched.extender.snapshot import SnapshotHolder
from tests.extender_kit import Client, judge_filter, judge_prioritize, snapshot_of

KNOWN = {"a": 1.0, "b": 2.0, "c": math.nan, "é": 3.0}
CLIENT = Client(ExtenderApp(SnapshotHolder(snapshot_of(KNOWN)), now_s=lambda: 1000.0))
VERBS = st.sampled_from(["/filter", "/prioritize"])
REFUSALS = {400, 413}

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
name = st.sampled_from([*KNOWN, "new"]) | st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
node = st.fixed_dictionaries(
    {"metadata": st.fixed_dictionaries({"name": name}, optional={"labels": anything})}
)
node_list = st.fixed_dictionaries({"items": st.lists(node, max_size=8)}, optional={"metadata": anything})
requests = st.builds(
    lambda pod, nodes, names, by_name: {
        "Pod": pod, "Nodes": None if by_name else nodes, "NodeNames": names if by_name else None
    },
    anything, node_list, st.lists(name, max_size=12), st.booleans(),
)  # fmt: skip
nearly = st.builds(
    lambda whole, key, value: whole | {key: value},
    requests, st.sampled_from(["Pod", "Nodes", "NodeNames", "nodes", "NODENAMES"]), anything,
)  # fmt: skip


def shaped(verb: str, body: bytes) -> None:
    """Check an answer to a body of which nothing is known."""
    answer = CLIENT.post(verb, body)
    assert answer is not None
    assert answer.status == 200 or answer.status in REFUSALS
    if answer.status != 200:
        assert set(answer.json) == {"code", "error"}
    elif verb == "/filter":
        assert len({"Nodes", "NodeNames"} & set(answer.json)) == 1
        assert answer.json["FailedNodes"] == {}
    else:
        assert all(set(row) == {"Host", "Score"} and 0 <= row["Score"] <= 10 for row in answer.json)


@given(VERBS, st.binary(max_size=300))
@example("/prioritize", b'{"NodeNames":["\\ud800"]}')
@example("/filter", b'{"NodeNames":["\\ud800"]}')
@example("/filter", b'{"Nodes":{"items":[{"metadata":{"name":"a","x":"\\ud800"}}]}}')
@example("/filter", b'{"NodeNames":' + b"[" * 3000 + b"]" * 3000 + b"}")
@example("/prioritize", b'{"Pod":' + b'{"spec":' * 60000 + b"1" + b"}" * 60000 + b',"NodeNames":["a"]}')
@example(
    "/prioritize",
    b'{"NodeNames":["a"],"Pod":{"spec":{"containers":[{"resources":{"requests":{"cpu":1e400}}}]}}}',
)
@example("/prioritize", b'{"NodeNames":["a"],"NodeNames":["b"],"nodenames":["c"]}')
@example("/prioritize", b'\xef\xbb\xbf{"NodeNames":["a"]}')
def test_bytes(verb: str, body: bytes) -> None:
    shaped(verb, body)


@given(VERBS, anything | nearly)
def test_json(verb: str, value: Any) -> None:
    shaped(verb, json.dumps(value).encode("utf-8", "replace"))


@given(requests, st.integers(1, 64))
def test_what_is_an_offer_is_answered_in_full(request: dict[str, Any], chunk: int) -> None:
    body = (
        json.dumps(request, allow_nan=True)
        .replace("NaN", "1")
        .replace("-Infinity", "1")
        .replace("Infinity", "1")
    )
    request = json.loads(body)
    for verb, judge in (("/filter", judge_filter), ("/prioritize", judge_prioritize)):
        answer = CLIENT.request("POST", verb, body.encode(), chunk=chunk)
        assert answer is not None
        if b"surrogate" not in answer.body:  # lone surrogates are no text: refused
            judge(request, answer)


@given(st.lists(st.floats(-1e6, 1e6) | st.just(math.nan), max_size=40))
def test_levels_keep_the_order_of_grams(grams: list[float]) -> None:
    levels = levels_from_grams(np.array(grams, dtype=np.float64)).tolist()
    known = sorted((gram, level) for gram, level in zip(grams, levels, strict=True) if not math.isnan(gram))
    assert all(one[1] >= other[1] for one, other in itertools.pairwise(known))
    assert all(one[1] == other[1] for one, other in itertools.pairwise(known) if one[0] == other[0])
    assert all(level == 5 for gram, level in zip(grams, levels, strict=True) if math.isnan(gram))
    if known and known[0][1] != known[-1][1]:
        assert (known[0][1], known[-1][1]) == (10, 0)


@given(st.lists(st.integers(0, 50).map(float), min_size=1, max_size=30), st.randoms())
def test_the_order_of_the_offer_changes_no_level(grams: list[float], random: Any) -> None:
    order = list(range(len(grams)))
    random.shuffle(order)
    straight = levels_from_grams(np.array(grams)).tolist()
    shuffled = levels_from_grams(np.array([grams[at] for at in order])).tolist()
    assert [straight[at] for at in order] == shuffled
