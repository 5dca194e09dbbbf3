"""What a backtest has done, kept in a folder, so that a killed one goes on from there.

A part's file is named by a digest of everything that it depends on: the values
and covariates, the model, the choices, and the code of the model, of this package
and of all packages installed. What doesn't fit is thus never found; a file that
was cut short or changed is found and not believed.
"""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import sys
import zipfile
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from aicsched.errors import ConfigError, OutputError
from aicsched.files import write_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = ["Checkpoint", "code_digest", "digest"]

_FORMAT: Final = b"aicsched-backtest-1"
_FAULTS: Final = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)


def digest(*things: object) -> str:
    """Return a digest of values that is the same in every process.

    Parameters
    ----------
    *things : object
        Numbers, texts, arrays, sequences, mappings, dataclasses of these; anything
        else by its pickle.

    Returns
    -------
    str
        64 hexadecimal digits.

    Raises
    ------
    ConfigError
        Something can't be pickled.

    Examples
    --------
    >>> digest(1, "a") == digest(1, "a"), digest(1, "a") == digest("1", "a")
    (True, False)
    """
    made = hashlib.sha256(_FORMAT)
    for thing in things:
        _feed(made, thing)
    return made.hexdigest()


def _feed(made: Any, thing: object) -> None:  # noqa: ANN401 - hashlib's class has no public name
    if thing is None or isinstance(thing, bool | int | float | str | bytes):
        content = thing if isinstance(thing, bytes) else repr(thing).encode()
        made.update(f"{type(thing).__name__}:{len(content)}:".encode() + content)
    elif isinstance(thing, Enum):
        _feed(made, (type(thing).__qualname__, thing.name))
    elif isinstance(thing, np.ndarray) and thing.dtype.kind != "O":
        _feed(made, ("array", str(thing.dtype), thing.shape))
        made.update(np.ascontiguousarray(thing).tobytes())
    elif isinstance(thing, tuple | list):
        made.update(f"sequence:{len(thing)}:".encode())
        for item in thing:
            _feed(made, item)
    elif isinstance(thing, dict):
        _feed(made, [item for pair in sorted(thing.items(), key=repr) for item in pair])
    elif is_dataclass(thing) and not isinstance(thing, type):
        name = type(thing).__qualname__
        _feed(made, (name, [(item.name, getattr(thing, item.name)) for item in fields(thing)]))
    else:
        _feed(made, _pickled(thing))


def _pickled(thing: object) -> bytes:
    try:
        return pickle.dumps(thing, protocol=4)
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        msg = f"{thing!r} can't be pickled ({error})"
        raise ConfigError(msg, hint="define it at the top level of a module, without open files") from error


def code_digest(model: object) -> str:
    """Return a digest of the code that a model's forecasts depend on.

    Parameters
    ----------
    model : object
        The forecaster.

    Returns
    -------
    str
        Of the sources of this package and of the model's own, and of the versions of
        Python and of every package installed.
    """
    versions = sorted(f"{item.metadata['Name']}=={item.version}" for item in metadata.distributions())
    sources: dict[str, bytes] = {}
    for name in {__name__, type(model).__module__}:
        for path in _sources(name):
            sources[str(path)] = path.read_bytes()
    contents = [hashlib.sha256(sources[path]).hexdigest() for path in sorted(sources)]
    return digest(sys.version, versions, contents)


def _sources(module: str) -> list[Path]:
    """Return the files of the package that a module belongs to, or its own."""
    whole = sys.modules.get(module.partition(".")[0])
    folders = [Path(folder) for folder in getattr(whole, "__path__", ())]
    if folders:
        return [path for folder in folders for path in sorted(folder.rglob("*.py"))]
    here = getattr(sys.modules.get(module), "__file__", None)
    return [Path(here)] if here and Path(here).is_file() else []


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A folder of finished parts.

    Parameters
    ----------
    folder : Path
        Made where it is missing.

    Raises
    ------
    OutputError
        It can't be made, or is a file.
    """

    folder: Path

    def __post_init__(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            msg = f"the checkpoint folder '{self.folder}' can't be made ({error.strerror or error})"
            raise OutputError(msg, hint="choose another folder", value=str(self.folder)) from error

    def load(self, key: str) -> dict[str, NDArray[Any]] | None:
        """Return a finished part.

        Parameters
        ----------
        key : str
            From `digest`.

        Returns
        -------
        dict of str to ndarray, or None
            None where it isn't there, or the file is damaged.
        """
        try:
            with np.load(io.BytesIO(self._path(key).read_bytes()), allow_pickle=False) as kept:
                found = {name: kept[name] for name in kept.files}
        except _FAULTS:
            return None
        seal = found.pop("seal", None)
        return found if seal is not None and str(seal) == _seal(key, found) else None

    def save(self, key: str, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Keep a finished part.

        Parameters
        ----------
        key : str
            From `digest`.
        arrays : mapping of str to ndarray
            Its results.

        Raises
        ------
        OutputError
            The file can't be written.
        """
        content = io.BytesIO()
        np.savez(content, allow_pickle=False, seal=np.array(_seal(key, dict(arrays))), **arrays)
        write_bytes(self._path(key), content.getvalue())

    def _path(self, key: str) -> Path:
        return self.folder / f"part-{key}.npz"


def _seal(key: str, arrays: dict[str, NDArray[Any]]) -> str:
    """Tie a part's content to its key: a file under a foreign name is then not believed."""
    return digest(key, json.dumps(sorted(arrays)), [arrays[name] for name in sorted(arrays)])
