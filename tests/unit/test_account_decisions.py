from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from aicsched.account.decisions import correct, decisions_from
from aicsched.account.ledger import Ledger
from aicsched.domain.carbon import IntensityKind
from aicsched.domain.fleet import Fleet, Region
from aicsched.domain.forecast import Forecast
from aicsched.domain.job import Job
from aicsched.domain.placement import Assignment, Certificate, Placement
from aicsched.errors import LedgerError, SlotError, UnknownZone
from aicsched.slots import HOUR_S, SlotGrid

GRID = SlotGrid(1_000 * HOUR_S, HOUR_S, 6)
DE = [400.0, 300.0, 500.0, 200.0, 100.0, 600.0]
SE = [30.0, 20.0, 10.0, 20.0, 30.0, 40.0]
FLEET = Fleet(
    regions=(
        Region(
            name="de", grid_zone="DE", capacity_vcpus=99, power_w_per_vcpu=5, pue=1.2, embodied_g_per_vcpu_h=2
        ),
        Region(
            name="se", grid_zone="SE", capacity_vcpus=99, power_w_per_vcpu=4, pue=1.1, embodied_g_per_vcpu_h=3
        ),
    )
)


def forecast(zone: str, values: list[float], **changes: Any) -> Forecast:
    mean = np.array(values)
    facts: dict[str, Any] = {
        "grid_zone": zone,
        "kind": IntensityKind.AVERAGE,
        "slots": GRID,
        "issue_time_s": GRID.start_s,
        "mean_g_per_kwh": mean,
        "levels": (0.5,),
        "quantiles_g_per_kwh": mean[None, :],
        "model": "ridge",
        "source": f"file:{zone}",
    }
    return Forecast(**facts | changes)


FORECASTS = {"DE": forecast("DE", DE), "SE": forecast("SE", SE)}


def job(name: str, **changes: Any) -> Job:
    facts: dict[str, Any] = {
        "job_id": name, "vcpus": 10.0, "duration_s": 2.0 * HOUR_S, "release_s": GRID.start_s,
        "deadline_s": GRID.end_s, "home_region": "de",
    }  # fmt: skip
    return Job(**facts | changes)


def plan(policy: str, rows: list[Assignment]) -> Placement:
    proof = Certificate(status="heuristic", objective_g=0.0, lower_bound_g=float("-inf"), method="test")
    return Placement(
        policy=policy, slots=GRID, assignments=tuple(rows), certificate=proof, prices_g_per_vcpu_h={}
    )


def row(
    name: str, region: str, slots: tuple[int, ...], operational_g: float, transfer_g: float = 0.0
) -> Assignment:
    return Assignment(
        job_id=name, region=region, slot_indices=slots, operational_g=operational_g, transfer_g=transfer_g
    )


JOBS = (
    job("moved"),
    job("fixed", deferrable=False),
    job("split", suspendable=True),
    job("pushed"),
    job("early"),
)
PLAN = plan(
    "optimal",
    [
        row("moved", "se", (1, 2), 1.32, 5.0),
        row("fixed", "de", (0, 1), 42.0),
        row("split", "de", (1, 4), 24.0),
        row("pushed", "de", (2, 3), 42.5),
        row("early", "de", (0, 1), 42.0),
    ],
)
NO_WAIT = plan(
    "no_wait",
    [
        row("moved", "de", (0, 1), 42.0),
        row("fixed", "de", (0, 1), 42.0),
        row("split", "de", (0, 1), 42.0),
        row("pushed", "de", (0, 1), 42.0),
        row("early", "de", (2, 3), 42.0),
    ],
)
GIVEN: dict[str, Any] = {
    "placement": PLAN, "baseline": NO_WAIT, "jobs": JOBS, "fleet": FLEET, "forecasts": FORECASTS,
    "decided_at_s": GRID.start_s,
}  # fmt: skip


def test_one_decision_a_job_with_its_counterfactual_by_hand() -> None:
    moved, fixed, split, *_ = decisions_from(**GIVEN)
    # 10 threads · 4 W · 1.1 · 2 h = 88 Wh; SE's mean over slots 1 and 2 is 15 g/kWh: 1.32 g.
    assert moved.energy_kwh == pytest.approx(0.088)
    assert moved.operational_g == pytest.approx(1.32 + 5.0)
    assert moved.embodied_g == pytest.approx(3 * 10 * 2)
    assert (moved.counterfactual_g, moved.avoided_g) == (42.0, pytest.approx(42.0 - 6.32))
    assert (moved.subject, moved.region, moved.kind, moved.policy) == ("moved", "se", "place", "optimal")
    assert (moved.start_s, moved.end_s) == (GRID.start_s + HOUR_S, GRID.start_s + 3 * HOUR_S)
    assert moved.intensity_kind == "average"
    assert moved.decided_at_s == GRID.start_s
    assert [text.split(",")[0] for text in moved.inputs] == ["DE: file:DE", "SE: file:SE"]
    assert len(fixed.inputs) == 1
    assert (split.start_s, split.end_s) == (GRID.start_s + HOUR_S, GRID.start_s + 5 * HOUR_S)


def test_reasons_say_what_moved_and_what_it_is_worth() -> None:
    moved, fixed, split, pushed, early = (item.reason for item in decisions_from(**GIVEN))
    assert moved == "moved from de to se and started 1 h later: 6.32 g instead of 42 g, avoids 35.7 g"
    assert fixed == "stays in de and starts at once: it can't wait"
    assert split == "started 1 h later and paused in dirty hours: 24 g instead of 42 g, avoids 18 g"
    assert pushed == "started 2 h later: 42.5 g instead of 42 g, costs 0.5 g so that others emit less"
    assert early == "started 2 h earlier: 42 g instead of 42 g, avoids 0 g"
    first, second, *_ = decisions_from(**GIVEN | {"reasons": {"moved": "because"}})
    assert (first.reason, second.reason) == ("because", fixed)
    stays = GIVEN | {
        "placement": plan("x", [row("moved", "de", (0, 1), 42.0)]),
        "jobs": JOBS[:1],
        "baseline": None,
    }
    assert "no cleaner place or time has room" in decisions_from(**stays)[0].reason


def test_without_a_baseline_each_job_is_compared_with_itself_at_once_at_home() -> None:
    late = job("late", release_s=GRID.start_s + 90 * 60, duration_s=1.5 * HOUR_S)
    given = GIVEN | {
        "jobs": (late,),
        "placement": plan("x", [row("late", "se", (4, 5), 1.0)]),
        "baseline": None,
    }
    (only,) = decisions_from(**given)
    # Released in slot 1, it starts with slot 2 and fills slots 2 and 3: 60 W · 1.5 h · 350 g/kWh.
    assert only.counterfactual_g == pytest.approx(0.06 * 1.5 * 350.0)
    longer = {zone: forecast(zone, [9.0] * 2 + item.mean_g_per_kwh.tolist(), slots=SlotGrid(GRID.start_s - 2 * HOUR_S, HOUR_S, 8)) for zone, item in FORECASTS.items()}  # fmt: skip  # noqa: E501
    assert decisions_from(**given | {"forecasts": longer})[0].counterfactual_g == only.counterfactual_g
    early = job("late", release_s=GRID.start_s - 5 * HOUR_S)
    (clamped,) = decisions_from(**given | {"jobs": (early,)})
    assert clamped.counterfactual_g == pytest.approx(0.12 * 350.0)
    behind = job("late", release_s=GRID.end_s - HOUR_S, deadline_s=GRID.end_s + 9 * HOUR_S)
    with pytest.raises(LedgerError, match="behind the horizon"):
        decisions_from(**given | {"jobs": (behind,)})
    short = {
        zone: replace(item, slots=SlotGrid(GRID.start_s + HOUR_S, HOUR_S, 6))
        for zone, item in FORECASTS.items()
    }
    with pytest.raises(SlotError):
        decisions_from(**given | {"forecasts": short})


def test_ids_are_stable_and_change_with_any_input() -> None:
    base = [item.decision_id for item in decisions_from(**GIVEN)]
    assert base == [item.decision_id for item in decisions_from(**GIVEN)]
    assert len(set(base)) == len(base)
    warmer = FORECASTS | {"SE": forecast("SE", [value + 1 for value in SE])}
    changed = [item.decision_id for item in decisions_from(**GIVEN | {"forecasts": warmer})]
    assert [one == two for one, two in zip(base, changed, strict=True)] == [False, True, True, True, True]
    other = Fleet(regions=(FLEET.regions[0], replace(FLEET.regions[1], capacity_vcpus=50)))
    assert decisions_from(**GIVEN | {"fleet": other})[0].decision_id != base[0]
    for change in ({"decided_at_s": 5}, {"jobs": tuple(replace(item, priority=3) for item in JOBS)}):
        assert not {item.decision_id for item in decisions_from(**GIVEN | change)} & set(base)
    arrays = plan(
        "optimal",
        [replace(item, slot_indices=tuple(np.array(item.slot_indices))) for item in PLAN.assignments],
    )
    assert [item.decision_id for item in decisions_from(**GIVEN | {"placement": arrays})] == base


def test_synthetic_inputs_are_told() -> None:
    assert not any(item.synthetic for item in decisions_from(**GIVEN))
    made_up = FORECASTS | {"SE": replace(FORECASTS["SE"], synthetic=True)}
    assert [item.synthetic for item in decisions_from(**GIVEN | {"forecasts": made_up})] == [True] + 4 * [
        False
    ]
    assert all(item.synthetic for item in decisions_from(**GIVEN | {"fleet": replace(FLEET, synthetic=True)}))


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"jobs": JOBS[:2]}, LedgerError, "not one of these 2 jobs"),
        ({"jobs": JOBS[::-1]}, LedgerError, "'optimal' is not one"),
        ({"baseline": plan("no_wait", list(NO_WAIT.assignments[:2]))}, LedgerError, "'no_wait' is not one"),
        ({"baseline": replace(NO_WAIT, slots=GRID.after(6))}, LedgerError, "different time grids"),
        ({"forecasts": {"DE": FORECASTS["DE"]}}, UnknownZone, "no forecast of SE"),
        ({"fleet": Fleet(regions=FLEET.regions[:1])}, LedgerError, "no region 'se'"),
        (
            {"forecasts": FORECASTS | {"SE": replace(FORECASTS["SE"], kind=IntensityKind.MARGINAL)}},
            LedgerError,
            "average and marginal intensities meet",
        ),
        (
            {"placement": plan("x", [row("moved", "se", (1, 2), float("nan")), *PLAN.assignments[1:]])},
            LedgerError,
            "its emissions are nan",
        ),
        (
            {"baseline": plan("x", [row("moved", "se", (1, 2), float("inf")), *NO_WAIT.assignments[1:]])},
            LedgerError,
            "counterfactual emissions are inf",
        ),
    ],
)
def test_what_does_not_fit_together_is_refused(
    change: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        decisions_from(**GIVEN | change)


def test_a_correction_is_an_entry_of_its_own(tmp_path: Any) -> None:
    first = decisions_from(**GIVEN)[0]
    second = correct(first, decided_at_s=GRID.end_s, reason="measured", operational_g=7)
    assert (second.kind, second.operational_g, second.reason) == ("correct", 7.0, "measured")
    assert second.inputs == (f"corrects:{first.decision_id}", *first.inputs)
    third = correct(second, decided_at_s=GRID.end_s, reason="again", operational_g=8, energy_kwh=1)
    assert third.inputs == (f"corrects:{second.decision_id}", *first.inputs)
    with Ledger(tmp_path / "ledger.db") as ledger:
        assert ledger.record([first, second, third, second]) == 3
        assert ledger.entries() == (first, second, third)
    for changes in ({}, {"region": 1}):
        with pytest.raises(LedgerError, match="can't change"):
            correct(first, decided_at_s=0, reason="x", **changes)
