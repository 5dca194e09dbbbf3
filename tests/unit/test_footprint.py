"""Watts, machines, bytes: against published figures and worked examples."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aicsched.data import load_table
from aicsched.domain.fleet import Node
from aicsched.errors import InputError
from aicsched.footprint.embodied import amortised_g, embodied_spread, hardware, server_embodied_kg
from aicsched.footprint.power import families, family_power, load_shapes, power_band, power_w_per_vcpu
from aicsched.footprint.sci import sci_g
from aicsched.footprint.transfer import transfer_g, transfer_g_per_gb

NODE = Node(
    name="n",
    region="r",
    vcpus=100,
    memory_gib=256,
    cpu_family="amd-epyc-gen3",
    idle_w=50,
    max_w=250,
    embodied_kg=1e3,
)


def test_every_family_of_the_table_is_known() -> None:
    assert set(families()) == {row["family"] for row in load_table("cpu_power")}
    assert family_power("intel-skylake").servers >= 5


def test_an_unknown_family_is_refused_with_the_nearest() -> None:
    with pytest.raises(InputError, match=r"did you mean.*amd-epyc-gen3"):
        family_power("amd-epic-gen3")


def test_epyc_5_is_not_the_defect_of_public_tables() -> None:
    """A public table says 3.68 and 8.96 W; with its blank lines removed the mean is 0.267 and 1.481 W."""
    power = family_power("amd-epyc-gen5")
    assert power.idle_w_per_vcpu < 0.3
    assert power.max_w_per_vcpu < 1.5


def test_marginal_power_of_a_thread() -> None:
    assert power_w_per_vcpu(NODE) == 2.0


def test_power_between_idle_and_full_follows_the_published_points() -> None:
    """Teads' 0.12, 0.32, 0.75 and 1.02 of rated power, laid between a machine's idle and full load."""
    expected = [(point - 0.12) / 0.9 for point in (0.12, 0.32, 0.75, 1.02)]
    published, line, root = load_shapes()
    assert published.share_at([0, 0.1, 0.5, 1]).tolist() == pytest.approx(expected)
    assert line.share_at([0, 0.1, 0.5, 1]).tolist() == pytest.approx([0, 0.1, 0.5, 1])
    assert root.share_at([0, 0.1, 0.5, 1]).tolist() == pytest.approx([0, 0.1**0.5, 0.5**0.5, 1], abs=1e-4)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=30))
def test_power_rises_with_load_and_stays_between_idle_and_full(shares: list[float]) -> None:
    for shape in load_shapes():
        power_share = shape.share_at(sorted(shares))
        assert bool((np.diff(power_share) >= -1e-12).all())
        assert bool(((power_share >= 0) & (power_share <= 1 + 1e-12)).all())


def test_unknown_load_is_unknown_power() -> None:
    assert np.isnan(load_shapes()[0].share_at([np.nan, 0.5])).tolist() == [True, False]


def test_bands_of_power_hold_their_medians() -> None:
    for family in (*families(), "a CPU that nobody measured"):
        band = power_band(family)
        assert 0.5 < band.idle_low <= 1 <= band.idle_high < 2
        assert 0.5 < band.range_low <= 1 <= band.range_high < 2


def test_parts_of_a_server_agree_with_the_published_method() -> None:
    """Published worked parts: CPU 20.72, 32 GB module 44.55, SSD 23.73, drive 31.11, supply 72.66 kg."""
    bare = server_embodied_kg(0, cpus=0, ssds=0, power_supplies=0)
    assert bare == pytest.approx(66.1 + 150 + 6.68)
    assert server_embodied_kg(0, cpus=1, ssds=0, power_supplies=0) - bare == pytest.approx(20.72, abs=0.01)
    assert server_embodied_kg(32, cpus=0, ssds=0, power_supplies=0) - bare == pytest.approx(44.55, abs=0.01)
    assert server_embodied_kg(0, cpus=0, ssds=1, power_supplies=0) - bare == pytest.approx(23.73, abs=0.01)
    assert server_embodied_kg(0, cpus=0, ssds=0, hdds=1, power_supplies=0) - bare == pytest.approx(31.11)
    assert server_embodied_kg(0, cpus=0, ssds=0, power_supplies=1) - bare == pytest.approx(72.66, abs=0.01)


@given(st.floats(0, 4096), st.floats(0, 4096))
def test_more_memory_never_weighs_less(small: float, large: float) -> None:
    small, large = sorted((small, large))
    assert server_embodied_kg(small) <= server_embodied_kg(large)


@pytest.mark.parametrize("change", [{"cpus": -1}, {"ssds": -1}, {"cpu_die_mm2": float("nan")}])
def test_an_impossible_server_is_refused(change: dict[str, float]) -> None:
    with pytest.raises(InputError, match="can't have"):
        server_embodied_kg(256, **change)
    with pytest.raises(InputError, match="memory_gib"):
        server_embodied_kg(float("inf"))


def test_spread_holds_one() -> None:
    low, high = embodied_spread()
    assert low < 1 < high


def test_amortisation_golden_case() -> None:
    """ISO/IEC 21031:2024: 1,000 kg over 4 years, one hour, the whole machine."""
    assert round(amortised_g(1000, 4, 3600), 2) == 28.54
    assert amortised_g(1000, 4, 4 * 8760 * 3600) == pytest.approx(1e6)


@pytest.mark.parametrize(
    "numbers", [(1, 0, 1, 1), (1, 4, -1, 1), (-1, 4, 1, 1), (1, 4, 1, 1.1), (1, 4, 1, float("nan"))]
)
def test_impossible_amortisation_is_refused(numbers: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match="amortised"):
        amortised_g(*numbers)


def test_sci() -> None:
    assert sci_g(1.0, 400.0, amortised_g(1000, 4, 3600), units=2) == pytest.approx(
        (400 + 28.5388) / 2, abs=1e-3
    )


@pytest.mark.parametrize(
    "numbers", [(-1, 1, 1, 1), (1, 1, 1, 0), (1, float("nan"), 1, 1), (1, 1, float("inf"), 1)]
)
def test_impossible_sci_is_refused(numbers: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match="SCI"):
        sci_g(*numbers)


def test_transfer() -> None:
    assert transfer_g(3.0) == pytest.approx(3 * transfer_g_per_gb())
    assert transfer_g(2.0, g_per_kwh=100, kwh_per_gb=0.06) == pytest.approx(12.0)
    assert hardware("transfer_kwh_per_gb")[0] == pytest.approx(0.06 / 2**1.5, abs=1e-4)


@pytest.mark.parametrize(
    "change", [{"data_gb": -1}, {"data_gb": 1, "g_per_kwh": -1}, {"data_gb": 1, "kwh_per_gb": float("nan")}]
)
def test_impossible_transfer_is_refused(change: dict[str, float]) -> None:
    with pytest.raises(InputError, match="can't be moved"):
        transfer_g(**change)


def test_an_unknown_constant_is_refused() -> None:
    with pytest.raises(InputError, match="did you mean"):
        hardware("lifetime")
