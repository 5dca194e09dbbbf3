"""Instance types: the table is what its derivation gives, and what is unknown says so."""

from __future__ import annotations

import csv
import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from aicsched.data import load_table
from aicsched.data.instances import UNKNOWN_FAMILY, cpu_family_of, instance_cpu
from aicsched.errors import InputError
from aicsched.footprint.power import families, family_power

if TYPE_CHECKING:
    from types import ModuleType

TOOL = Path(__file__).parents[2] / "tools" / "derive_instance_families.py"
LISTS = (
    "ccf-aws-instances-2026.csv",
    "ccf-gcp-instances-2026.csv",
    "ccf-coefficients-gcp-embodied.csv",
    "ccf-coefficients-azure-embodied.csv",
)


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("derive_instance_families", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_packaged_table_is_reproduced(tool: ModuleType, shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "data" / "hardware"
    out = tmp_path / "out.csv"
    assert tool.main([*(str(folder / name) for name in LISTS), str(out)]) == 0
    with out.open(newline="") as handle:
        assert tuple(csv.DictReader(handle)) == load_table("instance_families")


def test_a_cpu_that_no_rule_knows_stops_the_derivation(tool: ModuleType) -> None:
    with pytest.raises(ValueError, match="no rule knows the CPU 'Zilog Z80'"):
        tool.family_of("Zilog Z80")


def test_each_family_has_power_and_threads_that_fit() -> None:
    for row in load_table("instance_families"):
        names = [name for name in row["cpu_families"].split(";") if name]
        assert set(names) <= set(families())
        assert row["threads_per_core"] in {"1", "2"}
        assert bool(row["hw_threads_per_vcpu"]) == bool(names)
        if names and names != ["amd-neoverse-n1"]:
            # All other families of the table run two threads a core.
            assert int(row["threads_per_core"]) * int(row["hw_threads_per_vcpu"]) == 2


@pytest.mark.parametrize(
    ("provider", "instance_type", "family", "threads", "cpu"),
    [
        # Amazon's, Google's and Microsoft's own pages on these types.
        ("aws", "m6a.48xlarge", "amd-epyc-gen3", 1, "7R13"),
        ("aws", "c7a.metal-48xl", "amd-epyc-gen4", 2, "9R14"),
        ("aws", "m8a.large", "amd-epyc-gen5", 2, "9R45"),
        ("aws", "c5.9xlarge", "intel-skylake", 1, "8124M"),
        ("aws", "c5.12xlarge", "intel-cascadelake", 1, "8275CL"),
        ("aws", "t4g.nano", "amd-neoverse-n1", 1, "Graviton2"),
        ("gcp", "t2d-standard-4", "amd-epyc-gen3", 2, "7B13"),
        ("gcp", "c3-highcpu-22", "intel-sapphirerapids", 1, "8481C"),
        ("gcp", "c2d-standard-8", "amd-epyc-gen3", 1, "7B13"),
        ("azure", "Standard_D4as_v5", "amd-epyc-gen3", 1, "7763v"),
        ("azure", "standard_e32-16ads_v5", "amd-epyc-gen3", 1, "7763v"),
        ("azure", "Standard_F16as_v6", "amd-epyc-gen4", 2, "9004"),
        ("azure", "Standard_HB120rs_v3", "amd-epyc-gen3", 2, "EPYC 3rd Gen"),
    ],
)
def test_types_whose_cpu_the_provider_names(
    provider: str, instance_type: str, family: str, threads: int, cpu: str
) -> None:
    found = instance_cpu(instance_type, provider)
    assert (found.family, found.hw_threads_per_vcpu, found.reason) == (family, threads, "")
    assert cpu in found.cpu
    assert cpu_family_of(instance_type, provider) == family


@pytest.mark.parametrize(
    ("provider", "instance_type", "reason"),
    [
        ("aws", "m7g.large", "no server power of 'AWS Graviton3 Processor'"),
        ("aws", "m4.large", "aws runs it on Intel Xeon E5-2676 v3 or E5-2686 v4"),
        ("aws", "zz9.large", "has no aws 'zz9.large'"),
        ("aws", "", "has no aws ''"),
        ("gcp", "custom-4-8192", "no server power of"),
        ("gcp", "n2-standard-8", "gcp runs it on"),
        ("gcp", "n2d-custom-8-16384", "gcp runs it on AMD EPYC 7B12 or 7B13"),
        ("gcp", "c4-standard-8", "gcp runs it on Intel Xeon Platinum 8581C or Intel Xeon Granite Rapids"),
        ("gcp", "a3-highgpu-8g", "gcp runs it on Intel Xeon Platinum 8481C (High, Mega)"),
        ("azure", "Standard_D4s_v3", "azure runs it on"),
        ("azure", "Standard_ND96asr_v4", "has no azure"),
        ("azure", "no such size", "has no azure 'no such size'"),
    ],
)
def test_what_is_unknown_says_why(provider: str, instance_type: str, reason: str) -> None:
    found = instance_cpu(instance_type, provider)
    assert found.family == UNKNOWN_FAMILY
    assert reason in found.reason


def test_candidates_are_all_told() -> None:
    found = instance_cpu("n2-standard-8", "gcp")
    assert found.families == ("intel-cascadelake", "intel-icelake")
    # Which of them is not told: its power is that of an unknown one, as wide as all.
    assert found.family == "unknown"
    assert family_power(found.family).max_w_per_vcpu > 0


def test_an_unknown_provider_is_refused() -> None:
    with pytest.raises(InputError, match="no provider 'ibm'"):
        cpu_family_of("bx2-2x8", "ibm")


def test_the_doubtful_mean_of_epyc_5_is_not_here() -> None:
    """A public table once gave this family 8.96 W a thread by matching nearly every server."""
    assert family_power(cpu_family_of("m8a.large", "aws")).max_w_per_vcpu < 2.0
