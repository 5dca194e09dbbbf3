"""What was decided, and what would have happened otherwise."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Decision"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One acted-on choice, as it stands in the ledger.

    Parameters
    ----------
    decision_id : str
        Idempotency key: the hash of what the decision was made from.
    decided_at_s : int
        When, seconds since the epoch.
    kind : str
        ``"place"``, ``"recycle"`` or ``"correct"``.
    subject : str
        The job or node decided on.
    region : str
        Where it goes.
    start_s, end_s : int
        From its first to its last slot, seconds since the epoch.
    energy_kwh : float
        Expected energy including PUE [kWh].
    operational_g : float
        Expected operational and transfer emissions [g].
    embodied_g : float
        SCI's amortised share of the hardware [g]; reported, no part of the choice.
    counterfactual_g : float
        Operational emissions of the baseline: started at once in its home region [g].
    intensity_kind : str
        ``"average"`` or ``"marginal"``: the method, never mixed.
    policy : str
        Which policy chose.
    reason : str
        One sentence.
    inputs : tuple of str
        Ids of the signals used.
    synthetic : bool
        True when an input was made up.
    """

    decision_id: str
    decided_at_s: int
    kind: str
    subject: str
    region: str
    start_s: int
    end_s: int
    energy_kwh: float
    operational_g: float
    embodied_g: float
    counterfactual_g: float
    intensity_kind: str
    policy: str
    reason: str
    inputs: tuple[str, ...] = ()
    synthetic: bool = False

    @property
    def avoided_g(self) -> float:
        """Counterfactual minus expected emissions [g]; negative when the choice costs more."""
        return self.counterfactual_g - self.operational_g
