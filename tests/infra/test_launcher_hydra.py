"""Hydra's own suites for launchers, through the loopback Modal."""

import itertools
import json
import shutil
from pathlib import Path

import pytest
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.test_utils.launcher_common_tests import (
    BatchedSweeperTestSuite,
    IntegrationTestSuite,
    LauncherTestSuite,
)

from bgb.infra import launch
from hydra_plugins.bgb_modal.launcher import BgbModalLauncher
from tests.fakemodal import FakeModal, why_not

pytestmark = [
    pytest.mark.modal,
    pytest.mark.slow,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]
KEYS = ["hydra.launcher.bucket.name=null", "hydra.launcher.poll_s=0.1"]
SWEEP_DIRS = ("task_cfg", "cli_dir", "hydra_cfg")  # those of IntegrationTestSuite


@pytest.fixture(scope="module", autouse=True)
def fake_modal(tmp_path_factory):
    """One loopback Modal for all; containers see the folders of the tests, where tasks write."""
    shared = tmp_path_factory.getbasetemp()
    fake = FakeModal(tmp_path_factory.mktemp("modal"), shared=(shared,))
    with fake, fake.connected():
        yield fake
        launch.close()


def test_hydra_finds_the_launcher():
    assert BgbModalLauncher.__name__ in [
        found.__name__ for found in Plugins.instance().discover(Launcher)
    ]


@pytest.mark.parametrize("launcher_name, overrides", [("bgb_modal", KEYS)])
class TestLauncher(LauncherTestSuite):
    """Jobs, their folders, their return values."""


@pytest.mark.parametrize(
    "launcher_name, overrides", [("bgb_modal", [*KEYS, "hydra.sweeper.max_batch_size=2"])]
)
class TestBatches(BatchedSweeperTestSuite):
    """Three batches of two jobs."""


@pytest.mark.parametrize(
    "task_launcher_cfg, extra_flags", [({}, ["-m", "hydra/launcher=bgb_modal", *KEYS])]
)
class TestPrograms(IntegrationTestSuite):
    """Programs, each a process of its own; a job's working folder is one on the Volume."""

    numbers = itertools.count()
    sweep_id = ""

    def get_test_app_working_dir(self):
        self.sweep_id = f"{next(self.numbers):010x}"
        return Path("/results/sweeps") / self.sweep_id

    def generate_custom_cmd(self):
        def start_sweeps_with_known_ids(command, filename):
            for name in SWEEP_DIRS if self.sweep_id else ():
                shutil.rmtree(name, ignore_errors=True)
                ledger = Path(name, ".modal", "jobs.jsonl")
                ledger.parent.mkdir(parents=True)
                ledger.write_text(json.dumps({"sweep_id": self.sweep_id}) + "\n")
            return command

        return start_sweeps_with_known_ids
