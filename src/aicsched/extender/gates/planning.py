"""Keeps plans up to date beside the releases, which never wait for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from aicsched.errors import AicschedError
from aicsched.extender.gates.planner import plan_starts
from aicsched.observe import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from aicsched.config.gates import GatesSettings
    from aicsched.extender.gates.controller import Controller
    from aicsched.extender.gates.metrics import GatesMetrics
    from aicsched.extender.gates.planner import Outlook, Plan
    from aicsched.extender.gates.waiting import Waiting
    from aicsched.signals.clock import Clock

__all__ = ["Makes", "Planning"]

_log = get_logger("gates")
_RETRY_S: Final = 30.0
# What couldn't be made anew for so long tells nothing about the present any more.
_OLD_S: Final = 3600.0


class Makes(Protocol):
    """Makes outlooks, as `aicsched.extender.gates.outlook.Outlooks` does."""

    def make(self, now_s: float) -> Outlook | None:
        """Foresee, or say that nothing can be foreseen."""
        ...


class Planning:
    """Plans what is new at once, and all of it now and then.

    Parameters
    ----------
    controller : Controller
        Knows what waits, and takes plans.
    outlooks : Makes
        What plans are made from.
    settings : GatesSettings
        How often.
    clock : Clock
        Ours.
    now_s : callable
        The later of our time and the API server's, seconds since the epoch.
    metrics : GatesMetrics
        Counts what fails and what moves.
    """

    def __init__(
        self,
        controller: Controller,
        outlooks: Makes,
        *,
        settings: GatesSettings,
        clock: Clock,
        now_s: Callable[[], float],
        metrics: GatesMetrics,
    ) -> None:
        self._controller = controller
        self._outlooks = outlooks
        self._settings = settings
        self._clock = clock
        self._now_s = now_s
        self._metrics = metrics
        self._outlook: Outlook | None = None
        self._read_s = -float("inf")
        self._planned_s = -float("inf")

    def forecast_age_s(self) -> float:
        """Tell how old what plans are made from is.

        Returns
        -------
        float
            Seconds; NaN where there is nothing.
        """
        outlook = self._outlook
        return float("nan") if outlook is None else self._now_s() - outlook.made_s

    def step(self) -> float:
        """Look at forecasts and plans.

        Returns
        -------
        float
            After how many seconds the next step is to come; sooner when there is new work.
        """
        outlook = self._current()
        if outlook is None:
            return min(_RETRY_S, self._settings.refresh_s)
        mono_s = self._clock.monotonic_s()
        again = mono_s - self._planned_s >= self._settings.replan_s
        works = self._controller.waiting(unplanned=not again)
        if again:
            self._planned_s = mono_s
        if works:
            self._metrics.replanned(self._controller.adopt(self._plans(works, outlook)))
        return min(self._settings.refresh_s, self._settings.replan_s)

    def _current(self) -> Outlook | None:
        mono_s, now_s = self._clock.monotonic_s(), self._now_s()
        fresh = self._outlook is not None and mono_s - self._read_s < self._settings.refresh_s
        tried = mono_s - self._read_s < min(_RETRY_S, self._settings.refresh_s)
        if not (fresh or tried):
            self._read_s = mono_s
            try:
                made = self._outlooks.make(now_s)
            except AicschedError as error:
                self._metrics.failed("outlook")
                _log.warning("nothing can be foreseen: %s", error)
                made = None
            if made is not None:
                self._outlook = made
            elif self._outlook is not None and now_s - self._outlook.made_s > _OLD_S:
                self._outlook = None
        return self._outlook

    def _plans(self, works: Sequence[Waiting], outlook: Outlook) -> Mapping[str, Plan]:
        standing = self._controller.standing()
        chosen = {work.uid for work in works}
        others = self._controller.plans(but=chosen)
        try:
            return self._planned(works, outlook, standing, others)
        except AicschedError as error:
            self._metrics.failed("plan")
            _log.warning("work is planned one by one: %s", error)
        made: dict[str, Plan] = {}
        for work in works:
            try:
                made |= self._planned([work], outlook, standing, others)
            except AicschedError as error:
                # It starts when it has waited long enough for a plan.
                _log.warning("%s %s can't be planned: %s", work.kind, work.subject, error)
        return made

    def _planned(
        self,
        works: Sequence[Waiting],
        outlook: Outlook,
        standing: Mapping[str, float],
        others: Sequence[Plan],
    ) -> dict[str, Plan]:
        return plan_starts(
            works,
            outlook,
            now_s=self._now_s(),
            settings=self._settings,
            standing=standing,
            others=others,
        )
