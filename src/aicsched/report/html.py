"""The page: one HTML file with its style and pictures inside, no script, nothing loaded."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aicsched.files import write_text
from aicsched.report import tables
from aicsched.report.figures import PAST_H, draw_all
from aicsched.report.proof_figures import draw_proof
from aicsched.report.words import clock, mass, number, percent, policy_name

if TYPE_CHECKING:
    import jinja2

    from aicsched.report.model import ReportData

__all__ = ["headline", "render", "template", "write_report"]

TEMPLATE = "template.html.j2"


@cache
def template(name: str) -> jinja2.Template:
    """Return one of the page templates beside this module.

    Parameters
    ----------
    name : str
        Its file name.

    Returns
    -------
    jinja2.Template
        It escapes what is put into it.
    """
    import jinja2  # noqa: PLC0415 - 0.1 s that only a report pays

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def headline(data: ReportData) -> str:
    """Say in one sentence what the plan achieves.

    Parameters
    ----------
    data : ReportData
        The facts.

    Returns
    -------
    str
        Emissions, what is saved against no-wait, and how far from the optimum it can be.
    """
    total_g = data.placement.total_g
    if data.no_wait is None:
        start = f"The plan emits {mass(total_g)} of CO₂e; starting every job at once at home is not possible"
    else:
        saved_g = data.no_wait.total_g - total_g
        share = saved_g / data.no_wait.total_g if data.no_wait.total_g else 0.0
        less = "less" if saved_g >= 0 else "more"
        start = (
            f"The plan emits {mass(total_g)} of CO₂e instead of {mass(data.no_wait.total_g)}: "
            f"{mass(abs(saved_g))} ({percent(abs(share), 0)}) {less} than starting every job at once at home"
        )
    gap = data.placement.certificate.gap
    proof = (
        "without a proven bound"
        if gap == float("inf")
        else f"and provably within {percent(gap, 2)} of the best possible plan"
    )
    return f"{start}, {proof}."


def _tiles(data: ReportData) -> list[tuple[str, str, str]]:
    """Return the key figures: value, what it is, and a remark."""
    plan, no_wait = data.placement, data.no_wait
    made: list[tuple[str, str, str]] = []
    if no_wait is not None and no_wait.total_g:
        saved_g = no_wait.total_g - plan.total_g
        remark = f"{mass(saved_g)} of {mass(no_wait.total_g)} by the forecast"
        made.append((percent(saved_g / no_wait.total_g), "less carbon than no-wait", remark))
    actual_g, actual_base_g = data.realised_g.get(plan.policy), data.realised_g.get("no_wait")
    if actual_g is not None and actual_base_g:
        remark = f"{mass(actual_base_g - actual_g)} of {mass(actual_base_g)} by what happened"
        made.append((percent(1 - actual_g / actual_base_g), "less in hindsight", remark))
    gap = plan.certificate.gap
    text = "no bound" if gap == float("inf") else f"≤ {percent(gap, 2)}"
    made.append((text, "from the optimum, proven", f"{plan.certificate.status}, {plan.certificate.method}"))
    delay_h = data.mean_delay_h.get(plan.policy)
    if delay_h is not None:
        made.append((f"{number(delay_h)} h", "mean wait of a job", "every deadline is kept"))
    energy_kwh = sum(item.energy_kwh for item in data.decisions)
    embodied_g = sum(item.embodied_g for item in data.decisions)
    made.append(
        (
            number(len(data.jobs), 0),
            "jobs placed",
            f"{number(energy_kwh, 0)} kWh, embodied share {mass(embodied_g)}",
        )
    )
    return made


def _captions(data: ReportData) -> dict[str, str]:
    """Return what stands under each picture: source, period, uncertainty."""
    slots = data.placement.slots
    period = f"{clock(slots.start_s, year=True)} to {clock(slots.end_s, year=True)}"
    models = ", ".join(sorted({item.model for item in data.forecasts.values()}))
    kind = next(iter(data.forecasts.values())).kind
    made_up = " Synthetic data." if data.synthetic else ""
    hours = "hour" if slots.step_h == 1 else f"{slots.step_h:g} h slot"
    expected = f"Expected by the forecast ({models}, {kind} intensity); {period}.{made_up}"
    band = "; orange: what happened, not known to the plan." if data.future else "."
    return {
        "placement": "Each row is a region, the cleanest grid on top. Colour: expected carbon intensity of "
        f"each {hours}; black: vCPUs at work. {expected}",
        "regions": f"Emissions of all {len(data.jobs):,} jobs, moving data included, by the region where "
        f"they run. {expected}",
        "hourly": f"Emissions of all regions together. {expected}",
        "pareto": "Each dot is a plan in which jobs may use less of their slack; below the dashed line no "
        "plan exists. Squares: published greedy policies with equal deadlines and capacity. " + expected,
        "prices": "Where and when capacity is short: what one vCPU-hour more would save there, at most, "
        "as if jobs could be split. "
        "The rows are those of the first picture; on the right their sums over the horizon. " + expected,
        "gap": "From above, the best plan so far; from below, what no plan can undercut. Stages are counted, "
        f"not timed; the axis does not begin at 0. {expected}",
        "forecast": "The grid zones to and from which most work moves. "
        f"Grey: the past {PAST_H // 24} days; blue: forecast by {models} made at "
        f"{clock(data.now_s, year=True)}; band: 80 % of outcomes are expected inside{band}{made_up}",
    }


def _sections(data: ReportData) -> dict[str, Any]:
    best = tables.candidates(data.best, "Least carbon") if data.best else None
    worst = tables.candidates(data.worst, "Most carbon") if data.worst else None
    backends = (
        tables.candidates(data.backends, "Quantum, neuromorphic and edge systems") if data.backends else None
    )
    return {
        "policies": tables.policies(data),
        "caps": tables.caps(data) if any(item.fullest_slots for item in data.caps) else None,
        "decisions": tables.decisions(data),
        "candidates": [item for item in (best, worst) if item is not None],
        "backends": backends,
        "recycle": tables.recycle(data) if data.recycle else None,
        "accuracy": tables.accuracy(data) if data.accuracy else None,
        "regions": tables.regions(data),
    }


def render(data: ReportData) -> str:
    """Write the page.

    Parameters
    ----------
    data : ReportData
        The facts.

    Returns
    -------
    str
        HTML; the same text for the same facts.
    """
    kinds = sorted({str(item.kind) for item in data.forecasts.values()})
    return template(TEMPLATE).render(
        data=data,
        headline=headline(data),
        tiles=_tiles(data),
        figures=draw_all(data) | draw_proof(data),
        captions=_captions(data),
        sections=_sections(data),
        kind=" and ".join(kinds),
        planned_at=clock(data.now_s, year=True),
        horizon_h=f"{len(data.placement.slots) * data.placement.slots.step_h:g}",
        certificate=data.placement.certificate,
        policy=policy_name(data.placement.policy),
    )


def write_report(data: ReportData, path: str | Path) -> Path:
    """Write the page to a file, whole or not at all.

    Parameters
    ----------
    data : ReportData
        The facts.
    path : str or Path
        Where; its folder must exist.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    OutputError
        The file can't be written there.
    """
    return write_text(Path(path), render(data))
