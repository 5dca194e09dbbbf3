"""What every source of prices must do."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from aicsched.domain.carbon import Quality
from aicsched.domain.price import PriceItem, PriceUnit
from aicsched.errors import InputError
from aicsched.signals.carbon.sample import SAMPLE_NOW_S
from aicsched.signals.price.aws_spot import AwsSpotPrices
from aicsched.signals.price.file import FilePrices
from aicsched.signals.price.sample import SamplePrices
from aicsched.slots import SlotGrid, format_time
from tests import upstream_kit as kit
from tests.price_kit import NOW_S, Azure, Charts, azure, charts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from aicsched.signals.price.base import PriceSource

NAMES = ("sample", "file", "aws-spot", "energy-charts", "azure")


@pytest.fixture(params=NAMES)
def source(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[PriceSource]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    clock = kit.VirtualClock(NOW_S)
    if request.param == "sample":
        yield SamplePrices()
    elif request.param == "file":
        rows = [f"{format_time(NOW_S + hour * 3600)},DE,mwh,{hour - 3},EUR" for hour in range(12)]
        (tmp_path / "p.csv").write_text("time,place,unit,price,currency\n" + "\n".join(rows))
        yield FilePrices([tmp_path / "p.csv"])
    elif request.param == "aws-spot":
        history = [
            {
                "AvailabilityZone": f"eu-central-1{zone}",
                "InstanceType": "m6a.large",
                "ProductDescription": "Linux/UNIX",
                "SpotPrice": f"0.0{hour % 5 + 2}",
                "Timestamp": format_time(NOW_S + hour * 3600),
            }
            for zone in "ab"
            for hour in range(0, 13, 3)
        ]
        (tmp_path / "h.json").write_text(json.dumps({"SpotPriceHistory": history}))
        yield AwsSpotPrices([tmp_path / "h.json"])
    else:
        api, make = (Charts(), charts) if request.param == "energy-charts" else (Azure(), azure)
        with kit.upstream(api) as server:
            yield make(server, clock)


def _window(source: PriceSource, hours: int = 6) -> SlotGrid:
    return SlotGrid(SAMPLE_NOW_S if isinstance(source, SamplePrices) else NOW_S, 3600, hours)


def test_items_are_each_once(source: PriceSource) -> None:
    items = source.items()
    assert len(set(items)) == len(items) > 0


def test_a_series_is_of_what_was_asked_for(source: PriceSource) -> None:
    window = _window(source)
    for item in source.items()[:4]:
        found = source.read(item, window)
        assert found.item == item
        assert found.slots == window
        assert found.source.startswith(source.source_id.split(":")[0].removesuffix("s"))
        known = np.isfinite(found.prices)
        assert known.any()
        assert ((np.asarray(found.quality) == Quality.MISSING) == ~known).all()
        assert found.synthetic == isinstance(source, SamplePrices)
        if item.unit != PriceUnit.KWH:
            assert (found.prices[known] >= 0).all()


def test_reading_twice_gives_the_same(source: PriceSource) -> None:
    item, window = source.items()[0], _window(source)
    one, other = source.read(item, window), source.read(item, window)
    np.testing.assert_array_equal(one.prices, other.prices)


def test_a_part_of_a_window_is_that_part(source: PriceSource) -> None:
    item, window = source.items()[0], _window(source)
    part = SlotGrid(window.start_s + 2 * 3600, 3600, 3)
    whole = source.read(item, window).window(part).prices
    np.testing.assert_allclose(source.read(item, part).prices, whole)


def test_two_hours_are_the_mean_of_each(source: PriceSource) -> None:
    if isinstance(source, SamplePrices):
        pytest.skip("the sample's power is known by the hour only")
    item, window = source.items()[0], _window(source)
    hours = source.read(item, window).prices
    pairs = source.read(item, SlotGrid(window.start_s, 7200, 3)).prices
    known = np.isfinite(hours).reshape(3, 2).all(axis=1)
    wanted = hours.reshape(3, 2).mean(axis=1)
    if "charts" in source.source_id:
        known[0] = False  # its second hour is known in part, so it weighs less
    np.testing.assert_allclose(pairs[known], wanted[known])


def test_what_it_does_not_know_is_refused_with_the_nearest(source: PriceSource) -> None:
    with pytest.raises(InputError, match="knows no price of nowhere electricity; did you mean"):
        source.read(PriceItem(place="nowhere", unit=PriceUnit.KWH), _window(source))
