"""A snapshot of the embedded synthetic sample: the extender to try, without a cluster."""

from __future__ import annotations

from typing import Final

from aicsched.extender.costs import SPANS_H, fleet_costs
from aicsched.extender.snapshot import Snapshot
from aicsched.fleet.sample import sample_fleet
from aicsched.forecast import forecast_zones
from aicsched.signals.carbon.sample import SAMPLE_NOW_S, SampleCarbon
from aicsched.signals.telemetry_sample import sample_telemetry
from aicsched.slots import HOUR_S

__all__ = ["sample_snapshot"]

_HORIZON_H: Final = SPANS_H[-1]


def sample_snapshot() -> Snapshot:
    """Forecast the embedded sample and lay its nodes out for scoring.

    Returns
    -------
    Snapshot
        Labelled synthetic, issued at the sample's own "now", never stale.

    Examples
    --------
    >>> snapshot = sample_snapshot()
    >>> snapshot.synthetic, len(snapshot.names) >= 200
    (True, True)
    """
    fleet = sample_fleet()
    carbon = SampleCarbon()
    zones = sorted({region.grid_zone for region in fleet.regions})
    history = {zone: carbon.read(zone).before(SAMPLE_NOW_S) for zone in zones}
    step_s = max(series.slots.step_s for series in history.values())
    forecasts = forecast_zones(history, at_s=SAMPLE_NOW_S, horizon=_HORIZON_H * HOUR_S // step_s)
    names = tuple(node.name for node in fleet.nodes)
    telemetry = sample_telemetry(names, end_s=SAMPLE_NOW_S)
    return Snapshot(
        names=names,
        costs=fleet_costs(fleet, forecasts, telemetry, start_s=SAMPLE_NOW_S),
        issued_at_s=SAMPLE_NOW_S,
        sources={carbon.source_id: SAMPLE_NOW_S, telemetry.source: telemetry.slots.end_s},
        synthetic=True,
    )
