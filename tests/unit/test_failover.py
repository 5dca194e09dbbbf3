"""Failover plans: optimal beside scipy's linear programme, alive after any loss, or refused."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest

from aicsched.domain.fleet import Fleet, Region
from aicsched.domain.service import Service
from aicsched.errors import ConfigError, Infeasible, InputError, PlacementError, PlanRefused, UnknownZone
from aicsched.fleet.sample import sample_fleet
from aicsched.footprint.power import family_power
from aicsched.place.failover import (
    FailoverMode,
    FailoverPlan,
    FailoverProblem,
    build_failover,
    least_fill,
    solve_failover,
)
from aicsched.place.failover.check import check_failover, replay
from aicsched.place.failover.kernels.dedicated import RESERVE
from aicsched.place.failover.kernels.shared import BACK_UP
from aicsched.place.failover.master import Master
from aicsched.place.failover.problem import idle_w_per_vcpu, round_trip_ms, service_capacity
from aicsched.slots import HOUR_S, SlotGrid
from tests.failover_kit import by_scipy, drawn, problem_of
from tests.place_kit import forecast

DEDICATED, SHARED = FailoverMode.DEDICATED, FailoverMode.SHARED
MODES = (DEDICATED, SHARED)


def outlives_any_loss(plan: FailoverPlan) -> bool:
    """Count survivors anew, in a few lines of numpy."""
    problem = plan.problem
    for group in range(len(problem.groups)):
        left = (problem.allowed >= 0) & (problem.group[problem.allowed] != group)
        alive = np.where(left, plan.reserved_vcpus, 0.0).sum(axis=1)
        if plan.mode is SHARED:
            alive = alive + (plan.moved_vcpus * (~left)[:, :, None] * left[:, None, :]).sum(axis=(1, 2))
        if (alive < problem.demand_vcpus * (1 - 1e-9)).any():
            return False
    return True


# ---------------------------------------------------------------- against the linear programme
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("seed", range(6))
def test_small_plans_are_optimal(seed: int, mode: FailoverMode) -> None:
    problem = drawn(12 + seed, 5, 4, seed=seed, room=2.2, groups=None if seed % 2 else 4)
    best_g = by_scipy(problem, mode)
    if best_g is None:
        with pytest.raises(Infeasible):
            solve_failover(problem, mode, gap=0.0)
        return
    plan = solve_failover(problem, mode, gap=0.0)
    assert check_failover(plan).total_g == pytest.approx(best_g, rel=1e-7)
    assert plan.certificate.lower_bound_g == pytest.approx(best_g, rel=1e-7)
    assert outlives_any_loss(plan)


@pytest.mark.parametrize("groups", [None, 7])
def test_a_plan_of_more_services_than_bundles_is_within_its_gap(groups: int | None) -> None:
    problem = drawn(600, 10, 5, seed=3, groups=groups, room=1.9)
    best_g = by_scipy(problem, DEDICATED)
    assert best_g is not None
    plan = solve_failover(problem)
    check_failover(plan)
    assert plan.certificate.gap <= 1e-4
    assert plan.certificate.lower_bound_g <= best_g * (1 + 1e-9)
    assert best_g * (1 - 1e-9) <= plan.total_g <= best_g * (1 + 1e-4)
    assert plan.certificate.iterations > 1
    held = plan.in_regions(plan.reserved_vcpus)
    assert (held <= problem.capacity_vcpus * (1 + 1e-7)).all()
    assert held == pytest.approx(plan.in_regions(plan.used_vcpus) + plan.spare_vcpus)


def test_sharing_never_costs_more() -> None:
    problem = drawn(300, 8, 4, seed=1, ragged=False)
    own, common = (solve_failover(problem, mode, gap=1e-4) for mode in MODES)
    check_failover(common)
    assert common.total_g <= own.total_g
    assert common.spare_vcpus.sum() < own.spare_vcpus.sum()


def test_equal_input_gives_equal_bytes() -> None:
    problem = drawn(300, 8, 4, seed=2)
    for mode in MODES:
        one, other = (solve_failover(problem, mode, gap=1e-3) for _ in range(2))
        assert one.reserved_vcpus.tobytes() == other.reserved_vcpus.tobytes()
        assert one.certificate == other.certificate


def test_prices_are_what_capacity_is_worth() -> None:
    problem = drawn(40, 5, 4, seed=9, room=1.9, ragged=False)
    plan = solve_failover(problem, gap=0.0)
    dearest = int(plan.prices_g_per_vcpu_h.argmax())
    assert plan.prices_g_per_vcpu_h[dearest] > 0
    room = problem.capacity_vcpus.copy()
    room[dearest] += 0.01
    more_g = by_scipy(replace(problem, capacity_vcpus=room), DEDICATED)
    assert more_g is not None
    saved = (plan.total_g - more_g) / 0.01
    assert saved == pytest.approx(plan.prices_g_per_vcpu_h[dearest], rel=1e-3)


# ---------------------------------------------------------------- the oracles
def cheapest(use: Any, reserve: Any, group: Any) -> float:
    """Try all sets of working regions and spares."""
    best, places = np.inf, range(len(use))
    for count in range(1, len(use)):
        for working in combinations(places, count):
            for spare in places:
                groups = [group[at] for at in (*working, spare)]
                if len(set(groups)) == len(groups):
                    cost = sum(use[at] + reserve[at] for at in working) + reserve[spare]
                    best = min(best, cost / count)
    return float(best)


@pytest.mark.parametrize("groups", [None, 3])
def test_the_closed_form_is_the_cheapest_of_all_ways(groups: int | None) -> None:
    rng = np.random.default_rng(5)
    problem = drawn(150, 6, 5, seed=4, groups=groups, room=9)
    reserve = rng.choice([0.0, 0.5, 1.0, 2.0], 6)  # with ties
    for form in (RESERVE.loop, RESERVE.twin):
        value, parts, mark = form(problem.allowed, problem.leaders(), problem.use_g, reserve)
        for row in range(150):
            width = int((problem.allowed[row] >= 0).sum())
            places = problem.allowed[row, :width]
            held = mark[row, :width]
            best = cheapest(problem.use_g[row, :width], reserve[places], problem.group[places])
            assert value[row] == pytest.approx(best, rel=1e-12)
            assert (held == 1).sum() == parts[row]
            assert (held == 2).sum() == 1
            paid = problem.use_g[row, :width][held == 1].sum() + reserve[places[held > 0]].sum()
            assert paid / parts[row] == pytest.approx(best, rel=1e-12)
            assert len(set(problem.group[places[held > 0]].tolist())) == parts[row] + 1
            assert not mark[row, width:].any()


@pytest.mark.parametrize("groups", [None, 3])
def test_both_forms_of_the_oracles_agree_to_the_bit(groups: int | None) -> None:
    rng = np.random.default_rng(6)
    problem = drawn(400, 7, 5, seed=8, groups=groups, room=9)
    lead = problem.leaders()
    for _ in range(3):
        reserve = rng.choice([0.0, 0.1, 0.3, rng.random()], 7)
        backup = rng.choice([0.0, 0.2, rng.random()], (len(problem.groups), 7))
        for kernel, arguments in (
            (RESERVE, (problem.allowed, lead, problem.use_g, reserve)),
            (BACK_UP, (problem.allowed, lead, problem.use_g, problem.group, reserve, backup)),
        ):
            for one, other in zip(kernel.loop(*arguments), kernel.twin(*arguments), strict=True):
                assert np.array_equal(one, other)
            assert kernel.work(*arguments) > 0


def test_the_shared_oracle_takes_the_cheapest_pair() -> None:
    rng = np.random.default_rng(7)
    problem = drawn(60, 6, 5, seed=8, groups=4, room=9)
    reserve, backup = rng.random(6), rng.random((4, 6))
    value, home, refuge = BACK_UP.twin(
        problem.allowed, problem.leaders(), problem.use_g, problem.group, reserve, backup
    )
    for row in range(60):
        places = [int(region) for region in problem.allowed[row] if region >= 0]
        ways = {
            (one, other): problem.use_g[row, one] + reserve[here] + backup[problem.group[here], there]
            for one, here in enumerate(places)
            for other, there in enumerate(places)
            if problem.group[here] != problem.group[there]
        }
        assert value[row] == pytest.approx(min(ways.values()), rel=1e-12)
        assert ways[int(home[row]), int(refuge[row])] == pytest.approx(value[row], rel=1e-12)


# ---------------------------------------------------------------- by hand
def test_where_nothing_binds_each_service_is_alone() -> None:
    problem = problem_of([6.0], [[0, 1, 2]], [100, 100, 100])
    plan = solve_failover(problem)
    # One region at work and one spare: 6 × 1 + 12 × .25; two at work: 3 × (1 + 2) + 9 × .25.
    assert plan.total_g == pytest.approx(9.0)
    assert plan.certificate.status == "optimal"
    assert plan.certificate.method == "each service alone"
    assert plan.reserved_vcpus.tolist() == [[6.0, 6.0, 0.0]]
    assert plan.spare_vcpus.tolist() == [0.0, 6.0, 0.0]
    assert not plan.prices_g_per_vcpu_h.any()


def test_two_services_share_one_spare() -> None:
    problem = problem_of([4.0, 4.0], [[0, 2], [1, 2]], [4, 4, 4], use_g=[[1, 9], [1, 9]])
    plan = solve_failover(problem, SHARED, gap=0.0)
    assert check_failover(plan).total_g == pytest.approx(8 * 1.25 + 4 * 0.25)
    assert plan.spare_vcpus.tolist() == pytest.approx([0, 0, 4])
    with pytest.raises(Infeasible):
        solve_failover(problem, DEDICATED)


def test_a_full_region_pushes_out_who_has_the_nearest_choice() -> None:
    # Both want region 0, which holds one of them; the second's alternative is cheaper.
    problem = problem_of([2.0, 2.0], [[0, 1, 3], [0, 2, 3]], [2, 9, 9, 9], use_g=[[1, 9, 10], [1, 2, 10]])
    plan = solve_failover(problem, gap=0.0)
    assert plan.used_vcpus[1, 1] > plan.used_vcpus[1, 0]
    assert plan.total_g == pytest.approx(by_scipy(problem, DEDICATED), rel=1e-9)


# ---------------------------------------------------------------- no plan
def test_what_does_not_fit_names_the_limits() -> None:
    crowded = drawn(200, 6, 4, seed=1, room=1.2, ragged=False)
    with pytest.raises(Infeasible, match="would be 1") as caught:
        solve_failover(crowded)
    assert caught.value.constraints == ("capacity", "failover")
    assert by_scipy(crowded, DEDICATED) is None
    assert solve_failover(drawn(200, 6, 4, seed=1, room=1.75, ragged=False)).total_g > 0
    small = problem_of([4.0] * 3, [[0, 1]] * 3, [5, 5])
    with pytest.raises(Infeasible, match="need 12 vCPUs, and all regions together have 10") as caught:
        solve_failover(small, SHARED)
    assert caught.value.constraints == ("capacity",)


def test_a_service_that_fits_nowhere_is_named_before_any_search() -> None:
    with pytest.raises(Infeasible, match=r"'s0' may run only where 'g0' is lost as a whole") as caught:
        problem_of([1.0], [[0, 1]], [5, 5, 5], groups=[0, 0, 1])
    assert caught.value.constraints == ("failure_group",)
    with pytest.raises(Infeasible, match=r"'s1' needs 6 vCPUs, and 5 are left without 'g0'"):
        problem_of([1.0, 6.0], [[0, 1], [0, 1]], [9, 5])
    with pytest.raises(Infeasible, match="and 3 more"):
        problem_of([9.0] * 8, [[0, 1]] * 8, [5, 5])


def test_a_tight_problem_is_planned_all_the_same() -> None:
    # Capacity so short that its price passes any that the first programme knows.
    problem = problem_of([4.0, 4.0], [[0, 1, 2], [0, 1, 2]], [4, 4, 4], use_g=[[1, 2, 1e6], [1, 2, 3e6]])
    plan = solve_failover(problem, gap=0.0)
    assert check_failover(plan).total_g == pytest.approx(by_scipy(problem, DEDICATED), rel=1e-7)
    assert solve_failover(problem, SHARED, gap=0.0).total_g <= plan.total_g * (1 + 1e-9)


@pytest.mark.parametrize("mode", MODES)
def test_the_least_fill_says_how_far_demand_may_grow(mode: FailoverMode) -> None:
    problem = drawn(30, 5, 4, seed=5, room=2.5, ragged=False)
    fill = least_fill(problem, mode, gap=1e-6)
    assert fill.lower <= fill.upper <= fill.lower * (1 + 1e-5)
    for growth, fits in ((1 / fill.upper * 0.999, True), (1 / fill.lower * 1.001, False)):
        grown = replace(problem, demand_vcpus=problem.demand_vcpus * growth)
        assert (by_scipy(grown, mode) is not None) is fits
    assert set(fill.binding) <= set(problem.regions)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"demand_vcpus": [float("nan")]}, "'s0': demand_vcpus is nan"),
        ({"demand_vcpus": [-1.0]}, "'s0': demand_vcpus is -1.0"),
        ({"demand_vcpus": [float("inf")]}, "demand_vcpus is inf"),
        ({"capacity_vcpus": [5.0, -5.0, 5.0]}, "'r1': capacity_vcpus is -5.0"),
        ({"idle_g": [0.0, 0.0, float("nan")]}, "'r2': idle_g is nan"),
        ({"use_g": [[1.0, -2.0, 0.0]]}, "'s0': use_g is -2.0"),
        ({"use_g": [[1.0, 2.0]]}, "use_g has shape"),
        ({"group": [0, 1, 3]}, "a group's index is not in"),
        ({"allowed": [[0, 0, 1]]}, "allowed regions are out of range, twice"),
        ({"allowed": [[0, 3, 1]]}, "allowed regions are out of range"),
        ({"allowed": [[0, -1, 1]]}, "behind a -1"),
        ({"capacity_vcpus": [5.0, 0.0, 5.0]}, "'r1' has no capacity"),
        (
            {"service_ids": (), "demand_vcpus": [], "allowed": np.zeros((0, 2)), "use_g": np.zeros((0, 2))},
            "no service",
        ),
    ],
)
def test_bad_numbers_never_become_a_plan(change: dict[str, Any], words: str) -> None:
    problem = problem_of([1.0], [[0, 1, 2]], [5, 5, 5])
    with pytest.raises(InputError, match=words):
        replace(problem, **change)
    with pytest.raises(ConfigError, match="a gap of nan"):
        solve_failover(problem, gap=float("nan"))


def test_numerical_trouble_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = drawn(30, 5, 4, seed=5, room=1.9, ragged=False)
    real, left = Master.solve, [10**6]

    def gives_up(self: Master) -> Any:
        left[0] -= 1
        return real(self) if left[0] >= 0 else None

    monkeypatch.setattr(Master, "solve", gives_up)
    whole = solve_failover(problem, gap=0.0)
    solved = 10**6 - left[0]
    left[0] = 0
    with pytest.raises(PlacementError, match="no numerical optimum"):
        solve_failover(problem, gap=0.0)
    # What was found before it is a plan with an honest bound.
    left[0] = solved - 1
    plan = solve_failover(problem, gap=0.0)
    check_failover(plan)
    assert solved > 2
    assert plan.certificate.lower_bound_g <= whole.total_g * (1 + 1e-9) <= plan.total_g * (1 + 2e-9)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("room", [1.3, 1.9])
def test_capacity_that_seems_too_dear_is_filled_first(
    mode: FailoverMode, room: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = drawn(30, 5, 4, seed=5, room=room, ragged=False)
    # At such a price a plan over its capacity looks cheaper than one within.
    monkeypatch.setattr("aicsched.place.failover.master._DEAREST", 1e-6)
    best_g = by_scipy(problem, mode)
    if best_g is None:
        with pytest.raises(Infeasible):
            solve_failover(problem, mode, gap=1e-3)
        return
    plan = solve_failover(problem, mode, gap=0.0)
    assert check_failover(plan).total_g == pytest.approx(best_g, rel=1e-7)
    assert solve_failover(problem, mode, gap=0.2).certificate.gap <= 0.2


# ---------------------------------------------------------------- the validator
def spoilt(plan: FailoverPlan, name: str, at: tuple[int, ...], value: float) -> FailoverPlan:
    changed = getattr(plan, name).copy()
    changed[at] += value
    return replace(plan, **{name: changed})


def certified(plan: FailoverPlan, **change: Any) -> FailoverPlan:
    return replace(plan, certificate=replace(plan.certificate, **change))


def test_the_validator_finds_what_is_wrong() -> None:
    problem = problem_of([6.0, 2.0], [[0, 1, 2], [0, 2, -1]], [7, 7, 8])
    plan = solve_failover(problem, gap=0.0)
    report = check_failover(plan)
    assert (report.services, report.losses) == (2, 3)
    assert 0 < report.fullest_share <= 1 + 1e-9
    assert report.fullest_region in problem.regions
    held = plan.reserved_vcpus[0].argmax()
    for broken, words in (
        (spoilt(plan, "reserved_vcpus", (0, int(held)), -1.0), r"vCPUs left when 'g\d' is lost"),
        (spoilt(plan, "used_vcpus", (0, 0), 9.0), "needs 6 vCPUs and uses"),
        (spoilt(plan, "reserved_vcpus", (1, 1), 90.0), "region 'r2' must hold .* of 8 vCPUs when"),
        (spoilt(plan, "reserved_vcpus", (1, 2), 1.0), "where it can't"),
        (certified(plan, objective_g=1.0, lower_bound_g=1.0), "the plan emits"),
        (certified(plan, lower_bound_g=1e9), "lies above the plan's"),
    ):
        with pytest.raises(PlanRefused, match=words):
            check_failover(broken)
    common = solve_failover(problem, SHARED, gap=0.0)
    check_failover(common)
    row, one, other = np.argwhere(common.moved_vcpus > 0.1)[0]
    with pytest.raises(PlanRefused, match="left when"):
        check_failover(spoilt(common, "moved_vcpus", (row, one, other), -0.5))
    with pytest.raises(PlanRefused, match="must hold"):
        check_failover(spoilt(common, "moved_vcpus", (row, one, other), 50.0))


# ---------------------------------------------------------------- from services and a fleet
def region(name: str, *, zone: str = "z0", lat: float = 50.0, lon: float = 0.0, **more: Any) -> Region:
    facts = {"capacity_vcpus": 100.0, "power_w_per_vcpu": 2.0, "pue": 1.5} | more
    return Region(name=name, grid_zone=zone, latitude_deg=lat, longitude_deg=lon, **facts)


FLEET = Fleet(
    regions=(
        region("a"), region("b", zone="z1", lon=5), region("c", lon=60, failure_group="far"),
        region("d", lon=61, failure_group="far"), region("e", capacity_vcpus=0),
    )
)  # fmt: skip
CURVES = {"z0": forecast("z0", [100.0, 300.0]), "z1": forecast("z1", [400.0, 400.0])}
GRID = SlotGrid(0, HOUR_S, 2)


def service(name: str = "web", **more: Any) -> Service:
    return Service(**({"service_id": name, "vcpus": 10.0, "home_region": "a"} | more))


def test_services_become_columns() -> None:
    shares = (0.5, 1.0) * 12
    problem = build_failover(
        [
            service(),
            service("day", hourly_share=shares, latency_limit_ms=30),
            service("own", allowed_regions=("b", "c")),
        ],
        FLEET, CURVES, GRID, extra_g_per_vcpu_h={"b": 7.0},
    )  # fmt: skip
    assert problem.groups == ("a", "b", "far", "e")
    assert problem.group.tolist() == [0, 1, 2, 2, 3]
    # 'e' has no capacity; 'c' and 'd' lie behind the latency limit of 'day'.
    assert problem.allowed.tolist() == [[0, 1, 2, 3], [0, 1, -1, -1], [1, 2, -1, -1]]
    kw = 2.0 * 1.5 / 1000
    assert problem.use_g[0, :2] == pytest.approx([kw * 200, kw * 400])
    assert problem.use_g[1, :2] == pytest.approx([kw * (0.5 * 100 + 300) / 2, kw * 0.75 * 400])
    usual_w = idle_w_per_vcpu(FLEET)["a"]
    assert problem.idle_g[:2] == pytest.approx([usual_w * 1.5 * 0.2, usual_w * 1.5 * 0.4 + 7.0])
    assert problem.leaders()[0].tolist() == [0, 1, 2, 2]
    plan = solve_failover(problem)
    check_failover(plan)


def test_machines_give_idle_power_and_capacity() -> None:
    fleet = sample_fleet()
    assert service_capacity(fleet)["north"] == sum(n.vcpus for n in fleet.nodes if n.region == "north")
    watts = idle_w_per_vcpu(fleet)
    assert family_power("amd-epyc-gen5").idle_w_per_vcpu / 2 < watts["isles"] < watts["east"]


def test_every_hour_of_a_week_outlives_every_loss() -> None:
    rng = np.random.default_rng(1)
    fleet, week = sample_fleet(), SlotGrid(0, HOUR_S, 168)
    curves = {
        item.grid_zone: forecast(item.grid_zone, rng.uniform(50, 500, 168).tolist()) for item in fleet.regions
    }
    services = [
        service(
            f"s{index}", vcpus=float(rng.uniform(10, 300)), home_region=fleet.regions[index % 8].name,
            hourly_share=tuple(0.55 + 0.45 * np.cos((np.arange(24) - index) * np.pi / 12)),
            latency_limit_ms=float(rng.choice([120.0, 400.0])),
        )
        for index in range(60)
    ]  # fmt: skip
    problem = build_failover(services, fleet, curves, week)
    plan, common = (solve_failover(problem, mode) for mode in MODES)
    for each in (plan, common):
        lived = replay(each, services, week)
        assert lived.losses == 8 * 168
        assert (lived.violated, lived.violations) == (0, ())
        assert lived.served == lived.losses * 60
        assert lived.least_spare_vcpus >= 0
    short = replace(plan, reserved_vcpus=plan.reserved_vcpus * 0.6)
    assert "lacks" in replay(short, services, week).violations[0]
    wide = replace(plan, problem=replace(problem, capacity_vcpus=problem.capacity_vcpus * 0.3))
    assert any("too many" in words for words in replay(wide, services, week).violations)


def test_distance_gives_a_round_trip() -> None:
    one = region("one")
    assert round_trip_ms(one, one) == 0
    # A quarter of the way around the world: 10,008 km there and back.
    assert round_trip_ms(region("x", lat=0.0), region("y", lat=0.0, lon=90)) == pytest.approx(
        20015 / 149.9, rel=1e-3
    )
    assert np.isnan(round_trip_ms(one, region("y", lat=float("nan"))))


def test_services_that_cannot_be_read_into_a_problem() -> None:
    def build(*services: Service, curves: Any = CURVES, fleet: Fleet = FLEET) -> FailoverProblem:
        return build_failover(services, fleet, curves, GRID)

    with pytest.raises(InputError, match="names region 'q', which the fleet doesn't have"):
        build(service(home_region="q"))
    with pytest.raises(Infeasible, match="may run in no region within 30 ms") as caught:
        build(service(allowed_regions=("c",), latency_limit_ms=30))
    assert caught.value.constraints == ("allowed_regions", "latency")
    blind = Fleet(regions=(region("a"), region("b", lat=float("nan"))))
    with pytest.raises(InputError, match="has no coordinates"):
        build(service(latency_limit_ms=10), fleet=blind)
    with pytest.raises(UnknownZone, match="which has no forecast"):
        build(service(), curves={"z0": CURVES["z0"]})
    with pytest.raises(InputError, match="mix"):
        build(service(), curves={**CURVES, "z1": forecast("z1", [1.0, 1.0], kind="marginal")})
    with pytest.raises(InputError, match="there is no service"):
        build()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"vcpus": 0.0}, "vcpus is 0.0"), ({"vcpus": float("nan")}, "vcpus is nan"),
        ({"vcpus_per_pod": -1.0}, "vcpus_per_pod is -1.0"), ({"data_gb": float("inf")}, "data_gb is inf"),
        ({"latency_limit_ms": float("nan")}, "latency_limit_ms is nan"),
        ({"replication_lag_s": -1.0}, "replication_lag_s is -1.0"),
        ({"hourly_share": (0.5,) * 7}, "hourly_share has 7 values"),
        ({"hourly_share": (1.5,) * 24}, "an hourly_share of 1.5 is not in 0..1"),
    ],
)  # fmt: skip
def test_a_service_is_checked(change: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        service(**change)


def test_a_week_of_shares_starts_on_monday() -> None:
    week = service(hourly_share=tuple(index / 168 for index in range(168)))
    # 1970-01-01 00:00 was a Thursday.
    assert week.share_in(SlotGrid(0, HOUR_S, 2)).tolist() == [72 / 168, 73 / 168]
    assert service().share_in(SlotGrid(0, HOUR_S, 3)).tolist() == [1, 1, 1]


def test_compiled_oracles_plan_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = drawn(80, 6, 4, seed=2, groups=4, ragged=False, room=2.0)
    plain = [solve_failover(problem, mode, gap=1e-4).reserved_vcpus.tobytes() for mode in MODES]
    monkeypatch.setenv("AICSCHED_KERNELS", "numba")
    assert [solve_failover(problem, mode, gap=1e-4).reserved_vcpus.tobytes() for mode in MODES] == plain
