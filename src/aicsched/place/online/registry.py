"""Online policies by their published names."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from aicsched.errors import ConfigError, PluginError, did_you_mean
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

GROUP: Final = "aicsched.online_policies"
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
        One of `ONLINE`, or a plug-in of the group ``aicsched.online_policies``; a hyphen is as
        good as an underscore. Ours come first.

    Returns
    -------
    OnlinePolicy or OraclePolicy
        A new object.

    Raises
    ------
    ConfigError
        There is no such policy.
    PluginError
        A plug-in can't be loaded, or is no policy of this name.

    Examples
    --------
    >>> make_online("carbon-time").name
    'carbon_time'
    """
    plain = name.strip().lower().replace("-", "_")
    maker: Callable[[], OnlinePolicy | OraclePolicy] | None = ONLINE.get(plain)
    if maker is not None:
        return maker()
    from aicsched.plugins import load_plugin, plugin_names  # noqa: PLC0415 - scanning entry points takes time

    strangers = {item.lower().replace("-", "_"): item for item in plugin_names(GROUP)}
    if plain not in strangers:
        msg = f"there is no online policy '{name}'"
        raise ConfigError(msg, hint=did_you_mean(name, {*ONLINE, *strangers}), value=name)
    made = load_plugin(GROUP, strangers[plain])()
    lacks = [item for item in ("name", "lengths", "decide") if not hasattr(made, item)]
    if lacks or str(made.name).lower().replace("-", "_") != plain:
        what = f"has no {lacks[0]}" if lacks else f"calls itself '{made.name}'"
        msg = f"the plug-in '{strangers[plain]}' is no policy of this name: it {what}"
        raise PluginError(msg, hint="run aicsched.testing.check_online_policy on it", value=name)
    return made
