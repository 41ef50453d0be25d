"""Configuration of SeizureTransformer."""

from dataclasses import dataclass

from bgb.config.check import positive, require, share
from bgb.config.model.judged import Steps
from bgb.config.option import option

_RESIDUAL_KERNELS = (3, 3, 3, 3, 2, 3, 2)  # of the blocks, each of two convolutions
_COARSEST = 32  # samples in one step between encoder and decoder


@dataclass(frozen=True)
class SeizureTransformerConfig(Steps):
    """SeizureTransformer (Wu 2025): U-Net with residual blocks and a transformer in the middle."""

    name: str = option("seizure_transformer", "the detector")
    rate_hz: int = option(256, "rate at which the detector works", unit="Hz")
    window_s: int = option(60, "window that data.window_s is by default", unit="s")
    out_rate_hz: int = option(4, "logits a second; rate_hz = one a sample, as published", unit="Hz")
    base_channels: int = option(32, "channels of the first stage; doubled at each of five stages")
    residual_blocks: int = option(7, "residual blocks at the coarsest stage, at most 7")
    layers: int = option(8, "layers of the transformer")
    heads: int = option(4, "attention heads")
    expansion: int = option(4, "feed-forward width of a layer, in widths of the transformer")
    dropout: float = option(0.1, "dropout of residual blocks, positions and transformer")

    def __post_init__(self) -> None:
        positive(
            model__rate_hz=self.rate_hz,
            model__window_s=self.window_s,
            model__out_rate_hz=self.out_rate_hz,
            model__base_channels=self.base_channels,
            model__layers=self.layers,
            model__heads=self.heads,
            model__expansion=self.expansion,
        )
        require(
            self.rate_hz % self.out_rate_hz == 0,
            f"model.out_rate_hz={self.out_rate_hz} must divide model.rate_hz={self.rate_hz}",
        )
        require(
            0 <= self.residual_blocks <= len(_RESIDUAL_KERNELS),
            f"model.residual_blocks={self.residual_blocks} must be 0 to {len(_RESIDUAL_KERNELS)}",
        )
        width = 16 * self.base_channels
        require(
            width % self.heads == 0,
            f"model.heads={self.heads} must divide the width of the transformer, {width} "
            f"(16 x model.base_channels)",
        )
        share(model__dropout=self.dropout)

    @property
    def shortest_window_s(self) -> float:
        """The span of the residual blocks, which the transformer then links over the window."""
        kernels = _RESIDUAL_KERNELS[: self.residual_blocks]
        return _COARSEST * (1 + 2 * sum(kernel - 1 for kernel in kernels)) / self.rate_hz
