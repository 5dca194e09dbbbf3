"""Live sources of prices beside each way to misbehave: an error of ours, or right numbers."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from aicsched.errors import AicschedError, ConfigError, SignalError
from tests import upstream_kit as kit
from tests.chaos.test_upstreams import SLOW, WRONG
from tests.price_kit import DAY, DE, NOW_S, Azure, Charts, azure, azure_item, charts

if TYPE_CHECKING:
    from collections.abc import Callable

    from aicsched.domain.price import PriceItem

MADE: dict[str, tuple[type[Any], Callable[..., Any], PriceItem]] = {
    "energy-charts": (Charts, charts, DE),
    "azure": (Azure, azure, azure_item()),
}


def _read(name: str, behave: Callable[[kit.Handler, kit.Reply], None], limits: kit.Limits) -> Any:
    api, source, item = MADE[name]
    with kit.upstream(api(), behave) as server:
        try:
            return source(server, kit.VirtualClock(NOW_S), limits).read(item, DAY)
        except AicschedError as error:
            return error


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("way", list(WRONG))
@pytest.mark.parametrize("name", list(MADE))
def test_what_is_wrong_is_an_error_or_right(
    name: str, way: str, first: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    right = _read(name, kit.well, kit.SMALL)
    found = _read(name, kit.after_failing(first, kit.well, WRONG[way]), kit.SMALL)
    if isinstance(found, AicschedError):
        assert isinstance(found, SignalError | ConfigError), repr(found)
        assert found.hint
    else:
        np.testing.assert_array_equal(found.prices, right.prices)


@pytest.mark.parametrize("way", list(SLOW))
@pytest.mark.parametrize("name", list(MADE))
def test_what_is_slow_ends_in_time(name: str, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    begun_s = time.monotonic()
    assert isinstance(_read(name, SLOW[way], kit.QUICK), SignalError)
    assert time.monotonic() - begun_s < 10


@pytest.mark.parametrize("name", list(MADE))
def test_what_passes_leaves_right_prices(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    right = _read(name, kit.well, kit.SMALL)
    found = _read(name, kit.after_failing(1, kit.status(503), kit.well), kit.SMALL)
    np.testing.assert_array_equal(found.prices, right.prices)
