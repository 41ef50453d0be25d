"""The loss: cross-entropy of each output step, optionally focal and weighted, summed over a batch.

It is a sum, never a mean: the training step divides once, by the valid steps of the whole batch,
so that pieces of a batch add up exactly. Labels may be soft (`loss.boundary_s`): then a label is
the chance that the step is seizure, and the loss its expectation. Balanced windows or one weight
correct imbalance, never both: together they collapsed the predecessor (lesson 15).
"""

# Shapes: B batch, K output steps

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from bgb.config.loss import LossConfig


@dataclass(frozen=True)
class StepLoss:
    """Cross-entropy with weights for seizure and background, times (1 - p)^gamma.

    Attributes
    ----------
    gamma : of the focal loss (Lin 2017, arXiv 1708.02002, eq. 4), p being the probability given to
        the label; 0 is plain cross-entropy. It weighs hard against easy steps, not the classes.
    seizure, background : weights of steps with label 1 and 0.
    smoothing : share of each label that is spread over both (Szegedy 2016, arXiv 1512.00567).
    """

    gamma: float = 0.0
    seizure: float = 1.0
    background: float = 1.0
    smoothing: float = 0.0

    def sum(self, logits_BK: Tensor, labels_BK: Tensor, valid_BK: Tensor) -> Tensor:
        """Return the sum over the valid steps, in float32; logits elsewhere may be anything."""
        known_BK = torch.where(valid_BK, logits_BK, 0)  # else 0 * NaN would be a gradient
        wide = torch.promote_types(logits_BK.dtype, torch.float32)
        if self.smoothing:
            labels_BK = torch.lerp(labels_BK, torch.full_like(labels_BK, 0.5), self.smoothing)
        return torch.where(valid_BK, self._steps(known_BK.to(wide), labels_BK), 0).sum()

    def _steps(self, logits_BK: Tensor, labels_BK: Tensor) -> Tensor:
        if (self.gamma, self.seizure, self.background) == (0, 1, 1):
            return functional.binary_cross_entropy_with_logits(
                logits_BK, labels_BK, reduction="none"
            )
        seizure_BK = self.seizure * labels_BK * self._cost(-logits_BK)
        return seizure_BK + self.background * (1 - labels_BK) * self._cost(logits_BK)

    def _cost(self, wrong_BK: Tensor) -> Tensor:
        """Return -log(1 - q) q^gamma where q = sigmoid(wrong); finite with its gradient."""
        return functional.softplus(wrong_BK) * (self.gamma * functional.logsigmoid(wrong_BK)).exp()


def build_loss(config: LossConfig) -> StepLoss:
    """Build the loss that the configuration names; at most one of alpha and pos_weight is set."""
    weights = (config.pos_weight or 1.0, 1.0)
    if config.alpha is not None:
        weights = (config.alpha, 1 - config.alpha)
    return StepLoss(config.gamma, *weights, config.smoothing)
