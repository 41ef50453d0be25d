"""Which jobs a command line stands for."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import hydra
import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig

from bgb.config.compose import config_dir, register
from bgb.config.sweep import current_sweep, expand, first_job
from bgb.errors import ConfigError


def test_first_job_has_the_first_value_of_every_sweep() -> None:
    words = ["-m", "model=eegnet,eventnet_unet", "seed=range(3,6)", "data.window_s=60", "~logger"]
    assert first_job(words) == ["model=eegnet", "seed=3", "data.window_s=60", "~logger"]


def test_first_job_leaves_flags_and_lists_alone() -> None:
    words = ["--cfg", "job", "data.exclude=[a,b]", "--config-dir=x", "-h"]
    assert first_job(words) == words


def test_first_job_leaves_out_what_only_the_search_path_knows() -> None:
    assert first_job(["model=glob(event*)", "seed=1"]) == ["seed=1"]


def test_word_that_hydra_cannot_read_is_left_for_hydra_to_refuse() -> None:
    assert first_job(["seed=[1", "model=a,b"]) == ["seed=[1", "model=a,b"]


def test_jobs_are_the_product_in_the_order_of_hydra() -> None:
    with program():
        jobs = expand(["-m", "optimizer.lr=0.1,0.2", "seed=1,2", "trainer.max_epochs=3"])
    assert jobs == [
        ["optimizer.lr=0.1", "seed=1", "trainer.max_epochs=3"],
        ["optimizer.lr=0.1", "seed=2", "trainer.max_epochs=3"],
        ["optimizer.lr=0.2", "seed=1", "trainer.max_epochs=3"],
        ["optimizer.lr=0.2", "seed=2", "trainer.max_epochs=3"],
    ]


def test_glob_is_one_job_for_each_option_that_matches() -> None:
    with program():
        jobs = expand(["model=glob(eventnet_*)"])
    assert jobs == [["model=eventnet_unet"], ["model=eventnet_unet_small"]]


def test_values_in_the_sweeper_of_an_option_file_are_jobs_too(tmp_path: Path) -> None:
    experiment = tmp_path / "experiment" / "seeds.yaml"
    experiment.parent.mkdir()
    experiment.write_text("# @package _global_\nhydra:\n  sweeper:\n    params:\n      seed: 1,2\n")
    with program("+experiment=seeds", f"hydra.searchpath=[{tmp_path}]"):
        jobs = expand(["trainer.max_epochs=3"])
    assert jobs == [["seed=1", "trainer.max_epochs=3"], ["seed=2", "trainer.max_epochs=3"]]


def test_sweeper_that_chooses_while_it_runs_is_refused() -> None:
    other = program("hydra.sweeper._target_=hydra_plugins.x.OptunaSweeper")
    with other, pytest.raises(ConfigError, match="OptunaSweeper, which chooses its jobs while"):
        expand(["seed=1"])


def test_interval_is_refused_by_name() -> None:
    with program(), pytest.raises(ConfigError, match="INTERVAL"):
        expand(["optimizer.lr=interval(0,1)"])


def test_job_of_a_sweep_knows_its_sweep_and_number() -> None:
    words = ["hydra.sweep.dir=/runs/sweeps/monday", "hydra.job.num=3"]
    with program(*words, "hydra.mode=MULTIRUN"):
        assert current_sweep() == {"name": "monday", "job": 3}
    with program(*words, "hydra.mode=RUN"):
        assert current_sweep() is None


@contextlib.contextmanager
def program(*overrides: str) -> Iterator[None]:
    """Set Hydra up as inside a running program."""
    register()
    before = HydraConfig.instance().cfg
    with hydra.initialize_config_dir(str(config_dir()), version_base="1.3"):
        HydraConfig.instance().set_config(
            hydra.compose("plan", list(overrides), return_hydra_config=True)
        )
        assert GlobalHydra.instance().is_initialized()
        yield
    HydraConfig.instance().cfg = before
