"""Configuration of the classifiers of braindecode."""

from dataclasses import dataclass
from typing import Any

from bgb.config.check import positive
from bgb.config.option import option


@dataclass(frozen=True)
class BraindecodeConfig:
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

    @property
    def output_rate_hz(self) -> float:
        """Logits a second."""
        return 1 / self.segment_s

    @property
    def context_s(self) -> tuple[int, int]:
        """Seconds of a window that are looked at, but not judged."""
        return (0, 0)

    @property
    def shortest_window_s(self) -> float:
        """The receptive field: one segment."""
        return float(self.segment_s)

    @property
    def window_multiple_s(self) -> int:
        """What the judged part of a window must be a multiple of."""
        return self.segment_s
