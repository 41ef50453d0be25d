"""Fixtures of several tests of rented machines."""

import pytest
from hydra._internal.callbacks import Callbacks
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.global_hydra import GlobalHydra
from hydra.types import HydraContext, RunMode

from bgb.config.infra import InfraConfig
from tests.infra.loopback import fake_modal, volume

__all__ = ["cloud", "configured", "fake_modal", "program", "volume"]

INFRA = InfraConfig(poll_s=0.001)


def task(config):
    """The task of jobs in the cloud, which runs nothing."""
    raise AssertionError("runs in containers only")


@pytest.fixture
def cloud(tmp_path, monkeypatch, hydra_restore_singletons):
    """A stand-in for Modal that outlives launchers; see cloud.py."""
    from bgb.infra import launch
    from tests.infra.cloud import Cloud, in_place

    made = Cloud(tmp_path / "volume")
    in_place(made, monkeypatch)
    yield made
    launch._sweeps.clear()


@pytest.fixture
def configured(tmp_path):
    """Return a function that composes a small Hydra program; all its sweeps have one folder."""
    conf = tmp_path / "conf"
    conf.mkdir()
    (conf / "main.yaml").write_text("x: 0\nlr: 1.0\nroot: here\n")

    def compose(*overrides):
        GlobalHydra.instance().clear()
        hydra = Hydra.create_main_hydra2("squares", create_config_search_path(str(conf)))
        words = ["hydra/hydra_logging=none", f"hydra.sweep.dir={tmp_path / 'sweep'}", *overrides]
        config = hydra.compose_config("main", words, run_mode=RunMode.MULTIRUN)
        return HydraContext(hydra.config_loader, Callbacks(config)), config

    yield compose
    GlobalHydra.instance().clear()


@pytest.fixture
def program(configured):
    """Return a function that makes a new launcher's sweep of that program."""

    from bgb.infra.launch import Sweep

    def make(*overrides, infra=INFRA, function=task):
        context, config = configured(*overrides)
        return Sweep(infra, context=context, task=function, config=config)

    return make
