"""LookAroundNet (Sverrisson and Gudmundsson 2026, arXiv 2601.06016): judge 16 s by 80 s.

A transformer over time looks at each channel by itself, attention over the channels follows, and
one layer judges the target. Only the context tells it where the target lies. 456,865 parameters
and 3.0 GFLOP a target; after ths220/lookaroundnet b9ba07f:

- One logit instead of two classes (458,594 parameters with the second).
- The judged part of a window may hold several targets: each is seen with its own surroundings.
- 18 or 19 channels come from the frontend: the published code fills missing Fz and Pz from their
  neighbours, as `frontend.missing=interpolate` does for any electrode.
- Key biases of the attention are kept as published: torch holds them with those of query and value.
"""

# Shapes: B batch, C channels, T samples, K targets, N pieces (one a target), P patches, D features

import torch
from torch import Tensor, nn

from bgb.errors import ConfigError

_POSITION_DEVIATION = 0.02


class LookAround(nn.Module):
    """Judge each target of `target_s` seconds, `before_s` and `after_s` seconds around it seen.

    Attributes: the facts of the detector contract. The last samples of a piece that fill no patch
    (16 of 10,240 as published) are not seen.
    """

    def __init__(
        self,
        num_channels: int,
        *,
        rate_hz: int,
        window_s: int,
        target_s: int = 16,
        before_s: int = 32,
        after_s: int = 32,
        patch_s: float = 0.375,
        width: int = 96,
        layers: int = 3,
        heads: int = 3,
        expansion: int = 4,
        dropout: float = 0.1,
        head_dropout: float = 0.5,
    ) -> None:
        super().__init__()
        _check_window(window_s, before_s + after_s, target_s)
        piece_s = before_s + target_s + after_s
        self.rate_hz, self.window_s = rate_hz, window_s
        self.out_rate_hz = 1 / target_s
        self.context_s = (before_s, after_s)
        self.receptive_field_s = float(piece_s)
        self.piece_samples, self.stride_samples = piece_s * rate_hz, target_s * rate_hz
        patch_samples = round(patch_s * rate_hz)
        self.patches = nn.Sequential(
            nn.Conv1d(1, width, patch_samples, stride=patch_samples),
            nn.Conv1d(width, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv1d(width, width, 3, padding=1),
            nn.ReLU(),
        )
        self.patch_position = _positions(self.piece_samples // patch_samples, width)
        self.transformer = nn.Sequential(
            *(
                nn.TransformerEncoderLayer(
                    width, heads, expansion * width, dropout, batch_first=True, norm_first=True
                )
                for _ in range(layers)
            )
        )
        self.channel_position = _positions(num_channels, width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.head = nn.Sequential(
            nn.Flatten(), nn.Dropout(head_dropout), nn.Linear(num_channels * width, 1)
        )

    def forward(self, signal_BCT: Tensor) -> Tensor:
        """Return one logit a target, (B, K)."""
        pieces_BCKT = signal_BCT.unfold(-1, self.piece_samples, self.stride_samples)
        batch, num_channels, num_targets, num_samples = pieces_BCKT.shape
        num_pieces = batch * num_targets
        # Time is looked at channel by channel: a channel of a piece is an element of the batch.
        each_N1T = pieces_BCKT.transpose(1, 2).reshape(num_pieces * num_channels, 1, num_samples)
        tokens_NPD = self.patches(each_N1T).transpose(1, 2) + self.patch_position
        summary_ND = self.transformer(tokens_NPD).mean(1)
        channels_NCD = summary_ND.unflatten(0, (num_pieces, num_channels)) + self.channel_position
        mixed_NCD, _ = self.attention(channels_NCD, channels_NCD, channels_NCD, need_weights=False)
        logits_N1: Tensor = self.head(mixed_NCD)
        return logits_N1.view(batch, num_targets)


def _positions(count: int, width: int) -> nn.Parameter:
    return nn.Parameter(nn.init.trunc_normal_(torch.empty(count, width), std=_POSITION_DEVIATION))


def _check_window(window_s: int, context_s: int, target_s: int) -> None:
    judged_s = window_s - context_s
    if judged_s < target_s or judged_s % target_s:
        nearest_s = context_s + max(judged_s // target_s, 1) * target_s
        raise ConfigError(
            f"data.window_s={window_s} less the context of {context_s} s is not a multiple of "
            f"model.target_s={target_s}; choose data.window_s={nearest_s}"
        )
