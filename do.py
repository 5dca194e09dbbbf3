"""Everything one does with this folder, from Python 3.11 and pip alone.

    python3 do.py demo [ARGS]       make .venv, install, run `aicsched demo ARGS`
    python3 do.py test [ARGS]       all checks, then all tests (ARGS go to pytest)
    python3 do.py lint [--fix]      the checks alone; --fix mends style first
    python3 do.py bench [ARGS]      run `python -m benchmarks ARGS`
    python3 do.py notebooks         execute the notebooks
    python3 do.py e2e [ARGS]        the tests that need real input (ARGS go to pytest)
    python3 do.py lock [--upgrade]  make requirements/*.lock anew (needs the network)
    python3 do.py clean             remove .venv and everything else that can be made anew

The first call needs the network, later ones do not. Packages come from hashed
locks only and go into .venv only, which may be removed at any time.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - the reader's Python is what this line is about
    sys.exit("do.py needs Python 3.11 or newer, and this is %d.%d. Try: python3.11 do.py" % sys.version_info[:2])

import os
import time
from pathlib import Path

# Everything else is imported where it is needed: the second `demo` pays for each import.

ROOT = Path(__file__).resolve().parent
ENV = ROOT / ".venv"
LOCKS = ROOT / "requirements"
WINDOWS = os.name == "nt"
BIN = ENV / ("Scripts" if WINDOWS else "bin")
PYTHON = BIN / ("python.exe" if WINDOWS else "python")
STAMP = ENV / "do-stamp.json"
SOURCES = ("src", "tests", "benchmarks", "do.py")
# These would send an install elsewhere, mix in strangers' modules, or keep byte code from being written.
MISLEADING = (
    "PIP_PREFIX",
    "PIP_REQUIRE_VIRTUALENV",
    "PIP_ROOT",
    "PIP_TARGET",
    "PIP_USER",
    "PYTHONDONTWRITEBYTECODE",
    "PYTHONHOME",
    "PYTHONOPTIMIZE",
    "PYTHONPATH",
    "UV_PROJECT_ENVIRONMENT",
    "VIRTUAL_ENV",
    "__PYVENV_LAUNCHER__",
)
ADVICE = (
    (
        ("No space left", "Disk quota exceeded"),
        "The disk is full: about 1.5 GB are needed here and in the temporary folder (TMPDIR).",
    ),
    (
        ("Read-only file system", "Permission denied"),
        "This folder can't be written: copy it to a place of your own and try there.",
    ),
    (
        ("DO NOT MATCH THE HASHES", "Hash mismatch"),
        "A package differs from the lock: don't use it. Try once more, then ask your package index's keeper.",
    ),
    (
        (
            "NewConnectionError",
            "ConnectTimeout",
            "name resolution",
            "Read timed out",
            "ProxyError",
            "Network is unreachable",
            "Connection refused",
            "dns error",
            "error sending request",
            "SSLError",
        ),
        "The package index can't be reached: the first set-up needs the network (set HTTPS_PROXY or pip's "
        "index-url if yours has its own way). Later calls work offline.",
    ),
    (
        ("No matching distribution", "no wheels with a matching"),
        "A locked package has no wheel for this Python and machine: use Python 3.11 to 3.13 on 64 bits.",
    ),
)


class Failure(Exception):  # noqa: N818 - a sentence for the reader, no defect of ours
    """A step failed; the text says what to do."""


# ---------------------------------------------------------------- telling


class Step:
    """One line a step: what is done, and how long it took.

    Parameters
    ----------
    title : str
        What is done, in a few words.
    """

    def __init__(self, title):
        self.title = title
        self.live = sys.stderr.isatty()

    def __enter__(self):
        self.start = time.monotonic()
        if self.live:
            self.note("...")
        return self

    def note(self, text):
        """Show a passing word behind the title, where someone looks on."""
        if self.live:
            sys.stderr.write(f"\r\033[K- {self.title} {text}"[:110])
            sys.stderr.flush()

    def __exit__(self, kind, value, trace):
        seconds = time.monotonic() - self.start
        clear = "\r\033[K" if self.live else ""
        word = "failed after" if kind else "done in"
        sys.stderr.write(f"{clear}- {self.title}: {word} {seconds:.1f} s\n")
        sys.stderr.flush()


def advice(output):
    """Say what to do about a failed install.

    Parameters
    ----------
    output : str
        What the installer printed.

    Returns
    -------
    str
        One sentence, or the end of the output where nothing fits.
    """
    for signs, sentence in ADVICE:
        if any(sign.lower() in output.lower() for sign in signs):
            return sentence
    return "The installer said:\n" + "\n".join(output.strip().splitlines()[-12:])


def child_env():
    """Return the environment for child processes, without what would mislead them.

    Returns
    -------
    dict of str to str
        With .venv's programs first on PATH.
    """
    env = {name: value for name, value in os.environ.items() if name not in MISLEADING}
    env["PATH"] = str(BIN) + os.pathsep + env.get("PATH", os.defpath)
    env["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
    return env


def run(command, title, watch=None):
    """Run a command quietly; its output counts only if it fails.

    Parameters
    ----------
    command : list of str
        Program and arguments.
    title : str
        What it does, for the reader.
    watch : callable, optional
        From a line of output to a passing word, or to None.

    Raises
    ------
    Failure
        It can't be started, or its exit code isn't 0.
    """
    import subprocess

    lines = []
    with Step(title) as step:
        process = subprocess.Popen(
            [str(part) for part in command],
            cwd=ROOT,
            env=child_env(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        for line in process.stdout:
            lines.append(line)
            word = watch(line) if watch else None
            if word:
                step.note(word)
        if process.wait():
            raise Failure(f"{title}: {advice(''.join(lines))}")


def hand_over(command):
    """Let a command take this process's place, and with it the terminal and the signals.

    Parameters
    ----------
    command : list of str
        Program and arguments.
    """
    command = [str(part) for part in command]
    os.chdir(ROOT)
    sys.stdout.flush()
    if WINDOWS:
        import subprocess

        sys.exit(subprocess.call(command, env=child_env()))
    os.execve(command[0], command, child_env())


# ---------------------------------------------------------------- the environment


def digest(*paths):
    """Hash files' contents.

    Parameters
    ----------
    *paths : Path
        The files.

    Returns
    -------
    str
        Equal if and only if all contents are.

    Raises
    ------
    Failure
        A file is missing.
    """
    import hashlib

    total = hashlib.sha256()
    for path in paths:
        try:
            total.update(path.read_bytes() + b"\0")
        except FileNotFoundError:
            raise Failure(f"{path} is missing: get this folder whole, or run `python3 do.py lock`.") from None
    return total.hexdigest()


def read_stamp():
    """Tell what .venv holds.

    Returns
    -------
    dict of str to str
        Empty if it holds nothing that can be used: not made here, moved, or its Python gone.
    """
    import json

    try:
        stamp = json.loads(STAMP.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    whole = isinstance(stamp, dict) and PYTHON.exists() and stamp.get("place") == place()
    return stamp if whole else {}


def place():
    """Tell where .venv lies and which Python it stands on; scripts in it know both by absolute path.

    Returns
    -------
    str
        Changes if the folder is moved, or the system's Python goes to another version.
    """
    return f"{ENV} on {os.path.realpath(PYTHON)}"


def write_stamp(**changes):
    """Note what .venv holds now, whole or not at all.

    Parameters
    ----------
    **changes : str
        Entries to set.
    """
    import json

    stamp = {**read_stamp(), "place": place(), **changes}
    part = STAMP.with_suffix(".part")
    part.write_text(json.dumps(stamp, indent=1) + "\n", encoding="utf-8")
    part.replace(STAMP)


def create():
    """Make an empty .venv, without pip so that `ensurepip` need not be there."""
    import shutil
    import venv

    with Step(f"make .venv with Python {sys.version_info.major}.{sys.version_info.minor}"):
        if ENV.exists():
            shutil.rmtree(ENV)
        venv.EnvBuilder(with_pip=False, symlinks=not WINDOWS).create(ENV)
        write_stamp()


def installer():
    """Choose what installs: uv if it's at hand (faster), else this Python's pip.

    Returns
    -------
    list of str
        The command up to and including ``install``.

    Raises
    ------
    Failure
        There is neither.
    """
    import importlib.util
    import shutil

    uv = shutil.which("uv")
    if uv:
        return [uv, "pip", "install", "--python", str(PYTHON)]
    if importlib.util.find_spec("pip"):
        quiet = ["--no-input", "--no-compile", "--progress-bar", "off", "--no-warn-script-location"]
        return [sys.executable, "-m", "pip", "--python", str(PYTHON), "install", *quiet]
    raise Failure(
        f"{sys.executable} has no pip. Install it (Debian: apt install python3-pip; elsewhere: "
        "python3 -m ensurepip), or put uv on PATH, then try again."
    )


def install_lock(name):
    """Install the packages of a lock, hashes required.

    Parameters
    ----------
    name : str
        ``run`` or ``test``.
    """
    lock = LOCKS / f"{name}.lock"
    count = sum(line[:1].isalnum() for line in lock.read_text(encoding="utf-8").splitlines())
    seen = []

    def progress(line):
        if line.startswith(("Collecting", "Requirement already")):
            seen.append(line)
            return f"{len(seen)} of {count}"
        return "unpacking" if line.startswith("Installing") else None

    options = ["--require-hashes", "--no-deps", "--only-binary", ":all:", "-r", str(lock)]
    run([*installer(), *options], f"install {count} locked packages ({name})", progress)
    # Two processes compile faster than the installer's one, and nothing compiles at import time later on.
    run([PYTHON, "-m", "compileall", "-q", "-j", "0", ENV], "compile them")


def install_project():
    """Install this folder's own package in place; hatchling comes from the lock, so this works offline."""
    options = ["--no-deps", "--no-build-isolation", "-e", str(ROOT)]
    run([*installer(), *options], "install aicsched in place")


def ensure(name):
    """Bring .venv up to date with a lock and with pyproject.toml; costs nothing if it is.

    Parameters
    ----------
    name : str
        ``run`` or ``test``; what ``test`` holds includes ``run``.
    """
    project = digest(ROOT / "pyproject.toml")
    wanted = {lock: digest(LOCKS / f"{lock}.lock") for lock in ("run", "test")}
    stamp = read_stamp()
    if not stamp:
        create()
    if stamp.get(name) != wanted[name]:
        install_lock(name)
        write_stamp(**({"run": wanted["run"], "test": wanted["test"]} if name == "test" else {"run": wanted["run"]}))
    if stamp.get("project") != project:
        install_project()
        write_stamp(project=project)


# ---------------------------------------------------------------- the checks


def python_files(*folders):
    """List Python files below folders.

    Parameters
    ----------
    *folders : str
        Relative to the root.

    Returns
    -------
    list of str
        Sorted paths relative to the root.
    """
    return sorted(str(path.relative_to(ROOT)) for folder in folders for path in (ROOT / folder).rglob("*.py"))


def gates():
    """List the checks, the longest first so that two can share two cores.

    Returns
    -------
    dict of str to list of str
        From a check's name to its command.
    """
    there = [source for source in SOURCES if (ROOT / source).exists()]
    return {
        "pyright": ["-m", "pyright"],
        "ruff": ["-m", "ruff", "check", "."],
        "format": ["-m", "ruff", "format", "--check", "."],
        "imports": ["-c", "from importlinter.cli import lint_imports_command as main; main()", "--no-cache"],
        "deptry": ["-m", "deptry", "src"],
        "vulture": ["-m", "vulture"],
        "numpydoc": ["-m", "numpydoc.cli", "lint", *python_files("src")],
        "codespell": ["-m", "codespell_lib", *there, "docs", "README.md", "CONTRIBUTING.md", "CHANGELOG.md"],
    }


def run_gate(name, arguments):
    """Run one check.

    Parameters
    ----------
    name : str
        Its name.
    arguments : list of str
        For .venv's Python.

    Returns
    -------
    str
        What it found; empty if all is well.
    """
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
    if not done.returncode:
        return ""
    return f"--- {name}\n{done.stdout}{done.stderr}".rstrip()


def check():
    """Run all checks, two at a time.

    Raises
    ------
    Failure
        With everything that was found.
    """
    from concurrent.futures import ThreadPoolExecutor

    commands = gates()
    with ThreadPoolExecutor(2) as pool:
        found = dict(zip(commands, pool.map(run_gate, commands, commands.values()), strict=True))
    failed = [name for name, text in found.items() if text]
    if failed:
        print("\n\n".join(found[name] for name in failed), flush=True)
        raise Failure(
            f"failed: {', '.join(failed)}. `python3 do.py lint --fix` mends style; the rest is for you to mend "
            "(rules and their reasons: pyproject.toml)."
        )


# ---------------------------------------------------------------- the commands


def demo(arguments):
    """Set up, then run the main job on the embedded sample."""
    ensure("run")
    hand_over([BIN / ("aicsched.exe" if WINDOWS else "aicsched"), "demo", *arguments])


def test(arguments):
    """Run all checks and all tests; pytest's summary comes last."""
    ensure("test")
    check()
    chosen = arguments or ["-n", "2", "--cov", "--cov-report=term:skip-covered", "-m", "not e2e"]
    hand_over([PYTHON, "-m", "pytest", *chosen])


def lint(arguments):
    """Run all checks."""
    ensure("test")
    if "--fix" in arguments:
        run([PYTHON, "-m", "ruff", "check", "--fix", "--exit-zero", "-q", "."], "mend style")
        run([PYTHON, "-m", "ruff", "format", "-q", "."], "format")
    check()


def bench(arguments):
    """Run benchmarks side by side with their rivals."""
    ensure("test")
    hand_over([PYTHON, "-m", "benchmarks", *arguments])


def notebooks(arguments):
    """Make the notebooks from their scripts, and execute them with their pictures."""
    ensure("test")
    for script in sorted((ROOT / "notebooks").glob("*.py")):
        run([PYTHON, "-m", "jupytext", "--to", "ipynb", "--execute", script, *arguments], f"execute {script.stem}")


def e2e(arguments):
    """Run the tests that take real input or minutes."""
    ensure("test")
    hand_over([PYTHON, "-m", "pytest", "-m", "e2e", "--timeout", "1800", *arguments])


def lock(arguments):
    """Make the locks anew; what is pinned stays, unless --upgrade is said."""
    uv = find_uv()
    upgrade = ["--upgrade"] if "--upgrade" in arguments else []
    common = [
        *(uv, "pip", "compile", "pyproject.toml", "requirements/build.in", "--quiet"),
        *("--universal", "--python-version", "3.11", "--generate-hashes", "--no-header"),
        *("--no-emit-index-url", "--no-emit-find-links", "--no-annotate"),
        *("--custom-compile-command", "python3 do.py lock"),
        *upgrade,
    ]
    run([*common, "--extra", "parquet", "-o", "requirements/run.lock"], "lock run")
    groups = ["--group", "test", "--group", "lint"]
    pinned = ["--constraint", "requirements/run.lock"]
    relaxed = ["--override", "requirements/overrides.in"]
    run([*common, "--all-extras", *groups, *pinned, *relaxed, "-o", "requirements/test.lock"], "lock test")


def find_uv():
    """Find uv, or put it into a folder of its own below .venv.

    Returns
    -------
    str
        The program's path.
    """
    import shutil

    found = shutil.which("uv")
    if found:
        return found
    if not read_stamp():
        create()
    tools = ENV / "tools"
    run([*installer(), "--target", str(tools), "uv"], "get uv")
    return str(tools / "bin" / ("uv.exe" if WINDOWS else "uv"))


def clean(_arguments):
    """Remove everything that can be made anew."""
    import shutil

    names = (".venv", ".pytest_cache", ".ruff_cache", ".hypothesis", ".import_linter_cache", "htmlcov", "dist", "build")
    caches = [path for folder in ("src", "tests", "benchmarks") for path in (ROOT / folder).rglob("__pycache__")]
    with Step("clean"):
        for path in [ROOT / name for name in names] + caches:
            shutil.rmtree(path, ignore_errors=True)
        for path in ROOT.glob(".coverage*"):
            path.unlink()


COMMANDS = {
    "demo": demo,
    "test": test,
    "lint": lint,
    "bench": bench,
    "notebooks": notebooks,
    "e2e": e2e,
    "lock": lock,
    "clean": clean,
}


def main(arguments):
    """Do what the first argument says.

    Parameters
    ----------
    arguments : list of str
        The command line behind the program's name.

    Returns
    -------
    int
        Exit code: 0 done, 1 a step failed, 2 no such command, 130 interrupted.
    """
    if not arguments or arguments[0] not in COMMANDS:
        print(__doc__)
        return 0 if arguments[:1] in (["-h"], ["--help"], ["help"]) else 2
    try:
        COMMANDS[arguments[0]](arguments[1:])
    except Failure as failure:
        print(f"do.py: {failure}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"do.py: {error}\n{advice(str(error))}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("do.py: stopped; the same call goes on from here.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
