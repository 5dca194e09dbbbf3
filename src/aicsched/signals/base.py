"""What a carbon source is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from aicsched.errors import UnknownZone, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aicsched.domain.carbon import CarbonSeries
    from aicsched.slots import SlotGrid

__all__ = ["CarbonSource", "refuse_unknown_zone"]


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
        raise UnknownZone(msg, hint=did_you_mean(zone, names), value=zone)
