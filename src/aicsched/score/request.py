"""What is asked for, and what a gram is traded against."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from aicsched.errors import ConfigError, InputError
from aicsched.slots import HOUR_S

__all__ = ["Request", "ScoreWeights"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Work that looks for a place.

    Parameters
    ----------
    vcpus : float
        Hardware threads it keeps busy, > 0.
    duration_s : float
        How long [s], > 0.
    home_region : str
        Where its data lies; "" when it has none.
    data_gb : float
        Data moved when it runs away from home [GB].
    memory_gib : float
        Memory [GiB].

    Raises
    ------
    InputError
        A number is out of range.
    """

    vcpus: float
    duration_s: float
    home_region: str = ""
    data_gb: float = 0.0
    memory_gib: float = 0.0

    def __post_init__(self) -> None:
        for name, low in (("vcpus", 0.0), ("duration_s", 0.0), ("data_gb", -1e-300), ("memory_gib", -1e-300)):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > low):
                msg = f"a request with {name} of {value}"
                raise InputError(msg, hint="give a positive number", value=value)

    def describe(self) -> str:
        """Return the request in words.

        Returns
        -------
        str
            For example ``"4 vCPUs for 2 h"``.

        Examples
        --------
        >>> Request(vcpus=4, duration_s=7200, data_gb=3, home_region="de").describe()
        '4 vCPUs for 2 h with 3 GB from de'
        """
        moved = (
            f" with {self.data_gb:g} GB from {self.home_region}" if self.data_gb and self.home_region else ""
        )
        return f"{self.vcpus:g} vCPUs for {self.duration_s / HOUR_S:g} h{moved}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreWeights:
    """Exchange rates and limits of a score; nothing is traded that isn't named here.

    Parameters
    ----------
    risk_g : float
        What a certain breach of an objective counts as [g].
    cpu_limit_share : float
        Utilisation above which an objective is broken (the runbook's 80 %).
    latency_limit_ms : float
        p99 latency objective [ms] (the runbook's 100 ms).
    service_ms : float
        Mean time of one call on a free thread [ms], for the queueing model: an assumption.
    embodied : str
        ``"sunk"``: hardware that stands already costs a decision nothing (SoCC'24,
        arXiv:2410.15087); ``"sci"``: the amortised share, for reports.

    Raises
    ------
    ConfigError
        A rate is negative or a limit out of range.
    """

    risk_g: float = 100.0
    cpu_limit_share: float = 0.8
    latency_limit_ms: float = 100.0
    service_ms: float = 10.0
    embodied: Literal["sunk", "sci"] = "sunk"

    def __post_init__(self) -> None:
        ok = (
            self.risk_g >= 0 and 0 < self.cpu_limit_share <= 1 and self.latency_limit_ms > 0 < self.service_ms
        )
        if not ok or self.embodied not in {"sunk", "sci"}:
            msg = f"exchange rates {self} are out of range"
            raise ConfigError(msg, hint="rates are >= 0, shares in (0, 1], times > 0, embodied sunk or sci")
