"""Rules of the house that no linter knows: sizes, who imports what, what the tree must not hold."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "aicsched"
MODULES = sorted(PACKAGE.rglob("*.py"))
MAX_MODULE_LINES = 500
MAX_FUNCTION_LINES = 60
HEAVY = frozenset({"matplotlib", "numba", "ortools", "pandas", "scipy"})
# Where a third-party package may be imported: a change of theirs then touches one place of ours.
HOMES = {
    "distributed": ("executor",),
    "entsoe": ("signals.carbon.entsoe",),
    "jinja2": ("report",),
    "kubernetes": ("extender", "fleet.kubernetes"),
    "markupsafe": ("report",),
    "matplotlib": ("report",),
    "numba": ("jit",),
    "ortools": ("place",),
    "pandas": ("domain", "fleet", "forecast.result", "report", "signals", "workflow"),
    "prometheus_api_client": ("signals",),
    "pyarrow": ("domain", "fleet", "forecast.weather", "signals"),
    "pydantic": ("config",),
    "pydantic_settings": ("config",),
    "requests": ("signals.wire",),
    "rich": ("cli",),
    "stamina": ("signals.transport",),
    "statsforecast": ("forecast.models.statsforecast",),
    "typer": ("cli",),
    "uvicorn": ("extender",),
}
FOR_KERNELS = frozenset({"__future__", "collections", "functools", "math", "numpy", "typing"})


def name_of(path: Path) -> str:
    """Give a module's name inside the package: ``place.kernels.greedy``."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def tree_of(path: Path) -> ast.Module:
    """Parse a module once."""
    return ast.parse(path.read_text(encoding="utf-8"))


def imports_of(path: Path) -> set[str]:
    """List the full names of what a module imports, wherever in it, but for type checkers only."""
    found: set[str] = set()
    waiting: list[ast.AST] = [tree_of(path)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            waiting.extend(node.orelse)
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        waiting.extend(ast.iter_child_nodes(node))
    return found


def functions_of(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    """List all functions and methods of a module."""
    return [
        node for node in ast.walk(tree_of(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def public_parts(body: list[ast.stmt], inside: str) -> list[tuple[str, ast.AST]]:
    """List public classes, functions and methods with their names."""
    found: list[tuple[str, ast.AST]] = []
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and node.name[0] != "_":
            found.append((f"{inside}.{node.name}", node))
            if isinstance(node, ast.ClassDef):
                found += public_parts(node.body, f"{inside}.{node.name}")
    return found


def git_files() -> list[Path]:
    """List the files under version control, or skip where there is no such thing."""
    try:
        done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git work tree")
    return [path for name in done.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def test_modules_are_short() -> None:
    long = {
        name_of(path): n for path in MODULES if (n := len(path.read_text().splitlines())) > MAX_MODULE_LINES
    }
    assert not long


def test_functions_are_short() -> None:
    long = {}
    for path in MODULES:
        for node in functions_of(path):
            body = node.body[1:] if ast.get_docstring(node) and len(node.body) > 1 else node.body
            lines = (body[-1].end_lineno or 0) - body[0].lineno + 1
            if lines > MAX_FUNCTION_LINES:
                long[f"{name_of(path)}.{node.name}"] = lines
    assert not long


def test_public_names_are_documented() -> None:
    bare = [name_of(path) or "aicsched" for path in MODULES if not ast.get_docstring(tree_of(path))]
    for path in MODULES:
        for name, node in public_parts(tree_of(path).body, name_of(path)):
            assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            overload = any("overload" in ast.unparse(each) for each in node.decorator_list)
            if not ast.get_docstring(node) and not overload:
                bare.append(name)
    assert not bare


@pytest.mark.parametrize("client", sorted(HOMES))
def test_third_parties_have_one_home(client: str) -> None:
    homes = HOMES[client]
    users = [
        name_of(path) for path in MODULES if any(each.split(".")[0] == client for each in imports_of(path))
    ]
    strays = [
        name for name in users if not any(name == home or name.startswith(f"{home}.") for home in homes)
    ]
    assert not strays, f"{client} is for {', '.join(homes)} only"


def test_kernels_know_arrays_only() -> None:
    strays = {}
    for path in MODULES:
        if "kernels" not in name_of(path).split("."):
            continue
        for wanted in imports_of(path):
            ours = wanted.startswith("aicsched.jit.") or ".kernels" in wanted
            if not ours and wanted.split(".")[0] not in FOR_KERNELS:
                strays.setdefault(name_of(path), []).append(wanted)
    assert not strays


def modules_after(statement: str) -> set[str]:
    """Run a statement in a fresh interpreter and list the top-level modules it loaded."""
    code = f"{statement}; import sys; print(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert not modules_after("import aicsched; aicsched.__version__") & (
        HEAVY | {"numpy", "msgspec", "pydantic"}
    )


def test_the_command_line_loads_nothing_heavy() -> None:
    assert not modules_after("import aicsched.cli.app") & HEAVY


def test_the_version_is_said_once() -> None:
    import aicsched

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert aicsched.__version__ == project["version"]
    assert f"[{project['version']}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def pins(lock: str) -> dict[str, str]:
    """Read a lock: from a requirement with its marker to its block of text."""
    text = (ROOT / "requirements" / lock).read_text(encoding="utf-8")
    blocks = re.split(r"\n(?=\S)", text.strip())
    return {block.split("\\")[0].strip(): block for block in blocks if not block.startswith("#")}


@pytest.mark.parametrize("lock", ["run.lock", "test.lock"])
def test_each_locked_package_has_one_version_and_hashes(lock: str) -> None:
    for requirement, block in pins(lock).items():
        assert re.match(r"[a-z0-9][a-z0-9.-]*(\[[a-z,-]+\])?==[^ ]+", requirement)
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", block)
        assert "://" not in block


def test_tests_run_on_the_locked_versions() -> None:
    missing = {pin.split(" ;")[0] for pin in pins("run.lock")} - {
        pin.split(" ;")[0] for pin in pins("test.lock")
    }
    assert not missing


def test_the_locks_are_up_to_date_with_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    locked = {re.split(r"[=\[]", pin)[0] for pin in pins("run.lock")}
    wanted = {re.split(r"[\[<>=;~! ]", each)[0].lower() for each in project["dependencies"]}
    assert wanted <= locked


def test_the_tree_names_no_registry() -> None:
    # Written in pieces, so that this file isn't found itself.
    hosts = (
        "pypi" + ".org",
        "pythonhosted" + ".org",
        "registry.npmjs" + ".org",
        "index-url" + "=",
        "find-links" + "=",
    )
    found = []
    for path in git_files():
        if path.suffix in {".png", ".parquet", ".gz", ".db", ".ico"}:
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        found += [f"{path.relative_to(ROOT)}: {host}" for host in hosts if host in text]
    assert not found
