"""Files of the ROADEF/EURO challenge 2012: whole numbers, split by any white space."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from aicsched.errors import InputError, OutputError
from aicsched.place.reassign.problem import Reassignment, build_reassignment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["read_assignment", "read_reassignment", "write_assignment"]


def _numbers(path: Path) -> NDArray[np.int64]:
    """Read all numbers of a file, plain or gzipped."""
    try:
        raw = path.read_bytes()
        text = (gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw).decode("ascii")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as fault:
        msg = f"{path} can't be read: {fault}"
        raise InputError(
            msg, hint="give a text file of whole numbers, plain or .gz", value=str(path)
        ) from fault
    words = text.split()
    try:
        return np.array([int(word) for word in words], dtype=np.int64)
    except (ValueError, OverflowError) as fault:
        at, word = next((at, word) for at, word in enumerate(words) if not _is_whole(word))
        msg = f"{path}: '{word[:40]}', word {at + 1} of {len(words)}, is no whole number of 64 bits"
        raise InputError(msg, hint="the format holds whole numbers only", value=word[:40]) from fault


def _is_whole(word: str) -> bool:
    try:
        return abs(int(word)) < 2**63
    except ValueError:
        return False


class _Reader:
    """Takes numbers from the front, and says which part of the file ended too soon."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.values = _numbers(path)
        self.at = 0

    def table(self, part: str, rows: int, columns: int) -> NDArray[np.int64]:
        """Take rows of numbers."""
        count = rows * columns
        left = len(self.values) - self.at
        if count > left:
            msg = f"{self.path}: {part} should be {rows} x {columns} numbers, but {left} are left"
            raise InputError(msg, hint="the file is cut short, or a count before is wrong", value=left)
        found = self.values[self.at : self.at + count].reshape(rows, columns)
        self.at += count
        return found

    def count(self, part: str, least: int = 1) -> int:
        """Take how many of something follow."""
        value = int(self.table(f"the number of {part}", 1, 1)[0, 0])
        if value < least:
            msg = f"{self.path}: {value} {part}"
            raise InputError(msg, hint=f"there must be at least {least}", value=value)
        return value

    def end(self) -> None:
        """Refuse what follows the last part."""
        left = len(self.values) - self.at
        if left:
            msg = f"{self.path}: {left} numbers follow the last part"
            raise InputError(msg, hint="a count before is wrong, or two files were joined", value=left)


def _services(reader: _Reader) -> tuple[list[int], list[tuple[int, int]]]:
    spread: list[int] = []
    pairs: list[tuple[int, int]] = []
    for service in range(reader.count("services")):
        least, count = reader.table(f"service {service}", 1, 2)[0].tolist()
        if count < 0:
            msg = f"{reader.path}: service {service} has {count} dependencies"
            raise InputError(msg, hint="the number of services or machines is wrong", value=count)
        named = reader.table(f"the dependencies of service {service}", 1, count)[0].tolist()
        spread.append(least)
        pairs += [(service, other) for other in named]
    return spread, pairs


def read_reassignment(model: str | Path, assignment: str | Path) -> Reassignment:
    """Read an instance of the challenge.

    Parameters
    ----------
    model : str or Path
        ``model_*.txt``, plain or gzipped: resources, machines, services, processes, balances, weights.
    assignment : str or Path
        ``assignment_*.txt``: the machine of each process now.

    Returns
    -------
    Reassignment
        With all numbers of both files.

    Raises
    ------
    InputError
        A file that can't be read, is cut short, is too long, or holds impossible numbers.
    """
    reader = _Reader(Path(model))
    resources = reader.table("resources", reader.count("resources"), 2)
    r = len(resources)
    m = reader.count("machines")
    machines = reader.table("machines", m, 2 + 2 * r + m)
    spread, pairs = _services(reader)
    processes = reader.table("processes", reader.count("processes"), r + 2)
    balance = reader.table("balance costs", reader.count("balance costs", 0), 4)
    weights = reader.table("weights", 1, 3)[0].tolist()
    reader.end()
    try:
        return build_reassignment(
            need=processes[:, 1 : 1 + r],
            service=processes[:, 0],
            home=read_assignment(assignment, len(processes)),
            process_move_cost=processes[:, 1 + r],
            capacity=machines[:, 2 : 2 + r],
            safety_capacity=machines[:, 2 + r : 2 + 2 * r],
            neighbourhood=_renumbered(machines[:, 0]),
            location=_renumbered(machines[:, 1]),
            machine_move_cost=machines[:, 2 + 2 * r :],
            load_weight=resources[:, 1],
            transient=resources[:, 0],
            min_locations=spread,
            dependencies=pairs,
            balance=balance,
            move_weights=(weights[0], weights[1], weights[2]),
        )
    except InputError as fault:
        msg = f"{model}: {fault.message}"
        raise InputError(msg, hint=fault.hint, value=fault.value) from fault


def _renumbered(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Give labels numbers from 0 without gaps: only equality matters."""
    return np.unique(labels, return_inverse=True)[1]


def read_assignment(path: str | Path, processes: int) -> NDArray[np.int64]:
    """Read the machine of each process.

    Parameters
    ----------
    path : str or Path
        ``assignment_*.txt``, plain or gzipped.
    processes : int
        How many numbers there must be.

    Returns
    -------
    ndarray of int64, shape (P,)
        Machines.

    Raises
    ------
    InputError
        No such file, or another count.
    """
    found = _numbers(Path(path))
    if len(found) != processes:
        msg = f"{path} assigns {len(found)} processes, where the model has {processes}"
        raise InputError(msg, hint="give the assignment of the same instance", value=len(found))
    return found


def write_assignment(path: str | Path, assignment: Sequence[int] | NDArray[np.int64]) -> None:
    """Write the machine of each process in the challenge's format.

    Parameters
    ----------
    path : str or Path
        Written anew.
    assignment : sequence of int, shape (P,)
        Machines.

    Raises
    ------
    OutputError
        The file can't be written.
    """
    try:
        Path(path).write_text(" ".join(str(int(machine)) for machine in assignment) + "\n", encoding="ascii")
    except OSError as fault:
        msg = f"{path} can't be written: {fault.strerror}"
        raise OutputError(
            msg, hint="choose a folder that exists and can be written", value=str(path)
        ) from fault
