"""Numbers stay finite where the predecessor's did not, and nearly the same in bf16."""

# Shapes: B batch, S seconds, C channels, R samples a second, K output steps

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from bgb.config.model import ModelConfig
from bgb.detectors import Detector
from bgb.training.module import parameter_groups
from tests.detectors.catalogue import SIGNAL, detector_of, each_model, windows

_SIGMA = 270  # quanta: spikes of 120 sigma just fit into int16
_SPIKE = 120 * _SIGMA


def spiky(window_s: int, generator: torch.Generator, *, batch: int = 2) -> Tensor:
    """Return noise of 27 uV, four samples of 120 sigma up and down, and padding in the end."""
    shape = (batch, window_s, SIGNAL.num_channels, SIGNAL.rate_hz)
    tiles_BSCR = _SIGMA * torch.randn(shape, generator=generator)
    tiles_BSCR[:, window_s // 2, 3, 10:14] = _SPIKE
    tiles_BSCR[:, window_s // 2, 4, 10:14] = -_SPIKE
    tiles_BSCR[:, -1] = 0
    return tiles_BSCR.to(torch.int16)


def gradients(detector: Detector) -> list[Tensor]:
    return [each.grad for each in detector.parameters() if each.grad is not None]


@each_model
def test_spikes_and_silence_leave_gradients_finite(model: ModelConfig, window_s: int) -> None:
    # Lesson 55: input outliers of 121 sigma ended in NaN.
    detector = detector_of(model, window_s)
    tiles_BSCR = spiky(window_s, torch.Generator().manual_seed(1), batch=3)
    tiles_BSCR[1] = 0
    tiles_BSCR[2] = tiles_BSCR[2, :, :1]  # all electrodes alike: every derivation is flat
    logits_BK = detector(tiles_BSCR, torch.ones(3, SIGNAL.num_channels, dtype=torch.bool))
    functional.logsigmoid(logits_BK).sum().backward()
    assert logits_BK.isfinite().all()
    assert len(gradients(detector)) == len(list(detector.parameters()))
    assert all(gradient.isfinite().all() for gradient in gradients(detector))


@each_model
@pytest.mark.slow
def test_fifty_steps_on_spikes_of_120_sigma_stay_finite(model: ModelConfig, window_s: int) -> None:
    detector = detector_of(model, window_s)
    optimizer = torch.optim.AdamW(parameter_groups(detector, 0.01), lr=1e-3)
    generator = torch.Generator().manual_seed(1)
    present_BC = torch.ones(2, SIGNAL.num_channels, dtype=torch.bool)
    for step in range(50):
        optimizer.zero_grad()
        logits_BK = detector(spiky(window_s, generator), present_BC)
        labels_BK = torch.randint(2, logits_BK.shape, generator=generator).float()
        functional.binary_cross_entropy_with_logits(logits_BK, labels_BK).backward()
        norm = torch.nn.utils.clip_grad_norm_(detector.parameters(), 1.0)
        assert norm.isfinite(), f"the gradient of step {step} is not finite"
        optimizer.step()
    assert detector.eval()(spiky(window_s, generator), present_BC).isfinite().all()


@each_model
def test_bf16_autocast_gives_nearly_the_same_logits(model: ModelConfig, window_s: int) -> None:
    detector = detector_of(model, window_s).eval()
    batch = windows(window_s)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        mixed_BK = detector(*batch).float()
    plain_BK = detector(*batch).detach()
    assert (mixed_BK - plain_BK).norm() < 0.03 * plain_BK.norm()
