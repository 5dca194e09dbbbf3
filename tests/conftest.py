"""What all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.debian_kit import NotToBeHad
from tests.prometheus_kit import Binaries, find_binaries

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Give the folder of recorded real data, which is too large for this repository.

    Returns
    -------
    Path
        ``$AICSCHED_SHARED``, else a folder ``shared`` beside the repository; what is
        recorded lies in its ``data``. The test is skipped where there is neither.
    """
    folder = Path(os.environ.get("AICSCHED_SHARED") or ROOT.parent / "shared")
    if not (folder / "data").is_dir():
        pytest.skip(f"no real data in {folder}: set AICSCHED_SHARED to the folder that holds data/")
    return folder


@pytest.fixture(scope="session")
def prometheus_binaries() -> Binaries:
    """Give a real Prometheus, or skip the test with the reason why there is none."""
    try:
        return find_binaries()
    except NotToBeHad as reason:
        pytest.skip(f"NOT TESTED against a real Prometheus: {reason}")
