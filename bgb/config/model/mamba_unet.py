"""Configuration of the U-Net with Mamba-2 layers."""

from dataclasses import dataclass

from bgb.config.check import positive, require
from bgb.config.model.judged import Steps
from bgb.config.model.state_space import StateSpaceConfig
from bgb.config.option import option


@dataclass(frozen=True)
class MambaUnetConfig(StateSpaceConfig, Steps):
    """Convolutional U of SeizureTransformer around bidirectional Mamba-2 layers."""

    name: str = option("mamba_unet", "the detector")
    rate_hz: int = option(256, "rate at which the detector works", unit="Hz")
    window_s: int = option(60, "window that data.window_s is by default", unit="s")
    out_rate_hz: int = option(4, "logits a second; rate_hz = one a sample", unit="Hz")
    num_levels: int = option(4, "levels of the U (1 to 5), each twice as wide and half as long")

    def __post_init__(self) -> None:
        super().__post_init__()
        positive(
            model__rate_hz=self.rate_hz,
            model__window_s=self.window_s,
            model__out_rate_hz=self.out_rate_hz,
        )
        require(1 <= self.num_levels <= 5, f"model.num_levels={self.num_levels} must be in 1 to 5")
        finest = 2 ** (self.num_levels - 1)
        require(
            self.num_features % finest == 0,
            f"model.num_features={self.num_features} must be a multiple of {finest}: it is halved "
            "at each finer level",
        )
        require(
            self.rate_hz % (2 * finest) == 0,
            f"model.rate_hz={self.rate_hz} must be a multiple of {2 * finest}, the samples of a "
            "step of the Mamba-2 layers",
        )
        require(
            self.rate_hz % self.out_rate_hz == 0,
            f"model.out_rate_hz={self.out_rate_hz} must divide model.rate_hz={self.rate_hz}",
        )

    @property
    def shortest_window_s(self) -> float:
        """About what the convolutions span: 20 steps of the Mamba-2 layers."""
        return 20 * (1 << self.num_levels) / self.rate_hz
