"""Carbon intensity out of the store: what was read before, without asking anyone."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import numpy as np

from aicsched.domain.carbon import EmissionScope, frozen_array
from aicsched.errors import InputError, UnknownZone, did_you_mean
from aicsched.signals.base import refuse_unknown_zone
from aicsched.signals.carbon.merge import MergedCarbon, Provenance
from aicsched.signals.clock import SystemClock
from aicsched.signals.known import measured
from aicsched.signals.staleness import newest_end_s

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aicsched.domain.carbon import CarbonSeries, IntensityKind
    from aicsched.signals.store import SeriesKey, SignalStore
    from aicsched.slots import SlotGrid

__all__ = ["StoredCarbon"]

_SCOPE: Final = re.compile(r":(lifecycle|direct)\b")


class _EndOfTime(SystemClock):
    """By it nothing is fresh: what is stored costs nobody a call, so that all of it is looked at."""

    def now_s(self) -> float:
        return float(2**60)


class _OneSource:
    """What the store holds of one source."""

    def __init__(
        self, store: SignalStore, source_id: str, kind: IntensityKind | None, known_at_s: int | None
    ) -> None:
        self.source_id = source_id
        self._store, self.kind, self._known_at_s = store, kind, known_at_s

    def zones(self) -> tuple[str, ...]:
        return tuple(key.grid_zone for key in self._store.series_keys() if key.source == self.source_id)

    def read(self, zone: str, window: SlotGrid | None = None) -> CarbonSeries:
        whole = self._store.read(self.source_id, zone, kind=self.kind, known_at_s=self._known_at_s)
        if not len(whole.slots):
            msg = f"the store's source '{self.source_id}' had nothing of '{zone}' by then"
            raise UnknownZone(msg, hint="ask for a later time", value=zone)
        whole = measured(whole)
        end_s = newest_end_s(whole) or whole.slots.start_s
        whole = whole.before(end_s)
        return whole if window is None else whole.window(window)


class StoredCarbon:
    """A carbon source over a store.

    Parameters
    ----------
    store : SignalStore
        Opened by the caller, for reading at least.
    order : sequence of str
        Ids of sources by precedence, or the names of settings (``"eia"``): of several that hold a zone
        each slot has the word of the first one with a value, as in `MergedCarbon`. Others are left out.
    kind : IntensityKind, optional
        Needed where a zone has both.
    known_at_s : int, optional
        Only what had been read by then, seconds since the epoch.
    scopes : mapping of str to str, optional
        By name in `order`: which factors it uses, where its id doesn't say.
    mixed_scopes : bool
        Sources of another scope than the first one's, or of an unknown one, may step in for it.

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
        scopes: Mapping[str, str] | None = None,
        mixed_scopes: bool = False,
    ) -> None:
        self._store = store
        self._order = tuple(order)
        self._kind = kind
        self._known_at_s = known_at_s
        self._scopes = dict(scopes or {})
        self._mixed_scopes = mixed_scopes

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
        return self.read_with_provenance(zone, window)[0]

    def read_with_provenance(
        self, zone: str, window: SlotGrid | None = None
    ) -> tuple[CarbonSeries, Provenance]:
        """Return a zone's intensity, and which source said which slot of it.

        Parameters
        ----------
        zone : str
            One of `zones`.
        window : SlotGrid, optional
            Part of the slots that are stored.

        Returns
        -------
        CarbonSeries
            As `read`.
        Provenance
            Slot by slot.

        Raises
        ------
        UnknownZone, InputError, SlotError
            As `read`.
        """
        refuse_unknown_zone(zone, self.zones(), self.source_id)
        ids = self._ids(zone)
        parts = [_OneSource(self._store, each, self._kind_of(zone, ids[0]), self._known_at_s) for each in ids]
        if len(parts) == 1:
            series = parts[0].read(zone, window)
            chosen = np.where(np.isnan(series.values_g_per_kwh), -1, 0)
            return series, Provenance(sources=(ids[0],), chosen=frozen_array(chosen, np.int8), passed_over={})
        names = {each: {zone: zone} for each in ids}  # a zone is stored by one name
        scopes = {each: scope for each in ids if (scope := self._scope(each)) is not None}
        merged = MergedCarbon(
            parts, names=names, scopes=scopes, mixed_scopes=self._mixed_scopes, clock=_EndOfTime()
        )
        return merged.read_with_provenance(zone, window)

    def refuse_unknown_source(self, name: str) -> None:
        """Refuse a source that the store doesn't hold, naming the nearest.

        Parameters
        ----------
        name : str
            Its id, or its name in the settings.

        Raises
        ------
        InputError
            Nothing of it is stored.
        """
        held = sorted({key.source for key in self._store.series_keys()})
        if not any(each == name or each.startswith((f"{name}:", f"{name}-")) for each in held):
            msg = f"{self.source_id} holds nothing of a source '{name}'"
            raise InputError(msg, hint=did_you_mean(name, held), value=name)

    def _ids(self, zone: str) -> list[str]:
        """Return the sources of a zone, by precedence, that may stand for one another."""
        sources = sorted({key.source for key in self._keys(zone)})
        if len(sources) == 1:
            return sources
        ranked = [each for wanted in self._order if (each := _held_as(wanted, sources)) is not None]
        if not ranked:
            msg = f"{self.source_id}: {len(sources)} sources hold '{zone}' ({', '.join(sources)})"
            hint = "say which comes first: signals.order in the settings, or --source"
            raise InputError(msg, hint=hint, value=sources)
        first = ranked[0]
        kinds = {key.source for key in self._keys(zone) if key.kind is self._kind_of(zone, first)}
        return [
            each
            for each in dict.fromkeys(ranked)
            if each == first or (each in kinds and self._may_meet(first, each))
        ]

    def _kind_of(self, zone: str, source: str) -> IntensityKind | None:
        kinds = {key.kind for key in self._keys(zone) if key.source == source}
        return self._kind or (kinds.pop() if len(kinds) == 1 else None)

    def _may_meet(self, first: str, other: str) -> bool:
        scope = self._scope(first)
        return self._mixed_scopes or (scope is not None and scope == self._scope(other))

    def _scope(self, source: str) -> EmissionScope | None:
        """Return which factors a source uses, as its id or the settings say."""
        found = _SCOPE.search(source)
        if found is not None:
            return EmissionScope(found.group(1))
        told = [scope for name, scope in self._scopes.items() if _held_as(name, [source]) is not None]
        return EmissionScope(told[0]) if told else None


def _held_as(wanted: str, sources: Sequence[str]) -> str | None:
    """Return the stored source that an id or a name of the settings means, None where that isn't one."""
    if wanted in sources:
        return wanted
    near = [each for each in sources if each.startswith((f"{wanted}:", f"{wanted}-"))]
    return near[0] if len(near) == 1 else None
