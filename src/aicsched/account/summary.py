"""Adding decisions up: totals, SCI, and the path to the yearly target."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aicsched.account.decisions import CORRECTS
from aicsched.errors import LedgerError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from aicsched.domain.decision import Decision

__all__ = [
    "Summary",
    "TargetCheck",
    "Totals",
    "check_target",
    "effective",
    "sci_g_per_unit",
    "summarise",
    "target_path",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Sums over decisions.

    Parameters
    ----------
    decisions : int
        How many.
    energy_kwh : float
        Energy including PUE [kWh].
    operational_g : float
        Operational and transfer emissions [g].
    embodied_g : float
        SCI's amortised share of the hardware [g].
    counterfactual_g : float
        Emissions without a decision [g].
    """

    decisions: int
    energy_kwh: float
    operational_g: float
    embodied_g: float
    counterfactual_g: float

    @property
    def avoided_g(self) -> float:
        """Counterfactual minus operational emissions [g]."""
        return self.counterfactual_g - self.operational_g

    @property
    def avoided_share(self) -> float:
        """Avoided emissions over the counterfactual; 0 when that is 0, negative when more was emitted."""
        return self.avoided_g / self.counterfactual_g if self.counterfactual_g else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a ledger adds up to.

    Parameters
    ----------
    total : Totals
        Over all decisions that count.
    by_region : tuple of (str, Totals)
        Per region, in the order of names.
    intensity_kind : str
        The method of all of them; "" when there is none.
    superseded : int
        Entries that a correction or a later plan replaced.
    synthetic : bool
        True when an input was made up.
    """

    total: Totals
    by_region: tuple[tuple[str, Totals], ...]
    intensity_kind: str
    superseded: int
    synthetic: bool


def effective(decisions: Iterable[Decision]) -> tuple[Decision, ...]:
    """Return the decisions that count.

    A correction takes the place of the entry it names. A later plan of the same
    job takes the place of an earlier one that had not started by then; a job
    that had started counts, so a job of the same name every night counts each night.

    Parameters
    ----------
    decisions : iterable of Decision
        In the order of the ledger.

    Returns
    -------
    tuple of Decision
        In the order in which they were first written.

    Raises
    ------
    LedgerError
        A correction names an entry that is not there.
    """
    counted: dict[str, Decision] = {}
    key_of: dict[str, str] = {}
    planned: dict[str, str] = {}
    for item in decisions:
        key = item.decision_id
        if item.kind == "correct":
            target = next(
                (text.removeprefix(CORRECTS) for text in item.inputs if text.startswith(CORRECTS)), ""
            )
            if target not in key_of:
                msg = f"a correction of '{item.subject}' names the entry '{target[:16]}', which is not there"
                raise LedgerError(msg, hint="give the whole ledger", value=target)
            key = key_of[target]
        elif item.kind == "place":
            before = planned.get(item.subject)
            if before is not None and counted[before].start_s >= item.decided_at_s:
                del counted[before]
            planned[item.subject] = key
        key_of[item.decision_id] = key
        # A correction of a plan that was replaced since counts for nothing.
        if item.kind != "correct" or key in counted:
            counted[key] = item
    return tuple(counted.values())


def _totals(decisions: Sequence[Decision]) -> Totals:
    # fsum is exact whatever the order, so equal sets of decisions give equal totals.
    return Totals(
        decisions=len(decisions),
        energy_kwh=math.fsum(item.energy_kwh for item in decisions),
        operational_g=math.fsum(item.operational_g for item in decisions),
        embodied_g=math.fsum(item.embodied_g for item in decisions),
        counterfactual_g=math.fsum(item.counterfactual_g for item in decisions),
    )


def summarise(decisions: Iterable[Decision]) -> Summary:
    """Add decisions up.

    Parameters
    ----------
    decisions : iterable of Decision
        In the order of the ledger.

    Returns
    -------
    Summary
        In total and by region.

    Raises
    ------
    LedgerError
        Average and marginal intensities meet, which must never be added.
    """
    written = tuple(decisions)
    counted = effective(written)
    kinds = sorted({item.intensity_kind for item in counted})
    if len(kinds) > 1:
        msg = f"decisions by {' and '.join(kinds)} intensity can't be added"
        raise LedgerError(msg, hint="sum up each method on its own", value=kinds)
    names = sorted({item.region for item in counted})
    return Summary(
        total=_totals(counted),
        by_region=tuple((name, _totals([item for item in counted if item.region == name])) for name in names),
        intensity_kind=kinds[0] if kinds else "",
        superseded=len(written) - len(counted),
        synthetic=any(item.synthetic for item in counted),
    )


def sci_g_per_unit(decision: Decision | Totals, functional_units: float = 1.0) -> float:
    """Return the Software Carbon Intensity of a job or of totals.

    ``SCI = (E · I + M) / R``: operational and embodied emissions per functional unit.

    Parameters
    ----------
    decision : Decision or Totals
        What was emitted.
    functional_units : float
        How many units R of work it did, e.g. requests or trained models; by default one job.

    Returns
    -------
    float
        Emissions per functional unit [g].

    Raises
    ------
    LedgerError
        The number of units is not positive.

    References
    ----------
    ISO/IEC 21031:2024, Software Carbon Intensity (SCI) specification.

    Examples
    --------
    >>> made = Totals(decisions=1, energy_kwh=2.0, operational_g=600.0, embodied_g=150.0,
    ...     counterfactual_g=900.0)
    >>> sci_g_per_unit(made, functional_units=1000)
    0.75
    """
    if not (math.isfinite(functional_units) and functional_units > 0):
        msg = f"an SCI per {functional_units} units makes no sense"
        raise LedgerError(msg, hint="count the work that was done, above 0", value=functional_units)
    return (decision.operational_g + decision.embodied_g) / functional_units


def target_path(base_kg: float, years: int, cut_share: float = 0.1) -> tuple[float, ...]:
    """Return the emissions allowed in each year on a path of equal relative cuts.

    Parameters
    ----------
    base_kg : float
        Emissions of the base year [kg].
    years : int
        How many years after it.
    cut_share : float
        By how much each year lies below the one before, in [0, 1].

    Returns
    -------
    tuple of float
        ``years + 1`` values [kg], the base year first.

    Raises
    ------
    LedgerError
        A value out of range.

    Examples
    --------
    >>> [round(value_kg, 1) for value_kg in target_path(1000.0, 3)]
    [1000.0, 900.0, 810.0, 729.0]
    """
    if not (math.isfinite(base_kg) and base_kg >= 0 and years >= 0 and 0 <= cut_share <= 1):
        msg = f"no path leads from {base_kg} kg over {years} years by a cut of {cut_share}"
        raise LedgerError(msg, hint="use base_kg >= 0, years >= 0 and a cut_share in 0..1", value=base_kg)
    return tuple(base_kg * (1 - cut_share) ** year for year in range(years + 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetCheck:
    """How a running year stands against its target.

    Parameters
    ----------
    allowed_kg : float
        The year's target [kg].
    emitted_kg : float
        Emitted so far [kg].
    elapsed_share : float
        How much of the year has passed, in (0, 1].
    """

    allowed_kg: float
    emitted_kg: float
    elapsed_share: float

    @property
    def projected_kg(self) -> float:
        """Emissions of the whole year when it goes on like this [kg]."""
        return self.emitted_kg / self.elapsed_share

    @property
    def burn_rate(self) -> float:
        """Speed against the speed that just meets the target: 1 is on track, 2 twice too fast."""
        if self.allowed_kg == 0:
            return math.inf if self.emitted_kg else 0.0
        return self.projected_kg / self.allowed_kg

    @property
    def within(self) -> bool:
        """Whether the year ends on or below its target when it goes on like this."""
        return self.projected_kg <= self.allowed_kg

    @property
    def breach_share(self) -> float | None:
        """At which share of the year the target is used up; None when that isn't in this year."""
        return None if self.within else 1 / self.burn_rate


def check_target(emitted_kg: float, *, allowed_kg: float, elapsed_share: float) -> TargetCheck:
    """Compare a running year with its target.

    Parameters
    ----------
    emitted_kg : float
        Emitted so far [kg], >= 0.
    allowed_kg : float
        The year's target [kg], >= 0; see `target_path`.
    elapsed_share : float
        How much of the year has passed, in (0, 1].

    Returns
    -------
    TargetCheck
        With projection, burn rate and time of breach.

    Raises
    ------
    LedgerError
        A value out of range.

    Examples
    --------
    >>> half_year = check_target(600.0, allowed_kg=900.0, elapsed_share=0.5)
    >>> half_year.within, round(half_year.burn_rate, 3), half_year.breach_share
    (False, 1.333, 0.75)
    """
    finite = math.isfinite(emitted_kg) and math.isfinite(allowed_kg)
    if not (finite and emitted_kg >= 0 and allowed_kg >= 0 and 0 < elapsed_share <= 1):
        msg = f"{emitted_kg} kg after {elapsed_share} of a year with {allowed_kg} kg can't be judged"
        raise LedgerError(msg, hint="use masses >= 0 and an elapsed share in (0, 1]", value=elapsed_share)
    return TargetCheck(allowed_kg=allowed_kg, emitted_kg=emitted_kg, elapsed_share=elapsed_share)
