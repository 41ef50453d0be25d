"""Replay: compute a step that was not finite once more, from its reproducer file alone.

    python -m bgb.training.replay runs/<run>/failures/step-<n>.pt

The detector, loss and precision are those of the configuration in the file; neither the run nor its
cache is needed. The finding is the same where the device is of the same kind
and the run was one process: of several, each keeps its own share of the batch.
"""

import logging
import sys
from pathlib import Path

import torch

from bgb.config.compose import parse_config
from bgb.data.windows import WindowBatch
from bgb.detectors import build_detector
from bgb.eeg.signal import SignalSpec
from bgb.errors import BgbError, RunError
from bgb.training.build import build_module
from bgb.training.checkpoint import load_checkpoint
from bgb.training.numerics import Finding, set_random

_log = logging.getLogger(__name__)


def replay(path: str | Path, *, device: str = "cpu") -> Finding:
    """Return what is not finite in the step of a reproducer file."""
    kept = load_checkpoint(Path(path))
    if "signal" not in kept:
        raise RunError(f"{path} is no reproducer; give runs/<run>/failures/step-<n>.pt")
    config, there = parse_config(kept["config"], source=str(path)), torch.device(device)
    signal = SignalSpec(**{**kept["signal"], "channels": tuple(kept["signal"]["channels"])})
    detector = build_detector(config.model, config.frontend, signal, window_s=config.data.window_s)
    detector.load_state_dict(kept["state_dict"])
    module = build_module(config, detector).to(there).train()
    batch = WindowBatch(**{name: tensor.to(there) for name, tensor in kept["batch"].items()})
    set_random(kept["random"], there)
    is_bf16 = config.trainer.precision == "bf16-mixed"
    with torch.autocast(there.type, torch.bfloat16, enabled=is_bf16):
        return module.examine(batch)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for name in sys.argv[1:] or ["(no file given)"]:
        try:
            found = replay(name)
        except BgbError as error:
            sys.exit(str(error))
        _log.info(
            "%s: first not finite: %s; loss %g; samples %s",
            *(name, found.tensor, found.loss, list(found.samples)),
        )
