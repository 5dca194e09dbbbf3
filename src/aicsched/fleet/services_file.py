"""Lists of always-on services from CSV, JSON and parquet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aicsched.domain.service import Service
from aicsched.fleet.schemas import SERVICES
from aicsched.fleet.tables import read_objects

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["read_services"]


def _service(cells: dict[str, Any]) -> Service:
    shares: Mapping[str, Any] = {"hourly_share": tuple(float(part) for part in cells.pop("hourly_share", ()))}
    return Service(**cells, **shares)


def read_services(path: str | Path) -> tuple[Service, ...]:
    """Read a list of services.

    Parameters
    ----------
    path : str or Path
        CSV, parquet, JSON or JSON lines.

    Returns
    -------
    tuple of Service
        In the order of the file.

    Raises
    ------
    InputError
        The file or a row is not what ``aicsched schema services`` says, or a name
        appears twice; all wrong rows are told at once.
    """
    return read_objects(path, SERVICES, _service, key="service_id")
