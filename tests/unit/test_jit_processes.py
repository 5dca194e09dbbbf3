"""Compiled kernels among processes: races, kills, broken files, forks and the way out."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# A module of its own with one small kernel that has a helper: compiles in a second.
MODULE = """
import numpy as np
from aicsched.jit import Kernel

SCALE = {scale}

def _half(value):
    return value / {divisor}

def _loop(values):
    total = 0.0
    for value in values:
        total += SCALE * _half(value)
    return total

def _twin(values):
    return float(np.cumsum(SCALE * (values / {divisor}))[-1])

HALVES = Kernel(
    _loop, _twin, signature='float64(Array(float64, 1, "C", readonly=True))',
    work=lambda values: {work}, helpers=(_half,), exact=True,
)
"""
RUN = """
import numpy as np, small
print(repr(small.HALVES.compiled()(np.arange(8.0))))
"""


class Box:
    """A folder with the module, its cache, and a way to run code beside them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cache = folder / "cache"
        self.write()

    def write(self, *, scale: float = 2.0, divisor: float = 2.0, work: float = 1.0) -> None:
        text = MODULE.format(scale=scale, divisor=divisor, work=work)
        (self.folder / "small.py").write_text(text, encoding="utf-8")

    def start(self, code: str, **extra: str) -> subprocess.Popen[str]:
        environment = {
            **os.environ,
            "AICSCHED_CACHE_DIR": str(self.cache),
            "PYTHONPATH": str(self.folder),
            "PYTHONDONTWRITEBYTECODE": "1",
            **extra,
        }
        for name in ("NUMBA_CACHE_DIR", "AICSCHED_KERNELS", "NUMBA_DISABLE_JIT"):
            if name not in extra:
                environment.pop(name, None)
        return subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, code: str, **extra: str) -> str:
        return finish(self.start(code, **extra))

    def files(self, pattern: str) -> list[Path]:
        return sorted(self.cache.rglob(pattern))


def finish(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out.strip()


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path)


def test_processes_that_race_on_an_empty_cache_all_answer_and_compile_once(box: Box) -> None:
    racers = [box.start(RUN) for _ in range(4)]
    assert [finish(each) for each in racers] == ["28.0"] * 4
    assert len(box.files("*.nbc")) == 1
    (manifest,) = box.files("manifest.json")
    assert sorted(json.loads(manifest.read_text())) == sorted(
        path.relative_to(manifest.parent).as_posix() for path in box.files("*.nb?")
    )


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:40],
        lambda data: b"",
        lambda data: data[:-1] + bytes([data[-1] ^ 1]),
        lambda data: (
            data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 255]) + data[len(data) // 2 + 1 :]
        ),
    ],
    ids=["cut", "empty", "last bit", "middle byte"],
)
def test_a_broken_file_is_thrown_away_and_made_anew(box: Box, damage: Callable[[bytes], bytes]) -> None:
    box.run(RUN)
    (code,) = box.files("*.nbc")
    whole = code.read_bytes()
    code.write_bytes(damage(whole))
    assert box.run(RUN) == "28.0"
    (code,) = box.files("*.nbc")
    assert len(code.read_bytes()) > 1000
    (manifest,) = box.files("manifest.json")
    before = manifest.stat().st_mtime_ns
    assert box.run(RUN) == "28.0"
    assert manifest.stat().st_mtime_ns == before  # healed: nothing is compiled again


def test_files_without_a_manifest_count_as_broken(box: Box) -> None:
    box.run(RUN)
    for manifest in box.files("manifest.json"):
        manifest.unlink()
    (code,) = box.files("*.nbc")
    code.write_bytes(b"from a killed process")
    assert box.run(RUN) == "28.0"
    assert len(box.files("manifest.json")) == 1


def test_a_compile_killed_midway_stops_nobody(box: Box) -> None:
    # The first holds the lock and is killed inside the compiler's write; the second takes over.
    stuck = """
    import os, time, numba.core.caching as caching
    whole = caching.IndexDataCacheFile._save_data
    def half(self, name, data):
        with open(self._data_path(name), "wb") as file:
            file.write(b"half of it")
        print("written", flush=True)
        time.sleep(60)
    caching.IndexDataCacheFile._save_data = half
    import numpy as np, small
    small.HALVES.compiled()
    """
    first = box.start(stuck)
    assert first.stdout is not None
    assert first.stdout.readline().strip() == "written"
    second = box.start(RUN)
    time.sleep(0.3)
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    assert finish(second) == "28.0"
    assert box.run(RUN) == "28.0"
    assert all(b"half of it" not in path.read_bytes() for path in box.files("*.nbc"))


def test_the_folder_is_used_though_numba_was_imported_before(box: Box) -> None:
    code = (
        """
    import numba
    other = numba.core.config.CACHE_DIR
    """
        + textwrap.indent(RUN, "    ")
        + """
    assert numba.core.config.CACHE_DIR == other
    """
    )
    assert box.run(code) == "28.0"
    assert len(box.files("*.nbc")) == 1
    elsewhere = box.folder / "elsewhere"
    (box.folder / "cache").rename(box.folder / "old")
    assert box.run(code, NUMBA_CACHE_DIR=str(elsewhere)) == "28.0"
    assert len(box.files("*.nbc")) == 1
    assert not elsewhere.exists()


def test_a_changed_helper_or_constant_is_compiled_anew(box: Box) -> None:
    assert box.run(RUN) == "28.0"
    box.write(divisor=4.0)
    assert box.run(RUN) == "14.0"
    box.write(scale=4.0, divisor=4.0)
    assert box.run(RUN) == "28.0"
    assert len(box.files("*.nbc")) == 3


def test_without_a_folder_it_compiles_in_memory(box: Box) -> None:
    box.cache.write_text("a file, where a folder should be")
    assert box.run(RUN) == "28.0"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_can_not_be_written_is_left_alone(box: Box) -> None:
    box.cache.mkdir(mode=0o500)
    assert box.run(RUN) == "28.0"


def test_the_plain_loop_runs_where_compiling_is_switched_off(box: Box) -> None:
    code = "import numpy as np, small; print(small.HALVES(np.arange(8.0)))"
    assert box.run(code, NUMBA_DISABLE_JIT="1", AICSCHED_KERNELS="numba") == "28.0"
    box.write(work=1e12)
    assert box.run(code, NUMBA_DISABLE_JIT="1") == "28.0"
    assert not box.files("*.nbc")


def test_an_exact_kernel_answers_through_numpy_until_it_is_compiled(box: Box) -> None:
    box.write(work=1e12)
    code = """
    import sys, time, numpy as np, small
    values = np.arange(8.0)
    assert small.HALVES.form(values) is small.HALVES.twin
    first = small.HALVES(values)
    until = time.monotonic() + 60
    while small.HALVES.form(values) is small.HALVES.twin and time.monotonic() < until:
        assert small.HALVES(values) == first
        time.sleep(0.01)
    assert small.HALVES.form(values) is not small.HALVES.twin
    assert small.HALVES(values) == first
    print(first)
    """
    assert box.run(code) == "28.0"


def test_a_process_may_end_while_it_compiles_in_the_background(box: Box) -> None:
    code = """
    import numpy as np, small
    from aicsched import jit
    import aicsched.forecast.kernels
    assert jit.warmup(background=True) >= 1
    print(small.HALVES(np.arange(8.0)))
    """
    began = time.monotonic()
    assert box.run(code) == "28.0"
    assert time.monotonic() - began < 60


def test_a_fork_amid_a_background_compile_can_compile_too(box: Box) -> None:
    code = """
    import os, numpy as np, small
    from aicsched import jit
    jit.warmup(background=True)
    import time; time.sleep(0.2)
    child = os.fork()
    if child == 0:
        os._exit(0 if small.HALVES.compiled()(np.arange(8.0)) == 28.0 else 1)
    print(os.waitpid(child, 0)[1], small.HALVES.compiled()(np.arange(8.0)))
    """
    assert box.run(code) == "0 28.0"


def test_rows_are_shared_out_after_a_fork_too(box: Box) -> None:
    code = """
    import os, numpy as np
    from aicsched.jit import over_rows
    def total():
        values = np.ones(4000)
        def task(first, last):
            values[first:last] += 1
        over_rows(task, 4000, threads=3)
        return values.sum()
    assert total() == 8000
    child = os.fork()
    if child == 0:
        os._exit(0 if total() == 8000 else 1)
    print(os.waitpid(child, 0)[1])
    """
    assert box.run(code) == "0"


def test_importing_forecasts_imports_no_numba(box: Box) -> None:
    assert (
        box.run("import sys, aicsched.forecast, aicsched.forecast.kernels; print('numba' in sys.modules)")
        == "False"
    )
