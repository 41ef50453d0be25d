"""Averaged weights: what is constant keeps its bits, what is a whole number stays one."""

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from bgb.training.averaging import _moving_average


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3))
        self.register_buffer("constant", torch.randn(50) * 0.1, persistent=False)
        self.register_buffer("number", torch.arange(19))


def test_constant_buffers_keep_their_bits_and_weights_move() -> None:
    torch.manual_seed(0)
    layer = Layer()
    average = AveragedModel(layer, use_buffers=True, multi_avg_fn=_moving_average(0.9))
    for step in range(1, 30):
        with torch.no_grad():
            layer.weight.fill_(step)
        average.update_parameters(layer)
    assert torch.equal(average.module.constant, layer.constant)
    assert average.module.number.tolist() == list(range(19))
    expected = 1.0
    for step in range(2, 30):
        expected += 0.1 * (step - expected)
    torch.testing.assert_close(average.module.weight.data, torch.full((3,), expected))
