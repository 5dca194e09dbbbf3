"""Intensity through its sources: the power of each is foreseen, and their mix has an intensity.

A ratio of sums is no sum: what wind pushes out depends on what else is running. So
this errs elsewhere than a regression of intensity does, and the two together err less.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from aicsched.domain.carbon import frozen_array
from aicsched.footprint.intensity import mix_intensity
from aicsched.forecast.base import FLOOR_G_PER_KWH
from aicsched.forecast.models.direct import DirectRidge, Past, profile

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aicsched.forecast.models.direct import Learned, Segment
    from aicsched.forecast.models.outside import KnownMix

    Array = NDArray[np.float64]
    Indices = NDArray[np.int64]

__all__ = ["SourceRidges"]

# A source with less is foreseen together with the others of its kind.
_OWN_SHARE: Final = 0.02
# Where the mix explains intensity no better than this, it isn't what intensity was made of.
_FORMULA_LIMIT_SHARE: Final = 0.05
_USED_DAYS: Final = 366
# Which weather drives a source, by how it is named; the rest follows all of it, as demand does.
_WIND: Final = ("wind_speed", "mix/wind")
_SOLAR: Final = ("dswrf", "mix/solar", "temperature/unusual", "precipitation/value", "dewpoint/unusual")
_STEADY: Final = ("temperature/unusual",)
_ALL: Final = (*_WIND, *_SOLAR, "temperature", "dewpoint", "precipitation")


class _Group(NamedTuple):
    """Sources foreseen as one."""

    members: tuple[int, ...]
    names: tuple[str, ...] | None  # the blocks of weather that matter
    scale_mw: float
    factor_g_per_kwh: float


class SourceRidges:
    """One set of direct regressions a source, and the intensity of what they foresee.

    Parameters
    ----------
    past : Past
        Intensity's own, with a mix that is known up to its end.
    fit_end_s : int
        Nothing at or after it is learned from, seconds since the epoch.
    long : bool
        The history has the features that need months.

    Attributes
    ----------
    usable : bool
        The mix explains intensity to within 5 %.
    """

    def __init__(self, past: Past, fit_end_s: int, *, long: bool) -> None:
        self._fit_end_s = fit_end_s
        self._groups: list[_Group] = []
        mix = _mix_of(past)
        slots = past.history.series.slots
        end = min(mix.generation.shape[1], (fit_end_s - slots.start_s) // slots.step_s)
        first = max(0, end - _USED_DAYS * past.history.per_day)
        power = mix.generation[:, first:end]
        members = _grouped(mix.names, power)
        self.usable = mix.lag == 0 and float(power.sum()) > 0.0
        if self.usable:
            factors, missed = _factors(power, members, np.exp(past.history.log_values[first:end]))
            self.usable = missed <= _FORMULA_LIMIT_SHARE
            for own, factor in zip(members, factors, strict=True):
                names = _drivers(mix.names[own[0]]) if len(own) == 1 else _ALL
                scale = max(float(power[list(own)].sum(axis=0).mean()), 1e-9)
                self._groups.append(_Group(own, names, scale, float(factor)))
        self._ridges = [DirectRidge(fit_end_s, long=long) for _ in self._groups]

    def departures(
        self, past: Past, origin: int, rows: Indices, segment: Segment, *, origins: Indices
    ) -> Array:
        """Return what is foreseen of log intensity, as departures from its profile.

        Parameters
        ----------
        past : Past
            Intensity's own, with the mix.
        origin : int
            Slot index of the issue time.
        rows : ndarray of int, shape (n,)
            Slot indices to foresee from, at the same time of day.
        segment : Segment
            One lead day, with weather and mix.
        origins : ndarray of int
            What to learn from.

        Returns
        -------
        ndarray, shape (n, per_day)
            Log intensity less its profile of the last seven days.
        """
        foreseen: list[Array] = []
        for group, ridge in zip(self._groups, self._ridges, strict=True):
            own = _own(past, group)
            ridge.learned(own, origin, segment, origins=origins)
            foreseen.append(ridge.departures(own, origin, rows, segment) + profile(own.history, rows))
        return self._log_intensity(foreseen) - profile(past.history, rows)

    def residuals(self, past: Past, origin: int, segment: Segment, learned: Learned) -> Array:
        """Return what was missed on days not learned from.

        Parameters
        ----------
        past : Past
            Intensity's own, with the mix.
        origin : int
            Slot index of the issue time.
        segment : Segment
            One lead day, with weather and mix.
        learned : Learned
            Intensity's own regression; the rows are its.

        Returns
        -------
        ndarray, shape (held, per_day)
            Actual minus foreseen log intensity.
        """
        origins = past.rows_at(learned.issue_s)
        held = origins[-len(learned.regression.residuals) :]
        index = held[:, None] + past.history.per_day * segment.first_day + np.arange(past.history.per_day)
        foreseen: list[Array] = []
        for group, ridge in zip(self._groups, self._ridges, strict=True):
            own = _own(past, group)
            missed = ridge.learned(own, origin, segment, origins=origins).regression.residuals
            foreseen.append(own.history.log_values[index] - missed)
        return past.history.log_values[index] - self._log_intensity(foreseen)

    def _log_intensity(self, foreseen: list[Array]) -> Array:
        scales = [group.scale_mw for group in self._groups]
        power = [part * scale for part, scale in zip(foreseen, scales, strict=True)]
        intensity = mix_intensity(power, [group.factor_g_per_kwh for group in self._groups])
        # Where nothing is foreseen to run there is no intensity: the floor stands in.
        return np.log(np.fmax(intensity, FLOOR_G_PER_KWH))


def _mix_of(past: Past) -> KnownMix:
    assert past.outside is not None  # noqa: S101 - told to the type checker
    assert past.outside.mix is not None  # noqa: S101
    return past.outside.mix


def _own(past: Past, group: _Group) -> Past:
    """Return a group's power, in parts of its mean, in place of intensity."""
    power = _mix_of(past).generation[list(group.members)].sum(axis=0) / group.scale_mw
    return Past(replace(past.history, log_values=frozen_array(power)), past.outside, group.names)


def _grouped(names: tuple[str, ...], power: Array) -> list[tuple[int, ...]]:
    """Return the sources that are foreseen on their own, and the rest together."""
    shares = power.sum(axis=1) / max(float(power.sum()), 1e-9)
    large = [(index,) for index in range(len(names)) if shares[index] >= _OWN_SHARE]
    small = tuple(index for index in range(len(names)) if shares[index] < _OWN_SHARE)
    return [*large, small] if small else [*large]


def _factors(power: Array, members: list[tuple[int, ...]], intensity: Array) -> tuple[Array, float]:
    """Return each group's intensity [g/kWh], and by which share their mix misses the actual one."""
    groups = np.stack([power[list(own)].sum(axis=0) for own in members])
    total = np.maximum(groups.sum(axis=0), 1e-9)
    shares = groups / total
    factors = np.maximum(np.linalg.lstsq(shares.T, intensity, rcond=None)[0], 0.0)
    return factors, float((np.abs(factors @ shares - intensity) / intensity).mean())


def _drivers(name: str) -> tuple[str, ...]:
    if "wind" in name:
        return _WIND
    if "solar" in name:
        return _SOLAR
    if any(word in name for word in ("nuclear", "biomass", "geothermal")):
        return _STEADY
    return _ALL
