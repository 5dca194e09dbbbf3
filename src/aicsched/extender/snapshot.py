"""What answers are made from: one immutable snapshot, swapped as a whole.

A refresher builds a new `Snapshot` in the background and puts it into the
`SnapshotHolder`; a handler takes the current one once per request and does all
its work on that. Nothing is locked and nothing is half new.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache, partial
from itertools import repeat
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Protocol

import msgspec
import numpy as np

from aicsched.errors import ConfigError
from aicsched.extender.costs import FleetCosts
from aicsched.extender.levels import MAX_LEVEL, NEUTRAL_LEVEL, rank
from aicsched.extender.refusals import Refusals
from aicsched.extender.wire import encode_priorities

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from aicsched.extender.levels import Ranking
    from aicsched.extender.podrequest import PodRequest
    from aicsched.score.request import ScoreWeights

__all__ = ["NodeCosts", "Snapshot", "SnapshotHolder"]

_UNKNOWN: Final = -1
# Each row of the rendered table ends in four bytes for a level, the closing brace and the comma.
_TAILS: Final = np.frombuffer(b"".join(f"{at:2d}}},".encode() for at in range(MAX_LEVEL + 1)), np.uint32)
_TAIL_BYTES: Final = _TAILS.itemsize
# Replicas ask for the same.
_REMEMBERED: Final = 256


class NodeCosts(Protocol):
    """What a pod costs on each node of a snapshot."""

    def cost_g(self, request: PodRequest) -> NDArray[np.float64]:
        """Return grams per node, shape (nodes,); NaN where unknown."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Snapshot:
    """All that an answer is made from, at one moment.

    Parameters
    ----------
    names : tuple of str
        The nodes that can be scored, unique.
    costs : NodeCosts
        What a pod costs on each of them, in that order.
    issued_at_s : float
        When its newest inputs were true, seconds since the epoch.
    max_age_s : float
        Answers are neutral once it is older than this [s]; inf never.
    sources : mapping of str to float
        Per signal source when its newest value was true, seconds since the epoch.
    synthetic : bool
        True when an input was made up.
    neutral : bool
        Nothing is known that could tell nodes apart: all answers are neutral.

    Raises
    ------
    ConfigError
        A name appears twice.
    """

    names: tuple[str, ...]
    costs: NodeCosts
    issued_at_s: float
    max_age_s: float = float("inf")
    sources: Mapping[str, float] = field(default_factory=dict)
    synthetic: bool = False
    neutral: bool = False
    index: Mapping[str, int] = field(init=False, repr=False)
    rows: NDArray[np.uint8] = field(init=False, repr=False)
    _place: Callable[[str, int], int] = field(init=False, repr=False)
    _ranking: Callable[[PodRequest], Ranking] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        index = {name: place for place, name in enumerate(self.names)}
        if len(index) != len(self.names):
            twice = min(name for name in self.names if self.names.count(name) > 1)
            msg = f"node '{twice}' appears twice in a snapshot"
            raise ConfigError(msg, hint="node names are unique in a cluster", value=twice)
        object.__setattr__(self, "sources", MappingProxyType(dict(self.sources)))
        object.__setattr__(self, "index", MappingProxyType(index))
        # Thousands of look-ups a request: the proxy would double what each takes.
        object.__setattr__(self, "_place", index.get)
        object.__setattr__(self, "_ranking", lru_cache(_REMEMBERED)(partial(_rank, self.costs)))
        object.__setattr__(self, "rows", _render_rows(self.names))

    def locate(self, names: Sequence[str]) -> NDArray[np.int64]:
        """Find offered nodes.

        Parameters
        ----------
        names : sequence of str
            As offered.

        Returns
        -------
        ndarray of int64, shape (len(names),)
            Their places in `names`, -1 where the snapshot doesn't know one.
        """
        return np.fromiter(map(self._place, names, repeat(_UNKNOWN)), np.int64, len(names))

    def limits(self, namespace: str) -> ScoreWeights | None:
        """Return the policy whose limits filter nodes for pods of a namespace.

        Parameters
        ----------
        namespace : str
            Theirs.

        Returns
        -------
        ScoreWeights or None
            None where limits don't filter.
        """
        return self.costs.policies.limits(namespace) if isinstance(self.costs, FleetCosts) else None

    @property
    def hard_limits(self) -> bool:
        """Whether limits of policies filter nodes at all."""
        return isinstance(self.costs, FleetCosts) and self.costs.policies.hard_limits

    def refusals(self, request: PodRequest, *, stale: bool = False) -> Refusals | None:
        """Hold the nodes against a pod's hard constraints.

        Parameters
        ----------
        request : PodRequest
            What it asks for.
        stale : bool
            The snapshot is too old for its intensities to be held against a limit.

        Returns
        -------
        Refusals or None
            None where nothing is asked for.
        """
        return self.costs.refusals(request, stale=stale) if isinstance(self.costs, FleetCosts) else Refusals()

    def prioritize(self, names: Sequence[str], request: PodRequest) -> bytes:
        """Score offered nodes and write the answer.

        Parameters
        ----------
        names : sequence of str
            As offered; a node that was offered twice is answered once, since the
            scheduler would count it twice.
        request : PodRequest
            What the pod asks for.

        Returns
        -------
        bytes
            A list of HostPriority in JSON: known nodes by their cost among those
            offered, then the others at the neutral level.
        """
        places = self.locate(names)
        known = places[places >= 0]
        strangers = [] if known.size == places.size else [name for name in names if name not in self.index]
        known = _first_of_each(known, len(self.names))
        return _write(self.rows, known, self._ranking(request).levels(known), strangers)


def _rank(costs: NodeCosts, request: PodRequest) -> Ranking:
    return rank(np.asarray(costs.cost_g(request), dtype=np.float64))


def _first_of_each(places: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    if not (np.bincount(places, minlength=size) > 1).any():
        return places
    _, first = np.unique(places, return_index=True)
    return places[np.sort(first)]


def _write(
    rows: NDArray[np.uint8], places: NDArray[np.int64], levels: NDArray[np.int64], strangers: Sequence[str]
) -> bytes:
    picked = rows.take(places, axis=0)
    picked.view(np.uint32)[:, -1] = _TAILS.take(levels)
    body = picked.tobytes()
    if strangers:
        return b"[" + body + encode_priorities(dict.fromkeys(strangers, NEUTRAL_LEVEL))[1:]
    return b"[" + body[:-1] + b"]"


def _render_rows(names: Sequence[str]) -> NDArray[np.uint8]:
    # JSON allows spaces between tokens, so rows of one width are joined by one gather. The width is made of
    # whole words, so that a tail is written as one of them.
    heads = [b'{"Host":' + msgspec.json.encode(name) + b',"Score":' for name in names]
    longest = max(map(len, heads), default=0)
    width = -(-longest // _TAIL_BYTES) * _TAIL_BYTES + _TAIL_BYTES
    text = b"".join(head.ljust(width) for head in heads)
    rows = np.frombuffer(text, dtype=np.uint8).reshape(len(heads), width)
    rows.flags.writeable = False
    return rows


class SnapshotHolder:
    """Holds the current snapshot; replacing it is one assignment, so readers never wait.

    Parameters
    ----------
    snapshot : Snapshot, optional
        The first one; None until signals have arrived.
    """

    __slots__ = ("_current",)

    def __init__(self, snapshot: Snapshot | None = None) -> None:
        self._current = snapshot

    @property
    def current(self) -> Snapshot | None:
        """The newest snapshot: take it once a request."""
        return self._current

    def replace(self, snapshot: Snapshot) -> None:
        """Swap in a newer snapshot.

        Parameters
        ----------
        snapshot : Snapshot
            Complete; it is never changed afterwards.
        """
        self._current = snapshot
