"""Run the benchmarks: ``python -m benchmarks [--smoke] [NAME …]``.

Absolute times depend on the machine; ratios within one run are what counts.
``--smoke`` runs each on a small input, to prove that it runs. Full results are
written to ``benchmarks/RESULTS.md`` with the command that made them.
"""

from __future__ import annotations

import argparse
import importlib
import platform
import sys
from pathlib import Path
from typing import Any

REGISTRY = {
    "forecast": "benchmarks.forecast_vs_statsforecast",
    "panel": "benchmarks.panel_online",
    "seasonal": "benchmarks.panel_seasonal",
    "placement": "benchmarks.placement_vs_cpsat",
    "extender": "benchmarks.extender_latency",
}
RESULTS = Path(__file__).parent / "RESULTS.md"


def _flat(values: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for name, value in values.items():
        if isinstance(value, dict):
            rows += _flat(value, f"{prefix}{name} / ")
        else:
            rows.append((f"{prefix}{name}", f"{value:.4g}" if isinstance(value, float) else str(value)))
    return rows


def _section(name: str, title: str, rows: list[tuple[str, str]]) -> str:
    body = "\n".join(f"| {label} | {value} |" for label, value in rows)
    return f"## {title}\n`python3 do.py bench {name}`\n\n| measure | value |\n|---|---|\n{body}\n"


def main(arguments: list[str]) -> int:
    """Run the chosen benchmarks and print what they measured.

    Parameters
    ----------
    arguments : list of str
        Names, and ``--smoke``.

    Returns
    -------
    int
        0; a benchmark that fails raises.
    """
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*REGISTRY, []], help="which (default: all)")
    parser.add_argument("--smoke", action="store_true", help="small inputs: prove that it runs")
    chosen = parser.parse_args(arguments)
    sections: list[str] = []
    for name in chosen.names or REGISTRY:
        module = importlib.import_module(REGISTRY[name])
        print(f"{module.TITLE} …", flush=True)
        rows = _flat(module.run(smoke=chosen.smoke))
        width = max(len(label) for label, _ in rows)
        print("\n".join(f"  {label:<{width}}  {value}" for label, value in rows), flush=True)
        sections.append(_section(name, module.TITLE, rows))
    if not chosen.smoke and not chosen.names:
        where = f"Python {platform.python_version()}, {platform.machine()}"
        head = f"# Benchmark results\nAll in one run of `python3 do.py bench` ({where}). Compare ratios.\n"
        RESULTS.write_text("\n".join([head, *sections]), encoding="utf-8")
        print(f"written to {RESULTS}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
