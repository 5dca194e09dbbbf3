"""The exception tree and its suggestions."""

from __future__ import annotations

import inspect

import pytest

from aicsched import errors
from aicsched.errors import AicschedError, Infeasible, did_you_mean


def every_error() -> list[type[AicschedError]]:
    classes = [item for _, item in inspect.getmembers(errors, inspect.isclass)]
    return [item for item in classes if issubclass(item, AicschedError)]


def test_each_error_has_a_code_of_its_own_and_an_exit_code() -> None:
    codes = [item.code for item in every_error()]
    assert len(codes) == len(set(codes))
    assert {item.exit_code for item in every_error()} == {errors.BAD_INPUT, errors.UNAVAILABLE}


def test_the_tree_in_the_docstring_names_each_error() -> None:
    assert errors.__doc__ is not None
    missing = [item.__name__ for item in every_error() if item.__name__ not in errors.__doc__]
    assert missing == []


def test_everything_public_is_exported() -> None:
    public = {item.__name__ for item in every_error()} | {"AicschedWarning", "did_you_mean"}
    assert set(errors.__all__) == public


def test_a_message_ends_with_the_next_step() -> None:
    assert str(AicschedError("a is missing", hint="add it")) == "a is missing; add it"
    assert str(AicschedError("a is missing")) == "a is missing"


def test_infeasible_carries_its_constraints() -> None:
    error = Infeasible("no room", constraints=("capacity", "deadline"), value=["job-1"])
    assert error.constraints == ("capacity", "deadline")
    assert error.value == ["job-1"]


@pytest.mark.parametrize(
    ("word", "known", "expected"),
    [
        ("de", ["DE", "SE"], "did you mean DE or SE?"),
        ("CISOO", ["CISO"], "did you mean CISO?"),
        ("PJN", ["ERCO", "PJM", "DE", "SE"], "did you mean PJM, "),
        ("x", [], "none is known"),
    ],
)
def test_suggestions_start_with_the_nearest(word: str, known: list[str], expected: str) -> None:
    assert did_you_mean(word, known).startswith(expected)
