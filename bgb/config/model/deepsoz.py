"""Configuration of DeepSOZ."""

from dataclasses import dataclass

from bgb.config.check import not_negative, positive, require, share
from bgb.config.model.judged import Seconds
from bgb.config.option import option


@dataclass(frozen=True)
class DeepSozConfig(Seconds):
    """DeepSOZ (Shama 2023): transformer over channels each second, BiLSTM over ten minutes."""

    name: str = option("deepsoz", "the detector")
    rate_hz: int = option(256, "rate at which the detector works = width of a token", unit="Hz")
    window_s: int = option(600, "window that data.window_s is by default", unit="s")
    clip_sd: float = option(2.0, "clip each channel of a window here; 0 = not", unit="SD")
    heads: int = option(8, "attention heads")
    feedforward_width: int = option(256, "width of the feedforward layer")
    lstm_width: int = option(100, "width of the LSTM in each direction")
    dropout: float = option(0.1, "dropout in the transformer layer")

    def __post_init__(self) -> None:
        positive(
            model__rate_hz=self.rate_hz,
            model__window_s=self.window_s,
            model__heads=self.heads,
            model__feedforward_width=self.feedforward_width,
            model__lstm_width=self.lstm_width,
        )
        not_negative(model__clip_sd=self.clip_sd)
        require(
            self.rate_hz % self.heads == 0,
            f"model.heads={self.heads} must divide model.rate_hz={self.rate_hz}, "
            "the width of a token",
        )
        share(model__dropout=self.dropout)

    @property
    def shortest_window_s(self) -> float:
        """The LSTM takes what there is: one token."""
        return 1.0
