"""What tests of commands share: run one as a user does, and take what it says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aicsched.cli import main

__all__ = ["answer", "run"]


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Return the exit code, and what was printed and complained."""
    with pytest.raises(SystemExit) as left:
        main(list(arguments))
    shown = capsys.readouterr()
    return int(left.value.code or 0), shown.out, shown.err


def answer(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> Any:
    """Return the JSON document that a command prints."""
    done, out, err = run(capsys, *arguments, "--json")
    assert done == code, err
    return json.loads(out)
