"""The commands in docs/extender-api.md give the answers that stand there."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from aicsched.extender.app import ExtenderApp
from aicsched.extender.explain import influence
from aicsched.extender.sample import sample_snapshot
from aicsched.extender.snapshot import SnapshotHolder
from tests.extender_kit import Client

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "extender-api.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```sh\n(curl .*?)```\n\n```(json|text)\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture(scope="module")
def client() -> Client:
    snapshot = sample_snapshot()
    return Client(ExtenderApp(SnapshotHolder(snapshot), now_s=lambda: snapshot.issued_at_s))


def asked(client: Client, command: str) -> Any:
    """Do what a curl command does."""
    words = shlex.split(command)
    headers, body, url = [], b"", ""
    while words:
        word = words.pop(0)
        if word == "-H":
            name, value = words.pop(0).split(": ")
            headers.append((name.lower().encode(), value.encode()))
        elif word == "-d":
            body = words.pop(0).encode()
        elif word.startswith("http"):
            url = word
        else:
            assert word in {"curl", "-s"}, word
    parts = urlsplit(url)
    assert parts.netloc == "127.0.0.1:8888"
    method = "POST" if body else "GET"
    return client.request(method, parts.path, body, headers=headers, query=parts.query.encode())


def shown_in(shown: Any, actual: Any) -> bool:
    """Tell whether what is shown is a part of the answer, rounded."""
    if isinstance(shown, dict):
        return all(key in actual and shown_in(value, actual[key]) for key, value in shown.items())
    if isinstance(shown, list):
        return len(shown) == len(actual) and all(map(shown_in, shown, actual))
    if isinstance(shown, float):
        return actual == pytest.approx(shown, rel=5e-3)
    return shown == actual


def test_the_page_has_commands_of_all_kinds() -> None:
    assert len(BLOCKS) == len(re.findall(r"^curl ", PAGE, re.MULTILINE)) == 6


def test_the_commands_give_what_the_page_shows(client: Client) -> None:
    for command, kind, shown in BLOCKS:
        answer = asked(client, command)
        if kind == "json":
            assert shown_in(json.loads(shown), answer.json), (command, answer.json)
        else:
            assert answer.body.decode() == shown


def test_the_comparison_sees_differences() -> None:
    assert not shown_in({"a": [1.0]}, {"a": [1.1]})
    assert not shown_in({"a": 1}, {})
    assert not shown_in([1], [1, 2])


def test_the_table_of_weights_is_true() -> None:
    rows = re.findall(r"^\| (\d+) \| ([\d,]+) \| (\d+) % \|$", PAGE, re.MULTILINE)
    assert [int(weight) for weight, _, _ in rows] == [1, 3, 5, 12]
    for weight, points, share in rows:
        (worth,) = influence((int(weight),))
        assert worth.points == int(points.replace(",", ""))
        assert round(100 * worth.share) == int(share)
