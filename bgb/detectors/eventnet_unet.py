"""The 1-D U-Net of EventNet (Seeuws et al. 2024, doi 10.1109/TBME.2024.3383328) with a dense head.

Five levels, each four times coarser and twice as wide than the last. The published event heads
(centre and duration, 1.66 M parameters in all) give way to one logit per output step: dense
detectors lead the SzCORE field. 1.37 M parameters at 18 channels and base 16.
"""

# Shapes: B batch, C channels, T samples, K output steps, D features

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

_NUM_LEVELS = 5
_STRIDE = 4  # from one level to the next
_COARSEST = _STRIDE ** (_NUM_LEVELS - 1)  # samples in one step of the coarsest level
_ENCODER_KERNEL = 9
_DECODER_KERNEL = 15


class EventNetUnet(nn.Module):
    """Encode with max pools, decode with skips, pool to `out_rate_hz`, one logit a step.

    Attributes: the facts of the detector contract. `receptive_field_s` is the span of the widest
    kernel (nine of the coarsest steps), the least that a window must hold. `context_s` is zero: the
    ends of a window are reflected, in training as in use, so their logits count.
    """

    def __init__(
        self,
        num_channels: int,
        *,
        rate_hz: int,
        window_s: int,
        out_rate_hz: int = 4,
        base_channels: int = 16,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.rate_hz, self.window_s = rate_hz, window_s
        self.out_rate_hz = float(out_rate_hz)
        self.receptive_field_s = _ENCODER_KERNEL * _COARSEST / rate_hz
        self.context_s = (0, 0)
        widths = [base_channels * 2**level for level in range(_NUM_LEVELS)]
        self.encoder = nn.ModuleList(
            _block(before, width, _ENCODER_KERNEL, "reflect")
            for before, width in zip([num_channels, *widths], widths)
        )
        self.decoder = nn.ModuleList(
            _block(coarse + fine, fine, _DECODER_KERNEL, "zeros")
            for coarse, fine in zip(widths[:0:-1], widths[-2::-1])
        )
        self.pool = nn.AvgPool1d(rate_hz // out_rate_hz)
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Conv1d(base_channels, 1, 1))

    def forward(self, signal_BCT: Tensor) -> Tensor:
        """Return one logit per output step, (B, T * out_rate_hz / rate_hz)."""
        num_samples = signal_BCT.shape[-1]
        features_BDT = self.decode(self.encode(_pad(signal_BCT)))[..., :num_samples]
        logits_BK: Tensor = self.head(self.pool(features_BDT))[:, 0]
        return logits_BK

    def encode(self, signal_BCT: Tensor) -> list[Tensor]:
        """Return the features of every level, finest first."""
        levels: list[Tensor] = []
        for block in self.encoder:
            finer = functional.max_pool1d(levels[-1], _STRIDE) if levels else signal_BCT
            levels.append(block(finer))
        return levels

    def decode(self, levels: list[Tensor]) -> Tensor:
        """Return features at the rate of the signal, (B, base_channels, T)."""
        features_BDT = levels[-1]
        for block, skip_BDT in zip(self.decoder, levels[-2::-1]):
            features_BDT = functional.interpolate(features_BDT, scale_factor=float(_STRIDE))
            features_BDT = block(torch.cat((features_BDT, skip_BDT), dim=1))
        return features_BDT


def _block(
    num_in: int, num_out: int, length: int, padding_mode: Literal["zeros", "reflect"]
) -> nn.Module:
    return nn.Sequential(
        # No bias: the norm that follows would make it a dead parameter (lesson 62).
        nn.Conv1d(
            num_in, num_out, length, padding=length // 2, padding_mode=padding_mode, bias=False
        ),
        nn.BatchNorm1d(num_out),
        nn.ELU(),
    )


def _pad(signal_BCT: Tensor) -> Tensor:
    """Append zeros up to whole steps of the coarsest level; the output is cropped again."""
    return functional.pad(signal_BCT, (0, -signal_BCT.shape[-1] % _COARSEST))
