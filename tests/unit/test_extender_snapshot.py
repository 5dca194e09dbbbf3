from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from aicsched.errors import ConfigError
from aicsched.extender.podrequest import PodRequest
from aicsched.extender.snapshot import SnapshotHolder
from tests.extender_kit import snapshot_of


def scores(snapshot: Any, *names: Any) -> Any:
    rows = json.loads(snapshot.prioritize(names, PodRequest(vcpus=1.0)))
    return {row["Host"]: row["Score"] for row in rows}


def test_levels_depend_only_on_what_is_offered() -> None:
    snapshot = snapshot_of({"a": 10.0, "b": 20.0, "c": 999.0})
    assert scores(snapshot, "b", "a") == {"b": 0, "a": 10}


def test_the_order_of_the_offer_changes_no_score() -> None:
    snapshot = snapshot_of({"a": 10.0, "b": 20.0, "c": 20.0, "d": 90.0})
    assert scores(snapshot, "a", "b", "c", "d") == scores(snapshot, "d", "c", "b", "a")


def test_unknown_nodes_are_neutral_and_answered() -> None:
    assert scores(snapshot_of({"a": 1.0, "b": 2.0}), "x", "a", "y", "b") == {"a": 10, "b": 0, "x": 5, "y": 5}


def test_only_unknown_nodes() -> None:
    assert scores(snapshot_of({"a": 1.0}), "x", "y") == {"x": 5, "y": 5}
    assert scores(snapshot_of({}), "x") == {"x": 5}


def test_no_node_is_an_empty_list() -> None:
    assert snapshot_of({"a": 1.0}).prioritize([], PodRequest()) == b"[]"


def test_a_node_offered_twice_is_answered_once() -> None:
    rows = json.loads(snapshot_of({"a": 1.0, "b": 2.0}).prioritize(["b", "a", "b", "x", "x"], PodRequest()))
    assert [row["Host"] for row in rows] == ["b", "a", "x"]


def test_names_that_need_escapes_come_back_whole() -> None:
    odd = ('q"uote', "back\\slash", "line\nfeed", "ünï", "\x00", "", "名" * 80)
    assert scores(snapshot_of({name: float(at) for at, name in enumerate(odd)}), *odd).keys() == set(odd)


def test_a_snapshot_refuses_a_name_twice() -> None:
    with pytest.raises(ConfigError, match="'a' appears twice"):
        snapshot_of({}, names=("a", "b", "a"))


def test_a_snapshot_cannot_be_changed() -> None:
    snapshot = snapshot_of({"a": 1.0}, sources={"s": 1.0})
    with pytest.raises(AttributeError):
        snapshot.names = ()
    with pytest.raises(TypeError):
        snapshot.sources["s"] = 2.0
    with pytest.raises(ValueError):
        snapshot.rows[0, 0] = 0


def test_locate_marks_unknown_nodes() -> None:
    assert np.array_equal(snapshot_of({"a": 1.0, "b": 2.0}).locate(["b", "x", "a"]), [1, -1, 0])


def test_the_holder_swaps_whole_snapshots() -> None:
    holder = SnapshotHolder()
    assert holder.current is None
    first = snapshot_of({"a": 1.0})
    holder.replace(first)
    assert holder.current is first
