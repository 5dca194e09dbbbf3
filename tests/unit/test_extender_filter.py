"""Filter's answers where nodes fail: what passes goes back as it came, in the mode that was asked."""

from __future__ import annotations

import json

from aicsched.extender.wire import decode_args, encode_filter_result, offered_names

FULL = (
    b'{"Pod":{},"NodeNames":null,"Nodes":{"metadata":{"resourceVersion":"9"},"items":['
    b'{"metadata":{"name":"a","uid":"1"},"spec":{"x":1.50}},{"metadata":{"name":"b"}},{"metadata":{"name":"c"}}]}}'
)


def test_names_that_fail_are_left_out_and_told() -> None:
    args = decode_args(b'{"Pod":{},"Nodes":null,"NodeNames":["a","b","c"]}')
    names = offered_names(args)
    told = json.loads(encode_filter_result(args, names, {"b": "why"}, {"c": "never"}))
    assert told == {
        "NodeNames": ["a"],
        "FailedNodes": {"b": "why"},
        "FailedAndUnresolvableNodes": {"c": "never"},
        "Error": "",
    }
    everybody = json.loads(encode_filter_result(args, names, {}, dict.fromkeys("abc", "no")))
    assert everybody["NodeNames"] == []
    assert "Nodes" not in everybody


def test_whole_nodes_that_pass_go_back_byte_by_byte() -> None:
    args = decode_args(FULL)
    answer = encode_filter_result(args, offered_names(args), {}, {"b": "no"})
    assert b'{"metadata":{"name":"a","uid":"1"},"spec":{"x":1.50}}' in answer
    told = json.loads(answer)
    assert [item["metadata"]["name"] for item in told["Nodes"]["items"]] == ["a", "c"]
    assert "NodeNames" not in told
    unchanged = json.loads(encode_filter_result(args, offered_names(args)))
    assert unchanged["Nodes"]["metadata"] == {"resourceVersion": "9"}
