"""Which form of a kernel runs, and that a broken cache stops nothing."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest

from aicsched import jit
from aicsched.errors import ConfigError
from aicsched.jit import AUTO_WORK, Kernel, cache_dir, over_rows
from aicsched.jit import cache as jit_cache
from aicsched.jit import kernel as jit_kernel

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    monkeypatch.setattr(jit_kernel, "_REGISTRY", [])
    monkeypatch.delenv("AICSCHED_KERNELS", raising=False)

    def loop(values: np.ndarray) -> float:
        total = 0.0
        for value in values:
            total += value
        return total + 0.5  # told apart from the twin on purpose

    return Kernel(
        loop,
        np.sum,
        signature="float64(Array(float64, 1, 'C', readonly=True))",
        work=lambda values: float(values.size) * 1e7,
    )


def read_only(count: int) -> np.ndarray:
    values = np.ones(count)
    values.flags.writeable = False
    return values


def test_small_calls_go_through_numpy(kernel: Kernel) -> None:
    assert kernel(read_only(3)) == 3.0


def test_big_calls_and_warm_kernels_are_compiled(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AICSCHED_CACHE_DIR", str(tmp_path))
    count = int(AUTO_WORK / 1e7) + 1
    assert kernel(read_only(count)) == count + 0.5
    assert kernel(read_only(3)) == 3.0
    assert jit.warmup() == 1
    assert kernel(read_only(3)) == 3.5


DOUBLED = True


def _scaled(value: float) -> float:
    if DOUBLED:
        return 2.0 * value
    return value


def test_a_form_is_compiled_for_its_constants_and_the_twin_reads_the_modules(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(jit_kernel, "_REGISTRY", [])
    monkeypatch.setenv("AICSCHED_CACHE_DIR", str(tmp_path))

    def loop(value: float) -> float:
        return _scaled(value)

    made = [
        Kernel(
            loop,
            loop,
            signature="float64(float64)",
            work=lambda _value: 0.0,
            helpers=(_scaled,),
            constants=constants,
        )
        for constants in ({"DOUBLED": False}, {"DOUBLED": True}, {})
    ]
    assert [kernel.twin(3.0) for kernel in made] == [6.0, 6.0, 6.0]
    # Each in a folder of its own: the second must not find the first one's code.
    assert [kernel.compiled()(3.0) for kernel in made] == [3.0, 6.0, 6.0]


def test_the_environment_forces_a_form(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AICSCHED_KERNELS", "numba")
    assert kernel(read_only(3)) == 3.5
    monkeypatch.setenv("AICSCHED_KERNELS", "numpy")
    kernel.warm = True
    assert kernel(read_only(3)) == 3.0


def test_the_cache_falls_back_where_its_folder_can_not_be_made(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.delenv("AICSCHED_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    monkeypatch.setattr(jit_cache.tempfile, "gettempdir", lambda: str(tmp_path))
    folder = cache_dir()
    assert folder.is_dir()
    assert str(folder).startswith(str(tmp_path / "aicsched-"))
    monkeypatch.setenv("AICSCHED_CACHE_DIR", str(blocked))
    assert cache_dir().name.startswith("aicsched-")


def test_warm_kernels_run_in_a_fresh_process_with_a_corrupt_cache(tmp_path: Path) -> None:
    code = "from aicsched import jit, forecast; import aicsched.forecast.kernels; print(jit.warmup())"
    run = [sys.executable, "-c", code]
    environment = {"AICSCHED_CACHE_DIR": str(tmp_path), "PATH": "/usr/bin:/bin"}
    first = subprocess.run(run, env=environment, capture_output=True, text=True, check=True)
    assert int(first.stdout) >= 1
    for item in tmp_path.rglob("*.nb?"):
        item.write_bytes(item.read_bytes()[:20])
    second = subprocess.run(run, env=environment, capture_output=True, text=True, check=True)
    assert second.stdout == first.stdout


def test_a_shared_folder_that_others_can_write_is_not_trusted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.delenv("AICSCHED_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    monkeypatch.setattr(jit_cache.tempfile, "gettempdir", lambda: str(tmp_path))
    ours = cache_dir().parents[1]
    assert ours.stat().st_mode & 0o777 == 0o700
    ours.chmod(0o777)
    assert cache_dir() == ours  # the bare folder: no version below it, so nothing is loaded from there


def test_background_warmup_takes_exact_kernels_only(kernel: Kernel) -> None:
    assert jit.warmup(background=True) == 0
    assert kernel(read_only(3)) == 3.0


@pytest.mark.parametrize("rows", [0, 1, 255, 256, 257, 5000])
@pytest.mark.parametrize("threads", [1, 2, 3, 7])
def test_each_row_is_done_once(rows: int, threads: int) -> None:
    counts = np.zeros(rows)

    def task(first: int, last: int) -> None:
        counts[first:last] += 1

    over_rows(task, rows, threads=threads)
    assert (counts == 1).all()


@pytest.mark.parametrize("bad", [0, 4999])
def test_a_fault_in_any_thread_comes_out(bad: int) -> None:
    done = []

    def task(first: int, last: int) -> None:
        if first <= bad < last:
            raise ValueError(bad)
        done.append(first)

    with pytest.raises(ValueError, match=str(bad)):
        over_rows(task, 5000, threads=3)
    assert len(done) == 2


@pytest.mark.parametrize("said", ["0", "two", "-1"])
def test_a_bad_number_of_threads_is_refused(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    monkeypatch.setenv("AICSCHED_THREADS", said)
    with pytest.raises(ConfigError, match="AICSCHED_THREADS"):
        over_rows(lambda first, last: None, 5000)


def test_the_number_of_threads_can_be_said(monkeypatch: pytest.MonkeyPatch) -> None:
    ranges = []
    monkeypatch.setenv("AICSCHED_THREADS", "3")
    over_rows(lambda first, last: ranges.append((first, last)), 3000)
    assert sorted(ranges) == [(0, 1000), (1000, 2000), (2000, 3000)]


def test_callers_in_many_threads_share_one_pool() -> None:
    values = np.zeros((8, 3000))

    def caller(row: int) -> None:
        def task(first: int, last: int) -> None:
            values[row, first:last] += 1

        for _ in range(20):
            over_rows(task, 3000, threads=2 + row % 3)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(caller, range(8)))
    assert (values == 20).all()
