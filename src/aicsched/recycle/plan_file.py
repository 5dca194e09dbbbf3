"""A dry-run plan: the commands that a person may run, each with its undo."""

from __future__ import annotations

import json
import re
import shlex
from typing import TYPE_CHECKING, Any, Final

from aicsched.files import write_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from aicsched.recycle.recommend import Recommendation

__all__ = ["TAG", "plan_document", "write_plan"]

TAG: Final = ("sustainability", "recyclable")
_REPURPOSED: Final = "aicsched.io/low-priority"
# A Kubernetes node is named like a DNS subdomain (RFC 1123); a name such as "--all" would be an option.
_NODE_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


def _commands(item: Recommendation) -> list[dict[str, str]]:
    if not _NODE_NAME.fullmatch(item.node):
        return []
    node = shlex.quote(item.node)
    if item.disposition == "repurpose":
        # Not tagged recyclable: others act on that tag, and this node goes on working.
        return _repurpose(node)
    resource = f"--resources {shlex.quote(f'<instance of {item.node}>')}"
    key, value = TAG
    steps = [
        {
            "do": f"kubectl label node {node} {key}={value} --overwrite --dry-run=server",
            "undo": f"kubectl label node {node} {key}-",
        },
        {
            "do": f"aws ec2 create-tags --dry-run {resource} --tags Key={key},Value={value}",
            "undo": f"aws ec2 delete-tags {resource} --tags Key={key}",
        },
    ]
    if item.disposition == "decommission":
        steps.append({"do": f"kubectl cordon {node} --dry-run=server", "undo": f"kubectl uncordon {node}"})
    return steps


def _repurpose(node: str) -> list[dict[str, str]]:
    return [
        {
            "do": f"kubectl label node {node} {_REPURPOSED}=true --dry-run=server",
            "undo": f"kubectl label node {node} {_REPURPOSED}-",
        },
        {
            "do": f"kubectl taint node {node} {_REPURPOSED}=true:PreferNoSchedule --dry-run=server",
            "undo": f"kubectl taint node {node} {_REPURPOSED}-",
        },
    ]


def plan_document(found: Sequence[Recommendation]) -> dict[str, Any]:
    """Return the dry-run plan of some recommendations.

    Parameters
    ----------
    found : sequence of Recommendation
        All of a fleet.

    Returns
    -------
    dict
        ``steps`` per node that is not kept: the tag ``sustainability: recyclable``,
        labels and taints as commands that change nothing until a person removes
        their dry-run flag, each with its undo. Decommissioning stops at a cordon:
        what ends a machine belongs to the infrastructure code that owns it.
    """
    steps = [
        {
            "node": item.node,
            "disposition": item.disposition,
            "tags": {} if item.disposition == "repurpose" else {TAG[0]: TAG[1]},
            "workload": item.workload,
            "reasons": list(item.reasons),
            "refusals": list(item.refusals),
            "commands": _commands(item),
        }
        for item in found
        if item.disposition != "keep"
    ]
    return {"dry_run": True, "approved_by": None, "steps": steps}


def write_plan(found: Sequence[Recommendation], path: Path) -> Path:
    """Write the dry-run plan as JSON.

    Parameters
    ----------
    found : sequence of Recommendation
        All of a fleet.
    path : Path
        Where; written whole or not at all.

    Returns
    -------
    Path
        The same.

    Raises
    ------
    OutputError
        It can't be written.
    """
    return write_text(path, json.dumps(plan_document(found), indent=1, sort_keys=True) + "\n")
