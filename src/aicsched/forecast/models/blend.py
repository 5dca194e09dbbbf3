"""The most accurate of ours: regressions of intensity and of its sources, and trees on what both miss.

Each part is used where there is what it needs: the sources with a mix, the trees with
weather and four months of history. Without both this is `LogRidge`, to the last bit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Self

import numpy as np

from aicsched.forecast.base import LEVELS
from aicsched.forecast.models.corrector import Corrector, slot_table
from aicsched.forecast.models.direct import SEGMENT_DAYS, profile
from aicsched.forecast.models.ridge import LogRidge
from aicsched.forecast.models.sources import SourceRidges

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from aicsched.domain.carbon import CarbonSeries
    from aicsched.forecast.base import Covariates
    from aicsched.forecast.models.direct import Past, Segment

    Array = NDArray[np.float64]
    Indices = NDArray[np.int64]

__all__ = ["LogBlend"]

# All chosen on January to June 2021; from a third to a half, the first weight hardly matters.
_SOURCES_SHARE: Final = 0.45
# The trees hardly help the first day, whose errors follow from the latest hours, and more from then on.
_TREES_SHARES: Final = (0.3, 0.6, 0.8, 0.8)


class LogBlend(LogRidge):
    """`LogRidge`, a forecast through the sources, and boosted trees, averaged in log space.

    Parameters
    ----------
    levels : sequence of float
        Quantile levels to forecast, rising.

    Attributes
    ----------
    sources_ : SourceRidges or None
        The forecast through the sources, where the mix explains intensity.

    Notes
    -----
    Weights are fixed: fitted ones were no better on January to June 2021. Averages of
    forecasts that err differently are hard to beat (Bates and Granger 1969,
    doi:10.1057/jors.1969.103). Holds one regression a lead day and source.

    Examples
    --------
    >>> from aicsched.testing import example_series
    >>> series = example_series()
    >>> LogBlend().fit(series).predict(series.slots.end_s, 24).model
    'blend'
    """

    name = "blend"
    _leaves_out = True

    def __init__(self, levels: Sequence[float] = LEVELS) -> None:
        super().__init__(levels)
        self.sources_: SourceRidges | None = None
        self._trees: dict[tuple[int, tuple[Segment, ...]], Corrector] = {}

    def fit(self, history: CarbonSeries, *, covariates: Covariates | None = None) -> Self:
        """Learn from a history.

        Parameters
        ----------
        history : CarbonSeries
            At least 21 days.
        covariates : Covariates, optional
            Weather forecasts of the zone as they were issued, and beside them its source mix.

        Returns
        -------
        LogBlend
            Itself. What it is made of is learned when it is first asked for.

        Raises
        ------
        TooLittleHistory, SignalGap, SlotError
            The history can't be used.
        """
        super().fit(history, covariates=covariates)
        self._trees, self.sources_ = {}, None
        assert self.history_ is not None  # noqa: S101 - told to the type checker: fit made it
        assert self.direct_ is not None  # noqa: S101
        past = self._past(self.history_)
        if past.outside is not None and past.outside.mix is not None:
            sources = SourceRidges(past, self.direct_.fit_end_s, long=self.direct_.long)
            self.sources_ = sources if sources.usable else None
        return self

    def _departures(self, past: Past, origin: int, rows: Indices, segment: Segment) -> Array:
        alone = super()._departures(past, origin, rows, segment)
        if not segment.weather:
            return alone
        direct = self._direct(past)
        made = alone
        if segment.mix and self.sources_ is not None:
            origins = past.rows_at(direct.learned(past, origin, segment).issue_s)
            through = self.sources_.departures(past, origin, rows, segment, origins=origins)
            made = (1.0 - _SOURCES_SHARE) * alone + _SOURCES_SHARE * through
        if direct.long and segment.first_day < SEGMENT_DAYS:
            trees = self._corrector(past, origin)
            added = trees(slot_table(past, rows, segment.first_day, alone)).reshape(alone.shape)
            made = made + _TREES_SHARES[segment.first_day] * added
        return made

    def _residuals(self, past: Past, origin: int, segment: Segment) -> Array:
        alone = super()._residuals(past, origin, segment)
        if not segment.mix or self.sources_ is None:
            return alone
        learned = self._direct(past).learned(past, origin, segment)
        through = self.sources_.residuals(past, origin, segment, learned)
        return (1.0 - _SOURCES_SHARE) * alone + _SOURCES_SHARE * through

    def _corrector(self, past: Past, origin: int) -> Corrector:
        """Return the trees for issue times at this time of day."""
        direct = self._direct(past)
        segments = tuple(direct.segment(past, origin, day) for day in range(SEGMENT_DAYS))
        segments = tuple(segment for segment in segments if segment.weather)
        key = (origin % past.history.per_day, segments)
        if key not in self._trees:
            tables: list[Array] = []
            missed: list[Array] = []
            for segment in segments:
                learned = direct.learned(past, origin, segment)
                rows = past.rows_at(learned.issue_s)
                known = rows >= direct.reach(past)
                rows, left_out = rows[known], learned.regression.left_out[known]
                index = rows[:, None] + past.history.per_day * segment.first_day
                index = index + np.arange(past.history.per_day)
                usual = profile(past.history, rows)
                foreseen = past.history.log_values[index] - usual - left_out
                tables.append(slot_table(past, rows, segment.first_day, foreseen))
                missed.append(left_out.ravel())
            self._trees[key] = Corrector(np.concatenate(tables), np.concatenate(missed))
        return self._trees[key]
