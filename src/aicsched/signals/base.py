"""What a carbon source is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from aicsched.data.zones import zone_hint
from aicsched.domain.carbon import EmissionScope
from aicsched.errors import ConfigError, UnknownZone, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aicsched.domain.carbon import CarbonSeries
    from aicsched.slots import SlotGrid

__all__ = ["CarbonSource", "emission_scope", "refuse_unknown_zone"]


class CarbonSource(Protocol):
    """What knows the carbon intensity of some grid zones."""

    @property
    def source_id(self) -> str:
        """Who says so."""
        ...

    def zones(self) -> tuple[str, ...]:
        """List the zones it knows."""
        ...

    def read(self, zone: str, window: SlotGrid | None = None) -> CarbonSeries:
        """Return a zone's intensity, all of it or a window; an unknown zone raises `UnknownZone`."""
        ...


def refuse_unknown_zone(zone: str, known: Iterable[str], source: str) -> None:
    """Refuse a zone that a source doesn't know, naming the three nearest.

    Parameters
    ----------
    zone : str
        Asked for.
    known : iterable of str
        Zones of the source.
    source : str
        Its id.

    Raises
    ------
    UnknownZone
        The zone is not among the known ones.
    """
    names = list(known)
    if zone not in names:
        msg = f"{source} knows no grid zone '{zone}'"
        raise UnknownZone(msg, hint=zone_hint(zone, names) or did_you_mean(zone, names), value=zone)


def emission_scope(name: EmissionScope | str) -> EmissionScope:
    """Read what a user wrote for a scope of emissions.

    Parameters
    ----------
    name : EmissionScope or str
        ``"lifecycle"`` or ``"direct"``.

    Returns
    -------
    EmissionScope
        The scope.

    Raises
    ------
    ConfigError
        There is no such scope.

    Examples
    --------
    >>> emission_scope("direct").value
    'direct'
    """
    known = [each.value for each in EmissionScope]
    if name not in known:
        msg = f"'{name}' is no scope of emissions"
        raise ConfigError(msg, hint=did_you_mean(str(name), known), value=name)
    return EmissionScope(name)
