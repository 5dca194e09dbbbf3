"""Carbon intensity from files: what is recognised, what is put in order, what is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pytest

from aicsched.domain.carbon import IntensityKind, Quality
from aicsched.errors import InputError, SlotError, UnitError, UnknownZone
from aicsched.signals.carbon.file import FileCarbon
from aicsched.slots import SlotGrid, parse_time

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

START = datetime(2021, 1, 1, tzinfo=UTC)


def stamps(count: int, step_s: int = 3600) -> list[str]:
    return [(START + timedelta(seconds=index * step_s)).isoformat() for index in range(count)]


def table(path: Path, columns: dict[str, Sequence[object]]) -> Path:
    lines = [",".join(columns), *(",".join(map(str, row)) for row in zip(*columns.values(), strict=True))]
    path.write_text("\n".join(lines) + "\n")
    return path


def values(source: FileCarbon, zone: str) -> list[float]:
    return source.read(zone).values_g_per_kwh.tolist()


@pytest.mark.parametrize(
    ("name", "zone"),
    [
        ("DE.csv", "DE"),
        ("ccast13_AUS-QLD.csv", "AUS-QLD"),
        ("em_US-NY-NYIS.csv", "US-NY-NYIS"),
        ("eia_AZPS_2022.csv", "AZPS_2022"),
    ],
)
def test_the_zone_is_the_stem_behind_its_first_underscore(tmp_path: Path, name: str, zone: str) -> None:
    assert FileCarbon([table(tmp_path / name, {"time": stamps(2), "ci": [1, 9]})]).zones() == (zone,)


def test_a_zone_can_be_named_and_a_path_with_an_equals_sign_still_opens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    plain = table(tmp_path / "x.csv", {"time": stamps(2), "ci": [4, 5]})
    odd = table(tmp_path / "a=b.csv", {"time": stamps(2), "ci": [6, 7]})
    assert FileCarbon([f"PL={plain}", odd]).zones() == ("PL", "a=b")
    assert FileCarbon(["PL=x.csv", "a=b.csv"]).zones() == ("PL", "a=b")


@pytest.mark.parametrize("column", ["zone", "grid_zone", "Zone"])
def test_a_long_table_holds_several_zones_in_any_order(tmp_path: Path, column: str) -> None:
    zones, times = ["DE", "SE", "SE", "DE"], [*stamps(2), *stamps(1), stamps(1)[0]]
    times = [stamps(2)[0], stamps(2)[0], stamps(2)[1], stamps(2)[1]]
    source = FileCarbon(
        [table(tmp_path / "all.csv", {column: zones, "time": times, "ci": [400, 20, 30, 500]})]
    )
    assert source.zones() == ("DE", "SE")
    assert (values(source, "DE"), values(source, "SE")) == ([400, 500], [20, 30])


@pytest.mark.parametrize(
    "name", ["time", "valid_time", "Datetime", "timestamp", "__index_level_0__", "slot_start"]
)
def test_usual_names_of_the_time_column_are_recognised(tmp_path: Path, name: str) -> None:
    source = FileCarbon([table(tmp_path / "DE.csv", {name: stamps(3), "ci": [400, 410, 420]})])
    assert source.read("DE").slots == SlotGrid(int(START.timestamp()), 3600, 3)


def test_an_only_zoned_time_of_parquet_needs_no_known_name(tmp_path: Path) -> None:
    pq.write_table(
        pa.table({"when": pa.array([0, 3600], pa.timestamp("s", "UTC")), "ci": [4.0, 5.0]}),
        tmp_path / "DE.parquet",
    )
    assert values(FileCarbon([tmp_path / "DE.parquet"]), "DE") == [4, 5]


def test_a_frame_with_a_time_index_written_by_pandas_reads_back(tmp_path: Path) -> None:
    pd = pytest.importorskip("pandas")
    for name in ("time", None):
        index = pd.date_range(
            "2021-10-31", periods=25, freq="h", tz="Europe/Berlin", name=name
        )  # clocks go back
        pd.DataFrame({"ci_lifecycle": np.arange(25) + 400.0}, index=index).to_parquet(tmp_path / "DE.parquet")
        series = FileCarbon([tmp_path / "DE.parquet"]).read("DE")
        assert series.slots == SlotGrid(parse_time("2021-10-30T22:00Z"), 3600, 25)
        assert series.source == "file:DE.parquet#ci_lifecycle"


@pytest.mark.parametrize(
    ("column", "given", "factor"),
    [
        ("ci", None, 1.0),
        ("ci_g_per_kwh", None, 1.0),
        ("Carbon intensity gCO₂eq/kWh (direct)", None, 1.0),
        ("carbon_intensity [g/kWh]", None, 1.0),
        ("ci_kg_per_mwh", None, 1.0),
        ("ci_kg_per_kwh", None, 1000.0),
        ("moer_lbs_per_mwh", None, 0.45359237),
        ("intensity (lb/MWh)", None, 0.45359237),
        ("ci", "kg/kWh", 1000.0),
        ("ci_g_per_kwh", "kg/MWh", 1.0),
    ],
)
def test_units_come_from_the_argument_or_the_columns_name(
    tmp_path: Path, column: str, given: str | None, factor: float
) -> None:
    number = 0.5 if factor > 1 else 500.0
    file = table(tmp_path / "DE.csv", {"time": stamps(2), column: [number, number]})
    assert values(FileCarbon([file], unit=given), "DE") == pytest.approx([number * factor] * 2, rel=1e-12)


@pytest.mark.parametrize(
    ("column", "given", "kind"),
    [
        ("ci", None, IntensityKind.AVERAGE),
        ("moer_lb_per_mwh", None, IntensityKind.MARGINAL),
        ("marginal_intensity_g_per_kwh", None, IntensityKind.MARGINAL),
        ("ci", IntensityKind.MARGINAL, IntensityKind.MARGINAL),
        ("moer", IntensityKind.AVERAGE, IntensityKind.AVERAGE),
    ],
)
def test_marginal_is_told_by_the_name_or_the_argument(
    tmp_path: Path, column: str, given: IntensityKind | None, kind: IntensityKind
) -> None:
    file = table(tmp_path / "DE.csv", {"time": stamps(2), column: [500, 600]})
    assert FileCarbon([file], kind=given).read("DE").kind == kind


@pytest.mark.parametrize(
    "other", ["demand_mw", "low_carbon_pct", "carbon_free_share", "carbon_price", "co2_t", "wind"]
)
def test_what_is_no_intensity_is_never_taken_for_one(tmp_path: Path, other: str) -> None:
    file = table(tmp_path / "DE.csv", {"time": stamps(2), other: [50, 60]})
    with pytest.raises(InputError, match=rf"none of its columns could be .*{other}.*--column"):
        FileCarbon([file])
    beside = table(tmp_path / "SE.csv", {"time": stamps(2), other: [50, 60], "ci": [4, 5]})
    assert values(FileCarbon([beside]), "SE") == [4, 5]


def test_a_word_before_per_is_no_mass(tmp_path: Path) -> None:
    """The last letter of "direct" is not the t of tonnes."""
    file = table(tmp_path / "DE.csv", {"time": stamps(2), "ci_direct_per_kwh": [50, 60]})
    assert values(FileCarbon([file]), "DE") == [50, 60]
    other = table(tmp_path / "SE.csv", {"time": stamps(2), "ci_direct_per_mwh": [0.5, 0.6]})
    with pytest.raises(InputError, match="none of its columns"):
        FileCarbon([other])


@pytest.mark.parametrize("only", ["value", "Values", "DE"])
def test_an_only_column_with_a_plain_name_is_the_intensity(tmp_path: Path, only: str) -> None:
    assert values(FileCarbon([table(tmp_path / "DE.csv", {"time": stamps(2), only: [50, 60]})]), "DE") == [
        50,
        60,
    ]


def test_several_candidates_are_listed_and_one_can_be_chosen(tmp_path: Path) -> None:
    file = table(tmp_path / "DE.csv", {"time": stamps(2), "ci_direct": [4, 5], "ci_lifecycle": [6, 7]})
    with pytest.raises(
        InputError, match=r"2 of its columns .*\(ci_direct, ci_lifecycle\); choose one with --column"
    ):
        FileCarbon([file])
    assert values(FileCarbon([file], column="ci_lifecycle"), "DE") == [6, 7]
    with pytest.raises(InputError, match="no column 'ci_lifecicle'; did you mean ci_lifecycle"):
        FileCarbon([file], column="ci_lifecicle")


def test_sorting_equal_duplicates_and_gaps_are_counted_and_nothing_is_filled(tmp_path: Path) -> None:
    hours = [0, 1, 3, 2, 2, 6, 5, 7, 7, 7]
    file = table(
        tmp_path / "DE.csv", {"time": [stamps(9)[hour] for hour in hours], "ci": [400 + h for h in hours]}
    )
    source = FileCarbon([file])
    assert source.notes("DE") == ("sorted", "duplicates:3", "gaps:1")
    series = source.read("DE")
    np.testing.assert_array_equal(series.values_g_per_kwh, [400, 401, 402, 403, np.nan, 405, 406, 407])
    assert series.quality is not None
    assert series.quality.tolist() == [Quality.ACTUAL] * 4 + [Quality.MISSING] + [Quality.ACTUAL] * 3


def test_a_clean_file_has_no_notes(tmp_path: Path) -> None:
    assert FileCarbon([table(tmp_path / "DE.csv", {"time": stamps(2), "ci": [4, 5]})]).notes("DE") == ()


@pytest.mark.parametrize("step_s", [300, 900, 1800, 3600, 86_400])
def test_the_step_of_the_rows_is_kept(tmp_path: Path, step_s: int) -> None:
    file = table(tmp_path / "DE.csv", {"time": stamps(5, step_s), "ci": [4, 5, 6, 7, 8]})
    assert FileCarbon([file]).read("DE").slots == SlotGrid(int(START.timestamp()), step_s, 5)


def test_a_window_is_cut_and_one_outside_is_refused(tmp_path: Path) -> None:
    source = FileCarbon([table(tmp_path / "DE.csv", {"time": stamps(5), "ci": [4, 5, 6, 7, 8]})])
    part = SlotGrid(int(START.timestamp()) + 3600, 3600, 2)
    assert source.read("DE", part).values_g_per_kwh.tolist() == [5, 6]
    with pytest.raises(SlotError, match="not all in"):
        source.read("DE", part.after(3))


def test_one_zone_in_two_files_is_refused(tmp_path: Path) -> None:
    first, again = (
        table(tmp_path / name, {"time": stamps(2), "ci": [4, 5]}) for name in ("a_DE.csv", "b_DE.csv")
    )
    with pytest.raises(InputError, match=r"'DE' is in two files, 'b_DE.csv' among them"):
        FileCarbon([first, again])


def test_an_unknown_unit_is_refused(tmp_path: Path) -> None:
    file = table(tmp_path / "DE.csv", {"time": stamps(2), "ci": [4, 5]})
    with pytest.raises(UnitError, match="'stone/kWh' is not a known unit"):
        FileCarbon([file], unit="stone/kWh")
    odd = table(tmp_path / "SE.csv", {"time": stamps(2), "ci_t_per_wh": [4, 5]})
    with pytest.raises(UnitError, match="the unit in the column name 'ci_t_per_wh'"):
        FileCarbon([odd])


def test_a_file_without_a_time_column_says_what_it_has(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no time column \(its columns are hour, ci\); name it 'time'"):
        FileCarbon([table(tmp_path / "DE.csv", {"hour": [0, 1], "ci": [4, 5]})])


class TestRecordedData:
    """Real files: their traits are those that their publishers' notes state."""

    @pytest.mark.parametrize("zone", ["AUS-QLD", "CISO", "DE", "SE"])
    def test_carboncast_series_are_whole(self, shared_data: Path, zone: str) -> None:
        source = FileCarbon(
            [shared_data / "data" / "carbon" / f"ccast13_{zone}.parquet"], column="ci_lifecycle"
        )
        series = source.read(zone)
        assert series.slots == SlotGrid.from_times("2020-01-01T00:00Z", "2022-01-01T00:00Z")
        assert (series.missing, source.notes(zone)) == (0, ())

    def test_values_are_those_that_arrow_reads(self, shared_data: Path) -> None:
        file = shared_data / "data" / "carbon" / "em_DE-LU.parquet"
        raw = pq.read_table(file)["ci_direct"].to_numpy()
        got = FileCarbon([file], column="ci_direct").read("DE-LU").values_g_per_kwh
        np.testing.assert_array_equal(got, raw.astype(np.float64))

    def test_a_real_gap_of_456_hours_stays_a_gap(self, shared_data: Path) -> None:
        source = FileCarbon([shared_data / "data" / "carbon" / "eia_FPL.parquet"])
        assert source.notes("FPL") == ("gaps:456",)
        first = int(np.argmax(np.isnan(source.read("FPL").values_g_per_kwh)))
        assert (
            source.read("FPL").slots.starts_s()[first] == parse_time("2022-01-28T00:00Z") + first % 24 * 3600
        )

    def test_a_first_year_that_is_missing_is_no_gap(self, shared_data: Path) -> None:
        source = FileCarbon([shared_data / "data" / "carbon" / "eci_SE.parquet"], column="ci_lifecycle")
        assert source.notes("SE") == ("gaps:8760",)
        assert int(np.argmax(np.isfinite(source.read("SE").values_g_per_kwh))) == 8760

    @pytest.mark.parametrize("country", ["ger", "gb", "fr"])
    def test_naive_times_are_refused(self, shared_data: Path, country: str) -> None:
        with pytest.raises(SlotError, match="has no time zone; add an offset"):
            FileCarbon([shared_data / "data" / "carbon" / f"lwa_{country}_2020_subhourly.parquet"])

    @pytest.mark.parametrize(("country", "step_s"), [("ger", 900), ("fr", 1800)])
    def test_once_localised_sub_hourly_series_keep_their_step(
        self, shared_data: Path, tmp_path: Path, country: str, step_s: int
    ) -> None:
        source = FileCarbon([self._localised(shared_data, tmp_path, country)])
        assert source.read(country).slots.step_s == step_s

    def test_a_series_that_changes_its_step_becomes_hourly_means(
        self, shared_data: Path, tmp_path: Path
    ) -> None:
        pd = pytest.importorskip("pandas")
        file = self._localised(shared_data, tmp_path, "gb")
        source = FileCarbon([file])
        series = source.read("gb")
        assert series.slots.step_s == 3600
        assert source.notes("gb")[0] == "resampled:3600"
        # Where all rows of an hour lie in equal steps, a plain mean of them is the oracle.
        raw = pd.read_parquet(file).set_index("time")["ci"].astype(float)
        hours = raw.resample("h").agg(["mean", "count"])
        even = hours["count"].isin([2, 4]).to_numpy()
        got = pd.Series(series.values_g_per_kwh, pd.to_datetime(series.slots.starts_s(), unit="s", utc=True))
        assert even.mean() > 0.99
        np.testing.assert_allclose(got.to_numpy()[even], hours["mean"].to_numpy()[even], rtol=1e-9)

    @staticmethod
    def _localised(shared_data: Path, tmp_path: Path, country: str) -> Path:
        raw = pq.read_table(shared_data / "data" / "carbon" / f"lwa_{country}_2020_subhourly.parquet")

        times = raw["time"].cast(pa.timestamp("us")).cast(pa.timestamp("us", "UTC"))
        pq.write_table(pa.table({"time": times, "ci": raw["ci"]}), tmp_path / f"{country}.parquet")
        return tmp_path / f"{country}.parquet"


def test_an_unknown_zone_brings_the_three_nearest(tmp_path: Path) -> None:
    times = stamps(1) * 5
    file = table(
        tmp_path / "all.csv", {"zone": ["DE", "DK", "SE", "PL", "CISO"], "time": times, "ci": [9] * 5}
    )
    with pytest.raises(UnknownZone, match=r"knows no grid zone 'D'; did you mean \w+, \w+ or \w+\?"):
        FileCarbon([file]).read("D")
    with pytest.raises(UnknownZone):
        FileCarbon([file]).notes("D")
