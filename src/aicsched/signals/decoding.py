"""From a body of JSON to a typed structure, with one kind of error for whatever is wrong with it."""

from __future__ import annotations

import re
from typing import Final, TypeVar

import msgspec

from aicsched.errors import SignalInvalid

__all__ = ["decode_json"]

T = TypeVar("T")
_FIELD: Final = re.compile(r"`(\$[^`]*)`")


def decode_json(body: bytes, shape: type[T], *, source: str) -> T:
    """Decode what a source sent.

    Parameters
    ----------
    body : bytes
        JSON in UTF-8.
    shape : type
        A `msgspec.Struct` or a container of them. Fields that it doesn't name may
        come and go; one that it names must be there, and of its type.
    source : str
        Who sent it, for messages.

    Returns
    -------
    object
        Of the shape.

    Raises
    ------
    SignalInvalid
        It is no JSON, or not of this shape; the field is named, its value isn't quoted.

    Examples
    --------
    >>> decode_json(b'{"g": 3}', dict[str, int], source="a test")
    {'g': 3}
    >>> decode_json(b'{"g": "3"}', dict[str, int], source="a test")
    Traceback (most recent call last):
        ...
    aicsched.errors.SignalInvalid: a test sent another shape than documented: Expected `int`, ...
    """
    hint = "try again later; if it stays so, its API has changed"
    try:
        return msgspec.json.decode(body, type=shape)
    except msgspec.ValidationError as error:
        found = _FIELD.search(str(error))
        msg = f"{source} sent another shape than documented: {error}"
        raise SignalInvalid(msg, hint=hint, value=found.group(1) if found else None) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # What a decoder says of broken bytes may quote them.
        msg = f"{source} sent no valid JSON"
    raise SignalInvalid(msg, hint=hint)
