"""The convolutional U of SeizureTransformer (Wu et al. 2025, arXiv 2504.00336) around any middle.

Each level of the encoder convolves and halves the steps; each of the decoder doubles them,
convolves and adds the level opposite. The head judges every sample, as in the paper, and its
logits are averaged: events last seconds, so 4 Hz loses nothing and has 64 times fewer to keep.
"""

# Shapes: B batch, D features, T samples or steps of a level, K output steps

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

ENCODER_KERNELS = (11, 9, 7, 7, 5)  # as published, of five levels
_HEAD_KERNEL = 11


class Encoder(nn.ModuleList):
    """Convolution, ELU and max pool at each level; `widths` begins with the channels."""

    def __init__(self, widths: Sequence[int], kernels: Sequence[int]) -> None:
        super().__init__(
            nn.Conv1d(before, after, kernel, padding=kernel // 2)
            for (before, after), kernel in zip(pairwise(widths), kernels, strict=True)
        )

    def forward(self, features_BDT: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the coarsest features, and those of each level before its pool, finest first."""
        skips: list[Tensor] = []
        for convolution in self:
            skips.append(functional.elu(convolution(features_BDT), inplace=True))
            features_BDT = functional.max_pool1d(skips[-1], 2)
        return features_BDT, skips


class Decoder(nn.ModuleList):
    """Repeated steps, convolution, ELU and skip at each level; `widths` begins with the middle."""

    def __init__(self, widths: Sequence[int], kernels: Sequence[int]) -> None:
        super().__init__(
            UpConvolution(before, after, kernel)
            for (before, after), kernel in zip(pairwise(widths), kernels, strict=True)
        )

    def forward(self, features_BDT: Tensor, skips: Sequence[Tensor]) -> Tensor:
        """Return features at the rate of the signal."""
        for convolution, skip_BDT in zip(self, reversed(skips), strict=True):
            features_BDT = functional.elu(convolution(features_BDT), inplace=True) + skip_BDT
        return features_BDT


class UpConvolution(nn.Conv1d):
    """Repeat each step once, then convolve; an odd kernel, padded so that 2 T steps come out."""

    def __init__(self, num_in: int, num_out: int, kernel: int) -> None:
        super().__init__(num_in, num_out, kernel, padding=kernel // 2)

    def forward(self, features_BDT: Tensor) -> Tensor:
        # A compiler cannot ask for the mode.
        if not torch.compiler.is_compiling() and torch.is_inference_mode_enabled():
            return self._phases(features_BDT)
        return super().forward(functional.interpolate(features_BDT, scale_factor=2.0))

    def _phases(self, features_BDT: Tensor) -> Tensor:
        """Return the same with fewer operations: even and odd steps, from what is not repeated.

        Two taps that fall on the same step become one. That takes 40 % off the decoder and 5 % off
        SeizureTransformer on a CPU; whether training gains is not measured.
        """
        (length,) = self.kernel_size
        reach = (length // 2 + 1) // 2
        weight = self.weight.new_zeros(2, self.out_channels, self.in_channels, 2 * reach + 1)
        for phase in range(2):
            for tap, weight_of_tap in enumerate(self.weight.unbind(2)):
                weight[phase, ..., (phase + tap - length // 2) // 2 + reach] += weight_of_tap
        bias = None if self.bias is None else self.bias.repeat(2)
        both = functional.conv1d(features_BDT, weight.flatten(0, 1), bias, padding=reach)
        even_BDT, odd_BDT = both.chunk(2, dim=1)
        return torch.stack((even_BDT, odd_BDT), dim=-1).flatten(2)


class AveragedHead(nn.Conv1d):
    """One logit a sample, averaged over each `num_samples` of them."""

    def __init__(self, width: int, num_samples: int) -> None:
        super().__init__(width, 1, _HEAD_KERNEL, padding=_HEAD_KERNEL // 2)
        self.num_samples = num_samples

    def forward(self, features_BDT: Tensor) -> Tensor:
        """Return (B, K); float32, for bf16 would round what is averaged."""
        logits_B1T = super().forward(features_BDT).float()
        return functional.avg_pool1d(logits_B1T, self.num_samples)[:, 0]
