"""EEGWaveNet (Thuwajit et al. 2021, doi 10.1109/TII.2021.3133307): one logit for each segment.

A cascade of depthwise convolutions halves the rate six times; the features of its last five scales
are averaged in time and judged together. 45,734 parameters as published, at 18 channels.

Departures: one logit in place of two classes; no bias before a norm, nor in the cascade, which is
linear and pads nothing, so that its biases end as constants before that norm, too (lesson 62).
The paper's low pass at 64 Hz, majority vote and ensemble belong to recipe and postprocessing.
"""

# Shapes: B batch, C channels, T samples, K segments, N samples of a segment, D features

import torch
from torch import Tensor, nn

from bgb.detectors.segments import as_segments, check_segments

_NUM_SCALES = 5  # after the first, which only halves the rate


class EegWaveNet(nn.Module):
    """Judge each segment of `segment_s` seconds on its own.

    Attributes: the facts of the detector contract (`rate_hz`, `out_rate_hz`, `window_s`,
    `context_s`, `receptive_field_s`); a segment needs no context.
    """

    def __init__(
        self,
        num_channels: int,
        *,
        rate_hz: int,
        window_s: int,
        segment_s: int = 4,
        scale_width: int = 32,
    ) -> None:
        super().__init__()
        check_segments(window_s, segment_s, "model.segment_s")
        self.rate_hz, self.window_s = rate_hz, window_s
        self.out_rate_hz = 1 / segment_s
        self.receptive_field_s = float(segment_s)
        self.context_s = (0, 0)
        self.num_samples = segment_s * rate_hz
        self.first = _halve(num_channels)
        self.cascade = nn.ModuleList(_halve(num_channels) for _ in range(_NUM_SCALES))
        self.scales = nn.ModuleList(_scale(num_channels, scale_width) for _ in range(_NUM_SCALES))
        self.head = nn.Sequential(
            nn.Linear(_NUM_SCALES * scale_width, 2 * scale_width),
            nn.LeakyReLU(),
            nn.Linear(2 * scale_width, scale_width),
            nn.Sigmoid(),
            nn.Linear(scale_width, 1),
        )

    def forward(self, signal_BCT: Tensor) -> Tensor:
        """Return one logit a segment, (B, T / segment)."""
        num_segments = signal_BCT.shape[-1] // self.num_samples
        signal = self.first(as_segments(signal_BCT, self.num_samples))  # (B * K, C, N / 2)
        features = []
        for halve, scale in zip(self.cascade, self.scales):
            signal = halve(signal)
            features.append(scale(signal).mean(-1))
        logits: Tensor = self.head(torch.cat(features, dim=1))
        return logits.view(-1, num_segments)


def _halve(num_channels: int) -> nn.Module:
    return nn.Conv1d(num_channels, num_channels, 2, stride=2, groups=num_channels, bias=False)


def _scale(num_channels: int, width: int) -> nn.Module:
    layers: list[nn.Module] = []
    for num_in in (num_channels, width):
        layers += [nn.Conv1d(num_in, width, 4, bias=False), nn.BatchNorm1d(width), nn.LeakyReLU()]
    return nn.Sequential(*layers)
