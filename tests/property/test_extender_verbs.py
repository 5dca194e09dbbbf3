"""Whatever a client sends to bind and preempt: an answer of extender/v1, or a refusal that blames it."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from aicsched.errors import BodyTooLarge, MalformedBody
from aicsched.extender.verbs.bind import BindVerb
from aicsched.extender.verbs.preempt import preempt
from tests.extender_kit import Answer, judge_bind, judge_preempt, preemption
from tests.scheduler_model import Reply, Scheduler

PARTS = ("PodName", "PodNamespace", "PodUID", "Node")
KEYS = {"Pod", "NodeNameToVictims", "NodeNameToMetaVictims", "Pods", "NumPDBViolations", "UID", "metadata"}

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
scalars = st.none() | st.booleans() | st.integers() | st.floats(-1e300, 1e300) | text
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)
uid = st.uuids().map(str) | text.filter(bool)
node = st.sampled_from(["a", "b", "node-é"]) | text
offers = st.dictionaries(
    node, st.tuples(st.lists(uid, max_size=4), st.integers(-(2**63), 2**63 - 1)), max_size=6
)
pods = st.fixed_dictionaries({"metadata": st.fixed_dictionaries({"name": text})}, optional={"spec": anything})
spellings = st.sampled_from([str, str.lower, str.upper, str.swapcase])


class Spy:
    def __init__(self) -> None:
        self.bound: list[Any] = []

    def bind(self, wanted: Any) -> None:
        self.bound.append(wanted)


def spelled(value: Any, rename: Any, keys: Any) -> Any:
    if isinstance(value, list):
        return [spelled(each, rename, keys) for each in value]
    if isinstance(value, dict):
        return {
            rename(key) if key in keys else key: spelled(each, rename, keys) for key, each in value.items()
        }
    return value


@given(offers, st.booleans(), pods, spellings, st.dictionaries(st.sampled_from(["x", "Extra"]), anything))
def test_every_offer_is_answered(offer: Any, full: Any, pod: Any, rename: Any, extra: Any) -> None:
    request = preemption(offer, full=full, pod=pod)
    body = json.dumps(spelled(request, rename, KEYS) | extra, ensure_ascii=False).encode()
    chosen = judge_preempt(request, Answer.of(preempt(body)))
    assert set(chosen) == {name for name, (uids, _) in offer.items() if uids}
    # With what comes back the scheduler goes on to each of these nodes.
    config = {"ignorable": False}
    end = Scheduler(config, lambda verb, asked: Reply(200, preempt(body))).preempt(request)
    assert end.nodes == set(chosen)


@given(offers, st.sets(node))
def test_forbidden_nodes_and_no_others_are_left_out(offer: Any, forbidden: Any) -> None:
    request = preemption(offer, full=False)
    chosen = judge_preempt(
        request, Answer.of(preempt(json.dumps(request).encode(), lambda pod, names: forbidden))
    )
    assert set(chosen) == {name for name, (uids, _) in offer.items() if uids} - forbidden


@given(st.binary(max_size=200) | anything.map(lambda value: json.dumps(value).encode()))
@example(b'{"NodeNameToVictims":{"a":{"Pods":[{"metadata":{"uid":"\\ud800"}}]}}}')
@example(b'{"NodeNameToMetaVictims":{"a":{"Pods":[{"UID":"u","UID":null}]}}}')
@example(b'{"NodeNameToMetaVictims":' + b'{"a":' * 5000 + b"1" + b"}" * 5001)
def test_preempt_reads_or_refuses(body: bytes) -> None:
    try:
        result = json.loads(preempt(body))
    except (MalformedBody, BodyTooLarge):
        return
    assert all(pod["UID"] for each in result["NodeNameToMetaVictims"].values() for pod in each["Pods"])


@given(
    st.fixed_dictionaries(
        dict.fromkeys(PARTS, st.sampled_from(["web-0", "n1", "6b2e", "a.b"]) | text | scalars),
        optional={"x": anything},
    ),
    spellings,
)
def test_bind_binds_what_was_named_or_refuses(request_: Any, rename: Any) -> None:
    spy = Spy()
    body = json.dumps(spelled(request_, rename, PARTS), ensure_ascii=False).encode()
    try:
        answer = BindVerb(binder=spy, count=print).answer(body)
    except MalformedBody:
        assert not spy.bound
        return
    assert judge_bind(Answer.of(answer)) == ""
    (bound,) = spy.bound
    assert (bound.pod, bound.namespace, bound.uid, bound.node) == tuple(request_[part] for part in PARTS)
    assert "/" not in bound.pod + bound.namespace + bound.node


@given(st.binary(max_size=200) | anything.map(lambda value: json.dumps(value).encode()))
def test_bind_never_binds_what_it_can_not_read(body: bytes) -> None:
    spy = Spy()
    try:
        BindVerb(binder=spy, count=print).answer(body)
    except MalformedBody:
        assert not spy.bound
