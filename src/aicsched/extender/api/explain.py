"""``GET /explain/{namespace}/{pod}``: why a pod got its levels, for programs and for people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs

import msgspec

from aicsched.errors import did_you_mean
from aicsched.extender.api.problems import Refused, problem, refused_as_problem
from aicsched.extender.explain import beside_the_best, influence
from aicsched.extender.routes import TEXT, Reply, Route
from aicsched.slots import HOUR_S

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aicsched.extender.explain import Explanation, NodeTerms
    from aicsched.extender.routes import Request

__all__ = ["MAX_BEST", "MAX_WEIGHT", "ExplainApi", "explanation_text"]

MAX_WEIGHT: Final = 1000
"""Beyond this an extender's weight makes no difference to anything."""
MAX_BEST: Final = 10_000
_BEST: Final = 20
_JSON_KINDS: Final = frozenset({"application/json", "application/*", "*/*"})
_TEXT_KINDS: Final = frozenset({"text/plain", "text/*"})
_encoder: Final = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainApi:
    """Answers why.

    Parameters
    ----------
    explained : callable
        From namespace and name of a pod to its explanation, None where it isn't known.
    """

    explained: Callable[[str, str], Explanation | None]

    def route(self) -> Route:
        """Give the route.

        Returns
        -------
        Route
            ``GET /explain/{namespace}/{pod}``.
        """
        return Route(
            name="explain",
            method="GET",
            path="/explain/{namespace}/{pod}",
            answer=self.answer,
            in_thread=True,
            refused=refused_as_problem,
        )

    def answer(self, request: Request) -> Reply:
        """Explain a pod.

        Parameters
        ----------
        request : Request
            Its parts are namespace and name; its query may hold ``best``, how many nodes to tell
            (20), ``node``, one to tell besides, and ``weight``, the extender's in the scheduler's
            configuration.

        Returns
        -------
        Reply
            An `Explanation`, as text where that is asked for; or a problem.
        """
        namespace, pod = request.parts
        given = parse_qs(request.query.decode("ascii", "replace"), keep_blank_values=True)
        try:
            best = _number(given, "best", MAX_BEST) or _BEST
            weight = _number(given, "weight", MAX_WEIGHT)
            found = self.explained(namespace, pod)
            if found is None:
                detail = f"pod {namespace}/{pod} was not scored here lately, or there are no signals yet"
                hint = "ask the other replicas, and /readyz?verbose"
                return problem(404, "not-scored", detail, hint=hint)
            told = _among(found, best, given["node"][-1] if "node" in given else "")
        except Refused as refused:
            return refused.reply
        if weight:
            told = msgspec.structs.replace(told, influence=influence((weight,)))
        if _wants_text(request.accept):
            return Reply(explanation_text(told).encode(), kind=TEXT)
        return Reply(_encoder.encode(told))


def _among(found: Explanation, best: int, name: str) -> Explanation:
    """Tell the best few, and the node that is asked about."""
    nodes = found.nodes[:best]
    if not name:
        return msgspec.structs.replace(found, nodes=nodes)
    asked = beside_the_best(found.nodes, name, found.neutral)
    if asked is None:
        hint = did_you_mean(name, [node.node for node in found.nodes])
        raise Refused(problem(404, "unknown-node", f"there is no node '{name[:253]}'", hint=hint))
    node, words = asked
    return msgspec.structs.replace(found, nodes=nodes if node in nodes else [*nodes, node], beside=words)


def _number(given: dict[str, list[str]], name: str, most: int) -> int:
    """Read a whole number of a query; 0 where there is none."""
    if name not in given:
        return 0
    text = given[name][-1]
    value = int(text) if text.isascii() and text.isdigit() and len(text) < 9 else 0
    if not 1 <= value <= most:
        detail = f"{name} is '{text[:40]}'"
        raise Refused(problem(400, "bad-query", detail, hint=f"give a whole number from 1 to {most}"))
    return value


def _wants_text(accept: bytes) -> bool:
    """Tell whether a client would rather have text than JSON."""
    best = {"json": 0.0, "text": 0.0}
    for part in accept.decode("latin-1").lower().split(","):
        kind, *parameters = (piece.strip() for piece in part.split(";"))
        given = next((each[2:] for each in parameters if each.startswith("q=")), "1")
        try:
            share = float(given)
        except ValueError:
            share = 0.0
        if kind in _JSON_KINDS:
            best["json"] = max(best["json"], share)
        if kind in _TEXT_KINDS:
            best["text"] = max(best["text"], share)
    # A browser, or curl, takes anything and names neither.
    return best["text"] > 0 and best["text"] >= best["json"]


def explanation_text(told: Explanation) -> str:
    """Write an explanation for people.

    Parameters
    ----------
    told : Explanation
        Of a pod.

    Returns
    -------
    str
        Some lines, and a row for each node.
    """
    asked = told.asked
    wanted = f"{asked.vcpus:g} vCPUs and {asked.memory_gib:g} GiB for {asked.duration_s / HOUR_S:g} h"
    said = f"(by {asked.duration_from}), scored by {asked.policy} (by {asked.policy_from})"
    # What is 0 on all of them tells nothing.
    names = list(dict.fromkeys(name for node in told.nodes for name, grams in node.terms_g.items() if grams))
    head = ["node", "region", "zone", "signal", "g/kWh", "level", "total g"]
    head += [*(name.replace("_", " ") for name in names), "SLO break", "refused"]
    worth = [
        [str(each.weight), str(each.points), str(each.in_tree_points), f"{each.share:.0%}"]
        for each in told.influence
    ]
    lines = [
        f"pod {told.namespace}/{told.pod}: {wanted} {said}",
        *(f"! {fault}" for fault in asked.faults),
        told.sentence,
        *([told.beside] if told.beside else []),
        f"by a snapshot {told.snapshot_age_s:.0f} s old" + (", made up" if told.synthetic else ""),
        "",
        *_table([head, *(_row(node, names) for node in told.nodes)]),
        "",
        "what the extender's weight is worth beside the scheduler's own plugins:",
        *_table([["weight", "points", "theirs", "share"], *worth]),
    ]
    return "\n".join(lines) + "\n"


def _row(node: NodeTerms, names: Sequence[str]) -> list[str]:
    return [
        node.node,
        node.region,
        node.grid_zone or "-",
        node.signal,
        "-" if node.g_per_kwh is None else f"{node.g_per_kwh:.0f}",
        str(node.level),
        "-" if node.total_g is None else f"{node.total_g:.3g}",
        *(f"{node.terms_g[name]:.3g}" if name in node.terms_g else "-" for name in names),
        f"{node.slo_risk:.2%}",
        node.refused,
    ]


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
