"""Fixtures that every test may use."""

import os
from pathlib import Path

import pytest

# Two workers with a thread for every core each wait for one another: up to 100 times slower.
os.environ.setdefault("OMP_NUM_THREADS", "1")
_DEFAULT = Path(__file__).parents[1].parent / "shared" / "data"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--live", action="store_true", help="also use the real Modal: costs cents")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the tests that cost money out, unless they are asked for."""
    if config.getoption("--live"):
        return
    live = [item for item in items if item.get_closest_marker("live")]
    config.hook.pytest_deselected(items=live)
    items[:] = [item for item in items if item not in live]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the real recordings; the test skips, saying so, where it is missing."""
    folder = Path(os.environ.get("BGB_TEST_DATA", _DEFAULT))
    if not (folder / "edf_oddities").is_dir():
        pytest.skip(f"no real recordings under {folder}; set BGB_TEST_DATA")
    return folder
