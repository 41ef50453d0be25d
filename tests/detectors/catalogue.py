"""One tiny configuration of every detector, and what the tests of all detectors share."""

# Shapes: B batch, S seconds, C channels, R samples a second

import pytest
import torch
from torch import Tensor

from bgb.config.model import (
    EegNetConfig,
    EventNetUnetConfig,
    FrontendConfig,
    LookAroundConfig,
    ModelConfig,
    SeizureTransformerConfig,
)
from bgb.detectors import Detector, build_detector
from bgb.eeg.montage import DOUBLE_BANANA, ELECTRODES
from bgb.eeg.signal import SignalSpec

SIGNAL = SignalSpec("electrodes", ELECTRODES, 128)
BIPOLAR_SIGNAL = SignalSpec("double_banana", DOUBLE_BANANA, 128)
# Name of the test -> configuration, window in seconds; twice the window must be a window, too.
CATALOGUE: dict[str, tuple[ModelConfig, int]] = {
    "eegnet": (EegNetConfig(rate_hz=64, segment_s=4), 12),
    "eegnet_short_segments": (EegNetConfig(rate_hz=128, segment_s=1, kernel_s=0.25), 7),
    "eventnet_unet": (EventNetUnetConfig(rate_hz=128, base_channels=4), 24),
    "eventnet_unet_odd": (EventNetUnetConfig(rate_hz=64, out_rate_hz=1, base_channels=4), 37),
    "lookaround": (
        LookAroundConfig(
            rate_hz=32, target_s=4, before_s=5, after_s=3, width=12, layers=1, heads=3
        ),
        12,
    ),
    "seizure_transformer": (
        SeizureTransformerConfig(rate_hz=64, base_channels=2, residual_blocks=2, layers=1, heads=2),
        8,
    ),
    "seizure_transformer_even": (  # a kernel of 2, one logit a sample
        SeizureTransformerConfig(rate_hz=32, out_rate_hz=32, base_channels=1, layers=1, heads=1),
        25,
    ),
}
each_model = pytest.mark.parametrize(
    ("model", "window_s"), CATALOGUE.values(), ids=CATALOGUE.keys()
)


def detector_of(
    model: ModelConfig,
    window_s: int,
    *,
    signal: SignalSpec = SIGNAL,
    montage: str | None = None,
    seed: int = 0,
) -> Detector:
    """Build a detector whose weights the seed decides."""
    torch.manual_seed(seed)
    frontend = FrontendConfig(montage=montage or "double_banana")
    return build_detector(model, frontend, signal, window_s=window_s)


def windows(window_s: int, *, batch: int = 3, signal: SignalSpec = SIGNAL) -> tuple[Tensor, Tensor]:
    """Return noise of up to 90 uV, all channels present."""
    generator = torch.Generator().manual_seed(1)
    shape = (batch, window_s, signal.num_channels, signal.rate_hz)
    tiles_BSCR = torch.randint(-900, 900, shape, dtype=torch.int16, generator=generator)
    return tiles_BSCR, torch.ones(batch, signal.num_channels, dtype=torch.bool)


def num_logits(detector: Detector, window_s: int) -> int:
    """Return the logits of a window: one a step of its judged part."""
    return round((window_s - sum(detector.context_s)) * detector.out_rate_hz)
