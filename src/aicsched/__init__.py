"""aicsched: carbon-aware scheduling, from real signals to a plan with a proof.

The names below are the public interface; each is loaded when it is first used,
so that ``import aicsched`` costs next to nothing.

Examples
--------
>>> import aicsched as ac
>>> fleet = ac.sample_fleet()
>>> len(fleet.regions) >= 6
True
"""

from __future__ import annotations

from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

__version__ = "0.1.0"

if TYPE_CHECKING:
    from aicsched.account.ledger import Ledger
    from aicsched.config import Settings, load_settings
    from aicsched.domain.carbon import CarbonSeries
    from aicsched.domain.fleet import Backend, Fleet, Node, Region
    from aicsched.domain.forecast import Forecast
    from aicsched.domain.job import Job
    from aicsched.domain.placement import Placement
    from aicsched.domain.score import ScoreCard
    from aicsched.errors import AicschedError
    from aicsched.fleet.file import read_fleet
    from aicsched.fleet.jobs_file import read_jobs
    from aicsched.fleet.sample import sample_fleet
    from aicsched.fleet.sample_jobs import sample_jobs
    from aicsched.forecast import forecast_zones
    from aicsched.forecast.backtest import backtest
    from aicsched.publish import save_plan
    from aicsched.recycle.recommend import recommend as recommend_recycle
    from aicsched.score.backends import score_backends
    from aicsched.score.explain import explain
    from aicsched.score.nodes import score_nodes
    from aicsched.score.regions import score_regions
    from aicsched.score.request import Request
    from aicsched.signals.carbon.file import FileCarbon
    from aicsched.signals.carbon.sample import SampleCarbon
    from aicsched.workflow import PlanRun, plan_work

__all__ = [
    "AicschedError",
    "Backend",
    "CarbonSeries",
    "FileCarbon",
    "Fleet",
    "Forecast",
    "Job",
    "Ledger",
    "Node",
    "Placement",
    "PlanRun",
    "Region",
    "Request",
    "SampleCarbon",
    "ScoreCard",
    "Settings",
    "backtest",
    "explain",
    "forecast_zones",
    "load_settings",
    "plan_work",
    "read_fleet",
    "read_jobs",
    "recommend_recycle",
    "sample_fleet",
    "sample_jobs",
    "save_plan",
    "score_backends",
    "score_nodes",
    "score_regions",
]

_HOMES: Final = MappingProxyType(
    {
        "AicschedError": "errors",
        "Backend": "domain.fleet",
        "CarbonSeries": "domain.carbon",
        "FileCarbon": "signals.carbon.file",
        "Fleet": "domain.fleet",
        "Forecast": "domain.forecast",
        "Job": "domain.job",
        "Ledger": "account.ledger",
        "Node": "domain.fleet",
        "Placement": "domain.placement",
        "PlanRun": "workflow",
        "Region": "domain.fleet",
        "Request": "score.request",
        "SampleCarbon": "signals.carbon.sample",
        "ScoreCard": "domain.score",
        "Settings": "config",
        "backtest": "forecast.backtest",
        "explain": "score.explain",
        "forecast_zones": "forecast",
        "load_settings": "config",
        "plan_work": "workflow",
        "read_fleet": "fleet.file",
        "read_jobs": "fleet.jobs_file",
        "recommend_recycle": "recycle.recommend",
        "sample_fleet": "fleet.sample",
        "sample_jobs": "fleet.sample_jobs",
        "save_plan": "publish",
        "score_backends": "score.backends",
        "score_nodes": "score.nodes",
        "score_regions": "score.regions",
    }
)
_RENAMED: Final = MappingProxyType({"recommend_recycle": "recommend"})


def __getattr__(name: str) -> Any:  # noqa: ANN401 - any public name
    """Load a public name when it is first used (PEP 562)."""
    if name not in _HOMES:
        msg = f"module 'aicsched' has no attribute '{name}'"
        raise AttributeError(msg)
    value = getattr(import_module(f"aicsched.{_HOMES[name]}"), _RENAMED.get(name, name))
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names."""
    return sorted([*__all__, "__version__"])
