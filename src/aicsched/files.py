"""Writing files whole or not at all."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from aicsched.errors import OutputError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["write_bytes", "write_text"]


def write_text(path: Path, text: str) -> Path:
    """Write a text file so that a reader never meets half of it.

    Parameters
    ----------
    path : Path
        Where; its folder exists.
    text : str
        All of it, written as UTF-8.

    Returns
    -------
    Path
        The same.

    Raises
    ------
    OutputError
        It can't be written; what stood there before still stands.
    """
    return write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> Path:
    """Write a file so that a reader never meets half of it.

    Parameters
    ----------
    path : Path
        Where; its folder exists.
    content : bytes
        All of it.

    Returns
    -------
    Path
        The same.

    Raises
    ------
    OutputError
        It can't be written; what stood there before still stands.
    """
    # The process is part of the name: two that write the same file don't take each other's part away.
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(content)
        part.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        msg = f"'{path}' can't be written ({error.strerror or error})"
        raise OutputError(
            msg, hint="free space, mend the permissions or choose another folder", value=str(path)
        ) from error
    return path
