"""Placements into the ledger: what each bound pod is expected to emit, and what chance would have.

The watch tells that a pod was bound; which scheduler chose, and with which weight, it
doesn't tell. The counterfactual is therefore the mean over the nodes that could have
taken the pod: what a choice that doesn't look at carbon emits on average. A pod is booked
once, by its UID, whoever of several replicas books it first.
"""

from __future__ import annotations

import hashlib
import queue
import threading
import time
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from aicsched.account.ledger import Ledger
from aicsched.domain.decision import Decision
from aicsched.errors import AicschedError, LedgerConflict
from aicsched.extender.costs import FleetCosts
from aicsched.extender.names import EXPECTED_DURATION, POLICY
from aicsched.extender.podrequest import DEFAULT_VCPUS, PodRequest, owner_of
from aicsched.fleet.kubernetes.objects import Amount
from aicsched.observe import get_logger
from aicsched.slots import HOUR_S, format_time
from aicsched.units import parse_duration_s

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from aicsched.extender.snapshot import Snapshot, SnapshotHolder
    from aicsched.fleet.kubernetes.cluster import Cluster
    from aicsched.fleet.kubernetes.objects import PodFacts

    Array = NDArray[np.float64]

__all__ = ["OUTCOMES", "Booker", "Room", "decision_of"]

_log = get_logger("extender.live")
OUTCOMES: Final = ("booked", "already", "unknown", "dropped")
"""What comes of a placement: written, written before, not written since its grid is unknown, or lost."""
# Pods that were bound this long before they were first heard of are of an earlier time.
_REACH_S: Final = 900.0
_WAITING: Final = 100_000
_BATCH: Final = 256
_RETRY_S: Final = (0.5, 30.0)
# Nobody chose these: they run on each node, or are the node's own.
_EVERYWHERE: Final = frozenset({"DaemonSet", "Node"})


def _request_of(pod: PodFacts) -> PodRequest:
    said = pod.annotations.get(EXPECTED_DURATION)
    try:
        duration_s = parse_duration_s(said) if said else 0.0
    except AicschedError:
        duration_s = 0.0
    plain = PodRequest(
        vcpus=pod.request.vcpus or DEFAULT_VCPUS,
        memory_gib=pod.request.memory_gib,
        namespace=pod.namespace,
        owner=owner_of(pod.owner, pod.owner_name, pod.labels),
        policy=pod.annotations.get(POLICY, ""),
    )
    if not duration_s > 0:
        return plain
    return PodRequest(
        vcpus=plain.vcpus,
        memory_gib=plain.memory_gib,
        namespace=plain.namespace,
        owner=plain.owner,
        policy=plain.policy,
        duration_s=duration_s,
        duration_said=True,
    )


class Room(NamedTuple):
    """What is free on each node.

    Parameters
    ----------
    vcpus, memory_gib : ndarray, shape (n,)
        Allocatable less what is requested; nothing on a node that takes no pods.
    """

    vcpus: Array
    memory_gib: Array

    @classmethod
    def of(cls, cluster: Cluster, names: Sequence[str]) -> Room:
        """Read the room of nodes.

        Parameters
        ----------
        cluster : Cluster
            Nodes and pods.
        names : sequence of str
            Nodes, in the order of the result.

        Returns
        -------
        Room
            None on nodes that the cluster doesn't have.
        """
        free = {node.name: cluster.free(node) for node in cluster.nodes}
        told = [free.get(name, Amount()) for name in names]
        return cls(np.array([each.vcpus for each in told]), np.array([each.memory_gib for each in told]))


def decision_of(pod: PodFacts, snapshot: Snapshot, room: Room, *, now_s: float) -> Decision | None:
    """Turn a bound pod into a decision.

    Parameters
    ----------
    pod : PodFacts
        Bound to a node.
    snapshot : Snapshot
        What is known of nodes and grids.
    room : Room
        What is free on its nodes.
    now_s : float
        Seconds since the epoch; it counts where the pod doesn't tell when it was bound.

    Returns
    -------
    Decision or None
        None where the intensity on the node's grid isn't known.
    """
    costs = snapshot.costs
    place = snapshot.index.get(pod.node)
    if not isinstance(costs, FleetCosts) or place is None:
        return None
    request = _request_of(pod)
    duration_s = costs.life(request).duration_s
    met = costs.g_per_kwh(duration_s)
    if np.isnan(met[place]):
        return None
    terms = costs.terms(request)
    operational_g: Array = terms.grams["operational"][1] + terms.grams["idle_share"][1]
    others = (room.vcpus >= pod.request.vcpus) & (room.memory_gib >= pod.request.memory_gib) & ~np.isnan(met)
    others[place] = True
    start_s = int(pod.bound_s if pod.bound_s == pod.bound_s else now_s)
    forecast = costs.forecasts[costs.fleet.region(costs.fleet.nodes[place].region).grid_zone]
    own_g, mean_g = float(operational_g[place]), float(operational_g[others].mean())
    embodied_g = float(costs.embodied_g_per_vcpu_h[place]) * request.vcpus * duration_s / HOUR_S
    # What keeps an empty machine on is energy too: grams over the intensity they were made of.
    energy_kwh = own_g / float(met[place]) if met[place] > 0 else float(terms.energy_kwh[1, place])
    best = int(np.flatnonzero(others)[np.argmin(operational_g[others])])
    reason = (
        f"bound to {pod.node}: {own_g:.3g} g expected, {mean_g:.3g} g on the mean of {int(others.sum())} "
        f"nodes that could take it, {float(operational_g[best]):.3g} g on the best ({snapshot.names[best]})"
    )
    issued = format_time(forecast.issue_time_s)
    used = f"{forecast.grid_zone}: {forecast.source}, forecast by {forecast.model} at {issued}"
    return Decision(
        decision_id=hashlib.sha256(f"aicsched/bound/{pod.uid}".encode()).hexdigest(),
        decided_at_s=start_s,
        kind="place",
        subject=f"pod/{pod.namespace}/{pod.name}",
        region=costs.fleet.nodes[place].region,
        start_s=start_s,
        end_s=start_s + round(duration_s),
        energy_kwh=energy_kwh,
        operational_g=own_g,
        embodied_g=embodied_g,
        counterfactual_g=mean_g,
        intensity_kind=str(forecast.kind),
        policy=costs.policies.choose(request.namespace, request.policy).name,
        reason=reason,
        inputs=(used, f"snapshot at {format_time(int(snapshot.issued_at_s))}"),
        synthetic=snapshot.synthetic,
    )


class Booker:
    """Books bound pods, in a thread of its own.

    Parameters
    ----------
    holder : SnapshotHolder
        Gives the snapshot.
    path : Path
        Of the ledger.
    now_s : callable
        Seconds since the epoch.
    cluster : callable
        Gives the cluster as it is now.
    counted : callable
        Told an outcome, and for one that is booked its grams and those of the counterfactual.
    """

    def __init__(
        self,
        holder: SnapshotHolder,
        path: Path,
        *,
        now_s: Callable[[], float],
        cluster: Callable[[], Cluster],
        counted: Callable[[str, float, float], None],
    ) -> None:
        self._holder = holder
        self._path = path
        self._now_s = now_s
        self._cluster = cluster
        self._room: tuple[Snapshot, Room] | None = None
        self._counted = counted
        self._since_s = now_s() - _REACH_S
        self._waiting: queue.Queue[PodFacts] = queue.Queue(_WAITING)
        self._ready: list[Decision] = []
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        # Made here, so that a path that can't be written stops the start and not a thread.
        Ledger(path).close()

    def bound(self, pod: PodFacts) -> None:
        """Take note of a pod that was bound; returns at once.

        Parameters
        ----------
        pod : PodFacts
            With its node.
        """
        if pod.owner in _EVERYWHERE or not pod.uid or pod.bound_s < self._since_s:
            return
        try:
            self._waiting.put_nowait(pod)
        except queue.Full:
            self._counted("dropped", 0.0, 0.0)

    def start(self) -> None:
        """Begin, in a thread of its own."""
        self._thread = threading.Thread(target=self._run, name="aicsched-booking", daemon=True)
        self._thread.start()

    def stop(self, within_s: float = 10.0) -> None:
        """End, after what was noted is booked.

        Parameters
        ----------
        within_s : float
            How long at most [s].
        """
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(within_s)

    def _run(self) -> None:
        wait_s = _RETRY_S[0]
        while not (self._stopping.is_set() and self._waiting.empty() and not self._ready):
            try:
                if self._take(0.2):
                    self._write(self._ready)
                    self._ready = []
                wait_s = _RETRY_S[0]
            except AicschedError as error:
                _log.warning("placements are not booked yet: %s", error)
                if self._stopping.wait(wait_s):
                    time.sleep(_RETRY_S[0])
                wait_s = min(2 * wait_s, _RETRY_S[1])
            except Exception:  # noqa: BLE001 - one odd pod must not end the booking of all
                _log.exception("a placement can't be booked")
                self._ready = []
                self._counted("dropped", 0.0, 0.0)

    def _take(self, wait_s: float) -> bool:
        """Turn what waits into decisions; tell whether there are any."""
        snapshot = self._holder.current
        if snapshot is None:
            # Nothing to reckon with yet: pods wait, no longer than the queue is.
            return bool(self._ready) or (self._stopping.wait(wait_s) and self._give_up())
        while len(self._ready) < _BATCH:
            try:
                pod = self._waiting.get(timeout=0 if self._ready else wait_s)
            except queue.Empty:
                break
            made = decision_of(pod, snapshot, self._room_on(snapshot), now_s=self._now_s())
            if made is None:
                self._counted("unknown", 0.0, 0.0)
            else:
                self._ready.append(made)
        return bool(self._ready)

    def _room_on(self, snapshot: Snapshot) -> Room:
        """Return the room on the nodes, read once a snapshot."""
        if self._room is None or self._room[0] is not snapshot:
            self._room = (snapshot, Room.of(self._cluster(), snapshot.names))
        return self._room[1]

    def _give_up(self) -> bool:
        while not self._waiting.empty():
            self._waiting.get_nowait()
            self._counted("dropped", 0.0, 0.0)
        return False

    def _write(self, decisions: Sequence[Decision]) -> None:
        with Ledger(self._path) as ledger:
            new = [each for each in decisions if not _stands(ledger, each)]
            try:
                ledger.record(new)
                booked = new
            except LedgerConflict:
                # Another replica wrote some at this moment, by its own snapshot: its entries stand.
                booked = [each for each in new if _record_one(ledger, each)]
        for each in booked:
            self._counted("booked", each.operational_g, each.counterfactual_g)
        for _ in range(len(decisions) - len(booked)):
            self._counted("already", 0.0, 0.0)


def _stands(ledger: Ledger, decision: Decision) -> bool:
    """Tell whether a pod was booked before: another snapshot would have given it other numbers."""
    return any(each.decision_id == decision.decision_id for each in ledger.entries(subject=decision.subject))


def _record_one(ledger: Ledger, decision: Decision) -> bool:
    try:
        return ledger.record([decision]) == 1
    except LedgerConflict:
        return False
