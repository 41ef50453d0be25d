"""Configuration of the loss, and the rule that one mechanism at a time corrects imbalance."""

import math
from dataclasses import dataclass

from bgb.config.check import not_negative, positive, require, share
from bgb.config.data import SamplingConfig
from bgb.config.option import option


@dataclass(frozen=True)
class LossConfig:
    """Binary cross-entropy of each output step; gamma, weights and soft labels are options."""

    gamma: float = option(0.0, "focal loss: how much easy steps count less; 0 = cross-entropy")
    alpha: float | None = option(None, "weight of seizure steps, 1 - alpha of the others")
    pos_weight: float | None = option(None, "weight of seizure steps, 1 of the others")
    smoothing: float = option(0.0, "label smoothing: 0.1 makes labels 0.05 and 0.95")
    boundary_s: float = option(
        0.0, "labels ramp over this time around each onset and offset", unit="s"
    )

    def __post_init__(self) -> None:
        not_negative(loss__gamma=self.gamma, loss__boundary_s=self.boundary_s)
        positive(loss__pos_weight=self.pos_weight)
        require(math.isfinite(self.gamma), f"loss.gamma={self.gamma} must be finite")
        require(
            self.boundary_s == 0 or 0.01 <= self.boundary_s <= 600,
            f"loss.boundary_s={self.boundary_s} must be 0 or lie between 0.01 and 600 s",
        )
        share(loss__smoothing=self.smoothing)
        require(
            self.alpha is None or 0 < self.alpha < 1,
            f"loss.alpha={self.alpha} must lie between 0 and 1, or be null",
        )


def check_imbalance(loss: LossConfig, sampling: SamplingConfig) -> None:
    """Refuse two corrections of imbalance at once: they multiply and collapse (lesson 15).

    `loss.gamma` is none: it weighs easy against hard steps, seizure and background alike.
    """
    off = {
        "data.sampling.natural=false (balanced windows)": "data.sampling.natural=true",
        f"loss.alpha={loss.alpha}": "loss.alpha=null",
        f"loss.pos_weight={loss.pos_weight}": "loss.pos_weight=null",
    }
    is_on = (not sampling.natural, loss.alpha is not None, loss.pos_weight is not None)
    active = [name for name, on in zip(off, is_on, strict=True) if on]
    require(
        len(active) < 2,
        f"{' and '.join(active)} each correct the imbalance of seizure and background; "
        f"keep one: set {' or '.join(off[name] for name in active)}",
    )
