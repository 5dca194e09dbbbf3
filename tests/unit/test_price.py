"""Prices: one thing, one unit, one currency, and nothing that can't be true."""

from __future__ import annotations

import numpy as np
import pytest

from aicsched.domain.carbon import Quality
from aicsched.domain.price import PriceItem, PriceSeries, PriceUnit, Purchase, price_table
from aicsched.errors import InputError, SignalGap, SignalInvalid, SlotError, UnitError
from aicsched.slots import SlotGrid

NAN = float("nan")
POWER = PriceItem(place="DE", unit=PriceUnit.KWH)
MACHINE = PriceItem(
    place="eu-central-1", unit=PriceUnit.INSTANCE_H, instance_type="m6a.xlarge", purchase=Purchase.SPOT
)


def _series(prices: list[float], item: PriceItem = POWER, currency: str = "USD") -> PriceSeries:
    slots = SlotGrid(0, 3600, len(prices))
    return PriceSeries(item=item, currency=currency, slots=slots, prices=np.array(prices), source="test")


def test_power_may_cost_less_than_nothing_and_machines_may_not() -> None:
    assert _series([-0.5, 0.2]).prices.tolist() == [-0.5, 0.2]
    with pytest.raises(SignalInvalid, match=r"-0\.5 USD/instance-h at 1970-01-01T00:00"):
        _series([-0.5], MACHINE)


@pytest.mark.parametrize(
    ("prices", "item", "currency"),
    [
        ([85.0], POWER, "EUR"),  # EUR/MWh
        ([-85.0], POWER, "EUR"),
        ([float("inf")], POWER, "JPY"),
        ([5000.0], MACHINE, "USD"),
    ],
)
def test_a_price_in_another_unit_is_refused(prices: list[float], item: PriceItem, currency: str) -> None:
    with pytest.raises(SignalInvalid, match="can't be true"):
        _series(prices, item, currency)


def test_small_currencies_have_large_numbers() -> None:
    assert _series([35.0], POWER, "JPY").unit_name == "JPY/kWh"
    assert _series([140_000.0], MACHINE, "KRW").missing == 0


@pytest.mark.parametrize("currency", ["", "usd", "US", "$", "EURO", "ÄÖÜ"])
def test_what_is_no_currency_is_refused(currency: str) -> None:
    with pytest.raises(UnitError, match="no currency"):
        _series([1.0], currency=currency)


@pytest.mark.parametrize(
    "item",
    [
        {"place": "", "unit": PriceUnit.KWH},
        {"place": "DE", "unit": PriceUnit.KWH, "purchase": Purchase.SPOT},
        {"place": "DE", "unit": PriceUnit.KWH, "instance_type": "m6a.large"},
        {"place": "eu", "unit": PriceUnit.INSTANCE_H, "purchase": Purchase.SPOT},
        {"place": "eu", "unit": PriceUnit.INSTANCE_H, "instance_type": "m6a.large"},
        {"place": "eu", "unit": PriceUnit.VCPU_H},
    ],
)
def test_an_item_says_neither_too_little_nor_too_much(item: dict[str, object]) -> None:
    with pytest.raises(InputError, match="too little or too much"):
        PriceItem(**item)  # pyright: ignore[reportArgumentType] - wrong on purpose


def test_missing_prices_have_that_quality() -> None:
    made = _series([0.1, NAN])
    assert made.missing == 1
    assert np.asarray(made.quality).tolist() == [Quality.ACTUAL, Quality.MISSING]
    part = made.window(SlotGrid(3600, 3600, 1))
    assert np.asarray(part.quality).tolist() == [Quality.MISSING]


def test_lengths_must_agree() -> None:
    with pytest.raises(SignalInvalid, match="2 prices for 3 slots"):
        PriceSeries(item=POWER, currency="USD", slots=SlotGrid(0, 3600, 3), prices=np.zeros(2), source="test")
    with pytest.raises(SignalInvalid, match="1 qualities for 3 prices"):
        PriceSeries(
            item=POWER,
            currency="USD",
            slots=SlotGrid(0, 3600, 3),
            prices=np.zeros(3),
            quality=np.zeros(1, np.int8),
            source="test",
        )


def test_currencies_never_mix_but_at_a_named_rate() -> None:
    euros = _series([0.1], currency="EUR")
    with pytest.raises(UnitError, match="priced in EUR, not in USD"):
        price_table([_series([0.1]), euros], euros.slots, unit=PriceUnit.KWH)
    dollars = euros.converted(1.2, "USD", rate_source="treasury 2026-05")
    assert dollars.flags == ("exchange:EURUSD=1.2 (treasury 2026-05)",)
    table = price_table([_series([0.1]), dollars], euros.slots, unit=PriceUnit.KWH)
    np.testing.assert_allclose(table, [[0.1], [0.12]])
    for rate in (0.0, -1.0, NAN, float("inf")):
        with pytest.raises(UnitError, match="no rate of exchange"):
            euros.converted(rate, "USD", rate_source="x")


def test_an_instance_is_divided_into_its_threads_and_power_is_not() -> None:
    thread = _series([0.2], MACHINE).per_vcpu(4)
    assert (thread.unit_name, thread.prices.tolist()) == ("USD/vCPU-h", [0.05])
    for series, vcpus in ((_series([0.2]), 4.0), (_series([0.2], MACHINE), 0.0)):
        with pytest.raises(UnitError, match="no price of a thread"):
            series.per_vcpu(vcpus)


def test_a_table_has_no_gap_no_other_unit_and_no_other_time() -> None:
    with pytest.raises(SignalGap, match=r"1 of 2 slots have no price, the first at 1970-01-01T01:00"):
        price_table([_series([0.1, NAN])], SlotGrid(0, 3600, 2), unit=PriceUnit.KWH)
    with pytest.raises(UnitError, match="per kwh, not per vcpu_h"):
        price_table([_series([0.1])], SlotGrid(0, 3600, 1), unit=PriceUnit.VCPU_H)
    with pytest.raises(SlotError):
        price_table([_series([0.1])], SlotGrid(0, 3600, 2), unit=PriceUnit.KWH)
