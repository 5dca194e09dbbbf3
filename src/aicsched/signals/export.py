"""Readings as rows and files, which `FileCarbon` reads again."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from aicsched.domain.carbon import IntensityKind, Quality
from aicsched.errors import OutputError
from aicsched.files import write_bytes
from aicsched.slots import format_time

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from aicsched.domain.carbon import CarbonSeries
    from aicsched.signals.carbon.merge import Provenance

__all__ = ["ReadingRow", "reading_rows", "write_readings"]


@dataclass(frozen=True, slots=True)
class ReadingRow:
    """One reading of one slot.

    Parameters
    ----------
    grid_zone : str
        The electricity zone.
    start_s : int
        Start of the slot, seconds since the epoch.
    ci_g_per_kwh : float
        Intensity [g/kWh].
    kind : IntensityKind
        Average or marginal.
    quality : Quality
        Where it comes from.
    read_s : int
        When it was read, seconds since the epoch.
    source : str
        Id of the source.
    synthetic : bool
        True when it was made up.
    """

    grid_zone: str
    start_s: int
    ci_g_per_kwh: float
    kind: IntensityKind
    quality: Quality
    read_s: int
    source: str
    synthetic: bool = False

    def facts(self) -> dict[str, Any]:
        """Return plain values.

        Returns
        -------
        dict
            ``grid_zone``, ``time``, ``ci_g_per_kwh``, ``kind``, ``quality``, ``reading_time``, ``source``,
            ``synthetic``.
        """
        return {
            "grid_zone": self.grid_zone,
            "time": format_time(self.start_s),
            "ci_g_per_kwh": self.ci_g_per_kwh,
            "kind": str(self.kind),
            "quality": self.quality.name.lower(),
            "reading_time": format_time(self.read_s),
            "source": self.source,
            "synthetic": self.synthetic,
        }


def reading_rows(
    series: CarbonSeries, *, every: bool = False, provenance: Provenance | None = None
) -> tuple[ReadingRow, ...]:
    """List what is known of a series.

    Parameters
    ----------
    series : CarbonSeries
        With its readings.
    every : bool
        All readings, or else the newest of each slot.
    provenance : Provenance, optional
        Who said which slot, where these are several sources.

    Returns
    -------
    tuple of ReadingRow
        By slot and reading time.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from aicsched.signals.store import SignalStore
    >>> from aicsched.testing import example_series
    >>> with tempfile.TemporaryDirectory() as folder, SignalStore(Path(folder) / "signals.db") as store:
    ...     _ = store.record(example_series(zone="DE", days=1), 86_400)
    ...     rows = reading_rows(store.read("example", "DE"))
    >>> len(rows), rows[0].facts()["time"]
    (24, '2026-01-01T00:00Z')
    """
    held = series.readings
    if held is None:
        return ()
    order = np.lexsort((held.read_s, held.start_s))
    start_s = held.start_s[order]
    if not every and len(order):
        order = order[np.append(np.diff(start_s) != 0, np.True_)]
    slots = series.slots

    def said_by(start_s: int) -> str:
        told = None if provenance is None else provenance.source_of(slots.index_at(start_s))
        return told or series.source

    return tuple(
        ReadingRow(
            grid_zone=series.grid_zone,
            start_s=int(held.start_s[place]),
            ci_g_per_kwh=float(held.values_g_per_kwh[place]),
            kind=series.kind,
            quality=Quality(int(held.quality[place])),
            read_s=int(held.read_s[place]),
            source=said_by(int(held.start_s[place])),
            synthetic=series.synthetic,
        )
        for place in order.tolist()
        if slots.start_s <= held.start_s[place] < slots.end_s
    )


def write_readings(path: Path, rows: Sequence[ReadingRow]) -> Path:
    """Write readings of one kind as CSV or parquet.

    Parameters
    ----------
    path : Path
        ``.parquet`` writes parquet, anything else CSV.
    rows : sequence of ReadingRow
        Of one kind: average and marginal never share a column.

    Returns
    -------
    Path
        The same.

    Raises
    ------
    OutputError
        There is nothing to write, kinds are mixed, pyarrow is not installed, or the file can't be written.
    """
    kinds = {row.kind for row in rows}
    if len(kinds) != 1:
        what = "average and marginal readings can't share a file" if kinds else "there is no reading to write"
        raise OutputError(what, hint="choose with --kind, --zone and --at", value=str(path))
    value = "ci_g_per_kwh" if kinds == {IntensityKind.AVERAGE} else "marginal_ci_g_per_kwh"
    names = ("grid_zone", "time", value, "quality", "reading_time", "source", "synthetic")
    if path.suffix == ".parquet":
        return write_bytes(path, _parquet(names, rows))
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(names)
    for row in rows:
        facts = row.facts()
        # repr, so that what is read again is the same number.
        writer.writerow(
            (
                row.grid_zone,
                facts["time"],
                repr(row.ci_g_per_kwh),
                facts["quality"],
                facts["reading_time"],
                row.source,
                row.synthetic,
            )
        )
    return write_bytes(path, text.getvalue().encode())


def _parquet(names: tuple[str, ...], rows: Sequence[ReadingRow]) -> bytes:
    try:
        import pyarrow as pa  # noqa: PLC0415 - an extra
        from pyarrow import parquet  # noqa: PLC0415
    except ImportError as error:
        msg = "pyarrow is not installed"
        raise OutputError(msg, hint="pip install 'aicsched[parquet]', or write CSV") from error
    stamp = pa.timestamp("s", "UTC")
    columns = (
        [row.grid_zone for row in rows],
        pa.array([row.start_s for row in rows], stamp),
        [row.ci_g_per_kwh for row in rows],
        [row.quality.name.lower() for row in rows],
        pa.array([row.read_s for row in rows], stamp),
        [row.source for row in rows],
        [row.synthetic for row in rows],
    )
    sink = io.BytesIO()
    parquet.write_table(pa.table(dict(zip(names, columns, strict=True))), sink)
    return sink.getvalue()
