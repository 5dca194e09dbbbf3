"""Prices from files: on any slots, in one currency, and nothing filled in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from aicsched.domain.carbon import Quality
from aicsched.domain.price import PriceItem, PriceUnit, Purchase
from aicsched.domain.signal_schemas import PRICES
from aicsched.errors import InputError, SignalGap, SignalInvalid, SlotError, UnitError
from aicsched.signals.price.base import Spans, laid
from aicsched.signals.price.file import FilePrices
from aicsched.slots import SlotGrid

if TYPE_CHECKING:
    from pathlib import Path

POWER = PriceItem(place="DE", unit=PriceUnit.KWH)
MACHINE = PriceItem(
    place="eu-central-1", unit=PriceUnit.INSTANCE_H, instance_type="m6a.large", purchase=Purchase.ON_DEMAND
)
HEAD = "time,place,unit,price,currency,instance_type,purchase\n"


def _file(tmp_path: Path, rows: str, name: str = "p.csv") -> FilePrices:
    (tmp_path / name).write_text(HEAD + rows)
    return FilePrices([tmp_path / name])


def _hours(prices: list[str], start: int = 0) -> str:
    return "".join(
        f"1970-01-01T{start + hour:02}:00Z,DE,kwh,{price},EUR,,\n" for hour, price in enumerate(prices)
    )


def test_several_things_stand_in_one_file(tmp_path: Path) -> None:
    source = _file(
        tmp_path, _hours(["0.1", "-0.02"]) + ",eu-central-1,instance_h,0.1,USD,m6a.large,on-demand\n"
    )
    assert source.items() == (POWER, MACHINE)
    day = SlotGrid(0, 3600, 2)
    power, machine = source.read(POWER, day), source.read(MACHINE, day)
    assert (power.prices.tolist(), power.unit_name) == ([0.1, -0.02], "EUR/kWh")
    # A price without a time holds always.
    np.testing.assert_allclose(machine.prices, [0.1, 0.1])
    np.testing.assert_allclose(source.read(MACHINE, SlotGrid(1_800_000_000, 900, 3)).prices, 0.1)
    assert machine.source == "file:p.csv#eu-central-1 m6a.large on-demand"


def test_slots_need_not_be_those_of_the_file(tmp_path: Path) -> None:
    source = _file(tmp_path, _hours(["0.1", "0.3"]))
    np.testing.assert_allclose(source.read(POWER, SlotGrid(0, 900, 8)).prices, [0.1] * 4 + [0.3] * 4)
    np.testing.assert_allclose(source.read(POWER, SlotGrid(0, 7200, 1)).prices, [0.2])
    np.testing.assert_allclose(source.read(POWER, SlotGrid(1800, 3600, 1)).prices, [0.2])


def test_a_slot_known_in_part_is_an_estimate_and_less_than_half_is_unknown(tmp_path: Path) -> None:
    source = _file(tmp_path, _hours(["0.1", "0.3"]))
    part = source.read(POWER, SlotGrid(-1800, 3600, 4))
    np.testing.assert_allclose(part.prices, [0.1, 0.2, 0.3, np.nan])
    assert np.asarray(part.quality).tolist() == [
        Quality.ESTIMATED, Quality.ACTUAL, Quality.ESTIMATED, Quality.MISSING
    ]  # fmt: skip


def test_gaps_stay_gaps(tmp_path: Path) -> None:
    source = _file(tmp_path, _hours(["0.1", "", "0.3", "0.4", "0.4"]))
    power = source.read(POWER, SlotGrid(0, 3600, 5))
    assert power.missing == 1
    with pytest.raises(SignalGap, match="no price of DE electricity from 1970-01-02"):
        source.read(POWER, SlotGrid(86_400, 3600, 2))


def test_quality_is_kept(tmp_path: Path) -> None:
    (tmp_path / "q.csv").write_text(
        "time,place,unit,price,currency,quality\n1970-01-01T00:00Z,DE,kwh,0.1,EUR,forecast\n"
        "1970-01-01T01:00Z,DE,kwh,0.1,EUR,\n"
    )
    power = FilePrices([tmp_path / "q.csv"]).read(POWER, SlotGrid(0, 3600, 2))
    assert np.asarray(power.quality).tolist() == [Quality.FORECAST, Quality.ACTUAL]


def test_parquet_is_as_csv(tmp_path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    table = pa.table(
        {
            "time": pa.array([0, 3600, None], pa.timestamp("s", tz="UTC")),
            "place": ["DE", "DE", "fra"],
            "unit": ["mwh", "mwh", "vcpu_h"],
            "price": [100.0, -20.0, 0.04],
            "currency": ["EUR", "EUR", "USD"],
            "purchase": [None, None, "spot"],
        }
    )
    pq.write_table(table, tmp_path / "p.parquet")
    source = FilePrices([tmp_path / "p.parquet"])
    np.testing.assert_allclose(source.read(POWER, SlotGrid(0, 3600, 2)).prices, [0.1, -0.02])
    thread = PriceItem(place="fra", unit=PriceUnit.VCPU_H, purchase=Purchase.SPOT)
    np.testing.assert_allclose(source.read(thread, SlotGrid(0, 3600, 2)).prices, 0.04)


@pytest.mark.parametrize(
    ("rows", "error", "message"),
    [
        ("1970-01-01T00:00Z,DE,kwh,1,EUR,,\n1970-01-01T01:00Z,DE,kwh,1,USD,,\n", UnitError, "EUR and USD"),
        (",DE,kwh,0.1,EUR,,\n,DE,kwh,0.2,EUR,,\n", InputError, "2 rows without a time"),
        (",DE,kwh,0.1,EUR,,\n1970-01-01T00:00Z,DE,kwh,1,EUR,,\n", InputError, "with and without a time"),
        (
            ",fra,instance_h,0.1,USD,m6a.large,\n",
            InputError,
            "row 2: a price per instance_h of 'fra' says too",
        ),
        (",fra,instance_h,0.1,USD,,spot\n", InputError, "row 2: .* too little"),
        (",DE,kwh,0.1,EUR,,spot\n", InputError, "row 2: .* too much"),
        (",DE,gwh,0.1,EUR,,\n", InputError, "row 2: 'gwh' is none of"),
        (",fra,vcpu_h,0.1,USD,,sport\n", InputError, "row 2: 'sport' is none of.*did you mean spot"),
        (",DE,kwh,cheap,EUR,,\n", UnitError, "row 2: 'cheap' is not a number"),
        ("1970-01-01T00:00Z,DE,kwh,1,EUR,,\n1970-01-01 01:00,DE,kwh,1,EUR,,\n", SlotError, "row 3"),
        (
            "1970-01-01T00:00Z,DE,kwh,1,EUR,,\n1970-01-01T00:00Z,DE,kwh,2,EUR,,\n",
            SignalInvalid,
            "two different",
        ),
        (",DE,kwh,1,,,\n", InputError, "row 2"),
    ],
)
def test_wrong_files_are_refused(tmp_path: Path, rows: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        _file(tmp_path, rows)


def test_a_price_that_cannot_be_true_is_refused_when_it_is_read(tmp_path: Path) -> None:
    source = _file(tmp_path, _hours(["85", "90"]))
    with pytest.raises(SignalInvalid, match=r"85 EUR/kWh at 1970-01-01T00:00.* can't be true"):
        source.read(POWER, SlotGrid(0, 3600, 2))


def test_one_thing_stands_in_one_file(tmp_path: Path) -> None:
    _file(tmp_path, _hours(["1"]), "a.csv")
    _file(tmp_path, _hours(["1"]), "b.csv")
    with pytest.raises(InputError, match="price of DE electricity is in two files"):
        FilePrices([tmp_path / "a.csv", tmp_path / "b.csv"])
    with pytest.raises(InputError, match="knows no price of SE electricity; did you mean DE"):
        FilePrices([tmp_path / "a.csv"]).read(PriceItem(place="SE", unit=PriceUnit.KWH), SlotGrid(0, 3600, 1))


def test_the_schemas_example_is_readable(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text(PRICES.example())
    [item] = FilePrices([tmp_path / "p.csv"]).items()
    assert str(item) == "eu-central-1 m6a.large spot"


def test_prices_on_slots_are_the_integral_over_time() -> None:
    """Beside a sum over seconds, on random spans with gaps."""
    rng = np.random.default_rng(5)
    for _ in range(20):
        cuts = np.sort(rng.choice(4000, 12, replace=False))
        start, end = cuts[::2], cuts[1::2]
        prices = np.where(rng.random(6) < 0.2, np.nan, rng.normal(size=6))
        spans = Spans(start_s=start, end_s=end, prices=prices, quality=np.zeros(6, np.int8))
        window = SlotGrid(int(rng.integers(-200, 400)), int(rng.integers(50, 700)), 6)
        each = np.full(10_000, np.nan)
        for first, last, price in zip(start, end, prices, strict=True):
            each[first + 1000 : last + 1000] = price
        slots = each[window.start_s + 1000 : window.end_s + 1000].reshape(6, -1)
        known = np.isfinite(slots).mean(axis=1) >= 0.5
        wanted = np.array([np.nanmean(row) if ok else np.nan for row, ok in zip(slots, known, strict=True)])
        if known.any():
            found = laid(spans, window, item=POWER, currency="EUR", source="test")
            np.testing.assert_allclose(found.prices, wanted, rtol=1e-9, atol=1e-12)
        else:
            with pytest.raises(SignalGap):
                laid(spans, window, item=POWER, currency="EUR", source="test")


def test_prices_that_change_hold_until_the_next_one() -> None:
    made = Spans.from_changes(
        np.array([7200, 0, 7200]), np.array([0.3, 0.1, 0.3]), until_s=9000, longest_s=3600
    )
    assert made.start_s.tolist() == [0, 7200]
    assert made.end_s.tolist() == [3600, 9000]
    with pytest.raises(SignalInvalid, match="two prices for 1970-01-01T00:00"):
        Spans.from_changes(np.array([0, 0]), np.array([0.1, 0.2]), until_s=10)
