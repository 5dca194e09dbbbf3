"""The OpenAPI 3.1 document of what an app answers, made from the types that it decodes and encodes."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import msgspec

from aicsched import __version__
from aicsched.extender.api.explain import MAX_BEST, MAX_WEIGHT
from aicsched.extender.api.problems import PROBLEM_JSON, Problem
from aicsched.extender.api.types import ScoreAnswer, ScoreQuery
from aicsched.extender.explain import Explanation
from aicsched.extender.routes import Route
from aicsched.extender.verbs.bind import BindingArgs, BindingResult
from aicsched.extender.verbs.preempt import OfferedVictims, PreemptionResult
from aicsched.extender.wire import ExtenderFilterResult, HostPriority, OfferedNodes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["openapi_document", "openapi_route"]

_REF: Final = "#/components/schemas/{name}"
_JSON: Final = "application/json"
_PLAIN: Final = "text/plain"
# A parameter of a numpydoc docstring: "name, other : type", then its words, indented.
_FIELD: Final = re.compile(r"^(\w+(?:, \w+)*) : .*\n((?:    .*(?:\n|$))+)", re.MULTILINE)


class Refusal(msgspec.Struct, frozen=True):
    """Why a verb is not answered.

    Parameters
    ----------
    code : str
        For programs: a stable word.
    error : str
        For people.
    """

    code: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Operation:
    """What one route says of itself.

    Parameters
    ----------
    path, method, summary : str
        Of the route.
    asks, answers, refuses : type, optional
        Of the bodies: None for text.
    also : tuple of str
        Further media types of the answer.
    statuses : dict of int to str
        What else than 200 may come, and when.
    """

    path: str
    method: str
    summary: str
    asks: Any = None
    answers: Any = None
    refuses: Any = None
    also: tuple[str, ...] = ()
    statuses: dict[int, str]


_LIMITS: Final = {
    400: "The body can't be read.",
    405: "Another method.",
    408: "The body came too slowly.",
    413: "The body is over its limit.",
    415: "The body is no JSON, or is packed.",
    431: "The headers are over their limit.",
    500: "A defect of the server.",
    503: "Too many requests at a time.",
}
_TRUST: Final = {401: "No token, or an unknown one.", 403: "The certificate's names may not call."}
_READ: Final = {key: _LIMITS[key] for key in (405, 431, 500, 503)}
_THREAD: Final = {504: "It took too long."}


def _one_of(*names: str) -> dict[str, Any]:
    return {
        "anyOf": [{"required": [name], "properties": {name: {"type": ["object", "array"]}}} for name in names]
    }


# What types can't say: one of two parts is there and not null.
_MORE: Final = {
    "OfferedNodes": _one_of("Nodes", "NodeNames"),
    "OfferedVictims": _one_of("NodeNameToVictims", "NodeNameToMetaVictims"),
}
_OPERATIONS: Final = {
    "filter": _Operation(
        path="/filter", method="post", asks=OfferedNodes, answers=ExtenderFilterResult, refuses=Refusal,
        summary="Which of the offered nodes may take a pod; under any prefix.", statuses=_LIMITS,
    ),
    "prioritize": _Operation(
        path="/prioritize", method="post", asks=OfferedNodes, answers=list[HostPriority], refuses=Refusal,
        summary="How good each offered node is for a pod, 0 to 10; under any prefix.", statuses=_LIMITS,
    ),
    "bind": _Operation(
        path="/bind", method="post", asks=BindingArgs, answers=BindingResult, refuses=Refusal,
        summary="Bind a pod to a node; under any prefix.", statuses=_LIMITS | _THREAD,
    ),
    "preempt": _Operation(
        path="/preempt", method="post", asks=OfferedVictims, answers=PreemptionResult, refuses=Refusal,
        summary="Which nodes may be cleared for a pod; under any prefix.", statuses=_LIMITS,
    ),
    "score": _Operation(
        path="/api/v1/score", method="post", asks=ScoreQuery, answers=ScoreAnswer, refuses=Problem,
        summary="What works would cost on nodes or in regions, in grams, term by term.",
        statuses=_LIMITS
        | _THREAD
        | {422: "A name in it is not known, or it asks for too much at once.",
           503: "There are no signals, or they are too old; or too many requests at a time."},
    ),
    "explain": _Operation(
        path="/explain/{namespace}/{pod}", method="get", answers=Explanation, refuses=Problem, also=(_PLAIN,),
        summary="Why a pod got its levels: each node, term by term, and what the extender's weight is worth.",
        statuses=_READ | _THREAD | {400: "The query is no number in its range.",
                                    404: "The pod was not scored here lately, or no such node is known."},
    ),
    "openapi": _Operation(
        path="/openapi.json", method="get", answers=dict[str, Any], refuses=Refusal,
        summary="This document.", statuses=_READ,
    ),
    "livez": _Operation(path="/livez", method="get", summary="Whether the process lives.", statuses={}),
    "readyz": _Operation(
        path="/readyz", method="get", summary="Whether requests should be sent here.",
        statuses={503: "Not now; the lines say why."},
    ),
    "metrics": _Operation(
        path="/metrics", method="get", summary="Metrics in Prometheus' text format.", statuses={}
    ),
}  # fmt: skip


def openapi_document(names: Iterable[str]) -> dict[str, Any]:
    """Make the document of an app's routes.

    Parameters
    ----------
    names : iterable of str
        Of its routes; those that aren't described here are left out.

    Returns
    -------
    dict of str to object
        OpenAPI 3.1, its schemas in JSON Schema 2020-12.

    Examples
    --------
    >>> document = openapi_document(["score", "livez"])
    >>> sorted(document["paths"]), document["openapi"]
    (['/api/v1/score', '/livez'], '3.1.0')
    """
    chosen = [_OPERATIONS[name] for name in sorted(names) if name in _OPERATIONS]
    bodies = [body for each in chosen for body in (each.asks, each.answers, each.refuses) if body is not None]
    bodies.append(Refusal)
    schemas, components = msgspec.json.schema_components(bodies, ref_template=_REF)
    components = {name: _told(schema) | _MORE.get(name, {}) for name, schema in components.items()}
    found = iter(schemas)
    paths: dict[str, Any] = {}
    for name, each in zip(sorted(name for name in names if name in _OPERATIONS), chosen, strict=True):
        asks, answers, refuses = (
            next(found) if body is not None else None for body in (each.asks, each.answers, each.refuses)
        )
        paths[each.path] = {each.method: _operation(name, each, asks, answers, refuses)}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "aicsched extender",
            "version": __version__,
            "description": "Scores of work on nodes and in regions by grams of CO2-equivalent.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "client_certificate": {"type": "mutualTLS"},
            },
        },
        # Which of them holds is the operator's choice; on loopback it may be none.
        "security": [{}, {"bearer": []}, {"client_certificate": []}],
    }


def _told(schema: dict[str, Any]) -> dict[str, Any]:
    """Give a type's fields the words of its docstring, and the type itself only the first ones."""
    first, _, rest = inspect.cleandoc(str(schema.get("description", ""))).partition("\n\n")
    made: dict[str, Any] = {**schema, "description": first} if first else dict(schema)
    properties: dict[str, Any] = made.get("properties", {})
    for names, text in _FIELD.findall(rest):
        for name in names.split(", "):
            if name in properties:
                properties[name] = {
                    **properties[name],
                    "description": " ".join(text.replace("``", "").split()),
                }
    return made


def _operation(name: str, each: _Operation, asks: Any, answers: Any, refuses: Any) -> dict[str, Any]:  # noqa: ANN401
    kinds = (_PLAIN,) if answers is None else (_JSON, *each.also)
    content = {kind: {"schema": answers if kind == _JSON else {"type": "string"}} for kind in kinds}
    plain = {_JSON: {"schema": {"$ref": _REF.format(name=Refusal.__name__)}}}
    kind = PROBLEM_JSON.decode() if each.refuses is Problem else _JSON
    refusal = {_PLAIN: {"schema": {"type": "string"}}} if refuses is None else {kind: {"schema": refuses}}
    refused = {status: (told, refusal) for status, told in each.statuses.items()}
    if refuses is not None:
        refused |= {status: (told, plain) for status, told in _TRUST.items()}
    made: dict[str, Any] = {
        "operationId": name,
        "summary": each.summary,
        "responses": {
            "200": {"description": "The answer.", "content": content},
            **{
                str(status): {"description": told, "content": said}
                for status, (told, said) in sorted(refused.items())
            },
        },
    }
    if asks is not None:
        made["requestBody"] = {"required": True, "content": {_JSON: {"schema": asks}}}
    parameters = _parameters(each.path)
    if parameters:
        made["parameters"] = parameters
    return made


def _parameters(path: str) -> list[dict[str, Any]]:
    text = {"type": "string", "minLength": 1, "maxLength": 253}
    made: list[dict[str, Any]] = [
        {"name": part[1:-1], "in": "path", "required": True, "schema": text}
        for part in path.split("/")
        if part.startswith("{")
    ]
    if made:
        for name, most, told in (
            ("best", MAX_BEST, "How many nodes to tell; 20 by default."),
            ("weight", MAX_WEIGHT, "The extender's in the scheduler's configuration: what is it worth?"),
        ):
            whole = {"type": "integer", "minimum": 1, "maximum": most}
            made.append({"name": name, "in": "query", "schema": whole, "description": told})
        told = "A node to tell besides, for instance the one that the pod went to."
        made.append({"name": "node", "in": "query", "schema": {"type": "string"}, "description": told})
    return made


def openapi_route(names: Callable[[], Iterable[str]]) -> Route:
    """Make the route of the document.

    Parameters
    ----------
    names : callable
        Gives the names of all routes of the app when it is asked for the document.

    Returns
    -------
    Route
        ``GET /openapi.json``.
    """

    @cache
    def body(described: frozenset[str]) -> bytes:
        return msgspec.json.encode(openapi_document(described))

    return Route(
        name="openapi",
        method="GET",
        path="/openapi.json",
        answer=lambda _: body(frozenset(names())),
    )
