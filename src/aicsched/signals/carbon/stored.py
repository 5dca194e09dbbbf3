"""Carbon intensity out of the store: what was read before, without asking anyone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aicsched.errors import InputError, UnknownZone
from aicsched.signals.base import refuse_unknown_zone
from aicsched.signals.known import measured
from aicsched.signals.staleness import newest_end_s

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aicsched.domain.carbon import CarbonSeries, IntensityKind
    from aicsched.signals.store import SeriesKey, SignalStore
    from aicsched.slots import SlotGrid

__all__ = ["StoredCarbon"]


class StoredCarbon:
    """A carbon source over a store.

    Parameters
    ----------
    store : SignalStore
        Opened by the caller, for reading at least.
    order : sequence of str
        Ids of sources by precedence, or the names of settings (``"eia"``): of several that hold a zone the
        first one answers.
    kind : IntensityKind, optional
        Needed where a zone has both.
    known_at_s : int, optional
        Only what had been read by then, seconds since the epoch.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from aicsched.signals.store import SignalStore
    >>> from aicsched.testing import example_series
    >>> series = example_series(zone="DE")
    >>> with tempfile.TemporaryDirectory() as folder, SignalStore(Path(folder) / "signals.db") as store:
    ...     added = store.record(series, series.slots.end_s)
    ...     again = StoredCarbon(store).read("DE")
    >>> added, again.slots == series.slots
    (1008, True)
    """

    def __init__(
        self,
        store: SignalStore,
        *,
        order: Sequence[str] = (),
        kind: IntensityKind | None = None,
        known_at_s: int | None = None,
    ) -> None:
        self._store = store
        self._order = tuple(order)
        self._kind = kind
        self._known_at_s = known_at_s

    @property
    def source_id(self) -> str:
        """Which store."""
        return f"store:{self._store.path.name}"

    def _keys(self, zone: str | None = None) -> list[SeriesKey]:
        return [
            key
            for key in self._store.series_keys()
            if zone in (None, key.grid_zone) and self._kind in (None, key.kind)
        ]

    def zones(self) -> tuple[str, ...]:
        """List the zones in the store.

        Returns
        -------
        tuple of str
            Sorted.
        """
        return tuple(sorted({key.grid_zone for key in self._keys()}))

    def read(self, zone: str, window: SlotGrid | None = None) -> CarbonSeries:
        """Return a zone's intensity.

        Parameters
        ----------
        zone : str
            One of `zones`.
        window : SlotGrid, optional
            Part of the slots that are stored.

        Returns
        -------
        CarbonSeries
            With its readings; forecasts of the source are left out at the end.

        Raises
        ------
        UnknownZone
            The store doesn't hold the zone; the nearest are named.
        InputError
            Several sources hold it, and none comes first; or both kinds are there.
        SlotError
            The window is not in the store.
        """
        refuse_unknown_zone(zone, self.zones(), self.source_id)
        source = self._chosen(zone)
        whole = self._store.read(source, zone, kind=self._kind, known_at_s=self._known_at_s)
        if not len(whole.slots):
            msg = f"{self.source_id}: nothing of '{zone}' was known by then"
            raise UnknownZone(msg, hint="ask for a later time", value=zone)
        whole = measured(whole)
        end_s = newest_end_s(whole) or whole.slots.start_s
        whole = whole.before(end_s)
        return whole if window is None else whole.window(window)

    def _chosen(self, zone: str) -> str:
        sources = sorted({key.source for key in self._keys(zone)})
        if len(sources) == 1:
            return sources[0]
        for wanted in self._order:
            near = [
                source
                for source in sources
                if source == wanted or source.startswith((f"{wanted}:", f"{wanted}-"))
            ]
            if len(near) == 1:
                return near[0]
        msg = f"{self.source_id}: {len(sources)} sources hold '{zone}' ({', '.join(sources)})"
        hint = "say which comes first: signals.order in the settings, or --source"
        raise InputError(msg, hint=hint, value=sources)
