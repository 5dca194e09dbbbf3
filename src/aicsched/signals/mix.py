"""A carbon source over what generated: what EIA-930 and ENTSO-E share beside the rules of their mix."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Final

from aicsched.domain.carbon import EmissionScope, IntensityKind
from aicsched.errors import SlotError
from aicsched.signals.base import refuse_unknown_zone
from aicsched.signals.clock import SystemClock
from aicsched.signals.generation import factors_of, join_rows, lay_generation, own_mark
from aicsched.slots import HOUR_S, SlotGrid, format_time

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aicsched.domain.carbon import CarbonSeries
    from aicsched.domain.source_mix import SourceMix
    from aicsched.signals.clock import Clock
    from aicsched.signals.generation import Generation, GenerationRows

__all__ = ["MixCarbon"]

_HISTORY_S: Final = 72 * HOUR_S


class MixCarbon(ABC):
    """Average intensity from reported generation by fuel.

    Parameters
    ----------
    scope : EmissionScope or str
        Factors over the life cycle, or of burning only.
    factors_g_per_kwh : mapping of str to float, optional
        By fuel, in place of the packaged ones.
    clock : Clock, optional
        What tells the time.

    Raises
    ------
    ConfigError
        There is no such scope or fuel.
    """

    kind: Final = IntensityKind.AVERAGE

    _name: ClassVar[str]
    """Of the reporter."""
    _known: ClassVar[tuple[str, ...]]
    """Its zones."""
    _fuels: ClassVar[Mapping[str, str]]
    """From its codes to fuels or storage."""
    _least_s: ClassVar[int]
    """The shortest slots that it reports [s]."""
    _context_s: ClassVar[int]
    """What is read before a window, to know which fuels there are [s]."""
    _in_words: ClassVar[str]
    """What its slots are called."""

    def __init__(
        self,
        *,
        scope: EmissionScope | str,
        factors_g_per_kwh: Mapping[str, float] | None,
        clock: Clock | None,
    ) -> None:
        self._factors = factors_of(scope, factors_g_per_kwh)
        self.scope: Final = EmissionScope(scope)
        self._own = own_mark(factors_g_per_kwh)
        self._clock: Clock = clock or SystemClock()

    @property
    def source_id(self) -> str:
        """Who says so, and by which factors."""
        return f"{self._name}:{self.scope}{self._own}"

    def zones(self) -> tuple[str, ...]:
        """List the zones.

        Returns
        -------
        tuple of str
            By the reporter's names.
        """
        return self._known

    def read(self, zone: str, window: SlotGrid | None = None) -> CarbonSeries:
        """Return a zone's intensity.

        Parameters
        ----------
        zone : str
            One of `zones`.
        window : SlotGrid, optional
            Of the reporter's slots or whole multiples of them; by default the last 72 hours, hourly. What
            isn't reported yet is NaN.

        Returns
        -------
        CarbonSeries
            Actual, or estimated where a small fuel is missing or a slot is known in part.

        Raises
        ------
        UnknownZone
            There is no such zone.
        SlotError
            The slots are shorter than what is reported, or lie across it.
        SignalGap
            Nothing was reported in the window, or a large fuel is missing throughout.
        SourceUnavailable
            The reporter can't be reached.
        SignalInvalid
            What came is not what is documented.
        ConfigError
            The token is refused.
        """
        part, generation, flags = self._read(zone, window)
        return generation.intensity(
            part,
            factors_g_per_kwh=self._factors,
            zone=zone,
            source=f"{self.source_id}#{zone}",
            now_s=self._clock.now_s(),
            flags=flags,
        )

    def read_mix(self, zone: str, window: SlotGrid | None = None) -> SourceMix:
        """Return a zone's generation by fuel.

        Parameters
        ----------
        zone : str
            One of `zones`.
        window : SlotGrid, optional
            As for `read`.

        Returns
        -------
        SourceMix
            As forecasts take it, storage left out.

        Raises
        ------
        UnknownZone, SlotError, SourceUnavailable, SignalInvalid, ConfigError
            As `read`.
        """
        part, generation, _ = self._read(zone, window)
        return generation.window(part).mix(f"{self.source_id}#{zone}")

    def _read(self, zone: str, window: SlotGrid | None) -> tuple[SlotGrid, Generation, tuple[str, ...]]:
        refuse_unknown_zone(zone, self.zones(), self.source_id)
        end_s = int(self._clock.now_s()) // HOUR_S * HOUR_S
        part = SlotGrid(end_s - _HISTORY_S, HOUR_S, _HISTORY_S // HOUR_S) if window is None else window
        if part.step_s % self._least_s or part.start_s % self._least_s:
            slots = f"slots of {part.step_s} s from {format_time(part.start_s)}"
            msg = f"{self.source_id}: {slots} are no whole {self._in_words}"
            raise SlotError(msg, hint=f"ask for {self._in_words}, or better for hours", value=part)
        before = -(-self._context_s // part.step_s)
        whole = SlotGrid(part.start_s - before * part.step_s, part.step_s, before + len(part))
        rows, flags = self._fetch(zone, whole) if len(part) else (join_rows([]), ())
        where = f"{self.source_id} {zone}"
        return part, lay_generation(rows, whole, fuel_of=self._fuels, where=where), flags

    @abstractmethod
    def _fetch(self, zone: str, grid: SlotGrid) -> tuple[GenerationRows, tuple[str, ...]]:
        """Return what was reported of a zone in all of a grid, and flags of the answers."""
