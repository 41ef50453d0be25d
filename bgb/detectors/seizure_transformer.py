"""SeizureTransformer (Wu, Zhao and Yener 2025, arXiv 2504.00336): first of the SzCORE challenge.

Five convolutions with max pools between them, residual blocks and a transformer at 1/32 of the
rate, and a decoder that mirrors the encoder and adds its stages. 37.85 M parameters and 43.4 GFLOP
for 60 s, attention (3.8 GFLOP) not counted; after keruiwu/SeizureTransformer cf83f59:

- The layer that its code copies eight times and never runs (3.15 M parameters) is not here, and the
  copies begin from different numbers. Else parameters and function are the same; among them are
  biases before a norm and of the attention's keys, which no output depends on in training.
- One logit a sample is 64 times what labels and stitching need: `out_rate_hz` averages the logits.
  The published output is `out_rate_hz=rate_hz` and a sigmoid.
- The code pads odd lengths with -1e10 before a pool. Here the signal gets zeros at its end up to
  whole steps of the transformer. Neither happens at a rate that is a multiple of 32.
- Filters, a z-score of the recording and 60 s windows are the published input: preprocessing is
  that of the cache here, once for the recording; the 1 Hz notch, which fills the start of each
  published window with its transient, is left out.
- Paper and code disagree on balance (alpha 0.3 and 0.7, beta 2.5 and 2), batch (256 and 86) and
  learning rate (1e-3 and 1e-4), and on 19 or 18 channels.
"""

# Shapes: B batch, C channels, D features, T samples or steps of a stage, K output steps

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from bgb.detectors.conv_unet import ENCODER_KERNELS, AveragedHead, Decoder, Encoder

_DECODER_KERNELS = (3, 5, 5, 7, 7)
_RESIDUAL_KERNELS = (3, 3, 3, 3, 2, 3, 2)
_COARSEST = 2 ** len(ENCODER_KERNELS)  # samples in a step of the transformer


class SeizureTransformer(nn.Module):
    """Encode, link the steps of the whole window, decode with skips, average to `out_rate_hz`.

    Attributes: the facts of the detector contract. `receptive_field_s` is the span of the residual
    blocks; the transformer sees the whole window, however long.
    """

    def __init__(
        self,
        num_channels: int,
        *,
        rate_hz: int,
        window_s: int,
        out_rate_hz: int = 4,
        base_channels: int = 32,
        residual_blocks: int = 7,
        layers: int = 8,
        heads: int = 4,
        expansion: int = 4,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        kernels = _RESIDUAL_KERNELS[:residual_blocks]
        self.rate_hz, self.window_s = rate_hz, window_s
        self.out_rate_hz = float(out_rate_hz)
        self.context_s = (0, 0)
        self.receptive_field_s = _COARSEST * (1 + 2 * (sum(kernels) - len(kernels))) / rate_hz
        widths = [base_channels * 2**stage for stage in range(len(ENCODER_KERNELS))]
        width = widths[-1]
        self.encoder = Encoder([num_channels, *widths], ENCODER_KERNELS)
        self.residual = nn.Sequential(*(_ResidualBlock(width, k, dropout) for k in kernels))
        self.dropout = nn.Dropout(dropout)
        self.transformer = nn.Sequential(
            *(
                nn.TransformerEncoderLayer(
                    width, heads, expansion * width, dropout, batch_first=True
                )
                for _ in range(layers)
            )
        )
        self.decoder = Decoder([width, *reversed(widths)], _DECODER_KERNELS)
        self.head = AveragedHead(base_channels, rate_hz // out_rate_hz)

    def forward(self, signal_BCT: Tensor) -> Tensor:
        """Return one logit per output step, (B, T * out_rate_hz / rate_hz)."""
        features_BDT, skips = self.encoder(_pad(signal_BCT))
        features_BDT = self._link(self.residual(features_BDT))
        logits_BK: Tensor = self.head(self.decoder(features_BDT, skips))
        return logits_BK[:, : signal_BCT.shape[-1] // self.head.num_samples]

    def _link(self, features_BDT: Tensor) -> Tensor:
        """Add what the transformer makes of all steps together."""
        steps_BTD = features_BDT.transpose(1, 2)
        linked_BTD: Tensor = self.transformer(self.dropout(steps_BTD + _positions(steps_BTD)))
        return features_BDT + linked_BTD.transpose(1, 2)


class _ResidualBlock(nn.Module):
    """Twice norm, ReLU, dropout of whole channels and convolution; added to what came in."""

    def __init__(self, width: int, kernel: int, dropout: float) -> None:
        super().__init__()
        self.change = nn.Sequential(
            *(
                nn.Sequential(
                    nn.BatchNorm1d(width, eps=1e-3),
                    nn.ReLU(inplace=True),
                    nn.Dropout1d(dropout),
                    _same_conv(width, width, kernel),
                )
                for _ in range(2)
            )
        )

    def forward(self, features_BDT: Tensor) -> Tensor:
        changed_BDT: Tensor = features_BDT + self.change(features_BDT)
        return changed_BDT


def _same_conv(num_in: int, num_out: int, kernel: int) -> nn.Module:
    """Keep the length; an even kernel leans to the right."""
    if kernel % 2:
        return nn.Conv1d(num_in, num_out, kernel, padding=kernel // 2)
    pad = nn.ConstantPad1d((kernel // 2 - 1, kernel // 2), 0.0)
    return nn.Sequential(pad, nn.Conv1d(num_in, num_out, kernel))


def _positions(steps_BTD: Tensor) -> Tensor:
    """Return sines and cosines of the step, (T, D), float32 (Vaswani 2017, section 3.5)."""
    num_steps, width = steps_BTD.shape[1:]
    device = steps_BTD.device
    step_T1 = torch.arange(num_steps, dtype=torch.float32, device=device)[:, None]
    even_D = torch.arange(0, width, 2, dtype=torch.float32, device=device)
    angle_TD = step_T1 * torch.exp(even_D * (-math.log(10000.0) / width))
    return torch.stack((angle_TD.sin(), angle_TD.cos()), dim=-1).flatten(1)


def _pad(signal_BCT: Tensor) -> Tensor:
    """Append zeros up to whole steps of the transformer; the output is cropped again."""
    missing = _COARSEST - 1 - (signal_BCT.shape[-1] - 1) % _COARSEST
    return functional.pad(signal_BCT, (0, missing))
