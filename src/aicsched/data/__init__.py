"""Packaged tables: every number with its unit, its range and its source.

``SOURCES.toml`` says for each source what it is, under which licence, from which
year, and which tables draw on it.
"""

from __future__ import annotations

import csv
import tomllib
from functools import cache
from importlib import resources
from typing import Any

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

    Examples
    --------
    >>> load_table("emission_factors")[0]["fuel"]
    'coal'
    """
    text = resources.files(__name__).joinpath("tables", f"{name}.csv").read_text(encoding="utf-8")
    return tuple(csv.DictReader(text.splitlines()))


def table_names() -> tuple[str, ...]:
    """List the packaged tables.

    Returns
    -------
    tuple of str
        Sorted, without ``.csv``.
    """
    folder = resources.files(__name__).joinpath("tables")
    return tuple(sorted(item.name.removesuffix(".csv") for item in folder.iterdir() if item.name.endswith(".csv")))


@cache
def sources() -> dict[str, Any]:
    """Return where the numbers come from.

    Returns
    -------
    dict
        Per source id: title, licence, year, tables and notes.
    """
    text = resources.files(__name__).joinpath("SOURCES.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)
