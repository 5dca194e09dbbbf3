"""The sources that settings declare as one, in their order, with what was known before behind each."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from aicsched.errors import ConfigError, did_you_mean
from aicsched.signals.carbon.merge import MergedCarbon
from aicsched.signals.clock import SystemClock
from aicsched.signals.declared import open_declared
from aicsched.signals.live import LastKnownGood
from aicsched.slots import HOUR_S

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aicsched.config.signals import SignalSettings
    from aicsched.domain.carbon import CarbonSeries, EmissionScope
    from aicsched.signals.base import CarbonSource
    from aicsched.signals.clock import Clock
    from aicsched.signals.health import SignalHealth
    from aicsched.signals.store import SignalStore
    from aicsched.slots import SlotGrid

__all__ = ["Present", "open_merged"]


class Present:
    """A source at the present: plans and forecasts begin with the hour under way.

    Parameters
    ----------
    source : CarbonSource
        What is asked.
    clock : Clock, optional
        What tells the time.

    Examples
    --------
    >>> from aicsched.signals.carbon.sample import SAMPLE_NOW_S, SampleCarbon
    >>> class At(SystemClock):
    ...     now_s = staticmethod(lambda: SAMPLE_NOW_S + 600.0)
    >>> present = Present(SampleCarbon(), clock=At())
    >>> present.at_s == SAMPLE_NOW_S == present.read("syn-coal").slots.end_s
    True
    """

    def __init__(self, source: CarbonSource, *, clock: Clock | None = None) -> None:
        self.source = source
        self.at_s: Final = int((clock or SystemClock()).now_s()) // HOUR_S * HOUR_S

    @property
    def source_id(self) -> str:
        """Who says so."""
        return self.source.source_id

    def zones(self) -> tuple[str, ...]:
        """List the zones.

        Returns
        -------
        tuple of str
            Those of the source.
        """
        return self.source.zones()

    def read(self, zone: str, window: SlotGrid | None = None) -> CarbonSeries:
        """Return what is known of a zone by now.

        Parameters
        ----------
        zone : str
            One of `zones`.
        window : SlotGrid, optional
            By default all slots that are over when the hour under way begins.

        Returns
        -------
        CarbonSeries
            What is at hand is known to a forecast issued at `at_s`, though it was read since.

        Raises
        ------
        AicschedError
            As the source's.
        """
        series = self.source.read(zone, window)
        readings = series.readings
        if readings is not None:
            readings = replace(readings, read_s=np.minimum(readings.read_s, self.at_s))
        series = replace(series, readings=readings)
        return series if window is not None else series.before(self.at_s)


def open_merged(
    settings: SignalSettings,
    *,
    store: SignalStore | None = None,
    clock: Clock | None = None,
    scopes: Mapping[str, EmissionScope | str] | None = None,
    mixed_scopes: bool = False,
    health: SignalHealth | None = None,
) -> MergedCarbon:
    """Open all sources of ``signals.order`` as one, by that precedence.

    Parameters
    ----------
    settings : SignalSettings
        With at least one source.
    store : SignalStore, optional
        Where each source's last known good values are kept; without it a source that is down says
        nothing.
    clock : Clock, optional
        What tells the time.
    scopes : mapping of str to EmissionScope or str, optional
        By name of the source (``"file"``): which factors it uses, where neither it nor the settings say.
    mixed_scopes : bool
        Life-cycle and direct factors may meet, as ``signals.mixed_scopes`` of the settings allows too.
    health : SignalHealth, optional
        Counts the reads of all sources that have a store, for metrics.

    Returns
    -------
    MergedCarbon
        A stale value of one source gives way to a fresh one of the next.

    Raises
    ------
    ConfigError
        No source is declared, one can't be opened, or they can't be merged.

    Examples
    --------
    >>> from aicsched.config.signals import SignalSettings
    >>> open_merged(SignalSettings(order=("sample",))).source_id
    'merged:sample:v1:20260301'
    """
    sources = open_declared(settings, clock=clock)
    for name in scopes or {}:
        if name not in sources:
            msg = f"'{name}' is no source of signals.order"
            raise ConfigError(msg, hint=did_you_mean(name, sources), value=name)
    own = {name: getattr(settings.sources.get(name), "scope", None) for name in sources}
    said = {name: scope for name, scope in own.items() if scope} | dict(scopes or {})
    told = {sources[name].source_id: scope for name, scope in said.items()}
    held = (
        sources.values()
        if store is None
        else [LastKnownGood(each, store, clock=clock, health=health) for each in sources.values()]
    )
    mixed = mixed_scopes or settings.mixed_scopes
    return MergedCarbon(list(held), scopes=told, mixed_scopes=mixed, clock=clock)
