from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from aicsched.extender.levels import levels_from_grams


def levels(*grams: Any) -> Any:
    return levels_from_grams(np.array(grams, dtype=float)).tolist()


def test_lowest_is_best_and_highest_is_worst() -> None:
    assert levels(30, 10, 20) == [0, 10, 5]


def test_an_outlier_does_not_put_the_rest_on_one_level() -> None:
    assert levels(1, 2, 3, 4, 5, 1e6) == [10, 9, 8, 7, 6, 0]


def test_a_near_tie_does_not_look_like_a_large_saving() -> None:
    # Rank alone would answer 10, 5, 0.
    assert levels(100, 101, 200) == [10, 7, 0]


def test_eleven_even_costs_use_eleven_levels() -> None:
    assert levels(*range(11)) == list(range(10, -1, -1))


@pytest.mark.parametrize("grams", [[7, 7, 7], [0, 0], [0], [42], [np.nan, np.nan], []])
def test_without_a_difference_all_are_neutral(grams: Any) -> None:
    assert levels(*grams) == [5] * len(grams)


def test_unknown_costs_are_neutral_and_do_not_move_the_others() -> None:
    assert levels(1, np.nan, 2, np.inf, -np.inf, 3) == [10, 5, 5, 5, 5, 0]


def test_float_noise_is_a_tie() -> None:
    assert levels(0.1 + 0.2, 0.3, 1.0) == [10, 10, 0]


def test_negative_costs_are_ordered_too() -> None:
    assert levels(-5, 0, 5) == [10, 5, 0]


def test_huge_and_tiny_costs_stay_in_range() -> None:
    assert levels(1e308, 0, -1e308) == [0, 5, 10]
    assert levels(5e-324, 0) == [0, 10]
