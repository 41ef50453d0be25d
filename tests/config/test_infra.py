"""Infrastructure options: what they say, when they make a multirun, where the data lie then."""

import re
from pathlib import Path

import pytest

from bgb.config.compose import compose, config_dir, dump_config, load_config
from bgb.config.infra import InfraConfig
from bgb.config.remote import (
    needs_multirun,
    refuse_swept_infra,
    refuse_to_stay,
    refuse_unused_launcher,
)
from bgb.errors import ConfigError


@pytest.mark.parametrize(
    ("option", "gpu"),
    [
        ("modal_a100", "A100-80GB"),
        ("modal_a100_40gb", "A100-40GB"),
        ("modal_h100", "H100!"),
        ("modal_l4", "L4"),
        ("modal_cpu", None),
    ],
)
def test_option_rents_the_gpu_of_its_name(option: str, gpu: str | None) -> None:
    infra = compose("train", [f"+infra={option}"]).infra
    assert isinstance(infra, InfraConfig)
    assert (infra.name, infra.gpu) == (option, gpu)
    assert (infra.volume.name, infra.volume.mount) == ("brain-go-brr-results", "/results")
    assert infra.bucket.name == "brain-go-brr-eeg-data-20250919"
    assert (infra.bucket.prefix, infra.bucket.mount) == ("tusz/", "/data")
    assert (infra.bucket.secret, infra.secrets) == ("aws-s3-secret", ["wandb-secret"])


def test_data_lie_where_containers_see_them() -> None:
    assert compose("train", ["data=tusz", "+infra=modal_l4"]).data.root == "/data/edf"
    assert compose("train", ["+infra=modal_l4"]).data.root == "/results/data/synthetic"
    assert compose("train", ["data=siena", "+infra=modal_l4"]).data.root == "/results/data/siena"
    there = compose("train", ["data=tusz", "+infra=modal_l4", "data.root=/results/mine"]).data.root
    assert there == "/results/mine"
    assert compose("train", ["data=tusz"]).data.root == "data/tusz"


def test_runs_and_caches_lie_on_the_volume() -> None:
    config = compose("train", ["+infra=modal_l4"])
    assert (config.results, config.data.cache_root) == ("/results", "/results/cache")


def test_infra_key_is_set_on_the_command_line() -> None:
    assert compose("train", ["+infra=modal_a100", "infra.max_hours=2"]).infra.max_hours == 2


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("infra.gpu=A1000", "infra.gpu='A1000' is not valid; choose one of"),
        ("infra.gpu=A100-80GB:9", "must be 1 to 8"),
        ("infra.timeout_h=30", "raise infra.max_hours instead"),
        ("infra.bucket.prefix=/tusz", "must end in /"),
        ("infra.volume.mount=results", "must be an absolute path"),
        ("infra.volume.version=3", "choose one of"),
        ("results=/elsewhere", "results=/elsewhere must lie on the Volume"),
        ("data.cache_root=/elsewhere", "data.cache_root=/elsewhere must lie on the Volume"),
        ("infra.max_hour=3", "did you mean infra.max_hours"),
    ],
)
def test_wrong_value_is_refused_before_anything_starts(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        compose("train", ["+infra=modal_a100", override])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["+infra=modal_a100"], True),
        (["data=tusz", "+infra=modal_cpu", "seed=1,2"], True),
        (["+experiment=tusz_a100_100ep"], True),
        (["+experiment=smoke"], False),
        (["+experiment=nonsense"], False),
        (["data=tusz"], False),
        (["-m", "+infra=modal_a100"], False),
        (["+infra=modal_a100", "--cfg", "job"], False),
        (["+infra=null"], False),
    ],
)
def test_infrastructure_makes_a_multirun_once(arguments: list[str], expected: bool) -> None:
    assert needs_multirun(arguments, config_dir()) is expected


def test_a_job_never_launches_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BGB_JOB", "1")
    assert not needs_multirun(["+infra=modal_a100"], config_dir())
    refuse_to_stay(compose("train", ["+infra=modal_a100"]))


@pytest.mark.parametrize("word", ["+infra=modal_l4,modal_a100", "infra.gpu=L4,T4"])
def test_machines_are_not_swept_over(word: str) -> None:
    # Hydra would take the launcher of neither, and train here.
    with pytest.raises(ConfigError, match=f"{re.escape(word)} would sweep over machines"):
        refuse_swept_infra([word])
    refuse_swept_infra(["+infra=modal_a100", "model=eegnet,eventnet_unet"])


def test_single_run_that_was_meant_for_a_gpu_is_refused() -> None:
    with pytest.raises(ConfigError, match="add --multirun"):
        refuse_to_stay(compose("train", ["+infra=modal_a100"]))
    with pytest.raises(ConfigError, match="has no effect in a single run"):
        refuse_unused_launcher(["hydra/launcher=bgb_modal"])
    refuse_unused_launcher(["-m", "hydra/launcher=bgb_modal"])


def test_key_of_wandb_may_lie_in_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    assert compose("train", ["logger=wandb", "+infra=modal_l4"]).logger.wandb_key_set
    monkeypatch.setenv("BGB_JOB", "1")
    with pytest.raises(ConfigError, match="needs WANDB_API_KEY"):
        compose("train", ["logger=wandb", "+infra=modal_l4"])


def test_experiment_of_a_hundred_epochs_names_its_machine() -> None:
    config = compose("train", ["+experiment=tusz_a100_100ep"])
    assert config.infra.gpu == "A100-80GB"
    assert config.trainer.max_epochs == 100
    assert config.data.sampling.windows_per_epoch == 61_616
    assert config.data.root == "/data/edf"


def test_infra_survives_the_config_file_of_a_run(tmp_path: Path) -> None:
    config = compose("train", ["+infra=modal_a100"])
    path = tmp_path / "config.yaml"
    path.write_text(dump_config(config))
    assert load_config(path) == config


def test_rented_gpus_and_devices_that_train_agree() -> None:
    two = ["+infra=modal_a100", "infra.gpu='A100-80GB:2'"]
    assert compose("train", [*two, "trainer.devices=2"]).infra.num_gpus == 2
    assert compose("train", ["+infra=modal_cpu", "trainer.devices=4"]).trainer.devices == 4
    with pytest.raises(
        ConfigError, match=r"A100-80GB:2 rents 2 GPUs, .*set trainer.devices=2, or "
    ):
        compose("train", two)
    with pytest.raises(ConfigError, match=r"rents 1 GPUs, .* set trainer.devices=1, .*A100-80GB:4"):
        compose("train", ["+infra=modal_a100", "trainer.devices=4"])


def test_batch_below_the_number_of_devices_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"data.batch_size=4 leaves nothing to some of trainer.d"):
        compose("train", ["data.batch_size=4", "trainer.devices=8"])


def test_hours_of_a_session_are_refused_on_a_rented_machine() -> None:
    with pytest.raises(ConfigError, match=r"trainer.max_hours=1.0 is for this machine.*infra.max_"):
        compose("train", ["+infra=modal_l4", "trainer.max_hours=1"])
