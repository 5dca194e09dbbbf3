"""From reported generation by fuel to the intensity of its mix: what EIA-930 and ENTSO-E have in common.

The rules, in order; each says what becomes of an hour that isn't whole:

1. Power is averaged over a slot first, and the slot's intensity is that of its energy.
2. Storage (batteries, pumped hydropower) is no source: what it gives back was generated
   before, and counted then. It is left out, charging and discharging alike.
3. Where a source consumes more than it makes (negative, a solar park by night), it counts as
   no generation. A negative of more than 5 % of what is usually generated is a broken meter:
   the slot is quarantined. Hydropower is exempt, since it may have its pumps in it.
4. A fuel that is known for less than half of a slot is missing there. Did it never make
   more than 1 % of all generation, the slot goes on without it and is estimated; else the slot
   has no value: never a lower one. A fuel known for a part of a slot makes it estimated.
5. Nothing generated, nothing known: no value. More than 2 TW can't be true, and what is said
   to have been generated after now can't either: quarantined.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from aicsched.domain.carbon import CarbonSeries, IntensityKind, Quality
from aicsched.domain.flags import Flag
from aicsched.domain.readings import Readings
from aicsched.domain.source_mix import SourceMix
from aicsched.errors import ConfigError, SignalGap, SignalInvalid, SlotError, did_you_mean
from aicsched.footprint.intensity import emission_factors, mix_intensity
from aicsched.signals.base import emission_scope
from aicsched.slots import format_time

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from aicsched.domain.carbon import EmissionScope
    from aicsched.slots import SlotGrid

__all__ = [
    "STORAGE",
    "Generation",
    "GenerationRows",
    "factors_of",
    "join_rows",
    "lay_generation",
    "own_mark",
]

STORAGE: Final = "storage"
_KNOWN_SHARE: Final = 0.5
_NEGLIGIBLE_SHARE: Final = 0.01
_BROKEN_SHARE: Final = 0.05
# All power plants of the world together have some 9 TW, those of the largest reporting area 1.3.
_MOST_MW: Final = 2e6
# Reports are rounded to megawatts.
_NOTHING_MW: Final = 1.0
_EXACT: Final = 1e-9
# So many equal values of different fuels are no coincidence, but another field than the power.
_STUCK_ROWS: Final = 24
_CHANGED: Final = "try again later; if it stays so, its API has changed"


class GenerationRows(NamedTuple):
    """What was reported, in any order.

    Parameters
    ----------
    code : ndarray of str, shape (rows,)
        The reporter's own word for the fuel.
    start_s : ndarray of int64, shape (rows,)
        Start of the row's time, seconds since the epoch.
    lasts_s : ndarray of int64, shape (rows,)
        How long it lasts [s].
    power_mw : ndarray, shape (rows,)
        Mean net power in that time [MW], negative where it consumed, NaN where not told.
    """

    code: NDArray[np.str_]
    start_s: NDArray[np.int64]
    lasts_s: NDArray[np.int64]
    power_mw: NDArray[np.float64]


def join_rows(parts: Sequence[GenerationRows]) -> GenerationRows:
    """Join the rows of several answers.

    Parameters
    ----------
    parts : sequence of GenerationRows
        Possibly none.

    Returns
    -------
    GenerationRows
        All of them.

    Examples
    --------
    >>> len(join_rows([]).code)
    0
    """
    empty = np.empty(0, dtype=np.int64)
    nothing = GenerationRows(np.empty(0, dtype=np.str_), empty, empty, np.empty(0))
    return GenerationRows(*(np.concatenate(column) for column in zip(nothing, *parts, strict=True)))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Generation:
    """Generation of one zone on a slot grid, code by code.

    Parameters
    ----------
    codes : tuple of str
        C codes, as reported.
    fuels : tuple of str
        What each burns, or `STORAGE`.
    slots : SlotGrid
        The time grid.
    power_mw : ndarray, shape (C, len(slots))
        Mean net power [MW], NaN where not known.
    known_share : ndarray, shape (C, len(slots))
        Which part of each slot is known.
    unknown_codes : tuple of str
        Codes that nobody has told us of; they count as the fuel ``other``.
    """

    codes: tuple[str, ...]
    fuels: tuple[str, ...]
    slots: SlotGrid
    power_mw: NDArray[np.float64]
    known_share: NDArray[np.float64]
    unknown_codes: tuple[str, ...] = ()

    def window(self, part: SlotGrid) -> Generation:
        """Return a part of it, which keeps knowing the fuels of the whole.

        Parameters
        ----------
        part : SlotGrid
            Contained in ``self.slots``.

        Returns
        -------
        Generation
            With the same codes.

        Raises
        ------
        SlotError
            The part is not contained in the grid.
        """
        offset = self.slots.offset_of(part)
        cut = slice(offset, offset + len(part))
        return Generation(
            codes=self.codes,
            fuels=self.fuels,
            slots=part,
            power_mw=self.power_mw[:, cut],
            known_share=self.known_share[:, cut],
            unknown_codes=self.unknown_codes,
        )

    def mix(self, source: str) -> SourceMix:
        """Return it as a source mix, fuel by fuel, as forecasts take it.

        Parameters
        ----------
        source : str
            Id of who says so.

        Returns
        -------
        SourceMix
            Without storage; a fuel is unknown where one of its codes is.

        Raises
        ------
        SignalInvalid
            There is nothing but storage.
        """
        fuels = tuple(dict.fromkeys(fuel for fuel in self.fuels if fuel != STORAGE))
        if not fuels:
            msg = f"{source}: no generation was reported from {format_time(self.slots.start_s)} on"
            raise SignalInvalid(msg, hint="ask for another window, or for another zone")
        power = np.maximum(self.power_mw, 0.0)
        rows = [
            power[[index for index, each in enumerate(self.fuels) if each == fuel]].sum(axis=0)
            for fuel in fuels
        ]
        return SourceMix(sources=fuels, slots=self.slots, generation_mw=np.stack(rows), source=source)

    def intensity(
        self,
        part: SlotGrid,
        *,
        factors_g_per_kwh: Mapping[str, float],
        zone: str,
        source: str,
        now_s: float,
        flags: tuple[str, ...] = (),
    ) -> CarbonSeries:
        """Return the average intensity of a part of it, by the rules of this module.

        Parameters
        ----------
        part : SlotGrid
            Contained in ``self.slots``; what lies around it tells which fuels there are.
        factors_g_per_kwh : mapping of str to float
            By fuel [g/kWh].
        zone : str
            The grid zone.
        source : str
            Id of who says so.
        now_s : float
            When it was read, seconds since the epoch: since then each value is known.
        flags : tuple of str
            What else is to be said of it.

        Returns
        -------
        CarbonSeries
            Missing slots are NaN.

        Raises
        ------
        SlotError
            The part is not contained in the grid.
        SignalGap
            There is no value at all in the part.
        """
        makes = np.array([fuel != STORAGE for fuel in self.fuels], dtype=np.bool_)
        factors = np.array([factors_g_per_kwh[fuel] for fuel in self.fuels if fuel != STORAGE])
        offset = self.slots.offset_of(part)
        cut = slice(offset, offset + len(part))
        power, known = self.power_mw[makes], self.known_share[makes]
        missing = np.isnan(power)
        small = _largest_shares(power) < _NEGLIGIBLE_SHARE
        broken = _broken(power, np.array([fuel == "hydro" for fuel in self.fuels], dtype=np.bool_)[makes])
        broken |= self.slots.starts_s() >= now_s
        filled = np.where(missing & small[:, None], 0.0, power)
        values = mix_intensity(filled, factors)
        partly = ((known < 1 - _EXACT) | (missing & small[:, None])).any(axis=0)
        quality = np.where(partly, Quality.ESTIMATED, Quality.ACTUAL).astype(np.int8)
        quality[np.isnan(values)] = Quality.MISSING
        reported = np.asarray((known > 0).any(axis=0))
        quality[broken & reported] = Quality.QUARANTINED
        values[broken] = np.nan
        lacking = np.asarray((missing & ~small[:, None]).any(axis=0))
        without = int((lacking & reported)[cut].sum())
        if len(part) and np.isnan(values[cut]).all() and not (broken & reported)[cut].any():
            why = f" ({Flag.FUEL_MISSING.of(without)})" if without else ""
            msg = f"{source} has no value from {format_time(part.start_s)} to {format_time(part.end_s)}{why}"
            raise SignalGap(msg, hint="ask for another window, or another source", value=len(part))
        notes = [*flags, *([Flag.FUEL_MISSING.of(without)] if without else [])]
        notes += [Flag.FUEL_UNKNOWN.of(code) for code in self.unknown_codes]
        return CarbonSeries(
            grid_zone=zone,
            kind=IntensityKind.AVERAGE,
            slots=part,
            values_g_per_kwh=values[cut],
            source=source,
            quality=quality[cut],
            flags=tuple(dict.fromkeys(notes)),
            readings=_readings(part, values[cut], quality[cut], int(now_s)),
        )


def _readings(
    slots: SlotGrid, values: NDArray[np.float64], quality: NDArray[np.int8], read_s: int
) -> Readings:
    known = ~np.isnan(values)
    return Readings(
        start_s=slots.starts_s()[known],
        read_s=np.full(int(known.sum()), read_s, dtype=np.int64),
        values_g_per_kwh=values[known],
        quality=quality[known],
    )


def _largest_shares(power: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the largest share of all generation that each code ever had; 1 where it was never told."""
    positive = np.where(power > 0, power, 0.0)
    total = positive.sum(axis=0)
    shares = np.divide(positive, total, out=np.zeros_like(positive), where=total > 0)
    never = np.isnan(power).all(axis=1)
    return np.where(never, 1.0, shares.max(axis=1, initial=0.0))


def _broken(power: NDArray[np.float64], is_hydro: NDArray[np.bool_]) -> NDArray[np.bool_]:
    known = np.nan_to_num(power)
    total = np.maximum(known, 0.0).sum(axis=0)
    usual = float(np.median(total[total > 0])) if (total > 0).any() else 0.0
    negative = (known < -max(_BROKEN_SHARE * usual, _NOTHING_MW)) & ~is_hydro[:, None]
    return np.asarray((negative | (np.abs(known) > _MOST_MW)).any(axis=0))


def factors_of(scope: EmissionScope | str, own: Mapping[str, float] | None) -> Mapping[str, float]:
    """Return the packaged factors, with a user's own in their places.

    Parameters
    ----------
    scope : EmissionScope or str
        Over the life cycle, or of burning only.
    own : mapping of str to float, optional
        By fuel [g/kWh]: what is known better of a zone, such as what its ``other`` is.

    Returns
    -------
    mapping of str to float
        By fuel [g/kWh].

    Raises
    ------
    ConfigError
        There is no such scope or fuel, or a factor is negative or not finite.

    Examples
    --------
    >>> factors_of("lifecycle", {"other": 293.0})["other"]
    293.0
    """
    factors = dict(emission_factors(emission_scope(scope)))
    for fuel, value in (own or {}).items():
        if fuel not in factors:
            msg = f"there is no fuel '{fuel}' to give a factor of its own"
            raise ConfigError(msg, hint=did_you_mean(fuel, factors), value=fuel)
        if not 0 <= value < np.inf:
            msg = f"a factor of {value} g/kWh for {fuel} can't be"
            raise ConfigError(msg, hint="use 0 or more", value=value)
        factors[fuel] = float(value)
    return factors


def own_mark(own: Mapping[str, float] | None) -> str:
    """Return what a source's id says of a user's own factors: intensities by others are another series.

    Parameters
    ----------
    own : mapping of str to float, optional
        By fuel [g/kWh].

    Returns
    -------
    str
        Empty where there are none.

    Examples
    --------
    >>> own_mark({"other": 293.0}), own_mark({})
    (':other=293', '')
    """
    return "".join(f":{fuel}={value:g}" for fuel, value in sorted((own or {}).items()))


def lay_generation(
    rows: GenerationRows, slots: SlotGrid, *, fuel_of: Mapping[str, str], where: str
) -> Generation:
    """Average reported power over the slots of a grid.

    Parameters
    ----------
    rows : GenerationRows
        Rows outside the grid are left out.
    slots : SlotGrid
        Their steps hold a whole number of each row's.
    fuel_of : mapping of str to str
        From the reporter's codes to fuels or `STORAGE`.
    where : str
        Who reported it, for messages.

    Returns
    -------
    Generation
        Of the codes that have a row, in alphabetical order.

    Raises
    ------
    SignalInvalid
        A code has two different values for one time, or values that overlap, one is infinite, or
        all fuels have one and the same value all the time.
    SlotError
        A row sticks out of a slot: the slots are too short, or off the hour.
    """
    code, start_s, lasts_s, power = rows
    codes, row = np.unique(code, return_inverse=True)
    _refuse_unbelievable(rows, len(codes), where)
    slot, into_s = np.divmod(start_s - slots.start_s, slots.step_s)
    here = (slot >= 0) & (slot < len(slots))
    across = here & (into_s + lasts_s > slots.step_s)
    if across.any():
        longest_s = int(lasts_s[across].max())
        msg = f"{where} reports by {longest_s} s; slots of {slots.step_s} s don't hold whole ones"
        raise SlotError(
            msg, hint=f"ask for slots of a multiple of {longest_s} s, from a full hour", value=longest_s
        )
    here &= ~_repeated(row, rows, where) & ~np.isnan(power)
    cell = row[here] * len(slots) + slot[here]
    shape, size = (len(codes), len(slots)), len(codes) * len(slots)
    known_s = np.bincount(cell, lasts_s[here], minlength=size).reshape(shape)
    energy = np.bincount(cell, power[here] * lasts_s[here], minlength=size).reshape(shape)
    if (known_s > slots.step_s).any():
        first = int(np.argmax((known_s > slots.step_s).any(axis=1)))
        msg = f"{where} has values of {codes[first]} that overlap in time"
        raise SignalInvalid(msg, hint=_CHANGED, value=codes[first])
    known_share = known_s / slots.step_s
    told = known_share >= _KNOWN_SHARE - _EXACT
    mean = np.divide(energy, known_s, out=np.full(shape, np.nan), where=told)
    return Generation(
        codes=tuple(codes.tolist()),
        fuels=tuple(fuel_of.get(each, "other") for each in codes.tolist()),
        slots=slots,
        power_mw=mean,
        known_share=known_share,
        unknown_codes=tuple(each for each in codes.tolist() if each not in fuel_of),
    )


def _refuse_unbelievable(rows: GenerationRows, codes: int, where: str) -> None:
    bad = np.isinf(rows.power_mw)
    if bad.any():
        first = int(np.argmax(bad))
        msg = f"{where}: {rows.code[first]} is infinite at {format_time(int(rows.start_s[first]))}"
        raise SignalInvalid(msg, hint=_CHANGED)
    told = rows.power_mw[~np.isnan(rows.power_mw)]
    if codes > 1 and len(told) > _STUCK_ROWS and told[0] != 0 and (told == told[0]).all():
        msg = f"{where}: all of {codes} fuels have the same power all the time"
        raise SignalInvalid(msg, hint=_CHANGED, value=float(told[0]))


def _repeated(row: NDArray[np.int64], rows: GenerationRows, where: str) -> NDArray[np.bool_]:
    """Tell which rows say again what another one said, and refuse those that say something else."""
    again = np.zeros(len(row), dtype=np.bool_)
    if not len(row):
        return again
    # Of several rows of one code and time, one with a value comes first.
    order = np.lexsort((rows.lasts_s, np.isnan(rows.power_mw), rows.start_s, row))
    same = (np.diff(row[order]) == 0) & (np.diff(rows.start_s[order]) == 0)
    power, lasts_s = rows.power_mw[order], rows.lasts_s[order]
    other = same & ~np.isnan(power[1:]) & ((np.diff(power) != 0) | (np.diff(lasts_s) != 0))
    if other.any():
        first = int(order[int(np.argmax(other))])
        when = format_time(int(rows.start_s[first]))
        msg = f"{where} has two different values of {rows.code[first]} for {when}"
        raise SignalInvalid(msg, hint=_CHANGED, value=when)
    again[order[1:][same]] = True
    return again
