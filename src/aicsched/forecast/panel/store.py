"""A panel as a file: a line of text that says what it is, its digest, and arrays in numpy's own format.

The digest is over all that follows it: a file that is cut, changed or none of ours is
refused, never half believed. Nothing in it is executed.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from aicsched.errors import AicschedError, InputError, SourceUnavailable
from aicsched.files import write_bytes
from aicsched.forecast.kernels.panel import layout
from aicsched.forecast.panel.geometry import Geometry

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Saved", "read", "write"]

_MAGIC: Final = b"aicsched panel 1\n"
_DIGEST_BYTES: Final = 65  # in hexadecimal, and the end of the line


class Saved(NamedTuple):
    """All that a panel is."""

    geometry: Geometry
    labels: tuple[str, ...]
    state: NDArray[np.float32]
    bounds: NDArray[np.float64]
    next_step: int | None


def write(path: Path | str, saved: Saved) -> Path:
    """Write a panel.

    Parameters
    ----------
    path : path
        Where.
    saved : Saved
        The panel.

    Returns
    -------
    Path
        The same.

    Raises
    ------
    OutputError
        It can't be written.
    """
    about = {
        **asdict(saved.geometry),
        "labels": saved.labels,
        "next_step": saved.next_step,
        "experts": layout.EXPERTS,
        "order": layout.ORDER,
    }
    text = np.frombuffer(json.dumps(about).encode(), dtype=np.uint8)
    body = io.BytesIO()
    np.savez(body, about=text, state=saved.state, bounds=saved.bounds)
    content = body.getvalue()
    digest = hashlib.sha256(content).hexdigest().encode()
    return write_bytes(Path(path), _MAGIC + digest + b"\n" + content)


def read(path: Path | str) -> Saved:
    """Read a panel.

    Parameters
    ----------
    path : path
        What `write` wrote.

    Returns
    -------
    Saved
        The panel.

    Raises
    ------
    SourceUnavailable
        The file can't be read.
    InputError
        It is no panel, is cut or changed, or comes from another version.
    """
    try:
        whole = Path(path).read_bytes()
    except OSError as error:
        msg = f"'{path}' can't be read ({error.strerror or error})"
        raise SourceUnavailable(msg, hint="check the path and the permissions", value=str(path)) from error
    head, body = whole[: len(_MAGIC)], whole[len(_MAGIC) + _DIGEST_BYTES :]
    if head != _MAGIC:
        family = head.startswith(_MAGIC[:-2]) and len(head) == len(_MAGIC)
        what = "was written by another version" if family else "is no saved panel"
        msg = f"'{path}' {what}"
        raise InputError(msg, hint="save the panel anew with this version", value=str(path))
    if hashlib.sha256(body).hexdigest().encode() + b"\n" != whole[len(_MAGIC) :][:_DIGEST_BYTES]:
        msg = f"'{path}' is cut or was changed: its digest doesn't fit"
        raise InputError(msg, hint="restore it from a copy, or start a new panel", value=str(path))
    try:
        return _unpacked(body)
    except (AicschedError, KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
        msg = f"'{path}' holds no panel that this version understands"
        raise InputError(msg, hint="save the panel anew with this version", value=str(path)) from error


def _unpacked(body: bytes) -> Saved:
    with np.load(io.BytesIO(body), allow_pickle=False) as arrays:
        about: dict[str, Any] = json.loads(arrays["about"].tobytes())
        state, bounds = arrays["state"], arrays["bounds"]
    geometry = Geometry(about["step_s"], about["horizon"], tuple(about["levels"]))
    labels = tuple(about["labels"])
    if (about["experts"], about["order"]) != (layout.EXPERTS, layout.ORDER):
        raise ValueError(about)
    if state.shape != (len(labels), geometry.places) or bounds.shape != (len(labels), 2):
        raise ValueError(state.shape)
    return Saved(geometry, labels, np.ascontiguousarray(state), bounds, about["next_step"])
