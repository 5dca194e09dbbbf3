"""Options that several commands share, and the inputs they lead to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from aicsched.errors import InputError

if TYPE_CHECKING:
    from aicsched.config.signals import SignalSettings
    from aicsched.domain.carbon import CarbonSeries, IntensityKind
    from aicsched.domain.fleet import Fleet
    from aicsched.domain.forecast import Forecast
    from aicsched.domain.service import Service
    from aicsched.domain.telemetry import Telemetry
    from aicsched.forecast.base import Covariates
    from aicsched.signals.base import CarbonSource
    from aicsched.signals.carbon.stored import StoredCarbon
    from aicsched.signals.store import SignalStore

__all__ = [
    "At",
    "Carbon",
    "Column",
    "FleetFile",
    "Horizon",
    "Kind",
    "Lag",
    "Model",
    "Services",
    "TimeZone",
    "Unit",
    "open_carbon",
    "open_covariates",
    "open_fleet",
    "open_services",
    "open_store",
    "open_telemetry",
    "planning_time",
    "stored_carbon",
    "zone_forecasts",
]

STORE_PREFIX: Final = "store:"
LIVE_PREFIX: Final = "live:"
Carbon = Annotated[
    list[str] | None,
    typer.Option(
        "--carbon",
        metavar="FILE…",
        help="Carbon intensity: CSV or parquet files, ZONE=FILE to name the zone; or store:PATH; or live:",
    ),
]
Column = Annotated[str | None, typer.Option("--column", help="Which column holds the intensity.")]
Unit = Annotated[
    str | None, typer.Option("--unit", help="Unit of the intensity, e.g. kg/MWh (default g/kWh).")
]
Kind = Annotated[str | None, typer.Option("--kind", help="average or marginal.")]
TimeZone = Annotated[
    str | None,
    typer.Option("--time-zone", metavar="ZONE", help="Clock of times without an offset, e.g. Europe/Berlin."),
]
Lag = Annotated[
    float,
    typer.Option("--lag", metavar="H", min=0, help="How long after its hour an intensity is known [h]."),
]
Weather = Annotated[
    list[str] | None,
    typer.Option(
        "--weather", metavar="FILE…", help="Vintage weather forecasts, one file a zone; ZONE=FILE names it."
    ),
]
WeatherLag = Annotated[
    float,
    typer.Option("--weather-lag", metavar="H", min=0, help="How long after its issue it is at hand [h]."),
]
Mix = Annotated[
    bool, typer.Option("--mix", help="Use the power of each source too: the carbon files' columns gen_….")
]
FleetFile = Annotated[
    Path | None, typer.Option("--fleet", help="The fleet, JSON or CSV (see `aicsched schema fleet`).")
]
Services = Annotated[
    Path | None,
    typer.Option("--services", help="Always-on services, CSV or JSON (see `aicsched schema services`)."),
]
At = Annotated[
    str | None, typer.Option("--at", metavar="ISO", help="Planning time with offset, e.g. 2021-07-01T00:00Z.")
]
Horizon = Annotated[
    int | None, typer.Option("--horizon", metavar="H", help="How many hours ahead (default 96).")
]
Model = Annotated[
    str | None, typer.Option("--model", help="Forecaster: auto, ridge, seasonal or a plug-in's name.")
]


def open_carbon(
    files: list[str] | None,
    *,
    column: str | None = None,
    unit: str | None = None,
    kind: str | None = None,
    time_zone: str | None = None,
    lag_h: float = 0.0,
    config: Path | None = None,
) -> CarbonSource:
    """Open the user's carbon files, or the embedded sample when none is given.

    Parameters
    ----------
    files : list of str or None
        Paths, or ``ZONE=PATH``.
    column, unit, kind, time_zone : str, optional
        As for `FileCarbon`.
    lag_h : float
        Availability lag of the intensities [h].
    config : Path, optional
        The settings file, for signals that are stored or read live.

    Returns
    -------
    CarbonSource
        Ready to read.

    Raises
    ------
    AicschedError
        A file can't be used.
    """
    from aicsched.domain.carbon import IntensityKind
    from aicsched.slots import HOUR_S

    if kind is not None and kind not in set(IntensityKind):
        msg = f"'{kind}' is no kind of intensity"
        raise InputError(msg, hint="use average or marginal", value=kind)
    chosen = None if kind is None else IntensityKind(kind)
    if files and files[0].startswith((STORE_PREFIX, LIVE_PREFIX)):
        return _open_stored(files, chosen, config)
    if files:
        from aicsched.signals.carbon.file import FileCarbon

        return FileCarbon(
            files,
            column=column,
            unit=unit,
            kind=chosen,
            time_zone=time_zone,
            availability_lag_s=round(lag_h * HOUR_S),
        )
    from aicsched.signals.carbon.sample import SampleCarbon

    return SampleCarbon(kind=chosen or IntensityKind.AVERAGE)


def open_store(settings: SignalSettings, path: str | Path | None, *, read_only: bool = False) -> SignalStore:
    """Open the store of signals with what the settings say of it.

    Parameters
    ----------
    settings : SignalSettings
        Where it lies, and how long it keeps what it holds.
    path : str, Path or None
        Another place.
    read_only : bool
        Whether nothing is written.

    Returns
    -------
    SignalStore
        Open.
    """
    from aicsched.signals.store import SignalStore
    from aicsched.slots import DAY_S

    kept_s = settings.retention_days * DAY_S
    return SignalStore(path or settings.store, read_only=read_only, retention_s=kept_s)


def _open_stored(files: list[str], kind: IntensityKind | None, config: Path | None) -> CarbonSource:
    from aicsched.config import load_settings

    if len(files) > 1:
        msg = "signals can't be mixed with other carbon files"
        raise InputError(msg, hint="give the store alone", value=files)
    settings = load_settings(config).signals
    prefix, _, path = files[0].partition(":")
    if prefix == "store":
        return stored_carbon(open_store(settings, path, read_only=True), settings, kind=kind)
    from aicsched.signals.precedence import Present, open_merged

    return Present(open_merged(settings, store=open_store(settings, path)))


def stored_carbon(
    held: SignalStore,
    settings: SignalSettings,
    *,
    order: tuple[str, ...] = (),
    kind: IntensityKind | None = None,
    known_at_s: int | None = None,
) -> StoredCarbon:
    """Make a carbon source of a store, by what the settings say of precedence and factors.

    Parameters
    ----------
    held : SignalStore
        Open.
    settings : SignalSettings
        With the order of sources.
    order : tuple of str
        Another order.
    kind : IntensityKind, optional
        Average or marginal.
    known_at_s : int, optional
        Only what had been read by then, seconds since the epoch.

    Returns
    -------
    StoredCarbon
        Ready to read.
    """
    from aicsched.signals.carbon.stored import StoredCarbon

    told = {name: getattr(source, "scope", None) for name, source in settings.sources.items()}
    return StoredCarbon(
        held,
        order=order or settings.order,
        kind=kind,
        known_at_s=known_at_s,
        scopes={name: scope for name, scope in told.items() if scope},
        mixed_scopes=settings.mixed_scopes,
    )


def open_fleet(path: Path | None) -> Fleet:
    """Read the user's fleet, or the embedded sample when none is given.

    Parameters
    ----------
    path : Path or None
        A fleet file.

    Returns
    -------
    Fleet
        Checked.

    Raises
    ------
    InputError
        The file can't be used.
    """
    if path is None:
        from aicsched.fleet.sample import sample_fleet

        return sample_fleet()
    from aicsched.fleet.file import read_fleet

    return read_fleet(path)


def planning_time(at: str | None, source: CarbonSource) -> int | None:
    """Return the planning time that was asked for.

    Parameters
    ----------
    at : str or None
        ISO 8601 with an offset.
    source : CarbonSource
        Where intensities come from: without a time, those read live are planned from the hour under way,
        however old they are, and the embedded sample from its own "now".

    Returns
    -------
    int or None
        Seconds since the epoch; None means the end of what is known.

    Raises
    ------
    SlotError
        The time has no offset.
    """
    if at is not None:
        from aicsched.slots import parse_time

        return parse_time(at)
    from aicsched.signals.carbon.sample import SAMPLE_NOW_S, SampleCarbon
    from aicsched.signals.precedence import Present

    if isinstance(source, SampleCarbon):
        return SAMPLE_NOW_S
    return source.at_s if isinstance(source, Present) else None


def open_covariates(
    carbon: list[str] | None, *, weather: list[str] | None, weather_lag_h: float, mix: bool, lag_h: float
) -> dict[str, Covariates]:
    """Read what a forecaster may know beside the intensity.

    Parameters
    ----------
    carbon : list of str or None
        The carbon files, which hold the mix.
    weather : list of str or None
        Weather files.
    weather_lag_h : float
        Availability lag of the weather [h].
    mix : bool
        Read the mix.
    lag_h : float
        Availability lag of the mix, that of the intensities [h].

    Returns
    -------
    dict of str to Covariates
        Per zone.

    Raises
    ------
    InputError
        The mix is asked for without carbon files, or a file holds something else.
    """
    from aicsched.forecast.base import Covariates
    from aicsched.forecast.mix import read_mix
    from aicsched.forecast.weather import read_weather
    from aicsched.slots import HOUR_S

    if mix and not carbon:
        msg = "--mix without --carbon: the sample has no source mix"
        raise InputError(msg, hint="give carbon files with columns such as gen_wind")
    outside = read_weather(weather or (), availability_lag_s=round(weather_lag_h * HOUR_S))
    power = read_mix(carbon or (), availability_lag_s=round(lag_h * HOUR_S)) if mix else {}
    return {
        zone: Covariates(weather=outside.get(zone), mix=power.get(zone))
        for zone in dict.fromkeys((*outside, *power))
    }


def zone_forecasts(
    carbon: CarbonSource,
    zones: list[str],
    *,
    at_s: int | None,
    horizon_h: int,
    model: str,
    covariates: dict[str, Covariates] | None = None,
) -> tuple[dict[str, CarbonSeries], dict[str, Forecast]]:
    """Forecast some zones of a source.

    Parameters
    ----------
    carbon : CarbonSource
        Where intensities come from.
    zones : list of str
        Which.
    at_s : int or None
        Issue time; None means the end of what is known.
    horizon_h : int
        How far [h].
    model : str
        Name of the forecaster.
    covariates : dict of str to Covariates, optional
        What it may know beside the intensities, per zone.

    Returns
    -------
    tuple of dict, dict
        The series, and the forecasts, per zone.

    Raises
    ------
    AicschedError
        A zone is unknown or can't be forecast.
    """
    from aicsched.forecast import forecast_zones
    from aicsched.forecast.issue import newest_issue_s
    from aicsched.slots import HOUR_S

    series = {zone: carbon.read(zone) for zone in zones}
    issue_s = newest_issue_s(series.values()) if at_s is None else at_s
    made: dict[str, Forecast] = {}
    for zone, item in series.items():
        slots = horizon_h * HOUR_S // item.slots.step_s
        made |= forecast_zones({zone: item}, at_s=issue_s, horizon=slots, model=model, covariates=covariates)
    return series, made


def open_services(path: Path | None, fleet: Fleet) -> tuple[Service, ...]:
    """Read the user's services, or make the sample's for a sample fleet.

    Parameters
    ----------
    path : Path or None
        A file of services.
    fleet : Fleet
        Where they are to run.

    Returns
    -------
    tuple of Service
        At least one.

    Raises
    ------
    InputError
        The file can't be used, or a real fleet comes without one.
    """
    if path is not None:
        from aicsched.fleet.services_file import read_services

        return read_services(path)
    if not fleet.synthetic:
        msg = "no services were given for this fleet"
        raise InputError(msg, hint="add --services FILE (see `aicsched schema services`)")
    from aicsched.fleet.sample_services import sample_services

    return sample_services(fleet)


def open_telemetry(path: str | None, fleet: Fleet) -> Telemetry:
    """Read the user's node telemetry, or make the sample's for a sample fleet.

    Parameters
    ----------
    path : str or None
        A telemetry file.
    fleet : Fleet
        Whose nodes are meant.

    Returns
    -------
    Telemetry
        Per node.

    Raises
    ------
    InputError
        The file can't be used, or a real fleet comes without one.
    """
    if path is not None:
        from aicsched.signals.telemetry_file import read_telemetry

        return read_telemetry(Path(path))
    if not fleet.synthetic:
        msg = "no telemetry was given for this fleet"
        raise InputError(msg, hint="add --telemetry FILE (see `aicsched schema telemetry`)")
    from aicsched.signals.carbon.sample import SAMPLE_NOW_S
    from aicsched.signals.telemetry_sample import sample_telemetry

    return sample_telemetry(tuple(node.name for node in fleet.nodes), end_s=SAMPLE_NOW_S)
