"""Facts refuse to be false."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from aicsched.domain.carbon import CarbonSeries, IntensityKind, Quality
from aicsched.domain.decision import Decision
from aicsched.domain.fleet import Backend, BackendKind, Fleet, Node, Region
from aicsched.domain.forecast import Forecast
from aicsched.domain.job import Job
from aicsched.domain.placement import Assignment, Certificate, Placement
from aicsched.domain.score import ScoreCard, ScoreTerm
from aicsched.domain.telemetry import Telemetry
from aicsched.errors import ForecastError, InputError, SignalInvalid, SlotError
from aicsched.slots import SlotGrid

HOURS = SlotGrid(0, 3600, 4)


def series(values: list[float]) -> CarbonSeries:
    return CarbonSeries(
        grid_zone="DE",
        kind=IntensityKind.AVERAGE,
        slots=SlotGrid(0, 3600, len(values)),
        values_g_per_kwh=values,
        source="test",
    )  # type: ignore[arg-type]


def test_a_series_is_read_only_and_marks_what_is_missing() -> None:
    made = series([1.0, math.nan, 3.0])
    assert made.missing == 1
    assert made.quality is not None
    assert made.quality.tolist() == [Quality.ACTUAL, Quality.MISSING, Quality.ACTUAL]
    with pytest.raises(ValueError, match="read-only"):
        made.values_g_per_kwh[0] = 5.0
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.grid_zone = "FR"  # type: ignore[misc]


@pytest.mark.parametrize("bad", [-0.1, 2500.1, math.inf, -math.inf])
def test_what_can_not_be_true_is_refused_with_its_time(bad: float) -> None:
    with pytest.raises(SignalInvalid, match=r"DE: .* at 1970-01-01T01:00Z can't be true \(1 such"):
        series([1.0, bad])


def test_a_series_must_fill_its_grid() -> None:
    with pytest.raises(SignalInvalid, match="2 values for 4 slots"):
        CarbonSeries(
            grid_zone="DE",
            kind=IntensityKind.AVERAGE,
            slots=HOURS,
            values_g_per_kwh=np.ones(2),
            source="test",
        )


def test_windows_keep_values_and_source() -> None:
    made = series([1.0, 2.0, 3.0, 4.0])
    part = made.window(SlotGrid(3600, 3600, 2))
    assert part.values_g_per_kwh.tolist() == [2.0, 3.0]
    assert part.source == "test"
    assert made.before(2 * 3600 + 1).values_g_per_kwh.tolist() == [1.0, 2.0]
    assert len(made.before(0).slots) == 0
    with pytest.raises(SlotError):
        made.window(SlotGrid(0, 3600, 5))


def forecast(quantiles: list[list[float]], mean: list[float] | None = None) -> Forecast:
    return Forecast(
        grid_zone="DE",
        kind=IntensityKind.AVERAGE,
        slots=HOURS,
        issue_time_s=0,
        levels=(0.1, 0.9),
        model="m",
        source="s",
        mean_g_per_kwh=np.array(mean or [2.0] * 4),
        quantiles_g_per_kwh=np.array(quantiles),
    )


def test_a_forecast_gives_its_quantiles() -> None:
    made = forecast([[1.0] * 4, [3.0] * 4])
    assert made.quantile(0.9).tolist() == [3.0] * 4
    with pytest.raises(ForecastError, match="no quantile"):
        made.quantile(0.5)


@pytest.mark.parametrize(
    ("quantiles", "mean", "words"),
    [
        ([[3.0] * 4, [1.0] * 4], None, "cross"),
        ([[1.0] * 3, [3.0] * 3], None, "for 4 slots"),
        ([[1.0] * 4, [math.nan] * 4], None, "not finite"),
        ([[1.0] * 4, [3.0] * 4], [math.inf] * 4, "not finite"),
    ],
)
def test_a_forecast_refuses_nonsense(
    quantiles: list[list[float]], mean: list[float] | None, words: str
) -> None:
    with pytest.raises(ForecastError, match=words):
        forecast(quantiles, mean)


def region(**change: object) -> Region:
    values = {"name": "r", "grid_zone": "DE", "capacity_vcpus": 8.0, "power_w_per_vcpu": 4.0} | change
    return Region(**values)  # type: ignore[arg-type]


def node(**change: object) -> Node:
    values = {"name": "n", "region": "r", "vcpus": 8.0, "memory_gib": 32.0, "cpu_family": "amd-epyc-gen3"}
    values |= {"idle_w": 50.0, "max_w": 200.0, "embodied_kg": 1000.0} | change
    return Node(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [
        {"pue": 0.9},
        {"capacity_vcpus": -1.0},
        {"power_w_per_vcpu": -1.0},
        {"transfer_g_per_gb": -1.0},
        {"embodied_g_per_vcpu_h": -0.1},
        {"name": ""},
        {"capacity_vcpus": math.nan},
        {"pue": math.nan},
    ],
)
def test_a_region_refuses_what_can_not_be(change: dict[str, object]) -> None:
    with pytest.raises(InputError):
        region(**change)


@pytest.mark.parametrize(
    "change", [{"vcpus": 0.0}, {"idle_w": 300.0}, {"lifetime_years": 0.0}, {"embodied_kg": -1.0}]
)
def test_a_node_refuses_what_can_not_be(change: dict[str, object]) -> None:
    with pytest.raises(InputError):
        node(**change)


def test_a_backend_refuses_negative_power() -> None:
    with pytest.raises(InputError, match="power is negative"):
        Backend(name="q", region="r", kind=BackendKind.QUANTUM, static_w=-1.0, active_w=0.0)


def test_a_fleet_checks_its_names() -> None:
    fleet = Fleet(regions=(region(), region(name="s")), nodes=(node(),))
    assert fleet.region("s").name == "s"
    with pytest.raises(InputError, match="no region 'rr'; did you mean r"):
        fleet.region("rr")
    with pytest.raises(InputError, match="appears twice"):
        Fleet(regions=(region(), region()))
    with pytest.raises(InputError, match="which the fleet doesn't have"):
        Fleet(regions=(region(),), nodes=(node(region="x"),))
    with pytest.raises(InputError, match="no region"):
        Fleet(regions=())


def job(**change: object) -> Job:
    values = {
        "job_id": "a",
        "vcpus": 1.0,
        "duration_s": 3600.0,
        "release_s": 0,
        "deadline_s": 7200,
        "home_region": "r",
    }
    return Job(**(values | change))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"vcpus": 0.0}, "vcpus is 0.0"),
        ({"vcpus": math.nan}, "vcpus is nan"),
        ({"duration_s": -1.0}, "duration_s is -1.0"),
        ({"data_gb": math.inf}, "data_gb is inf"),
        ({"memory_gib": -1.0}, "memory_gib is -1.0"),
        ({"deadline_s": 0}, "not after its release"),
        ({"duration_s": 9000.0}, "has only 2 h"),
    ],
)
def test_a_job_refuses_what_can_not_be(change: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        job(**change)


@pytest.mark.parametrize(
    ("objective", "bound", "gap"),
    [(110.0, 100.0, 0.1), (100.0, 100.0, 0.0), (0.0, 0.0, 0.0), (5.0, -math.inf, math.inf)],
)
def test_the_gap_is_a_share_of_the_bound(objective: float, bound: float, gap: float) -> None:
    made = Certificate(status="bounded", objective_g=objective, lower_bound_g=bound, method="m")
    assert made.gap == pytest.approx(gap)


def test_totals_add_up() -> None:
    rows = tuple(
        Assignment(job_id=str(i), region="r", slot_indices=(i,), operational_g=10.0 * i, transfer_g=1.0)
        for i in (1, 2)
    )
    proof = Certificate(status="heuristic", objective_g=32.0, lower_bound_g=-math.inf, method="m")
    plan = Placement(policy="p", slots=HOURS, assignments=rows, certificate=proof, prices_g_per_vcpu_h={})
    assert plan.total_g == 32.0
    card = ScoreCard(
        candidate="n",
        candidate_kind="node",
        request="one",
        terms=(
            ScoreTerm(name="a", low_g=1, mid_g=2, high_g=3),
            ScoreTerm(name="b", low_g=0, mid_g=1, high_g=5),
        ),
    )
    assert (card.low_g, card.mid_g, card.high_g, card.feasible) == (1, 3, 8, True)
    made = Decision(
        decision_id="x",
        decided_at_s=0,
        kind="place",
        subject="a",
        region="r",
        start_s=0,
        end_s=1,
        energy_kwh=1.0,
        operational_g=3.0,
        embodied_g=0.0,
        counterfactual_g=5.0,
        intensity_kind="average",
        policy="p",
        reason="",
    )
    assert made.avoided_g == 2.0


def telemetry(**change: object) -> Telemetry:
    values: dict[str, object] = {"nodes": ("n",), "slots": HOURS, "source": "test"}
    values |= {
        "cpu_share": np.full((1, 4), 0.5),
        "network_mb": np.ones((1, 4)),
        "memory_share": np.ones((1, 4)),
    }
    return Telemetry(**(values | change))  # type: ignore[arg-type]


def test_unknown_telemetry_stays_unknown() -> None:
    made = telemetry(cpu_share=np.array([[0.1, math.nan, 0.3, 0.4]]))
    assert np.isnan(made.cpu_share[0, 1])
    assert made.power_w is None
    assert np.isnan(telemetry(power_w=np.full((1, 4), math.nan)).power_w).all()


@pytest.mark.parametrize(
    "change",
    [
        {"cpu_share": np.full((1, 4), 1.1)},
        {"network_mb": np.full((1, 4), -1.0)},
        {"memory_share": np.ones((2, 4))},
        {"ready_share": np.full((1, 4), 1.1)},
        {"restarts": np.full((1, 4), -1.0)},
        {"power_w": np.full((1, 4), math.inf)},
        {"io_stall_share": np.ones((1, 3))},
    ],
)
def test_telemetry_refuses_what_can_not_be(change: dict[str, object]) -> None:
    with pytest.raises(SignalInvalid):
        telemetry(**change)
