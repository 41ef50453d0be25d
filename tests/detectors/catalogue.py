"""One tiny configuration of every detector, and what the tests of all detectors share."""

# Shapes: B batch, S seconds, C channels, R samples a second

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from bgb.config.model import (
    DeepSozConfig,
    EegNetConfig,
    EegWaveNetConfig,
    EventNetUnetConfig,
    EvoBrainConfig,
    FrontendConfig,
    LookAroundConfig,
    MambaUnetConfig,
    ModelConfig,
    SeizureTransformerConfig,
    SpectralSsmConfig,
)
from bgb.detectors import Detector, build_detector
from bgb.eeg.montage import DOUBLE_BANANA, ELECTRODES
from bgb.eeg.signal import SignalSpec

SIGNAL = SignalSpec("electrodes", ELECTRODES, 128)
BIPOLAR_SIGNAL = SignalSpec("double_banana", DOUBLE_BANANA, 128)
# Name of the test -> configuration, window in seconds; twice the window must be a window, too.
_TINY_STATE = {"num_features": 16, "num_layers": 2, "state_features": 8, "head_features": 8}
CATALOGUE: dict[str, tuple[ModelConfig, int]] = {
    "deepsoz": (DeepSozConfig(rate_hz=64, feedforward_width=16, lstm_width=8), 10),
    "eegwavenet": (EegWaveNetConfig(rate_hz=128, segment_s=4, scale_width=4), 12),
    "evobrain": (EvoBrainConfig(rate_hz=64, clip_s=4, node_width=16, edge_width=16, layers=1), 12),
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
    "mamba_unet": (MambaUnetConfig(rate_hz=64, num_levels=2, **_TINY_STATE), 7),
    "spectral_ssm": (SpectralSsmConfig(rate_hz=64, top_hz=32, band_features=4, **_TINY_STATE), 40),
    "spectral_ssm_causal": (
        SpectralSsmConfig(rate_hz=128, top_hz=20, causal=True, band_features=4, **_TINY_STATE),
        13,
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


def full_size(model: ModelConfig, *, window_s: int, montage: str) -> nn.Module:
    """Build the network on the device "meta", where tensors have shapes and no numbers."""
    signal = SignalSpec("electrodes", ELECTRODES, 256)
    with torch.device("meta"):
        return detector_of(model, window_s, signal=signal, montage=montage).network.eval()


def num_parameters(model: ModelConfig, *, montage: str = "double_banana") -> int:
    """Count the parameters of a network of full size."""
    network = full_size(model, window_s=model.window_s, montage=montage)
    return sum(parameter.numel() for parameter in network.parameters())


def forward_flops(
    model: ModelConfig, *, window_s: int | None = None, montage: str = "double_banana"
) -> int:
    """Count the operations in the matrix products and convolutions of one window, forward."""
    window_s = window_s or model.window_s
    network = full_size(model, window_s=window_s, montage=montage)
    num_channels = 18 if montage == "double_banana" else 19
    with FlopCounterMode(display=False) as counter:
        network(torch.empty(1, num_channels, window_s * model.rate_hz, device="meta"))
    return int(counter.get_total_flops())
