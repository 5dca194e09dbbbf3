"""The set-up command: what it remembers, what it says when a step fails, and what its locks hold."""

from __future__ import annotations

import ast
import importlib.util
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Load do.py from a small project in a temporary folder."""
    shutil.copy(ROOT / "do.py", tmp_path)
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'x'\n", encoding="utf-8")
    locks = tmp_path / "requirements"
    locks.mkdir()
    for name in ("run", "test"):
        (locks / f"{name}.lock").write_text("a==1 \\\n    --hash=sha256:00\nb==2\n", encoding="utf-8")
    spec = importlib.util.spec_from_file_location("do_under_test", tmp_path / "do.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert tmp_path == module.ROOT
    monkeypatch.chdir(tmp_path)
    return module


@pytest.fixture
def steps(do: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let do.py believe that it installs, and list what it would have run."""
    done: list[str] = []

    def create() -> None:
        done.append("create")
        do.PYTHON.parent.mkdir(parents=True, exist_ok=True)
        do.PYTHON.touch()
        do.write_stamp()

    monkeypatch.setattr(do, "create", create)
    monkeypatch.setattr(do, "install_lock", done.append)
    monkeypatch.setattr(do, "install_project", lambda: done.append("project"))
    return done


def test_a_second_call_does_nothing(do: ModuleType, steps: list[str]) -> None:
    do.ensure("run")
    assert steps == ["create", "run", "project"]
    do.ensure("run")
    assert steps == ["create", "run", "project"]


def test_what_tests_need_includes_what_running_needs(do: ModuleType, steps: list[str]) -> None:
    do.ensure("test")
    do.ensure("run")
    assert steps == ["create", "test", "project"]


def test_a_new_lock_is_installed_and_nothing_else(do: ModuleType, steps: list[str]) -> None:
    do.ensure("run")
    (do.LOCKS / "run.lock").write_text("a==2\n", encoding="utf-8")
    do.ensure("run")
    assert steps == ["create", "run", "project", "run"]


def test_a_new_pyproject_needs_no_network(do: ModuleType, steps: list[str]) -> None:
    do.ensure("run")
    (do.ROOT / "pyproject.toml").write_text("[project]\nname = 'y'\n", encoding="utf-8")
    do.ensure("run")
    assert steps == ["create", "run", "project", "project"]


def test_an_interrupted_install_is_taken_up_again(
    do: ModuleType, steps: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(name: str) -> None:
        steps.append(f"{name} stopped")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(do, "install_lock", stop)
        with pytest.raises(KeyboardInterrupt):
            do.ensure("run")
    do.ensure("run")
    assert steps == ["create", "run stopped", "run", "project"]


def test_a_moved_folder_needs_no_network(
    do: ModuleType, steps: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    do.ensure("run")
    monkeypatch.setattr(do, "ROOT", tmp_path / ".." / tmp_path.name)  # the same folder by another name
    do.ensure("run")
    assert steps == ["create", "run", "project", "project"]


def test_another_python_starts_afresh(
    do: ModuleType, steps: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    do.ensure("run")
    monkeypatch.setattr(do, "base", lambda: "python3.14")
    do.ensure("run")
    assert steps == ["create", "run", "project"] * 2


def test_a_python_that_went_away_starts_afresh(do: ModuleType, steps: list[str]) -> None:
    do.ensure("run")
    do.PYTHON.unlink()
    do.PYTHON.symlink_to(do.ROOT / "gone")
    do.ensure("run")
    assert steps == ["create", "run", "project"] * 2


@pytest.mark.parametrize("content", ["", "[]", "{", '"x"', "\x00"])
def test_a_broken_stamp_counts_as_none(do: ModuleType, content: str) -> None:
    do.ENV.mkdir()
    do.STAMP.write_text(content, encoding="utf-8")
    assert do.read_stamp() == {}


def test_a_missing_lock_is_named(do: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    (do.LOCKS / "run.lock").unlink()
    assert do.main(["demo"]) == 1
    told = capsys.readouterr().err
    assert "run.lock is missing" in told
    assert "do.py lock" in told


@pytest.mark.parametrize(
    ("printed", "told"),
    [
        ("ERROR: [Errno 28] No space left on device", "disk is full"),
        ("OSError: [Errno 30] Read-only file system: '/x'", "can't be written"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE", "differs from the lock"),
        (
            "WARNING: Retrying ... NewConnectionError ...\nERROR: No matching distribution",
            "needs the network",
        ),
        ("error: Failed to fetch: `x`\n  Caused by: dns error", "needs the network"),
        ("ERROR: No matching distribution found for numpy==2.4.6", "no wheel for this Python"),
        ("something\nnobody foresaw", "nobody foresaw"),
    ],
)
def test_each_failure_says_what_to_do(do: ModuleType, printed: str, told: str) -> None:
    assert told in do.advice(printed)


def test_a_failing_step_stops_with_its_reason(do: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    command = [sys.executable, "-c", "print('No space left on device'); raise SystemExit(1)"]
    with pytest.raises(do.Failure, match=r"try it failed\. The disk is full"):
        do.run(command, "try it")
    assert "try it: failed after" in capsys.readouterr().err


def test_a_folder_that_can_not_be_written(
    do: ModuleType, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: object) -> None:
        raise PermissionError(13, "Permission denied", "/x")

    monkeypatch.setitem(do.COMMANDS, "demo", refuse)
    assert do.main(["demo"]) == 1
    assert "copy it to a place of your own" in capsys.readouterr().err


def test_without_any_installer_the_reader_learns_how_to_get_one(
    do: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr(do, "works", lambda _: False)
    with pytest.raises(do.Failure, match="has no pip"):
        do.installer()


def test_pip_of_this_python_fills_an_environment_without_pip(
    do: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr(do, "works", lambda command: "pip" in command)
    command = do.installer()
    assert command[1:4] == ["-m", "pip", "--python"]
    assert command[4] == str(do.PYTHON)


def test_children_are_not_misled(do: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in do.MISLEADING:
        monkeypatch.setenv(name, "1")
    env = do.child_env()
    assert not do.MISLEADING & set(env)
    assert env["PATH"].split(os.pathsep)[0] == str(do.BIN)


def test_an_old_python_gets_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 9, 2))
    with pytest.raises(SystemExit, match=r"needs Python 3\.11 or newer, and this is 3\.9"):
        runpy.run_path(str(ROOT / "do.py"), run_name="__main__")


def test_an_old_python_can_read_the_file() -> None:
    ast.parse((ROOT / "do.py").read_text(encoding="utf-8"), feature_version=(3, 7))


def test_only_the_standard_library_is_imported() -> None:
    tree = ast.parse((ROOT / "do.py").read_text(encoding="utf-8"))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in names} <= sys.stdlib_module_names


def test_no_such_command(do: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert do.main(["dmo"]) == 2
    assert "do.py demo" in capsys.readouterr().out
    assert do.main(["--help"]) == 0


def test_failed_checks_are_shown_and_named(
    do: ModuleType, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(do, "PYTHON", Path(sys.executable))
    monkeypatch.setattr(
        do, "gates", lambda: {"good": ["-c", "pass"], "bad": ["-c", "print('line 3'); raise SystemExit(1)"]}
    )
    with pytest.raises(do.Failure, match="checks failed: bad"):
        do.check()
    shown = capsys.readouterr()
    assert "line 3" in shown.out
    assert "check good: done" in shown.err


def test_lint_refuses_what_it_does_not_know(do: ModuleType) -> None:
    with pytest.raises(do.Failure, match="--fix only, not src"):
        do.lint(["src"])


def test_an_environment_is_made_without_ensurepip(do: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ensurepip", None)  # importing it fails, as on Debian
    do.create()
    assert do.read_stamp()["base"] == do.base()
    found = (
        "import importlib.util as u, sys; print(sys.prefix); raise SystemExit(u.find_spec('pip') is not None)"
    )
    done = subprocess.run(
        [do.PYTHON, "-c", found], env=do.child_env(), capture_output=True, text=True, check=True
    )
    assert Path(done.stdout.strip()) == do.ENV


def test_clean_removes_only_what_can_be_made_anew(do: ModuleType) -> None:
    for name in (".venv", ".ruff_cache", "src/aicsched/__pycache__"):
        (do.ROOT / name).mkdir(parents=True)
    kept = do.ROOT / "src" / "aicsched" / "units.py"
    kept.touch()
    assert do.main(["clean"]) == 0
    assert kept.exists()
    assert (do.ROOT / "pyproject.toml").exists()
    left = {path.name for path in do.ROOT.rglob("*")}
    assert not left & {".venv", ".ruff_cache", "__pycache__"}
