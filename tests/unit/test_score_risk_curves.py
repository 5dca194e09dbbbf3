"""Risk curves: a table that says what the direct computation says."""

from __future__ import annotations

import numpy as np
import pytest

from aicsched.errors import InputError
from aicsched.score.risk.curves import RiskCurves, curves_of
from aicsched.score.slo_risk import breach_risk
from aicsched.score.utilisation import Utilisation


def utilisation(count: int = 50) -> Utilisation:
    rng = np.random.default_rng(3)
    return Utilisation(
        mean_share=rng.uniform(0.05, 0.9, count),
        sd_share=rng.uniform(0.05, 0.3, count),
        coverage_share=rng.choice([0.0, 0.5, 1.0], count),
    )


def test_the_table_is_the_direct_computation() -> None:
    used, limit = utilisation(), np.full(50, 0.8)
    curves = curves_of(used, limit)
    for extra in (0.0, 0.02, 0.25, 1.0):
        direct = breach_risk(
            used.mean_share, used.sd_share, used.coverage_share, np.full(50, extra), limit_share=limit
        )
        np.testing.assert_allclose(curves.at(extra), direct, atol=1e-12)
    between = breach_risk(
        used.mean_share, used.sd_share, used.coverage_share, np.full(50, 0.2031), limit_share=limit
    )
    np.testing.assert_allclose(curves.at(0.2031), between, atol=0.01)


def test_loads_broadcast_over_pods_and_nodes_and_stop_at_a_full_node() -> None:
    curves = curves_of(utilisation(), np.full(50, 0.8))
    pods = np.array([0.0, 0.1, 1.0, 3.0])[:, None] * np.ones(50)
    table = curves.at(pods)
    assert table.shape == (4, 50)
    assert (np.diff(table, axis=0) >= 0).all()
    np.testing.assert_array_equal(table[2], table[3])
    np.testing.assert_array_equal(table[1], curves.at(0.1))


def test_no_nodes_make_an_empty_table() -> None:
    assert curves_of(Utilisation.unknown(0), np.empty(0)).at(0.5).shape == (0,)


@pytest.mark.parametrize(
    ("grid", "risk", "says"),
    [
        ([0.0, 1.0], [[0.0, 0.5, 1.0]], "shape"),
        ([0.0, 0.9], [[0.0, 0.5]], "equally spaced"),
        ([0.0, 1.0], [[0.5, 0.2]], "falls"),
        ([0.0, 1.0], [[0.5, np.nan]], "falls"),
        ([0.0, 1.0], [[-0.1, 0.2]], "leaves"),
    ],
)
def test_what_is_no_curve_is_refused(grid: list[float], risk: list[list[float]], says: str) -> None:
    with pytest.raises(InputError, match=says):
        RiskCurves(extra_share=np.array(grid), risk=np.array(risk))
