"""Runs with augmentation and another loss: resumed exactly, validated on windows as they are."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from run_once import train
from test_fit import KilledError, assert_same_end, disturb_step, kill, weights

from bgb.config.schema import TrainConfig
from bgb.detectors.augment import Augmentation
from bgb.detectors.eegnet import EegNet
from bgb.errors import RunError
from bgb.training.replay import replay
from bgb.training.run_folder import RunFolder, run_folder

MakeConfig = Callable[..., TrainConfig]
EVERYTHING = (
    *("augment=standard", "augment.bandstop.probability=0.5", "augment.surrogate.probability=0.5"),
    *("loss=focal", "loss.boundary_s=3"),
)


def test_augmented_run_killed_within_an_epoch_ends_in_the_same_bits_wherever_it_reads(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = train(make_config("run=straight", *EVERYTHING))
    often = "trainer.checkpoint_minutes=0.000001"
    with monkeypatch.context() as patch, pytest.raises(KilledError):
        disturb_step(patch, 4, kill)
        train(make_config("run=killed", often, "data.residency=disk", *EVERYTHING))
    elsewhere = ("data.residency=device", "data.threads=1")
    assert_same_end(expected, train(make_config("run=killed", often, *elsewhere, *EVERYTHING)))


def test_augmentation_and_loss_change_the_weights_and_no_name_in_a_checkpoint(
    straight: RunFolder, make_config: MakeConfig
) -> None:
    name = "detector.network.head.weight"
    for overrides in (EVERYTHING[:3], EVERYTHING[3:4], EVERYTHING[4:]):
        changed = weights(train(make_config(*overrides)))
        assert changed.keys() == weights(straight).keys()
        assert not torch.equal(changed[name], weights(straight)[name])


def test_only_training_windows_are_augmented(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples: list[int] = []
    forward = Augmentation.forward

    def counted(self: Augmentation, *args: Any, **values: Any) -> Any:  # Any: passed on
        samples.extend(values["sample_B"].tolist())
        return forward(self, *args, **values)

    monkeypatch.setattr(Augmentation, "forward", counted)
    train(make_config("augment=standard"))
    assert samples == list(range(48))  # two epochs, each with its validation


def test_a_step_that_is_not_finite_is_replayed_with_its_augmentation(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    logits = EegNet.forward
    broken = torch.tensor(float("nan"))
    monkeypatch.setattr(EegNet, "forward", lambda net, signal_BCT: broken * logits(net, signal_BCT))
    config, seen = make_config(*EVERYTHING), []
    forward = Augmentation.forward

    def kept(self: Augmentation, *args: Any, **values: Any) -> Any:  # Any: passed on
        seen.append(forward(self, *args, **values)[0])
        return forward(self, *args, **values)

    monkeypatch.setattr(Augmentation, "forward", kept)
    with pytest.raises(RunError, match="loss is nan at step 0"):
        train(config)
    (path,) = (run_folder(config).path / "failures").iterdir()
    assert replay(path).samples == tuple(range(8))
    assert len(seen) == 3  # the step, its examination, the replay
    assert torch.equal(seen[0], seen[2])
