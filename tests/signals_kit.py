"""What tests of live signals share: a clock that is turned by hand, and a source that fails on demand."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from aicsched.domain.carbon import CarbonSeries, EmissionScope, IntensityKind, Quality
from aicsched.signals.base import refuse_unknown_zone
from aicsched.signals.slotting import Points, grid_of, slotted
from aicsched.slots import HOUR_S, SlotGrid

if TYPE_CHECKING:
    from aicsched.errors import AicschedError

__all__ = ["START_S", "HandClock", "MoodySource", "Stepped", "changed", "truth"]

START_S = 1_767_225_600  # 2026-01-01T00:00Z

# How far back a `Stepped` source knows.
KEPT_S = 144 * HOUR_S


class HandClock:
    """Stands still until it is moved; waiting moves it."""

    def __init__(self, now_s: float = START_S) -> None:
        self.time_s = float(now_s)
        self.passed_s = 0.0

    def now_s(self) -> float:
        return self.time_s

    def monotonic_s(self) -> float:
        return self.passed_s

    def sleep(self, duration_s: float) -> None:
        self.time_s += duration_s
        self.passed_s += duration_s


def truth(start_s: np.ndarray, *, version: int = 0) -> np.ndarray:
    """Give what a grid emitted in hours by their starts; later versions revise every third of them."""
    hour = (np.asarray(start_s) // HOUR_S).astype(np.int64)
    value = 300 + 80 * np.cos(2 * np.pi * (hour % 24 - 19) / 24) + (hour * 7919 % 41)
    return np.round(value + np.where(hour % 3 == 0, 5.0 * version, 0.0), 2)


class MoodySource:
    """Hourly truth up to now, or a fault; `twist` changes what it answers."""

    kind = IntensityKind.AVERAGE

    def __init__(self, clock: HandClock, *, zones: tuple[str, ...] = ("DE",), lag_s: int = 0) -> None:
        self.clock, self._zones, self.lag_s = clock, zones, lag_s
        self.fault: AicschedError | Exception | None = None
        self.twist = lambda series: series
        self.version = 0
        self.asked: list[SlotGrid | None] = []

    @property
    def source_id(self) -> str:
        return "moody:v1"

    def zones(self) -> tuple[str, ...]:
        return self._zones

    def read(self, zone: str, window: SlotGrid | None = None) -> CarbonSeries:
        refuse_unknown_zone(zone, self._zones, self.source_id)
        self.asked.append(window)
        if self.fault is not None:
            raise self.fault
        end_s = int(self.clock.now_s() - self.lag_s) // HOUR_S * HOUR_S
        slots = window or SlotGrid(end_s - 72 * HOUR_S, HOUR_S, 72)
        values = truth(slots.starts_s(), version=self.version)
        values = np.where(slots.starts_s() < end_s, values, np.nan)
        made = CarbonSeries(
            grid_zone=zone,
            kind=self.kind,
            slots=slots,
            values_g_per_kwh=values,
            source=f"{self.source_id}#{zone}",
            quality=np.where(np.isnan(values), Quality.MISSING, Quality.ACTUAL),
            availability_lag_s=self.lag_s,
        )
        return self.twist(made)


def changed(
    series: CarbonSeries, place: int, value: float, quality: Quality = Quality.ACTUAL
) -> CarbonSeries:
    """Put another value at a place of a series."""
    values, said = np.array(series.values_g_per_kwh), np.array(series.quality)
    values[place], said[place] = value, quality
    return replace(series, values_g_per_kwh=values, quality=said)


class Stepped:
    """Gives the same grid in steps of its own, averaged over longer slots where these are asked for."""

    kind = IntensityKind.AVERAGE
    scope = EmissionScope.LIFECYCLE

    def __init__(self, name: str, clock: HandClock, *, step_s: int = HOUR_S, base: float = 300.0) -> None:
        self.source_id, self.clock, self.step_s, self.base = name, clock, step_s, base
        self.fault: Exception | None = None
        self.behind_s = 0
        self.lag_s = 0
        self.asked: list[SlotGrid | None] = []

    def zones(self) -> tuple[str, ...]:
        return ("DE",)

    def points(self) -> Points:
        end_s = int(self.clock.now_s() - self.behind_s) // self.step_s * self.step_s
        starts_s = np.arange(START_S - KEPT_S, end_s, self.step_s)
        return Points(
            start_s=starts_s,
            values_g_per_kwh=self.base + starts_s // self.step_s % 24,
            quality=np.zeros(len(starts_s), dtype=np.int8),
            read_s=starts_s + self.step_s,
            lasts_s=self.step_s,
        )

    def read(self, zone: str, window: SlotGrid | None = None) -> CarbonSeries:
        self.asked.append(window)
        if self.fault is not None:
            raise self.fault
        points, now_s = self.points(), self.clock.now_s()
        window = window or grid_of(points, self.step_s, near_s=now_s, within_s=KEPT_S)
        made = slotted(points, window, zone=zone, kind=self.kind, source=self.source_id, now_s=now_s)
        return replace(made, availability_lag_s=self.lag_s)

    def right(self, start_s: int, length_s: int) -> float:
        starts_s = np.arange(start_s, start_s + length_s, self.step_s)
        return float((self.base + starts_s // self.step_s % 24).mean())
