"""Options of Mamba-2 that detectors share, and their checks."""

from dataclasses import dataclass

from bgb.config.check import one_of, positive, require, share
from bgb.config.option import option


@dataclass(frozen=True)
class StateSpaceConfig:
    """Mamba-2 layers (Dao and Gu 2024)."""

    num_features: int = option(256, "features of the Mamba-2 layers")
    num_layers: int = option(8, "Mamba-2 layers")
    state_features: int = option(64, "N: features of the state of a head")
    head_features: int = option(64, "P: features of a head; must divide 2 x num_features")
    dropout: float = option(0.1, "dropout after each Mamba-2 layer")
    chunk: int = option(64, "steps of a chunk of SSD: speed and memory, not the result")
    kernel: str = option("portable", "portable, or mamba_ssm (its Triton kernel, needs CUDA)")

    def __post_init__(self) -> None:
        positive(
            model__num_features=self.num_features,
            model__num_layers=self.num_layers,
            model__state_features=self.state_features,
            model__head_features=self.head_features,
            model__chunk=self.chunk,
        )
        require(
            2 * self.num_features % self.head_features == 0,
            f"model.head_features={self.head_features} must divide twice model.num_features "
            f"({2 * self.num_features})",
        )
        share(model__dropout=self.dropout)
        one_of("model.kernel", self.kernel, ("portable", "mamba_ssm"))
