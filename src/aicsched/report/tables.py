"""The tables of a report: cells as text, ready for the page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aicsched.report.model import NO_WAIT
from aicsched.report.words import clock, column_digits, mass, mass_unit, number, percent, policy_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from aicsched.report.model import Candidate, ReportData

__all__ = ["Table", "accuracy", "candidates", "caps", "decisions", "policies", "recycle", "regions"]

FIRST_ROWS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Cells with their headings.

    Parameters
    ----------
    caption : str
        What the table shows.
    columns : tuple of (str, str)
        Heading with unit, and what stands below: ``"name"`` of the row, ``"key"`` (one line),
        ``"number"`` or ``"text"``.
    rows : tuple of tuple of str
        Cells.
    strong : int
        Row to put forward; -1 for none.
    first : int
        How many rows are shown at once; the rest folds away.
    """

    caption: str
    columns: tuple[tuple[str, str], ...]
    rows: tuple[tuple[str, ...], ...]
    strong: int = -1
    first: int = FIRST_ROWS


def _column(values: Sequence[float | None], divisor: float = 1.0, digits: int | None = None) -> list[str]:
    scaled = [None if value is None else value / divisor for value in values]
    if digits is None:
        digits = column_digits(value for value in scaled if value is not None)
    return [number(value, digits) for value in scaled]


def _rows(*columns: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    return tuple(zip(*columns, strict=True))


def policies(data: ReportData) -> Table:
    """Return the plan beside the other policies.

    Parameters
    ----------
    data : ReportData
        The facts.

    Returns
    -------
    Table
        Least carbon first, then the policies that found no plan.
    """
    plans = sorted([data.placement, *data.baselines.values()], key=lambda plan: (plan.total_g, plan.policy))
    base_g = None if data.no_wait is None else data.no_wait.total_g
    unit, divisor = mass_unit(max(plan.total_g for plan in plans))
    digits = column_digits(plan.total_g / divisor for plan in plans)
    names = [plan.policy for plan in plans]
    saved = [1 - plan.total_g / base_g if base_g else None for plan in plans]
    actual = [data.realised_g.get(name) for name in names]
    actual_base_g = data.realised_g.get(NO_WAIT)
    actual_saved = [
        None if value is None or not actual_base_g else 1 - value / actual_base_g for value in actual
    ]
    rows = _rows(
        [policy_name(name) for name in names],
        _column([plan.total_g for plan in plans], divisor, digits),
        [percent(share) for share in saved],
        _column(actual, divisor, digits),
        [percent(share) for share in actual_saved],
        _column([data.mean_delay_h.get(name) for name in names]),
    )
    refused = tuple((policy_name(name), "no feasible plan", "", "", "", "") for name in sorted(data.unplaced))
    columns = (
        ("Policy", "name"), (f"Expected [{unit} CO₂e]", "number"), ("saved", "number"),
        (f"Actual [{unit} CO₂e]", "number"), ("saved", "number"), ("Mean wait [h]", "number"),
    )  # fmt: skip
    caption = (
        "The same jobs, deadlines and capacity under each policy; "
        "actual = by measured intensities, saved = against no-wait"
    )
    strong = names.index(data.placement.policy)
    return Table(caption=caption, columns=columns, rows=rows + refused, strong=strong)


def decisions(data: ReportData) -> Table:
    """Return the decisions, those that avoid most first.

    Parameters
    ----------
    data : ReportData
        The facts.

    Returns
    -------
    Table
        With a reason in each row.
    """
    items = sorted(data.decisions, key=lambda item: (-item.avoided_g, item.subject))
    homes = {job.job_id: job.home_region for job in data.jobs}
    unit, divisor = mass_unit(max((item.counterfactual_g for item in items), default=0.0))
    # One number of digits in the three columns, so that a reader can subtract.
    digits = max(1, column_digits(item.operational_g / divisor for item in items))
    rows = _rows(
        [item.subject for item in items],
        [_way(homes.get(item.subject, item.region), item.region) for item in items],
        [clock(item.start_s) for item in items],
        _column([item.energy_kwh for item in items]),
        _column([item.operational_g for item in items], divisor, digits),
        _column([item.counterfactual_g for item in items], divisor, digits),
        _column([item.avoided_g for item in items], divisor, digits),
        [item.reason for item in items],
    )
    columns = (
        ("Job", "name"), ("Region", "key"), ("Start (UTC)", "number"), ("Energy [kWh]", "number"),
        (f"Emits [{unit}]", "number"), (f"No-wait [{unit}]", "number"), (f"Avoids [{unit}]", "number"),
        ("Reason", "text"),
    )  # fmt: skip
    caption = "A row a job, those that avoid most first; avoids = no-wait minus emits, moving data included"
    return Table(caption=caption, columns=columns, rows=rows)


def _way(home: str, region: str) -> str:
    return region if home == region else f"{home} → {region}"


def candidates(cards: Sequence[Candidate], caption: str) -> Table:
    """Return score cards as rows.

    Parameters
    ----------
    cards : sequence of Candidate
        Scores of one request or one kind.
    caption : str
        What they are.

    Returns
    -------
    Table
        In the order given.
    """
    rows = tuple(
        (
            item.card.candidate,
            item.card.candidate_kind,
            mass(item.card.mid_g) if item.card.feasible else "can't take it",
            f"{mass(item.card.low_g)} to {mass(item.card.high_g)}" if item.card.feasible else "",
            percent(item.card.slo_risk) if item.card.feasible else "",
            item.sentence or "; ".join(item.card.refusals),
        )
        for item in cards
    )
    columns = (
        ("Candidate", "name"), ("Kind", "key"), ("Score [CO₂e]", "number"), ("Range", "number"),
        ("SLO risk", "number"), ("Why", "text"),
    )  # fmt: skip
    return Table(caption=caption, columns=columns, rows=rows)


def accuracy(data: ReportData) -> Table:
    """Return how good forecasts were on the past.

    Parameters
    ----------
    data : ReportData
        The facts.

    Returns
    -------
    Table
        A row a zone.
    """
    days = max((len(item.mape_percent) for item in data.accuracy), default=0)
    columns = (
        ("Grid zone", "name"),
        *((f"MAPE day {day + 1} [%]", "number") for day in range(days)),
        ("MAE [g/kWh]", "number"),
        ("inside the 80 % band", "number"),
        ("right order", "number"),
    )
    rows = tuple(
        (
            item.grid_zone,
            *(
                number(item.mape_percent[day] if day < len(item.mape_percent) else None)
                for day in range(days)
            ),
            number(item.mae_g_per_kwh),
            percent(item.coverage80_share, 0),
            percent(item.concordance_share, 0),
        )
        for item in data.accuracy
    )
    note = f" ({data.accuracy_note})" if data.accuracy_note else ""
    return Table(caption=f"Forecasts tried on the past{note}", columns=columns, rows=rows)


def caps(data: ReportData) -> Table:
    """Return what the limits that bind cost.

    Parameters
    ----------
    data : ReportData
        The facts.

    Returns
    -------
    Table
        A row a region whose limit has a price, the dearest vCPU first.
    """
    items = [item for item in data.caps if item.fullest_slots]
    slots = data.placement.slots
    rows = tuple(
        (
            item.region,
            mass(item.worth_g),
            f"{item.g_per_more_vcpu:.3g} g",
            number(item.binding_slots, 0),
            ", ".join(clock(slots.start_s + slot * slots.step_s) for slot in item.fullest_slots),
        )
        for item in items
    )
    columns = (
        ("Region", "name"), ("Limit costs [CO₂e]", "number"),
        ("One more vCPU saves at most [CO₂e]", "number"), ("Full slots", "number"), ("Fullest (UTC)", "text"),
    )  # fmt: skip
    caption = "What the capacity limits cost, at the plan's prices and as if jobs could be split"
    return Table(caption=caption, columns=columns, rows=rows)


def regions(data: ReportData) -> Table:
    """Return the regions with what their carbon depends on.

    Parameters
    ----------
    data : ReportData
        The facts.

    Returns
    -------
    Table
        A row a region.
    """
    items = data.fleet.regions
    rows = _rows(
        [item.name for item in items],
        [item.grid_zone for item in items],
        _column([item.capacity_vcpus for item in items]),
        [number(item.power_w_per_vcpu, 2) for item in items],
        [number(item.pue, 2) for item in items],
        [number(float(data.forecasts[item.grid_zone].mean_g_per_kwh.mean()), 0) for item in items],
    )
    columns = (
        ("Region", "name"), ("Grid zone", "key"), ("Capacity [vCPUs]", "number"),
        ("Power [W per vCPU]", "number"), ("PUE", "number"), ("Mean forecast [g CO₂e/kWh]", "number"),
    )  # fmt: skip
    return Table(caption="Regions", columns=columns, rows=rows)


def recycle(data: ReportData) -> Table:
    """Return the recommendations about hardware as they came.

    Parameters
    ----------
    data : ReportData
        The facts.

    Returns
    -------
    Table
        A row a machine; columns are the keys of the first row.
    """
    names = list(data.recycle[0]) if data.recycle else []
    rows = tuple(tuple(str(row.get(name, "")) for name in names) for row in data.recycle)
    columns = tuple((name, "name" if index == 0 else "text") for index, name in enumerate(names))
    return Table(
        caption="Recommendations, nothing is applied without approval", columns=columns, rows=rows, first=20
    )
