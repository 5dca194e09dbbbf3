"""Which policy a pod is scored by, and which limits hold for it.

The pod's own annotation chooses the exchange rates: a packaged preset, or a namespace
of the operator's policy file by its name. Without one the namespace does, else the
file's default. Hard limits are the operator's: a pod can't choose its way around those
of its namespace.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from aicsched.score.policy import PolicyBook, preset, preset_names

if TYPE_CHECKING:
    from aicsched.score.policy import Policy
    from aicsched.score.request import ScoreWeights

__all__ = ["Choice", "PolicyTable"]

_DEFAULT: Final = "balanced"


class Choice(NamedTuple):
    """The policy of a pod.

    Parameters
    ----------
    place : int
        In the table.
    name : str
        Of the preset, or of the file and its namespace.
    why : str
        ``"annotation"``, ``"namespace"`` or ``"default"``.
    unknown : str
        What the pod named and isn't there, or "".
    """

    place: int
    name: str
    why: str
    unknown: str = ""


class PolicyTable:
    """All policies that a pod may be scored by.

    Parameters
    ----------
    book : PolicyBook, optional
        The operator's; by default the preset ``balanced`` holds everywhere.
    hard_limits : bool
        Whether the limits of policies filter nodes.

    Examples
    --------
    >>> table = PolicyTable()
    >>> table.choose("shop", "carbon-first")
    Choice(place=2, name='preset carbon-first', why='annotation', unknown='')
    >>> table.choose("shop", "carbonfirst")
    Choice(place=0, name='preset balanced', why='default', unknown='carbonfirst')
    """

    def __init__(self, book: PolicyBook | None = None, *, hard_limits: bool = False) -> None:
        self.book: Final = book or PolicyBook(default=preset(_DEFAULT), namespaces={})
        self.hard_limits: Final = hard_limits
        named = {name: preset(name) for name in preset_names()} | dict(self.book.namespaces)
        self.policies: Final[tuple[Policy, ...]] = (self.book.default, *named.values())
        self._by_name: Final = {name: place for place, name in enumerate(named, start=1)}

    @property
    def names(self) -> tuple[str, ...]:
        """What a pod may name."""
        return tuple(self._by_name)

    @property
    def weights(self) -> tuple[ScoreWeights, ...]:
        """The exchange rates, in the order of `policies`."""
        return tuple(policy.weights for policy in self.policies)

    def choose(self, namespace: str, named: str) -> Choice:
        """Choose the policy of a pod.

        Parameters
        ----------
        namespace : str
            The pod's.
        named : str
            By its annotation, or "".

        Returns
        -------
        Choice
            A name that isn't there is told, and counts as none.
        """
        if named in self._by_name:
            return self._made(self._by_name[named], "annotation")
        if namespace in self.book.namespaces:
            return self._made(self._by_name[namespace], "namespace", named)
        return self._made(0, "default", named)

    def _made(self, index: int, why: str, unknown: str = "") -> Choice:
        return Choice(index, self.policies[index].name, why, unknown)

    def limits(self, namespace: str) -> ScoreWeights | None:
        """Return whose limits filter nodes for the pods of a namespace.

        Parameters
        ----------
        namespace : str
            Theirs.

        Returns
        -------
        ScoreWeights or None
            None where limits don't.
        """
        return self.book.policy(namespace).weights if self.hard_limits else None
