"""What machines need, with what nobody saw counted against us."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from aicsched.errors import ConfigError, InputError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from aicsched.domain.fleet import Fleet
    from aicsched.domain.telemetry import Telemetry

__all__ = ["Demand", "known_demand"]


@dataclass(frozen=True, slots=True, eq=False)
class Demand:
    """What machines were seen to need.

    Parameters
    ----------
    vcpus, memory_gib : dict of str to ndarray
        Per machine and slot, without gaps.
    coverage_share : dict of str to float
        Share of slots in which each machine was seen.
    """

    vcpus: dict[str, NDArray[np.float64]]
    memory_gib: dict[str, NDArray[np.float64]]
    coverage_share: dict[str, float]

    def together(self, resource: str, names: Iterable[str]) -> NDArray[np.float64]:
        """Sum some machines slot by slot.

        Parameters
        ----------
        resource : str
            ``"cpu"`` or ``"memory"``.
        names : iterable of str
            Machines, at least one.

        Returns
        -------
        ndarray, shape (slots,)
            In vCPUs or GiB.
        """
        found = self.vcpus if resource == "cpu" else self.memory_gib
        return np.sum([found[name] for name in names], axis=0)


def _filled(
    values: NDArray[np.float64], full: float, *, level: float, least: float
) -> tuple[NDArray[np.float64], float]:
    seen = np.isfinite(values)
    coverage = float(seen.mean()) if len(values) else 0.0
    if coverage < least or not seen.any():
        return np.full(len(values), full), coverage
    own = float(np.quantile(values[seen], level))
    return np.where(seen, values, own) * full, coverage


def known_demand(
    fleet: Fleet, telemetry: Telemetry, *, level: float = 0.95, min_coverage_share: float = 0.95
) -> Demand:
    """Lay out what machines need, with what nobody saw counted against us.

    Parameters
    ----------
    fleet : Fleet
        With machines.
    telemetry : Telemetry
        What was seen of them.
    level : float
        A slot without a value gets this quantile of the machine's others.
    min_coverage_share : float
        A machine that was seen in fewer slots, or never, counts as fully used.

    Returns
    -------
    Demand
        Without gaps.

    Raises
    ------
    InputError
        The fleet has no machines.
    ConfigError
        A share is not in (0, 1].
    """
    for name, share in (("level", level), ("min_coverage_share", min_coverage_share)):
        if not 0 < share <= 1:
            msg = f"{name} is {share}"
            raise ConfigError(msg, hint="give a share in (0, 1], such as 0.95", value=share)
    if not fleet.nodes:
        msg = "the fleet has no machines, so nothing is known of what they need"
        raise InputError(msg, hint="add nodes (see `aicsched schema nodes`)")
    row = {name: index for index, name in enumerate(telemetry.nodes)}
    nothing = np.full(len(telemetry.slots), np.nan)
    vcpus: dict[str, NDArray[np.float64]] = {}
    memory: dict[str, NDArray[np.float64]] = {}
    coverage: dict[str, float] = {}
    for node in fleet.nodes:
        at = row.get(node.name)
        cpu_share = nothing if at is None else telemetry.cpu_share[at]
        memory_share = nothing if at is None else telemetry.memory_share[at]
        vcpus[node.name], coverage[node.name] = _filled(
            cpu_share, node.vcpus, level=level, least=min_coverage_share
        )
        memory[node.name], _ = _filled(memory_share, node.memory_gib, level=level, least=min_coverage_share)
    return Demand(vcpus, memory, coverage)
