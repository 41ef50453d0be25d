"""EEGNet (Lawhern et al. 2018, doi 10.1088/1741-2552/aace8c): one logit for each segment.

Tiny; test speed and sanity floor. The temporal kernel and the pools are those of the paper at
128 Hz, stretched with the rate. The max-norm constraints of the paper are left out.
"""

# Shapes: B batch, C channels, T samples, K segments, F feature maps

import torch
from torch import Tensor, nn

from bgb.detectors.segments import as_segments, check_segments

_POOLS_S = (4 / 128, 8 / 128)  # pooling lengths of the paper, in seconds


class EegNet(nn.Module):
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
        temporal_filters: int = 8,
        depth: int = 2,
        separable_filters: int = 16,
        kernel_s: float = 0.5,
        dropout: float = 0.25,
    ) -> None:
        super().__init__()
        check_segments(window_s, segment_s, "model.segment_s")
        self.rate_hz, self.window_s = rate_hz, window_s
        self.out_rate_hz = 1 / segment_s
        self.receptive_field_s = float(segment_s)
        self.context_s = (0, 0)
        self.num_samples = segment_s * rate_hz
        first, second = (max(1, round(length_s * rate_hz)) for length_s in _POOLS_S)
        spatial_filters = temporal_filters * depth
        self.temporal = nn.Sequential(
            _same_conv(1, temporal_filters, round(kernel_s * rate_hz)),
            nn.BatchNorm2d(temporal_filters),
        )
        self.spatial = nn.Sequential(
            _conv(temporal_filters, spatial_filters, (num_channels, 1), groups=temporal_filters),
            *_pooled(spatial_filters, first, dropout),
        )
        self.separable = nn.Sequential(
            _same_conv(spatial_filters, spatial_filters, 16, groups=spatial_filters),
            _conv(spatial_filters, separable_filters, (1, 1)),
            *_pooled(separable_filters, second, dropout),
        )
        self.head = nn.Linear(separable_filters * (self.num_samples // first // second), 1)

    def forward(self, signal_BCT: Tensor) -> Tensor:
        """Return one logit a segment, (B, T / segment)."""
        num_segments = signal_BCT.shape[-1] // self.num_samples
        maps = as_segments(signal_BCT, self.num_samples)[:, None]  # (B * K, 1, C, samples)
        features = self.separable(self.spatial(self.temporal(maps)))
        logits: Tensor = self.head(torch.flatten(features, 1))
        return logits.view(-1, num_segments)


def _pooled(num_filters: int, length: int, dropout: float) -> list[nn.Module]:
    norm = nn.BatchNorm2d(num_filters)
    return [norm, nn.ELU(), nn.AvgPool2d((1, length)), nn.Dropout(dropout)]


def _same_conv(num_in: int, num_out: int, length: int, *, groups: int = 1) -> nn.Module:
    """Convolve in time, padded so that the length stays (an even kernel leans to the right)."""
    return nn.Sequential(
        nn.ZeroPad2d(((length - 1) // 2, length // 2, 0, 0)),
        _conv(num_in, num_out, (1, length), groups=groups),
    )


def _conv(num_in: int, num_out: int, kernel: tuple[int, int], *, groups: int = 1) -> nn.Module:
    return nn.Conv2d(num_in, num_out, kernel, groups=groups, bias=False)
