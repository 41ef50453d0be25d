"""Mamba-2 in the convolutional U of SeizureTransformer (Wu et al. 2025, arXiv 2504.00336).

An encoder of convolutions, ELU and max pools, bidirectional Mamba-2 layers (Dao and Gu 2024, arXiv
2405.21060) at 1/16 of the rate in place of that paper's residual stack and transformer, a decoder
with added skips. So the cost grows with the length of a window, not with its square.

The design is ours; kernels, activation, skips and head are those of the paper, except that the
decoder's kernels mirror the encoder's (the published code has 3, 5, 5, 7, 7 by an indexing slip).
The head judges every sample, as in the paper, and its logits are averaged down to `out_rate_hz`:
events last seconds, so 4 Hz loses nothing, and a recording has 64 times fewer logits to keep.
"""

# Shapes: B batch, C channels, T samples or steps, D features, K output steps

from torch import Tensor, nn
from torch.nn import functional

from bgb.detectors.mamba import MambaStack

_KERNELS = (11, 9, 7, 7, 5)  # of the levels of the encoder
_FIELD_STEPS = 20  # of the Mamba-2 layers, about what the convolutions of both sides span


class MambaUnet(nn.Module):
    """Encode, mix over time, decode; one logit an output step.

    Attributes: the facts of the detector contract. `receptive_field_s` is about what the
    convolutions span; the Mamba-2 layers see the whole window. Zeros surround it.
    """

    def __init__(
        self,
        num_channels: int,
        *,
        rate_hz: int,
        window_s: int,
        out_rate_hz: int = 4,
        num_features: int = 256,
        num_levels: int = 4,
        num_layers: int = 8,
        state_features: int = 64,
        head_features: int = 64,
        dropout: float = 0.1,
        chunk: int = 64,
        kernel: str = "portable",
    ) -> None:
        super().__init__()
        self.rate_hz, self.window_s = rate_hz, window_s
        self.out_rate_hz = float(out_rate_hz)
        self.receptive_field_s = _FIELD_STEPS * (1 << num_levels) / rate_hz
        self.context_s = (0, 0)
        widths = [num_features >> level for level in range(num_levels)][::-1]
        kernels = _KERNELS[:num_levels]
        self.encoder = nn.ModuleList(
            _conv(before, width, length)
            for before, width, length in zip([num_channels, *widths], widths, kernels)
        )
        self.mamba = MambaStack(
            num_features,
            num_layers=num_layers,
            dropout=dropout,
            bidirectional=True,
            state_features=state_features,
            head_features=head_features,
            chunk=chunk,
            kernel=kernel,
        )
        self.decoder = nn.ModuleList(
            _conv(coarse, fine, length)
            for coarse, fine, length in zip(
                [num_features, *widths[::-1]], widths[::-1], kernels[::-1]
            )
        )
        self.head = nn.Conv1d(widths[0], 1, _KERNELS[0], padding="same")
        self.pool = nn.AvgPool1d(rate_hz // out_rate_hz)

    def forward(self, signal_BCT: Tensor) -> Tensor:
        """Return one logit per output step, (B, T * out_rate_hz / rate_hz)."""
        features_BDT, skips = self.encode(signal_BCT)
        mixed_BTD, _ = self.mamba(features_BDT.transpose(1, 2))
        features_BDT = mixed_BTD.transpose(1, 2)
        for layer, skip_BDT in zip(self.decoder, reversed(skips)):
            features_BDT = functional.interpolate(features_BDT, scale_factor=2.0)
            features_BDT = functional.elu(layer(features_BDT)) + skip_BDT
        logits_BK: Tensor = self.pool(self.head(features_BDT).float())[:, 0]
        return logits_BK

    def encode(self, signal_BCT: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the coarsest features, and those of every level before its pool, finest first."""
        features_BDT = signal_BCT
        skips: list[Tensor] = []
        for layer in self.encoder:
            skips.append(functional.elu(layer(features_BDT)))
            features_BDT = functional.max_pool1d(skips[-1], 2)
        return features_BDT, skips


def _conv(num_in: int, num_out: int, length: int) -> nn.Conv1d:
    return nn.Conv1d(num_in, num_out, length, padding="same")
