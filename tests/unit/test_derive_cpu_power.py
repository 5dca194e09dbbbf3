"""The power table is what its derivation gives, and the gate catches the known defects."""

from __future__ import annotations

import csv
import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from aicsched.data import load_table

if TYPE_CHECKING:
    from types import ModuleType

TOOL = Path(__file__).parents[2] / "tools" / "derive_cpu_power.py"
HEADER = (
    "Result,avg. watts @ 100%,avg. watts @ active idle,# Cores,Chips,# Cores Per Chip,"
    "# Threads Per Core,CPU Description,Published,Total Threads\n"
)


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("derive_cpu_power", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _files(tmp_path: Path, rows: list[str], families: str) -> tuple[Path, Path]:
    results, models = tmp_path / "results.csv", tmp_path / "families.csv"
    results.write_text(HEADER + "\n".join(rows) + "\n")
    models.write_text("family,cpu_model\n" + families)
    return results, models


def _row(
    *, cpu: str = "AMD EPYC 9654", idle_w: float = 100, published: str = "Mar-2023", threads: int = 384
) -> str:
    return f"30000,700,{idle_w},192,2,96,2,{cpu},{published},{threads}"


def test_the_packaged_table_is_reproduced(tool: ModuleType, shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "data" / "hardware"
    out = tmp_path / "out.csv"
    arguments = [folder / "specpower-ssj2008-2026-03-09.csv", folder / "cpu-family-map.csv", out]
    assert tool.main([str(path) for path in arguments]) == 0
    with out.open(newline="") as handle:
        assert tuple(csv.DictReader(handle)) == load_table("cpu_power")


def test_medians_and_quartiles(tool: ModuleType, tmp_path: Path) -> None:
    rows = [_row(idle_w=watts) for watts in (96, 115.2, 134.4, 153.6, 172.8)]
    [row] = tool.derive(*_files(tmp_path, rows, "amd-epyc-gen4,EPYC 9654\n"))
    idle = [row[f"idle{end}_w_per_vcpu"] for end in ("_low", "", "_high")]
    assert idle == [0.3, 0.35, 0.4]
    assert row["servers"] == 5


def test_a_blank_model_is_refused(tool: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(tool.GateError, match="match every server"):
        tool.derive(*_files(tmp_path, [_row()], 'amd-epyc-gen5,""\n'))


def test_a_result_counts_in_one_family_only(tool: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(tool.GateError, match="one family only"):
        tool.derive(*_files(tmp_path, [_row()], "amd-epyc-gen4,EPYC 9654\namd-epyc-gen5,EPYC 9654\n"))


def test_a_result_before_the_launch_is_refused(tool: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(tool.GateError, match="before amd-epyc-gen5"):
        tool.derive(*_files(tmp_path, [_row()], "amd-epyc-gen5,EPYC 9654\n"))


def test_a_mean_far_above_the_median_is_refused(tool: ModuleType, tmp_path: Path) -> None:
    rows = [_row(idle_w=watts) for watts in (50, 50, 50, 50, 690)]
    with pytest.raises(tool.GateError, match="over 2 times the median"):
        tool.derive(*_files(tmp_path, rows, "amd-epyc-gen4,EPYC 9654\n"))


def test_inconsistent_counts_desktops_strangers_and_rare_families_are_left_out(
    tool: ModuleType, tmp_path: Path
) -> None:
    rows = [
        _row(threads=380),
        _row(cpu="Intel Core i5-4570"),
        _row(cpu="Opteron 6276"),
        "30000,700,100,192,2,90,2,AMD EPYC 9654,Mar-2023,384",
        _row(),
    ]
    models = "amd-epyc-gen4,EPYC 9654\nintel-haswell,i5-4570\nintel-coffeelake,i9-9900\n"
    assert tool.derive(*_files(tmp_path, rows, models)) == []


def test_usage(tool: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert tool.main([]) == 2
    assert "usage" in capsys.readouterr().err
