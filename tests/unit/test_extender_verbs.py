"""Bodies of bind and preempt: what is read, what is refused, what goes back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aicsched.errors import BodyTooLarge, MalformedBody
from aicsched.extender.verbs.bind import decode_binding
from aicsched.extender.verbs.preempt import preempt
from tests.extender_kit import Answer, judge_preempt, preemption

BINDING = {"PodName": "web-0", "PodNamespace": "shop", "PodUID": "6b2e-1", "Node": "n1.example"}
CASES = [str.lower, str.upper, str.swapcase, lambda key: key[0].lower() + key[1:]]


def body(value: Any) -> bytes:
    return json.dumps(value).encode()


@pytest.mark.parametrize("rename", [str, *CASES])
def test_a_binding_is_read_in_any_case(rename: Any) -> None:
    read = decode_binding(body({rename(key): value for key, value in BINDING.items()} | {"x": [1]}))
    assert (read.namespace, read.pod, read.uid, read.node) == ("shop", "web-0", "6b2e-1", "n1.example")


@pytest.mark.parametrize("key", BINDING)
@pytest.mark.parametrize("value", [None, "", 7, "..", "a/b", "../x", "a..b", "A B", "é", "n" * 254, "a\n"])
def test_a_part_that_is_no_name_is_refused(key: str, value: Any) -> None:
    if key == "PodUID" and value in {"..", "a/b", "../x", "a..b"}:
        return  # a uid is no part of a path
    with pytest.raises(MalformedBody, match="ExtenderBindingArgs"):
        decode_binding(body(BINDING | {key: value}))


@pytest.mark.parametrize("key", BINDING)
def test_a_part_that_is_missing_is_refused(key: str) -> None:
    with pytest.raises(MalformedBody, match=f"`{key}`"):
        decode_binding(body({name: value for name, value in BINDING.items() if name != key}))


@pytest.mark.parametrize(
    "bad", [b"", b"{", b"[]", b"null", b"7", b"\xff", b"[" * 100_000, b'{"Node":"\\ud800"}']
)
def test_what_is_no_object_is_refused(bad: bytes) -> None:
    with pytest.raises(MalformedBody, match="ExtenderBindingArgs"):
        decode_binding(bad)
    with pytest.raises(MalformedBody, match="ExtenderPreemptionArgs"):
        preempt(bad)


OFFER = {"a": (["u1", "u2"], 0), "b": (["u3"], 2), "é": (["u4"], -1)}


@pytest.mark.parametrize("full", [False, True])
def test_all_candidates_go_back_by_uid(full: Any) -> None:
    request = preemption(OFFER, full=full)
    answer = judge_preempt(request, Answer.of(preempt(body(request))))
    assert answer == {
        node: {"Pods": [{"UID": uid} for uid in uids], "NumPDBViolations": breaks}
        for node, (uids, breaks) in OFFER.items()
    }


@pytest.mark.parametrize("full", [False, True])
def test_forbidden_candidates_stay_out_and_the_others_in(full: Any) -> None:
    request = preemption(OFFER, full=full)
    seen = []

    def refused(pod: Any, names: Any) -> Any:
        seen.append((json.loads(bytes(pod))["metadata"]["name"], names))
        return ["b", "unknown"]

    assert set(judge_preempt(request, Answer.of(preempt(body(request), refused)))) == {"a", "é"}
    assert seen == [("p", ("a", "b", "é"))]


@pytest.mark.parametrize("full", [False, True])
def test_a_candidate_without_victims_does_not_spoil_the_others(full: Any) -> None:
    request = preemption(OFFER | {"c": ([], 0)}, full=full)
    key = "NodeNameToVictims" if full else "NodeNameToMetaVictims"
    request[key]["d"] = None
    request[key]["e"] = {"Pods": None, "NumPDBViolations": 0}
    assert set(json.loads(preempt(body(request)))["NodeNameToMetaVictims"]) == set(OFFER)


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("rename", CASES)
def test_candidates_are_read_in_any_case(full: Any, rename: Any) -> None:
    keys = {"Pod", "NodeNameToVictims", "NodeNameToMetaVictims", "Pods", "NumPDBViolations", "UID", "uid"}
    request = preemption(OFFER, full=full)

    def renamed(value: Any) -> Any:
        if isinstance(value, list):
            return [renamed(each) for each in value]
        if isinstance(value, dict):
            return {rename(key) if key in keys else key: renamed(each) for key, each in value.items()}
        return value

    assert preempt(body(renamed(request))) == preempt(body(request))


def test_no_candidate_is_an_answer() -> None:
    assert preempt(b'{"Pod":null,"NodeNameToVictims":null,"NodeNameToMetaVictims":{}}') == (
        b'{"NodeNameToMetaVictims":{}}'
    )


@pytest.mark.parametrize(
    "offer",
    [
        None, [], 7, {"a": []}, {"a": {"Pods": {}}}, {"a": {"Pods": [None]}}, {"a": {"Pods": [{}]}},
        {"a": {"Pods": [{"UID": ""}]}}, {"a": {"Pods": [{"UID": 7}]}},
        {"a": {"Pods": [{"UID": "u"}], "NumPDBViolations": "1"}},
        {"a": {"Pods": [{"UID": "u"}], "NumPDBViolations": 2**63}},
    ],
)  # fmt: skip
def test_an_offer_of_other_types_is_malformed(offer: Any) -> None:
    with pytest.raises(MalformedBody, match="ExtenderPreemptionArgs"):
        preempt(body({"Pod": {}, "NodeNameToVictims": None, "NodeNameToMetaVictims": offer}))


def test_a_crowd_of_victims_is_refused_before_it_is_decoded() -> None:
    many = b",".join([b'{"UID":"a"}'] * 100_001)
    with pytest.raises(BodyTooLarge):
        preempt(b'{"Pod":{},"NodeNameToVictims":null,"NodeNameToMetaVictims":{"a":{"Pods":[' + many + b"]}}}")


def test_a_large_body_in_another_spelling_is_refused() -> None:
    request = {"nodenametometavictims": {"a": {"pods": [{"uid": "u"}]}}, "pad": "x" * 2**20}
    with pytest.raises(MalformedBody):
        preempt(body(request))
