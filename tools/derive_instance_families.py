"""Derive which CPU stands behind an instance type from published lists of instances.

A cloud names an instance type, the power table a CPU family. This links the two, by
the CPU's name in the lists of Cloud Carbon Footprint (Apache-2.0) and, for Azure sizes
that those don't have, by what Microsoft's documentation says. Where the provider uses
several CPUs for one type all are kept; where the CPU has no published server power, or
sources contradict each other, none is: nothing is guessed.

    python tools/derive_instance_families.py AWS.csv GCP.csv GCP_KINDS.csv AZURE.csv OUT.csv
"""

from __future__ import annotations

import csv
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

COLUMNS = (
    "provider",
    "instance_type",
    "cpu",
    "cpu_families",
    "threads_per_core",
    "hw_threads_per_vcpu",
    "unit",
    "source",
)
# From a CPU's name to its family in the power table; the first match counts, "" has no published power.
CPUS = (
    (r"Graviton2|Ampere Altra|Quicksilver", "amd-neoverse-n1"),
    (r"Graviton|Axion|Grace|Cobalt|Apple|i7-|Coffee Lake|Ivy Bridge|E5-26\d\d v2|E5-2651", ""),
    (r"EPYC (7571|1st Gen)", "amd-epyc-gen1"),
    (r"EPYC (7R32|7B12|2nd Gen|7452)", "amd-epyc-gen2"),
    (r"EPYC (7R13|7B13|3rd Gen|7763v)", "amd-epyc-gen3"),
    (r"EPYC (9R14|9B14|4th Gen|9004)", "amd-epyc-gen4"),
    (r"EPYC (9R45|9R05|5th Gen)", "amd-epyc-gen5"),
    (r"Granite Rapids", "intel-graniterapids"),
    (r"Emerald Rapids|8581C|8573C", "intel-emeraldrapids"),
    (r"Sapphire Rapids|8481C|8490H|8473C", "intel-sapphirerapids"),
    (r"Ice Lake|8373C|8370C", "intel-icelake"),
    (r"Cascade Lake|82(52|53|59|73|75|80)\w*|6253CL", "intel-cascadelake"),
    (r"Skylake|81(24|51|73|75|76)\w*", "intel-skylake"),
    (r"Broadwell|v4\b", "intel-broadwell"),
    (r"Haswell|v3\b", "intel-haswell"),
    (r"Sandy Bridge|E5-2665", "intel-sandybridge"),
)
# Retired, and of no use beside today's.
AWS_RETIRED = frozenset({"c1", "m1", "m2", "t1"})
# Amazon's documentation names more than the lists do: one of two CPUs, or two generations of one number.
AWS_EITHER = {
    "i2": ("E5-2670 of either generation", ""),
    "m3": ("E5-2670 of either generation", ""),
    "r3": ("E5-2670 of either generation", ""),
    "m4": ("Intel Xeon E5-2676 v3 or E5-2686 v4", "intel-haswell;intel-broadwell"),
    "t2": ("Intel Xeon E5-2676 v3 or E5-2686 v4", "intel-haswell;intel-broadwell"),
    "p4d": ("Intel Xeon Platinum 8175M or 8275CL", "intel-skylake;intel-cascadelake"),
    "p4de": ("Intel Xeon Platinum 8175M or 8275CL", "intel-skylake;intel-cascadelake"),
}
# x86 types whose vCPU is a whole core (DefaultThreadsPerCore of 1 in DescribeInstanceTypes).
AWS_WHOLE_CORES = frozenset(
    {"c7a", "c8a", "m7a", "m8a", "m8azn", "r7a", "r8a", "x8aedz", "hpc6a", "hpc6id", "hpc7a", "hpc8a"}
)
# Google's documentation of CPU platforms names a second one where the lists have one.
GCP_EITHER = {
    "a3": (
        "Intel Xeon Platinum 8481C (High, Mega) or 8581C (Ultra)",
        "intel-sapphirerapids;intel-emeraldrapids",
    ),
    "c4": (
        "Intel Xeon Platinum 8581C or Intel Xeon Granite Rapids",
        "intel-emeraldrapids;intel-graniterapids",
    ),
    "n2d": ("AMD EPYC 7B12 or 7B13", "amd-epyc-gen2;amd-epyc-gen3"),
}
# Google's documentation: these have no simultaneous multithreading.
GCP_WHOLE_CORES = frozenset({"t2d", "h3"})
# Azure's families in the list, as size names with # for the number of vCPUs.
AZURE = {
    "D1-5 v2": ("D#_v2",),
    "D11-15 v2": ("D#_v2",),
    "D1s-5s v2": ("DS#_v2",),
    "D11S-15S v2": ("DS#_v2",),
    "D2-64 v3": ("D#_v3",),
    "D2s-64s v3": ("D#s_v3",),
    "D2 – D64 v4": ("D#_v4",),
    "D2d – D64d v4": ("D#d_v4",),
    "D2ds – D64ds v4": ("D#ds_v4",),
    "D2a – D96a v4": ("D#a_v4",),
    "D2as – D96as v4": ("D#as_v4",),
    "E2-64 v3": ("E#_v3",),
    "E2s-64s v3": ("E#s_v3",),
    "E2 – E64 v4": ("E#_v4",),
    "E2s – E64s v4": ("E#s_v4",),
    "E2d – E64d v4": ("E#d_v4",),
    "E2ds – E64ds v4": ("E#ds_v4",),
    "E2a – E96a v4": ("E#a_v4",),
    "E2as – E96as v4": ("E#as_v4",),
    "F-series": ("F#",),
    "Fsv2-series": ("F#s_v2",),
    "G-series": ("G#",),
    "H-series": ("H#",),
    "HBv2-series": ("HB#rs_v2",),
    "HBv3-series": ("HB#rs_v3",),
    "Ls-series": ("L#s",),
    "Lsv2-series": ("L#s_v2",),
    "Mv2-series": ("M#ms_v2", "M#s_v2"),
}
# What the list says of D2s-64s v4 is a copy of its line for v3; Microsoft says Cascade Lake or Ice Lake.
AZURE_DOCS = {
    "D#s_v4": ("Intel Xeon Platinum 8272CL or 8370C", "intel-cascadelake;intel-icelake"),
    "D#_v5": (
        "Intel Xeon Platinum 8370C, 8473C or 8573C",
        "intel-icelake;intel-sapphirerapids;intel-emeraldrapids",
    ),
    "D#s_v5": (
        "Intel Xeon Platinum 8370C, 8473C or 8573C",
        "intel-icelake;intel-sapphirerapids;intel-emeraldrapids",
    ),
    "D#as_v5": ("AMD EPYC 7763v", "amd-epyc-gen3"),
    "D#ads_v5": ("AMD EPYC 7763v", "amd-epyc-gen3"),
    "E#as_v5": ("AMD EPYC 7763v", "amd-epyc-gen3"),
    "E#ads_v5": ("AMD EPYC 7763v", "amd-epyc-gen3"),
    "L#as_v3": ("AMD EPYC 7763v", "amd-epyc-gen3"),
    "L#s_v3": ("Intel Xeon Platinum 8370C", "intel-icelake"),
    "D#ps_v5": ("Ampere Altra", "amd-neoverse-n1"),
    "D#pds_v5": ("Ampere Altra", "amd-neoverse-n1"),
    "E#ps_v5": ("Ampere Altra", "amd-neoverse-n1"),
    "D#s_v6": ("Intel Xeon Platinum 8573C", "intel-emeraldrapids"),
    "D#ds_v6": ("Intel Xeon Platinum 8573C", "intel-emeraldrapids"),
    "E#s_v6": ("Intel Xeon Platinum 8573C", "intel-emeraldrapids"),
    "E#ds_v6": ("Intel Xeon Platinum 8573C", "intel-emeraldrapids"),
    "L#s_v4": ("Intel Xeon Platinum 8573C", "intel-emeraldrapids"),
    "D#as_v6": ("AMD EPYC 9004", "amd-epyc-gen4"),
    "D#ads_v6": ("AMD EPYC 9004", "amd-epyc-gen4"),
    "D#als_v6": ("AMD EPYC 9004", "amd-epyc-gen4"),
    "D#alds_v6": ("AMD EPYC 9004", "amd-epyc-gen4"),
    "E#as_v6": ("AMD EPYC 9004", "amd-epyc-gen4"),
    "E#ads_v6": ("AMD EPYC 9004", "amd-epyc-gen4"),
    "F#as_v6": ("AMD EPYC 9004", "amd-epyc-gen4"),
    "F#als_v6": ("AMD EPYC 9004", "amd-epyc-gen4"),
    "F#ams_v6": ("AMD EPYC 9004", "amd-epyc-gen4"),
    "D#ps_v6": ("Azure Cobalt 100", ""),
    "E#ps_v6": ("Azure Cobalt 100", ""),
}
# Microsoft's documentation: sizes of up to 2016, HPC and Fasv6 give whole cores.
AZURE_WHOLE_CORES = frozenset(
    {"D#_v2", "DS#_v2", "F#", "G#", "H#", "L#s", "HB#rs_v2", "HB#rs_v3", "F#as_v6", "F#als_v6", "F#ams_v6"}
)


class UnknownCpuError(ValueError):
    """A list names a CPU that no rule knows."""


def family_of(cpu: str) -> str:
    """Return the family of a CPU by its name, "" where none is published."""
    for pattern, family in CPUS:
        if re.search(pattern, cpu, re.IGNORECASE):
            return family
    msg = f"no rule knows the CPU '{cpu}': add one"
    raise UnknownCpuError(msg)


def rows_of(path: Path) -> Iterator[dict[str, str]]:
    """Read a list."""
    with path.open(newline="", encoding="utf-8") as handle:
        yield from csv.DictReader(handle)


def table_row(
    provider: str, instance_type: str, cpu: str, families: Iterable[str], *, whole_core: bool, source: str
) -> dict[str, object]:
    """Return one line of the table."""
    kept = sorted(set(families))
    known = kept if all(kept) else []
    no_smt = kept in (["amd-neoverse-n1"], [""]) and not re.search(r"Intel|AMD|E5-|i7", cpu)
    threads = 1 if whole_core or no_smt else 2
    return {
        "provider": provider,
        "instance_type": instance_type,
        "cpu": cpu,
        "cpu_families": ";".join(known),
        "threads_per_core": threads,
        "hw_threads_per_vcpu": "" if not known else 1 if no_smt else 2 // threads,
        "unit": "hardware threads",
        "source": source,
    }


def aws_rows(path: Path) -> Iterator[dict[str, object]]:
    """Return a line a family of Amazon's, or a line a type where a family has several CPUs."""
    families: dict[str, dict[str, str]] = {}
    for row in rows_of(path):
        name = row["Instance Type"].partition(".")[0]
        if name not in AWS_RETIRED:
            families.setdefault(name, {})[row["Instance Type"]] = row["Platform CPU Name"].strip()
    for name, types in families.items():
        whole = name in AWS_WHOLE_CORES
        if name in AWS_EITHER:
            cpu, found = AWS_EITHER[name]
            yield table_row("aws", name, cpu, found.split(";"), whole_core=whole, source="aws_instances")
            continue
        cpus = sorted(set(types.values()))
        if len(cpus) == 1:
            yield table_row(
                "aws", name, cpus[0], [family_of(cpus[0])], whole_core=whole, source="ccf_instances"
            )
            continue
        for each, cpu in types.items():
            yield table_row("aws", each, cpu, [family_of(cpu)], whole_core=whole, source="ccf_instances")


def gcp_rows(path: Path, kinds_path: Path) -> Iterator[dict[str, object]]:
    """Return a line a family of Google's, with the CPUs of both lists."""
    cpus: dict[str, list[str]] = {}
    for row in rows_of(path):
        name = row["Instance Type"].partition("-")[0]
        cpus.setdefault(name, []).append(row["CPU Name"])
    for row in rows_of(kinds_path):
        name = row["type"].partition("-")[0]
        if name in cpus:
            cpus[name].append(row["microarchitecture"])
    for name, found in cpus.items():
        named: dict[str, str] = {}
        for cpu in found:  # of several names of one family the first, which is the CPU's own
            named.setdefault(family_of(cpu), cpu)
        whole = name in GCP_WHOLE_CORES
        if name in GCP_EITHER:
            cpu, families = GCP_EITHER[name]
            yield table_row("gcp", name, cpu, families.split(";"), whole_core=whole, source="gcp_platforms")
            continue
        yield table_row(
            "gcp", name, " or ".join(named.values()), named, whole_core=whole, source="ccf_instances"
        )


def azure_rows(path: Path) -> Iterator[dict[str, object]]:
    """Return a line a series of Azure's."""
    series: dict[str, set[str]] = {}
    for row in rows_of(path):
        for name in AZURE.get(row["family"], ()):
            series.setdefault(name, set()).add(row["microarchitecture"])
    for name, kinds in series.items():
        whole = name in AZURE_WHOLE_CORES
        cpus = [f"AMD {kind}" if kind.startswith("EPYC") else f"Intel {kind}" for kind in sorted(kinds)]
        families = [family_of(cpu) for cpu in cpus]
        yield table_row("azure", name, " or ".join(cpus), families, whole_core=whole, source="ccf_instances")
    for name, (cpu, known) in AZURE_DOCS.items():
        whole = name in AZURE_WHOLE_CORES
        yield table_row("azure", name, cpu, known.split(";"), whole_core=whole, source="azure_sizes")


def main(arguments: list[str]) -> int:
    """Run from the command line."""
    if len(arguments) != 5:
        sys.stderr.write(
            "usage: derive_instance_families.py AWS.csv GCP.csv GCP_KINDS.csv AZURE.csv OUT.csv\n"
        )
        return 2
    aws, gcp, kinds, azure, out = map(Path, arguments)
    rows = [*aws_rows(aws), *gcp_rows(gcp, kinds), *azure_rows(azure)]
    rows.sort(key=lambda row: (str(row["provider"]), str(row["instance_type"])))
    with out.open("w", newline="", encoding="utf-8") as handle:
        writer: csv.DictWriter[str] = csv.DictWriter(handle, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
