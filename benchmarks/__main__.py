"""Run the benchmarks: ``python -m benchmarks [--smoke] [NAME …]``.

Absolute times depend on the machine; ratios within one run are what counts.
``--smoke`` runs each on a small input, to prove that it runs and that its figures
keep within their bounds. A full run puts its tables into ``benchmarks/RESULTS.md``
in the place of its older ones.
"""

from __future__ import annotations

import argparse
import importlib
import platform
import sys
from pathlib import Path

from benchmarks.tables import Table, markdown, tables_of

REGISTRY = {
    "forecast": "benchmarks.forecast",
    "panel": "benchmarks.panel_online",
    "seasonal": "benchmarks.panel_seasonal",
    "placement": "benchmarks.placement_vs_cpsat",
    "scale": "benchmarks.place_scale",
    "growth": "benchmarks.growth",
    "nodes": "benchmarks.nodes",
    "reassign": "benchmarks.reassign",
    "failover": "benchmarks.failover",
    "joint": "benchmarks.joint",
    "simulate": "benchmarks.simulate",
    "online": "benchmarks.online",
    "score_speed": "benchmarks.score_speed",
    "score_risk": "benchmarks.score_risk",
    "extender": "benchmarks.extender_latency",
    "extender_http": "benchmarks.extender_http",
    "extender_scheduler": "benchmarks.extender_scheduler",
    "extender_soak": "benchmarks.extender_soak",
}
RESULTS = Path(__file__).parent / "RESULTS.md"
HEAD = """# Benchmark results
Each section is one run of the command below its title. Compare ratios, not times of different sections.
"""


def section(name: str, title: str, tables: list[Table]) -> str:
    """Write the section of one benchmark.

    Parameters
    ----------
    name : str
        In the registry.
    title : str
        Of the section.
    tables : list of Table
        What was measured.

    Returns
    -------
    str
        Markdown that starts with ``## ``.
    """
    where = f"Python {platform.python_version()}, {platform.machine()}"
    body = "\n".join(markdown(table) for table in tables)
    return f"## {title}\n`python3 do.py bench {name}` ({where})\n\n{body}"


def put(section_text: str, text: str) -> str:
    """Put a section into the results in the place of the older one of the same command.

    Parameters
    ----------
    section_text : str
        Of `section`.
    text : str
        The results so far.

    Returns
    -------
    str
        With the others as they were.
    """
    _, *parts = ("\n" + text).split("\n## ")
    command = section_text.splitlines()[1].partition("(")[0].strip()
    kept = [part for part in parts if not part.partition("\n")[2].startswith(command)]
    order = {f"`python3 do.py bench {name}`": at for at, name in enumerate(REGISTRY)}
    sections = [*(f"## {part.strip()}\n" for part in kept), section_text.strip() + "\n"]
    sections.sort(key=lambda item: order.get(item.splitlines()[1].partition(" (")[0], len(order)))
    return "\n".join([HEAD, *sections])


def main(arguments: list[str]) -> int:
    """Run the chosen benchmarks, print what they measured, and keep the results of full runs.

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
    for name in chosen.names or REGISTRY:
        module = importlib.import_module(REGISTRY[name])
        print(f"{module.TITLE} …", flush=True)
        found = module.run(smoke=chosen.smoke)
        tables = found if isinstance(found, list) else tables_of(found)
        print("\n".join(markdown(table) for table in tables), flush=True)
        if not chosen.smoke:
            old = RESULTS.read_text(encoding="utf-8") if RESULTS.is_file() else ""
            RESULTS.write_text(put(section(name, module.TITLE, tables), old), encoding="utf-8")
            print(f"written to {RESULTS}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
