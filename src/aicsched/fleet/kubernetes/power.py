"""From a node's labels to the power of its machine, and why that one was taken.

What somebody wrote on the node counts most, then what Node Feature Discovery read from
the CPU itself, then the instance type. Where none tells, the machine is of an unknown
family, whose power is the median of all families and may be as low as the lowest and as
high as the highest.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

from aicsched.data import load_table
from aicsched.data.instances import UNKNOWN_FAMILY, instance_cpu
from aicsched.errors import InputError
from aicsched.footprint.power import families, family_power

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["FAMILY_LABEL", "INSTANCE_LABELS", "PROVIDERS", "NodePower", "power_of"]

FAMILY_LABEL: Final = "aicsched.io/cpu-family"
INSTANCE_LABELS: Final = ("node.kubernetes.io/instance-type", "beta.kubernetes.io/instance-type")
# By the beginning of a node's providerID, as the cloud controllers write it.
PROVIDERS: Final = {"aws": "aws", "gce": "gcp", "azure": "azure", "ibm": "ibm", "ibmcloud": "ibm"}
_NFD: Final = "feature.node.kubernetes.io/cpu-"
_NO_HINTS: Final = (
    "neither aicsched.io/cpu-family, nor labels of Node Feature Discovery, nor an instance type"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePower:
    """The power model of a node.

    Parameters
    ----------
    family : str
        Key of the table of power by CPU family, or ``"unknown"``.
    idle_w, max_w : float
        Power of the node's threads, idle and at full load [W].
    source : str
        What told the family: ``label``, ``nfd``, ``instance-type`` or ``fallback``.
    reason : str
        Why the family is unknown; "" where it is known.
    """

    family: str
    idle_w: float
    max_w: float
    source: str
    reason: str = ""


@cache
def _models() -> Mapping[tuple[str, str, str], tuple[tuple[str, str], ...]]:
    """Return what feature tells which family, by vendor, family and model of CPUID."""
    made: dict[tuple[str, str, str], tuple[tuple[str, str], ...]] = {}
    for row in load_table("cpu_models"):
        key = (row["vendor"].lower(), row["cpuid_family"], row["cpuid_model"])
        made[key] = (*made.get(key, ()), (row["feature"], row["cpu_family"]))
    return made


def _by_cpuid(labels: Mapping[str, str]) -> tuple[str, str]:
    """Return the family that CPUID tells, "" for none, and why there is none."""
    vendor, family, model = (labels.get(f"{_NFD}model.{name}", "") for name in ("vendor_id", "family", "id"))
    if not (vendor and family and model):
        return "", ""
    rows = _models().get((vendor.lower(), family, model))
    if rows is None:
        return "", f"no power of {vendor} family {family} model {model} is published"
    features = {feature for feature, _ in rows if feature}
    if features and not any(name.startswith(f"{_NFD}cpuid.") for name in labels):
        return "", f"{vendor} family {family} model {model} may be several CPUs, and no cpu-cpuid label tells"
    told = next((cpu for feature, cpu in rows if labels.get(f"{_NFD}cpuid.{feature}") == "true"), "")
    return told or next(cpu for feature, cpu in rows if not feature), ""


def power_of(labels: Mapping[str, str], *, vcpus: float, provider: str = "") -> NodePower:
    """Tell the power of a node.

    Parameters
    ----------
    labels : mapping of str to str
        Of the node.
    vcpus : float
        What it has, by its capacity.
    provider : str
        ``aws``, ``gcp``, ``azure``, ``ibm`` or "".

    Returns
    -------
    NodePower
        With the reason where its family is unknown.

    Raises
    ------
    InputError
        The label ``aicsched.io/cpu-family`` names no family of the table.

    Examples
    --------
    >>> power_of({"node.kubernetes.io/instance-type": "c6a.4xlarge"}, vcpus=16, provider="aws")
    NodePower(family='amd-epyc-gen3', idle_w=6.78..., max_w=30.65..., source='instance-type', reason='')
    >>> power_of({}, vcpus=16).family
    'unknown'
    """
    named = labels.get(FAMILY_LABEL, "")
    if named:
        family_power(named)
        return _model(named, vcpus, "label")
    read, reason = _by_cpuid(labels)
    if read:
        return _model(read, vcpus, "nfd")
    kind = next((labels[name] for name in INSTANCE_LABELS if labels.get(name)), "")
    if kind and provider:
        try:
            cpu = instance_cpu(kind, provider)
        except InputError as error:
            reason = reason or error.message
        else:
            if cpu.family in families():
                return _model(cpu.family, vcpus * max(cpu.hw_threads_per_vcpu, 1), "instance-type")
            reason = reason or cpu.reason
    elif kind:
        reason = reason or f"nothing tells whose instance type '{kind}' is"
    return _model(UNKNOWN_FAMILY, vcpus, "fallback", reason or _NO_HINTS)


def _model(family: str, threads: float, source: str, reason: str = "") -> NodePower:
    power = family_power(family)
    return NodePower(
        family=family,
        idle_w=power.idle_w_per_vcpu * threads,
        max_w=power.max_w_per_vcpu * threads,
        source=source,
        reason=reason,
    )
