"""The page of a drill: what each loss does, in pictures and tables, in one file without scripts."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from aicsched.files import write_text
from aicsched.report.drill_figures import loads, recovery
from aicsched.report.html import template
from aicsched.report.tables import Table
from aicsched.report.words import mass, number, percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aicsched.capacity import DrillResult
    from aicsched.place.failover import FailoverPlan

__all__ = ["render_drill", "write_drill_report"]

_TEMPLATE: Final = "drill.html.j2"


def _headline(results: Sequence[DrillResult]) -> str:
    worst = max(results, key=lambda item: item.unserved_vcpus)
    if worst.unserved_vcpus:
        left = f"{number(worst.unserved_vcpus, 0)} of {number(worst.lost_vcpus, 0)} vCPUs find no room"
        return f"Not every loss is survived: without {worst.lost}, {left}."
    late = sum(not row.meets_rto for item in results for row in item.rows)
    hit = sum(len(item.rows) for item in results)
    what = "every loss" if len(results) > 1 else f"the loss of {results[0].lost}"
    promise = f"{results[0].facts.rto_limit_s:g} s"
    kept = "all in time" if not late else f"{late} of {hit} recoveries may take longer than {promise}"
    return f"All work survives {what}; {kept}."


def _tiles(results: Sequence[DrillResult], plan: FailoverPlan | None) -> list[tuple[str, str, str]]:
    rows = [row for item in results for row in item.rows]
    facts = results[0].facts
    survived = sum(item.survives for item in results)
    made = [(f"{survived} of {len(results)}", "losses survived", "every service finds room for its peak")]
    if rows:
        kept = sum(row.meets_rto for row in rows) / len(rows)
        made.append((percent(kept, 0), f"back within {facts.rto_limit_s:g} s", "by the 95 % quantile"))
        kept = sum(row.meets_rpo for row in rows) / len(rows)
        unknown = sum(math.isnan(row.rpo_s) for row in rows)
        made.append(
            (percent(kept, 0), f"lose less than {facts.rpo_limit_s:g} s", f"{unknown} lags are unknown")
        )
    if plan is not None:
        reserve = float(plan.spare_vcpus.sum() / plan.problem.demand_vcpus.sum())
        made.append((percent(reserve, 0), "of demand held in reserve", f"{plan.mode}"))
        proof = f"≤ {percent(plan.certificate.gap, 2)} from the least possible"
        made.append((f"{mass(plan.total_g)}/h", "of CO₂e, work and reserve", proof))
    return made


def _table(result: DrillResult) -> Table:
    columns = (
        ("Service", "name"), ("Lost [vCPU]", "number"), ("No room [vCPU]", "number"),
        ("Median [s]", "number"), ("95 % [s]", "number"), ("Worst [s]", "number"),
        ("Data lost [s]", "number"), ("Goes to", "text"),
    )  # fmt: skip
    rows = tuple(
        (
            row.service_id,
            number(row.lost_vcpus, 1),
            number(row.unserved_vcpus, 1) if row.unserved_vcpus else "",
            *("never" if math.isinf(value) else number(value, 0) for value in row.rto_s[1:]),
            "unknown" if math.isnan(row.rpo_s) else number(row.rpo_s, 0),
            ", ".join(f"{name} {number(vcpus, 1)}" for name, vcpus in sorted(row.moved_vcpus.items())),
        )
        for row in result.rows
    )
    caption = f"Services hit when {result.lost} is lost, the largest loss first."
    return Table(caption=caption, columns=columns, rows=rows, first=12)


def _parts(results: Sequence[DrillResult]) -> tuple[list[dict[str, Any]], dict[str, str], dict[str, str]]:
    """Return the sections, and their pictures with captions by name."""
    sections: list[dict[str, Any]] = []
    figures: dict[str, str] = {}
    captions: dict[str, str] = {}
    for index, result in enumerate(results):
        names = [f"loads{index}"]
        figures[names[0]] = loads(result, names[0])
        how = "into its reserve" if result.reserved else "to what room is left"
        captions[names[0]] = (
            f"Grey: before; blue: after, each service {how}. "
            f"{number(result.lost_vcpus, 0)} vCPUs are lost, {number(result.unserved_vcpus, 0)} find no room."
        )
        if result.rows:
            names.append(f"recovery{index}")
            figures[names[1]] = recovery(result, names[1])
            captions[names[1]] = "Detection, pods and data side by side, then traffic; the slowest first."
        title = f"{result.lost} is lost"
        sections.append({"title": title, "figures": names, "table": _table(result)})
    return sections, figures, captions


def render_drill(results: Sequence[DrillResult], *, plan: FailoverPlan | None, synthetic: bool) -> str:
    """Write the page of a drill.

    Parameters
    ----------
    results : sequence of DrillResult
        One a loss, at least one.
    plan : FailoverPlan or None
        Whose reserve was used.
    synthetic : bool
        Whether parts of the input are made up.

    Returns
    -------
    str
        HTML; the same text for the same results.
    """
    sections, figures, captions = _parts(results)
    facts = results[0].facts
    spreads = {
        "detection [s]": facts.detection_s,
        "traffic shift [s]": facts.shift_s,
        "pod start [s]": facts.pod_start_s,
        "pods a region can start [1/s]": facts.pods_per_s,
        "data a region can restore [GB/s]": facts.restore_gb_per_s,
    }
    given = [
        f"{name}: {item.low:g} to {item.high:g}, usually {item.usual:g}" for name, item in spreads.items()
    ]
    if facts.warm:
        given.append("reserved pods run already: none has to start")
    reserve = "nothing is reserved" if plan is None else f"with a {plan.mode} reserve"
    return template(_TEMPLATE).render(
        title="aicsched: a drill on paper",
        headline=_headline(results),
        facts=f"{len(results)} losses tried one at a time, {reserve}; services at their peaks.",
        synthetic=synthetic,
        tiles=_tiles(results, plan),
        figures=figures,
        captions=captions,
        sections=sections,
        given=given,
    )


def write_drill_report(
    results: Sequence[DrillResult], path: str | Path, *, plan: FailoverPlan | None, synthetic: bool
) -> Path:
    """Write the page of a drill to a file, whole or not at all.

    Parameters
    ----------
    results : sequence of DrillResult
        One a loss, at least one.
    path : str or Path
        Where; its folder must exist.
    plan : FailoverPlan or None
        Whose reserve was used.
    synthetic : bool
        Whether parts of the input are made up.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    OutputError
        The file can't be written there.
    """
    return write_text(Path(path), render_drill(results, plan=plan, synthetic=synthetic))
