"""Fixtures of the evaluation tests."""

import pytest
from fake_recordings import FakeCache, MakeRecording, make, small


@pytest.fixture
def make_recording() -> MakeRecording:
    return make


@pytest.fixture(scope="session")
def small_cache() -> FakeCache:
    return small()
