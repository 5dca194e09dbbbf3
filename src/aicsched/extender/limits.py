"""What a client may cost the extender."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds on requests; the defaults fit 5,000 full nodes (53 MiB) once over.

    Parameters
    ----------
    body_bytes : int
        Largest body, with whole nodes.
    names_body_bytes : int
        Largest body by name.
    buffered_bytes : int
        Bodies being read, together.
    requests : int
        Scoring requests at a time; the next gets 503.
    read_s : float
        A body must be complete within this time [s].
    header_bytes : int
        Request line and headers together.
    idle_s : float
        A kept-alive connection may rest this long [s]; longer than the 90 s after which
        Go's client drops it, so that the scheduler never writes into a closing connection.
    drain_s : float
        Once no more connections are taken, requests under way get this long [s].
    settle_s : float
        After SIGTERM requests are served on for this long [s], while readiness is off, so
        that a Service forgets the address first: 5 in a cluster, where there is one.
    connections : int
        Open ones at a time; the next is closed at once.
    pipelined : int
        Requests that one connection may send ahead of their answers.
    write_s : float
        A client must take its answer within this time [s].
    answer_s : float
        An answer that waits for something (bind, for the API server) gets this long [s].
    """

    body_bytes: int = 64 * 2**20
    names_body_bytes: int = 8 * 2**20
    buffered_bytes: int = 128 * 2**20
    requests: int = 64
    read_s: float = 2.0
    header_bytes: int = 16 * 2**10
    idle_s: int = 120
    drain_s: float = 5.0
    settle_s: float = 0.0
    connections: int = 512
    pipelined: int = 16
    write_s: float = 10.0
    answer_s: float = 10.0
