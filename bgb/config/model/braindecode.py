"""Configuration of the classifiers of braindecode."""

from dataclasses import dataclass
from typing import Any

from bgb.config.check import positive
from bgb.config.model.judged import Segments
from bgb.config.option import option


@dataclass(frozen=True)
class BraindecodeConfig(Segments):
    """Any classifier of the package braindecode (extra `braindecode`); one logit per segment."""

    name: str = option("braindecode", "the detector")
    rate_hz: int = option(128, "rate at which the detector works", unit="Hz")
    window_s: int = option(60, "window that data.window_s is by default", unit="s")
    segment_s: int = option(4, "seconds that one logit judges", unit="s")
    architecture: str = option("EEGNeX", "class in braindecode.models")
    options: dict[str, Any] = option({}, "its arguments, as +model.options.drop_prob=0.3")

    def __post_init__(self) -> None:
        positive(
            model__rate_hz=self.rate_hz,
            model__window_s=self.window_s,
            model__segment_s=self.segment_s,
        )
