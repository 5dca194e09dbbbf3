"""Sweeps: the same results wherever they run."""

from __future__ import annotations

import numpy as np
import pytest

from aicsched.errors import ConfigError
from aicsched.executor import DaskExecutor, ProcessExecutor, SerialExecutor
from aicsched.simulate import (
    Costs,
    Places,
    Queues,
    Reach,
    Site,
    Sites,
    Trace,
    Truth,
    Workload,
    World,
    cases,
    simulate_sites,
    sweep,
)


def inputs() -> tuple[Trace, Truth]:
    rng = np.random.default_rng(0)
    trace = Trace(
        arrival_s=rng.uniform(0, 2e5, 50),
        length_s=rng.uniform(300, 40_000, 50),
        vcpus=rng.integers(1, 4, 50) * 1.0,
    )
    return trace, Truth(g_per_kwh=rng.uniform(10, 500, 400))


WANTED = cases(
    ["price", "wait_awhile"],
    starts_h=[0, 24, 48],
    queues=[Queues.parse("6x24")],
    worlds=[World(), World(reserved_vcpus=4, spot_loss_per_h=0.2, seed=7)],
)


def test_processes_give_what_one_process_gives() -> None:
    trace, truth = inputs()
    serial = sweep(trace, truth, WANTED, executor=SerialExecutor())
    assert serial == sweep(trace, truth, WANTED)
    assert serial == sweep(trace, truth, WANTED, executor=ProcessExecutor(2))
    assert [item.case for item in serial] == WANTED
    assert len({item.facts["carbon_g"] for item in serial}) > 5


def test_a_cluster_gives_what_one_process_gives() -> None:
    distributed = pytest.importorskip("distributed", reason="the extra dask isn't installed")
    trace, truth = inputs()
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None, protocol="inproc://"
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        assert sweep(trace, truth, WANTED, executor=DaskExecutor(client)) == sweep(trace, truth, WANTED)


def several(count: int) -> Places:
    rng = np.random.default_rng(3)
    sites = Sites(
        sites=tuple(
            Site(
                name=name, truth=Truth(g_per_kwh=rng.uniform(10, 500, 400)),
                world=World(cap_vcpus=30.0, outages=((4e4, 6e4),) if name == "north" else ()),
            )
            for name in ("north", "south")
        ),
        restart_s=600.0,
    )  # fmt: skip
    return Places(sites=sites, reach=Reach.of(sites, rng.choice(sites.names, count).tolist()))


def test_several_sites_give_the_same_wherever_they_run() -> None:
    trace, _ = inputs()
    where = several(len(trace))
    wanted = cases(["price", "mpc", "carbon_time"], starts_h=[0, 24])
    serial = sweep(trace, where, wanted)
    assert serial == sweep(trace, where, wanted, executor=ProcessExecutor(2))
    assert [item.roams for item in serial] == [True, True, False] * 2
    assert all(item.regions is not None and set(item.regions) == {"north", "south"} for item in serial)
    work = Workload.of(trace, wanted[0].queues)
    alone = simulate_sites("price", work, where.sites, where.reach)
    assert serial[0].facts["carbon_g"] == alone.metrics.carbon_g


def test_the_baseline_is_simulated_though_nobody_asked() -> None:
    trace, truth = inputs()
    (only,) = sweep(trace, truth, cases(["wait_awhile"]))
    base, same = sweep(trace, truth, cases(["no_wait", "wait_awhile"]))
    assert only == same
    assert only.baseline_g == base.facts["carbon_g"]
    assert base.as_dict()["carbon_ratio"] == 1


def test_nothing_emitted_has_no_ratio() -> None:
    trace, _ = inputs()
    clean = Truth(g_per_kwh=np.zeros(300))
    assert np.isnan(sweep(trace, clean, cases(["price"]))[0].as_dict()["carbon_ratio"])


def test_reserved_machines_may_be_paid_to_the_last_finish() -> None:
    trace, truth = inputs()
    bills = [
        sweep(
            trace,
            truth,
            cases(["no_wait"], worlds=[World(reserved_vcpus=4, costs=Costs(reserved_until=end))]),
        )[0]
        for end in ("last-start", "last-finish")
    ]
    hours = bills[1].facts["makespan_h"] - trace.arrival_s.max() / 3600
    assert bills[1].facts["cost"] - bills[0].facts["cost"] == pytest.approx(4 * 0.4 * 0.0624 * hours)


def test_there_must_be_something_to_sweep() -> None:
    with pytest.raises(ConfigError, match="no policy to simulate"):
        cases([])
    trace, truth = inputs()
    with pytest.raises(ConfigError, match="no start of a slot"):
        sweep(trace, truth, cases(["price"], starts_h=[0.5]))
