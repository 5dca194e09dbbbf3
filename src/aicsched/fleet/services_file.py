"""Lists of always-on services from CSV, JSON and parquet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from aicsched.domain.schema import read_rows
from aicsched.domain.service import Service
from aicsched.errors import InputError
from aicsched.fleet.jobs_file import object_rows
from aicsched.fleet.schemas import SERVICES

if TYPE_CHECKING:
    from collections.abc import Mapping

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
    file = Path(path)
    rows, first_row = object_rows(file, "services")
    if not rows:
        msg = f"'{file}' holds no services"
        raise InputError(msg, hint="give at least one", value=str(file))
    services = read_rows(SERVICES, rows, _service, where=f"'{file.name}'", first_row=first_row)
    seen: set[str] = set()
    for number, service in enumerate(services, start=first_row):
        if service.service_id in seen:
            msg = f"'{file.name}' row {number}: service '{service.service_id}' appears twice"
            raise InputError(msg, hint="give each service a name of its own", value=service.service_id)
        seen.add(service.service_id)
    return services
