"""Ridge regression of many outputs at once, its penalty chosen on the latest rows.

One eigendecomposition of the rows before the validation rows answers for all
penalties: with ``K = X Xᵀ = V diag(v) Vᵀ`` (or the same of ``Xᵀ X`` where rows outnumber
columns) the weights are ``V diag(1 / (v + penalty)) Vᵀ …``. Penalties are not picked but
averaged, each by how near its validation loss comes to the best: forecasts then don't
jump when two penalties change places. All rows are then solved for that one penalty.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aicsched.forecast.models.features import Table

    Array = NDArray[np.float64]

__all__ = ["Regression", "learn"]

_PENALTIES: Final = np.logspace(-1, 5.5, 27)
# Few rows can't tell a good penalty from a lucky one: then weak ones are not tried.
_FEW_ROWS: Final = 90
_FEW_PENALTIES: Final = _PENALTIES[_PENALTIES > 500.0]
_HELD_ROWS: Final = 120
_SHARPNESS: Final = 50.0
_FEW_SHARPNESS: Final = 10.0
# How little rows of other seasons count, and how long a season is; flat around these on January to June 2021.
_OTHER_SEASONS: Final = 0.4
_SEASON_DAYS: Final = 45.0
_YEAR_DAYS: Final = 365.25
_AHEAD_DAYS: Final = 7.0
# Neighbouring days share their weather: only without both is a day's error what it would have been.
_BLOCK_ROWS: Final = 14
# How far beyond what was seen, in standard deviations, a column may go; and how far at all.
_SLACK: Final = 0.5
_FURTHEST: Final = 4.5


@dataclass(frozen=True, slots=True, eq=False)
class Regression:
    """Weights, and what they missed on rows they had not seen.

    Parameters
    ----------
    mean, scale : ndarray, shape (p,)
        What columns are standardised by.
    low, high : ndarray, shape (p,)
        What columns are held within: a column that hardly varied before would else carry
        a forecast to infinity the first time that it does.
    weights : ndarray, shape (p, outputs)
        On standardised columns.
    intercept : ndarray, shape (outputs,)
        Added to all.
    residuals : ndarray, shape (held, outputs)
        Target minus forecast on the validation rows, in order of time.
    left_out : ndarray, shape (n, outputs) or (0, outputs)
        What each row would have been missed by, had it and its neighbours not been
        learned from; none where it wasn't asked for.
    """

    mean: Array
    scale: Array
    low: Array
    high: Array
    weights: Array
    intercept: Array
    residuals: Array
    left_out: Array

    def __call__(self, features: Array) -> Array:
        """Return the outputs for rows of features.

        Parameters
        ----------
        features : ndarray, shape (n, p)
            Not standardised.

        Returns
        -------
        ndarray, shape (n, outputs)
            Forecasts.
        """
        held = np.clip(features, self.low, self.high)
        return (held - self.mean) / self.scale @ self.weights + self.intercept


@dataclass(frozen=True, slots=True, eq=False)
class _Path:
    """All ridge solutions of one data set, by the eigenvectors of its smaller Gram matrix."""

    centre: Array
    level: Array
    values: Array
    basis: Array  # columns to eigenvectors
    aims: Array  # eigenvectors to outputs
    penalties: Array

    @classmethod
    def of(cls, inputs: Array, targets: Array, counts: Array, penalties: Array) -> _Path:
        centre, level, rows, aims = _weighted(inputs, targets, counts)
        if len(rows) < rows.shape[1]:
            values, vectors = np.linalg.eigh(rows @ rows.T)
            return cls(centre, level, np.maximum(values, 0.0), rows.T @ vectors, vectors.T @ aims, penalties)
        values, vectors = np.linalg.eigh(rows.T @ rows)
        return cls(centre, level, np.maximum(values, 0.0), vectors, vectors.T @ (rows.T @ aims), penalties)

    def forecasts(self, inputs: Array) -> Array:
        """Return forecasts under every penalty, shape (penalties, n, outputs)."""
        turned = (inputs - self.centre) @ self.basis
        shrunk = turned / (self.values + self.penalties[:, None])[:, None, :]
        return shrunk @ self.aims + self.level


def learn(
    table: Table,
    targets: Array,
    *,
    outputs_a_group: int,
    gap: int,
    days: Array | None = None,
    leave_out: bool = False,
) -> Regression:
    """Learn from rows in order of time.

    Parameters
    ----------
    table : Table
        n rows; finite.
    targets : ndarray, shape (n, outputs)
        What they should give.
    outputs_a_group : int
        The penalty is chosen for each group of so many outputs (a lead day).
    gap : int
        So many rows before the validation rows are left out of what is validated,
        since their targets overlap with it.
    days : ndarray, shape (n,), optional
        When each row was [days]: rows of the season ahead then count more than those
        of other seasons. By default all count the same.
    leave_out : bool
        Find out too what rows are missed by when they are left out.

    Returns
    -------
    Regression
        Learned from all rows; its residuals are from the rows before them only.

    References
    ----------
    Hoerl and Kennard 1970, doi:10.1080/00401706.1970.10488634.
    """
    count = len(targets)
    held = min(_HELD_ROWS, max(3, count // 3))
    spread = table.values.std(axis=0)
    spread[spread < 1e-9] = 1.0  # a constant column carries nothing
    mean, scale = table.values.mean(axis=0), spread / table.emphasis
    low = np.maximum(mean - _FURTHEST * spread, table.values.min(axis=0) - _SLACK * spread)
    high = np.minimum(mean + _FURTHEST * spread, table.values.max(axis=0) + _SLACK * spread)
    inputs = (np.clip(table.values, low, high) - mean) / scale
    early = max(2, count - held - gap)
    many = count >= _FEW_ROWS
    penalties = _PENALTIES if many else _FEW_PENALTIES
    sharpness = _SHARPNESS if many else _FEW_SHARPNESS
    then = _counts(days, early, count - held // 2)
    path = _Path.of(inputs[:early], targets[:early], then, penalties)
    missed = targets[-held:] - path.forecasts(inputs[-held:])
    centre, level, rows, aims = _weighted(inputs, targets, _counts(days, count, count))
    weights, residuals = np.empty((inputs.shape[1], targets.shape[1])), np.empty((held, targets.shape[1]))
    left_out = np.empty_like(targets) if leave_out else np.empty((0, targets.shape[1]))
    for first in range(0, targets.shape[1], outputs_a_group):
        group = slice(first, first + outputs_a_group)
        shares = _shares((missed[:, :, group] ** 2).mean(axis=(1, 2)), sharpness)
        residuals[:, group] = np.tensordot(shares, missed[:, :, group], axes=1)
        penalty = float(np.exp(shares @ np.log(penalties)))
        weights[:, group] = _solved(rows, aims[:, group], penalty)
        if leave_out:
            left_out[:, group] = _left_out(rows, aims[:, group], penalty)
    if leave_out:
        left_out /= np.sqrt(_counts(days, count, count))[:, None]
    return Regression(mean, scale, low, high, weights, level - centre @ weights, residuals, left_out)


def _counts(days: Array | None, rows: int, ahead: int) -> Array:
    """Return how much each of the first rows counts for a forecast from row `ahead` on, 1 on average."""
    if days is None:
        return np.ones(rows)
    then = days[ahead] if ahead < len(days) else days[-1] + _AHEAD_DAYS
    apart = np.abs(days[:rows] - then) % _YEAR_DAYS
    apart = np.minimum(apart, _YEAR_DAYS - apart)
    counts = _OTHER_SEASONS + np.exp(-((apart / _SEASON_DAYS) ** 2))
    return counts / counts.mean()


def _weighted(inputs: Array, targets: Array, counts: Array) -> tuple[Array, Array, Array, Array]:
    """Return both means, and the departures from them times the root of how much each row counts."""
    centre, level = counts @ inputs / counts.sum(), counts @ targets / counts.sum()
    root = np.sqrt(counts)[:, None]
    return centre, level, (inputs - centre) * root, (targets - level) * root


def _solved(rows: Array, aims: Array, penalty: float) -> Array:
    """Return the ridge weights, by whichever Gram matrix is smaller."""
    count, columns = rows.shape
    if count < columns:
        return rows.T @ _solve(rows @ rows.T + penalty * np.eye(count), aims)
    return _solve(rows.T @ rows + penalty * np.eye(columns), rows.T @ aims)


def _solve(gram: Array, aims: Array) -> Array:
    return np.asarray(np.linalg.solve(gram, aims), dtype=np.float64)


def _left_out(rows: Array, aims: Array, penalty: float) -> Array:
    """Return what rows are missed by when learned without them, a block of days at a time.

    With the smoother ``H = rows (rowsᵀ rows + penalty I)⁻¹ rowsᵀ`` that is
    ``(I - H on the block)⁻¹`` times the block's residuals.
    """
    count, columns = rows.shape
    if count < columns:
        basis = _solve(rows @ rows.T + penalty * np.eye(count), rows).T  # columns by rows
    else:
        basis = _solve(rows.T @ rows + penalty * np.eye(columns), rows.T)
    residuals, missed = aims - rows @ (basis @ aims), np.empty_like(aims)
    for first in range(0, len(aims), _BLOCK_ROWS):
        block = slice(first, first + _BLOCK_ROWS)
        smoother = rows[block] @ basis[:, block]
        missed[block] = np.linalg.solve(np.eye(len(smoother)) - smoother, residuals[block])
    return missed


def _shares(losses: Array, sharpness: float) -> Array:
    """Return how much each penalty counts, by its loss over the best one's."""
    best = max(float(losses.min()), 1e-12)
    shares = np.exp(-sharpness * (losses / best - 1.0))
    return shares / shares.sum()
