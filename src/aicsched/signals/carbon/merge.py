"""Several sources as one, by declared precedence: each slot has one source's word, never a mean of two.

The rules:

1. Sources stand in order. Each slot gets the value of the first that has a usable one: actual,
   estimated or forecast. Where none has, the first stale value, and else none.
2. The next source is asked only for the part in which slots are still without a fresh value. Where no
   window is asked for and what a source has isn't fresh, the next one says how far it knows, too: a source
   that is late or down never hides one that is up to date.
3. Sources that don't answer, or answer what can't be believed, are passed over and named in the flags.
4. Average and marginal intensity never meet: such sources are refused together.
5. Factors over the life cycle and of burning only don't meet either: where one source steps in for
   another, intensity would seem to jump. Sources say which they have (`scope`), or one says it for
   them (``scopes``); who wants both all the same says ``mixed_scopes=True``, and each series tells so.
6. Zones are the packaged table's (`aicsched.data.zones`): PJM of one source is US-MIDA-PJM of another.
   What the table doesn't have goes by the name that the source gives it, or by ``names``.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from aicsched.data.zones import grid_zone
from aicsched.domain.carbon import CarbonSeries, EmissionScope, IntensityKind, Quality, frozen_array
from aicsched.domain.flags import Flag
from aicsched.errors import (
    AicschedError,
    ConfigError,
    PluginError,
    SignalInvalid,
    SourceUnavailable,
    UnknownZone,
    did_you_mean,
)
from aicsched.signals.base import refuse_unknown_zone
from aicsched.signals.clock import SystemClock
from aicsched.signals.spans import (
    confirmed_end_s,
    joint_lag_s,
    joint_readings,
    joint_window,
    on_grid,
    widened,
)
from aicsched.signals.staleness import Staleness, newest_end_s, staleness_of
from aicsched.slots import SlotGrid

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from aicsched.signals.base import CarbonSource
    from aicsched.signals.clock import Clock

__all__ = ["MergedCarbon", "Provenance"]

_USABLE: Final = (Quality.ACTUAL, Quality.ESTIMATED, Quality.FORECAST)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Provenance:
    """Who said what in a merged series.

    Parameters
    ----------
    sources : tuple of str
        Ids of the sources, in order of precedence.
    chosen : ndarray of int8, shape (n,)
        For each slot the index of the source whose value it has, -1 for none.
    passed_over : mapping of str to AicschedError
        Sources that were asked and had no answer to be believed, with the reason.
    """

    sources: tuple[str, ...]
    chosen: NDArray[np.int8]
    passed_over: Mapping[str, AicschedError]

    def source_of(self, slot: int) -> str | None:
        """Name who said a slot's value.

        Parameters
        ----------
        slot : int
            Its index.

        Returns
        -------
        str or None
            Id of the source, None where no source has a value.
        """
        index = int(self.chosen[slot])
        return None if index < 0 else self.sources[index]


class MergedCarbon:
    """Several carbon sources as one, by precedence.

    Parameters
    ----------
    sources : sequence of CarbonSource
        The first counts most.
    names : mapping of str to mapping of str to str, optional
        By source id: what it calls a zone, where the packaged table of zones doesn't know it, for
        example ``{"watttime:co2_moer": {"US-CAL-CISO": "CAISO_NORTH"}}``.
    scopes : mapping of str to EmissionScope or str, optional
        By source id: which factors it uses, where it doesn't say itself.
    mixed_scopes : bool
        Life-cycle and direct factors may meet; each series then has the flag ``scopes-mixed``.
    clock : Clock, optional
        What tells the time.

    Raises
    ------
    ConfigError
        There is no source, two have one id, average stands beside marginal, scopes differ or aren't known.

    Examples
    --------
    >>> from aicsched.signals.carbon.sample import SampleCarbon
    >>> merged = MergedCarbon([SampleCarbon(), SampleCarbon(seed=7)])
    >>> series, provenance = merged.read_with_provenance("syn-coal")
    >>> provenance.source_of(0), series.flags
    ('sample:v1:20260301', ('merged:sample:v1:20260301=1632',))
    """

    def __init__(
        self,
        sources: Sequence[CarbonSource],
        *,
        names: Mapping[str, Mapping[str, str]] | None = None,
        scopes: Mapping[str, EmissionScope | str] | None = None,
        mixed_scopes: bool = False,
        clock: Clock | None = None,
    ) -> None:
        self._sources = tuple(sources)
        self._clock = clock or SystemClock()
        self._ids = tuple(source.source_id for source in self._sources)
        self._names = {key: dict(value) for key, value in (names or {}).items()}
        _refuse_ids(self._ids, [*self._names, *(scopes or {})])
        self._mixed_scopes = mixed_scopes
        self.kind = self._one_kind()
        self.scope = self._one_scope(scopes or {})

    @property
    def source_id(self) -> str:
        """Who says so, in order of precedence."""
        return f"merged:{'>'.join(self._ids)}"

    def zones(self) -> tuple[str, ...]:
        """List the zones that any source knows.

        Returns
        -------
        tuple of str
            Each once, by its id, those of the first source first; a source that can't be asked is
            left out.
        """
        found: dict[str, None] = {}
        for source_id, source in zip(self._ids, self._sources, strict=True):
            ours = {theirs: our for our, theirs in self._names.get(source_id, {}).items()}
            with contextlib.suppress(AicschedError):
                found |= dict.fromkeys(ours.get(zone) or _common_name(zone) for zone in source.zones())
        return tuple(found)

    def read(self, zone: str, window: SlotGrid | None = None) -> CarbonSeries:
        """Return a zone's intensity.

        Parameters
        ----------
        zone : str
            One of `zones`.
        window : SlotGrid, optional
            By default that of the first source with an answer; where that isn't fresh, to the newest slot
            that any later one knows, up to the first fresh one, in the longest of their slots.

        Returns
        -------
        CarbonSeries
            Its flags name each source that has a part in it (``"merged:ID=SLOTS"``) and each that
            was passed over (``"unavailable:ID=CODE"``).

        Raises
        ------
        UnknownZone
            No source knows the zone.
        ConfigError
            A source answered with the other kind of intensity.
        AicschedError
            No source has any value; where all of them agree, their own error.
        """
        return self.read_with_provenance(zone, window)[0]

    def read_with_provenance(
        self, zone: str, window: SlotGrid | None = None
    ) -> tuple[CarbonSeries, Provenance]:
        """Return a zone's intensity, and who said which slot of it.

        Parameters
        ----------
        zone : str
            One of `zones`.
        window : SlotGrid, optional
            By default that of the first source with an answer; where that isn't fresh, to the newest slot
            that any later one knows, up to the first fresh one, in the longest of their slots.

        Returns
        -------
        CarbonSeries
            As `read`.
        Provenance
            Slot by slot.

        Raises
        ------
        UnknownZone, ConfigError, AicschedError
            As `read`.
        """
        failures: dict[str, AicschedError] = {}
        whole: dict[int, CarbonSeries] = {}
        if window is None:
            whole = self._whole(zone, failures)
            window = joint_window([series.slots for series in whole.values()]) if whole else None
        answers = {} if window is None else self._answers(zone, window, whole, failures)
        if window is None or not answers:
            if not failures:
                refuse_unknown_zone(zone, [each for each in self.zones() if each != zone], self.source_id)
            raise _no_answer(zone, self.source_id, failures)
        chosen = frozen_array(_chosen(answers, len(window)), np.int8)
        provenance = Provenance(sources=self._ids, chosen=chosen, passed_over=failures)
        return self._merged(zone, window, answers, provenance), provenance

    def _whole(self, zone: str, failures: dict[str, AicschedError]) -> dict[int, CarbonSeries]:
        """Ask for all that is known, source by source, until one is fresh.

        A source with other slots than those before it counts only where it knows more.
        """
        now_s = self._clock.now_s()
        whole: dict[int, CarbonSeries] = {}
        best_s: int | None = None
        for index in range(len(self._sources)):
            series = self._answer(index, zone, None, failures)
            if series is None:
                continue
            end_s = confirmed_end_s(series)
            more = end_s is not None and (best_s is None or end_s > best_s)
            if more or series.slots.step_s in {each.slots.step_s for each in whole.values()} or not whole:
                whole[index] = series
            best_s = end_s if more else best_s
            if end_s == newest_end_s(series) and staleness_of(series, now_s) is Staleness.FRESH:
                break
        return whole

    def _answers(
        self,
        zone: str,
        window: SlotGrid,
        whole: dict[int, CarbonSeries],
        failures: dict[str, AicschedError],
    ) -> dict[int, CarbonSeries]:
        """Lay on the window what each source says, as far as it is needed."""
        answers: dict[int, CarbonSeries] = {}
        part = window
        for index, source_id in enumerate(self._ids):
            if source_id in failures:
                continue
            if index in whole:
                series = on_grid(whole[index], window, int(self._clock.now_s()))
            else:
                series = self._answer(index, zone, part, failures)
            if series is None:
                continue
            answers[index] = widened(series, window)
            chosen = _chosen(answers, len(window))
            lacking = np.flatnonzero((chosen < 0) | _is_stale(answers, chosen))
            if not len(lacking):
                break
            first, last = int(lacking[0]), int(lacking[-1])
            part = SlotGrid(window.start_s + first * window.step_s, window.step_s, last - first + 1)
        return answers

    def _answer(
        self, index: int, zone: str, window: SlotGrid | None, failures: dict[str, AicschedError]
    ) -> CarbonSeries | None:
        """Ask one source; None where it doesn't know the zone, or failed, which is written down."""
        try:
            series = self._ask(index, zone, window)
        except UnknownZone:
            return None
        except AicschedError as error:
            failures[self._ids[index]] = error
            return None
        self._refuse_other_kind(series, self._ids[index])
        return series

    def _ask(self, index: int, zone: str, window: SlotGrid | None) -> CarbonSeries:
        source, source_id = self._sources[index], self._ids[index]
        try:
            series = source.read(self._their_name(index, zone), window)
        except AicschedError:
            raise
        except Exception as error:
            msg = f"{source_id} failed with {type(error).__name__}"
            raise PluginError(msg, hint="check the source with aicsched.testing.check_source") from error
        if window is not None and series.slots != window:
            msg = f"{source_id} answered with other slots than it was asked for"
            raise SignalInvalid(msg, hint="check the source with aicsched.testing.check_source")
        return series

    def _their_name(self, index: int, zone: str) -> str:
        """Return what a source calls a zone."""
        told = self._names.get(self._ids[index], {}).get(zone)
        if told is not None:
            return told
        known = self._sources[index].zones()
        found = next((name for name in _all_names(zone) if name in known), None)
        if found is None:
            msg = f"{self._ids[index]} knows no grid zone '{zone}'"
            raise UnknownZone(msg, hint=did_you_mean(zone, known), value=zone)
        return found

    def _refuse_other_kind(self, series: CarbonSeries, source_id: str) -> None:
        if self.kind is None:
            self.kind = series.kind
        if series.kind is not self.kind:
            msg = f"{source_id} has {series.kind} intensity, and {self.source_id} is of {self.kind}"
            raise ConfigError(msg, hint="merge sources of one kind only", value=str(series.kind))

    def _merged(
        self, zone: str, window: SlotGrid, answers: dict[int, CarbonSeries], provenance: Provenance
    ) -> CarbonSeries:
        values, quality = np.full(len(window), np.nan), np.full(len(window), Quality.MISSING, dtype=np.int8)
        used = {index: provenance.chosen == index for index in answers}
        for index, here in reversed(used.items()):
            told = np.asarray(answers[index].quality)
            # Where nobody has a value, it is told that one was taken out.
            quality[(provenance.chosen < 0) & (told == Quality.QUARANTINED)] = Quality.QUARANTINED
            values[here], quality[here] = answers[index].values_g_per_kwh[here], told[here]
        parts = {index: answers[index] for index, here in used.items() if here.any()}
        flags = [Flag.MERGED.of(f"{self._ids[index]}={int(used[index].sum())}") for index in parts]
        flags += [Flag.UNAVAILABLE.of(f"{key}={error.code}") for key, error in provenance.passed_over.items()]
        flags += [Flag.SCOPES_MIXED.value] if self._mixed_scopes else []
        flags += [flag for series in parts.values() for flag in series.flags]
        return CarbonSeries(
            grid_zone=zone,
            kind=next(iter(answers.values())).kind,
            slots=window,
            values_g_per_kwh=values,
            source=f"{self.source_id}#{zone}",
            quality=quality,
            synthetic=any(series.synthetic for series in parts.values()),
            flags=tuple(dict.fromkeys(flags)),
            availability_lag_s=joint_lag_s(parts, used),
            readings=joint_readings(parts, used),
        )

    def _one_kind(self) -> IntensityKind | None:
        kinds = {
            source_id: _told(source, "kind")
            for source_id, source in zip(self._ids, self._sources, strict=True)
        }
        found = {kind for kind in kinds.values() if kind is not None}
        if len(found) > 1:
            listed = ", ".join(f"{source_id} ({kind})" for source_id, kind in kinds.items())
            msg = f"average and marginal intensity can't be merged: {listed}"
            raise ConfigError(msg, hint="merge sources of one kind only", value=listed)
        return next(iter(found), None)

    def _one_scope(self, declared: Mapping[str, EmissionScope | str]) -> EmissionScope | None:
        scopes: dict[str, EmissionScope | None] = {}
        for source_id, source in zip(self._ids, self._sources, strict=True):
            scope: Any = declared.get(source_id) or _told(source, "scope")
            if scope is not None and scope not in set(EmissionScope):
                msg = f"'{scope}' is no scope of emissions"
                raise ConfigError(msg, hint=did_you_mean(str(scope), [str(each) for each in EmissionScope]))
            scopes[source_id] = None if scope is None else EmissionScope(scope)
        if self._mixed_scopes or len(scopes) == 1:
            return next(iter(scopes.values())) if len(set(scopes.values())) == 1 else None
        unknown = [source_id for source_id, scope in scopes.items() if scope is None]
        if unknown:
            msg = f"it is not known whether {unknown[0]} counts the life cycle or burning only"
            raise ConfigError(msg, hint=f"say it: scopes={{'{unknown[0]}': 'lifecycle'}}", value=unknown)
        if len(set(scopes.values())) > 1:
            listed = ", ".join(f"{source_id} ({scope})" for source_id, scope in scopes.items())
            msg = f"sources that count the life cycle and burning only can't be merged: {listed}"
            hint = "choose sources of one scope, or say mixed_scopes=True and bear the jumps"
            raise ConfigError(msg, hint=hint, value=listed)
        return next(iter(scopes.values()))


def _refuse_ids(ids: tuple[str, ...], named: list[str]) -> None:
    if not ids:
        msg = "there is no source to merge"
        raise ConfigError(msg, hint="give at least one")
    twice = next((each for each in ids if ids.count(each) > 1), None)
    if twice is not None:
        msg = f"two sources to merge are called {twice}"
        raise ConfigError(msg, hint="give each source once", value=twice)
    for each in named:
        if each not in ids:
            msg = f"there is no source '{each}' among those to merge"
            raise ConfigError(msg, hint=did_you_mean(each, ids), value=each)


def _common_name(zone: str) -> str:
    with contextlib.suppress(UnknownZone):
        return grid_zone(zone).grid_zone
    return zone


def _all_names(zone: str) -> tuple[str, ...]:
    """Return the names of a zone, that which was asked for first."""
    try:
        found = grid_zone(zone)
    except UnknownZone:
        return (zone,)
    others = (found.grid_zone, found.eia_balancing_authority, found.entsoe_area, *found.aliases)
    return (zone, *(name for name in others if name))


def _told(source: object, name: str) -> Any:  # noqa: ANN401 - an enumeration or nothing
    """Return what a source, or the source that it wraps, says of itself."""
    while source is not None:
        found = getattr(source, name, None)
        if found is not None:
            return found
        source = getattr(source, "source", None)
    return None


def _chosen(answers: dict[int, CarbonSeries], slots: int) -> NDArray[np.int8]:
    """Choose the first source with a usable value for each slot, else the first with a stale one."""
    chosen = np.full(slots, -1, dtype=np.int8)
    for wanted in (_USABLE, (Quality.STALE,)):
        for index, series in answers.items():
            has = ~np.isnan(series.values_g_per_kwh) & np.isin(np.asarray(series.quality), wanted)
            chosen[(chosen < 0) & has] = index
    return chosen


def _is_stale(answers: dict[int, CarbonSeries], chosen: NDArray[np.int8]) -> NDArray[np.bool_]:
    stale = np.zeros(len(chosen), dtype=np.bool_)
    for index, series in answers.items():
        stale |= (chosen == index) & (np.asarray(series.quality) == Quality.STALE)
    return stale


def _no_answer(zone: str, source_id: str, failures: dict[str, AicschedError]) -> AicschedError:
    errors = list(failures.values())
    if len(errors) == 1:
        return errors[0]
    reasons = "; ".join(f"{key}: {error.message}" for key, error in failures.items())
    msg = f"no source has a value of zone {zone} ({reasons})"
    one_kind = {type(error) for error in errors}
    made = one_kind.pop() if len(one_kind) == 1 else SourceUnavailable
    return made(msg, hint=errors[0].hint, value=source_id)
