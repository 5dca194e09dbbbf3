"""Checkpoints: what fits is used, what is stale, foreign or damaged is not, and the result is the same."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from aicsched import testing
from aicsched.domain.carbon import IntensityKind
from aicsched.errors import ConfigError, OutputError
from aicsched.executor import SerialExecutor
from aicsched.forecast import checkpoint as module
from aicsched.forecast.backtest import BacktestResult, backtest
from aicsched.forecast.base import Covariates
from aicsched.forecast.checkpoint import Checkpoint, code_digest, digest
from aicsched.forecast.models.seasonal import SeasonalProfile
from aicsched.forecast.weather import WeatherVintages

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from aicsched.domain.carbon import CarbonSeries

DAY_S = 86_400
PARTS = 3


class Counting(SerialExecutor):
    """Runs tasks here, counts them, and stops as if killed after so many."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.count = 0
        self.stop_after = stop_after

    def map_unordered(self, call: Any, tasks: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        for index, task in enumerate(tasks):
            if self.count == self.stop_after:
                raise KeyboardInterrupt
            self.count += 1
            yield index, call(task)


def series(seed: int = 0, days: int = 75) -> dict[str, CarbonSeries]:
    return {"DE": testing.example_series(zone="DE", days=days, seed=seed)}


def run(
    data: dict[str, CarbonSeries], folder: Path | None, executor: Counting | None = None, **changes: Any
) -> BacktestResult:
    start_s = data["DE"].slots.start_s
    choices = {
        "model": "seasonal",
        "start_s": start_s + 30 * DAY_S,
        "end_s": start_s + 65 * DAY_S,
        "refit_days": 16,
        "keep_forecasts": True,
    }
    return backtest(data, **(choices | changes), executor=executor, checkpoint=folder)


def same(one: BacktestResult, two: BacktestResult) -> bool:
    left, right = one.runs["DE"], two.runs["DE"]
    arrays = ("mean_g_per_kwh", "quantiles_g_per_kwh", "actual_g_per_kwh", "issue_times_s")
    equal = all(getattr(left, name).tobytes() == getattr(right, name).tobytes() for name in arrays)
    return equal and one.zones["DE"].measures() == two.zones["DE"].measures()


def test_what_was_stopped_goes_on_and_ends_the_same(tmp_path: Path) -> None:
    data = series()
    with pytest.raises(KeyboardInterrupt):
        run(data, tmp_path, Counting(stop_after=2))
    told: list[tuple[str, int, int]] = []
    rest = Counting()
    resumed = run(data, tmp_path, rest, progress=lambda *words: told.append(words))
    assert rest.count == PARTS - 2
    assert told == [("", 2, 3), ("DE", 3, 3)]
    assert same(resumed, run(data, None))
    assert resumed.zones["DE"].fits == 3
    assert resumed.cpu_s_per_fit > 0
    again = Counting()
    assert same(run(data, tmp_path, again), resumed)
    assert again.count == 0


def test_new_data_behind_the_last_issue_time_change_nothing_before_it(tmp_path: Path) -> None:
    run(series(), tmp_path)
    grown = series(days=90)
    np.testing.assert_array_equal(grown["DE"].values_g_per_kwh[: 75 * 24], series()["DE"].values_g_per_kwh)
    counting = Counting()
    run(grown, tmp_path, counting)
    assert counting.count == 0


def weather(value: float) -> dict[str, Covariates]:
    times_s = series()["DE"].slots.start_s + DAY_S * np.arange(80)
    vintages = WeatherVintages(
        variables=("wind_speed",), issue_times_s=times_s, step_h=3,
        values=np.full((80, 1, 32), value), source="test",
    )  # fmt: skip
    return {"DE": Covariates(weather=vintages)}


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "ridge"},
        {"model": SeasonalProfile},
        {"horizon": 48},
        {"refit_days": 17},
        {"levels": (0.1, 0.5, 0.8, 0.9)},
        {"covariates": weather(1.0)},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_another_choice_finds_nothing(tmp_path: Path, changes: dict[str, Any]) -> None:
    run(series(), tmp_path)
    counting = Counting()
    made = run(series(), tmp_path, counting, **changes)
    assert counting.count == PARTS
    assert same(made, run(series(), None, **changes))


def test_other_data_and_other_covariates_find_nothing(tmp_path: Path) -> None:
    run(series(), tmp_path, covariates=weather(1.0))
    for data, offered in (
        (series(seed=1), weather(1.0)),
        (series(), weather(2.0)),
        ({"DE": replace(series()["DE"], kind=IntensityKind.MARGINAL)}, weather(1.0)),
    ):
        counting = Counting()
        run(data, tmp_path, counting, covariates=offered)
        assert counting.count == PARTS


def test_other_code_finds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(series(), tmp_path)
    source = tmp_path / "model.py"
    source.write_text("one = 1\n")
    real = module._sources
    monkeypatch.setattr(module, "_sources", lambda name: [*real(name), source])
    for text in ("two = 2\n", "three = 3\n"):
        source.write_text(text)
        counting = Counting()
        run(series(), tmp_path, counting)
        assert counting.count == PARTS


def test_other_packages_find_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    before = code_digest(SeasonalProfile())
    assert before == code_digest(SeasonalProfile())
    monkeypatch.setattr(module.metadata, "distributions", lambda: iter(()))
    assert code_digest(SeasonalProfile()) != before


def test_the_model_s_own_source_counts() -> None:
    """A model of a third party is no part of this package: its own file stands for it."""
    assert code_digest(Counting()) != code_digest(SeasonalProfile())


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "swap", "unsealed", "pickle"])
def test_a_damaged_part_is_made_anew(tmp_path: Path, damage: str) -> None:
    right = run(series(), tmp_path)
    paths = sorted(tmp_path.glob("part-*.npz"))
    assert len(paths) == PARTS
    first, second = (path.read_bytes() for path in paths[:2])
    if damage == "cut":
        paths[0].write_bytes(first[:-200])
    elif damage == "flip":
        # Past the zip's own check: the archive is whole, its numbers are others.
        with np.load(paths[0]) as kept:
            arrays = {name: kept[name] for name in kept.files}
        np.savez(paths[0], **{**arrays, "mean": arrays["mean"] + 1.0})
    elif damage == "empty":
        paths[0].write_bytes(b"")
    elif damage == "swap":
        paths[0].write_bytes(second)
    elif damage == "unsealed":
        with np.load(paths[0]) as kept:
            np.savez(paths[0], **{name: kept[name] for name in kept.files if name != "seal"})
    else:
        np.savez(paths[0], mean=np.array([{"a": 1}], dtype=object))
    counting = Counting()
    assert same(run(series(), tmp_path, counting), right)
    assert counting.count == 1


def test_a_folder_that_can_not_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"checkpoint folder .* can't be made"):
        run(series(), tmp_path / "file")


def test_what_can_not_be_pickled_is_refused_with_a_reason(tmp_path: Path) -> None:
    def local(*, levels: Sequence[float]) -> SeasonalProfile:
        return SeasonalProfile(levels)

    assert same(run(series(), None, model=local), run(series(), None))
    with pytest.raises(ConfigError, match=r"can't be pickled .*top level"):
        run(series(), tmp_path, model=local)


@dataclass(frozen=True)
class Pair:
    left: object
    right: object


def test_a_digest_tells_values_apart() -> None:
    values = [
        None, True, 1, 1.0, "1", b"1", (1,), (1, 1), ((1,), 1), [(1, 1)], {"a": 1}, {"a": 2}, {"b": 1},
        Pair(1, 2), Pair(2, 1), IntensityKind.AVERAGE, IntensityKind.MARGINAL, SeasonalProfile, float("nan"),
        np.zeros(2), np.zeros(3), np.zeros((1, 2)), np.zeros(2, dtype=np.float32), np.array([0.0, -0.0]),
    ]  # fmt: skip
    made = [digest(value) for value in values]
    assert len(set(made)) == len(made)
    assert made == [digest(value) for value in values]
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})


def test_saving_and_loading_keep_every_bit(tmp_path: Path) -> None:
    store = Checkpoint(tmp_path)
    arrays = {"x": np.array([1.0, np.nan, -0.0]), "names": np.array(["a", "bc"])}
    store.save("k", arrays)
    found = store.load("k")
    assert found is not None
    assert {name: value.tobytes() for name, value in found.items()} == {
        name: value.tobytes() for name, value in arrays.items()
    }
    assert store.load("other") is None
