"""Configuration of EEGWaveNet."""

from dataclasses import dataclass

from bgb.config.check import positive, require
from bgb.config.model.judged import Segments
from bgb.config.option import option


@dataclass(frozen=True)
class EegWaveNetConfig(Segments):
    """EEGWaveNet (Thuwajit 2021): depthwise cascade of five scales; one logit per segment."""

    name: str = option("eegwavenet", "the detector")
    rate_hz: int = option(256, "rate at which the detector works", unit="Hz")
    window_s: int = option(60, "window that data.window_s is by default", unit="s")
    segment_s: int = option(4, "seconds that one logit judges", unit="s")
    scale_width: int = option(32, "feature maps of each scale")

    def __post_init__(self) -> None:
        positive(
            model__rate_hz=self.rate_hz,
            model__window_s=self.window_s,
            model__segment_s=self.segment_s,
            model__scale_width=self.scale_width,
        )
        # 2**6 samples become one step of the coarsest scale; two kernels of 4 span 7 steps.
        require(
            self.segment_s * self.rate_hz >= 7 * 64,
            f"model.segment_s={self.segment_s} at model.rate_hz={self.rate_hz} is "
            f"{self.segment_s * self.rate_hz} samples, below the 448 that the coarsest scale "
            f"needs; raise model.segment_s to {-(-448 // self.rate_hz)} or model.rate_hz",
        )
