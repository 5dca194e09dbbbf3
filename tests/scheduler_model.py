"""What kube-scheduler does with an extender's answers: a model made from recordings of a real one.

It follows one pod from the first call to its end and shares no code with the extender. Whoever uses it
hands in a function that answers a call; fed with recorded answers, it must end as the recording did.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

# Weights of the in-tree plugins of 1.36 add up to 13 with dynamic resources, at 100 points each.
IN_TREE_MOST = 1300


@dataclass(frozen=True)
class Reply:
    """What came back: nothing at all where the status is 0.

    Parameters
    ----------
    status : int
        Of HTTP.
    body : bytes
        As sent.
    late : bool
        Whether it came after the scheduler's patience.
    deed : bool
        Whether the pod is bound, whatever the answer to bind says.
    """

    status: int
    body: bytes
    late: bool = False
    deed: bool = False


@dataclass(frozen=True)
class End:
    """How it ends.

    Parameters
    ----------
    result : str
        ``"bound"``, ``"unschedulable"`` or ``"pending"``.
    reason : str
        Of the pod's condition.
    nodes : frozenset of str
        Where it may stand, or be nominated for.
    """

    result: str
    reason: str = ""
    nodes: frozenset[str] = frozenset()


class FaultError(Exception):
    """The scheduler takes an answer for an error of the extender."""


@dataclass
class Scheduler:
    """One extender's entry of a KubeSchedulerConfiguration at work.

    Parameters
    ----------
    config : dict
        The entry.
    call : callable
        From verb and request to a Reply.
    """

    config: dict[str, Any]
    call: Callable[[str, dict[str, Any]], Reply]
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def schedule(self, request: dict[str, Any]) -> End:
        """Follow a pod that in-tree filters left the nodes of a request."""
        try:
            feasible = self._filter(request) if "filterVerb" in self.config else names_of(request)
        except FaultError:
            if not self.config["ignorable"]:
                return End("unschedulable", "SchedulerError")
            feasible = names_of(request)
        if not feasible:
            return End("unschedulable", "Unschedulable")
        best = set(feasible)
        if "prioritizeVerb" in self.config and len(best) > 1:
            bonus = self._prioritize(restricted(request, feasible))
            most = max(bonus.get(name, 0) for name in best)
            best = {name for name in best if bonus.get(name, 0) >= most - IN_TREE_MOST}
        if "bindVerb" not in self.config:
            return End("bound", nodes=frozenset(best))
        return self._bind(request, best)

    def _ask(self, verb: str, request: dict[str, Any]) -> Any:
        self.calls.append((verb, request))
        reply = self.call(verb, request)
        if reply.status == 302:
            return {}  # followed to a page that knows none of the keys
        if reply.status != 200 or reply.late:
            raise FaultError
        try:
            value = json.loads(reply.body)
        except ValueError as error:
            raise FaultError from error
        return value

    def _filter(self, request: dict[str, Any]) -> list[str]:
        answer = folded(self._ask("filter", request), dict)
        if answer.get("error"):
            raise FaultError
        offered = names_of(request)
        if self.config["nodeCacheCapable"] and answer.get("nodenames") is not None:
            if not set(answer["nodenames"]) <= set(offered):
                raise FaultError
            return list(answer["nodenames"])
        items = (answer.get("nodes") or {}).get("items") or []
        return [item["metadata"]["name"] for item in items]

    def _prioritize(self, request: dict[str, Any]) -> dict[str, int]:
        """Give each node's bonus; whatever is wrong, there is none."""
        bonus: dict[str, int] = {}
        try:
            answer = self._ask("prioritize", request)
            if answer is not None and not isinstance(answer, list):
                return {}
            for row in answer or []:
                row = folded(row, dict)  # noqa: PLW2901 - another spelling of the same
                if type(row.get("score", 0)) is not int or not isinstance(row.get("host", ""), str):
                    return {}
                points = row.get("score", 0) * self.config["weight"] * 10
                host = row.get("host", "")
                bonus[host] = wrapped(bonus.get(host, 0) + points)
        except FaultError:
            return {}
        return bonus

    def _bind(self, request: dict[str, Any], best: set[str]) -> End:
        pod = request["Pod"]["metadata"]
        chosen = max(best)
        asked = {
            "PodName": pod["name"],
            "PodNamespace": pod["namespace"],
            "PodUID": pod["uid"],
            "Node": chosen,
        }
        self.calls.append(("bind", asked))
        reply = self.call("bind", asked)
        if reply.deed:
            return End("bound", nodes=frozenset(best))
        fault = reply.status != 200 or reply.late or bool(folded(json.loads(reply.body), dict).get("error"))
        if not fault:
            return End("pending")  # it believes, and waits for ever
        if self.config["ignorable"]:
            return End("bound", nodes=frozenset(best))
        return End("unschedulable", "SchedulerError")

    def preempt(self, request: dict[str, Any]) -> End:
        """Follow a pod that fits nowhere, to the node that is to be cleared for it."""
        by_uid = request["NodeNameToMetaVictims"]
        offered = {
            node: {pod["metadata"]["uid"] if by_uid is None else pod["UID"] for pod in victims["Pods"]}
            for node, victims in (request["NodeNameToVictims"] if by_uid is None else by_uid).items()
        }
        try:
            answer = folded(self._ask("preempt", request), dict).get("nodenametometavictims") or {}
            nodes = self._cleared(offered, answer)
        except FaultError:
            nodes = set(offered) if self.config["ignorable"] else set()
        return End("unschedulable", "Unschedulable", frozenset(nodes))

    def _cleared(self, offered: dict[str, set[str]], answer: dict[str, Any]) -> set[str]:
        nodes: set[str] = set()
        for node, victims in answer.items():
            uids = {folded(pod, dict).get("uid") for pod in folded(victims, dict).get("pods") or []}
            if node not in offered or not uids <= offered[node]:
                raise FaultError
            if uids:
                nodes.add(node)
            elif not self.config["ignorable"]:
                raise FaultError
        return nodes


def folded(value: Any, kind: type) -> Any:
    """Spell keys in lower case, as Go finds them in any; null is nothing, and another type a fault."""
    if value is None:
        return {}
    if not isinstance(value, kind):
        raise FaultError
    return {key.lower(): item for key, item in value.items()}


def wrapped(value: int) -> int:
    """Let a sum run over as int64 does."""
    return (value + 2**63) % 2**64 - 2**63


def names_of(request: dict[str, Any]) -> list[str]:
    """List the nodes that a request offers."""
    if request["NodeNames"] is not None:
        return list(request["NodeNames"])
    return [item["metadata"]["name"] for item in request["Nodes"]["items"] or []]


def restricted(request: dict[str, Any], names: list[str]) -> dict[str, Any]:
    """Offer fewer nodes."""
    if request["NodeNames"] is not None:
        return request | {"NodeNames": names}
    items = [item for item in request["Nodes"]["items"] if item["metadata"]["name"] in set(names)]
    return request | {"Nodes": request["Nodes"] | {"items": items}}
