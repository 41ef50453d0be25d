"""Honest numerics: a step that is not finite is named, kept on file, and never taken.

Nothing is clamped, zeroed or replaced (lessons 57, 58). Each step reads two numbers, the loss and
the norm of the gradients: an output that is not finite and matters shows in one of them. Only then
is the step computed again, from the same weights, buffers and random state, with every output
watched, so that a healthy step pays for nothing but a copy of its buffers.
"""

# Shapes: B batch, K output steps

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from bgb.data.windows import WindowBatch
from bgb.detectors import Detector
from bgb.files import write_atomically
from bgb.training.losses import StepLoss
from bgb.training.step import backward


@dataclass(frozen=True)
class Finding:
    """What is not finite in a step.

    Attributes
    ----------
    tensor : the first in the order of computation: "weight <name>", "output of <module>", "loss",
        "gradient of <parameter>", or "gradient norm" where each gradient alone is finite;
        "nothing, computed again" where a device or a compiled detector does not repeat itself.
    loss : of the batch.
    gradients : parameters whose gradients are not finite.
    samples : numbers of the windows whose logits are not finite.
    """

    tensor: str
    loss: float
    gradients: tuple[str, ...]
    samples: tuple[int, ...]


class Before(NamedTuple):
    """What a forward pass changes: buffers (running means) and random generators by device."""

    buffers: list[Tensor]
    random: dict[str, Tensor]

    @classmethod
    def step(cls, detector: nn.Module) -> "Before":
        """Remember, on the device and without waiting for it."""
        device, random = _device(detector), {"cpu": torch.get_rng_state()}
        if device.type == "cuda":
            random["cuda"] = torch.cuda.get_rng_state(device)
        return cls([buffer.clone() for buffer in detector.buffers()], random)

    def restore(self, detector: nn.Module) -> None:
        """Put everything back as it was."""
        for buffer, value in zip(detector.buffers(), self.buffers, strict=True):
            buffer.copy_(value)
        set_random(self.random, _device(detector))


def examine(
    detector: Detector,
    batch: WindowBatch,
    forward: Callable[[WindowBatch], Tensor],
    loss: StepLoss,
    *,
    piece_size: int,
) -> Finding:
    """Compute a step once more, watching; gradients that lie in the parameters stay as they are.

    Parameters
    ----------
    forward : returns the logits (B, K) of a batch, by calling the detector, not compiled.
    """
    parameters = {name: each for name, each in detector.named_parameters() if each.requires_grad}
    gradients = [torch.zeros_like(parameter) for parameter in parameters.values()]
    samples: list[int] = []

    def spied(piece: WindowBatch) -> Tensor:
        logits_BK = forward(piece)
        broken_B = ~logits_BK.isfinite().all(dim=1)
        samples.extend(piece.sample_B[broken_B].tolist())
        return logits_BK

    def propagate(share: Tensor) -> None:
        # Not `backward`: its hooks would tell the other processes of a run.
        parts = torch.autograd.grad(share, list(parameters.values()), allow_unused=True)
        for gradient, part in zip(gradients, parts, strict=True):
            if part is not None:
                gradient += part

    with _watched(detector) as outputs:
        value = backward(batch, spied, loss, piece_size=piece_size, propagate=propagate).item()
    named = dict(zip(parameters, gradients, strict=True))
    return Finding(
        _first(detector, outputs, value, named), value, _not_finite(named), tuple(samples)
    )


def save_reproducer(
    path: Path,
    detector: Detector,
    batch: WindowBatch,
    *,
    config_text: str,
    place: Mapping[str, int],
) -> None:
    """Write what `bgb.training.replay` needs, as it was before the step; it holds EEG of the batch.

    Parameters
    ----------
    place : step, epoch and batch, for people.
    """
    content = {
        "batch": {name: tensor.cpu() for name, tensor in batch._asdict().items()},
        "state_dict": {name: value.cpu() for name, value in detector.state_dict().items()},
        "random": Before.step(detector).random,
        "signal": asdict(detector.frontend.signal),
        "config": config_text,
        "place": dict(place),
    }
    write_atomically(path, lambda file: torch.save(content, file))


def set_random(random: Mapping[str, Tensor], device: torch.device) -> None:
    """Set the generators of the CPU and of the device; their state lies on the CPU (lesson 69)."""
    torch.set_rng_state(random["cpu"])
    if device.type == "cuda" and "cuda" in random:
        torch.cuda.set_rng_state(random["cuda"], device)


def relative_change(before: Sequence[Tensor], after: Sequence[Tensor]) -> float:
    """Return ||after - before|| / ||before||, over all tensors together."""
    change = torch._foreach_sub(list(after), list(before))
    norm = torch.nn.utils.get_total_norm
    return float(norm(change) / norm(before))


@contextlib.contextmanager
def _watched(detector: nn.Module) -> Iterator[list[str]]:
    """Collect the names of modules whose output is not finite, in the order of computation.

    A module comes after its children: the first name is the innermost.
    """
    found: list[str] = []

    def watch(name: str) -> Callable[[nn.Module, Any, Any], None]:  # Any: arguments, outputs
        def look(module: nn.Module, arguments: Any, output: Any) -> None:  # Any: as above
            tensors = output if isinstance(output, tuple | list) else (output,)
            if any(isinstance(each, Tensor) and not each.isfinite().all() for each in tensors):
                found.append(name)

        return look

    hooks = [
        module.register_forward_hook(watch(name or "the detector"))
        for name, module in detector.named_modules()
    ]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def _first(
    detector: nn.Module, outputs: list[str], loss: float, gradients: Mapping[str, Tensor]
) -> str:
    if weights := _not_finite(dict(detector.named_parameters())):
        return f"weight {weights[0]}"
    if outputs:
        return f"output of {outputs[0]}"
    if not math.isfinite(loss):
        return "loss"
    if broken := _not_finite(gradients):
        return f"gradient of {broken[-1]}"  # they run backwards: the last breaks first
    norm = torch.nn.utils.get_total_norm(list(gradients.values()))
    return "nothing, computed again" if norm.isfinite() else "gradient norm"


def _not_finite(tensors: Mapping[str, Tensor]) -> tuple[str, ...]:
    return tuple(name for name, tensor in tensors.items() if not tensor.isfinite().all())


def _device(detector: nn.Module) -> torch.device:
    return next(detector.parameters()).device
