from __future__ import annotations

import json
from typing import Any

import pytest

from aicsched.errors import MalformedBody
from aicsched.extender.podrequest import DEFAULT_DURATION_S, DEFAULT_VCPUS, PodRequest, read_pod_request
from aicsched.extender.wire import decode_args, decode_pod, encode_filter_result, offered_names
from tests.extender_kit import args_by_name, args_full, offered


def body(value: Any) -> Any:
    return json.dumps(value).encode()


def pod_request(pod: Any) -> Any:
    return read_pod_request(decode_pod(decode_args(body(args_by_name("n", pod=pod)))))


def container(cpu: Any, **more: Any) -> Any:
    return {"name": "c", "resources": {"requests": {"cpu": cpu, "memory": "1Gi"}}, **more}


def test_names_are_read_in_the_order_offered() -> None:
    args = decode_args(body(args_by_name("b", "a", "b")))
    assert args.by_name
    assert offered_names(args) == ["b", "a", "b"]


def test_names_of_whole_nodes_are_read() -> None:
    args = decode_args(body(args_full("b", "a")))
    assert not args.by_name
    assert offered_names(args) == ["b", "a"]


@pytest.mark.parametrize("rename", [str.lower, str.upper, str.swapcase, lambda key: key[0].lower() + key[1:]])
@pytest.mark.parametrize("make", [args_by_name, args_full])
def test_keys_are_matched_in_any_case(rename: Any, make: Any) -> None:
    request = make("a", "b", pod={"metadata": {"name": "p"}})
    args = decode_args(body({rename(key): value for key, value in request.items()}))
    assert offered_names(args) == ["a", "b"]
    assert decode_pod(args).metadata.name == "p"


def test_lower_case_pod_beside_upper_case_names_is_found() -> None:
    args = decode_args(b'{"pod":{"metadata":{"name":"p"}},"NodeNames":["a"]}')
    assert decode_pod(args).metadata.name == "p"


@pytest.mark.parametrize("items", ["null", "[]"])
def test_an_empty_list_is_an_offer(items: Any) -> None:
    assert offered_names(decode_args(b'{"Nodes":{"items":%s},"NodeNames":null}' % items.encode())) == []


def test_an_empty_list_of_names_is_an_offer() -> None:
    assert offered_names(decode_args(b'{"NodeNames":[]}')) == []


@pytest.mark.parametrize(
    "bad",
    [
        b"", b"x", b"[]", b"null", b"{}", b"7", b'{"NodeNames":', b'{"Pod":{},"Nodes":null,"NodeNames":null}',
        b'{"NodeNames":["\xff"]}', b'{"Nodes":{"items":[{"metadata":{"name":"a","x":"\xff"}}]}}',
        b'{"NodeNames":' + b"[" * 100_000 + b"]" * 100_000 + b"}", b"[" * 100_000,
    ],
)  # fmt: skip
def test_what_offers_nothing_is_malformed(bad: Any) -> None:
    with pytest.raises(MalformedBody, match="no extender/v1 ExtenderArgs"):
        decode_args(bad)


@pytest.mark.parametrize(
    "bad",
    [
        b'{"NodeNames":{}}',
        b'{"NodeNames":[1]}',
        b'{"NodeNames":[null]}',
        b'{"NodeNames":"a"}',
        b'{"NodeNames":true}',
        b'{"Nodes":[]}',
        b'{"Nodes":{"items":{}}}',
        b'{"Nodes":{"items":[{}]}}',
        b'{"Nodes":{"items":[null]}}',
        b'{"Nodes":{"items":[{"metadata":{"name":3}}]}}',
    ],
)
def test_an_offer_of_other_types_is_malformed(bad: Any) -> None:
    with pytest.raises(MalformedBody, match="no extender/v1 ExtenderArgs"):
        offered_names(decode_args(bad))


def test_whole_nodes_go_back_byte_by_byte() -> None:
    nodes = b'{ "metadata":{},"items":[{"metadata":{"name":"a","n":1.50e3}, "z":"\xc3\xa9\\u00e9"}]}'
    answer = encode_filter_result(decode_args(b'{"Pod":{},"Nodes":' + nodes + b',"NodeNames":null}'))
    assert nodes in answer
    assert "NodeNames" not in json.loads(answer)


def test_requests_of_containers_add_up() -> None:
    assert pod_request({"spec": {"containers": [container("250m"), container("1500m")]}}).vcpus == 1.75


def test_the_largest_init_container_counts_where_it_is_larger() -> None:
    spec = {
        "containers": [container("1")],
        "initContainers": [container("500m"), container("3"), container("2")],
    }
    assert pod_request({"spec": spec}).vcpus == 3.0


def test_sidecars_run_beside_init_containers_and_containers() -> None:
    # The worked example of KEP-753: sidecars before an init container are up while it runs.
    spec = {
        "containers": [container("1")],
        "initContainers": [
            container("1", restartPolicy="Always"),
            container("2"),
            container("1", restartPolicy="Always"),
        ],
    }
    assert pod_request({"spec": spec}).vcpus == 3.0


def test_overhead_is_added() -> None:
    assert pod_request({"spec": {"containers": [container("1")], "overhead": {"cpu": "250m"}}}).vcpus == 1.25


def test_memory_counts_as_threads_do() -> None:
    spec = {"containers": [container("1"), container("1")], "initContainers": [container("1")]}
    assert pod_request({"spec": spec}).memory_gib == 2.0
    assert pod_request({"spec": {"containers": [{"name": "c"}]}}).memory_gib == 0.0


@pytest.mark.parametrize("cpu", [1e308, "9.3e18", "x", "-1", "0", "1e999"])
def test_a_request_that_is_none_counts_as_the_scheduler_counts_it(cpu: Any) -> None:
    assert pod_request({"spec": {"containers": [container(cpu)]}}).vcpus == DEFAULT_VCPUS


@pytest.mark.parametrize("pod", [None, {}, {"metadata": None, "spec": None}, {"spec": {"containers": [{}]}}])
def test_an_empty_pod_has_the_defaults(pod: Any) -> None:
    assert pod_request(pod) == PodRequest()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90m", 5400.0), ("2d", 172800.0), ("soon", DEFAULT_DURATION_S), ("0s", DEFAULT_DURATION_S)],
)
def test_expected_duration_comes_from_the_annotation(text: Any, seconds: Any) -> None:
    pod = {"metadata": {"annotations": {"aicsched.io/expected-duration": text}}}
    assert pod_request(pod).duration_s == seconds


@pytest.mark.parametrize("pod", [7, [], {"spec": []}, {"metadata": {"annotations": {"a": 1}}}])
def test_a_pod_of_another_shape_is_malformed(pod: Any) -> None:
    with pytest.raises(MalformedBody):
        decode_pod(decode_args(body({"Pod": pod, "NodeNames": ["a"]})))


def test_names_read_on_the_way_are_those_of_the_kept_nodes() -> None:
    for request in (args_full("a", "b"), args_full(), args_by_name("a", "b"), args_by_name()):
        text = body(request)
        for spelled in (text, text.replace(b'"Nodes"', b'"nodes"').replace(b'"NodeNames"', b'"nodenames"')):
            short, whole = (decode_args(spelled, names_only=only) for only in (True, False))
            assert offered_names(short) == offered_names(whole) == offered(request)
            assert (short.by_name, short.pod) == (whole.by_name, whole.pod)


def test_a_client_cannot_name_nodes_beside_those_it_sends() -> None:
    text = body(args_full("a") | {"named": ["x"]})
    assert [offered_names(decode_args(text, names_only=only)) for only in (True, False)] == [["a"], ["a"]]


@pytest.mark.parametrize(
    "nodes", ['{"items":[{}]}', '{"items":[{"metadata":{"name":7}}]}', '{"items":7}', "[]", "7"]
)
def test_nodes_without_names_are_refused_either_way(nodes: str) -> None:
    text = f'{{"Pod":{{}},"Nodes":{nodes},"NodeNames":null}}'.encode()
    for only in (True, False):
        with pytest.raises(MalformedBody):
            offered_names(decode_args(text, names_only=only))
