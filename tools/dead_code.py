"""Find code that nothing uses: functions, methods, classes, imports.

Fields of records are left out, since they are written to files and reports by
reflection; so are names that a framework calls.
"""

from __future__ import annotations

import sys
from pathlib import Path

from vulture import Vulture

ROOT = Path(__file__).resolve().parent.parent
KINDS = frozenset({"class", "function", "import", "method", "property", "unreachable_code"})
CALLED_BY_OTHERS = [
    "__dir__",
    "__getattr__",
    "capture_signals",  # uvicorn
    "do_*",  # http.server
    "eof_received",  # asyncio
    "handle_*",  # html.parser
    "on_body",  # httptools
    "log_message",  # http.server
    "settings_customise_sources",  # pydantic-settings
    "teardown",  # hypothesis
    "pytest_*",
    "test_*",
    "Test*",
]
DECORATORS = [
    "@app.*",
    "@pytest.fixture*",
    "@*.command*",
    "@*.callback*",
    "@field_validator",  # pydantic
    "@model_validator",
    "@invariant",  # hypothesis
    "@rule",
]


def main() -> int:
    """Print what is unused; return 1 if there is any."""
    finder = Vulture(ignore_names=CALLED_BY_OTHERS, ignore_decorators=DECORATORS)
    finder.scavenge(
        [str(ROOT / name) for name in ("src", "tests", "benchmarks", "notebooks", "tools", "do.py")]
    )
    found = [item for item in finder.get_unused_code(min_confidence=60) if item.typ in KINDS]
    for item in found:
        print(item.get_report())
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
