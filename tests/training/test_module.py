"""SeizureModule: loss, schedule, parameter groups; Checkpoints: which is best."""

from pathlib import Path

import pytest
import torch

from bgb.config.model import EventNetUnetConfig, FrontendConfig, ModelConfig
from bgb.config.training import OPTIMIZERS
from bgb.detectors import build_detector
from bgb.eeg.montage import ELECTRODES
from bgb.eeg.signal import SignalSpec
from bgb.errors import ConfigError
from bgb.training.checkpoint import Checkpoints
from bgb.training.losses import StepLoss
from bgb.training.module import Schedule, Solver, parameter_groups
from tests.detectors.catalogue import CATALOGUE, detector_of

NAN = float("nan")
LOSS = StepLoss()


def test_loss_is_the_sum_over_valid_steps() -> None:
    logits_BK = torch.tensor([[0.0, 3.0, NAN], [-2.0, NAN, NAN]])
    labels_BK = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    valid_BK = torch.tensor([[True, True, False], [True, False, False]])
    expected = torch.nn.functional.softplus(torch.tensor([-0.0, 3.0, -2.0])).sum()
    torch.testing.assert_close(LOSS.sum(logits_BK, labels_BK, valid_BK), expected)


def test_padding_gives_no_gradient() -> None:
    logits_BK = torch.zeros(2, 3, requires_grad=True)
    valid_BK = torch.tensor([[True, True, False], [False, False, False]])
    LOSS.sum(logits_BK, torch.ones(2, 3), valid_BK).backward()
    assert logits_BK.grad is not None
    assert torch.equal(logits_BK.grad != 0, valid_BK)


def test_loss_of_nothing_is_zero() -> None:
    empty = torch.zeros(2, 3, dtype=torch.bool)
    assert LOSS.sum(torch.zeros(2, 3), torch.ones(2, 3), empty) == 0


def test_schedule_warms_up_and_ends_at_its_final_share() -> None:
    # Lesson 56: a warm-up counted in the wrong unit kept the rate at 1e-9 for an epoch.
    schedule = Schedule(warmup_fraction=0.1, final_fraction=0.01)
    factors = [schedule.factor(step, 100) for step in range(101)]
    assert factors[0] == pytest.approx(1 / 11)
    assert factors[:11] == sorted(factors[:11])
    assert max(factors) == factors[10] == 1
    assert factors[10:] == sorted(factors[10:], reverse=True)
    assert factors[99] == factors[100] == pytest.approx(0.01)


def test_schedule_without_warm_up_begins_at_the_peak() -> None:
    assert Schedule(0.0, 0.1).factor(0, 1) == 1
    assert Schedule(0.0, 0.1).factor(0, 50) == 1


def test_biases_and_norms_do_not_decay() -> None:
    # Lesson 55: weight decay on norms was part of the NaNs.
    detector = build_detector(
        EventNetUnetConfig(rate_hz=64, base_channels=2),
        FrontendConfig(),
        SignalSpec("electrodes", ELECTRODES, 128),
        window_s=40,
    )
    decayed, spared = parameter_groups(detector, 0.5)
    names = {id(parameter): name for name, parameter in detector.named_parameters()}
    assert decayed["weight_decay"] == 0.5
    assert spared["weight_decay"] == 0
    assert len(decayed["params"]) + len(spared["params"]) == len(names)
    assert all(names[id(each)].endswith("weight") for each in decayed["params"])
    assert {names[id(each)].rsplit(".", 1)[1] for each in spared["params"]} == {"weight", "bias"}
    assert all(each.ndim == 1 for each in spared["params"])


@pytest.mark.parametrize(
    ("mode", "before", "score", "wins"),
    [
        ("max", 0.5, 0.6, True), ("max", 0.5, 0.5, False), ("max", 0.5, 0.4, False),
        ("min", 0.5, 0.4, True), ("min", 0.5, 0.6, False),
        ("max", 0.5, NAN, False), ("max", NAN, 0.1, True), ("max", NAN, NAN, False),
    ],
)  # fmt: skip
def test_best_is_what_beats_the_best_before_it(
    tmp_path: Path, mode: str, before: float, score: float, wins: bool
) -> None:
    callback = Checkpoints(
        tmp_path / "last", tmp_path / "best", score=lambda: None, mode=mode, minutes=1
    )
    callback.best_score, callback.best_step = before, 3
    assert callback._wins(score) is wins


def test_the_first_validation_is_best_even_without_a_number(tmp_path: Path) -> None:
    callback = Checkpoints(
        tmp_path / "l", tmp_path / "b", score=lambda: None, mode="max", minutes=1
    )
    assert callback._wins(NAN)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("adamw", torch.optim.AdamW), ("adam", torch.optim.Adam), ("radam", torch.optim.RAdam)],
)
def test_optimizer_is_the_one_named(name: str, kind: type[torch.optim.Optimizer]) -> None:
    weight = torch.nn.Parameter(torch.ones(2, 2))
    groups = [{"params": [weight], "weight_decay": 0.5}]
    optimizer = Solver(name, beta2=0.95).build(groups, lr=0.1, on_gpu=False)
    assert type(optimizer) is kind
    (group,) = optimizer.param_groups
    assert (group["lr"], group["betas"], group["weight_decay"]) == (0.1, (0.9, 0.95), 0.5)


def test_every_optimizer_of_the_configuration_is_built() -> None:
    for name in OPTIMIZERS:
        weight = torch.nn.Parameter(torch.ones(2))
        Solver(name).build([{"params": [weight]}], lr=0.1, on_gpu=False)
    with pytest.raises(ConfigError, match=r"optimizer.name='sgd' has no optimiser"):
        Solver("sgd").build([{"params": [weight]}], lr=0.1, on_gpu=False)


@pytest.mark.parametrize(("model", "window_s"), CATALOGUE.values(), ids=CATALOGUE)
def test_what_sets_the_time_constants_of_mamba_does_not_decay(
    model: ModelConfig, window_s: int
) -> None:
    detector = detector_of(model, window_s)
    spared = {id(each) for each in parameter_groups(detector, 0.5)[1]["params"]}
    for name, parameter in detector.named_parameters():
        if name.rsplit(".", 1)[-1] in ("A_log", "D", "dt_bias"):
            assert id(parameter) in spared, name
