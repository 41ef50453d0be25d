"""Fixtures that every test may use."""

import os
from pathlib import Path

import pytest

_DEFAULT = Path(__file__).parents[1].parent / "shared" / "data"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the real recordings; the test skips, saying so, where it is missing."""
    folder = Path(os.environ.get("BGB_TEST_DATA", _DEFAULT))
    if not (folder / "edf_oddities").is_dir():
        pytest.skip(f"no real recordings under {folder}; set BGB_TEST_DATA")
    return folder
