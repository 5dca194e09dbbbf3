"""Errors of the API as problem details for HTTP (RFC 9457)."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Annotated, Final

import msgspec

from aicsched.extender.routes import JSON, Reply

__all__ = ["PROBLEM_JSON", "Problem", "Refused", "invalid", "problem", "refused_as_problem"]

PROBLEM_JSON: Final = b"application/problem+json"
_PLACE: Final = re.compile(r" - at `\$(?P<path>[^`]*)`$")
_encoder: Final = msgspec.json.Encoder()


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why a request is not answered.

    Parameters
    ----------
    title : str
        The status in words.
    status : int
        Of HTTP.
    detail : str
        What is wrong, in a sentence.
    code : str
        For programs: a stable word.
    hint : str
        What to do about it.
    pointer : str
        Where in the body, as a JSON pointer (RFC 6901) in a fragment.
    type : str
        There are no pages on kinds of problems; `code` tells them apart.
    """

    title: str
    status: Annotated[int, msgspec.Meta(ge=400, le=599)]
    detail: str
    code: str
    hint: str = ""
    pointer: str = ""
    type: str = "about:blank"


def problem(status: int, code: str, detail: str, *, hint: str = "", pointer: str = "") -> Reply:
    """Make the reply that tells of a problem.

    Parameters
    ----------
    status : int
        Of HTTP.
    code, detail, hint, pointer : str
        As of `Problem`.

    Returns
    -------
    Reply
        In ``application/problem+json``.

    Examples
    --------
    >>> problem(503, "stale", "signals are too old").body
    b'{"title":"Service Unavailable","status":503,"detail":"signals are too old","code":"stale"}'
    """
    title = HTTPStatus(status).phrase
    made = Problem(title=title, status=status, detail=detail, code=code, hint=hint, pointer=pointer)
    return Reply(_encoder.encode(made), status, PROBLEM_JSON)


class Refused(Exception):
    """A request that is answered by a problem.

    Parameters
    ----------
    reply : Reply
        As `problem` makes it.
    """

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.status)
        self.reply = reply


def invalid(error: Exception) -> Reply:
    """Tell what is wrong with a body that could not be decoded, and where.

    Parameters
    ----------
    error : Exception
        Of msgspec, whose text ends in the place.

    Returns
    -------
    Reply
        Status 400.

    Examples
    --------
    >>> reply = invalid(ValueError("Expected `float` > 0.0 - at `$.work[2].vcpus`"))
    >>> msgspec.json.decode(reply.body)["detail"], msgspec.json.decode(reply.body)["pointer"]
    ('Expected `float` > 0.0', '#/work/2/vcpus')
    """
    told = str(error)
    place = _PLACE.search(told)
    if place is None:
        return problem(400, "malformed-body", told or type(error).__name__, hint="see /openapi.json")
    path = re.sub(r"\[(\d+|\.\.\.)\]", r".\1", place["path"]).replace(".", "/")
    return problem(400, "malformed-body", told[: place.start()], hint="see /openapi.json", pointer=f"#{path}")


def refused_as_problem(reply: Reply) -> Reply:
    """Tell a refusal of the server's limits in the API's own form.

    Parameters
    ----------
    reply : Reply
        ``{"code", "error"}``, or any other.

    Returns
    -------
    Reply
        Problem details with the same status; another reply as it is.
    """
    if reply.kind != JSON or reply.status < HTTPStatus.BAD_REQUEST:
        return reply
    told = msgspec.json.decode(reply.body, type=dict[str, str])
    return problem(reply.status, told.get("code", ""), told.get("error", ""))
