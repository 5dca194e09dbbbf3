"""The sources that settings declare, each beside the store, in their order."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from aicsched.domain.carbon import IntensityKind
from aicsched.errors import AicschedError, ConfigError, did_you_mean
from aicsched.plugins import load_plugin
from aicsched.signals.base import refuse_unknown_zone
from aicsched.signals.secrets import Secret
from aicsched.slots import HOUR_S

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aicsched.config.signals import SignalSettings, SourceSettings
    from aicsched.domain.carbon import CarbonSeries
    from aicsched.signals.base import CarbonSource
    from aicsched.signals.clock import Clock
    from aicsched.slots import SlotGrid

__all__ = ["OWN", "NamedZones", "open_declared", "open_source"]

_CARBON: Final = "aicsched.signals.carbon"
# As in the entry points of the project, without scanning those of everything that is installed.
OWN: Final = {
    "sample": f"{_CARBON}.sample:SampleCarbon",
    "file": f"{_CARBON}.file:FileCarbon",
    "eia": f"{_CARBON}.eia:EiaCarbon",
    "entsoe": f"{_CARBON}.entsoe:EntsoeCarbon",
    "uk": f"{_CARBON}.uk:UkCarbon",
    "electricity-maps": f"{_CARBON}.electricity_maps:ElectricityMapsCarbon",
    "watttime": f"{_CARBON}.watttime:WattTimeCarbon",
}


class NamedZones:
    """A source under our names for its zones, and those alone.

    Parameters
    ----------
    source : CarbonSource
        What is asked.
    names : mapping of str to str
        Our name of a zone, and the source's.

    Examples
    --------
    >>> from aicsched.signals.carbon.sample import SampleCarbon
    >>> ours = NamedZones(SampleCarbon(), {"PL": "syn-coal"})
    >>> ours.zones(), ours.read("PL").grid_zone
    (('PL',), 'PL')
    """

    def __init__(self, source: CarbonSource, names: Mapping[str, str]) -> None:
        self.source = source
        self._names = dict(names)

    @property
    def source_id(self) -> str:
        """Who says so."""
        return self.source.source_id

    def zones(self) -> tuple[str, ...]:
        """List our names of the zones.

        Returns
        -------
        tuple of str
            In the order that they were given.
        """
        return tuple(self._names)

    def read(self, zone: str, window: SlotGrid | None = None) -> CarbonSeries:
        """Return a zone's intensity.

        Parameters
        ----------
        zone : str
            One of `zones`.
        window : SlotGrid, optional
            As the source's.

        Returns
        -------
        CarbonSeries
            Under our name.

        Raises
        ------
        UnknownZone
            It is none of our names, or the source doesn't know its own.
        SignalError, ConfigError
            As the source's.
        """
        refuse_unknown_zone(zone, self._names, self.source_id)
        return replace(self.source.read(self._names[zone], window), grid_zone=zone)


def open_source(name: str, settings: SourceSettings | None, *, clock: Clock | None = None) -> CarbonSource:
    """Open one source as settings declare it.

    Parameters
    ----------
    name : str
        As in ``signals.order``.
    settings : SourceSettings or None
        Its table.
    clock : Clock, optional
        What tells the time.

    Returns
    -------
    CarbonSource
        Under our names of its zones, where these are set.

    Raises
    ------
    ConfigError
        Its token is missing or its settings can't be used.
    PluginError
        A plug-in of this name isn't installed, or can't be loaded.

    Examples
    --------
    >>> open_source("sample", None).source_id
    'sample:v1:20260301'
    """
    from aicsched.config.signals import SOURCES, PluginSettings  # noqa: PLC0415 - pydantic takes time to import

    if isinstance(settings, PluginSettings):
        source = _plugged(name, settings.options())
        return NamedZones(source, settings.zones) if settings.zones else source
    if name not in SOURCES:
        msg = f"there is no signal source '{name}'"
        raise ConfigError(msg, hint=did_you_mean(name, SOURCES, count=1), value=name)
    held = settings or SOURCES[name]()
    apart = {"zones", "url", *held.secrets, *(f"{each}_file" for each in held.secrets)}
    given = held.model_dump(exclude=apart)
    secrets = {each: held.secret(each) for each in held.secrets}
    for each, value in secrets.items():
        if not value:
            variable = f"AICSCHED_{name}_{each}".upper().replace("-", "_")
            msg = f"{name} needs a {each}, and none is set"
            hint = f"set {variable}, or {variable}_FILE to a file that holds it; offline: --source sample"
            raise ConfigError(msg, hint=hint, value=name)
    masked = {each: Secret(value) for each, value in secrets.items() if value}
    place = {} if held.url is None else {"url": held.url}
    source = _opened(name, given, masked, place, clock)
    return NamedZones(source, held.zones) if held.zones else source


def _plugged(name: str, options: dict[str, Any]) -> CarbonSource:
    made = load_plugin("aicsched.carbon_sources", name)
    try:
        return made(**options)
    except AicschedError:
        raise
    except Exception as error:
        told = ", ".join(options) or "nothing"
        msg = f"the plug-in '{name}' can't be made with {told} ({type(error).__name__})"
        hint = f"see which keywords it takes, and write them below [signals.plugins.{name}]"
        raise ConfigError(msg, hint=hint, value=name) from error


def _opened(
    name: str,
    given: dict[str, Any],
    secrets: dict[str, Secret],
    place: dict[str, str],
    clock: Clock | None,
) -> CarbonSource:
    """Import and make one source: each brings a client of its own, which the others don't need."""
    module, _, made_by = OWN[name].partition(":")
    made: Any = getattr(import_module(module), made_by)
    if name == "sample":
        return made(**given)
    if name == "file":
        kind = given.pop("kind")
        given.pop("scope")  # for the precedence of sources only
        given["availability_lag_s"] = round(given.pop("lag_h") * HOUR_S)
        return made(given.pop("paths"), kind=None if kind is None else IntensityKind(kind), **given)
    if "key" in secrets:
        secrets["api_key"] = secrets.pop("key")
    return made(clock=clock, **given, **secrets, **place)


def open_declared(settings: SignalSettings, *, clock: Clock | None = None) -> dict[str, CarbonSource]:
    """Open all sources of ``signals.order``.

    Parameters
    ----------
    settings : SignalSettings
        With at least one.
    clock : Clock, optional
        What tells the time.

    Returns
    -------
    dict of str to CarbonSource
        By name, the best first.

    Raises
    ------
    ConfigError
        None is declared, or one can't be opened.
    """
    if not settings.order:
        msg = "no source of signals is declared"
        hint = 'write order = ["eia"] below [signals] in aicsched.toml, or try --source sample'
        raise ConfigError(msg, hint=hint)
    return {name: open_source(name, settings.sources.get(name), clock=clock) for name in settings.order}
