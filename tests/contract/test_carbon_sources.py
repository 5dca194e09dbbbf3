"""What every carbon source must do, put to each of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from aicsched.domain.carbon import MAX_INTENSITY_G_PER_KWH, IntensityKind, Quality
from aicsched.errors import SlotError, UnknownZone
from aicsched.signals.carbon.file import FileCarbon
from aicsched.signals.carbon.sample import SampleCarbon
from aicsched.slots import SlotGrid, format_time
from aicsched.testing import check_source

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from aicsched.signals.base import CarbonSource


class CarbonSourceContract:
    """The shared base: a subclass gives ``make``, which makes equal sources each time."""

    @pytest.fixture
    def make(self) -> Callable[[], CarbonSource]:
        raise NotImplementedError

    def test_the_published_suite_passes(self, make: Callable[[], CarbonSource]) -> None:
        check_source(make())

    def test_every_zone_listed_can_be_read(self, make: Callable[[], CarbonSource]) -> None:
        source = make()
        for zone in source.zones():
            series = source.read(zone)
            known = series.values_g_per_kwh[~np.isnan(series.values_g_per_kwh)]
            assert series.grid_zone == zone
            assert series.kind in set(IntensityKind)
            assert len(known) > 0
            assert known.min() >= 0
            assert known.max() <= MAX_INTENSITY_G_PER_KWH

    def test_quality_says_missing_exactly_where_no_value_is(self, make: Callable[[], CarbonSource]) -> None:
        source = make()
        for zone in source.zones():
            series = source.read(zone)
            np.testing.assert_array_equal(
                np.asarray(series.quality) == Quality.MISSING, np.isnan(series.values_g_per_kwh)
            )

    def test_two_sources_of_one_make_agree_to_the_byte(self, make: Callable[[], CarbonSource]) -> None:
        first, again = make(), make()
        assert (first.zones(), first.source_id) == (again.zones(), again.source_id)
        for zone in first.zones():
            one, two = first.read(zone), again.read(zone)
            assert one.values_g_per_kwh.tobytes() == two.values_g_per_kwh.tobytes()
            assert (one.slots, one.source, one.kind) == (two.slots, two.source, two.kind)

    def test_values_can_not_be_changed_by_who_reads_them(self, make: Callable[[], CarbonSource]) -> None:
        source = make()
        series = source.read(source.zones()[0])
        with pytest.raises(ValueError, match="read-only"):
            series.values_g_per_kwh[0] = 1.0

    def test_a_window_anywhere_inside_is_that_part(self, make: Callable[[], CarbonSource]) -> None:
        source = make()
        whole = source.read(source.zones()[-1])
        step_s, count = whole.slots.step_s, len(whole.slots)
        for first, length in ((0, count), (count // 3, 5), (count - 2, 2), (count // 2, 0)):
            part = SlotGrid(whole.slots.start_s + first * step_s, step_s, length)
            cut = source.read(whole.grid_zone, part)
            assert cut.slots == part
            np.testing.assert_array_equal(
                cut.values_g_per_kwh, whole.values_g_per_kwh[first : first + length]
            )

    @pytest.mark.parametrize(("shift", "scale"), [(1, 1), (0.5, 1), (0, 2)])
    def test_a_window_that_does_not_fit_is_refused(
        self, make: Callable[[], CarbonSource], shift: float, scale: int
    ) -> None:
        source = make()
        grid = source.read(source.zones()[0]).slots
        odd = SlotGrid(grid.start_s + int(shift * grid.step_s), grid.step_s * scale, len(grid) // scale)
        with pytest.raises(SlotError):
            source.read(source.zones()[0], odd)

    def test_an_unknown_zone_brings_up_to_three_known_ones(self, make: Callable[[], CarbonSource]) -> None:
        source = make()
        with pytest.raises(UnknownZone) as caught:
            source.read(source.zones()[0] + "?")
        assert source.zones()[0] in caught.value.hint
        assert sum(zone in caught.value.hint.split("mean ")[-1] for zone in source.zones()) >= min(
            3, len(source.zones())
        )


class TestSample(CarbonSourceContract):
    @pytest.fixture(params=list(IntensityKind))
    def make(self, request: pytest.FixtureRequest) -> Callable[[], CarbonSource]:
        return lambda: SampleCarbon(kind=request.param)

    def test_it_says_that_it_is_made_up(self) -> None:
        source = SampleCarbon()
        assert all(source.read(zone).synthetic for zone in source.zones())


class TestFile(CarbonSourceContract):
    @pytest.fixture(params=["csv", "parquet"])
    def make(self, request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], CarbonSource]:
        hours = [hour for hour in range(24 * 20) if hour % 37]  # with gaps
        zones = {"DE": 400, "SE": 30, "PL": 700, "CISO": 250}
        rows = [
            (zone, hour * 3600, level + 25 * np.sin(hour / 4))
            for zone, level in zones.items()
            for hour in hours
        ]
        if request.param == "csv":
            lines = [
                f"{zone},{format_time(time_s)},{value!r}"
                for zone, time_s, value in ((z, t, float(v)) for z, t, v in rows)
            ]
            (tmp_path / "all.csv").write_text("grid_zone,time,ci_g_per_kwh\n" + "\n".join(lines))
        else:
            pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
            names, times, values = zip(*rows, strict=True)
            table = {
                "grid_zone": names,
                "time": pa.array(times, pa.timestamp("s", "UTC")),
                "ci_g_per_kwh": values,
            }
            pq.write_table(pa.table(table), tmp_path / "all.parquet")
        return lambda: FileCarbon([tmp_path / f"all.{request.param}"])

    def test_it_is_no_synthetic_source(self, make: Callable[[], CarbonSource]) -> None:
        source = make()
        assert not any(source.read(zone).synthetic for zone in source.zones())
