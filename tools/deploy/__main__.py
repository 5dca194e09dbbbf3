"""Write deploy/ anew, or with --check tell what isn't current."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from tools.deploy.alerts import docs_table as alerts
from tools.deploy.tree import chart, kustomize, monitoring, rendered
from tools.deploy.tree import docs_table as overlays
from tools.deploy.values import table as values

ROOT: Final = Path(__file__).resolve().parents[2]
# Folders that hold nothing else: what is no longer made is removed there.
OWN: Final = ("deploy/helm", "deploy/kustomize", "deploy/rendered", "deploy/grafana")


def wanted() -> dict[Path, str]:
    """Return all texts that are made, by path."""
    texts = chart() | kustomize() | rendered() | monitoring()
    made = {ROOT / "deploy" / path: text for path, text in texts.items()}
    page = ROOT / "docs" / "deployment.md"
    made[page] = filled(page.read_text("utf-8"))
    return made


def filled(page: str) -> str:
    """Put the tables that are made into a page, between the comments that name them."""
    for name, table in (("overlays", overlays()), ("values", values()), ("alerts", alerts())):
        begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
        head, _, rest = page.partition(begin)
        _, found, tail = rest.partition(end)
        if not found:
            msg = f"docs/deployment.md has no place for the table of {name}"
            raise ValueError(msg)
        page = head + begin + table + end + tail
    return page


def main(arguments: list[str]) -> int:
    """Write, or check; return 1 if something isn't current."""
    made = wanted()
    strays = [
        path for folder in OWN for path in (ROOT / folder).rglob("*") if path.is_file() and path not in made
    ]
    stale = [path for path, text in made.items() if not path.exists() or path.read_text("utf-8") != text]
    if "--check" in arguments:
        for path in [*strays, *stale]:
            print(f"{path.relative_to(ROOT)} isn't current: run `python3 do.py deploy`")
        return 1 if strays or stale else 0
    for path in strays:
        path.unlink()
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(made[path], "utf-8")
    print(f"deploy/: {len(made)} files, {len(stale)} written, {len(strays)} removed")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
