"""Pause and resume by thresholds that are optimal against the worst prices, without any forecast.

References
----------
Lechowicz et al., "The Online Pause and Resume Problem", SIGMETRICS'24, arXiv:2303.17551.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from aicsched.errors import ConfigError
from aicsched.place.online.protocol import Action, ActionKind
from aicsched.slots import HOUR_S

if TYPE_CHECKING:
    from aicsched.place.online.view import OracleView

__all__ = ["OprDoubleThreshold", "opr_thresholds"]

INSTANT_S = 1e-6
HALVINGS = 200


def _last(
    alpha: float, units: int, low: float, high: float, switch: float
) -> tuple[float, tuple[float, ...]]:
    """Return how far the threshold after the last unit is above the lowest price, and those of the units."""
    paid, made = 0.0, []
    for unit in range(units + 1):
        # What was paid, and all the rest at the highest price, is alpha times the optimum at this one.
        limit = ((paid + (units - unit) * high + 2 * switch) / alpha - 2 * switch) / units
        made.append(limit)
        paid += limit + 2 * switch
    return made[-1] - low, tuple(made[:-1])


@lru_cache(maxsize=4096)
def opr_thresholds(units: int, low: float, high: float, switch: float) -> tuple[float, tuple[float, ...]]:
    """Return the competitive ratio, and below which price each unit of work is begun.

    Parameters
    ----------
    units : int
        How many slots of work.
    low, high : float
        Bounds of the prices, above 0.
    switch : float
        Cost of each switch on or off, in prices times slots.

    Returns
    -------
    tuple of float, tuple of float
        The ratio, and the thresholds, which fall: the more is done, the more choosy. A unit that follows
        a running one is taken at up to two switches more.

    Notes
    -----
    The thresholds solve the paper's balance: after each unit, what was paid and the rest
    at the highest price are the ratio times what the optimum pays if the price falls no
    lower than the next threshold. Where two switches cost more than prices vary, work
    starts at once and never stops.

    Examples
    --------
    >>> ratio, limits = opr_thresholds(1, 100.0, 400.0, 0.0)
    >>> round(ratio, 6), limits[0]
    (2.0, 200.0)
    """
    if high - low <= 2 * switch or high - low <= INSTANT_S:
        return high / low, (high,) * units
    least, most = 1.0, high / low * (1 + units)
    for _ in range(HALVINGS):
        middle = (least + most) / 2
        gap, _ = _last(middle, units, low, high, switch)
        least, most = (middle, most) if gap > 0 else (least, middle)
    return most, _last(most, units, low, high, switch)[1]


class OprDoubleThreshold:
    """Run a slot if its price is below the threshold of the next unit of work, a higher one while running.

    Only the current price and bounds of all prices are used, and the amount of work,
    which must be known. A job that would otherwise be late runs.

    Parameters
    ----------
    switch_h : float
        What stopping or starting costs, as hours of running at the lowest price.
    low_g_per_kwh, high_g_per_kwh : float, optional
        Bounds of the intensity; by default those of the forecast for the next two days, and nothing
        else of it is used.

    Raises
    ------
    ConfigError
        The bounds are no interval above 0, or switches cost less than nothing.
    """

    name: ClassVar[str] = "opr_double_threshold"
    oracle: ClassVar[bool] = True
    lengths: ClassVar[str] = "true"
    rolling: ClassVar[bool] = True

    def __init__(
        self,
        switch_h: float = 0.05,
        low_g_per_kwh: float | None = None,
        high_g_per_kwh: float | None = None,
    ) -> None:
        low = low_g_per_kwh if low_g_per_kwh is not None else 1.0
        high = high_g_per_kwh if high_g_per_kwh is not None else np.inf
        if not 0 < low < high or not switch_h >= 0:
            msg = f"bounds of {low:g} and {high:g} g/kWh with switches of {switch_h:g} h make no thresholds"
            raise ConfigError(msg, hint="give 0 < low < high, and switches of 0 h or more", value=low)
        self.switch_h = switch_h
        self.low, self.high = low_g_per_kwh, high_g_per_kwh

    def decide(self, view: OracleView, now_s: float) -> list[Action]:
        """Start, go on, suspend or resume, job by job.

        Parameters
        ----------
        view : OracleView
            With what each job has still to do.
        now_s : float
            The time of the view [s].

        Returns
        -------
        list of Action
            Only what changes.
        """
        known = view.known
        look, waiting, running = known.outlook, known.waiting, known.running
        slot = min(int((now_s - look.start_s + INSTANT_S) / look.step_s), len(look.g_per_kwh) - 1)
        price = float(look.g_per_kwh[slot])
        # Who is not run now is decided on again at the next slot.
        next_s = now_s + look.step_s - (now_s - look.start_s) % look.step_s
        span = look.g_per_kwh[slot : slot + max(1, round(48 * HOUR_S / look.step_s))]
        low = max(self.low or float(span.min()), 1e-3)
        high = max(self.high or float(span.max()), low)
        made: list[Action] = []
        for group, left, done in (
            (waiting, view.length_s, np.zeros(len(waiting))),
            (running, view.left_s, known.done_s),
        ):
            for row in range(len(group)):
                units = max(1, int(np.ceil((left[row] + done[row]) / look.step_s - INSTANT_S)))
                active = group is running and bool(known.active[row])
                switch = self.switch_h * low * HOUR_S / look.step_s
                _, limits = opr_thresholds(units, low, high, switch)
                limit = limits[min(int(done[row] / look.step_s + INSTANT_S), units - 1)]
                due_s = float(group.arrival_s[row] + left[row] + done[row] + group.max_wait_s[row])
                must = next_s + left[row] > due_s + INSTANT_S
                runs = must or price <= limit + (2 * switch if active else 0.0)
                job = int(group.job[row])
                if runs and not active:
                    kind = ActionKind.START if group is waiting else ActionKind.RESUME
                    made.append(Action(kind=kind, job=job, at_s=now_s))
                elif active and not runs:
                    made.append(Action(kind=ActionKind.SUSPEND, job=job, at_s=now_s))
        return made
