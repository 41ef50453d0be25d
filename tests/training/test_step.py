"""The gradients of a batch: its pieces give those of the whole."""

# Shapes: B batch, S seconds, C channels, R samples a second, K output steps

import pytest
import torch
from torch import Tensor, nn

from bgb.config.model import EegNetConfig, FrontendConfig
from bgb.data.windows import WindowBatch
from bgb.detectors import build_detector
from bgb.eeg.montage import ELECTRODES
from bgb.eeg.signal import SignalSpec
from bgb.errors import ConfigError
from bgb.training.losses import StepLoss
from bgb.training.step import backward, check_pieces, pieces

NUM_WINDOWS, NUM_STEPS = 7, 5


class Plain(nn.Module):
    """A detector without batch norm, in float64."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(6, 8, dtype=torch.float64)
        self.head = nn.Linear(8, 1, dtype=torch.float64)

    def forward(self, batch: WindowBatch) -> Tensor:
        logits_BK: Tensor = self.head(self.hidden(batch.tiles_BSCR.double().flatten(2)).tanh())
        return logits_BK[..., 0]


class Sum64(StepLoss):
    """The loss without its cast to float32, so that only the order of sums is left to differ."""

    def sum(self, logits_BK: Tensor, labels_BK: Tensor, valid_BK: Tensor) -> Tensor:
        loss_BK = nn.functional.binary_cross_entropy_with_logits(
            logits_BK, labels_BK.double(), reduction="none"
        )
        return torch.where(valid_BK, loss_BK, 0).sum()


def make_batch() -> WindowBatch:
    """Return windows with as many valid steps as their number modulo six, some with none."""
    generator = torch.Generator().manual_seed(0)
    number_B = torch.arange(NUM_WINDOWS)
    return WindowBatch(
        torch.randn(NUM_WINDOWS, NUM_STEPS, 2, 3, generator=generator),
        torch.ones(NUM_WINDOWS, 2, dtype=torch.bool),
        torch.rand(NUM_WINDOWS, NUM_STEPS, generator=generator).round(),
        torch.arange(NUM_STEPS) < (number_B % 6)[:, None],
        *(number_B, number_B, number_B, 0 * number_B),
    )


@pytest.mark.parametrize("size", [1, 2, 3, 6, 7, 100])
def test_pieces_give_the_loss_and_gradients_of_the_whole(size: int) -> None:
    torch.manual_seed(0)
    detector, batch = Plain(), make_batch()
    results = []
    for piece_size in (0, size):
        detector.zero_grad()
        loss = backward(batch, detector, Sum64(), piece_size=piece_size)
        results.append((loss, [parameter.grad for parameter in detector.parameters()]))
    torch.testing.assert_close(results[0], results[1], rtol=1e-12, atol=1e-15)


def test_a_batch_without_a_valid_step_gives_no_gradient() -> None:
    detector, batch = Plain(), make_batch()
    nothing = batch._replace(valid_BK=torch.zeros_like(batch.valid_BK))
    assert backward(nothing, detector, Sum64(), piece_size=3) == 0
    assert all(not parameter.grad.any() for parameter in detector.parameters())  # type: ignore[union-attr]


def test_pieces_are_views_that_cover_the_batch_in_order() -> None:
    batch = make_batch()
    cut = list(pieces(batch, 3))
    assert [len(piece.tiles_BSCR) for piece in cut] == [3, 3, 1]
    assert torch.equal(torch.cat([piece.sample_B for piece in cut]), batch.sample_B)
    assert cut[0].tiles_BSCR.data_ptr() == batch.tiles_BSCR.data_ptr()


def test_pieces_of_a_detector_with_batch_norm_are_refused_by_the_layer_s_name() -> None:
    detector = build_detector(
        EegNetConfig(rate_hz=64), FrontendConfig(), SignalSpec("electrodes", ELECTRODES, 128),
        window_s=12,
    )  # fmt: skip
    check_pieces(detector, micro_batch=0, batch_size=8)
    check_pieces(detector, micro_batch=8, batch_size=8)
    with pytest.raises(
        ConfigError,
        match=r"trainer.micro_batch=4 cuts batches of data.batch_size=8, but "
        r"network.temporal.1 \(BatchNorm2d\) normalises over .* set trainer.micro_batch=0",
    ):
        check_pieces(detector, micro_batch=4, batch_size=8)


def test_detector_without_batch_norm_may_take_pieces() -> None:
    check_pieces(Plain(), micro_batch=4, batch_size=8)
