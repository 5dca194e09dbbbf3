"""Several sites: the best of all places and times, losses that move work, and energy counted again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aicsched.errors import AicschedError, ConfigError, InputError, SignalGap
from aicsched.place.online import ONLINE, ROAMING, Action, ActionKind, ArrivalPolicy, Stretch, Vintages
from aicsched.place.online.pricing import Price
from aicsched.place.online.roaming import RoamingMpc, RoamingPrice
from aicsched.simulate import (
    Costs,
    Queues,
    Reach,
    Site,
    Sites,
    SitesOutcome,
    Trace,
    Truth,
    Workload,
    World,
    simulate,
    simulate_sites,
)
from aicsched.slots import HOUR_S

if TYPE_CHECKING:
    from aicsched.place.online import SitesView

AT_HOME = sorted(set(ONLINE) - set(ROAMING))


def workload(seed: int, count: int = 50, *, waits: str = "6x24") -> Workload:
    rng = np.random.default_rng(seed)
    trace = Trace(
        arrival_s=rng.uniform(0, 60, count) * HOUR_S,
        length_s=np.where(rng.random(count) < 0.7, rng.uniform(0.1, 1.9, count), rng.uniform(2.1, 20, count))
        * HOUR_S,
        vcpus=rng.integers(1, 4, count).astype(float),
    )
    return Workload.of(trace, Queues.parse(waits))


def grid(seed: int, hours: int = 400) -> Truth:
    return Truth(g_per_kwh=np.random.default_rng(seed).uniform(20, 500, hours))


def three(seed: int, **world: Any) -> Sites:
    rng = np.random.default_rng(seed)
    return Sites(
        sites=tuple(
            Site(
                name=name, truth=grid(seed + at), pue=1.0 + 0.2 * at,
                world=World(costs=Costs(watts_per_vcpu=float(rng.uniform(2, 6))), **world),
            )
            for at, name in enumerate(("north", "south", "west"))
        )
    )  # fmt: skip


def reach_of(seed: int, count: int, sites: Sites) -> Reach:
    rng = np.random.default_rng(seed)
    home = rng.integers(0, len(sites), count)
    grams = rng.uniform(0, 3, (count, len(sites)))
    grams[rng.random(grams.shape) < 0.2] = np.inf
    grams[np.arange(count), home] = 0.0
    return Reach(home=home, transfer_g=grams)


def hourly(*rows: list[float], restart_s: float = 0.0, **more: Any) -> Sites:
    names = ("north", "south", "west")
    worlds = more.pop("worlds", [World()] * len(rows))
    return Sites(
        sites=tuple(
            Site(name=name, truth=Truth(g_per_kwh=np.array(row)), world=world)
            for name, row, world in zip(names, rows, worlds, strict=False)
        ),
        restart_s=restart_s,
        **more,
    )


def one_job(hours: float, wait_h: float) -> Workload:
    trace = Trace(arrival_s=np.zeros(1), length_s=np.array([hours * HOUR_S]), vcpus=np.ones(1))
    return Workload.of(trace, Queues.parse(f"{wait_h}"))


def plain_grams(made: SitesOutcome, sites: Sites, reach: Reach) -> float:
    """Give the grams of a log by a walk through slots and moves, in plain Python."""
    log, grams = made.log, 0.0
    at = reach.home.tolist()
    for row in range(len(log.job)):
        job, number = int(log.job[row]), int(log.site[row])
        site = sites.sites[number]
        assert np.isfinite(reach.transfer_g[job, number]), "a job ran where it may not"
        if at[job] != number:
            grams += reach.transfer_g[job, number]
            at[job] = number
        slot = int(log.start_s[row] // HOUR_S)
        while slot * HOUR_S < log.stop_s[row]:
            inside = min(log.stop_s[row], (slot + 1) * HOUR_S) - max(log.start_s[row], slot * HOUR_S)
            watts = log.vcpus[row] * site.world.costs.watts_per_vcpu * site.pue
            grams += max(0.0, inside) / HOUR_S * watts / 1000 * site.truth.g_per_kwh[slot]
            slot += 1
    return grams


# ---------------------------------------------------------------- one site, and home
@pytest.mark.parametrize("name", sorted(ONLINE))
@pytest.mark.parametrize("by_events", [False, True])
def test_one_of_several_sites_is_as_the_only_one(name: str, by_events: bool) -> None:
    work, truth = workload(1), grid(2)
    world = World(reserved_vcpus=5, save_s=60, load_s=30)
    one = Sites(sites=(Site(name="only", truth=truth, world=world),))
    home = Reach(home=np.zeros(len(work)), transfer_g=np.zeros((len(work), 1)))
    there = simulate_sites(name, work, one, home, by_events=by_events)
    alone = simulate(name, work, truth, world=world)
    np.testing.assert_allclose(there.log.start_s, alone.log.start_s, atol=1e-5)
    for fact in ("carbon_g", "cost", "mean_wait_h", "suspensions", "late_jobs", "peak_vcpus"):
        assert getattr(there.metrics, fact) == pytest.approx(getattr(alone.metrics, fact), rel=1e-9), fact


@pytest.mark.parametrize("name", AT_HOME)
def test_policies_of_one_site_run_jobs_at_home(name: str) -> None:
    work, sites = workload(3), three(4)
    reach = reach_of(5, len(work), sites)
    made = simulate_sites(name, work, sites, reach)
    assert not made.roams
    assert (made.log.site == reach.home[made.log.job]).all()
    assert made.metrics.moves == 0
    for number, site in enumerate(sites.sites):
        rows = np.flatnonzero(reach.home == number)
        part = Workload(pending=work.pending.take(rows), length_s=work.length_s[rows])
        part = replace(part, pending=replace(part.pending, job=np.arange(len(rows))))
        alone = simulate(name, part, site.truth, world=site.world)
        facts = made.by_site[site.name]
        assert facts.carbon_g == pytest.approx(alone.metrics.carbon_g * site.pue, rel=1e-9)


@pytest.mark.parametrize("name", ["price", "carbon_time", "wait_awhile", "res_first"])
def test_arrays_and_events_give_the_same_runs_at_several_sites(name: str) -> None:
    work, sites = workload(6), three(7, reserved_vcpus=2)
    reach = reach_of(8, len(work), sites)
    arrays = simulate_sites(name, work, sites, reach)
    events = simulate_sites(name, work, sites, reach, by_events=True)
    for column in ("job", "site", "start_s", "stop_s", "machine"):
        np.testing.assert_allclose(getattr(arrays.log, column), getattr(events.log, column), atol=1e-5)
    assert sorted(arrays.log.moves) == sorted(events.log.moves)
    assert arrays.metrics.carbon_g == pytest.approx(events.metrics.carbon_g, rel=1e-12)
    assert arrays.metrics.cost == pytest.approx(events.metrics.cost, rel=1e-12)


# ---------------------------------------------------------------- exhaustive search
@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("price_g_per_kwh", [0.0, 40.0])
def test_price_finds_the_best_of_all_places_and_times(seed: int, price_g_per_kwh: float) -> None:
    rng = np.random.default_rng(seed)
    count, wait = 4, 5
    trace = Trace(
        arrival_s=rng.integers(0, 5, count) * float(HOUR_S), length_s=np.full(count, 2.0 * HOUR_S),
        vcpus=rng.integers(1, 4, count) * 1.0,
    )  # fmt: skip
    work = Workload.of(trace, Queues.parse(f"{wait}"))
    watts, pue = rng.uniform(1, 5, 2), rng.uniform(1, 2, 2)
    sites = Sites(
        sites=tuple(
            Site(
                name=f"s{at}", truth=grid(100 + 2 * seed + at, 30), pue=float(pue[at]),
                world=World(costs=Costs(watts_per_vcpu=float(watts[at]))),
            )
            for at in range(2)
        )
    )  # fmt: skip
    reach = reach_of(seed, count, sites)
    policy = RoamingPrice(Price(g_per_kwh=price_g_per_kwh, every_s=HOUR_S))
    made = simulate_sites(policy, work, sites, reach)
    for job in range(count):
        options: dict[tuple[int, int], float] = {}
        home = int(reach.home[job])
        for at in range(2):
            for later in range(wait + 1):
                first = round(work.pending.arrival_s[job] / HOUR_S) + later
                power = work.pending.vcpus[job] * watts[at] * pue[at] / 1000
                values = sites.sites[at].truth.g_per_kwh[first : first + 2]
                waiting = price_g_per_kwh * watts[home] * pue[home] / 1000 * later
                options[at, first] = power * values.sum() + reach.transfer_g[job, at] + waiting
        least = min(options, key=lambda option: options[option])
        row = int(np.flatnonzero(made.log.job == job)[0])
        assert (int(made.log.site[row]), round(made.log.start_s[row] / HOUR_S)) == least
    assert made.metrics.carbon_g == pytest.approx(plain_grams(made, sites, reach), rel=1e-12)
    if price_g_per_kwh == 0:
        stay = Reach(home=reach.home, transfer_g=np.where(reach.transfer_g > 0, np.inf, 0.0))
        assert made.metrics.carbon_g <= simulate_sites(policy, work, sites, stay).metrics.carbon_g + 1e-12


@pytest.mark.parametrize("name", sorted(ROAMING))
def test_full_sites_are_avoided(name: str) -> None:
    # Three jobs of an hour, and one machine a site: the cleanest slots of both, each once.
    trace = Trace(arrival_s=np.zeros(3), length_s=np.full(3, float(HOUR_S)), vcpus=np.ones(3))
    work = Workload.of(trace, Queues.parse("2"))
    sites = hourly([50.0, 10, 60, 60], [40.0, 20, 70, 70], worlds=[World(cap_vcpus=1.0)] * 2)
    made = simulate_sites(ROAMING[name](), work, sites, Reach(home=np.zeros(3), transfer_g=np.zeros((3, 2))))
    runs = sorted(zip((made.log.start_s / HOUR_S).tolist(), made.log.site.tolist(), strict=True))
    assert runs == [(0, 1), (1, 0), (1, 1)]
    assert all(facts.peak_vcpus == 1 for facts in made.by_site.values())


# ---------------------------------------------------------------- losses
def test_lost_work_goes_on_elsewhere_after_the_time_to_recover() -> None:
    out = World(outages=((1.5 * HOUR_S, 9 * HOUR_S),), checkpoint_s=HOUR_S)
    reach = Reach(home=np.zeros(1), transfer_g=np.array([[0.0, 7.0]]))
    rows = [100.0] * 20, [300.0] * 20
    sites = hourly(*rows, worlds=[out, World()], restart_s=0.5 * HOUR_S)
    made = simulate_sites("price", one_job(3, 1), sites, reach)
    assert made.log.site.tolist() == [0, 1]
    assert (made.log.start_s / HOUR_S).tolist() == [0, 2]
    # An hour was saved: two are left.
    assert (made.log.stop_s / HOUR_S).tolist() == [1.5, 4]
    facts = made.metrics
    assert (facts.requeued, facts.recovery_h, facts.moves, facts.transfer_g) == (1, 0.5, 1, 7)
    assert facts.lost_vcpu_h == pytest.approx(0.5)
    assert facts.carbon_g == pytest.approx(0.15 + 0.6 + 7)
    # What was saved stays where it was lost: all is done again.
    anew = simulate_sites("price", one_job(3, 1), replace(sites, saves_elsewhere=False), reach)
    assert (anew.log.stop_s / HOUR_S).tolist() == [1.5, 5]
    assert anew.metrics.lost_vcpu_h == pytest.approx(1.5)
    # Who may not leave waits until the site is back.
    stay = simulate_sites(
        "price", one_job(3, 1), sites, Reach(home=[0], transfer_g=np.array([[0.0, np.inf]]))
    )  # type: ignore[arg-type]
    assert (stay.log.start_s / HOUR_S).tolist() == [0, 9]
    assert stay.metrics.recovery_h == pytest.approx(7.5)
    home = simulate_sites("no_wait", one_job(3, 1), sites, reach)
    assert (home.log.start_s / HOUR_S).tolist() == [0, 9]
    assert (home.metrics.requeued, home.metrics.late_jobs) == (1, 1)


@pytest.mark.parametrize("name", sorted(ROAMING))
def test_plans_at_a_lost_site_are_made_anew(name: str) -> None:
    # Planned for the clean hour 3 in the south, which is lost in hour 1; nothing has to be restored.
    sites = hourly(
        [100.0, 90, 80, 70, 200, 200], [100.0, 100, 100, 5, 200, 200],
        worlds=[World(), World(outages=((1.2 * HOUR_S, 5 * HOUR_S),))], restart_s=HOUR_S,
    )  # fmt: skip
    price = RoamingPrice(Price(0.0))
    policy = price if name == "price" else RoamingMpc(price)
    made = simulate_sites(policy, one_job(1, 4), sites, Reach(home=np.ones(1), transfer_g=np.zeros((1, 2))))
    assert made.log.site.tolist() == [0]
    # A quarter of an hour is tried after the other from the loss on, or from the hour after it.
    assert made.log.start_s[0] / HOUR_S == pytest.approx({"price": 2.95, "mpc": 3.0}[name])
    assert made.metrics.requeued == 0


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(["price", "mpc", "no_wait", "carbon_time"]), st.booleans())
def test_work_is_done_once_within_caps_and_reach_whatever_is_lost(
    seed: int, name: str, everywhere: bool
) -> None:
    rng = np.random.default_rng(seed)
    work = workload(seed, int(rng.integers(1, 30)))
    cap = float(rng.integers(6, 20)) if rng.random() < 0.6 else np.inf
    names = ("north", "south", "west")
    made_sites = []
    for at, site_name in enumerate(names):
        starts = np.sort(rng.uniform(0, 80, 2 * int(rng.integers(0, 3)))) * HOUR_S
        world = World(
            cap_vcpus=cap, outages=tuple(zip(starts[::2].tolist(), starts[1::2].tolist(), strict=True)),
            checkpoint_s=float(rng.choice([0.0, 1800.0])), costs=Costs(watts_per_vcpu=2.0 + at),
        )  # fmt: skip
        made_sites.append(Site(name=site_name, truth=grid(seed + at, 1500), world=world, pue=1.1))
    sites = Sites(
        sites=tuple(made_sites), restart_s=float(rng.choice([0.0, 1800.0])), saves_elsewhere=everywhere
    )
    reach = reach_of(seed, len(work), sites)
    made = simulate_sites(name, work, sites, reach)
    log = made.log
    assert made.metrics.completed_jobs == len(work)
    done = np.bincount(log.job, weights=log.stop_s - log.start_s, minlength=len(work))
    np.testing.assert_allclose(done, work.length_s + log.lost_s, atol=1e-3)
    for row in range(1, len(log.job)):
        assert log.job[row] != log.job[row - 1] or log.start_s[row] >= log.stop_s[row - 1] - 1e-6
    assert (log.start_s >= work.pending.arrival_s[log.job] - 1e-6).all()
    for number, site in enumerate(sites.sites):
        part = log.at(number)
        assert made.by_site[site.name].peak_vcpus <= cap
        for start, stop in site.world.outages:
            assert not ((part.start_s < stop - 1e-5) & (part.stop_s > start + 1e-5)).any()
    assert made.metrics.carbon_g == pytest.approx(plain_grams(made, sites, reach), rel=1e-9)
    assert simulate_sites(name, work, sites, reach).metrics == made.metrics


# ---------------------------------------------------------------- what is known
def test_no_site_tells_what_comes_later() -> None:
    work, sites = workload(11), three(12)
    reach = reach_of(13, len(work), sites)
    seen = tuple(replace(site, vintages=site.known) for site in sites.sites)
    other = tuple(
        replace(site, truth=grid(90 + at), vintages=seen[at].known) for at, site in enumerate(sites.sites)
    )
    for name in sorted(ROAMING):
        logs = [
            simulate_sites(name, work, replace(sites, sites=each), reach, by_events=True).log
            for each in (seen, other)
        ]
        assert logs[0].start_s.tolist() == logs[1].start_s.tolist()
        assert logs[0].site.tolist() == logs[1].site.tolist()


def test_planning_anew_moves_to_where_the_newest_forecast_is_clean() -> None:
    truth = Truth(g_per_kwh=np.array([400.0, 400, 400, 300, 400, 400, 400]))
    clean = Truth(g_per_kwh=np.array([400.0, 400, 400, 10, 400, 400, 400]))

    def issued(*hours: float) -> Vintages:
        rows = np.full((2, 7), 400.0)
        rows[0, 3], rows[1, 3] = hours
        times = np.array([0.0, 7200.0])
        rows[1] = np.roll(rows[1], -2)
        return Vintages(issue_s=times, start_s=times, step_s=3600.0, g_per_kwh=rows)

    # At first hour 3 looks clean in the north; by hour 2 it is the south, and it is.
    sites = Sites(
        sites=(
            Site(name="north", truth=truth, vintages=issued(100.0, 300.0)),
            Site(name="south", truth=clean, vintages=issued(200.0, 10.0)),
        )
    )
    reach = Reach(home=np.zeros(1), transfer_g=np.zeros((1, 2)))
    once = simulate_sites(RoamingPrice(Price(0.0)), one_job(1, 5), sites, reach)
    anew = simulate_sites(RoamingMpc(RoamingPrice(Price(0.0))), one_job(1, 5), sites, reach)
    assert (once.log.site.tolist(), anew.log.site.tolist()) == ([0], [1])
    assert once.metrics.carbon_g > 10 * anew.metrics.carbon_g


# ---------------------------------------------------------------- policies of others
class Chaser:
    """A policy that sends a job that runs to another site at hour 2."""

    name: ClassVar[str] = "chaser"
    lengths: ClassVar[str] = "unused"
    roaming: ClassVar[bool] = True
    rolling: ClassVar[bool] = True

    def __init__(self, to: int) -> None:
        self.to = to

    def decide(self, view: SitesView, now_s: float) -> list[Action]:
        starts = [
            Action(kind=ActionKind.START, job=int(job), at_s=now_s, site=0)
            for job in view.waiting.job.tolist()
        ]
        if now_s == 2 * HOUR_S:
            plan = (Stretch(now_s),)
            starts += [
                Action(kind=ActionKind.RESUME, job=job, at_s=now_s, stretches=plan, site=self.to)
                for job in view.running.job.tolist()
            ]
        return starts


def test_running_work_can_be_sent_elsewhere() -> None:
    sites = hourly([100.0] * 9, [10.0] * 9, worlds=[World(save_s=600), World(load_s=300)])
    reach = Reach(home=np.zeros(1), transfer_g=np.array([[0.0, 1.0]]))
    made = simulate_sites(Chaser(1), one_job(4, 1), sites, reach)
    assert made.log.site.tolist() == [0, 1]
    # Ten minutes to save. Where a job goes on at once, nothing is loaded that was not stopped.
    assert (made.log.stop_s / HOUR_S).tolist() == pytest.approx([2, 4 + 1 / 6])
    assert made.metrics.transfer_g == 1
    with pytest.raises(ConfigError, match="may not run"):
        simulate_sites(
            Chaser(1), one_job(4, 1), sites, Reach(home=np.zeros(1), transfer_g=np.array([[0.0, np.inf]]))
        )


# ---------------------------------------------------------------- refusals
@pytest.mark.parametrize(
    ("make", "kind", "words"),
    [
        (lambda: Sites(sites=()), ConfigError, "none"),
        (lambda: Sites(sites=(Site(name="a", truth=grid(1)),) * 2), ConfigError, "twice"),
        (lambda: Sites(sites=three(1).sites, restart_s=-1.0), ConfigError, "restart_s is -1"),
        (lambda: Site(name="a", truth=grid(1), pue=0.9), ConfigError, "PUE of 0.9"),
        (lambda: Site(name="a", truth=grid(1), world=World(tick_s=5)), ConfigError, "ticks"),
        (
            lambda: Sites(
                sites=(
                    Site(name="a", truth=grid(1)),
                    Site(name="b", truth=Truth(g_per_kwh=np.ones(3), step_s=1800)),
                )
            ),
            ConfigError,
            "1800 and 3600",
        ),
        (lambda: Reach.of(three(1), ["nroth"]), InputError, "no site 'nroth'"),
        (lambda: Reach(home=np.array([2]), transfer_g=np.zeros((1, 2))), InputError, "none of the 2"),
        (lambda: Reach(home=np.array([0]), transfer_g=np.array([[1.0, 2]])), InputError, "moving it"),
        (lambda: Reach(home=np.array([0]), transfer_g=np.array([[0.0, np.nan]])), InputError, "moving it"),
        (lambda: Reach(home=np.array([0]), transfer_g=np.zeros(2)), InputError, "shape"),
        (
            lambda: simulate_sites(
                "price",
                one_job(9, 9),
                hourly([1.0] * 12),
                Reach(home=np.zeros(1), transfer_g=np.zeros((1, 1))),
            ),
            SignalGap,
            "ends after 12 h",
        ),
    ],
)
def test_impossible_sites_are_refused(make: Any, kind: type[AicschedError], words: str) -> None:
    with pytest.raises(kind, match=words):
        make()


def test_every_policy_that_plans_on_arrival_may_be_an_object() -> None:
    work, sites = workload(14, 10), three(15)
    reach = reach_of(16, len(work), sites)
    for name, kind in ONLINE.items():
        if issubclass(kind, ArrivalPolicy):
            made = simulate_sites(kind(), work, sites, reach)
            assert (made.policy, made.roams) == (name, False)
