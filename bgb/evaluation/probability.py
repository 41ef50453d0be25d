"""From logits to probabilities: what a detector returns is checked before it is believed."""

# Shapes: B windows, K output steps

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bgb.errors import RunError


def to_probability(
    logits_BK: Tensor, num_steps: int, starts_s: Sequence[int], recording_id: str
) -> NDArray[np.float64]:
    """Return the sigmoid of the logits of windows that begin at `starts_s`, (B, K).

    Raises
    ------
    RunError : the shape is wrong, or a number is not finite.
    """
    expected = (len(starts_s), num_steps)
    if tuple(logits_BK.shape) != expected:
        raise RunError(
            f"{recording_id}: the detector returned logits of shape "
            f"{tuple(logits_BK.shape)} where {expected} (windows, steps) was expected"
        )
    if not torch.isfinite(logits_BK).all():
        raise RunError(
            f"{recording_id}: the detector returned logits that are not finite in a window "
            f"that begins at one of {list(starts_s)} s; its weights have diverged, "
            "train again with a lower optimizer.lr or use an earlier checkpoint"
        )
    probability_BK: NDArray[np.float32] = torch.sigmoid(logits_BK.float()).cpu().numpy()
    return probability_BK.astype(np.float64)
