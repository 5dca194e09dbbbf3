"""The published figures of GAIA, on its own trace of jobs and a year of South Australia."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from aicsched.simulate import Queues, Workload, World, read_trace, read_truth, simulate

if TYPE_CHECKING:
    from pathlib import Path

    from aicsched.simulate import Truth

TICK_S = 5.0


@pytest.fixture(scope="module")
def gaia(shared_data: Path) -> tuple[Workload, Truth]:
    folder = shared_data / "data" / "workloads" / "gaia"
    trace = read_trace(folder / "pai_1k.csv.gz")
    truth = read_truth(folder / "AU-SA-2022-hourly.csv.gz", start_h=7000)
    return Workload.of(trace, Queues.parse("6x24"), tick_s=TICK_S), truth


# Policy, ratio, mean wait [h]: GAIA's fig. 8, and what its code gives where the two differ (wait_awhile).
FIGURE_8 = (
    ("no_wait", 1.0, 0.0),
    ("lowest_slot", 0.7800, 5.64),
    ("lowest_window", 0.6837, 6.65),
    ("carbon_time", 0.7249, 4.73),
    ("ecovisor_threshold", 0.6391, 6.64),
    ("wait_awhile", 0.5462, 7.40),
)


@pytest.mark.parametrize(("policy", "ratio", "wait_h"), FIGURE_8)
def test_the_published_ratios_hold_to_four_digits(
    gaia: tuple[Workload, Truth], policy: str, ratio: float, wait_h: float
) -> None:
    work, truth = gaia
    base = simulate("no_wait", work, truth).metrics
    ours = simulate(policy, work, truth).metrics
    assert base.carbon_g == pytest.approx(562.17, abs=0.005)
    assert ours.carbon_g / base.carbon_g == pytest.approx(ratio, abs=0.00005)
    assert ours.mean_wait_h == pytest.approx(wait_h, abs=0.0055)
    assert ours.cost == pytest.approx(199.18, abs=0.005)
    assert ours.completed_jobs == 1000
    assert ours.late_jobs == 0


def test_spot_machines_for_short_jobs_cost_what_they_are_said_to(gaia: tuple[Workload, Truth]) -> None:
    work, truth = gaia
    ours = simulate("spot_first", work, truth, world=World(hand_over_s=TICK_S)).metrics
    assert ours.cost == pytest.approx(171.09, abs=0.005)


# Reserved threads, policy, ratio, cost, mean wait [h]: GAIA's fig. 10, and its spot run.
FIGURE_10 = (
    (9, "no_wait", 1.0, 154.40, 0.0),
    (9, "all_wait", 0.9217, 129.83, 9.01),
    (9, "wait_awhile", 0.5462, 189.75, 7.40),
    (9, "ecovisor_threshold", 0.6391, 180.71, 6.64),
    (9, "carbon_time", 0.7249, 181.38, 4.73),
    (9, "res_first", 0.8544, 142.15, 2.64),
    (0, "spot_first", 0.7249, 171.09, 4.73),
)


@pytest.mark.parametrize(("reserved", "policy", "ratio", "cost", "wait_h"), FIGURE_10)
def test_the_published_bills_hold_to_the_cent(
    gaia: tuple[Workload, Truth], reserved: float, policy: str, ratio: float, cost: float, wait_h: float
) -> None:
    work, truth = gaia
    base = simulate("no_wait", work, truth).metrics
    ours = simulate(policy, work, truth, world=World(reserved_vcpus=reserved, tick_s=TICK_S)).metrics
    assert ours.carbon_g / base.carbon_g == pytest.approx(ratio, abs=0.00005)
    assert ours.cost == pytest.approx(cost, abs=0.005)
    assert ours.mean_wait_h == pytest.approx(wait_h, abs=0.0055)
    assert ours.completed_jobs == 1000


@pytest.mark.parametrize("policy", ["all_wait", "res_first", "carbon_time", "spot_res"])
def test_without_ticks_bills_differ_by_ties_only(gaia: tuple[Workload, Truth], policy: str) -> None:
    work, truth = gaia
    exact = simulate(policy, work, truth, world=World(reserved_vcpus=9)).metrics
    ticks = simulate(policy, work, truth, world=World(reserved_vcpus=9, tick_s=TICK_S)).metrics
    assert exact.cost == pytest.approx(ticks.cost, rel=0.01)
    assert exact.carbon_g == pytest.approx(ticks.carbon_g, rel=0.01)


@pytest.mark.parametrize("start_h", [7000, 0, 3000, 5000])
def test_a_price_on_waiting_saves_more_in_less_time_than_carbon_time(shared_data: Path, start_h: int) -> None:
    folder = shared_data / "data" / "workloads" / "gaia"
    work = Workload.of(read_trace(folder / "pai_1k.csv.gz"), Queues.parse("6x24"), tick_s=TICK_S)
    truth = read_truth(folder / "AU-SA-2022-hourly.csv.gz", start_h=start_h)
    theirs, ours = (simulate(name, work, truth).metrics for name in ("carbon_time", "price"))
    assert ours.carbon_g < theirs.carbon_g
    assert ours.mean_wait_h <= theirs.mean_wait_h
