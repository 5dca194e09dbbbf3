"""Hard constraints: which nodes a pod must not go to, and why, in texts that are alike.

The scheduler joins equal reasons into one line of the pod's event, so a reason names
the rule and neither a node nor a number. Where a fact is unknown that a constraint is
about, the node is refused: who asks for a limit is not served by a guess.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from aicsched.extender.names import ALLOWED_REGIONS, MAX_INTENSITY

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from aicsched.extender.podrequest import PodRequest
    from aicsched.score.request import ScoreWeights

    Array = NDArray[np.float64]

__all__ = ["Refusals", "asks_hard", "refusals_of"]

_REASONS: Final = (
    "",
    f"the pod's {ALLOWED_REGIONS} doesn't name the node's region",
    f"the pod's {MAX_INTENSITY} is no positive number",
    f"the grid is above the pod's {MAX_INTENSITY}",
    f"the grid's intensity is unknown, which the pod's {MAX_INTENSITY} needs",
    "the policy doesn't allow the node's region",
    "the grid is above the policy's max_g_per_kwh",
    "the grid's intensity is unknown, which the policy's max_g_per_kwh needs",
    "the risk is above the policy's max_slo_risk",
    "the node isn't known yet, which a hard constraint needs",
)
_REGION, _UNREADABLE, _ABOVE, _UNKNOWN = 1, 2, 3, 4
_POLICY_REGION, _POLICY_ABOVE, _POLICY_UNKNOWN, _RISK = 5, 6, 7, 8
_STRANGER: Final = 9


def _nobody() -> NDArray[np.int8]:
    return np.empty(0, dtype=np.int8)


@dataclass(frozen=True, slots=True, eq=False)
class Refusals:
    """Why nodes are refused.

    Parameters
    ----------
    codes : ndarray of int8, shape (n,)
        0 for a node that passes. By default no node is known, so that each is refused.
    """

    codes: NDArray[np.int8] = field(default_factory=_nobody)

    def told(
        self, names: Sequence[str], places: NDArray[np.int64]
    ) -> tuple[Mapping[str, str], Mapping[str, str]]:
        """Tell which of the offered nodes fail.

        Parameters
        ----------
        names : sequence of str
            As offered.
        places : ndarray of int64, shape (len(names),)
            Where each stands, -1 for one that isn't known.

        Returns
        -------
        tuple of dict of str to str
            Name to reason: those that preemption might help, and those that it can't.
        """
        if len(self.codes):
            codes = np.where(places >= 0, self.codes[np.maximum(places, 0)], _STRANGER)
        else:
            codes = np.full(len(names), _STRANGER)
        found = np.flatnonzero(codes).tolist()
        helped = {names[at]: _REASONS[_RISK] for at in found if codes[at] == _RISK}
        lost = {names[at]: _REASONS[codes[at]] for at in found if codes[at] != _RISK}
        return helped, lost

    def reason(self, place: int) -> str:
        """Return why one node is refused, "" where it isn't."""
        return _REASONS[self.codes[place]]


def asks_hard(request: PodRequest, limits: ScoreWeights | None) -> bool:
    """Tell whether anything can be refused at all.

    Parameters
    ----------
    request : PodRequest
        With what the pod asks for.
    limits : ScoreWeights or None
        With the operator's limits.

    Returns
    -------
    bool
        False for nearly all pods.
    """
    own = request.allowed_regions is not None or request.max_g_per_kwh is not None
    if own or MAX_INTENSITY in request.unreadable:
        return True
    return limits is not None and bool(
        limits.regions or math.isfinite(limits.max_g_per_kwh) or limits.max_slo_risk < 1
    )


def refusals_of(
    request: PodRequest,
    limits: ScoreWeights | None,
    *,
    regions: Sequence[str],
    g_per_kwh: Array,
    slo_risk: Callable[[], Array],
) -> Refusals:
    """Hold nodes against all that a pod, or its namespace's policy, asks for.

    Parameters
    ----------
    request : PodRequest
        With what the pod asks for.
    limits : ScoreWeights or None
        With the operator's limits, where they are hard.
    regions : sequence of str
        Region of each of n nodes.
    g_per_kwh : ndarray, shape (n,)
        Mean intensity over the pod's life; NaN is unknown.
    slo_risk : callable
        Gives the risk of each node, shape (n,).

    Returns
    -------
    Refusals
        The first rule that a node breaks, in the order of this module's list.
    """
    codes = np.zeros(len(regions), dtype=np.int8)

    def refuse(broken: NDArray[np.bool_], code: int) -> None:
        codes[(codes == 0) & broken] = code

    def above(limit: float, over: int, unknown: int) -> None:
        refuse(g_per_kwh > limit, over)
        refuse(np.isnan(g_per_kwh), unknown)

    if request.allowed_regions is not None:
        refuse(~np.isin(regions, request.allowed_regions), _REGION)
    if MAX_INTENSITY in request.unreadable:
        codes[codes == 0] = _UNREADABLE
    if request.max_g_per_kwh is not None:
        above(request.max_g_per_kwh, _ABOVE, _UNKNOWN)
    if limits is not None:
        if limits.regions:
            refuse(~np.isin(regions, limits.regions), _POLICY_REGION)
        if math.isfinite(limits.max_g_per_kwh):
            above(limits.max_g_per_kwh, _POLICY_ABOVE, _POLICY_UNKNOWN)
        if limits.max_slo_risk < 1:
            refuse(slo_risk() > limits.max_slo_risk, _RISK)
    return Refusals(codes)
