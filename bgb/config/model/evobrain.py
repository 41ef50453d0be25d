"""Configuration of EvoBrain."""

from dataclasses import dataclass

from bgb.config.check import positive, require, share
from bgb.config.model.judged import WholeWindow
from bgb.config.option import option

_HEAD_FEATURES = 32  # of the Mamba-2 streams, which are twice as wide as their ends


@dataclass(frozen=True)
class EvoBrainConfig(WholeWindow):
    """EvoBrain (Kotoge 2025): a graph for each second, Mamba over nodes and edges, then a GCN."""

    name: str = option("evobrain", "the detector")
    rate_hz: int = option(
        128, "rate at which the detector works; twice the highest band", unit="Hz"
    )
    window_s: int = option(60, "window that data.window_s is by default", unit="s")
    clip_s: int = option(12, "seconds that one logit judges", unit="s")
    neighbours: int = option(3, "strongest neighbours that each node keeps in a second")
    node_width: int = option(96, "features of a node's stream")
    edge_width: int = option(16, "features of an edge's stream")
    layers: int = option(2, "Mamba-2 layers of each stream")
    state_features: int = option(16, "features of a Mamba-2 state")
    embedding_width: int = option(16, "features of the learned embedding of a channel")
    graph_layers: int = option(2, "layers of the graph convolution")
    dropout: float = option(0.1, "dropout in the graph convolution")

    def __post_init__(self) -> None:
        positive(
            model__rate_hz=self.rate_hz,
            model__window_s=self.window_s,
            model__clip_s=self.clip_s,
            model__neighbours=self.neighbours,
            model__layers=self.layers,
            model__state_features=self.state_features,
            model__embedding_width=self.embedding_width,
            model__graph_layers=self.graph_layers,
        )
        for key in ("node_width", "edge_width"):
            width = getattr(self, key)
            require(
                width > 0 and 2 * width % _HEAD_FEATURES == 0,
                f"model.{key}={width} must be a multiple of {_HEAD_FEATURES // 2}",
            )
        share(model__dropout=self.dropout)

    @property
    def output_rate_hz(self) -> float:
        """Logits a second."""
        return 1 / self.clip_s

    @property
    def shortest_window_s(self) -> float:
        """The receptive field: one clip."""
        return float(self.clip_s)

    @property
    def window_multiple_s(self) -> int:
        """What the judged part of a window must be a multiple of."""
        return self.clip_s
