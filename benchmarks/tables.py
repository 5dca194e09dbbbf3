"""Wide tables of results, as markdown: one row a method or case, one column a measure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NOT_KNOWN = "–"
_DIGITS = ((1000, 0), (100, 1), (1, 2), (0.1, 3), (0, 4))


class Table(NamedTuple):
    """Cells with their headings.

    Parameters
    ----------
    title : str
        Above it; empty for none.
    columns : tuple of str
        Headings with units; the first is of the rows' names.
    rows : list of tuple
        A name and values: floats, texts, or None where nothing is known.
    note : str
        Below the title: what a reader must know.
    """

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    note: str = ""


def cell(value: object) -> str:
    """Write one value.

    Parameters
    ----------
    value : object
        A float gets as many digits as tell something.

    Returns
    -------
    str
        A dash for None and NaN.
    """
    if value is None or value != value:  # noqa: PLR0124 - NaN is not itself
        return NOT_KNOWN
    if isinstance(value, float):
        if value != 0 and not 1e-3 <= abs(value) < 1e5:
            return f"{value:.2e}"
        size = abs(value)
        # Three or four digits, whatever the size.
        digits = next(count for least, count in _DIGITS if size >= least)
        return f"{value:.{digits}f}"
    return str(value).replace("|", "\\|")


def markdown(table: Table) -> str:
    """Write a table.

    Parameters
    ----------
    table : Table
        With at least one column.

    Returns
    -------
    str
        Lines, numbers to the right.
    """
    lines = [f"### {table.title}", ""] if table.title else []
    lines += [table.note, ""] if table.note else []
    lines.append("| " + " | ".join(table.columns) + " |")
    lines.append("|---|" + "---:|" * (len(table.columns) - 1))
    lines += ["| " + " | ".join(cell(value) for value in row) + " |" for row in table.rows]
    return "\n".join(lines) + "\n"


def tables_of(results: Mapping[str, Any], title: str = "") -> list[Table]:
    """Lay nested results out as wide tables.

    Parameters
    ----------
    results : mapping
        Values, or mappings of them, as deep as need be.
    title : str
        Of the outermost table.

    Returns
    -------
    list of Table
        Mappings that hold values only become the rows of one table, deeper ones tables of their own.
    """
    alone = {name: value for name, value in results.items() if not isinstance(value, dict)}
    flat = {name: value for name, value in results.items() if _is_flat(value)}
    made: list[Table] = []
    if alone:
        made.append(Table(title, ("", *alone), [("all", *alone.values())]))
    for group in _alike(flat):
        columns = list(dict.fromkeys(key for value in group.values() for key in value))
        rows = [(name, *(value.get(column) for column in columns)) for name, value in group.items()]
        made.append(Table(title, ("case", *columns), rows))
    for name, value in results.items():
        if isinstance(value, dict) and name not in flat:
            made += tables_of(value, f"{title} / {name}" if title else name)
    return made


def _alike(cases: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Mapping[str, Any]]]:
    """Group cases that share half of the measures of the smaller one: tables of dashes tell nothing."""
    groups: list[dict[str, Mapping[str, Any]]] = []
    for name, values in cases.items():
        for group in groups:
            known = {key for value in group.values() for key in value}
            if 2 * len(known & values.keys()) >= min(len(known), len(values)):
                group[name] = values
                break
        else:
            groups.append({name: values})
    return groups


def _is_flat(value: object) -> bool:
    return isinstance(value, dict) and not any(isinstance(item, dict) for item in value.values())


def ratios(values: Sequence[float | None], base: float | None) -> list[float | None]:
    """Divide values by one of them.

    Parameters
    ----------
    values : sequence of float or None
        Of one measure.
    base : float or None
        Of the method that the others are compared with.

    Returns
    -------
    list of float or None
        None where one of both isn't known.
    """
    return [None if value is None or not base else value / base for value in values]
