"""Real grids for the forecast benchmark, where they are at hand, and the embedded sample."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from aicsched.forecast.backtest import REFIT_DAYS
from aicsched.forecast.base import Covariates
from aicsched.forecast.measure import ZoneRun
from aicsched.forecast.metrics import seasonal_step
from aicsched.forecast.mix import read_mix
from aicsched.forecast.weather import read_weather
from aicsched.signals.carbon.file import FileCarbon
from aicsched.signals.carbon.sample import SAMPLE_NOW_S, SampleCarbon
from aicsched.slots import parse_time

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from aicsched.domain.carbon import CarbonSeries

ZONES = ("CISO", "PJM", "ERCO", "ISNE", "NYIS", "FPL", "BPAT", "SE", "DE", "ES", "NL", "PL", "AUS-QLD")
SMOKE_ZONES = ("DE", "PJM", "ISNE")
DAY_S = 86_400
HORIZON = 96
FIRST_S = parse_time("2021-07-01T00:00Z")
LAST_S = parse_time("2021-12-28T00:00Z")


class Case(NamedTuple):
    """Zones to forecast, from a first to a last issue time."""

    series: Mapping[str, CarbonSeries]
    covariates: Mapping[str, Covariates]
    start_s: int
    end_s: int
    every_days: int = 1
    refit_days: int = REFIT_DAYS

    def times_s(self) -> range:
        """Return the issue times."""
        return range(self.start_s, self.end_s + 1, self.every_days * DAY_S)


def folder() -> Path | None:
    """Return where real series lie, or None."""
    root = Path(os.environ.get("AICSCHED_SHARED") or Path(__file__).resolve().parents[2] / "shared")
    found = root / "data" / "carbon"
    return found if found.is_dir() else None


def sample_case() -> Case:
    """Return the embedded sample's grids: synthetic."""
    source = SampleCarbon()
    series = {zone: source.read(zone) for zone in source.zones()}
    return Case(series, {}, SAMPLE_NOW_S - 26 * DAY_S, SAMPLE_NOW_S, 2)


def real_case(root: Path, *, column: str, zones: Sequence[str] = ZONES) -> Case:
    """Return the 13 grids on the published test window, with weather and source mix as known then."""
    paths = [root / f"ccast13_{zone}.parquet" for zone in zones]
    source = FileCarbon(paths, column=column)
    weather = read_weather([str(root / f"ccast13_wx96_{zone}.parquet") for zone in zones])
    mix = read_mix([str(path) for path in paths])
    covariates = {zone: Covariates(weather=weather[zone], mix=mix[zone]) for zone in zones}
    return Case({zone: source.read(zone) for zone in zones}, covariates, FIRST_S, LAST_S)


def other_cases(root: Path) -> dict[str, tuple[Case, str]]:
    """Return other zones and years, and the period of each: nothing was tuned on them."""
    periods = {
        "em": ("2023-07-01T00:00Z", "2023-12-27T00:00Z", "ci_lifecycle"),
        "eia": ("2022-01-01T00:00Z", "2022-06-26T00:00Z", "ci_lifecycle"),
        "eia_AZPS": ("2022-07-01T00:00Z", "2022-12-27T00:00Z", "ci_avg"),
        "eci": ("2022-01-01T00:00Z", "2022-06-26T00:00Z", "ci_lifecycle"),
        "eci_EU": ("2021-07-01T00:00Z", "2021-12-27T00:00Z", "ci_lifecycle"),
        "em_NYIS": ("2022-01-01T00:00Z", "2022-06-26T00:00Z", "ci_lifecycle"),
    }
    made: dict[str, tuple[Case, str]] = {}
    for path in sorted(
        (*root.glob("em_*.parquet"), *root.glob("eia_*.parquet"), *root.glob("eci_*.parquet"))
    ):
        kind, _, zone = path.stem.partition("_")
        key = kind
        if "AZPS" in zone:
            key = "eia_AZPS"
        elif kind == "eci" and zone in {"DE", "ES", "NL", "PL", "SE"}:
            key = "eci_EU"
        elif "NYIS" in zone and kind == "em":
            key = "em_NYIS"
        start, end, column = periods[key]
        series = FileCarbon([f"{zone}={path}"], column=column).read(zone)
        known = {} if kind == "em" else {zone: Covariates(mix=read_mix([f"{zone}={path}"])[zone])}
        case = Case({zone: series}, known, parse_time(start), parse_time(end))
        made[path.stem] = (case, f"{start[:10]} to {end[:10]}")
    return made


def run_of(series: CarbonSeries, times_s: Sequence[int], mean: Any, band: Any = None) -> ZoneRun:  # noqa: ANN401
    """Put a method's forecasts beside what came.

    Parameters
    ----------
    series : CarbonSeries
        What came, and the past.
    times_s : sequence of int
        Issue times.
    mean : ndarray, shape (n, HORIZON)
        Forecasts.
    band : ndarray, shape (n, 2, HORIZON), optional
        Its 10 % and 90 % quantiles.

    Returns
    -------
    ZoneRun
        To be measured.
    """
    first = [(time_s - series.slots.start_s) // series.slots.step_s for time_s in times_s]
    actual = np.stack([series.values_g_per_kwh[at : at + HORIZON] for at in first])
    past = series.before(times_s[0]).values_g_per_kwh
    return ZoneRun(
        step_s=series.slots.step_s,
        issue_times_s=np.array(times_s, dtype=np.int64),
        actual_g_per_kwh=actual,
        mean_g_per_kwh=np.asarray(mean),
        levels=() if band is None else (0.1, 0.9),
        quantiles_g_per_kwh=np.zeros((len(actual), 0, HORIZON)) if band is None else np.asarray(band),
        scale_g_per_kwh=seasonal_step(past, DAY_S // series.slots.step_s),
    )


def anchor_runs(root: Path, case: Case, *, kind: str) -> dict[str, ZoneRun]:
    """Return CarbonCast's own first-tier forecasts on a case's issue times.

    Parameters
    ----------
    root : Path
        Of `folder`.
    case : Case
        On the published test window.
    kind : str
        ``lifecycle`` or ``direct``.

    Returns
    -------
    dict of str to ZoneRun
        Per zone.
    """
    from pyarrow import parquet

    table = parquet.read_table(root / "ccast13_firsttier_forecasts.parquet").to_pandas()
    times_s = list(case.times_s())
    made: dict[str, ZoneRun] = {}
    for zone, series in case.series.items():
        rows = table[table["zone"] == zone].sort_values(["issue_day", "lead_h"])
        issued = (
            rows["issue_day"]
            .dt.tz_localize(None)
            .to_numpy()
            .astype("datetime64[s]")
            .astype(np.int64)[::HORIZON]
        )
        foreseen = rows[f"first_tier_{kind}"].to_numpy(dtype=np.float64).reshape(-1, HORIZON)
        actual = rows[f"actual_{kind}"].to_numpy(dtype=np.float64).reshape(-1, HORIZON)
        chosen = np.searchsorted(issued, times_s)
        assert (issued[chosen] == times_s).all(), f"{zone}: the anchor lacks an issue time"
        made[zone] = run_of(series, times_s, foreseen[chosen])
        assert np.allclose(made[zone].actual_g_per_kwh, actual[chosen], rtol=2e-3), f"{zone}: other actuals"
    return made
