"""Online policies: what they may know, and that a batch decides as one job at a time does."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from aicsched.domain.carbon import IntensityKind
from aicsched.domain.forecast import Forecast
from aicsched.errors import ConfigError, InputError, TooLittleHistory
from aicsched.place.online import (
    ONLINE,
    ActionKind,
    ArrivalPolicy,
    Batch,
    ClusterView,
    OracleView,
    Pending,
    Vintages,
    make_online,
)
from aicsched.slots import SlotGrid

HOUR = 3600.0
ON_ARRIVAL = sorted(name for name, kind in ONLINE.items() if issubclass(kind, ArrivalPolicy))


def pending(count: int, seed: int) -> Pending:
    rng = np.random.default_rng(seed)
    queue = rng.integers(0, 2, count)
    return Pending(
        job=np.arange(count),
        arrival_s=np.sort(rng.uniform(0, 100 * HOUR, count)),
        estimate_s=np.array([0.7, 5.3])[queue] * HOUR,
        max_wait_s=np.array([6.0, 24.0])[queue] * HOUR,
        vcpus=rng.integers(1, 5, count).astype(float),
        queue=queue,
    )


def forecasts(seed: int, *, count: int = 9, slots: int = 120) -> Vintages:
    rng = np.random.default_rng(seed)
    issue = np.arange(count) * 12 * HOUR
    return Vintages(issue_s=issue, start_s=issue, step_s=HOUR, g_per_kwh=rng.uniform(50, 600, (count, slots)))


def view_of(jobs: Pending, row: int, known: Vintages, *, oracle: bool) -> ClusterView | OracleView:
    now = float(jobs.arrival_s[row])
    none = jobs.take([])
    view = ClusterView(
        now_s=now, outlook=known.outlook(now), waiting=jobs.take([row]), planned=none, running=none,
        done_s=np.empty(0), active=np.empty(0, dtype=bool),
    )  # fmt: skip
    return OracleView(known=view, length_s=length_of(jobs)[[row]], left_s=np.empty(0)) if oracle else view


def length_of(jobs: Pending) -> np.ndarray:
    return np.random.default_rng(5).uniform(0.2, 30, len(jobs)) * HOUR


def plans_of(policy: ArrivalPolicy, jobs: Pending, known: Vintages) -> Any:
    row = known.known_at(jobs.arrival_s)
    length = length_of(jobs) if policy.oracle else None
    return policy.plan_arrivals(Batch(jobs=jobs, vintages=known, row=row, length_s=length))


@pytest.mark.parametrize("name", ON_ARRIVAL)
def test_many_at_once_are_decided_as_one_by_one(name: str) -> None:
    policy, jobs, known = make_online(name), pending(40, 1), forecasts(2)
    assert isinstance(policy, ArrivalPolicy)
    plans = plans_of(policy, jobs, known)
    for row in range(len(jobs)):
        now = float(jobs.arrival_s[row])
        (action,) = policy.decide(view_of(jobs, row, known, oracle=policy.oracle), now)
        assert action.kind is ActionKind.START
        assert action.job == row
        assert action.stretches == plans.stretches(row)
        assert (action.pool, action.eager) == (plans.pool[row], plans.eager[row])
        assert action.at_s >= now


@pytest.mark.parametrize("name", ON_ARRIVAL)
def test_no_policy_looks_at_what_is_issued_later(name: str) -> None:
    policy, jobs, known = make_online(name), pending(60, 3), forecasts(4)
    assert isinstance(policy, ArrivalPolicy)
    plans = plans_of(policy, jobs, known)
    changed = known.g_per_kwh.copy()
    changed[5:] = changed[5:, ::-1] * 3.0
    later = plans_of(policy, jobs, dataclasses.replace(known, g_per_kwh=changed))
    early = np.flatnonzero(jobs.arrival_s < known.issue_s[5])
    assert 10 < len(early) < 60
    for row in early.tolist():
        assert plans.stretches(row) == later.stretches(row)


def test_a_view_has_no_way_to_the_truth() -> None:
    names = {field.name for kind in (ClusterView, Pending) for field in dataclasses.fields(kind)}
    assert not {name for name in names if "length" in name or "left" in name or "truth" in name}
    assert not issubclass(OracleView, ClusterView)
    jobs, known = pending(5, 1), forecasts(2)
    view = view_of(jobs, 2, known, oracle=False)
    assert isinstance(view, ClusterView)
    for array in (view.waiting.arrival_s, view.outlook.g_per_kwh, view.outlook.vintage.sums):
        base = array
        while isinstance(base.base, np.ndarray):
            base = base.base
        # Nothing more hangs on it: not the other jobs, not the other vintages.
        assert base.size == array.size
        assert not base.flags.writeable


def test_views_of_the_wrong_kind_or_time_are_refused() -> None:
    jobs, known = pending(5, 1), forecasts(2)
    now = float(jobs.arrival_s[2])
    plain, full = (view_of(jobs, 2, known, oracle=oracle) for oracle in (False, True))
    with pytest.raises(TypeError, match="an OracleView, not by ClusterView"):
        make_online("wait_awhile").decide(plain, now)
    with pytest.raises(TypeError, match="a ClusterView, not by OracleView"):
        make_online("carbon_time").decide(full, now)
    with pytest.raises(TypeError, match="can't serve a decision"):
        make_online("carbon_time").decide(plain, now + 1)
    with pytest.raises(TypeError, match="holds no true lengths"):
        make_online("wait_awhile").plan_arrivals(  # type: ignore[union-attr]
            Batch(jobs=jobs, vintages=known, row=np.zeros(5, dtype=np.int64))
        )


def test_bad_forecasts_and_names_are_refused() -> None:
    good = forecasts(1)
    with pytest.raises(TooLittleHistory, match="no forecast had been issued"):
        good.known_at(-1.0)
    values = good.g_per_kwh.copy()
    values[1, 2] = np.nan
    with pytest.raises(InputError, match="vintage 1 has no number in slot 2"):
        dataclasses.replace(good, g_per_kwh=values)
    with pytest.raises(InputError, match="don't rise"):
        dataclasses.replace(good, issue_s=good.issue_s[::-1])
    with pytest.raises(InputError, match="don't belong"):
        dataclasses.replace(good, issue_s=good.issue_s[1:])
    with pytest.raises(InputError, match="begins after it was issued"):
        dataclasses.replace(good, start_s=good.start_s + 1)
    with pytest.raises(ConfigError, match="did you mean carbon_time"):
        make_online("carbontime")


def issued(hour: int, zone: str = "DE", level: float = 100.0) -> Forecast:
    slots = SlotGrid(1_600_000_200 // 3600 * 3600 + hour * 3600, 3600, 4)
    return Forecast(
        grid_zone=zone,
        kind=IntensityKind.AVERAGE,
        slots=slots,
        issue_time_s=slots.start_s,
        mean_g_per_kwh=np.array([level, level - 50, level, level]),
        levels=(),
        quantiles_g_per_kwh=np.zeros((0, 4)),
        model="by hand",
        source="test",
    )


def test_forecasts_as_they_were_issued_become_vintages() -> None:
    first = issued(0)
    known = Vintages.of([issued(2, level=300.0), first], origin_s=first.slots.start_s)
    assert known.issue_s.tolist() == [0, 7200]
    assert known.outlook(3600.0).g_per_kwh.tolist() == [100, 50, 100, 100]
    assert known.outlook(7200.0).start_s == 7200
    assert known.outlook(7200.0).issue_s == 7200
    assert not known.oracle
    for wrong in ([], [first, issued(2, zone="FR")]):
        with pytest.raises(InputError, match="make no vintages"):
            Vintages.of(wrong)
