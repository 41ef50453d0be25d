"""Configuration of Mamba-2 on spectra of one second."""

from dataclasses import dataclass

from bgb.config.check import positive, require
from bgb.config.model.judged import Seconds
from bgb.config.model.state_space import StateSpaceConfig
from bgb.config.option import option


@dataclass(frozen=True)
class SpectralSsmConfig(StateSpaceConfig, Seconds):
    """Mamba-2 on the log spectra of each second; 1 Hz logits over ten minutes."""

    name: str = option("spectral_ssm", "the detector")
    num_layers: int = option(6, "Mamba-2 layers")
    rate_hz: int = option(256, "rate at which the detector works", unit="Hz")
    window_s: int = option(600, "window that data.window_s is by default", unit="s")
    top_hz: int = option(64, "highest frequency of the spectra", unit="Hz")
    band_features: int = option(32, "features of the spectrum of one channel")
    causal: bool = option(False, "look back only, so that the detector runs on a live signal")

    def __post_init__(self) -> None:
        super().__post_init__()
        positive(
            model__rate_hz=self.rate_hz,
            model__window_s=self.window_s,
            model__top_hz=self.top_hz,
            model__band_features=self.band_features,
        )
        require(
            2 * self.top_hz <= self.rate_hz,
            f"model.top_hz={self.top_hz} is above half of model.rate_hz={self.rate_hz}; choose "
            f"at most {self.rate_hz // 2}",
        )

    @property
    def shortest_window_s(self) -> float:
        """What a layer's convolution spans: four spectra."""
        return 4.0
