"""Resume: which checkpoint a run goes on from, and what is refused on the way."""

import itertools
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from run_once import train

from bgb.config.schema import TrainConfig
from bgb.errors import RunError
from bgb.files import read_json, write_json
from bgb.training.checkpoint import Checkpoints, load_checkpoint
from bgb.training.resume import find_resume_point
from bgb.training.run_folder import RunFolder

MakeConfig = Callable[..., TrainConfig]


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def break_the_directory(path: Path) -> None:
    content = bytearray(path.read_bytes())
    names = content.rindex(b"PK\x01\x02")
    content[names + 46] = 0xFF  # the first letter of a name: no UTF-8
    path.write_bytes(content)


def halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def replace_by_weights(path: Path) -> None:
    torch.save({"state_dict": {}}, path)


def change_its_configuration(path: Path) -> None:
    checkpoint = load_checkpoint(path)
    checkpoint["config"] = checkpoint["config"].replace("\nseed: 0", "\nseed: 7")
    torch.save(checkpoint, path)


def change_its_keys(path: Path) -> None:
    checkpoint = load_checkpoint(path)
    checkpoint["config"] = "colour: green\n"
    torch.save(checkpoint, path)


DAMAGES = {
    flip_a_byte: "cannot be read .*is damaged",
    halve: "cannot be read .*not a zip file",
    break_the_directory: "cannot be read ",
    empty: "cannot be read .*not a zip file",
    replace_by_weights: "is no checkpoint of bgb: it has no callbacks, config, global_step, loader",
    change_its_configuration: "was made with seed=7, not 0 .*it is of another run",
    change_its_keys: "does not fit this version of bgb",
}


@pytest.fixture
def run(make_config: MakeConfig) -> tuple[TrainConfig, RunFolder]:
    """A run of two epochs that was killed after its last checkpoint."""
    config = make_config("run=mine")
    folder = train(config)
    write_json(folder.provenance, {**read_json(folder.provenance), "finished": None})
    return config, folder


def test_the_last_two_checkpoints_are_kept(run: tuple[TrainConfig, RunFolder]) -> None:
    _, folder = run
    steps = [load_checkpoint(path)["global_step"] for path in (folder.last, folder.previous)]
    assert steps == [6, 3]


@pytest.mark.parametrize("damage", DAMAGES)
def test_bad_checkpoint_is_refused_aloud_and_the_one_before_it_used(
    run: tuple[TrainConfig, RunFolder], damage: Callable[[Path], None], caplog: Any
) -> None:
    config, folder = run
    damage(folder.last)
    point = find_resume_point(folder, config)
    assert point is not None
    assert (point.path, point.checkpoint["global_step"]) == (folder.previous, 3)
    assert f"{folder.last}" in caplog.text
    assert re.search(DAMAGES[damage], caplog.text)
    assert not folder.last.exists()  # or the next one would push it over the sound one
    assert (folder.last.with_suffix(".refused")).exists()


def test_run_ends_the_same_from_the_checkpoint_before(
    straight: RunFolder, run: tuple[TrainConfig, RunFolder]
) -> None:
    config, folder = run
    halve(folder.last)
    train(config)
    ours, theirs = (load_checkpoint(each.last)["state_dict"] for each in (straight, folder))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert straight.metrics.read_text() == folder.metrics.read_text()
    assert load_checkpoint(folder.previous)["global_step"] == 3  # the sound one


@pytest.mark.parametrize("name", ["adam", "radam"])
def test_every_optimizer_goes_on_as_if_never_stopped(make_config: MakeConfig, name: str) -> None:
    config = make_config("run=mine", f"optimizer.name={name}", "optimizer.beta2=0.95")
    folder = train(config)
    straight = load_checkpoint(folder.last)
    write_json(folder.provenance, {**read_json(folder.provenance), "finished": None})
    halve(folder.last)
    train(config)
    resumed = load_checkpoint(folder.last)
    assert straight["optimizer_states"][0]["param_groups"][0]["betas"] == (0.9, 0.95)
    for each, weight in straight["state_dict"].items():
        assert torch.equal(resumed["state_dict"][each], weight)


def test_two_bad_checkpoints_stop_the_run_with_both_reasons(
    run: tuple[TrainConfig, RunFolder],
) -> None:
    config, folder = run
    halve(folder.last)
    replace_by_weights(folder.previous)
    with pytest.raises(
        RunError, match=r"cannot go on: .*not a zip.*; .*no checkpoint of bgb.*anew"
    ):
        find_resume_point(folder, config)
    assert folder.last.exists()


def test_checkpoints_are_ordered_by_their_steps(run: tuple[TrainConfig, RunFolder]) -> None:
    # Lesson 71: the predecessor preferred an older one by its name, and by its time.
    config, folder = run
    spare = folder.path / "spare"
    folder.last.rename(spare)
    folder.previous.rename(folder.last)
    spare.rename(folder.previous)
    point = find_resume_point(folder, config)
    assert point is not None
    assert point.path == folder.previous


def test_new_run_has_nowhere_to_go_on_from(make_config: MakeConfig, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "new")
    assert find_resume_point(folder, make_config()) is None


def test_lost_best_checkpoint_stops_the_run(run: tuple[TrainConfig, RunFolder]) -> None:
    config, folder = run
    folder.best.unlink()
    with pytest.raises(RunError, match=r"best.ckpt is missing, and the run is past its step \d"):
        find_resume_point(folder, config)


def test_what_a_kill_left_half_written_is_removed(run: tuple[TrainConfig, RunFolder]) -> None:
    config, folder = run
    half = folder.last.with_name(".last.ckpt.77-140.partial")
    half.write_bytes(b"half")
    find_resume_point(folder, config)
    assert not half.exists()


def test_checkpoints_that_take_long_become_rarer(tmp_path: Path, caplog: Any) -> None:
    caplog.set_level("INFO")
    now = [0.0]

    def save(_: Path) -> None:
        now[0] += 30.0

    callback = Checkpoints(
        tmp_path / "last", tmp_path / "best", score=lambda: None, mode="max", minutes=5,
        clock=lambda: now[0],
    )  # fmt: skip
    trainer: Any = SimpleNamespace(save_checkpoint=save, global_step=1)
    saved_at = []
    while now[0] < 3600:
        now[0] += 1.0  # a step
        before = callback._num_saved
        callback.on_train_batch_end(trainer, trainer, None, None, 0)
        if callback._num_saved > before:
            saved_at.append(now[0])
    gaps = [later - earlier for earlier, later in itertools.pairwise(saved_at)]
    assert saved_at[0] == 330.0  # nothing was known yet
    assert min(gaps) == 630.0  # 30 s of 600 s
    assert caplog.text.count("a checkpoint takes 30.0 s: mid-epoch ones come every 10.0 min") == 1
