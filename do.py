"""Everything one does with this folder, from Python 3.11 and pip alone.

python3 do.py demo [ARGS]       make .venv, install, run `aicsched demo ARGS`
python3 do.py setup             make .venv and install, no more
python3 do.py test [ARGS]       all checks, then all tests (with ARGS: only pytest, with these)
python3 do.py lint [--fix]      the checks alone; --fix mends style first
python3 do.py bench [ARGS]      run `python -m benchmarks ARGS`
python3 do.py notebooks         make the notebooks from their scripts, and execute them
python3 do.py e2e [ARGS]        the tests beside a real Kubernetes, which it builds, and on real input
python3 do.py deploy [--check]  make what of deploy/ is generated anew, or tell what isn't current
python3 do.py lock [--upgrade]  make requirements/*.lock anew (needs the network)
python3 do.py clean             remove .venv and everything else that can be made anew

The first call needs the network, later ones don't. Packages come from hashed
locks only and go into .venv only, which may be removed at any time.
"""

from __future__ import annotations

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - whoever runs this file chose the Python
    sys.exit(
        "do.py needs Python 3.11 or newer, and this is {}.{}. Try: python3.11 do.py".format(*sys.version_info)
    )

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, Self

# All else is imported where it is needed: the second `demo` waits for each import made here.
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ROOT = Path(__file__).resolve().parent
ENV = ROOT / ".venv"
LOCKS = ROOT / "requirements"
WINDOWS = os.name == "nt"
BIN = ENV / ("Scripts" if WINDOWS else "bin")
PYTHON = BIN / ("python.exe" if WINDOWS else "python")
STAMP = ENV / "do-stamp.json"

# These send an install elsewhere, mix in strangers' modules, or keep byte code from being written.
MISLEADING = frozenset(
    {
        "PIP_PREFIX",
        "PIP_REQUIRE_VIRTUALENV",
        "PIP_ROOT",
        "PIP_TARGET",
        "PIP_USER",
        "PYTHONDONTWRITEBYTECODE",
        "PYTHONHOME",
        "PYTHONOPTIMIZE",
        "PYTHONPATH",
        "VIRTUAL_ENV",
        "__PYVENV_LAUNCHER__",
    }
)
OFFLINE = (
    "NewConnectionError",
    "ConnectTimeout",
    "name resolution",
    "Read timed out",
    "ProxyError",
    "Network is unreachable",
    "Connection refused",
    "dns error",
    "error sending request",
    "Failed to fetch",
)
# The first fitting line counts: pip ends every failed search with "No matching distribution".
ADVICE = (
    (
        ("No space left", "Disk quota exceeded"),
        "The disk is full: 1.5 GB are needed here and in the temporary folder (TMPDIR).",
    ),
    (
        ("Read-only file system", "Permission denied"),
        "This folder can't be written: copy it to a place of your own and try there.",
    ),
    (
        ("DO NOT MATCH THE HASHES", "Hash mismatch"),
        "A package differs from the lock: don't use it. Try again, then ask who keeps your package index.",
    ),
    (
        OFFLINE,
        (
            "The package index can't be reached. The first set-up needs the network (behind a proxy: set "
            "HTTPS_PROXY, or index-url in pip's settings); later calls work offline."
        ),
    ),
    (
        ("No matching distribution", "no wheels with a matching"),
        "A locked package has no wheel for this Python and machine: use Python 3.11 on 64 bits.",
    ),
)
# Several processes compile faster than the installer's one. Packages' own tests are half of all code and
# never run; a file that can't be compiled matters only to whoever imports it: the outcome isn't asked for.
COMPILE = """
import compileall, re, sys
compileall.compile_dir(sys.argv[1], quiet=2, workers=0, rx=re.compile(r"[/\\\\]tests?[/\\\\]"))
"""


class Failure(Exception):
    """A step failed; the text says what to do."""


# ---------------------------------------------------------------- telling what happens


class Step:
    """One line a step: what is done, and how long it took."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.live = sys.stderr.isatty()
        self.start = time.monotonic()

    def __enter__(self) -> Self:
        self.note("...")
        return self

    def note(self, text: str) -> None:
        """Show a passing word behind the title, if someone looks on."""
        if self.live:
            sys.stderr.write(f"\r\033[K- {self.title} {text}")
            sys.stderr.flush()

    def __exit__(self, kind: object, *_: object) -> None:
        clear = "\r\033[K" if self.live else ""
        word = "failed after" if kind else "done in"
        sys.stderr.write(f"{clear}- {self.title}: {word} {time.monotonic() - self.start:.1f} s\n")
        sys.stderr.flush()


def advice(output: str) -> str:
    """Say what to do about a failure, from what was printed; the end of it where nothing fits."""
    for signs, sentence in ADVICE:
        if any(sign.lower() in output.lower() for sign in signs):
            return sentence
    return "It said:\n" + "\n".join(output.strip().splitlines()[-12:])


# ---------------------------------------------------------------- running things


def child_env() -> dict[str, str]:
    """Return the environment for child processes: .venv's programs first, and nothing that misleads them."""
    env = {name: value for name, value in os.environ.items() if name not in MISLEADING}
    return {
        **env,
        "PATH": str(BIN) + os.pathsep + env.get("PATH", os.defpath),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }


def run(command: Sequence[object], title: str, watch: Callable[[str], str | None] | None = None) -> None:
    """Run a command as one step; what it prints is shown only if it fails.

    Parameters
    ----------
    command : sequence
        Program and arguments.
    title : str
        The step's name.
    watch : callable, optional
        From a printed line to a passing word, or to None.

    Raises
    ------
    Failure
        Its exit code isn't 0.
    """
    import subprocess

    lines: list[str] = []
    parts = [str(part) for part in command]
    process = subprocess.Popen(
        parts,
        cwd=ROOT,
        env=child_env(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    with Step(title) as step, process:
        for line in process.stdout or ():
            lines.append(line)
            word = watch(line) if watch else None
            if word:
                step.note(word)
        if process.wait():
            msg = f"{title} failed. {advice(''.join(lines))}"
            raise Failure(msg)


def hand_over(command: Sequence[object]) -> NoReturn:
    """Let a command take this process's place, and with it the terminal, the signals and the exit code."""
    parts = [str(part) for part in command]
    os.chdir(ROOT)
    sys.stdout.flush()
    if WINDOWS:
        import subprocess

        sys.exit(subprocess.call(parts, env=child_env()))
    os.execve(parts[0], parts, child_env())  # noqa: S606 - a fixed program of .venv


# ---------------------------------------------------------------- what .venv holds


def digest(path: Path) -> str:
    """Hash a file's content; a missing one is a Failure that names it."""
    import hashlib

    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError:
        msg = f"{path} is missing: get this folder whole, or make the locks with `python3 do.py lock`."
        raise Failure(msg) from None


def base() -> str:
    """Tell which Python .venv stands on; its packages fit no other."""
    return os.path.realpath(PYTHON)


def read_stamp() -> dict[str, str]:
    """Tell what .venv holds; nothing if it wasn't finished, or its Python is gone or another."""
    import json

    try:
        stamp = json.loads(STAMP.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    usable = isinstance(stamp, dict) and PYTHON.exists() and stamp.get("base") == base()
    return stamp if usable else {}


def write_stamp(**changes: str) -> None:
    """Note what .venv holds now, whole or not at all."""
    import json

    part = STAMP.with_suffix(".part")
    part.write_text(
        json.dumps({**read_stamp(), "base": base(), **changes}, indent=1) + "\n", encoding="utf-8"
    )
    part.replace(STAMP)


def ensure(name: str) -> None:
    """Bring .venv up to date with a lock and with pyproject.toml; this costs milliseconds if it is.

    Parameters
    ----------
    name : str
        ``run`` or ``test``; the lock of ``test`` holds all of ``run``.
    """
    names = ("run", "test") if name == "test" else ("run",)
    locks = {lock: digest(LOCKS / f"{lock}.lock") for lock in names}
    # The installed package knows this folder by its absolute path, so it is renewed after a move as well.
    project = f"{digest(ROOT / 'pyproject.toml')} in {ROOT}"
    stamp = read_stamp()
    if not stamp:
        create()
    if stamp.get(name) != locks[name]:
        install_lock(name)
        write_stamp(**locks)
    if stamp.get("project") != project:
        install_project()
        write_stamp(project=project)


# ---------------------------------------------------------------- filling .venv


def create() -> None:
    """Make an empty .venv, without pip so that `ensurepip` need not be there."""
    import shutil

    try:
        import venv
    except ImportError:
        msg = f"{sys.executable} has no module venv. On Debian: apt install python3-venv."
        raise Failure(msg) from None
    with Step(f"make .venv with Python {sys.version_info.major}.{sys.version_info.minor}"):
        if ENV.exists():
            shutil.rmtree(ENV)
        venv.EnvBuilder(with_pip=False, symlinks=not WINDOWS).create(ENV)
        write_stamp()


def works(command: Sequence[str]) -> bool:
    """Tell whether a command runs and exits with 0."""
    import subprocess

    return subprocess.run(command, env=child_env(), capture_output=True, check=False).returncode == 0


def installer() -> list[str]:
    """Choose what installs: uv if on PATH (faster), else this Python's pip, else one made by ensurepip."""
    import shutil

    uv = shutil.which("uv")
    if uv:
        return [uv, "pip", "install", "--python", str(PYTHON)]
    # A program of .venv itself may run this file; the Python below it is the one that has pip.
    python: str = getattr(sys, "_base_executable", sys.executable)
    options = ["--no-input", "--no-compile", "--progress-bar", "off", "--no-warn-script-location"]
    if works([python, "-m", "pip", "--version"]):
        return [python, "-m", "pip", "--python", str(PYTHON), "install", *options]
    if works([str(PYTHON), "-m", "ensurepip"]):
        return [str(PYTHON), "-m", "pip", "install", *options]
    msg = f"{python} has no pip. Install it (on Debian: apt install python3-pip) or put uv on PATH."
    raise Failure(msg)


def install_lock(name: str) -> None:
    """Install a lock's packages, each checked against its hashes, and compile them."""
    lock = LOCKS / f"{name}.lock"
    count = sum(line[:1].isalnum() for line in lock.read_text(encoding="utf-8").splitlines())
    seen: list[str] = []

    def progress(line: str) -> str | None:
        if line.startswith(("Collecting", "Requirement already")):
            seen.append(line)
            return f"{len(seen)} of {count}"
        return "unpacking" if line.startswith("Installing") else None

    options = ["--require-hashes", "--no-deps", "--only-binary", ":all:", "-r", lock]
    run([*installer(), *options], f"install {count} locked packages ({name})", progress)
    run([PYTHON, "-c", COMPILE, ENV], "compile them")


def install_project() -> None:
    """Install this folder's own package in place; hatchling comes with the lock, so this works offline."""
    run([*installer(), "--no-deps", "--no-build-isolation", "-e", ROOT], "install aicsched in place")


def find_uv() -> str:
    """Find uv, or put one into .venv."""
    import shutil

    found = shutil.which("uv")
    if found:
        return found
    if not read_stamp():
        create()
    run([*installer(), "uv"], "get uv")
    return str(BIN / ("uv.exe" if WINDOWS else "uv"))


# ---------------------------------------------------------------- the checks


def gates() -> dict[str, list[str]]:
    """List the checks as arguments of .venv's Python, the longest first: two run at a time."""
    modules = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "src").rglob("*.py"))
    # Tests misspell on purpose.
    prose = [
        name
        for name in ("benchmarks", "deploy", "docs", "do.py", "notebooks", "src", "tools")
        if (ROOT / name).exists()
    ]
    prose += sorted(path.name for path in ROOT.glob("*.md"))
    return {
        "types": ["-m", "pyright"],
        "style": ["-m", "ruff", "check", "."],
        "format": ["-m", "ruff", "format", "--check", "."],
        "dead code": ["tools/dead_code.py"],
        "docstrings": ["-m", "numpydoc.cli", "lint", *modules],
        "imports": ["-c", "from importlinter.cli import lint_imports_command as main; main()", "--no-cache"],
        "dependencies": ["-m", "deptry", "src"],
        "spelling": ["-m", "codespell_lib", *prose],
    }


def run_gate(name: str, arguments: Sequence[str]) -> str:
    """Run one check; return what it found, or nothing if all is well."""
    import subprocess

    start = time.monotonic()
    done = subprocess.run(
        [str(PYTHON), *arguments],
        cwd=ROOT,
        env=child_env(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    word = "failed after" if done.returncode else "done in"
    sys.stderr.write(f"- check {name}: {word} {time.monotonic() - start:.1f} s\n")
    return f"--- {name}\n{done.stdout}{done.stderr}".rstrip() if done.returncode else ""


def check() -> None:
    """Run all checks; raise Failure, after everything that was found is printed."""
    from concurrent.futures import ThreadPoolExecutor

    chosen = gates()
    with ThreadPoolExecutor(2) as pool:
        found = dict(zip(chosen, pool.map(run_gate, chosen, chosen.values()), strict=True))
    failed = [name for name, text in found.items() if text]
    if failed:
        print("\n\n".join(found[name] for name in failed), flush=True)
        msg = f"checks failed: {', '.join(failed)}. `python3 do.py lint --fix` mends style and format; "
        msg += "the rest is yours to mend (the rules and their reasons: pyproject.toml)."
        raise Failure(msg)


# ---------------------------------------------------------------- the commands


def demo(arguments: Sequence[str]) -> None:
    """Set up, then run the main job on the embedded sample."""
    ensure("run")
    hand_over([BIN / ("aicsched.exe" if WINDOWS else "aicsched"), "demo", *arguments])


def setup(_: Sequence[str]) -> None:
    """Set up, so that .venv/bin/aicsched can be called."""
    ensure("run")


def test(arguments: Sequence[str]) -> None:
    """Run all checks, then all tests; pytest's summary comes last."""
    ensure("test")
    if arguments:
        hand_over([PYTHON, "-m", "pytest", *arguments])
    check()
    hand_over(
        [PYTHON, "-m", "pytest", "-n", "auto", "--cov", "--cov-report=term:skip-covered", "-m", "not e2e"]
    )


def lint(arguments: Sequence[str]) -> None:
    """Run all checks, after mending what can be mended if --fix is said."""
    unknown = [one for one in arguments if one != "--fix"]
    if unknown:
        msg = f"lint knows --fix only, not {' '.join(unknown)}: checks look at the whole folder."
        raise Failure(msg)
    ensure("test")
    if "--fix" in arguments:
        run([PYTHON, "-m", "ruff", "check", "--fix", "--exit-zero", "--quiet", "."], "mend style")
        run([PYTHON, "-m", "ruff", "format", "--quiet", "."], "format")
    check()


def bench(arguments: Sequence[str]) -> None:
    """Run benchmarks, side by side with their rivals."""
    ensure("test")
    hand_over([PYTHON, "-m", "benchmarks", *arguments])


def notebooks(_: Sequence[str]) -> None:
    """Make the notebooks from their scripts, and execute them."""
    ensure("test")
    for script in sorted((ROOT / "notebooks").glob("*.py")):
        run([PYTHON, "-m", "jupytext", "--to", "ipynb", "--execute", script], f"execute {script.stem}")


def e2e(arguments: Sequence[str]) -> None:
    """Build what tests run beside ours, then run the tests that need it, real input or minutes."""
    ensure("test")
    built: list[str] = []

    def progress(line: str) -> None:
        if line.startswith("NOT TESTED"):
            built.append(line)

    # Once some ten minutes; kept by version in .cache.
    run([PYTHON, "-m", "tests.e2e.control_plane"], "build Kubernetes for the tests", progress)
    for line in built:
        sys.stderr.write(line)
    # What is skipped is told with its reason.
    options = ["-m", "e2e", "--timeout", "1800", "-rs"]
    hand_over([PYTHON, "-m", "pytest", "tests/e2e", *options, *arguments])


def deploy(arguments: Sequence[str]) -> None:
    """Write the chart, the kustomize base and the plain manifests from their one description."""
    ensure("run")
    hand_over([PYTHON, "-m", "tools.deploy", *arguments])


def lock(arguments: Sequence[str]) -> None:
    """Make the locks anew; what is pinned stays where it can, unless --upgrade is said."""
    common = [find_uv(), "pip", "compile", "pyproject.toml", "requirements/build.in", "--quiet"]
    common += ["--universal", "--python-version", "3.11", "--generate-hashes", "--no-header", "--no-annotate"]
    # A lock serves everybody, so it names no one's registry.
    common += ["--no-emit-index-url", "--no-emit-find-links"]
    common += ["--upgrade"] if "--upgrade" in arguments else []
    run([*common, "--extra", "parquet", "-o", "requirements/run.lock"], "lock run")
    more = ["--all-extras", "--group", "test", "--group", "lint"]
    same = ["--constraint", "requirements/run.lock", "--override", "requirements/overrides.in"]
    run([*common, *more, *same, "-o", "requirements/test.lock"], "lock test")


def clean(_: Sequence[str]) -> None:
    """Remove everything that can be made anew."""
    import shutil

    names = (
        ".venv",
        ".pytest_cache",
        ".ruff_cache",
        ".hypothesis",
        "htmlcov",
        "build",
        "dist",
        "__pycache__",
    )
    caches = [
        cache
        for name in ("src", "tests", "tools", "benchmarks")
        for cache in (ROOT / name).rglob("__pycache__")
    ]
    with Step("clean"):
        for path in [*(ROOT / name for name in names), *caches]:
            shutil.rmtree(path, ignore_errors=True)
        for path in ROOT.glob(".coverage*"):
            path.unlink()


COMMANDS: dict[str, Callable[[Sequence[str]], None]] = {
    "demo": demo,
    "setup": setup,
    "test": test,
    "lint": lint,
    "bench": bench,
    "notebooks": notebooks,
    "e2e": e2e,
    "deploy": deploy,
    "lock": lock,
    "clean": clean,
}


def main(arguments: Sequence[str]) -> int:
    """Do what the first argument says; return 0 done, 1 a step failed, 2 no such command, 130 interrupted."""
    if not arguments or arguments[0] not in COMMANDS:
        print((__doc__ or "").strip())
        return 0 if arguments and arguments[0] in {"-h", "--help", "help"} else 2
    try:
        COMMANDS[arguments[0]](arguments[1:])
    except Failure as failure:
        print(f"do.py: {failure}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"do.py: {error}. {advice(str(error))}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ndo.py: stopped. The same call goes on from here.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
