"""A day of outages of sources that stand in for one another: the best known counts, and says who said it.

The world is that of `test_day_of_outages`; here two sources, each beside its last known good values, are
one by precedence. At each moment: a value is what the source that is named for it truly said, what
is known is as new as the newest that anyone knows, and its state is by that age.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from aicsched.domain.carbon import Quality
from aicsched.forecast.live import forecast_live
from aicsched.signals.carbon.merge import MergedCarbon
from aicsched.signals.staleness import newest_end_s, staleness
from aicsched.slots import HOUR_S
from tests.chaos.test_day_of_outages import MOODS, STEP_S, Day, Mood, day, seeds

if TYPE_CHECKING:
    from pathlib import Path

BOTH = ("electricity-maps", "eia")


def merged_of(world: Day) -> MergedCarbon:
    lives = [world.lives[name] for name in BOTH]
    names = {world.lives[name].source_id: {"X": world.oracles[name].live.zone} for name in BOTH}
    return MergedCarbon(lives, names=names, clock=world.clock)


def look(world: Day, merged: MergedCarbon, seen: dict[str, int]) -> None:
    for name in BOTH:
        world.witnesses[name].last = None
    asked = {name: world.network.upstreams[world.host(name)].asked for name in BOTH}
    series, provenance = merged.read_with_provenance("X")
    now_s = int(world.clock.now_s())
    for name in BOTH:
        if world.network.upstreams[world.host(name)].asked > asked[name]:
            world.note(name)
    by_id = {world.lives[name].source_id: name for name in BOTH}
    # 1. Each value is what its source truly said, and says so where it could not be confirmed.
    for slot, start_s in enumerate(series.slots.starts_s().tolist()):
        who = provenance.source_of(slot)
        if who is None:
            assert np.isnan(series.values_g_per_kwh[slot])
            continue
        oracle = world.oracles[by_id[who]]
        assert series.values_g_per_kwh[slot] == oracle.values[start_s], (who, start_s)
        seen[by_id[who]] += 1
        if oracle.failed and start_s >= now_s - 20 * HOUR_S:
            assert series.quality is not None
            assert series.quality[slot] == Quality.STALE
    # 2. Nothing that anyone knows is hidden: the state is the best of all sources'.
    ends_s = [max(oracle.known(now_s)) + HOUR_S for oracle in (world.oracles[name] for name in BOTH)]
    ages_s = [now_s - end_s for end_s in ends_s]
    newest_s = newest_end_s(series)
    assert newest_s is not None
    if all(abs(age_s - limit_s) > 180 for age_s in ages_s for limit_s in (2 * HOUR_S, 6 * HOUR_S)):
        best = min(ages_s)
        assert staleness(now_s - newest_s, HOUR_S) is staleness(best, HOUR_S), (ages_s, now_s - newest_s)
        state = str(staleness(now_s - newest_s, HOUR_S))
        seen[state] += 1
        made = forecast_live(merged, ["X"], now_s=now_s, horizon_h=6, model="seasonal")
        for name in BOTH:
            if world.witnesses[name].last is not None:
                world.note(name)
        skewed = any(flag.startswith("clock-skew:") for flag in made.forecasts["X"].flags)
        assert str(made.staleness["X"]) == ("degraded" if skewed and state == "fresh" else state)


@pytest.mark.parametrize("seed", seeds())
def test_a_day_of_outages_hides_nothing_that_anyone_knows(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    print(f"seed {seed}")
    with day(tmp_path / "signals.db", seed, monkeypatch) as world:
        world.fill()
        seen = dict.fromkeys((*BOTH, "fresh", "degraded", "neutral"), 0)
        until_s = world.network.true_s() + 24 * HOUR_S
        while world.network.true_s() < until_s:
            world.network.new_moods()
            if world.random.random() < 0.05:
                world.start()
            look(world, merged_of(world), seen)
            world.clock.sleep(STEP_S)
        print(seen)
        assert world.network.dealt == set(MOODS)
        assert seen["electricity-maps"]
        assert seen["eia"]
        assert seen["fresh"]


@pytest.mark.parametrize(("mood", "behind_s"), [("down", 0.0), ("silent", 0.0), ("stale", 20 * HOUR_S)])
def test_a_first_source_that_is_gone_all_day_leaves_the_zone_fresh(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mood: str, behind_s: float
) -> None:
    with day(tmp_path / "signals.db", 0, monkeypatch) as world:
        world.fill()
        monkeypatch.setattr(world.network, "new_moods", lambda: None)
        first = world.network.upstreams[world.host(BOTH[0])]
        first.mood = Mood(mood, 2.0**60, behind_s=behind_s)
        merged = merged_of(world)
        seen = dict.fromkeys((*BOTH, "fresh", "degraded", "neutral"), 0)
        for _ in range(48):
            world.clock.sleep(1800)
            look(world, merged, seen)
        assert (seen["degraded"], seen["neutral"]) == (0, 0)
        assert seen["fresh"] > 40
