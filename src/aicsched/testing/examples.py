"""Series made up for tests, and how a suite speaks."""

from __future__ import annotations

from typing import Final

import numpy as np

from aicsched.domain.carbon import CarbonSeries, IntensityKind
from aicsched.slots import HOUR_S, SlotGrid

__all__ = ["EXAMPLE_START_S", "example_series", "require"]

EXAMPLE_START_S: Final = 1_767_225_600  # 2026-01-01T00:00Z, a Thursday
_DAYS: Final = 42


def require(rule: bool, sentence: str) -> None:  # noqa: FBT001 - an assertion that -O can't remove
    """Raise AssertionError with a sentence where a rule is broken.

    Parameters
    ----------
    rule : bool
        Whether it is kept.
    sentence : str
        What it demands.

    Raises
    ------
    AssertionError
        It is not kept.
    """
    if not rule:
        raise AssertionError(sentence)


def example_series(*, zone: str = "example", days: int = _DAYS, seed: int = 0) -> CarbonSeries:
    """Make an hourly series with a daily shape and noise.

    Parameters
    ----------
    zone : str
        Name of the zone.
    days : int
        Length [days].
    seed : int
        Seed of the noise.

    Returns
    -------
    CarbonSeries
        Average intensity around 300 g/kWh, marked synthetic.
    """
    hours = np.arange(24 * days)
    noise = np.random.default_rng(seed).normal(0, 10, hours.size)
    values = 300 + 80 * np.cos(2 * np.pi * (hours - 19) / 24) + noise
    return CarbonSeries(
        grid_zone=zone,
        kind=IntensityKind.AVERAGE,
        slots=SlotGrid(EXAMPLE_START_S, HOUR_S, hours.size),
        values_g_per_kwh=values,
        source="example",
        synthetic=True,
    )
