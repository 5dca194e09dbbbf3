"""Properties of special backends, asked for by name."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from aicsched.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from aicsched.domain.fleet import Backend

__all__ = ["need"]


def need(backend: Backend, name: str) -> float:
    """Return a property that a score can't do without.

    Parameters
    ----------
    backend : Backend
        The backend.
    name : str
        The property, with its unit.

    Returns
    -------
    float
        Finite and not negative.

    Raises
    ------
    InputError
        It is missing or out of range; the nearest name is given.
    """
    if name not in backend.properties:
        msg = f"{backend.kind} backend '{backend.name}' lacks the property '{name}'"
        raise InputError(msg, hint=did_you_mean(name, backend.properties, count=1), value=name)
    value = backend.properties[name]
    if not (math.isfinite(value) and value >= 0):
        msg = f"{backend.kind} backend '{backend.name}': {name} is {value}"
        raise InputError(msg, hint="give a number that is 0 or more", value=value)
    return value
