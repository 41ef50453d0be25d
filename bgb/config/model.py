"""Configuration of the detectors and of the frontend that all of them share."""

from dataclasses import dataclass

from bgb.config.check import one_of, positive, require
from bgb.config.option import option


@dataclass(frozen=True)
class FrontendConfig:
    """First layers of every detector: scale, missing electrodes, montage, rate, normalise."""

    montage: str = option("double_banana", "double_banana (18 channels) or average (19)")
    missing: str = option("interpolate", "missing electrodes: interpolate, mask or refuse")
    normalise: str = option("fixed", "fixed (divide by scale_uv) or window (z-score per channel)")
    scale_uv: float = option(50.0, "amplitude that becomes 1 (normalise=fixed)", unit="uV")

    def __post_init__(self) -> None:
        one_of("frontend.montage", self.montage, ("double_banana", "average"))
        one_of("frontend.missing", self.missing, ("interpolate", "mask", "refuse"))
        one_of("frontend.normalise", self.normalise, ("fixed", "window"))
        positive(frontend__scale_uv=self.scale_uv)


@dataclass(frozen=True)
class EegNetConfig:
    """EEGNet (Lawhern 2018): tiny; one logit per segment. Test speed and sanity floor."""

    name: str = option("eegnet", "the detector")
    rate_hz: int = option(128, "rate at which the detector works", unit="Hz")
    segment_s: int = option(4, "seconds that one logit judges", unit="s")
    temporal_filters: int = option(8, "F1: temporal filters")
    depth: int = option(2, "D: spatial filters for each temporal filter")
    separable_filters: int = option(16, "F2: separable filters")
    kernel_s: float = option(0.5, "length of the temporal kernel", unit="s")
    dropout: float = option(0.25, "dropout")

    def __post_init__(self) -> None:
        positive(
            model__rate_hz=self.rate_hz,
            model__segment_s=self.segment_s,
            model__temporal_filters=self.temporal_filters,
            model__depth=self.depth,
            model__separable_filters=self.separable_filters,
            model__kernel_s=self.kernel_s,
        )
        require(0 <= self.dropout < 1, f"model.dropout={self.dropout} must be in [0, 1)")

    @property
    def shortest_window_s(self) -> float:
        """The receptive field: one segment."""
        return float(self.segment_s)

    @property
    def window_multiple_s(self) -> int:
        """What a window must be a multiple of."""
        return self.segment_s


@dataclass(frozen=True)
class EventNetUnetConfig:
    """1-D U-Net trunk of EventNet (Seeuws 2024) with a dense head."""

    name: str = option("eventnet_unet", "the detector")
    rate_hz: int = option(256, "rate at which the detector works", unit="Hz")
    out_rate_hz: int = option(4, "logits a second", unit="Hz")
    base_channels: int = option(16, "channels of the first stage; doubled at each stage")
    dropout: float = option(0.0, "dropout before the head")

    def __post_init__(self) -> None:
        positive(
            model__rate_hz=self.rate_hz,
            model__out_rate_hz=self.out_rate_hz,
            model__base_channels=self.base_channels,
        )
        require(
            self.rate_hz % self.out_rate_hz == 0,
            f"model.out_rate_hz={self.out_rate_hz} must divide model.rate_hz={self.rate_hz}",
        )
        require(0 <= self.dropout < 1, f"model.dropout={self.dropout} must be in [0, 1)")

    @property
    def shortest_window_s(self) -> float:
        """The receptive field: the widest kernel, nine steps of 256 samples."""
        return 9 * 256 / self.rate_hz

    @property
    def window_multiple_s(self) -> int:
        """What a window must be a multiple of: any second will do."""
        return 1


MODELS = {"eegnet": EegNetConfig, "eventnet_unet": EventNetUnetConfig}
ModelConfig = EegNetConfig | EventNetUnetConfig
