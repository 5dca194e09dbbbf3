from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aicsched.account.decisions import correct
from aicsched.account.summary import Totals, check_target, effective, sci_g_per_unit, summarise, target_path
from aicsched.domain.decision import Decision
from aicsched.errors import LedgerError


def decision(name: str, subject: str, region: str = "de", **changes: Any) -> Decision:
    facts: dict[str, Any] = {
        "decision_id": name, "decided_at_s": 0, "kind": "place", "subject": subject, "region": region,
        "start_s": 100, "end_s": 200,
        "energy_kwh": 2.0, "operational_g": 30.0, "embodied_g": 5.0, "counterfactual_g": 50.0,
        "intensity_kind": "average", "policy": "optimal", "reason": "r",
    }  # fmt: skip
    return Decision(**facts | changes)


def test_totals_by_hand() -> None:
    rows = [
        decision("1", "a"),
        decision("2", "b", "se", operational_g=10.0),
        decision("3", "c", counterfactual_g=30.0),
    ]
    found = summarise(rows)
    assert found.total == Totals(
        decisions=3, energy_kwh=6.0, operational_g=70.0, embodied_g=15.0, counterfactual_g=130.0
    )
    assert (found.total.avoided_g, found.total.avoided_share) == (60.0, pytest.approx(60 / 130))
    assert [(name, item.decisions, item.avoided_g) for name, item in found.by_region] == [
        ("de", 2, 20.0),
        ("se", 1, 40.0),
    ]
    assert (found.intensity_kind, found.superseded, found.synthetic) == ("average", 0, False)
    assert summarise([*rows[:2], replace(rows[2], synthetic=True)]).synthetic
    # SCI = (E·I + M) / R
    assert sci_g_per_unit(rows[0]) == 35.0
    assert sci_g_per_unit(found.total, functional_units=1000.0) == pytest.approx(0.085)


def test_nothing_adds_up_to_nothing() -> None:
    found = summarise([])
    assert (found.total.decisions, found.total.avoided_share, found.by_region, found.intensity_kind) == (
        0,
        0.0,
        (),
        "",
    )


@given(st.permutations([decision(str(n), f"job-{n}", operational_g=10.0**n / 3) for n in range(9)]))
def test_the_order_of_decisions_changes_no_total(rows: list[Decision]) -> None:
    assert summarise(rows).total.operational_g == math.fsum(10.0**n / 3 for n in range(9))


def test_methods_are_never_mixed() -> None:
    with pytest.raises(LedgerError, match="average and marginal"):
        summarise([decision("1", "a"), decision("2", "b", intensity_kind="marginal")])


def test_a_correction_takes_the_place_of_what_it_names() -> None:
    first, other = decision("1", "a"), decision("2", "b")
    second = correct(first, decided_at_s=300, reason="measured", operational_g=31.0)
    third = correct(second, decided_at_s=400, reason="again", operational_g=32.0)
    assert effective([first, other, second]) == (second, other)
    assert effective([first, other, second, third]) == (third, other)
    assert summarise([first, other, second, third]).superseded == 2
    with pytest.raises(LedgerError, match="not there"):
        effective([second])


def test_a_later_plan_replaces_one_that_had_not_started() -> None:
    first = decision("1", "nightly", decided_at_s=0, start_s=100)
    replanned = decision("2", "nightly", decided_at_s=100, start_s=150)
    tomorrow = decision("3", "nightly", decided_at_s=151, start_s=500)
    assert effective([first, replanned]) == (replanned,)
    assert effective([first, replanned, tomorrow]) == (replanned, tomorrow)
    node = decision("4", "nightly", kind="recycle")
    assert effective([first, node]) == (first, node)
    stale = correct(first, decided_at_s=120, reason="late", operational_g=1.0)
    assert effective([first, replanned, stale]) == (replanned,)


@pytest.mark.parametrize("units", [0.0, -1.0, float("nan"), float("inf")])
def test_an_sci_needs_units(units: float) -> None:
    with pytest.raises(LedgerError, match="makes no sense"):
        sci_g_per_unit(decision("1", "a"), units)


def test_the_path_falls_by_a_tenth_each_year() -> None:
    path = target_path(1000.0, 10)
    assert len(path) == 11
    assert path[0] == 1000.0
    assert path[10] == pytest.approx(348.678, abs=0.001)  # 0.9 ** 10
    assert all(later == pytest.approx(0.9 * now) for now, later in pairwise(path))
    assert target_path(5.0, 0) == (5.0,)
    for bad in ((-1.0, 1, 0.1), (float("nan"), 1, 0.1), (1.0, -1, 0.1), (1.0, 1, 1.5)):
        with pytest.raises(LedgerError, match="no path"):
            target_path(*bad)


def test_a_running_year_against_its_target() -> None:
    on_track = check_target(225.0, allowed_kg=900.0, elapsed_share=0.25)
    assert (on_track.projected_kg, on_track.burn_rate, on_track.within, on_track.breach_share) == (
        900.0,
        1.0,
        True,
        None,
    )
    fast = check_target(450.0, allowed_kg=900.0, elapsed_share=0.25)
    assert (fast.burn_rate, fast.within, fast.breach_share) == (2.0, False, 0.5)
    assert check_target(0.0, allowed_kg=0.0, elapsed_share=1.0).burn_rate == 0.0
    nothing_allowed = check_target(1.0, allowed_kg=0.0, elapsed_share=1.0)
    assert (nothing_allowed.burn_rate, nothing_allowed.breach_share) == (math.inf, 0.0)
    for bad in ((-1.0, 1.0, 0.5), (1.0, -1.0, 0.5), (1.0, 1.0, 0.0), (1.0, 1.0, 1.1), (math.nan, 1.0, 0.5)):
        with pytest.raises(LedgerError, match="can't be judged"):
            check_target(bad[0], allowed_kg=bad[1], elapsed_share=bad[2])
