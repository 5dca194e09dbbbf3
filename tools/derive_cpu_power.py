"""Derive the packaged power table from published SPECpower_ssj2008 results.

Power per hardware thread by CPU family: medians, quartiles and the number of
results, behind a quality gate. Averages over a list of results have gone wrong
in public tables when one blank line in a list of CPU models matched nearly every
server, so the gate refuses exactly that: no empty pattern, one result to one
family only, nothing published before its family's launch, and no family whose
mean runs away from its median.

    python tools/derive_cpu_power.py RESULTS.csv FAMILIES.csv OUT.csv

SPECpower_ssj2008 is a trademark of the Standard Performance Evaluation
Corporation (SPEC, www.spec.org). The figures written here are derived from
published results and are no SPEC metrics.
"""

from __future__ import annotations

import csv
import re
import statistics
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MIN_SERVERS = 5
MAX_MEAN_OVER_MEDIAN = 2.0
# A desktop part in the list of a server family pulls its mean up by a factor of three.
DESKTOP = re.compile(r"\b(core i\d|pentium|celeron|atom)\b", re.IGNORECASE)
# Month in which the first server part of a family could be bought (makers' announcements).
LAUNCHED = {
    "amd-epyc-gen1": "2017-06",
    "amd-epyc-gen2": "2019-08",
    "amd-epyc-gen3": "2021-03",
    "amd-epyc-gen4": "2022-11",
    "amd-epyc-gen5": "2024-10",
    "amd-neoverse-n1": "2020-03",
    "intel-sandybridge": "2011-04",
    "intel-ivybridge": "2012-05",
    "intel-haswell": "2013-06",
    "intel-broadwell": "2015-03",
    "intel-skylake": "2015-10",
    "intel-cascadelake": "2019-04",
    "intel-icelake": "2021-04",
    "intel-sapphirerapids": "2023-01",
    "intel-emeraldrapids": "2023-12",
    "intel-graniterapids": "2024-09",
}
COLUMNS = (
    "family",
    "launched",
    "servers",
    "idle_w_per_vcpu",
    "idle_low_w_per_vcpu",
    "idle_high_w_per_vcpu",
    "max_w_per_vcpu",
    "max_low_w_per_vcpu",
    "max_high_w_per_vcpu",
    "ssj_ops_per_w",
    "unit",
    "source",
)


class GateError(ValueError):
    """The input breaks a rule of the quality gate."""


class Result(NamedTuple):
    """One published server result."""

    cpu: str
    published: str
    idle_w_per_vcpu: float
    max_w_per_vcpu: float
    ssj_ops_per_w: float


def read_families(path: Path) -> dict[str, set[str]]:
    """Return which families each CPU model belongs to; an empty model is refused."""
    models: dict[str, set[str]] = {}
    with path.open(newline="", encoding="utf-8") as handle:
        for number, row in enumerate(csv.DictReader(handle), start=2):
            model = row["cpu_model"].strip().lower()
            if not model:
                msg = f"{path.name}:{number}: an empty CPU model would match every server"
                raise GateError(msg)
            if row["family"] in LAUNCHED:
                models.setdefault(model, set()).add(row["family"])
    return models


def read_results(path: Path) -> list[Result]:
    """Return the servers whose power and thread counts make sense."""
    kept: list[Result] = []
    with path.open(newline="", encoding="utf-8") as handle:
        for row in csv.DictReader(handle):
            cores = int(row["# Cores"])
            threads = cores * int(row["# Threads Per Core"])
            idle_w, max_w = float(row["avg. watts @ active idle"]), float(row["avg. watts @ 100%"])
            consistent = cores == int(row["Chips"]) * int(row["# Cores Per Chip"])
            desktop = DESKTOP.search(row["CPU Description"].replace("(R)", ""))
            if desktop or not consistent:
                continue
            if threads == int(row["Total Threads"]) and 0 < idle_w < max_w:
                published = datetime.strptime(row["Published"], "%b-%Y").replace(tzinfo=UTC)
                kept.append(
                    Result(
                        row["CPU Description"],
                        published.strftime("%Y-%m"),
                        idle_w / threads,
                        max_w / threads,
                        float(row["Result"]),
                    )
                )
    return kept


def family_of(cpu: str, models: dict[str, set[str]]) -> str | None:
    """Return the one family whose longest model name stands in a CPU description."""
    words = re.split(r"[\s,()@]+", cpu.lower().replace("(r)", " "))
    for length in range(min(4, len(words)), 0, -1):
        spans = (" ".join(words[at : at + length]) for at in range(len(words) - length + 1))
        found = {family for span in spans for family in models.get(span, ())}
        if len(found) > 1:
            msg = f"'{cpu}' belongs to {sorted(found)}: a result may count in one family only"
            raise GateError(msg)
        if found:
            return found.pop()
    return None


def group(results: list[Result], models: dict[str, set[str]]) -> dict[str, list[Result]]:
    """Return the results by family; a CPU sold before its family's launch is in the wrong list."""
    families: dict[str, list[Result]] = {}
    for result in results:
        family = family_of(result.cpu, models)
        if family is None:
            continue
        if result.published < LAUNCHED[family]:
            msg = f"'{result.cpu}' was published {result.published}, before {family} ({LAUNCHED[family]})"
            raise GateError(msg)
        families.setdefault(family, []).append(result)
    return families


def quartiles(values: list[float]) -> tuple[float, float, float]:
    """Return lower quartile, median and upper quartile."""
    low, mid, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, mid, high


def table_row(family: str, results: list[Result]) -> dict[str, object]:
    """Return one line of the table."""
    row: dict[str, object] = {"family": family, "launched": LAUNCHED[family], "servers": len(results)}
    for name in ("idle", "max"):
        values = [getattr(result, f"{name}_w_per_vcpu") for result in results]
        low, mid, high = quartiles(values)
        if statistics.fmean(values) > MAX_MEAN_OVER_MEDIAN * mid:
            limit = f"{MAX_MEAN_OVER_MEDIAN:g} times the median {mid:.3f} W"
            msg = f"{family}: the mean {name} power is over {limit}"
            raise GateError(msg)
        row |= {
            f"{name}_w_per_vcpu": round(mid, 4),
            f"{name}_low_w_per_vcpu": round(low, 4),
            f"{name}_high_w_per_vcpu": round(high, 4),
        }
    row["ssj_ops_per_w"] = round(statistics.median(result.ssj_ops_per_w for result in results))
    return row | {"unit": "W per hardware thread", "source": "specpower"}


def derive(results_path: Path, families_path: Path) -> list[dict[str, object]]:
    """Return the table, one line a family with enough results, in order of their names."""
    families = group(read_results(results_path), read_families(families_path))
    return [table_row(name, found) for name, found in sorted(families.items()) if len(found) >= MIN_SERVERS]


def write(rows: Iterable[Mapping[str, object]], path: Path) -> None:
    """Write the table as CSV with plain line ends."""
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer: csv.DictWriter[str] = csv.DictWriter(handle, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def main(arguments: list[str]) -> int:
    """Run from the command line."""
    if len(arguments) != 3:
        sys.stderr.write("usage: derive_cpu_power.py RESULTS.csv FAMILIES.csv OUT.csv\n")
        return 2
    results, families, out = map(Path, arguments)
    write(derive(results, families), out)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
