"""Losses: cross-entropy, focal and weights, summed over the valid steps."""

# Shapes: B batch, K output steps

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from bgb.config.loss import LossConfig
from bgb.training.losses import StepLoss, build_loss

NAN = float("nan")
LOSSES = [
    LossConfig(),
    LossConfig(pos_weight=3.0),
    LossConfig(alpha=0.25),
    LossConfig(gamma=2.0),
    LossConfig(gamma=0.5, alpha=0.25),
]
each_loss = pytest.mark.parametrize("config", LOSSES, ids=str)


def batch(*, seed: int = 0, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits_BK = 3 * torch.randn(4, 9, generator=generator, dtype=dtype)
    labels_BK = (torch.rand(4, 9, generator=generator) < 0.4).to(dtype)
    return logits_BK, labels_BK, torch.rand(4, 9, generator=generator) < 0.8


def published(config: LossConfig, logits_BK: Tensor, labels_BK: Tensor) -> Tensor:
    """Lin 2017, equation 5: - alpha_t (1 - p_t)^gamma log p_t, with hard labels."""
    probability_BK = logits_BK.sigmoid()
    given_BK = torch.where(labels_BK == 1, probability_BK, 1 - probability_BK)
    ones = torch.ones_like(labels_BK)
    weight_BK = ones
    if config.alpha is not None:
        weight_BK = torch.where(labels_BK == 1, config.alpha * ones, 1 - config.alpha)
    if config.pos_weight is not None:
        weight_BK = torch.where(labels_BK == 1, config.pos_weight * ones, 1.0)
    return -weight_BK * (1 - given_BK) ** config.gamma * given_BK.log()


@each_loss
def test_sum_is_that_of_the_published_formula_over_valid_steps(config: LossConfig) -> None:
    logits_BK, labels_BK, valid_BK = batch()
    expected = published(config, logits_BK, labels_BK)[valid_BK].sum()
    torch.testing.assert_close(build_loss(config).sum(logits_BK, labels_BK, valid_BK), expected)


@each_loss
def test_sum_of_pieces_is_the_sum_of_the_whole(config: LossConfig) -> None:
    whole, loss = batch(), build_loss(config)
    pieces = [loss.sum(*(part[row : row + 1] for part in whole)) for row in range(4)]
    torch.testing.assert_close(sum(pieces, torch.zeros(())), loss.sum(*whole), check_dtype=False)


@each_loss
def test_smoothed_labels_are_soft_labels(config: LossConfig) -> None:
    logits_BK, labels_BK, valid_BK = batch()
    smoothed = build_loss(replace(config, smoothing=0.1))
    expected = build_loss(config).sum(logits_BK, 0.9 * labels_BK + 0.05, valid_BK)
    torch.testing.assert_close(smoothed.sum(logits_BK, labels_BK, valid_BK), expected)
    two_classes = torch.stack((torch.zeros_like(logits_BK), logits_BK), dim=1)
    torchs = functional.cross_entropy(
        two_classes, labels_BK.long(), reduction="none", label_smoothing=0.1
    )
    plain = StepLoss(smoothing=0.1).sum(logits_BK, labels_BK, valid_BK)
    torch.testing.assert_close(plain, torchs[valid_BK].sum())


@each_loss
def test_a_soft_label_is_the_expectation_over_hard_ones(config: LossConfig) -> None:
    logits_BK, _, valid_BK = batch()
    loss, ones_BK = build_loss(config), torch.ones_like(logits_BK)
    seizure = loss.sum(logits_BK, ones_BK, valid_BK)
    background = loss.sum(logits_BK, 0 * ones_BK, valid_BK)
    mixed = loss.sum(logits_BK, 0.3 * ones_BK, valid_BK)
    torch.testing.assert_close(mixed, 0.3 * seizure + 0.7 * background)


@each_loss
def test_steps_outside_the_recording_give_no_loss_and_no_gradient(config: LossConfig) -> None:
    logits_BK = torch.tensor([[1.0, NAN], [NAN, -2.0]], requires_grad=True)
    labels_BK, valid_BK = torch.tensor([[1.0, 1.0], [0.0, 0.0]]), torch.eye(2, dtype=torch.bool)
    build_loss(config).sum(logits_BK, labels_BK, valid_BK).backward()
    assert logits_BK.grad is not None
    assert torch.equal(logits_BK.grad != 0, valid_BK)  # NaN != 0


@each_loss
@pytest.mark.parametrize("extreme", [-200.0, 200.0])
def test_extreme_logits_leave_loss_and_gradient_finite(config: LossConfig, extreme: float) -> None:
    logits_BK = torch.full((2, 1), extreme, requires_grad=True)
    labels_BK = torch.tensor([[0.0], [1.0]])
    loss = build_loss(config).sum(logits_BK, labels_BK, torch.ones(2, 1, dtype=torch.bool))
    loss.backward()
    assert loss.isfinite()
    assert loss > 10
    assert logits_BK.grad is not None
    assert logits_BK.grad.isfinite().all()


@each_loss
def test_gradient_is_that_of_finite_differences(config: LossConfig) -> None:
    logits_BK, labels_BK, valid_BK = batch()
    logits_BK.requires_grad_()
    labels_BK[0] = 0.3
    assert torch.autograd.gradcheck(
        lambda logits: build_loss(config).sum(logits, labels_BK, valid_BK), logits_BK
    )


def test_the_default_is_binary_cross_entropy_to_the_last_bit() -> None:
    logits_BK, labels_BK, valid_BK = batch(dtype=torch.float32)
    expected = functional.binary_cross_entropy_with_logits(logits_BK, labels_BK, reduction="none")
    actual = build_loss(LossConfig()).sum(logits_BK, labels_BK, valid_BK)
    assert torch.equal(actual, torch.where(valid_BK, expected, 0).sum())


def test_logits_of_bf16_are_judged_in_float32() -> None:
    logits_BK, labels_BK, valid_BK = batch(dtype=torch.float32)
    halved_BK = logits_BK.bfloat16()
    loss = StepLoss(gamma=2.0)
    assert torch.equal(
        loss.sum(halved_BK, labels_BK, valid_BK),
        loss.sum(halved_BK.float(), labels_BK, valid_BK),
    )


def test_gamma_alone_weighs_both_classes_alike() -> None:
    # Why gamma is no imbalance mechanism: mirrored logits and labels cost the same.
    logits_BK, labels_BK, valid_BK = batch()
    loss = StepLoss(gamma=2.0)
    torch.testing.assert_close(
        loss.sum(logits_BK, labels_BK, valid_BK), loss.sum(-logits_BK, 1 - labels_BK, valid_BK)
    )
