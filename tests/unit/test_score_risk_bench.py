"""The figures of the risk's benchmark: reliability, rivals' moments and demand from jobs, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.score_risk import reliability
from benchmarks.score_risk_data import _busy
from benchmarks.score_risk_rivals import rolling


def test_calibrated_odds_are_found_reliable_and_bold_ones_are_not() -> None:
    rng = np.random.default_rng(0)
    risk = rng.random(200_000)
    broke = (rng.random(len(risk)) < risk).astype(float)
    block = np.arange(len(risk)) * 20 // len(risk)
    node = np.arange(len(risk)) % 50
    honest = [each for each in reliability(risk, broke, block, node) if each is not None]
    assert len(honest) == 10
    assert all(abs(each.excess) < 4 * each.error < 3 and each.known and each.holds for each in honest)
    bold = np.where(risk > 0.5, 0.5 + 0.5 * risk, 0.5 * risk)
    found = reliability(bold, broke, block, node)
    # Stated 0.05 on average for odds of 0.1, stated 0.95 for odds of 0.9.
    assert found[0] is not None
    assert found[9] is not None
    assert found[0].excess == pytest.approx(5, abs=1)
    assert found[9].excess == pytest.approx(-5, abs=1)
    assert not found[0].holds
    assert not found[9].holds
    assert found[5] is None


def test_errors_of_dependent_forecasts_are_wide() -> None:
    """All forecasts of a block share one outcome: what counts is the number of blocks."""
    came = np.array([1, 0] * 10, dtype=float)
    block = np.repeat(np.arange(20), 1000)
    alone = np.zeros(20_000, dtype=np.int64)
    found = reliability(np.full(20_000, 0.55), np.repeat(came, 1000), block, alone)[5]
    assert found is not None
    assert found.excess == pytest.approx(-5)
    assert found.error == pytest.approx(100 * 0.5 / np.sqrt(19), rel=0.01)
    # Nodes of which each has one outcome for all times tell no more than there are nodes.
    moments, fates = np.meshgrid(np.arange(20), np.arange(10), indexing="ij")
    broke = (fates % 2).ravel().astype(float)
    flat = reliability(np.full(200, 0.55), broke, moments.ravel(), fates.ravel())[5]
    assert flat is not None
    assert flat.error == pytest.approx(100 * 0.5 / np.sqrt(9), rel=0.03)


def test_rolling_moments_are_those_of_the_window() -> None:
    loads = np.array([[0.1, 0.4, np.nan, np.nan, np.nan, 0.5]])
    mean, spread = rolling(loads, 2)
    np.testing.assert_allclose(mean[0], [0.1, 0.25, 0.4, 0.4, 0.4, 0.5])
    np.testing.assert_allclose(spread[0, 1], np.std([0.1, 0.4], ddof=1))


def test_jobs_make_the_mean_use_of_each_slot() -> None:
    starts, lengths, sizes = np.array([0.5, 1.0, 2.25]), np.array([1.0, 2.0, 9.0]), np.array([2.0, 4.0, 1.0])
    busy = _busy(starts, lengths, sizes, 2, 4)
    np.testing.assert_allclose(busy, [[1.0, 1.0, 0.75, 1.0], [0.0, 4.0, 4.0, 0.0]])
