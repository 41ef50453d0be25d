"""The gradients of one batch, in pieces that fit the device: those of the whole batch.

The loss of a batch is the sum over its valid steps, divided by their number in the whole batch. A
piece divides by that number too, so pieces add up to the whole, to rounding (and to the draws of a
dropout), however valid steps are spread over them.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from bgb.data.windows import WindowBatch
from bgb.errors import ConfigError
from bgb.training.collectives import add_up
from bgb.training.losses import StepLoss


def backward(
    batch: WindowBatch,
    forward: Callable[[WindowBatch], Tensor],
    loss: StepLoss,
    *,
    piece_size: int,
    propagate: Callable[[Tensor], object] = Tensor.backward,
) -> Tensor:
    """Add the gradients of a batch to those of the parameters; return its loss.

    Of several processes each gets its share: they are to be added up.

    Parameters
    ----------
    forward : returns the logits (B, K) of a batch.
    piece_size : most windows that go forward at once; 0 = all.
    propagate : back-propagates the share of a piece in the loss.
    """
    num_valid = batch.valid_BK.sum(dtype=torch.float32)  # on the device: nobody waits for it
    add_up(num_valid)
    num_valid = num_valid.clamp_min(1)
    total = torch.zeros((), device=num_valid.device)
    for piece in pieces(batch, piece_size):
        share = loss.sum(forward(piece), piece.labels_BK, piece.valid_BK) / num_valid
        with torch.autocast(share.device.type, enabled=False):  # it is for the forward pass
            propagate(share)
        total = total + share.detach()
    return total


def pieces(batch: WindowBatch, size: int) -> Iterator[WindowBatch]:
    """Cut a batch into views of at most `size` windows; 0 = the whole. An empty one stays one."""
    num_windows = max(1, len(batch.tiles_BSCR))
    for first in range(0, num_windows, size or num_windows):
        yield WindowBatch(*(tensor[first : first + (size or num_windows)] for tensor in batch))


def check_pieces(detector: nn.Module, *, micro_batch: int, batch_size: int) -> None:
    """Refuse pieces of a batch whose detector normalises over the batch.

    Raises
    ------
    ConfigError : names the first such layer.
    """
    if not 0 < micro_batch < batch_size:
        return
    for name, module in detector.named_modules():
        if isinstance(module, _BatchNorm):
            raise ConfigError(
                f"trainer.micro_batch={micro_batch} cuts batches of data.batch_size={batch_size}, "
                f"but {name} ({type(module).__name__}) normalises over all windows that go through "
                "at once: pieces would train another detector; set trainer.micro_batch=0, or lower "
                "data.batch_size"
            )
