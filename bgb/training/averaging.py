"""Averaged weights: an exponential moving average of weights and of batch norm statistics.

Buffers that never change keep their bits, and counts stay whole numbers: Lightning's own average,
`decay * average + (1 - decay) * value`, lets both drift, and a resumed run with them.
"""

from collections.abc import Callable, Sequence

import torch
from pytorch_lightning.callbacks import WeightAveraging
from torch import Tensor

Tensors = tuple[Tensor, ...] | list[Tensor]


class MovingAverage(WeightAveraging):
    """Average after every step, on the device that trains."""

    def __init__(self, decay: float, device: torch.device) -> None:
        super().__init__(device=device, use_buffers=True, multi_avg_fn=_moving_average(decay))


def _moving_average(decay: float) -> Callable[[Tensors, Tensors, Tensor | int], None]:
    """Return what moves averages of one type and device towards the values."""

    @torch.no_grad()
    def update(averages: Sequence[Tensor], values: Sequence[Tensor], _: Tensor | int) -> None:
        if averages[0].is_floating_point():
            torch._foreach_lerp_(list(averages), list(values), 1 - decay)  # equal ones stay equal
        else:
            torch._foreach_copy_(list(averages), list(values))

    return update
