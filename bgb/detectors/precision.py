"""Parts of a network that must be computed exactly, whatever the precision of training."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def as_typed(like: Tensor) -> AbstractContextManager[object]:
    """Suspend autocast: operations keep the types of their inputs."""
    if like.device.type == "meta":  # shapes without numbers: has no autocast, nor needs it
        return nullcontext()
    return torch.autocast(like.device.type, enabled=False)


def precise(values: Tensor) -> Tensor:
    """Return the values in float32; float64 stays."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
