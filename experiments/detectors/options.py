"""The options of conf/model: their names, how each is built, and what is known without running."""

from dataclasses import dataclass

import torch

from bgb.config.compose import compose, config_dir
from bgb.config.model import FrontendConfig, ModelConfig
from bgb.detectors import Detector, build_detector
from bgb.eeg.montage import ELECTRODES
from bgb.eeg.signal import SignalSpec
from bgb.errors import BgbError
from bgb.training.flops import forward_flops

SIGNAL = SignalSpec("electrodes", tuple(ELECTRODES), 256)


@dataclass(frozen=True)
class Facts:
    """What an option is, for windows of its natural length in the double banana.

    Attributes
    ----------
    gflop_per_minute : of a forward pass, windows side by side, for a minute that is judged.
    latency_s : from a second of EEG to its logit at most, where windows lie side by side.
    """

    parameters: int
    gflop_per_minute: float
    rate_hz: int
    window_s: int
    context_s: tuple[int, int]
    out_rate_hz: float
    receptive_field_s: float
    latency_s: int


def names() -> list[str]:
    """Return the options by name: variants of a detector stand together."""
    return sorted(path.stem for path in (config_dir() / "model").glob("*.yaml"))


def model_of(name: str) -> ModelConfig:
    model: ModelConfig = compose("train", [f"model={name}"]).model
    return model


def build(name: str) -> Detector:
    """Build an option from seed 0, in evaluation mode."""
    model = model_of(name)
    torch.manual_seed(0)
    return build_detector(model, FrontendConfig(), SIGNAL, window_s=model.window_s).eval()


def facts_of(name: str) -> Facts | str:
    """Return the facts, or why the option cannot be built here: a library is missing."""
    try:
        detector = build(name)
    except BgbError as error:
        return str(error)
    judged_s = detector.window_s - sum(detector.context_s)
    return Facts(
        parameters=sum(parameter.numel() for parameter in detector.parameters()),
        gflop_per_minute=forward_flops(detector) / 1e9 * 60 / judged_s,
        rate_hz=detector.rate_hz,
        window_s=detector.window_s,
        context_s=detector.context_s,
        out_rate_hz=detector.out_rate_hz,
        receptive_field_s=detector.receptive_field_s,
        latency_s=detector.window_s - detector.context_s[0],
    )
