"""Thousands of series that are foreseen anew with each value.

For each series a small pool of experts is kept up to date, each with a state of
constant size: the latest value, a fast and a slow robust level, simple exponential
smoothing, a profile of the day, a profile of the week, and an autoregression by
recursive least squares with forgetting, which sees both profiles. At four anchor
leads each expert's past forecasts are held against what came; exponential weights
with a fixed share follow whoever errs least there. The forecast is the weighted
median of the pool, which is what absolute errors reward, between anchors by
weights straight in the logarithm of the lead. Quantile levels are tracked at the
anchors in units of the recent error. A CUSUM of what no slow level explains finds
lasting changes of level; the levels then begin anew, and half of the losses is forgotten.

**Time.** Steps divide a day, are at most six hours, and begin at multiples of their
length since the epoch. Time doesn't go backwards nor repeat. Steps that are left
out count as missing for all series.

**Missing values** are NaN: the series ages, its levels and weights stay, no forecast
is put aside from there, and whatever waited for that step is dropped unscored.

**Precision.** The state is float32: changes below a ten-millionth of the level are lost.
"""

from __future__ import annotations

import threading
from itertools import compress
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from aicsched.errors import ForecastError, NotFitted, SlotError
from aicsched.forecast.kernels.panel import PANEL_FORECAST, PANEL_UPDATE
from aicsched.forecast.kernels.panel import layout as at
from aicsched.forecast.panel import store
from aicsched.forecast.panel.checks import check_bounds, check_labels, check_rows, check_values
from aicsched.forecast.panel.forecast import PanelForecast
from aicsched.forecast.panel.geometry import MAX_HORIZON, Geometry
from aicsched.jit import over_rows
from aicsched.slots import SlotGrid, format_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import ArrayLike, NDArray

__all__ = ["UtilisationPanel"]

_COLD_SCORES: Final = 10
_STALE_STEPS: Final = 3
_GAP_CHUNK: Final = 64


class UtilisationPanel:
    """A panel of series with online forecasts and bands.

    Parameters
    ----------
    labels : iterable of str
        Names of the series, for example ``"node-7 cpu"``; more can be added later.
    step_s : int
        Seconds between values; divides a day and is at most 6 h.
    horizon : int
        Furthest lead at which forecasts are scored [steps]; further ones can be asked
        for, and are as wide as at this lead.
    levels : sequence of float
        Quantile levels to track. Others between them can be asked for.
    lower, upper : float or array_like
        Bounds of all series, or of each; forecasts and bands are held within.

    Raises
    ------
    SlotError
        The step is no equal part of a day.
    ForecastError
        Labels, levels, horizon or bounds can't be used.

    Notes
    -----
    With the defaults a series takes 2 KB. A call for thousands of series starts to
    compile the kernels in the background and answers through numpy until they are
    ready, with the same numbers; `aicsched.jit.warmup` does so at a time of your choice.
    One thread at a time works on a panel; others wait.

    References
    ----------
    Herbster and Warmuth 1998, fixed share, doi:10.1023/A:1007424614876. Gibbs and
    Candès 2021, adaptive conformal inference, arXiv:2106.00170. Page 1954, CUSUM,
    doi:10.1093/biomet/41.1-2.100.

    Examples
    --------
    >>> import numpy as np
    >>> panel = UtilisationPanel(["node-1 cpu", "node-2 cpu"], step_s=300, horizon=12, lower=0, upper=1)
    >>> past = 0.5 + 0.1 * np.random.default_rng(0).normal(size=(2, 500))
    >>> panel.update(past, time_s=1_767_225_600)
    >>> made = panel.forecast(levels=(0.1, 0.9))
    >>> made.median.shape, made.quantiles.shape
    ((2, 12), (2, 2, 12))
    >>> bool((made.quantiles[0] <= made.median).all()), made.points.tolist()
    (True, [500, 500])
    """

    def __init__(
        self,
        labels: Iterable[str] = (),
        *,
        step_s: int = 60,
        horizon: int = 60,
        levels: Sequence[float] = (0.1, 0.5, 0.9),
        lower: ArrayLike = -np.inf,
        upper: ArrayLike = np.inf,
    ) -> None:
        self._geometry = Geometry(int(step_s), int(horizon), tuple(float(level) for level in levels))
        self._lock = threading.RLock()
        self._labels: tuple[str, ...] = ()
        self._rows: dict[str, int] = {}
        self._state = np.empty((0, self._geometry.places), dtype=np.float32)
        self._bounds = np.empty((0, 2))
        self._next: int | None = None
        self.add(labels, lower=lower, upper=upper)

    def __len__(self) -> int:
        return len(self._labels)

    def __repr__(self) -> str:
        then = "nothing yet" if self._next is None else f"up to {format_time(self.time_s)}"
        return f"UtilisationPanel({len(self)} series of {self.step_s} s, {then})"

    @property
    def labels(self) -> tuple[str, ...]:
        """The series, in the order of rows."""
        return self._labels

    @property
    def step_s(self) -> int:
        """Seconds between values."""
        return self._geometry.step_s

    @property
    def horizon(self) -> int:
        """Furthest lead at which forecasts are scored [steps]."""
        return self._geometry.horizon

    @property
    def levels(self) -> tuple[float, ...]:
        """Quantile levels that are tracked."""
        return self._geometry.levels

    @property
    def time_s(self) -> int:
        """Where the next step begins: the time that forecasts are issued at.

        Raises
        ------
        NotFitted
            Before the first update.
        """
        if self._next is None:
            msg = "the panel has seen no time yet"
            raise NotFitted(msg, hint="call update(values, time_s=...) first")
        return self._next * self.step_s

    @property
    def bytes_per_series(self) -> int:
        """What one series takes, without its label."""
        return self._state.itemsize * self._geometry.places + self._bounds.itemsize * 2

    def add(self, labels: Iterable[str], *, lower: ArrayLike = -np.inf, upper: ArrayLike = np.inf) -> None:
        """Add series; they begin with nothing seen.

        Parameters
        ----------
        labels : iterable of str
            Their names, none of them known yet.
        lower, upper : float or array_like
            Bounds of all of them, or of each.

        Raises
        ------
        ForecastError
            A label is empty, known already or given twice, or bounds are the wrong way round.
        """
        with self._lock:
            new = check_labels(labels, self._rows)
            bounds = check_bounds(new, lower, upper)
            fresh = np.repeat(self._geometry.fresh[None], len(new), axis=0)
            self._state = np.concatenate([self._state, fresh])
            self._bounds = np.concatenate([self._bounds, bounds])
            self._name((*self._labels, *new))

    def drop(self, labels: Iterable[str]) -> None:
        """Drop series; the others keep their order.

        Parameters
        ----------
        labels : iterable of str
            Their names.

        Raises
        ------
        ForecastError
            A label is not known.
        """
        with self._lock:
            kept = np.ones(len(self), dtype=np.bool_)
            kept[check_rows(labels, self._rows)] = False
            self._state = np.ascontiguousarray(self._state[kept])
            self._bounds = np.ascontiguousarray(self._bounds[kept])
            self._name(tuple(compress(self._labels, kept.tolist())))

    def _name(self, labels: tuple[str, ...]) -> None:
        self._labels = labels
        self._rows = {label: row for row, label in enumerate(labels)}

    def update(self, values: ArrayLike, *, time_s: int | None = None) -> None:
        """Take the values of one step or of several, oldest first.

        Parameters
        ----------
        values : array_like, shape (n,) or (n, k)
            One a series in the order of `labels`, of k steps; NaN is missing.
        time_s : int, optional
            Start of the first of these steps, seconds since the epoch (default: the
            next one). Later than `time_s`, it leaves steps out, which count as missing.

        Raises
        ------
        ForecastError
            The shape is wrong or a value is infinite or absurd; nothing was taken then.
        SlotError
            The time is off the grid, or not behind what is known; nothing was taken then.
        """
        with self._lock:
            taken = check_values(values, self._labels)
            first = self._index(time_s)
            if self._next is not None:
                self._skip(first - self._next)
            self._run(taken, first)
            self._next = first + taken.shape[1]

    def _index(self, time_s: int | None) -> int:
        """Return the index of the step at a time, or say why there can't be one."""
        if time_s is None:
            return self.time_s // self.step_s
        first, rest = divmod(int(time_s), self.step_s)
        if rest:
            msg = f"{format_time(time_s)} is no start of a step of {self.step_s} s"
            hint = "round times down to the step, or make the panel with the series' own step"
            raise SlotError(msg, hint=hint, value=time_s)
        if self._next is not None and first < self._next:
            msg = f"{format_time(time_s)} is known already: the panel expects {format_time(self.time_s)}"
            raise SlotError(msg, hint="give each step once, oldest first", value=time_s)
        return first

    def _skip(self, steps: int) -> None:
        """Let all series age over steps that were left out."""
        assert self._next is not None  # noqa: S101 - for the type checker
        # Once nothing waits any more, only counts go on.
        told = min(steps, 2 * int(self._geometry.anchors[-1, at.LEAD]) + at.ORDER)
        for begin in range(0, told, _GAP_CHUNK):
            count = min(_GAP_CHUNK, told - begin)
            self._run(np.full((len(self), count), np.nan), self._next + begin)
        seen = self._state[:, at.SEEN] > 0
        for place in (at.AGE, at.MISSED, at.SINCE):
            grown = np.minimum(self._state[:, place].astype(np.float64) + (steps - told), at.MANY)
            self._state[:, place] = np.where(seen, grown, self._state[:, place])

    def _run(self, values: NDArray[np.float64], first: int) -> None:
        geometry = self._geometry
        rest = (first, geometry.sizes, geometry.anchors, geometry.tracked)
        run = PANEL_UPDATE.form(self._state, values, *rest)
        over_rows(lambda low, high: run(self._state[low:high], values[low:high], *rest), len(self))

    def forecast(self, horizon: int | None = None, *, levels: Sequence[float] | None = None) -> PanelForecast:
        """Foresee all series from the step after the latest.

        Parameters
        ----------
        horizon : int, optional
            How many steps (default: the panel's).
        levels : sequence of float, optional
            Quantile levels, each 0.5 or within those of the panel (default: the panel's).

        Returns
        -------
        PanelForecast
            Median and quantiles of all series and steps, and the series' states.

        Raises
        ------
        NotFitted
            Before the first update.
        ForecastError
            The horizon or a level is out of range.
        """
        with self._lock:
            steps = self.horizon if horizon is None else int(horizon)
            if not 1 <= steps <= MAX_HORIZON:
                msg = f"a horizon of {steps} steps is out of range"
                raise ForecastError(msg, hint=f"ask for 1 to {MAX_HORIZON}", value=steps)
            wanted = self.levels if levels is None else tuple(float(level) for level in levels)
            slots = SlotGrid(self.time_s, self.step_s, steps)
            geometry = self._geometry
            rest = (geometry.sizes, geometry.anchors, geometry.positions(steps), geometry.mixes(wanted))
            median = np.empty((len(self), steps), dtype=np.float32)
            bands = np.empty((len(self), len(wanted), steps), dtype=np.float32)
            time = self.time_s // self.step_s
            run = PANEL_FORECAST.form(self._state, time, *rest, self._bounds, median, bands)

            def task(low: int, high: int) -> None:
                rows = slice(low, high)
                run(self._state[rows], time, *rest, self._bounds[rows], median[rows], bands[rows])

            over_rows(task, len(self))
            return self._result(slots, median, wanted, bands)

    def _result(
        self,
        slots: SlotGrid,
        median: NDArray[np.float32],
        levels: tuple[float, ...],
        bands: NDArray[np.float32],
    ) -> PanelForecast:
        state = self._state
        scored = int(self._geometry.anchors[-1, at.BLOCK]) + at.SCORED
        return PanelForecast(
            labels=self._labels,
            slots=slots,
            median=median,
            levels=levels,
            quantiles=bands.transpose(1, 0, 2),
            points=state[:, at.SEEN].astype(np.int64),
            missing=state[:, at.MISSED].astype(np.int64),
            age_steps=state[:, at.AGE].astype(np.int64),
            cold=state[:, scored] < _COLD_SCORES,
            stale=state[:, at.AGE] >= _STALE_STEPS,
            changed=(state[:, at.SEEN] > 0) & (state[:, at.SINCE] < self.horizon),
        )

    def save(self, path: Path | str) -> Path:
        """Write the panel to a file, whole or not at all.

        Parameters
        ----------
        path : path
            Where; what is there is replaced.

        Returns
        -------
        Path
            The same.

        Raises
        ------
        OutputError
            It can't be written; what stood there before still stands.
        """
        with self._lock:
            saved = store.Saved(self._geometry, self._labels, self._state, self._bounds, self._next)
            return store.write(path, saved)

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read a panel from a file; it goes on as if it had never been away.

        Parameters
        ----------
        path : path
            What `save` wrote.

        Returns
        -------
        UtilisationPanel
            With the same forecasts, to the last bit.

        Raises
        ------
        SourceUnavailable
            The file can't be read.
        InputError
            It is no panel, is cut or changed, or comes from another version.
        """
        saved = store.read(path)
        made = cls(step_s=saved.geometry.step_s, horizon=saved.geometry.horizon, levels=saved.geometry.levels)
        made._state, made._bounds, made._next = saved.state, saved.bounds, saved.next_step
        made._name(saved.labels)
        return made
