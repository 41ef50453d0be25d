"""Configuration of EEGNet."""

from dataclasses import dataclass

from bgb.config.check import positive, share
from bgb.config.model.judged import Segments
from bgb.config.option import option


@dataclass(frozen=True)
class EegNetConfig(Segments):
    """EEGNet (Lawhern 2018): tiny; one logit per segment. Test speed and sanity floor."""

    name: str = option("eegnet", "the detector")
    rate_hz: int = option(128, "rate at which the detector works", unit="Hz")
    window_s: int = option(60, "window that data.window_s is by default", unit="s")
    segment_s: int = option(4, "seconds that one logit judges", unit="s")
    temporal_filters: int = option(8, "F1: temporal filters")
    depth: int = option(2, "D: spatial filters for each temporal filter")
    separable_filters: int = option(16, "F2: separable filters")
    kernel_s: float = option(0.5, "length of the temporal kernel", unit="s")
    dropout: float = option(0.25, "dropout")

    def __post_init__(self) -> None:
        positive(
            model__rate_hz=self.rate_hz,
            model__window_s=self.window_s,
            model__segment_s=self.segment_s,
            model__temporal_filters=self.temporal_filters,
            model__depth=self.depth,
            model__separable_filters=self.separable_filters,
            model__kernel_s=self.kernel_s,
        )
        share(model__dropout=self.dropout)
