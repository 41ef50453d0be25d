"""A detector as one compiled graph of fixed shapes."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from bgb.detectors.detector import Detector
from bgb.errors import ConfigError


def compile_detector(
    detector: Detector, *, backend: str = "inductor"
) -> Callable[[Tensor, Tensor], Tensor]:
    """Compile in one graph: whatever breaks it is an error, not a slow step."""
    if _has_lstm(detector):
        torch._dynamo.config.allow_rnn = True
    return torch.compile(detector.forward, dynamic=False, fullgraph=True, backend=backend)


def check_lstm(detector: Detector, device: torch.device) -> None:
    """Refuse to compile an LSTM on a CPU.

    There torch unrolls it, a step for every second of the window, which takes longer to compile
    than to train; on CUDA it is one operation of cuDNN.
    """
    if _has_lstm(detector) and device.type == "cpu":
        raise ConfigError(
            "trainer.compile=true would unroll the LSTM of this detector step by step on a CPU; "
            "set trainer.compile=false, or trainer.accelerator=gpu"
        )


def _has_lstm(detector: Detector) -> bool:
    return any(isinstance(module, nn.LSTM) for module in detector.modules())
