"""What tests against real programs share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.debian_kit import NotToBeHad
from tests.e2e.control_plane import ControlPlane, built, control_plane
from tests.e2e.objects import clear

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def shared_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """Give one control plane to all modules of a process, since its start costs seconds."""
    try:
        built("kube-scheduler")
        with control_plane(tmp_path_factory.mktemp("plane")) as made:
            yield made
    except NotToBeHad as reason:
        pytest.skip(f"NOT TESTED against a real control plane: {reason}")


@pytest.fixture
def plane(shared_plane: ControlPlane) -> Iterator[ControlPlane]:
    """Give a control plane without nodes and pods; what a test made is gone after it."""
    yield shared_plane
    clear(shared_plane)
