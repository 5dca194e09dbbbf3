"""What a check has found: how bad, where, why, and what to do."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Finding", "Severity", "count_findings", "sort_findings"]


class Severity(StrEnum):
    """How bad a finding is, the worst first."""

    ERROR = "error"
    """It will not work, or can stop a cluster."""
    WARNING = "warning"
    """It works less well than it looks."""
    INFO = "info"
    """Good to know; nothing to be mended."""
    OK = "ok"
    """It was looked at, and is as it should be."""


_ORDER = {severity: place for place, severity in enumerate(Severity)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that a check has to say.

    Parameters
    ----------
    code : str
        Stable name, e.g. ``"full-node-mode"``.
    severity : Severity
        How bad it is.
    where : str
        Path within what was checked, e.g. ``extenders[0].httpTimeout``.
    message : str
        What is so, and what follows from it.
    fix : str
        What to write or do instead; empty where nothing needs to be done.
    """

    code: str
    severity: Severity
    where: str
    message: str
    fix: str = ""


def sort_findings(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Put the worst first; those alike stay in the order of the checks.

    Parameters
    ----------
    findings : iterable of Finding
        In any order.

    Returns
    -------
    tuple of Finding
        Sorted.
    """
    return tuple(sorted(findings, key=lambda finding: _ORDER[finding.severity]))


def count_findings(findings: Iterable[Finding]) -> dict[str, int]:
    """Count findings by severity.

    Parameters
    ----------
    findings : iterable of Finding
        In any order.

    Returns
    -------
    dict of str to int
        For each severity, the worst first.

    Examples
    --------
    >>> count_findings([Finding(code="x", severity=Severity.INFO, where="", message="")])
    {'error': 0, 'warning': 0, 'info': 1, 'ok': 0}
    """
    counts = Counter(finding.severity for finding in findings)
    return {str(severity): counts[severity] for severity in Severity}
