"""The utilisation panel: its contract, its memory, and that it follows what happens."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest

from aicsched.errors import (
    AicschedError,
    ForecastError,
    InputError,
    NotFitted,
    OutputError,
    SlotError,
    SourceUnavailable,
)
from aicsched.forecast.kernels.panel import layout as at
from aicsched.forecast.panel import UtilisationPanel

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

START_S = 1_767_225_600


def noisy(series: int, steps: int, *, seed: int = 0, gaps: float = 0.03) -> np.ndarray:
    """Make series of many kinds: walks, steps, spikes, constants, waves, with gaps."""
    rng = np.random.default_rng(seed)
    walk = np.cumsum(rng.normal(size=(series, steps)), axis=1)
    made = 40 + 0.3 * walk + 8 * np.sin(np.arange(steps) * 2 * np.pi / 96) + rng.normal(size=(series, steps))
    made[0] = 7.0
    made[1] = np.where(rng.random(steps) < 0.04, 90.0, 0.0)
    made[2, steps // 2 :] += 60
    made[3] = np.round(made[3] / 10) * 10
    made[4] *= 1e9
    made[5] *= 1e-9
    made[rng.random((series, steps)) < gaps] = np.nan
    made[6, : steps // 3] = np.nan
    made[7, steps // 3 : steps // 2] = np.nan
    return made


def make(count: int, **options: object) -> UtilisationPanel:
    return UtilisationPanel([f"series {row}" for row in range(count)], **{"step_s": 900, **options})


def same(one: UtilisationPanel, two: UtilisationPanel) -> bool:
    a, b = one.forecast(20, levels=(0.1, 0.3, 0.9)), two.forecast(20, levels=(0.1, 0.3, 0.9))
    return (
        one.labels == two.labels
        and one.time_s == two.time_s
        and np.array_equal(one._state, two._state, equal_nan=True)
        and np.array_equal(a.median, b.median, equal_nan=True)
        and np.array_equal(a.quantiles, b.quantiles, equal_nan=True)
    )


def test_many_steps_at_once_are_as_good_as_one_by_one() -> None:
    values = noisy(12, 300)
    at_once, singly = make(12), make(12)
    at_once.update(values, time_s=START_S)
    for step in range(300):
        singly.update(values[:, step], time_s=START_S + 900 * step)
    assert same(at_once, singly)


@pytest.mark.parametrize("steps", [1, 3, 50, 200, 1000])
def test_steps_left_out_are_missing_steps(steps: int) -> None:
    values = noisy(10, 400)
    left_out, written = make(10), make(10)
    for panel in (left_out, written):
        panel.update(values[:, :250], time_s=START_S)
    written.update(np.full((10, steps), np.nan))
    left_out.update(values[:, 250:], time_s=START_S + 900 * (250 + steps))
    written.update(values[:, 250:])
    assert same(left_out, written)


def test_a_missing_value_ages_a_series_and_leaves_the_rest_of_it() -> None:
    panel = make(9)
    panel.update(noisy(9, 200, gaps=0.0), time_s=START_S)
    before, known = panel.forecast(), panel._state[8].copy()
    values = np.full(9, 50.0)
    values[8] = np.nan
    panel.update(values)
    after = panel.forecast()
    assert after.points[8] == before.points[8] == 200
    assert (after.missing[8], after.age_steps[8], bool(after.stale[8])) == (1, 1, False)
    assert after.points[0] == 201
    first, queue = (int(panel._geometry.anchors[0, place]) for place in (at.BLOCK, at.QUEUE))
    np.testing.assert_array_equal(panel._state[8, first:queue], known[first:queue])  # weights and bands
    np.testing.assert_array_equal(panel._state[8, : at.UP], known[: at.UP])  # levels
    panel.update(np.full((9, 2), np.nan))
    assert panel.forecast().stale.all() is np.False_
    panel.update(np.full((9, 1), np.nan))
    assert panel.forecast().stale.all()


def test_series_can_come_and_go_without_the_others_noticing() -> None:
    values = noisy(12, 300)
    alone, busy = make(8), make(8)
    alone.update(values[:8, :200], time_s=START_S)
    busy.update(values[:8, :100], time_s=START_S)
    busy.add(["late", "short-lived"], lower=0, upper=[100, 50])
    busy.update(np.concatenate([values[:8, 100:200], values[8:10, 100:200]]))
    late = busy.forecast().median[8]
    assert (late >= 0).all()
    busy.drop(["short-lived", "late"])
    assert same(alone, busy)
    busy.drop(["series 3"])
    assert busy.labels == tuple(f"series {row}" for row in range(8) if row != 3)
    kept = [row for row in range(8) if row != 3]
    np.testing.assert_array_equal(busy.forecast().median, alone.forecast().median[kept])


def test_a_restored_panel_goes_on_as_if_it_had_never_been_away(tmp_path: Path) -> None:
    values = noisy(10, 400)
    panel = make(10, levels=(0.05, 0.2, 0.5, 0.95), horizon=30, lower=0.0)
    panel.update(values[:, :250], time_s=START_S)
    assert panel.save(tmp_path / "panel.bin") == tmp_path / "panel.bin"
    again = UtilisationPanel.load(tmp_path / "panel.bin")
    assert repr(again) == repr(panel) == "UtilisationPanel(10 series of 900 s, up to 2026-01-03T14:30Z)"
    for each in (panel, again):
        each.update(values[:, 250:])
        each.add(["new"])
    assert same(panel, again)
    panel.save(tmp_path / "one")
    again.save(str(tmp_path / "two"))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_an_empty_panel_can_be_saved_too(tmp_path: Path) -> None:
    panel = UtilisationPanel()
    panel.save(tmp_path / "empty")
    again = UtilisationPanel.load(tmp_path / "empty")
    assert len(again) == 0
    assert repr(again) == "UtilisationPanel(0 series of 60 s, nothing yet)"
    again.update(np.empty((0, 3)), time_s=0)
    assert again.forecast().median.shape == (0, 60)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda whole: whole[:1000], "cut or was changed"),
        (lambda whole: whole[:40], "cut or was changed"),
        (lambda whole: whole[:-1], "cut or was changed"),
        (lambda whole: whole + b"x", "cut or was changed"),
        (lambda whole: whole[:3000] + bytes([whole[3000] ^ 1]) + whole[3001:], "cut or was changed"),
        (lambda whole: whole.replace(b"panel 1", b"panel 2", 1), "another version"),
        (lambda whole: b"", "no saved panel"),
        (lambda whole: b"PK\x03\x04" + whole, "no saved panel"),
    ],
)
def test_a_cut_or_foreign_file_is_refused(
    tmp_path: Path, damage: Callable[[bytes], bytes], words: str
) -> None:
    panel = make(8)
    panel.update(noisy(8, 20), time_s=START_S)
    path = panel.save(tmp_path / "panel")
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match=words):
        UtilisationPanel.load(path)


@pytest.mark.parametrize("change", ["experts", "labels", "levels", "step_s"])
def test_a_file_with_a_right_digest_and_wrong_contents_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    from aicsched.forecast.panel import store

    whole = store.json.dumps
    wrong = {"experts": 99, "labels": ["one"], "levels": [0.9, 0.1], "step_s": 7}
    monkeypatch.setattr(store.json, "dumps", lambda about: whole({**about, change: wrong[change]}))
    path = make(8).save(tmp_path / "panel")
    monkeypatch.undo()
    with pytest.raises(InputError, match="no panel that this version understands"):
        UtilisationPanel.load(path)


def test_files_that_are_not_there_are_told(tmp_path: Path) -> None:
    with pytest.raises(SourceUnavailable, match="can't be read"):
        UtilisationPanel.load(tmp_path / "none")
    with pytest.raises(OutputError):
        make(8).save(tmp_path / "no" / "folder")


@pytest.mark.parametrize(
    ("values", "error", "words"),
    [
        (np.zeros(7), ForecastError, r"shape \(7,\) don't fit 8 series"),
        (np.zeros((8, 2, 2)), ForecastError, "don't fit 8 series"),
        (3.0, ForecastError, "don't fit"),
        (["a"] * 8, ForecastError, "no numbers"),
        ([1, 2, 3, np.inf, 5, 6, 7, 8], ForecastError, "'series 3': value inf at step 0"),
        ([1, 2, 3, -2e15, 5, 6, 7, 8], ForecastError, "'series 3': value -2e\\+15"),
    ],
)
def test_bad_values_are_refused_and_nothing_is_taken(
    values: object, error: type[AicschedError], words: str
) -> None:
    panel = make(8)
    panel.update(noisy(8, 30), time_s=START_S)
    before = panel._state.copy()
    with pytest.raises(error, match=words):
        panel.update(values)
    np.testing.assert_array_equal(panel._state, before)
    assert panel.time_s == START_S + 30 * 900


@pytest.mark.parametrize(
    ("time_s", "words"),
    [
        (START_S + 30 * 900 + 1, "no start of a step of 900 s"),
        (START_S + 29 * 900, "is known already"),
        (START_S - 900, "the panel expects 2026-01-01T07:30Z"),
    ],
)
def test_times_go_forward_on_the_grid(time_s: int, words: str) -> None:
    panel = make(8)
    panel.update(noisy(8, 30), time_s=START_S)
    with pytest.raises(SlotError, match=words):
        panel.update(np.zeros(8), time_s=time_s)
    assert panel.time_s == START_S + 30 * 900


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"step_s": 57}, SlotError, "57 s are no equal parts"),
        ({"step_s": 43_200}, SlotError, "43200 s"),
        ({"step_s": 0}, SlotError, "0 s"),
        ({"horizon": 0}, ForecastError, "horizon of 0"),
        ({"horizon": 5000}, ForecastError, "horizon of 5000"),
        ({"levels": ()}, ForecastError, "don't rise"),
        ({"levels": (0.9, 0.1)}, ForecastError, "don't rise"),
        ({"levels": (0.0, 0.5)}, ForecastError, "don't rise"),
        ({"labels": ["a", "a"]}, ForecastError, "'a' comes twice"),
        ({"labels": ["a", ""]}, ForecastError, "'' is no label"),
        ({"labels": [1]}, ForecastError, "1 is no label"),
        ({"labels": "cpu"}, ForecastError, "one label, not a list"),
        ({"lower": 1.0, "upper": 1.0}, ForecastError, "lower bound 1 is not below"),
        ({"lower": np.nan}, ForecastError, "lower bound nan"),
        ({"lower": [0.0, 1.0, 2.0]}, ForecastError, "bounds for 1 series"),
        ({"upper": "much"}, ForecastError, "bounds for 1 series"),
    ],
)
def test_a_panel_that_can_not_be_is_refused(
    options: dict[str, object], error: type[AicschedError], words: str
) -> None:
    with pytest.raises(error, match=words):
        UtilisationPanel(**{"labels": ["one"], **options})


def test_unknown_series_times_and_levels_are_told() -> None:
    panel = UtilisationPanel(["node-1 cpu", "node-2 cpu"])
    with pytest.raises(NotFitted, match="seen no time"):
        panel.forecast()
    with pytest.raises(NotFitted):
        panel.update([1.0, 2.0])
    with pytest.raises(ForecastError, match="no series 'node-3 cpu'; did you mean"):
        panel.drop(["node-3 cpu"])
    with pytest.raises(ForecastError, match="one label"):
        panel.drop("node-1 cpu")
    with pytest.raises(ForecastError, match="in the panel already"):
        panel.add(["node-1 cpu"])
    panel.update([1.0, 2.0], time_s=0)
    with pytest.raises(ForecastError, match=r"level 0\.95 lies outside"):
        panel.forecast(levels=(0.95,))
    with pytest.raises(ForecastError, match="horizon of 0"):
        panel.forecast(0)


def test_the_first_values_give_a_forecast_and_say_how_little_it_rests_on() -> None:
    panel = UtilisationPanel(["a", "b"], horizon=10)
    panel.update([3.0, np.nan], time_s=600)
    made = panel.forecast()
    np.testing.assert_array_equal(made.median[0], np.full(10, 3.0))
    assert np.isnan(made.median[1]).all()
    assert np.isnan(made.quantiles).all()
    assert made.cold.all()
    assert made.points.tolist() == [1, 0]
    assert (made.slots.start_s, made.slots.step_s, len(made.slots)) == (660, 60, 10)
    panel.update([4.0, 5.0])
    made = panel.forecast()
    width = made.quantiles[-1, 0] - made.quantiles[0, 0]
    assert (np.diff(width) >= 0).all()
    assert width[-1] > 2 * width[0]  # as a random walk would: nothing further out is known yet
    assert not made.changed.any()


def test_bands_of_one_tracked_level_and_of_levels_between() -> None:
    panel = UtilisationPanel(["a"], levels=(0.5,), horizon=1)
    panel.update(np.random.default_rng(0).normal(size=(1, 50)), time_s=0)
    made = panel.forecast(3)
    np.testing.assert_array_equal(made.quantiles[0], made.median)
    wide = UtilisationPanel(["a"], levels=(0.1, 0.9))
    wide.update(np.random.default_rng(0).normal(size=(1, 500)), time_s=0)
    found = wide.forecast(5, levels=(0.1, 0.3, 0.5, 0.9)).quantiles
    np.testing.assert_allclose(found[1], (found[0] + found[2]) / 2, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(found[2], wide.forecast(5).median)


def test_two_kilobytes_a_series() -> None:
    assert UtilisationPanel().bytes_per_series <= 2048
    assert UtilisationPanel(step_s=3600).bytes_per_series < UtilisationPanel(step_s=60).bytes_per_series


@pytest.mark.parametrize("shift", [-10.0, 10.0])
def test_a_level_shift_is_followed_within_a_few_steps(shift: float) -> None:
    rng = np.random.default_rng(1)
    values = 10 + rng.normal(size=(200, 640))
    values[:, 600:] += shift
    panel = make(200, step_s=300, horizon=12)
    panel.update(values[:, :600], time_s=START_S)
    moved, changed = [], []
    for step in range(600, 625):
        panel.update(values[:, step])
        changed.append(panel.forecast().changed.mean())
        moved.append((np.median(panel.forecast().median - 10, axis=0) / shift)[[0, 11]])
    nearest, furthest = np.array(moved).T
    assert nearest[7] > 0.8
    assert furthest[13] > 0.8
    assert changed[0] == 0.0
    assert max(changed) > 0.95
    panel.update(10 + shift + rng.normal(size=(200, 20)))
    assert panel.forecast().changed.mean() < 0.1


def test_noise_alone_is_hardly_ever_called_a_change() -> None:
    panel = make(200, step_s=300, horizon=288)
    panel.update(10 + np.random.default_rng(2).normal(size=(200, 1500)), time_s=START_S)
    assert panel.forecast().changed.mean() < 0.01


def test_days_and_weeks_are_learned() -> None:
    rng = np.random.default_rng(3)
    hours = np.arange(24 * 7 * 5)
    daily = 50 + 20 * np.sin(hours * 2 * np.pi / 24)
    weekly = daily + np.where(hours // 24 % 7 >= 5, -25.0, 0.0)
    values = np.array([daily, weekly]) + rng.normal(size=(2, len(hours)))
    panel = UtilisationPanel(["daily", "weekly"], step_s=3600, horizon=24)
    errors = []
    for day in range(35):
        part = values[:, 24 * day : 24 * (day + 1)]
        if day >= 28:
            errors.append(np.abs(panel.forecast().median - part).mean(axis=1))
        panel.update(part, time_s=START_S + 86_400 * day)
    # Noise alone has a mean absolute error of 0.8; the last value's would be 20.
    assert np.mean(errors, axis=0).max() < 3.0


@pytest.mark.parametrize("memory", [0.0, 0.9])
def test_bands_hold_what_they_promise_at_each_lead(memory: float) -> None:
    rng = np.random.default_rng(4)
    shocks = rng.normal(size=(150, 1600))
    values = np.empty_like(shocks)
    values[:, 0] = shocks[:, 0]
    for step in range(1, 1600):
        values[:, step] = memory * values[:, step - 1] + shocks[:, step]
    panel = make(150, step_s=300, horizon=30)
    panel.update(values[:, :800], time_s=START_S)
    inside = []
    for step in range(800, 1560, 10):
        made = panel.forecast()
        actual = values[:, step : step + 30]
        inside.append((actual >= made.quantiles[0]) & (actual <= made.quantiles[-1]))
        panel.update(values[:, step : step + 10])
    coverage = np.mean(inside, axis=(0, 1))
    assert coverage.min() > 0.76
    assert coverage.max() < 0.86


def test_threads_wait_for_each_other() -> None:
    values = noisy(400, 60)
    panel, alone = make(400), make(400)
    panel.update(values, time_s=START_S)
    alone.update(values, time_s=START_S)
    faults: list[BaseException] = []

    def caller() -> None:
        try:
            for _ in range(5):
                panel.update(np.full(400, 50.0))
                panel.forecast(5)
        except BaseException as fault:  # noqa: BLE001 - handed to the main thread
            faults.append(fault)

    threads = [threading.Thread(target=caller) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults
    alone.update(np.full((400, 20), 50.0))
    assert same(panel, alone)


@pytest.mark.parametrize("name", ["gpu", "google"])
def test_recorded_series_no_worse_than_the_best_single_method(
    shared_data: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    from benchmarks import panel_accuracy as protocol

    title, (_, horizon, step_s) = next(each for each in protocol.SETS.items() if each[1][0] == name)
    monkeypatch.setattr(protocol, "SETS", {title: (name, horizon, step_s)})
    (figures,) = protocol.accuracy(shared_data / "data" / "carbon", smoke=False).values()
    assert figures["ratio, best single method / ours"] > 0.98
    assert figures["coverage of the 80 % band"] > 0.76
