"""What nodes did: utilisation over time, with unknown kept apart from idle."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import numpy as np

from aicsched.domain.carbon import frozen_array
from aicsched.errors import SignalInvalid

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from aicsched.slots import SlotGrid

__all__ = ["OPTIONAL", "TOPS", "Telemetry"]

# The largest value each array may hold.
TOPS: Final[Mapping[str, float]] = MappingProxyType(
    {
        "cpu_share": 1.0,
        "network_mb": np.inf,
        "memory_share": 1.0,
        "disk_mb": np.inf,
        "cpu_stall_share": 1.0,
        "memory_stall_share": 1.0,
        "io_stall_share": 1.0,
        "latency_p99_ms": np.inf,
        "ready_share": 1.0,
        "restarts": np.inf,
        "power_w": np.inf,
    }
)
# Those that a source may not have at all.
OPTIONAL: Final = tuple(TOPS)[3:]


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
    disk_mb : ndarray, same shape, optional
        Megabytes read from and written to disks in each slot. For this and all that follow,
        None says that the source doesn't have it, and NaN is unknown.
    cpu_stall_share, memory_stall_share, io_stall_share : ndarray, same shape, optional
        Share of the slot in which some task waited for CPU, memory or I/O (Linux pressure stall
        information, "some"), in [0, 1].
    latency_p99_ms : ndarray, same shape, optional
        99th percentile of the response time of what runs on the node [ms].
    ready_share : ndarray, same shape, optional
        Share of the slot in which the node was ready, in [0, 1].
    restarts : ndarray, same shape, optional
        How many containers on the node started anew in the slot.
    power_w : ndarray, same shape, optional
        Mean measured power in each slot [W].

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
    disk_mb: NDArray[np.float64] | None = None
    cpu_stall_share: NDArray[np.float64] | None = None
    memory_stall_share: NDArray[np.float64] | None = None
    io_stall_share: NDArray[np.float64] | None = None
    latency_p99_ms: NDArray[np.float64] | None = None
    ready_share: NDArray[np.float64] | None = None
    restarts: NDArray[np.float64] | None = None
    power_w: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        for name, top in TOPS.items():
            if name not in OPTIONAL or getattr(self, name) is not None:
                object.__setattr__(self, name, self._checked(name, top))

    def _checked(self, name: str, top: float) -> NDArray[np.float64]:
        shape = (len(self.nodes), len(self.slots))
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
        return values
