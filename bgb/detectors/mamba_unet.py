"""Mamba-2 in the convolutional U of SeizureTransformer (Wu et al. 2025, arXiv 2504.00336).

An encoder of convolutions, ELU and max pools, bidirectional Mamba-2 layers (Dao and Gu 2024, arXiv
2405.21060) at 1/16 of the rate in place of that paper's residual stack and transformer, a decoder
with added skips. So the cost grows with the length of a window, not with its square.

The design is ours; kernels, activation, skips and head are those of the paper, except that the
decoder's kernels mirror the encoder's (the published code has 3, 5, 5, 7, 7 by an indexing slip).
"""

# Shapes: B batch, C channels, T samples or steps, D features, K output steps

from torch import Tensor, nn

from bgb.detectors.conv_unet import ENCODER_KERNELS, AveragedHead, Decoder, Encoder
from bgb.detectors.mamba import MambaStack

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
        kernels = ENCODER_KERNELS[:num_levels]
        self.encoder = Encoder([num_channels, *widths], kernels)
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
        self.decoder = Decoder([num_features, *widths[::-1]], kernels[::-1])
        self.head = AveragedHead(widths[0], rate_hz // out_rate_hz)

    def forward(self, signal_BCT: Tensor) -> Tensor:
        """Return one logit per output step, (B, T * out_rate_hz / rate_hz)."""
        features_BDT, skips = self.encoder(signal_BCT)
        mixed_BTD, _ = self.mamba(features_BDT.transpose(1, 2))
        logits_BK: Tensor = self.head(self.decoder(mixed_BTD.transpose(1, 2), skips))
        return logits_BK
