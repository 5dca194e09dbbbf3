"""What is asked of a running cluster, at what prices, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from aicsched.domain.carbon import MAX_INTENSITY_G_PER_KWH, frozen_array
from aicsched.errors import InputError
from aicsched.place.nodes.problem import MOST_GPUS, WHOLE_GPU, Requirements

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from aicsched.domain.placement import Placement
    from aicsched.slots import SlotGrid

    Floats = NDArray[np.float64]

__all__ = ["Decision", "PodAsk", "PriceBook"]

_MOST_MILLI: Final = 2**40


@dataclass(frozen=True, slots=True, kw_only=True)
class PodAsk:
    """What one pod asks.

    Parameters
    ----------
    cpu_milli, memory_mib : int
        Requests.
    num_gpu : int
        GPUs; 0 for none.
    gpu_milli : int
        Of each of them: 1000, or less of a single one that is shared.
    requirements : Requirements
        What it asks beyond room.
    duration_h : float
        How long it is expected to run [h].
    latest_start_s : float
        It may wait so long, seconds since the epoch; what is past means not at all.

    Raises
    ------
    InputError
        A number is out of range, or GPUs and their share don't go together.
    """

    cpu_milli: int
    memory_mib: int
    num_gpu: int = 0
    gpu_milli: int = 0
    requirements: Requirements = field(default_factory=Requirements)
    duration_h: float = 1.0
    latest_start_s: float = float("-inf")

    def __post_init__(self) -> None:
        for name, most in (("cpu_milli", _MOST_MILLI), ("memory_mib", _MOST_MILLI), ("num_gpu", MOST_GPUS)):
            self._check(name, 0 <= getattr(self, name) <= most, f"not from 0 to {most}")
        shares = (0,) if not self.num_gpu else range(1, WHOLE_GPU + 1) if self.num_gpu == 1 else (WHOLE_GPU,)
        self._check("gpu_milli", self.gpu_milli in shares, f"which doesn't go with {self.num_gpu} GPUs")
        self._check("duration_h", 0 < self.duration_h < np.inf, "not above 0 and finite")
        self._check("latest_start_s", self.latest_start_s < np.inf, "not a time")

    def _check(self, name: str, good: bool, words: str) -> None:  # noqa: FBT001 - what is checked
        if not good:
            msg = f"{name} of a pod is {getattr(self, name)}, {words}"
            raise InputError(msg, hint="correct the pod", value=getattr(self, name))

    @property
    def size(self) -> tuple[int, int, int, int]:
        """CPU, memory, GPUs and their share: what room depends on."""
        return self.cpu_milli, self.memory_mib, self.num_gpu, self.gpu_milli


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PriceBook:
    """What a kWh emits and a vCPU-hour is worth, by region and slot.

    Parameters
    ----------
    slots : SlotGrid
        T slots, at least one. Before and after them the first and the last go on.
    regions : tuple of str
        R regions.
    g_per_kwh : ndarray, shape (R, T)
        Carbon intensity, as foreseen.
    price_g_per_vcpu_h : ndarray, shape (R, T)
        Shadow price of a vCPU-hour [g]: what a plan says that room is worth there and then.

    Raises
    ------
    InputError
        Shapes differ, or a number is negative, not finite or beyond what a grid emits.
    """

    slots: SlotGrid
    regions: tuple[str, ...]
    g_per_kwh: Floats
    price_g_per_vcpu_h: Floats

    def __post_init__(self) -> None:
        shape = (len(self.regions), self.slots.count)
        for name, most in (("g_per_kwh", MAX_INTENSITY_G_PER_KWH), ("price_g_per_vcpu_h", np.inf)):
            given = frozen_array(getattr(self, name))
            if given.shape != shape or not given.size:
                msg = f"{name} has shape {given.shape} for {shape[0]} regions and {shape[1]} slots"
                raise InputError(msg, hint="give a row a region and a column a slot", value=given.shape)
            wrong = ~((given >= 0) & (given <= most) & np.isfinite(given))
            if wrong.any():
                row, slot = (int(found[0]) for found in np.nonzero(wrong))
                msg = f"{name} of '{self.regions[row]}' in slot {slot} is {given[row, slot]}"
                raise InputError(msg, hint=f"it lies from 0 to {most:g}", value=float(given[row, slot]))
            object.__setattr__(self, name, given)

    @classmethod
    def from_placement(cls, placement: Placement, g_per_kwh: Mapping[str, Sequence[float]]) -> PriceBook:
        """Take over the prices of a plan.

        Parameters
        ----------
        placement : Placement
            With its prices.
        g_per_kwh : mapping of str to sequence of float
            Carbon intensity of each region in each slot of the plan.

        Returns
        -------
        PriceBook
            Of the regions of the plan.

        Raises
        ------
        InputError
            A region of the plan has no intensity, or as in the class.
        """
        regions = tuple(placement.prices_g_per_vcpu_h)
        missing = [name for name in regions if name not in g_per_kwh]
        if missing:
            msg = f"region '{missing[0]}' of the plan has no carbon intensity"
            raise InputError(msg, hint="give one for each region of the plan", value=missing)
        return cls(
            slots=placement.slots,
            regions=regions,
            g_per_kwh=np.array([g_per_kwh[name] for name in regions], np.float64),
            price_g_per_vcpu_h=np.array(
                [placement.prices_g_per_vcpu_h[name] for name in regions], np.float64
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Where and when a pod should run.

    Parameters
    ----------
    node : int
        Index of its node, for which it should wait until `start_s`; -1 where none has room.
    gpus : tuple of int
        The GPUs it takes there.
    start_s : float
        When it should start, seconds since the epoch: now, or the start of a later slot.
    node_now : int
        The best node if it starts now all the same; -1 where none has room.
    energy_g, price_g, room_g : float
        What it costs on `node` from `start_s` on: grams of the watts it adds, the plan's price of its
        vCPU-hours, and GPU that it starves, at its exchange rate [g]. 0 without a node.
    """

    node: int
    gpus: tuple[int, ...]
    start_s: float
    node_now: int
    energy_g: float
    price_g: float
    room_g: float

    @property
    def total_g(self) -> float:
        """Sum of the parts [g]: what was compared."""
        return self.energy_g + self.price_g + self.room_g
