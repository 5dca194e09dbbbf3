"""Which path is answered by what: the one table that verbs and other routes are put into.

A route answers a whole body at once, by a plain function: no route sees HTTP. What is
bounded (bytes, time, requests at a time), counted and refused is the same for all and
stands in `aicsched.extender.web`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeVar

from aicsched.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["JSON", "TEXT", "Reply", "Request", "Route", "RouteTable", "verb"]

JSON: Final = b"application/json"
TEXT: Final = b"text/plain; charset=utf-8"
_ANY: Final = "*/"
_K = TypeVar("_K")
_V = TypeVar("_V")


class Request(NamedTuple):
    """What a route is told.

    Parameters
    ----------
    body : bytes
        Whole; empty for GET.
    parts : tuple of str
        What stood in the path for the names in braces, in their order.
    query : bytes
        What followed ``?``, not decoded.
    accept : bytes
        The media types that the client asks for; empty for any.
    """

    body: bytes
    parts: tuple[str, ...] = ()
    query: bytes = b""
    accept: bytes = b""


class Reply(NamedTuple):
    """What a route answers when it isn't 200 with JSON.

    Parameters
    ----------
    body : bytes
        As it is sent.
    status : int
        Of HTTP.
    kind : bytes
        Its media type.
    """

    body: bytes
    status: int = 200
    kind: bytes = JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One path that is answered.

    Parameters
    ----------
    name : str
        In metrics, as the label ``verb``: a word, never part of a request.
    path : str
        ``"/openapi.json"`` is that path only, ``"/explain/{namespace}/{pod}"`` any in these
        places, and ``"*/filter"`` that word at the end of any path, since an admin chooses
        the extender's ``urlPrefix``. The first two win over the third.
    answer : callable
        `Request` to the body of HTTP 200, or to a `Reply`. `MalformedBody` becomes 400,
        `BodyTooLarge` 413; anything else is a defect: logged, counted, and answered by
        `fallback`, or by 500.
    method : str
        ``"GET"`` (which answers HEAD too) or ``"POST"``, whose body must be JSON.
    in_thread : bool
        For an answer that waits for something: it runs beside the loop, for at most the
        limit ``answer_s``. What only computes for some milliseconds needs no thread.
    fallback : callable, optional
        A neutral answer to a `Request` that met a defect. It may raise, too.
    refused : callable, optional
        Rewrites a `Reply` that refuses (limits, method, defect) in the route's own form.
    """

    name: str
    path: str
    answer: Callable[[Request], bytes | Reply]
    method: Literal["GET", "POST"] = "POST"
    in_thread: bool = False
    fallback: Callable[[Request], bytes | Reply] | None = None
    refused: Callable[[Reply], Reply] | None = None


def verb(
    name: str,
    answer: Callable[[bytes], bytes],
    *,
    in_thread: bool = False,
    fallback: Callable[[bytes], bytes] | None = None,
) -> Route:
    """Make the route of one of the scheduler's verbs: POST under any prefix, body to body.

    Parameters
    ----------
    name : str
        The verb, which is also the last part of the path.
    answer : callable
        Body to body.
    in_thread : bool
        As for `Route`.
    fallback : callable, optional
        Body to a neutral body.

    Returns
    -------
    Route
        For `RouteTable`.

    Examples
    --------
    >>> verb("bind", lambda body: b'{"Error":""}').path
    '*/bind'
    """
    return Route(
        name=name,
        path=f"{_ANY}{name}",
        answer=lambda request: answer(request.body),
        in_thread=in_thread,
        fallback=None if fallback is None else lambda request: fallback(request.body),
    )


class RouteTable:
    """Finds the route of a path.

    Parameters
    ----------
    routes : iterable of Route
        To begin with.

    Examples
    --------
    >>> table = RouteTable([Route(name="explain", method="GET", path="/explain/{pod}", answer=None)])
    >>> table.find("/explain/web-0")[1]
    ('web-0',)
    """

    def __init__(self, routes: Iterable[Route] = ()) -> None:
        self._exact: dict[str, Route] = {}
        self._patterns: dict[tuple[str, int], tuple[Route, tuple[str, ...]]] = {}
        self._words: dict[str, Route] = {}
        self.add(*routes)

    def add(self, *routes: Route) -> None:
        """Take routes in.

        Parameters
        ----------
        *routes : Route
            Each with a path of its own.

        Raises
        ------
        ConfigError
            The path is taken, or is none.
        """
        for route in routes:
            if route.path.startswith(_ANY):
                self._put(self._words, route.path.removeprefix(_ANY), route, route)
            elif "{" not in route.path:
                self._put(self._exact, route.path, route, route)
            else:
                segments = tuple(route.path.split("/"))
                # Literal first segments tell patterns apart: enough for a handful of routes.
                self._put(self._patterns, (segments[1], len(segments)), (route, segments), route)

    @staticmethod
    def _put(table: dict[_K, _V], key: _K, value: _V, route: Route) -> None:
        if key in table or "/" not in route.path:
            msg = f"route '{route.path}' is taken already, or is no path"
            raise ConfigError(msg, hint="give each route a path of its own", value=route.path)
        table[key] = value

    def find(self, path: str) -> tuple[Route, tuple[str, ...]] | None:
        """Find the route of a path.

        Parameters
        ----------
        path : str
            Of a request, percent-decoded.

        Returns
        -------
        tuple of Route and tuple of str, or None
            With what stood for the names in braces; None when no route has the path.
        """
        route = self._exact.get(path)
        if route is not None:
            return route, ()
        if self._patterns:
            segments = path.split("/")
            found = self._patterns.get((segments[1] if len(segments) > 1 else "", len(segments)))
            if found is not None:
                parts = _parts(found[1], segments)
                if parts is not None:
                    return found[0], parts
        route = self._words.get(path.rstrip("/").rpartition("/")[2])
        return None if route is None else (route, ())

    @property
    def names(self) -> list[str]:
        """The names of all routes, sorted."""
        patterns = [route for route, _ in self._patterns.values()]
        return sorted({route.name for route in [*self._exact.values(), *patterns, *self._words.values()]})


def _parts(pattern: tuple[str, ...], segments: list[str]) -> tuple[str, ...] | None:
    parts: list[str] = []
    for wanted, given in zip(pattern, segments, strict=True):
        if wanted.startswith("{"):
            if not given:
                return None
            parts.append(given)
        elif wanted != given:
            return None
    return tuple(parts)
