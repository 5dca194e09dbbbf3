"""Prices from APIs: answers in the documented shapes, made here, and what can be off."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from aicsched.domain.carbon import Quality
from aicsched.domain.price import PriceItem, PriceUnit, Purchase, price_table
from aicsched.errors import (
    ConfigError,
    InputError,
    SignalGap,
    SignalInvalid,
)
from aicsched.signals.carbon.sample import SAMPLE_NOW_S
from aicsched.signals.price.aws_spot import AwsSpotPrices
from aicsched.signals.price.azure import AzurePrices
from aicsched.signals.price.sample import SamplePrices
from aicsched.slots import SlotGrid, parse_time
from tests import upstream_kit as kit
from tests.price_kit import DAY, DE, NOW_S, SIZE, Azure, Charts, azure, azure_item, charts, meter

if TYPE_CHECKING:
    from pathlib import Path


def test_quarters_of_an_auction_become_hours_per_kilowatt_hour() -> None:
    api = Charts()
    with kit.upstream(api) as server:
        power = charts(server, kit.VirtualClock(NOW_S)).read(DE, SlotGrid(NOW_S, 3600, 4))
    assert api.asked == [{"bzn": "DE-LU", "start": str(NOW_S), "end": str(NOW_S + 4 * 3600)}]
    # Quarters of -10, -9, -8, -7; then -6, (none), -4, -3; …
    np.testing.assert_allclose(power.prices[:3], [-0.0085, -13 / 3000, -0.0005])
    assert np.asarray(power.quality).tolist()[:2] == [Quality.ACTUAL, Quality.ESTIMATED]
    assert (power.unit_name, power.source) == ("EUR/kWh", "energy-charts:day-ahead#DE-LU")


def test_an_hour_is_as_long_as_a_price_holds() -> None:
    api = Charts()
    api.step_s = 3 * 3600
    with kit.upstream(api) as server:
        power = charts(server, kit.VirtualClock(NOW_S)).read(DE, SlotGrid(NOW_S, 3600, 4))
    assert np.isfinite(power.prices).tolist() == [True, False, False, True]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"unix_seconds": [0], "price": [1], "unit": "EUR / kWh"}', "field `unit` is not EUR/MWh"),
        (b'{"unix_seconds": [0], "price": [1, 2], "unit": "EUR / MWh"}', "2 prices for 1 times"),
        (b'{"unix_seconds": [0, 0], "price": [1, 2], "unit": "EUR / MWh"}', "two prices"),
        (b'{"unix_seconds": ["a"], "price": [1], "unit": "EUR / MWh"}', "another shape"),
        (b'{"price": [1], "unit": "EUR / MWh"}', "unix_seconds"),
        (b"<html>", "no valid JSON"),
    ],
)
def test_an_auction_in_another_shape_is_refused(body: bytes, message: str) -> None:
    with kit.upstream(
        lambda _request: kit.Reply(body, headers={"Content-Type": "application/json"})
    ) as server:
        source = charts(server, kit.VirtualClock(NOW_S))
        with pytest.raises(SignalInvalid, match=message):
            source.read(DE, SlotGrid(0, 3600, 2))


def test_an_empty_auction_is_a_gap() -> None:
    body = b'{"unix_seconds": [], "price": [], "unit": "EUR / MWh"}'
    with kit.upstream(
        lambda _request: kit.Reply(body, headers={"Content-Type": "application/json"})
    ) as server:
        with pytest.raises(SignalGap):
            charts(server, kit.VirtualClock(NOW_S)).read(DE, DAY)
        with pytest.raises(InputError, match="knows no price of GB electricity"):
            charts(server, kit.VirtualClock(NOW_S)).read(PriceItem(place="GB", unit=PriceUnit.KWH), DAY)


def test_azures_linux_machines_by_purchase() -> None:
    api = Azure()
    with kit.upstream(api) as server:
        source = azure(server, kit.VirtualClock(NOW_S))
        demand, spot = source.read(azure_item(), DAY), source.read(azure_item(Purchase.SPOT), DAY)
    assert set(demand.prices) == {0.208}
    assert set(spot.prices) == {0.041}
    # What has begun is so; that it stays is foreseen.
    assert np.asarray(demand.quality).tolist() == [Quality.ACTUAL] * 13 + [Quality.FORECAST] * 11
    assert api.asked[0]["$filter"].endswith("armSkuName eq 'Standard_D4as_v5' and priceType eq 'Consumption'")
    # The second page was asked of the same server, whatever its address said.
    assert api.asked[1] == {"$skip": "1"}


def test_a_new_price_holds_from_its_day() -> None:
    api = Azure()
    api.meters = [meter(0.2), meter(0.3, effectiveStartDate="2026-05-01T06:00:00Z")]
    with kit.upstream(api) as server:
        found = azure(server, kit.VirtualClock(NOW_S)).read(azure_item(), DAY)
    np.testing.assert_allclose(found.prices[:7], [0.2] * 6 + [0.3])


@pytest.mark.parametrize(
    ("meters", "error", "message"),
    [
        ([], SignalGap, "has no price of westeurope"),
        ([meter(0.2), meter(0.3)], SignalInvalid, "two prices for 2026-01-01"),
        ([meter(0.2, currencyCode="EUR")], SignalInvalid, "`currencyCode` is not USD"),
        ([meter(0.2, effectiveStartDate="yesterday")], SignalInvalid, "effectiveStartDate"),
        ([{"retailPrice": 0.2}], SignalInvalid, "currencyCode"),
        ([meter(0.2, effectiveStartDate="2027-01-01T00:00:00Z")], SignalGap, "no price"),
    ],
)
def test_what_azure_cannot_mean_is_refused(
    meters: list[dict[str, Any]], error: type[Exception], message: str
) -> None:
    api = Azure()
    api.meters = meters
    with kit.upstream(api) as server, pytest.raises(error, match=message):
        azure(server, kit.VirtualClock(NOW_S)).read(azure_item(), DAY)


def test_pages_without_end_are_refused() -> None:
    api = Azure()
    api.pages = 99
    with kit.upstream(api) as server, pytest.raises(SignalInvalid, match="more than 5 pages"):
        azure(server, kit.VirtualClock(NOW_S)).read(azure_item(), DAY)


def test_names_go_into_no_filter_unchecked() -> None:
    with pytest.raises(ConfigError, match="is no region or size"):
        AzurePrices(["westeurope' or 1 eq 1"], [SIZE])


def _spot(price: str, at: str, zone: str = "eu-central-1a", **more: Any) -> dict[str, Any]:
    return {
        "AvailabilityZone": zone,
        "InstanceType": "m6a.large",
        "ProductDescription": "Linux/UNIX",
        "SpotPrice": price,
        "Timestamp": at,
        **more,
    }


def _spot_item(place: str) -> PriceItem:
    return PriceItem(
        place=place, unit=PriceUnit.INSTANCE_H, instance_type="m6a.large", purchase=Purchase.SPOT
    )


def _history(tmp_path: Path, rows: list[dict[str, Any]], name: str = "h.json") -> Path:
    (tmp_path / name).write_text(json.dumps({"SpotPriceHistory": rows, "NextToken": ""}))
    return tmp_path / name


def test_spot_prices_hold_until_they_change(tmp_path: Path) -> None:
    file = _history(
        tmp_path,
        [
            _spot("0.0300", "2026-05-01T04:00:00+00:00"),
            _spot("0.0200", "2026-05-01T00:00:00+00:00"),
            _spot("0.0250", "2026-05-01T00:00:00+00:00", "eu-central-1b"),
            _spot("0.9000", "2026-05-01T01:00:00+00:00", ProductDescription="Windows"),
            _spot("0.0310", "2026-05-01T08:00:00.000Z"),
        ],
    )
    source = AwsSpotPrices([file])
    assert [str(item).split()[0] for item in source.items()] == [
        "eu-central-1",
        "eu-central-1a",
        "eu-central-1b",
    ]
    window = SlotGrid(parse_time("2026-05-01T00:00Z"), 7200, 5)
    one = source.read(_spot_item("eu-central-1a"), window)
    np.testing.assert_allclose(one.prices, [0.02, 0.02, 0.03, 0.03, np.nan])
    np.testing.assert_allclose(
        source.read(_spot_item("eu-central-1"), window).prices, [0.02, 0.02, 0.025, 0.025, np.nan]
    )
    mean = AwsSpotPrices([file], region="mean").read(_spot_item("eu-central-1"), window)
    np.testing.assert_allclose(mean.prices, [0.0225, 0.0225, 0.0275, 0.0275, np.nan])
    assert "mean of 2 zones" in mean.source


def test_spot_pages_join_and_faults_are_told(tmp_path: Path) -> None:
    first = _history(tmp_path, [_spot("0.02", "2026-05-01T00:00:00Z")], "a.json")
    second = _history(tmp_path, [_spot("0.03", "2026-05-01T06:00:00Z")], "b.json")
    source = AwsSpotPrices([first, second])
    found = source.read(_spot_item("eu-central-1a"), SlotGrid(parse_time("2026-05-01T00:00Z"), 3600, 6))
    np.testing.assert_allclose(found.prices, 0.02)
    for rows, error, message in (
        ([], InputError, "no price of a Linux machine"),
        ([_spot("cheap", "2026-05-01T00:00:00Z")], SignalInvalid, "can't be understood"),
        ([_spot("0.1", "2026-05-01")], SignalInvalid, "can't be understood"),
        (
            [_spot("0.1", "2026-05-01T00:00:00Z"), _spot("0.2", "2026-05-01T00:00:00Z")],
            SignalInvalid,
            "two prices for",
        ),
        ([{"SpotPrice": "1"}], SignalInvalid, "another shape"),
    ):
        with pytest.raises(error, match=message):
            AwsSpotPrices([_history(tmp_path, rows)])
    with pytest.raises(InputError, match="can't be read"):
        AwsSpotPrices([tmp_path / "absent.json"])


def test_the_sample_prices_power_by_the_plant_that_runs_last() -> None:
    source = SamplePrices()
    week = SlotGrid(SAMPLE_NOW_S - 7 * 86_400, 3600, 168)
    zones = [item for item in source.items() if item.unit == PriceUnit.KWH]
    table = price_table([source.read(item, week) for item in zones], week, unit=PriceUnit.KWH)
    assert table.shape == (len(zones), 168)
    assert (
        table.min() < 0 < table.mean() < 0.2
    )  # where the sun must be turned down power costs less than nothing
    assert all(source.read(item, week).synthetic for item in source.items())


def test_the_samples_spot_machines_cost_less_and_swing() -> None:
    source = SamplePrices()
    day = SlotGrid(SAMPLE_NOW_S, 3600, 24)
    items = {item.purchase: item for item in source.items() if item.place == "texas" and item.purchase}
    demand, spot = (source.read(items[how], day).prices for how in (Purchase.ON_DEMAND, Purchase.SPOT))
    assert set(demand) == {0.041}
    assert spot.max() < demand.min()
    assert int(np.argmax(spot)) in {13, 14}
    assert spot.mean() == pytest.approx(0.041 * 0.28)
