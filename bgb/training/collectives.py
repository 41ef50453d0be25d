"""What the processes of a run compute together: sums, and the statistics of batch norms.

Each function does nothing where a run is one process.
"""

# Shapes: B batch, D features

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from bgb.errors import ConfigError


def add_up(*tensors: Tensor) -> None:
    """Replace tensors of one type by their sums over all processes, in one exchange."""
    if not dist.is_initialized():
        return
    flat = torch.cat([tensor.detach().flatten() for tensor in tensors])
    dist.all_reduce(flat)
    first = 0
    for tensor in tensors:
        tensor.detach().copy_(flat[first : first + tensor.numel()].view_as(tensor))
        first += tensor.numel()


def synchronise_norms(module: nn.Module, device: torch.device) -> None:
    """Let batch norms below `module` take their statistics from the windows of all processes.

    Otherwise the weights would depend on the number of processes. Names in the checkpoint stay.
    """
    for name, child in module.named_children():
        if not isinstance(child, _BatchNorm):
            synchronise_norms(child, device)
        elif device.type == "cuda":
            synchronised = nn.SyncBatchNorm.convert_sync_batchnorm(child)  # type: ignore[no-untyped-call]
            setattr(module, name, synchronised)
        else:
            setattr(module, name, SharedBatchNorm.like(child))


def check_compiled(
    detector: nn.Module, num_devices: int, *, compiled: bool, batch_size: int
) -> None:
    """Refuse to compile what is not one graph of one shape: batch norms that exchange statistics.

    Raises
    ------
    ConfigError : names the first such layer, or shares of a batch that differ in size.
    """
    if compiled and batch_size % num_devices:
        raise ConfigError(
            f"trainer.compile=true wants shares of one size, but data.batch_size={batch_size} is "
            f"no multiple of trainer.devices={num_devices}; choose one"
        )
    for name, module in detector.named_modules():
        if compiled and isinstance(module, _BatchNorm):
            raise ConfigError(
                f"trainer.compile=true makes one graph of the detector, but with trainer.devices="
                f"{num_devices} the processes exchange the statistics of {name} "
                f"({type(module).__name__}) in its midst; set trainer.compile=false"
            )


class SharedBatchNorm(_BatchNorm):
    """Batch norm over all processes on the CPU, where torch has none."""

    @classmethod
    def like(cls, norm: _BatchNorm) -> "SharedBatchNorm":
        """Return one that takes over the parameters and statistics of a norm."""
        shared = cls(norm.num_features, norm.eps, norm.momentum, norm.affine)
        vars(shared)["_parameters"] |= vars(norm)["_parameters"]
        vars(shared)["_buffers"] |= vars(norm)["_buffers"]
        return shared.train(norm.training)

    def forward(self, features: Tensor) -> Tensor:
        """Normalise (B, D, ...); the share of a process may be empty."""
        if not self.training:
            return functional.batch_norm(
                features, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        others = [dim for dim in range(features.ndim) if dim != 1]
        given, features = features.dtype, features.float()  # under autocast as torch's own norms
        count = torch.tensor([features.numel() / self.num_features], device=features.device)
        add_up(count)
        mean_D = _sum(features.sum(others)) / count
        centred = features - _as_channels(mean_D, features)
        variance_D = _sum(centred.square().sum(others)) / count
        self._note(mean_D.detach(), variance_D.detach() * count / (count - 1).clamp_min(1))
        scaled = centred * _as_channels((variance_D + self.eps).rsqrt(), features)
        if self.affine:
            scaled = scaled * _as_channels(self.weight, features)
            scaled = scaled + _as_channels(self.bias, features)
        return scaled.to(given)

    def _note(self, mean_D: Tensor, variance_D: Tensor) -> None:
        """Update what is used in evaluation."""
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        self.running_mean.lerp_(mean_D, self.momentum)
        self.running_var.lerp_(variance_D, self.momentum)
        self.num_batches_tracked.add_(1)


class _Sum(torch.autograd.Function):
    """The sum over all processes; the gradient of the sum of their losses flows back to each."""

    @staticmethod
    def forward(_: Any, value: Tensor) -> Tensor:  # Any: the context of autograd
        total = value.clone()
        add_up(total)
        return total

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:  # Any: see above
        total = gradient.clone()
        add_up(total)
        return total


def _sum(value: Tensor) -> Tensor:
    total: Tensor = _Sum.apply(value)  # type: ignore[no-untyped-call]
    return total


def _as_channels(values_D: Tensor, features: Tensor) -> Tensor:
    return values_D.view(-1, *[1] * (features.ndim - 2))
