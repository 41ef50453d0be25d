"""A container of the loopback Modal has the packages of an image, not those of this machine."""

import sys
from importlib.metadata import version

import cloudpickle
import pytest

from bgb.config.infra import InfraConfig
from bgb.infra.app import Session
from tests.fakemodal import FakeModal
from tests.fakemodal.packages import modal_pins
from tests.infra.jobs import wait

cloudpickle.register_pickle_by_value(sys.modules[__name__])
pytestmark = pytest.mark.modal


def look():
    """Return what this process finds installed, its sys.path and a subprocess's sys.path."""
    import json
    import subprocess
    import sys
    import time
    from importlib.metadata import distributions, version

    command = [sys.executable, "-c", "import json, sys; print(json.dumps(sys.path))"]
    found = [(one.metadata["Name"], one.version) for one in distributions()]
    return {
        "listed": found,
        "aiohttp": version("aiohttp"),
        "path": sys.path,
        "subprocess": json.loads(subprocess.check_output(command)),
        "utc_offset_s": time.localtime().tm_gmtoff,
    }


def test_container_has_modals_older_packages_last_and_no_metadata_of_bgb(
    fake_modal: FakeModal,
) -> None:
    session = Session(InfraConfig(), sweep_id="s")
    session.deploy()
    seen = wait(session, session.submit(look)).value
    old = modal_pins("2025.06")["aiohttp"]
    assert old != version("aiohttp")
    assert {("aiohttp", old), ("aiohttp", version("aiohttp"))} <= set(seen["listed"])
    assert seen["aiohttp"] == version("aiohttp")
    assert "bgb" not in dict(seen["listed"])
    assert seen["path"][-1] == seen["subprocess"][-1] == "/__modal/deps"
    assert seen["utc_offset_s"] == 0
