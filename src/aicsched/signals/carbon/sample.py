"""The embedded sample: nine made-up grid zones, deterministic and offline."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final

from aicsched.data import load_table
from aicsched.domain.carbon import CarbonSeries, EmissionScope, IntensityKind
from aicsched.signals.base import refuse_unknown_zone
from aicsched.signals.carbon.grid_model import GridYear, simulate_grid
from aicsched.slots import HOUR_S, SlotGrid

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["SAMPLE_NOW_S", "SAMPLE_SEED", "SAMPLE_START_S", "SampleCarbon"]

SAMPLE_START_S: Final = 1_772_323_200  # 2026-03-01T00:00Z
PAST_DAYS: Final = 60
FUTURE_DAYS: Final = 8
SAMPLE_NOW_S: Final = SAMPLE_START_S + PAST_DAYS * 86_400  # 2026-04-30T00:00Z
SAMPLE_SEED: Final = 20260301


@cache
def _grid(zone: str, seed: int) -> GridYear:
    return simulate_grid(zone, start_s=SAMPLE_START_S, hours=24 * (PAST_DAYS + FUTURE_DAYS), seed=seed)


class SampleCarbon:
    """A carbon source without a network: synthetic, and labelled so everywhere.

    Parameters
    ----------
    kind : IntensityKind
        Average or marginal intensity.
    seed : int
        Seed of the weather.

    Examples
    --------
    >>> sample = SampleCarbon()
    >>> len(sample.zones()) >= 8, sample.read("syn-coal").synthetic
    (True, True)
    """

    scope: Final = EmissionScope.LIFECYCLE

    def __init__(self, *, kind: IntensityKind | str = IntensityKind.AVERAGE, seed: int = SAMPLE_SEED) -> None:
        self.kind = IntensityKind(kind)
        self.seed = seed

    @property
    def source_id(self) -> str:
        """Who says so."""
        return f"sample:v1:{self.seed}"

    @property
    def now_s(self) -> int:
        """The sample's present, seconds since the epoch: 60 days of past, 8 of future."""
        return SAMPLE_NOW_S

    def zones(self) -> tuple[str, ...]:
        """List the zones.

        Returns
        -------
        tuple of str
            Nine, all made up.
        """
        return tuple(row["grid_zone"] for row in load_table("sample_zones"))

    def read(self, zone: str, window: SlotGrid | None = None) -> CarbonSeries:
        """Return a zone's intensity.

        Parameters
        ----------
        zone : str
            One of `zones`.
        window : SlotGrid, optional
            Part of the sample's grid.

        Returns
        -------
        CarbonSeries
            Hourly, marked synthetic.

        Raises
        ------
        UnknownZone
            There is no such zone; the three nearest are named.
        SlotError
            The window is not in the sample.
        """
        refuse_unknown_zone(zone, self.zones(), "the embedded sample")
        made = _grid(zone, self.seed)
        values = made.average_g_per_kwh if self.kind is IntensityKind.AVERAGE else made.marginal_g_per_kwh
        series = CarbonSeries(
            grid_zone=zone,
            kind=self.kind,
            slots=SlotGrid(SAMPLE_START_S, HOUR_S, len(values)),
            values_g_per_kwh=values,
            source=f"{self.source_id}#{zone}",
            synthetic=True,
        )
        return series if window is None else series.window(window)

    def mix_mw(self, zone: str) -> dict[str, NDArray[np.float64]]:
        """Return a zone's generation by fuel.

        Parameters
        ----------
        zone : str
            One of `zones`.

        Returns
        -------
        dict of str to ndarray
            Hourly [MW], on the grid of `read`.

        Raises
        ------
        UnknownZone
            There is no such zone.
        """
        refuse_unknown_zone(zone, self.zones(), "the embedded sample")
        return dict(_grid(zone, self.seed).generation_mw)
