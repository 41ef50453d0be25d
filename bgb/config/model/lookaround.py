"""Configuration of LookAroundNet."""

from dataclasses import dataclass

from bgb.config.check import not_negative, positive, require, share
from bgb.config.model.judged import Labelled
from bgb.config.option import option


@dataclass(frozen=True)
class LookAroundConfig(Labelled):
    """LookAroundNet (Sverrisson 2026): judge a target by what surrounds it."""

    name: str = option("lookaround", "the detector")
    rate_hz: int = option(128, "rate at which the detector works", unit="Hz")
    window_s: int = option(80, "window that data.window_s is by default", unit="s")
    target_s: int = option(16, "seconds that one logit judges", unit="s")
    before_s: int = option(32, "seconds seen before the target", unit="s")
    after_s: int = option(32, "seconds seen after the target", unit="s")
    patch_s: float = option(0.375, "seconds of a token", unit="s")
    width: int = option(96, "features of a token")
    layers: int = option(3, "layers of the transformer over time")
    heads: int = option(3, "attention heads, over time and over channels")
    expansion: int = option(4, "feed-forward width of a layer, in widths of a token")
    dropout: float = option(0.1, "dropout of the transformer")
    head_dropout: float = option(0.5, "dropout before the last layer")

    def __post_init__(self) -> None:
        positive(
            model__rate_hz=self.rate_hz,
            model__window_s=self.window_s,
            model__target_s=self.target_s,
            model__patch_s=self.patch_s,
            model__width=self.width,
            model__layers=self.layers,
            model__heads=self.heads,
            model__expansion=self.expansion,
        )
        not_negative(model__before_s=self.before_s, model__after_s=self.after_s)
        require(
            (self.patch_s * self.rate_hz).is_integer(),
            f"model.patch_s={self.patch_s} must hold whole samples at "
            f"model.rate_hz={self.rate_hz}; choose a multiple of {1 / self.rate_hz:g}",
        )
        require(
            self.patch_s <= self.shortest_window_s,
            f"model.patch_s={self.patch_s} must fit into before_s + target_s + after_s, "
            f"{self.shortest_window_s:g} s",
        )
        require(
            self.width % self.heads == 0,
            f"model.heads={self.heads} must divide model.width={self.width}",
        )
        share(model__dropout=self.dropout, model__head_dropout=self.head_dropout)

    @property
    def output_rate_hz(self) -> float:
        """Logits a second: one a target."""
        return 1 / self.target_s

    @property
    def context_s(self) -> tuple[int, int]:
        """Seconds of a window that are looked at, but not judged."""
        return (self.before_s, self.after_s)

    @property
    def shortest_window_s(self) -> float:
        """One target and what surrounds it."""
        return float(self.before_s + self.target_s + self.after_s)

    @property
    def window_multiple_s(self) -> int:
        """What the judged part of a window must be a multiple of."""
        return self.target_s
