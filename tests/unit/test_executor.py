"""Executors: the same results wherever they are made, and clear words where they can't be."""

from __future__ import annotations

import os
import sys
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from aicsched import testing
from aicsched.errors import ConfigError, ExecutorError, SignalGap
from aicsched.executor import DaskExecutor, ProcessExecutor, SerialExecutor
from aicsched.forecast import backtest as module
from aicsched.forecast.backtest import backtest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aicsched.executor import Executor
    from aicsched.forecast.backtest import BacktestResult

DAY_S = 86_400
ZONES = ("DE", "SE")
# The sockets are distributed's own, left to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def double(number: int) -> int:
    return 2 * number


def refuse(number: int) -> int:
    if number == 2:
        msg = "DE: two is missing"
        raise SignalGap(msg, hint="add it", value=number)
    return number


def die(number: int) -> int:
    os._exit(number + 1)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Start a Dask cluster of two processes on this machine."""
    distributed = pytest.importorskip("distributed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0"
        ) as made:
            yield made


@pytest.fixture(params=["serial", "processes", "dask"])
def executor(request: pytest.FixtureRequest) -> Executor:
    if request.param == "serial":
        return SerialExecutor()
    if request.param == "processes":
        return ProcessExecutor(2)
    return DaskExecutor(request.getfixturevalue("cluster").scheduler_address)


def test_each_task_comes_back_once_with_its_index(executor: Executor) -> None:
    found = dict(executor.map_unordered(double, [3, 1, 4, 1, 5]))
    assert found == {0: 6, 1: 2, 2: 8, 3: 2, 4: 10}
    assert list(executor.map_unordered(double, [])) == []


def test_an_error_comes_through_as_it_was_raised(executor: Executor) -> None:
    with pytest.raises(SignalGap, match="DE: two is missing") as caught:
        list(executor.map_unordered(refuse, [1, 2, 3]))
    assert (caught.value.hint, caught.value.value) == ("add it", 2)


def test_a_process_that_dies_is_told_of() -> None:
    with pytest.raises(ExecutorError, match="a worker process died"):
        list(ProcessExecutor(1).map_unordered(die, [1]))


def test_bad_choices_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="0 processes"):
        ProcessExecutor(0)
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ExecutorError, match=r"aicsched\[dask\]"):
        DaskExecutor("tcp://127.0.0.1:1")


def test_a_scheduler_that_does_not_answer_is_told_of() -> None:
    distributed = pytest.importorskip("distributed")
    from dask import config

    with (
        config.set({"distributed.comm.timeouts.connect": "1s"}),
        pytest.raises(ExecutorError, match=r"no Dask scheduler answers at 'tcp://127.0.0.1:9'"),
    ):
        list(DaskExecutor("tcp://127.0.0.1:9").map_unordered(double, [1]))
    assert distributed.__version__


def test_a_worker_that_dies_is_told_of() -> None:
    distributed = pytest.importorskip("distributed")
    from dask import config

    with (
        config.set({"distributed.scheduler.allowed-failures": 0}),
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, processes=True, dashboard_address=":0", silence_logs=50
        ) as made,
        distributed.Client(made, set_as_default=False) as client,
        pytest.raises(ExecutorError, match="the cluster lost a task"),
    ):
        list(DaskExecutor(client).map_unordered(die, [1]))


# ---------------------------------------------------------------- backtests
def run(executor: Executor | None) -> BacktestResult:
    series = {zone: testing.example_series(zone=zone, days=75, seed=at) for at, zone in enumerate(ZONES)}
    start_s = series["DE"].slots.start_s
    return backtest(
        series,
        model="ridge",
        start_s=start_s + 30 * DAY_S,
        end_s=start_s + 65 * DAY_S,
        refit_days=16,
        keep_forecasts=True,
        executor=executor,
    )


def test_a_backtest_gives_the_same_bytes_everywhere(cluster: Any) -> None:
    plain = run(None)
    distributed = pytest.importorskip("distributed")
    with distributed.Client(cluster, set_as_default=False) as client:
        others = {
            "processes": run(ProcessExecutor(2)),
            "dask by client": run(DaskExecutor(client)),
            "dask by address": run(DaskExecutor(cluster.scheduler_address)),
        }
    for made in others.values():
        for zone, left in plain.runs.items():
            right = made.runs[zone]
            assert left.mean_g_per_kwh.tobytes() == right.mean_g_per_kwh.tobytes()
            assert left.quantiles_g_per_kwh.tobytes() == right.quantiles_g_per_kwh.tobytes()
            assert made.zones[zone].measures() == plain.zones[zone].measures()


def test_a_worker_of_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    part = module._Part(
        testing.example_series(),
        None,
        module._Plan("seasonal", 0, 0, 96, DAY_S, 30, (0.1, 0.9)),
        (0,),
        "0.0.1",
    )
    with pytest.raises(ConfigError, match=r"this worker runs aicsched .*, and the backtest 0\.0\.1"):
        module._forecast_part(part)
    assert np.isfinite(part.series.values_g_per_kwh).all()
