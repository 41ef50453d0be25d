"""Losses: each returns the sum over the valid steps, so that pieces of a batch add up exactly."""

# Shapes: B batch, K output steps

import torch
from torch import Tensor
from torch.nn import functional


class BinaryCrossEntropy:
    """Binary cross-entropy on the steps that lie inside the recording.

    Imbalance is the sampler's business alone: a weighted loss on top of balanced windows collapsed
    the predecessor (lesson 15).
    """

    def sum(self, logits_BK: Tensor, labels_BK: Tensor, valid_BK: Tensor) -> Tensor:
        """Return the loss summed over the valid steps, in float32."""
        loss_BK = functional.binary_cross_entropy_with_logits(
            logits_BK.float(), labels_BK, reduction="none"
        )
        return torch.where(valid_BK, loss_BK, 0).sum()
