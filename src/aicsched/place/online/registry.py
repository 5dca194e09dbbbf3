"""Online policies by their published names."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from aicsched.errors import ConfigError, did_you_mean
from aicsched.place.online.pausing import OprDoubleThreshold
from aicsched.place.online.paying import AllWait, ResFirst, SpotFirst, SpotRes
from aicsched.place.online.pricing import Price
from aicsched.place.online.quotas import Cap, CicsVcc
from aicsched.place.online.roaming import RoamingMpc, RoamingPrice
from aicsched.place.online.rolling import Mpc, Robust
from aicsched.place.online.scaling import CarbonScaler
from aicsched.place.online.waiting import (
    CarbonTime,
    EcovisorThreshold,
    LowestSlot,
    LowestWindow,
    NoWait,
    WaitAwhile,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from aicsched.place.online.protocol import OnlinePolicy, OraclePolicy

__all__ = ["ONLINE", "ROAMING", "make_online"]

ONLINE: Final = MappingProxyType(
    {
        policy.name: policy
        for policy in (
            NoWait,
            LowestSlot,
            LowestWindow,
            CarbonTime,
            WaitAwhile,
            EcovisorThreshold,
            AllWait,
            ResFirst,
            SpotFirst,
            SpotRes,
            Price,
            Robust,
            Mpc,
            CarbonScaler,
            OprDoubleThreshold,
            Cap,
            CicsVcc,
        )
    }
)
"""From a published name to what makes the policy."""

ROAMING: Final = MappingProxyType({policy.name: policy for policy in (RoamingPrice, RoamingMpc)})
"""The same of those that choose among several sites, too."""


def make_online(name: str) -> OnlinePolicy | OraclePolicy:
    """Return an online policy by its name.

    Parameters
    ----------
    name : str
        One of `ONLINE`; a hyphen is as good as an underscore.

    Returns
    -------
    OnlinePolicy or OraclePolicy
        A new object.

    Raises
    ------
    ConfigError
        There is no such policy.

    Examples
    --------
    >>> make_online("carbon-time").name
    'carbon_time'
    """
    plain = name.strip().lower().replace("-", "_")
    maker: Callable[[], OnlinePolicy | OraclePolicy] | None = ONLINE.get(plain)
    if maker is None:
        msg = f"there is no online policy '{name}'"
        raise ConfigError(msg, hint=did_you_mean(name, ONLINE), value=name)
    return maker()
