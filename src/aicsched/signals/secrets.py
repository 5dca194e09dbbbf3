"""Tokens and passwords: held so that no text shows them, and taken out of texts that others wrote."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, quote_plus

from aicsched.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["MASK", "Secret", "basic_auth", "masked"]

MASK: Final = "***"


class Secret:
    """A token or a password, which only `reveal` shows.

    Parameters
    ----------
    value : str
        White space around it, such as the line end of a file, doesn't count.

    Raises
    ------
    ConfigError
        It is empty, or holds characters that no HTTP header may carry.

    Examples
    --------
    >>> token = Secret("abc123")
    >>> print(token, repr(token), f"{token:>5}")
    *** Secret(***)   ***
    >>> token.reveal()
    'abc123'
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value.strip()
        if not self._value:
            msg = "a token or password is empty"
            raise ConfigError(msg, hint="set it, or leave its setting out")
        if not self._value.isprintable():
            msg = "a token or password holds a line break or a control character"
            raise ConfigError(msg, hint="give it in one line, without anything around it")

    def reveal(self) -> str:
        """Show it.

        Returns
        -------
        str
            The value, for the header or parameter that carries it.
        """
        return self._value

    def __repr__(self) -> str:
        return f"Secret({MASK})"

    def __str__(self) -> str:
        return MASK

    def __format__(self, spec: str) -> str:
        return format(MASK, spec)

    def __reduce__(self) -> str:
        # A pickle would be the value in plain text.
        msg = "a secret can't be pickled"
        raise TypeError(msg)


def basic_auth(user: str, password: Secret) -> Secret:
    """Return the header ``Authorization`` of a user and a password (RFC 7617).

    Parameters
    ----------
    user : str
        Without a colon.
    password : Secret
        Of the user.

    Returns
    -------
    Secret
        The header's value.

    Raises
    ------
    ConfigError
        The user's name has a colon, which would split it.

    Examples
    --------
    >>> basic_auth("Aladdin", Secret("open sesame")).reveal()
    'Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=='
    """
    if ":" in user:
        msg = "a user's name can't have a colon"
        raise ConfigError(msg, hint="check the setting of the user")
    pair = f"{user}:{password.reveal()}".encode()
    return Secret(f"Basic {b64encode(pair).decode()}")


def masked(text: str, secrets: Iterable[Secret]) -> str:
    """Take secrets out of a text that others wrote.

    Parameters
    ----------
    text : str
        For example an error message of a client, which quotes an address.
    secrets : iterable of Secret
        What must not be in it, neither plain nor in the writing of addresses.

    Returns
    -------
    str
        With ``***`` in their places.

    Examples
    --------
    >>> masked("no route to /v2?api_key=a%2Fb", [Secret("a/b")])
    'no route to /v2?api_key=***'
    """
    forms: set[str] = set()
    for secret in secrets:
        value = secret.reveal()
        bare = value.removeprefix("Basic ").removeprefix("Bearer ")
        forms |= {form(each) for each in (value, bare) for form in _FORMS}
    # The longest first: one secret may be a part of another.
    for form in sorted(forms, key=len, reverse=True):
        text = text.replace(form, MASK)
    return text


def _all_quoted(value: str) -> str:
    return quote(value, safe="")


def _in_json(value: str) -> str:
    return json.dumps(value)[1:-1]


def _in_careful_json(value: str) -> str:
    return _in_json(value).replace("/", "\\/")


def _in_python(value: str) -> str:
    return repr(value)[1:-1]


# In how many ways an echo of a secret may be written.
_FORMS: Final = (str, quote, quote_plus, _all_quoted, _in_json, _in_careful_json, _in_python)
