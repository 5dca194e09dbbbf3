"""What nodes did: utilisation over time, with unknown kept apart from idle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from aicsched.domain.carbon import frozen_array
from aicsched.errors import SignalInvalid

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aicsched.slots import SlotGrid

__all__ = ["Telemetry"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Telemetry:
    """Utilisation of nodes on a slot grid.

    Parameters
    ----------
    nodes : tuple of str
        Node names, one a row.
    slots : SlotGrid
        The time grid.
    cpu_share : ndarray, shape (len(nodes), len(slots))
        Mean CPU utilisation in each slot, in [0, 1]; NaN is *unknown*, never idle.
    network_mb : ndarray, same shape
        Megabytes received and sent in each slot; NaN is unknown.
    memory_share : ndarray, same shape
        Memory in use, in [0, 1]; NaN is unknown.
    source : str
        Id of the source.
    synthetic : bool
        True when it was made up.

    Raises
    ------
    SignalInvalid
        Shapes differ or a value is out of range.
    """

    nodes: tuple[str, ...]
    slots: SlotGrid
    cpu_share: NDArray[np.float64]
    network_mb: NDArray[np.float64]
    memory_share: NDArray[np.float64]
    source: str
    synthetic: bool = False

    def __post_init__(self) -> None:
        shape = (len(self.nodes), len(self.slots))
        for name, top in (("cpu_share", 1.0), ("network_mb", np.inf), ("memory_share", 1.0)):
            values = frozen_array(getattr(self, name))
            if values.shape != shape:
                msg = f"telemetry {name} has shape {values.shape} for {shape[0]} nodes and {shape[1]} slots"
                raise SignalInvalid(msg, hint="give one row a node and one column a slot")
            bad = (values < 0) | (values > top * (1 + 1e-9)) | np.isinf(values)
            if bad.any():
                row = int(np.argmax(bad.any(axis=1)))
                msg = f"node '{self.nodes[row]}': {name} of {values[bad][0]:g} is out of range"
                hint = f"use 0..{top:g}; leave unknown values empty"
                raise SignalInvalid(msg, hint=hint, value=float(values[bad][0]))
            object.__setattr__(self, name, values)
