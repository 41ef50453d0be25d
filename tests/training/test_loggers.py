"""Loggers: metrics.csv, TensorBoard, Weights & Biases offline."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from run_once import train

from bgb.config.schema import TrainConfig
from bgb.training.loggers import CsvLogger, TensorBoardLogger, read_metrics, wandb_id
from bgb.training.run_folder import RunFolder

MakeConfig = Callable[..., TrainConfig]


def test_rows_that_the_checkpoint_did_not_count_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    logger = CsvLogger(path)
    for step in (1, 2, 3):
        logger.log_metrics({"epoch": 0, "train/loss": step / 10}, step)
    CsvLogger(path, kept_rows=2).log_metrics({"epoch": 0, "train/loss": 0.9}, 3)
    assert [(row["step"], row["value"]) for row in read_metrics(path)] == [
        ("1", "0.1"), ("2", "0.2"), ("3", "0.9"),
    ]  # fmt: skip


def test_row_torn_by_a_kill_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    CsvLogger(path).log_metrics({"train/loss": 1.5, "train/lr": 0.1}, 1)
    path.write_text(path.read_text()[:-2])
    assert [row["metric"] for row in read_metrics(path)] == ["train/loss"]


def test_new_run_begins_with_an_empty_table(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text("step,epoch,metric,value\n7,1,train/loss,1\n")
    CsvLogger(path)
    assert path.read_text() == "step,epoch,metric,value\n"


def scalars(folder: Path, tag: str) -> list[tuple[int, float]]:
    """Return (step, value) as TensorBoard shows them."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder)).Reload()
    return [(scalar.step, round(scalar.value, 4)) for scalar in events.Scalars(tag)]


def test_tensorboard_shows_what_was_logged_and_hides_what_a_resumed_run_repeats(
    tmp_path: Path,
) -> None:
    logger = TensorBoardLogger(tmp_path)
    for step in (1, 2, 3):
        logger.log_metrics({"epoch": 0, "train/loss": step / 10}, step)
    logger.finalize("failed")
    resumed = TensorBoardLogger(tmp_path, resumed_step=2)
    resumed.log_metrics({"epoch": 0, "train/loss": 0.9}, 3)
    resumed.finalize("success")
    assert scalars(tmp_path, "train/loss") == [(1, 0.1), (2, 0.2), (3, 0.9)]


def test_tensorboard_writes_nothing_before_the_first_row(tmp_path: Path) -> None:
    logger = TensorBoardLogger(tmp_path / "tensorboard")
    logger.save()
    logger.finalize("failed")
    assert not list(tmp_path.iterdir())


def test_wandb_id_is_drawn_once(tmp_path: Path) -> None:
    # Lesson 85: each resume made another W&B run.
    assert wandb_id(RunFolder(tmp_path)) == wandb_id(RunFolder(tmp_path))


def test_wandb_offline_writes_into_the_run_folder_only(
    make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "cwd"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("WANDB_API_KEY", "0123456789abcdef" * 2)
    monkeypatch.setenv("WANDB_SILENT", "true")
    folder = train(make_config("logger=wandb", "logger.wandb_mode=offline", "trainer.max_epochs=1"))
    runs = list((folder.path / "wandb").glob("offline-run-*"))
    assert [path.name.rpartition("-")[2] for path in runs] == [wandb_id(folder)]
    assert torch.load(folder.last, weights_only=True)["wandb_id"] == wandb_id(folder)
    assert "wandb" not in sys.modules or sys.modules["wandb"].run is None  # it was ended
    assert not list(elsewhere.iterdir())
    written = b"".join(path.read_bytes() for path in folder.path.rglob("*") if path.is_file())
    assert b"0123456789abcdef" not in written


def test_tensorboard_and_wandb_are_imported_only_when_enabled() -> None:
    # Lesson 86.
    code = (
        "import sys, bgb.training.fit; "
        "print([name for name in ('tensorboard', 'wandb') if name in sys.modules])"
    )
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
