"""Which form of a kernel runs, and that a broken cache stops nothing."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from aicsched import jit
from aicsched.jit import AUTO_WORK, Kernel, cache_dir

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    monkeypatch.setattr(jit, "_REGISTRY", [])
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
    monkeypatch.setattr(jit.tempfile, "gettempdir", lambda: str(tmp_path))
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
