"""Packaged tables: every number with its unit, its range and its source.

``SOURCES.toml`` says for each source what it is, under which licence, from which
year, and which tables draw on it; its section ``tables`` holds each file's
SHA-256, so that no number changes unnoticed, and the range of the columns that
carry none of their own.
"""

from __future__ import annotations

import csv
import tomllib
from functools import cache
from importlib import resources
from typing import Any

from aicsched.errors import InputError, did_you_mean

__all__ = ["load_table", "sources", "table_names"]


@cache
def load_table(name: str) -> tuple[dict[str, str], ...]:
    """Read a packaged table.

    Parameters
    ----------
    name : str
        Without ``.csv``.

    Returns
    -------
    tuple of dict
        One mapping a row, all cells text.

    Raises
    ------
    InputError
        There is no such table; the nearest names are given.

    Examples
    --------
    >>> load_table("emission_factors")[0]["fuel"]
    'coal'
    """
    if name not in table_names():
        msg = f"there is no packaged table '{name}'"
        raise InputError(msg, hint=did_you_mean(name, table_names()), value=name)
    text = resources.files(__name__).joinpath("tables", f"{name}.csv").read_text(encoding="utf-8")
    return tuple(csv.DictReader(text.splitlines()))


@cache
def table_names() -> tuple[str, ...]:
    """List the packaged tables.

    Returns
    -------
    tuple of str
        Sorted, without ``.csv``.
    """
    folder = resources.files(__name__).joinpath("tables")
    names = (item.name for item in folder.iterdir())
    return tuple(sorted(name.removesuffix(".csv") for name in names if name.endswith(".csv")))


@cache
def sources() -> dict[str, Any]:
    """Return where the numbers come from.

    Returns
    -------
    dict
        Per source id: title, licence, year, tables and notes; under ``"tables"``
        per table its SHA-256 and the ranges of its columns.
    """
    text = resources.files(__name__).joinpath("SOURCES.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)
