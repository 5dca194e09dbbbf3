"""The demonstration: the whole main job on the embedded sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from aicsched.fleet.sample import sample_fleet
from aicsched.fleet.sample_jobs import sample_jobs
from aicsched.forecast.backtest import BacktestResult, backtest
from aicsched.publish import report_data
from aicsched.score.backends import score_backends
from aicsched.score.nodes import score_nodes
from aicsched.score.request import Request
from aicsched.signals.carbon.sample import PAST_DAYS, SAMPLE_NOW_S, SampleCarbon
from aicsched.signals.telemetry_sample import sample_telemetry
from aicsched.slots import HOUR_S
from aicsched.workflow import PlanRun, plan_work, recommend_for, summary

if TYPE_CHECKING:
    from collections.abc import Callable

    from aicsched.config import Settings
    from aicsched.domain.score import ScoreCard
    from aicsched.report.model import ReportData

__all__ = ["DemoRun", "demo_summary", "run_demo"]

ACCURACY_DAYS: Final = 14
_HORIZON_H: Final = 96
_REQUEST: Final = Request(vcpus=8.0, duration_s=4.0 * HOUR_S)


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoRun:
    """What the demonstration made.

    Parameters
    ----------
    run : PlanRun
        The plan.
    accuracy : BacktestResult
        Of the forecaster, on the last days of the sample's past.
    nodes, backends : tuple of ScoreCard
        Scores, best first.
    data : ReportData
        What the report shows.
    past_days : int
        Length of the sample's past [days].
    """

    run: PlanRun
    accuracy: BacktestResult
    nodes: tuple[ScoreCard, ...]
    backends: tuple[ScoreCard, ...]
    data: ReportData
    past_days: int = PAST_DAYS


def run_demo(settings: Settings, *, progress: Callable[[str], None] = lambda _step: None) -> DemoRun:
    """Run the main job on the embedded sample.

    Parameters
    ----------
    settings : Settings
        Model, gap, seed and exchange rates; the horizon is the sample's 96 h.
    progress : callable, optional
        Told the name of each stage.

    Returns
    -------
    DemoRun
        Everything that was made; nothing is written.
    """
    carbon, fleet = SampleCarbon(), sample_fleet()
    run = plan_work(
        carbon,
        fleet,
        sample_jobs(fleet),
        at_s=SAMPLE_NOW_S,
        horizon_h=_HORIZON_H,
        model=settings.model,
        gap_share=settings.gap_share,
        seed=settings.seed,
        progress=progress,
    )
    progress("measure the forecast")
    # Issue times whose four lead days have all come true by now.
    last_s = SAMPLE_NOW_S - _HORIZON_H * HOUR_S
    past = {zone: series.before(SAMPLE_NOW_S) for zone, series in run.series.items()}
    accuracy = backtest(
        past,
        model=settings.model,
        start_s=last_s - (ACCURACY_DAYS - 1) * 86_400,
        end_s=last_s,
        horizon=_HORIZON_H,
    )
    progress("score")
    telemetry = sample_telemetry([node.name for node in fleet.nodes], end_s=SAMPLE_NOW_S)
    nodes = score_nodes(_REQUEST, fleet, run.forecasts, telemetry, start_s=run.at_s)
    backends = score_backends(fleet, run.forecasts, start_s=run.at_s)
    recycle = recommend_for(fleet, telemetry, carbon)
    progress("draw")
    data = report_data(run, accuracy=accuracy, nodes=nodes, backends=backends, recycle=recycle)
    return DemoRun(run=run, accuracy=accuracy, nodes=nodes, backends=backends, data=data)


def demo_summary(made: DemoRun) -> dict[str, Any]:
    """Return the facts of a demonstration as plain values.

    Parameters
    ----------
    made : DemoRun
        What was made.

    Returns
    -------
    dict
        Those of `summary`, with the forecast's accuracy and the best candidates.
    """
    accuracy = made.accuracy.as_dict()
    # CPU time differs from run to run; a summary must not.
    for name in ("cpu_s_per_fit", "cpu_s_per_forecast"):
        del accuracy[name]
    best = {
        "nodes": [card.candidate for card in made.nodes[:3]],
        "backends": [card.candidate for card in made.backends[:3]],
    }
    return summary(made.run) | {"accuracy": accuracy, "best": best}
