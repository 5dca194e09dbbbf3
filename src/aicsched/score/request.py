"""What is asked for, and what a gram is traded against."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from aicsched.domain.score import ExchangeRates
from aicsched.errors import ConfigError, InputError
from aicsched.score.slo_risk import Objectives
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
        held = f" and {self.memory_gib:g} GiB" if self.memory_gib else ""
        return f"{self.vcpus:g} vCPUs{held} for {self.duration_s / HOUR_S:g} h{moved}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreWeights:
    """Exchange rates, thresholds and hard limits of a score; nothing is traded that isn't named here.

    Parameters
    ----------
    risk_g : float
        What a certain breach of an objective counts as [g].
    g_per_usd : float
        What a dollar counts as [g/USD]; 0 tells the money and leaves it out of the total.
    cpu_limit_share : float
        Utilisation above which an objective is broken (the runbook's 80 %).
    latency_limit_ms : float
        p99 latency objective [ms] (the runbook's 100 ms).
    service_ms : float
        Mean time of one call on a free thread [ms], for the queueing model: an assumption.
    memory_limit_share : float
        Memory in use above which a node is under pressure.
    stall_limit_share : float
        Share of a slot in which tasks waited for memory (PSI) above which it is under pressure.
    embodied : str
        ``"sunk"``: hardware that stands already costs a decision nothing (SoCC'24,
        arXiv:2410.15087); ``"sci"``: the amortised share, for reports.
    regions : tuple of str
        Where work may go; empty means anywhere.
    max_g_per_kwh : float
        Above this mean intensity of its hours a candidate is refused [g/kWh].
    max_slo_risk : float
        Above this risk a candidate is refused, in [0, 1].

    Raises
    ------
    ConfigError
        A rate is negative or a limit out of range.
    """

    risk_g: float = 100.0
    g_per_usd: float = 0.0
    cpu_limit_share: float = 0.8
    latency_limit_ms: float = 100.0
    service_ms: float = 10.0
    memory_limit_share: float = 0.9
    stall_limit_share: float = 0.1
    embodied: Literal["sunk", "sci"] = "sunk"
    regions: tuple[str, ...] = ()
    max_g_per_kwh: float = math.inf
    max_slo_risk: float = 1.0

    def __post_init__(self) -> None:
        rules: tuple[tuple[str, bool, str], ...] = (
            ("risk_g", 0 <= self.risk_g < math.inf, "a number of grams from 0"),
            ("g_per_usd", 0 <= self.g_per_usd < math.inf, "a number of grams per dollar from 0"),
            ("cpu_limit_share", 0 < self.cpu_limit_share <= 1, "a share in (0, 1], not per cent"),
            ("latency_limit_ms", 0 < self.latency_limit_ms < math.inf, "a positive number of milliseconds"),
            ("service_ms", 0 < self.service_ms < math.inf, "a positive number of milliseconds"),
            ("memory_limit_share", 0 < self.memory_limit_share <= 1, "a share in (0, 1], not per cent"),
            ("stall_limit_share", 0 < self.stall_limit_share <= 1, "a share in (0, 1], not per cent"),
            ("embodied", self.embodied in {"sunk", "sci"}, "'sunk' or 'sci'"),
            ("max_g_per_kwh", self.max_g_per_kwh > 0, "a positive intensity"),
            ("max_slo_risk", 0 <= self.max_slo_risk <= 1, "a probability in [0, 1]"),
        )
        for name, holds, hint in rules:
            if not holds:
                value = getattr(self, name)
                msg = f"{name} is {value!r}, which is out of range"
                raise ConfigError(msg, hint=f"give {hint}", value=value)

    @property
    def objectives(self) -> Objectives:
        """The thresholds alone: what must not break."""
        return Objectives(
            cpu_limit_share=self.cpu_limit_share,
            latency_limit_ms=self.latency_limit_ms,
            service_ms=self.service_ms,
            memory_limit_share=self.memory_limit_share,
            stall_limit_share=self.stall_limit_share,
        )

    @property
    def rates(self) -> ExchangeRates:
        """The exchange rates alone."""
        return ExchangeRates(risk_g=self.risk_g, g_per_usd=self.g_per_usd)
