"""How much a training step computes, and how much a device could: the two parts of MFU.

Counted are the matrix products and convolutions of the network, forward and backward; the frontend
and all that is done element by element are left out, as is usual (PaLM, appendix B).
"""

# Shapes: B batch, T steps, D features

import copy

import torch
from torch import Tensor, nn

from bgb.detectors import Detector
from bgb.detectors.deepsoz import DeepSoz
from bgb.detectors.mamba import Mamba2
from bgb.detectors.ssd import ssd

# TFLOP/s of the data sheets, without sparsity, of bf16 and of TF32, which cuDNN takes for the
# convolutions of float32. The first whose words are all in the device's name; None = has no such.
_PEAKS: tuple[tuple[frozenset[str], float | None, float], ...] = (
    (frozenset({"B200"}), 2250.0, 1125.0),
    (frozenset({"H200", "NVL"}), 835.5, 417.5),
    (frozenset({"H200"}), 989.4, 494.7),
    (frozenset({"H100", "PCIe"}), 756.0, 378.0),
    (frozenset({"H100", "NVL"}), 835.5, 417.5),
    (frozenset({"H100"}), 989.4, 494.7),
    (frozenset({"A100"}), 312.0, 156.0),
    (frozenset({"L40S"}), 362.0, 183.0),
    (frozenset({"L4"}), 121.0, 60.0),
    (frozenset({"A10"}), 125.0, 62.5),
    (frozenset({"T4"}), None, 8.1),  # has neither: float32 proper
)


def flops_per_window(detector: Detector) -> int:
    """Return the floating-point operations of one training window: three times those of judging it.

    Backward a product becomes two. Torch's counter is not asked: it takes the gradient of a grouped
    convolution for that of a dense one, which made 8 forward passes out of a step of Mamba-2.
    """
    return 3 * forward_flops(detector)


def forward_flops(detector: Detector) -> int:
    """Return the floating-point operations of judging one window; nothing is computed."""
    from torch.utils.flop_counter import FlopCounterMode

    # On the device "meta" tensors have shapes and no numbers.
    network = copy.deepcopy(detector.network).to("meta").eval()
    for name, module in list(network.named_modules()):
        if isinstance(module, nn.LSTM) and isinstance(network, DeepSoz):
            network.set_submodule(name, _AllStepsAtOnce(module))
        if isinstance(module, Mamba2):
            module.scan = ssd  # whatever kernel runs: it has no operations to count
    shape = (1, detector.frontend.num_channels, detector.window_s * detector.rate_hz)
    with FlopCounterMode(display=False) as counter:
        network(torch.empty(shape, device="meta"))
    return int(counter.get_total_flops())


class _AllStepsAtOnce(nn.Module):
    """The products of an LSTM of one layer, all steps together; one by one they take seconds."""

    def __init__(self, lstm: nn.LSTM) -> None:
        super().__init__()
        self.lstm = lstm

    def forward(self, features_BTD: Tensor) -> tuple[Tensor, None]:
        ways = ("", "_reverse") if self.lstm.bidirectional else ("",)
        states = []
        for way in ways:
            gates = features_BTD @ getattr(self.lstm, f"weight_ih_l0{way}").mT
            state = gates[..., : self.lstm.hidden_size]
            states.append(state + (state @ getattr(self.lstm, f"weight_hh_l0{way}").mT)[..., :1])
        return torch.cat(states, dim=-1), None


def peak_flops(device_name: str, precision: str) -> float | None:
    """Return what a device computes in a second at most; None where nobody knows.

    Parameters
    ----------
    device_name : as CUDA tells it; a part of a GPU (MIG) is not known.
    precision : as `trainer.precision` has it.
    """
    words = set(device_name.replace("-", " ").split())
    if "MIG" in words:
        return None
    for name, bf16, tf32 in _PEAKS:
        if name <= words:
            tera = bf16 if precision == "bf16-mixed" else tf32
            return None if tera is None else 1e12 * tera
    return None
