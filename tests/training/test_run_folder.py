"""RunFolder: names, repeated and changed commands, one live owner."""

import os
from collections.abc import Callable

import pytest
from lock_holder import start_holder

from bgb.config.compose import load_config
from bgb.config.schema import TrainConfig
from bgb.errors import ConfigError, RunError
from bgb.training.run_folder import default_name, open_run, refuse_shared_runs, run_folder

MakeConfig = Callable[..., TrainConfig]


def test_default_name_tells_corpus_model_and_hash(make_config: MakeConfig) -> None:
    corpus, model, digest = default_name(make_config()).split("-")
    assert (corpus, model) == ("bids", "eegnet")
    assert len(digest) == 8
    assert int(digest, 16) >= 0


def test_variant_of_a_detector_is_in_the_name_and_not_in_the_hash(make_config: MakeConfig) -> None:
    _, model, digest = default_name(make_config("model.variant=small")).split("-")
    assert model == "eegnet_small"
    assert digest == default_name(make_config()).split("-")[-1]


@pytest.mark.parametrize(
    "override",
    [
        "optimizer.lr=0.002",
        "seed=1",
        "model.dropout=0.5",
        "data.window_s=16",
        "frontend.missing=mask",
    ],
)
def test_what_changes_the_result_changes_the_name(make_config: MakeConfig, override: str) -> None:
    assert default_name(make_config(override)) != default_name(make_config())


@pytest.mark.parametrize(
    "override",
    ["results=elsewhere", "logger=tensorboard", "data.cache_root=x", "disable_progress=true",
     "trainer.threads=1", "trainer.checkpoint_minutes=1", "data.workers=2"],
)  # fmt: skip
def test_where_and_how_a_run_is_done_leaves_the_name(
    make_config: MakeConfig, override: str
) -> None:
    assert default_name(make_config(override)) == default_name(make_config())


def test_opened_run_holds_its_configuration(make_config: MakeConfig) -> None:
    config = make_config()
    with open_run(config) as folder:
        assert load_config(folder.config) == config
        assert folder.lock.read_text().startswith(f"process {os.getpid()} on ")


def test_run_of_another_configuration_is_refused(make_config: MakeConfig) -> None:
    with open_run(make_config("run=mine")):
        pass
    with (
        pytest.raises(
            RunError, match=r"made with seed=0, not 1 \(1 keys differ: seed\).*run=<name>"
        ),
        open_run(make_config("run=mine", "seed=1")),
    ):
        pass


def test_existing_run_is_refused_when_it_must_not_resume(make_config: MakeConfig) -> None:
    config = make_config("trainer.resume=never")
    with open_run(config):
        pass
    with pytest.raises(RunError, match=r"exists and trainer.resume=never"), open_run(config):
        pass


def test_second_live_owner_is_refused_and_the_first_is_named(make_config: MakeConfig) -> None:
    # Lesson 42: a retried process wrote into the run that the first was still writing.
    config = make_config()
    lock = run_folder(config).lock
    with start_holder(lock) as holder:
        with (
            pytest.raises(RunError, match=rf"being written by process {holder.pid} on .* since 20"),
            open_run(config),
        ):
            pass
        holder.kill()
        holder.wait()
        with open_run(config):  # a dead owner does not block
            pass


def test_title_names_the_run_and_does_not_change_its_hash(make_config: MakeConfig) -> None:
    plain, titled = default_name(make_config()), default_name(make_config("title=trial"))
    assert titled == f"trial-{plain.rpartition('-')[2]}"
    with pytest.raises(ConfigError, match="title='a/b' must be a plain folder name"):
        make_config("title=a/b")


def test_two_jobs_of_one_run_are_refused_with_the_key_that_does_not_count(
    make_config: MakeConfig,
) -> None:
    configs = [make_config(), make_config("seed=1"), make_config("trainer.threads=2")]
    with pytest.raises(
        RunError, match=r"two jobs would write run .*they differ in trainer.threads,"
    ):
        refuse_shared_runs(configs)
    refuse_shared_runs(configs[:2])
