"""The exception tree: every fault a user can meet, and what to do about it.

Each error carries a stable `code`, one sentence, the offending value where
there is one, and the next step (`hint`). Upstream exceptions are chained with
``raise ... from``, never leaked. `exit_code` is what the command line returns:
2 for bad input, 3 for something infeasible or unavailable.

::

    AicschedError
    ├── ConfigError                 a setting is unknown or has a bad value
    ├── UnitError                   a unit or quantity can't be understood
    ├── SlotError                   a time is naive, off the grid or out of range
    ├── InputError                  a file or a row in it is not what its schema says
    ├── OutputError                 a result can't be written where it was asked for
    ├── SignalError
    │   ├── SourceUnavailable       the source can't be reached or read
    │   ├── SignalGap               too many slots are missing
    │   ├── SignalInvalid           values that can't be true (negative, absurd)
    │   ├── StoreError              the store of signals can't be read or written
    │   │   └── StoreCorrupt        its file is damaged
    │   └── UnknownZone             no such grid zone; the nearest names are given
    ├── ForecastError
    │   ├── NotFitted               predict before fit
    │   └── TooLittleHistory        the model needs more past than it was given
    ├── ExecutorError               a worker or a cluster lost its work, or can't be reached
    ├── PlacementError
    │   ├── Infeasible              carries the names of the constraints in conflict
    │   └── PlanRefused             the independent checker found a fault in a plan
    ├── LedgerError
    │   ├── LedgerConflict          one key, two different contents
    │   └── LedgerCorrupt           the hash chain is broken
    ├── ServeError
    │   ├── BodyTooLarge
    │   └── MalformedBody
    └── PluginError                 an entry point can't be loaded or fails its checks
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "AicschedError",
    "AicschedWarning",
    "BodyTooLarge",
    "ConfigError",
    "ExecutorError",
    "ForecastError",
    "Infeasible",
    "InputError",
    "LedgerConflict",
    "LedgerCorrupt",
    "LedgerError",
    "MalformedBody",
    "NotFitted",
    "OutputError",
    "PlacementError",
    "PlanRefused",
    "PluginError",
    "ServeError",
    "SignalError",
    "SignalGap",
    "SignalInvalid",
    "SlotError",
    "SourceUnavailable",
    "StoreCorrupt",
    "StoreError",
    "TooLittleHistory",
    "UnitError",
    "UnknownZone",
    "did_you_mean",
]

BAD_INPUT = 2
UNAVAILABLE = 3


class AicschedError(Exception):
    """The root of the tree: catch this to catch everything of ours.

    Parameters
    ----------
    message : str
        One sentence that says what is wrong, and where.
    hint : str, optional
        The next step for the user.
    value : object, optional
        The offending value, kept for programs.

    Examples
    --------
    >>> error = AicschedError("column 'time' is missing", hint="add it", value=["ci"])
    >>> str(error)
    "column 'time' is missing; add it"
    >>> error.code
    'aicsched'
    """

    code: ClassVar[str] = "aicsched"
    exit_code: ClassVar[int] = UNAVAILABLE

    def __init__(self, message: str, *, hint: str = "", value: object = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.value = value

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message


class ConfigError(AicschedError, ValueError):
    """A setting is unknown or has a value outside its range."""

    code = "config"
    exit_code = BAD_INPUT


class UnitError(AicschedError, ValueError):
    """A unit or a quantity can't be understood."""

    code = "unit"
    exit_code = BAD_INPUT


class SlotError(AicschedError, ValueError):
    """A time is naive, not on the slot grid, or out of range."""

    code = "slot"
    exit_code = BAD_INPUT


class InputError(AicschedError, ValueError):
    """A file, or a row in it, is not what its schema says."""

    code = "input"
    exit_code = BAD_INPUT


class OutputError(AicschedError, OSError):
    """A result can't be written where it was asked for."""

    code = "output"
    exit_code = BAD_INPUT


class SignalError(AicschedError):
    """Something is wrong with a signal."""

    code = "signal"
    exit_code = BAD_INPUT


class SourceUnavailable(SignalError):
    """A source can't be reached or read."""

    code = "source-unavailable"
    exit_code = UNAVAILABLE


class SignalGap(SignalError):
    """Too many slots of a signal are missing to go on honestly."""

    code = "signal-gap"


class SignalInvalid(SignalError, ValueError):
    """A signal holds values that can't be true."""

    code = "signal-invalid"


class StoreError(SignalError):
    """The store of signals can't be read or written."""

    code = "store"
    exit_code = UNAVAILABLE


class StoreCorrupt(StoreError):
    """The file of a store of signals is damaged."""

    code = "store-corrupt"


class UnknownZone(SignalError, LookupError):
    """No signal or table knows this grid zone."""

    code = "unknown-zone"


class ForecastError(AicschedError):
    """A forecast can't be made."""

    code = "forecast"


class NotFitted(ForecastError):
    """`predict` was called before `fit`."""

    code = "not-fitted"


class TooLittleHistory(ForecastError, ValueError):
    """A model needs more past than it was given."""

    code = "too-little-history"
    exit_code = BAD_INPUT


class ExecutorError(AicschedError):
    """Workers died, or a cluster can't be reached."""

    code = "executor"


class PlacementError(AicschedError):
    """A plan can't be made."""

    code = "placement"


class Infeasible(PlacementError):
    """No plan meets every hard limit.

    Parameters
    ----------
    message : str
        One sentence that says which work can't be placed.
    constraints : tuple of str
        Names of the constraints in conflict, e.g. ``("capacity", "deadline")``.
    hint : str, optional
        The next step for the user.
    value : object, optional
        The works that can't be placed.
    """

    code = "infeasible"

    def __init__(
        self, message: str, *, constraints: tuple[str, ...], hint: str = "", value: object = None
    ) -> None:
        super().__init__(message, hint=hint, value=value)
        self.constraints = constraints


class PlanRefused(PlacementError):
    """The independent checker found a fault in a plan: a defect of ours, never hidden."""

    code = "plan-refused"


class LedgerError(AicschedError):
    """The ledger can't be read or written."""

    code = "ledger"


class LedgerConflict(LedgerError):
    """One key was written twice with different contents."""

    code = "ledger-conflict"


class LedgerCorrupt(LedgerError):
    """The hash chain of the ledger is broken."""

    code = "ledger-corrupt"


class ServeError(AicschedError):
    """A request can't be served."""

    code = "serve"


class BodyTooLarge(ServeError):
    """A request body is over its limit."""

    code = "body-too-large"


class MalformedBody(ServeError, ValueError):
    """A request body can't be decoded."""

    code = "malformed-body"


class PluginError(AicschedError):
    """An entry point can't be loaded, or fails its conformance checks."""

    code = "plugin"


class AicschedWarning(UserWarning):
    """The root of our warnings."""


def did_you_mean(word: str, known: Iterable[str], *, count: int = 3) -> str:
    """Suggest the known names nearest to a mistyped one.

    Parameters
    ----------
    word : str
        What the user wrote.
    known : iterable of str
        The names that exist.
    count : int
        At most this many suggestions.

    Returns
    -------
    str
        ``"did you mean a, b or c?"``, or a listing when nothing is near.

    Examples
    --------
    >>> did_you_mean("DEE", ["DE", "SE", "PL"], count=2)
    'did you mean DE or SE?'
    >>> did_you_mean("x", [])
    'none is known'
    """
    names = sorted({str(name) for name in known})
    if not names:
        return "none is known"
    lowered = {name.lower(): name for name in reversed(names)}
    near = [lowered[hit] for hit in difflib.get_close_matches(word.lower(), lowered, n=count, cutoff=0.0)]
    joined = near[0] if len(near) == 1 else f"{', '.join(near[:-1])} or {near[-1]}"
    return f"did you mean {joined}?"
