"""What every live source must do, put to each beside an API of its documented shape."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from aicsched.domain.carbon import Quality
from aicsched.errors import SlotError, UnknownZone
from aicsched.slots import SlotGrid
from tests.contract.test_carbon_sources import CarbonSourceContract
from tests.live_sources_kit import HOUR_S, LIVE, NOW_S, Live
from tests.upstream_kit import VirtualClock, upstream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from aicsched.signals.base import CarbonSource

THIS_HOUR_S = NOW_S // HOUR_S * HOUR_S


class TestLive(CarbonSourceContract):
    @pytest.fixture(params=LIVE, ids=lambda live: live.name)
    def live(self, request: pytest.FixtureRequest) -> Live:
        return request.param

    @pytest.fixture
    def make(self, live: Live, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], CarbonSource]]:
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        with upstream(live.api(lambda: NOW_S)) as server:
            server.time_s = lambda: NOW_S
            yield lambda: live.source(server.url, clock=VirtualClock(NOW_S))

    @pytest.mark.parametrize(("shift_s", "length_s"), [(7, 0), (0, -7), (60, 0)])
    def test_a_window_that_does_not_fit_is_refused(  # type: ignore[override]
        self, live: Live, make: Callable[[], CarbonSource], shift_s: int, length_s: int
    ) -> None:
        odd = SlotGrid(THIS_HOUR_S - 20 * HOUR_S + shift_s, live.step_s + length_s, 3)
        with pytest.raises(SlotError):
            make().read(live.zone, odd)

    @pytest.mark.parametrize("step_h", [1, 2, 6])
    @pytest.mark.parametrize(("from_h", "hours"), [(-600, 72), (-30, 24), (-18, 12)])
    def test_past_slots_are_right(
        self, live: Live, make: Callable[[], CarbonSource], step_h: int, from_h: int, hours: int
    ) -> None:
        self._right(live, make(), SlotGrid(THIS_HOUR_S + from_h * HOUR_S, step_h * HOUR_S, hours // step_h))

    def test_a_window_of_many_requests_is_right(self, live: Live, make: Callable[[], CarbonSource]) -> None:
        first_s = THIS_HOUR_S - live.span_s - 48 * HOUR_S
        self._right(live, make(), SlotGrid(first_s, HOUR_S, live.span_s // HOUR_S))

    def test_the_finest_steps_are_right(self, live: Live, make: Callable[[], CarbonSource]) -> None:
        self._right(live, make(), SlotGrid(THIS_HOUR_S - 60 * HOUR_S, live.step_s, 50))

    def _right(self, live: Live, source: CarbonSource, window: SlotGrid) -> None:
        series = source.read(live.zone, window)
        right = [live.right(start_s, window.step_s) for start_s in window.starts_s().tolist()]
        np.testing.assert_allclose(series.values_g_per_kwh, right, rtol=1e-12)
        assert series.slots == window
        assert not series.synthetic
        assert set(np.asarray(series.quality).tolist()) <= {Quality.ACTUAL, Quality.ESTIMATED}

    def test_slots_to_come_are_forecast_or_missing(
        self, live: Live, make: Callable[[], CarbonSource]
    ) -> None:
        window = SlotGrid(THIS_HOUR_S - 6 * HOUR_S, HOUR_S, 24)
        series = make().read(live.zone, window)
        right = np.array([live.right(start_s, HOUR_S) for start_s in window.starts_s().tolist()])
        known = np.isfinite(series.values_g_per_kwh)
        now = np.arange(len(window)) == window.index_at(NOW_S)
        whole = known & ~now
        np.testing.assert_allclose(series.values_g_per_kwh[whole], right[whole], rtol=1e-12)
        # This hour's may be the mean of what is known of it.
        np.testing.assert_allclose(series.values_g_per_kwh[known], right[known], rtol=0.05)
        assert not (np.asarray(series.quality)[now] == Quality.ACTUAL).any()
        ahead = window.starts_s() >= NOW_S
        assert set(np.asarray(series.quality)[ahead].tolist()) <= {Quality.FORECAST, Quality.MISSING}
        assert not (np.asarray(series.quality)[~ahead & known] == Quality.MISSING).any()
        if series.readings is not None:
            assert series.readings.read_s.max() <= NOW_S

    def test_nothing_is_known_before_it_was_read(self, live: Live, make: Callable[[], CarbonSource]) -> None:
        series = make().read(live.zone, SlotGrid(THIS_HOUR_S - 48 * HOUR_S, HOUR_S, 40))
        earlier_s = THIS_HOUR_S - 30 * HOUR_S
        assert series.known_at(earlier_s).slots.end_s <= earlier_s

    def test_an_unknown_zone_brings_up_to_three_known_ones(self, make: Callable[[], CarbonSource]) -> None:
        source = make()
        known = source.zones()
        for window in (None, SlotGrid(THIS_HOUR_S - 480 * HOUR_S, HOUR_S, 5)):
            with pytest.raises(UnknownZone) as caught:
                source.read(known[0] + "X", window)
            assert known[0] in caught.value.hint
