"""``/livez``, ``/readyz?verbose`` and ``/metrics``: on the server's own port, or on one of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aicsched.extender.metrics import METRICS_CONTENT_TYPE
from aicsched.extender.routes import TEXT, Reply, Request, Route

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["OPEN_PATHS", "Probes"]

OPEN_PATHS: Final = frozenset({"/livez", "/readyz"})
"""Answered to anybody, since a kubelet has neither certificate nor token for its probes."""


class Probes:
    """Tells whether a server lives, is ready, and what it counted.

    Parameters
    ----------
    checks : callable
        Names what readiness depends on, and says which of it holds. Warm-up and draining
        are added here. Nothing belongs in it that comes and goes, as the age of signals
        does: a replica that answers neutral is better than none.
    render : callable
        Writes the metrics in Prometheus' text format.
    """

    def __init__(self, checks: Callable[[], Mapping[str, bool]], render: Callable[[], bytes]) -> None:
        self._checks = checks
        self._render = render
        self._warm = False
        self._draining = False

    def mark_warm(self) -> None:
        """Say that warm-up is done: readiness may turn true."""
        self._warm = True

    def start_draining(self) -> None:
        """Turn readiness off for good, while requests are still answered."""
        self._draining = True

    def checks(self) -> dict[str, bool]:
        """Tell what readiness depends on.

        Returns
        -------
        dict of str to bool
            The server's own checks, ``warm_up`` and ``not_draining``.
        """
        return {**self._checks(), "warm_up": self._warm, "not_draining": not self._draining}

    def routes(self) -> tuple[Route, ...]:
        """Give the routes of the probes.

        Returns
        -------
        tuple of Route
            For a `aicsched.extender.routes.RouteTable`.
        """
        return (
            Route(name="livez", method="GET", path="/livez", answer=lambda _: Reply(b"ok\n", kind=TEXT)),
            Route(name="readyz", method="GET", path="/readyz", answer=self._readyz),
            Route(name="metrics", method="GET", path="/metrics", answer=self._metrics),
        )

    def _readyz(self, request: Request) -> Reply:
        checks = self.checks()
        ready = all(checks.values())
        if ready and b"verbose" not in request.query:
            return Reply(b"ok\n", kind=TEXT)
        lines = [
            f"[{'+' if fine else '-'}]{name} {'ok' if fine else 'failed'}" for name, fine in checks.items()
        ]
        lines.append(f"readyz check {'passed' if ready else 'failed'}")
        return Reply(("\n".join(lines) + "\n").encode(), 200 if ready else 503, TEXT)

    def _metrics(self, request: Request) -> Reply:
        del request
        return Reply(self._render(), kind=METRICS_CONTENT_TYPE.encode())
