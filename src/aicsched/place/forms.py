"""The kernels of placement in two forms: with profiles of jobs, and without (see `kernels.levels`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aicsched.place import kernels

if TYPE_CHECKING:
    from aicsched.jit import Kernel

__all__ = ["LEVELS", "PLAIN", "Kernels"]


@dataclass(frozen=True, slots=True)
class Kernels:
    """The kernels in one of their forms."""

    answer: Kernel
    bound: Kernel
    evict: Kernel
    insert: Kernel
    place: Kernel
    price: Kernel
    repair: Kernel
    runner_up: Kernel
    settle: Kernel


PLAIN: Final = Kernels(
    answer=kernels.ANSWER,
    bound=kernels.BOUND,
    evict=kernels.EVICT,
    insert=kernels.INSERT,
    place=kernels.PLACE,
    price=kernels.PRICE,
    repair=kernels.REPAIR,
    runner_up=kernels.RUNNER_UP,
    settle=kernels.SETTLE,
)
LEVELS: Final = Kernels(
    answer=kernels.LEVEL_ANSWER,
    bound=kernels.LEVEL_BOUND,
    evict=kernels.LEVEL_EVICT,
    insert=kernels.LEVEL_INSERT,
    place=kernels.LEVEL_PLACE,
    price=kernels.LEVEL_PRICE,
    repair=kernels.LEVEL_REPAIR,
    runner_up=kernels.LEVEL_RUNNER_UP,
    settle=kernels.LEVEL_SETTLE,
)
