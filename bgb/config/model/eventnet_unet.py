"""Configuration of the U-Net of EventNet."""

from dataclasses import dataclass

from bgb.config.check import positive, require, share
from bgb.config.model.judged import Steps
from bgb.config.option import option


@dataclass(frozen=True)
class EventNetUnetConfig(Steps):
    """1-D U-Net trunk of EventNet (Seeuws 2024) with a dense head."""

    name: str = option("eventnet_unet", "the detector")
    rate_hz: int = option(256, "rate at which the detector works", unit="Hz")
    window_s: int = option(60, "window that data.window_s is by default", unit="s")
    out_rate_hz: int = option(4, "logits a second", unit="Hz")
    base_channels: int = option(16, "channels of the first stage; doubled at each stage")
    dropout: float = option(0.0, "dropout before the head")

    def __post_init__(self) -> None:
        positive(
            model__rate_hz=self.rate_hz,
            model__window_s=self.window_s,
            model__out_rate_hz=self.out_rate_hz,
            model__base_channels=self.base_channels,
        )
        require(
            self.rate_hz % self.out_rate_hz == 0,
            f"model.out_rate_hz={self.out_rate_hz} must divide model.rate_hz={self.rate_hz}",
        )
        share(model__dropout=self.dropout)

    @property
    def shortest_window_s(self) -> float:
        """The receptive field: the widest kernel, nine steps of 256 samples."""
        return 9 * 256 / self.rate_hz
