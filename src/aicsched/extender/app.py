"""The extender: its routes, its readiness, and what a defect is answered by.

To add a route, give it to `ExtenderApp` or to its ``routes.add``: see
`aicsched.extender.routes`. Reading, limits, counting and refusals come with it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import numpy as np

from aicsched.extender.api.explain import ExplainApi
from aicsched.extender.api.openapi import openapi_route
from aicsched.extender.api.score import ScoreApi
from aicsched.extender.handlers import Handlers
from aicsched.extender.levels import NEUTRAL_LEVEL
from aicsched.extender.limits import Limits
from aicsched.extender.metrics import ExtenderMetrics
from aicsched.extender.names import ALLOWED_REGIONS, MAX_INTENSITY
from aicsched.extender.probes import Probes
from aicsched.extender.refusals import Refusals
from aicsched.extender.routes import verb
from aicsched.extender.verbs.bind import BindVerb
from aicsched.extender.verbs.preempt import preempt as all_candidates
from aicsched.extender.web import RoutedApp
from aicsched.extender.wire import decode_args, encode_filter_result, encode_priorities, offered_names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from aicsched.extender.routes import Route
    from aicsched.extender.snapshot import SnapshotHolder
    from aicsched.fleet.kubernetes.bind import Binder

__all__ = ["ExtenderApp"]


_HARD: Final = (ALLOWED_REGIONS.encode(), MAX_INTENSITY.encode())


class ExtenderApp(RoutedApp):
    """Answers the scheduler's verbs under any prefix, other tools, and the probes.

    Parameters
    ----------
    holder : SnapshotHolder
        Gives the snapshot that answers are made from.
    metrics : ExtenderMetrics, optional
        Where answers are counted; new ones by default.
    limits : Limits
        What a client may cost.
    now_s : callable
        The clock: seconds since the epoch.
    binder : Binder, optional
        Binds pods; the verb bind is offered with it only.
    preempt : bool
        Whether the verb preempt is offered.
    routes : iterable of Route
        Further ones.
    checks : mapping of str to callable
        What readiness depends on besides the snapshot: see `Probes`.
    """

    def __init__(  # noqa: PLR0913 - one keyword per thing that may be offered
        self,
        holder: SnapshotHolder,
        *,
        metrics: ExtenderMetrics | None = None,
        limits: Limits | None = None,
        now_s: Callable[[], float] = time.time,
        binder: Binder | None = None,
        preempt: bool = False,
        routes: Iterable[Route] = (),
        checks: Mapping[str, Callable[[], bool]] | None = None,
    ) -> None:
        self.holder = holder
        self.metrics = metrics or ExtenderMetrics()
        self.now_s = now_s
        limits = limits or Limits()
        self.handlers = Handlers(holder, self.metrics, now_s, names_body_bytes=limits.names_body_bytes)
        self._more_checks = dict(checks or {})
        verbs = [
            verb("filter", self.handlers.filter, fallback=self._all_pass),
            verb("prioritize", self.handlers.prioritize, fallback=self._all_equal),
        ]
        if preempt:
            verbs.append(verb("preempt", self.handlers.preempt, fallback=all_candidates))
        if binder is not None:
            binding = BindVerb(binder=binder, count=self.metrics.bound)
            verbs.append(verb("bind", binding.answer, in_thread=True))
        api = (
            ScoreApi(holder=holder, unfit=self.handlers.unfit, now_s=now_s).route(),
            ExplainApi(explained=self.handlers.explained).route(),
            openapi_route(lambda: self.routes.names),
        )
        super().__init__(
            [*verbs, *api, *routes],
            probes=Probes(self._checks, lambda: self.metrics.render(self.holder.current, self.now_s())),
            answered=self.metrics.answered,
            limits=limits,
        )

    def _checks(self) -> dict[str, bool]:
        # A stale snapshot doesn't count: its answers are neutral.
        found = {"snapshot": self.holder.current is not None}
        return found | {name: check() for name, check in self._more_checks.items()}

    def warm_up(self) -> None:
        """Run the hot path once, then allow readiness."""
        self.handlers.warm_up()
        self.probes.mark_warm()

    def _all_pass(self, body: bytes) -> bytes:
        self.metrics.fell_back("fault")
        args = decode_args(body)
        names = offered_names(args)
        snapshot = self.holder.current
        # A limit that was asked for as hard holds whatever happens; anything else never stops a pod.
        if (snapshot is not None and snapshot.hard_limits) or any(text in bytes(args.pod) for text in _HARD):
            return encode_filter_result(args, names, *Refusals().told(names, np.full(len(names), -1)))
        return encode_filter_result(args)

    def _all_equal(self, body: bytes) -> bytes:
        self.metrics.fell_back("fault")
        return encode_priorities(dict.fromkeys(offered_names(decode_args(body)), NEUTRAL_LEVEL))
