"""Early stopping: what counts as improvement, when training ends, and that it ends once."""

import math
from collections.abc import Callable

import pytest
import torch
from run_once import train

from bgb.config.schema import TrainConfig
from bgb.files import read_json, write_json
from bgb.training.loggers import read_metrics
from bgb.training.run_folder import RunFolder
from bgb.training.stopping import EarlyStopping, is_better

MakeConfig = Callable[..., TrainConfig]
NAN = math.nan
# No score improves by more than 0.9 twice.
IMPATIENT = ("run=impatient", "trainer.max_epochs=6", "trainer.patience=2", "trainer.min_delta=0.9")


def stopping(*, patience: int, min_delta: float = 0.0, mode: str = "max") -> EarlyStopping:
    return EarlyStopping(lambda: None, mode=mode, patience=patience, min_delta=min_delta)


@pytest.mark.parametrize(
    "score, than, mode, by_more_than, wins",
    [
        (0.6, 0.5, "max", 0.0, True), (0.5, 0.5, "max", 0.0, False), (0.4, 0.5, "min", 0.0, True),
        (0.6, 0.5, "max", 0.2, False), (0.8, 0.5, "max", 0.2, True), (0.4, 0.5, "min", 0.2, False),
        (NAN, 0.5, "max", 0.0, False), (0.1, NAN, "max", 0.5, True), (NAN, NAN, "min", 0.0, False),
    ],
)  # fmt: skip
def test_better_is_by_more_than_asked_and_never_not_a_number(
    score: float, than: float, mode: str, by_more_than: float, wins: bool
) -> None:
    assert is_better(score, than, mode, by_more_than=by_more_than) is wins


def test_patience_counts_validations_since_the_last_improvement() -> None:
    callback = stopping(patience=2, min_delta=0.1)
    over = []
    for score in (0.5, 0.55, 0.7, 0.75, NAN):  # 0.55 and 0.75 improve by too little
        callback.count(score)
        over.append(callback.is_over)
    assert over == [False, False, False, False, True]
    assert callback.reference == 0.7


def test_without_patience_training_never_ends_early() -> None:
    callback = stopping(patience=0)
    for _ in range(9):
        callback.count(0.5)
    assert not callback.is_over


def test_state_travels_to_the_next_session() -> None:
    before, after = stopping(patience=2), stopping(patience=2)
    for score in (0.5, 0.4):
        before.count(score)
    after.load_state_dict(before.state_dict())
    after.count(0.3)
    assert after.is_over


def epochs(folder: RunFolder) -> list[str]:
    return [row["epoch"] for row in read_metrics(folder.metrics) if row["metric"] == "val/auroc"]


def test_run_ends_when_patience_is_over_and_stays_ended(make_config: MakeConfig) -> None:
    folder = train(make_config(*IMPATIENT))
    assert epochs(folder) == ["0", "1", "2"]
    record = read_json(folder.provenance)
    assert record["stopped"] == "patience"
    before, metrics = torch.load(folder.last, weights_only=True), folder.metrics.read_text()
    # As if it had been killed after its last checkpoint, before it said that it is finished.
    write_json(folder.provenance, {**record, "finished": None, "stopped": None})
    train(make_config(*IMPATIENT))
    assert read_json(folder.provenance)["stopped"] == "patience"
    assert torch.load(folder.last, weights_only=True)["global_step"] == before["global_step"]
    assert folder.metrics.read_text() == metrics


def test_epoch_without_validation_does_not_count(make_config: MakeConfig) -> None:
    folder = train(make_config(*IMPATIENT, "run=rarely", "trainer.val_every_epochs=2"))
    assert epochs(folder) == ["1", "3", "5"]
    assert read_json(folder.provenance)["stopped"] == "max_epochs"  # at the same moment


def test_schedule_is_that_of_all_epochs(make_config: MakeConfig) -> None:
    def rates(*overrides: str) -> set[tuple[str, str]]:
        rows = read_metrics(train(make_config(*overrides)).metrics)
        return {(row["step"], row["value"]) for row in rows if row["metric"] == "train/lr"}

    assert rates(*IMPATIENT) < rates("run=whole", "trainer.max_epochs=6")
