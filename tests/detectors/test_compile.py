"""Every detector compiles for training in one graph, whatever its frontend does."""

import pytest
import torch

from bgb.config.model import EegNetConfig, EventNetUnetConfig, FrontendConfig, ModelConfig
from bgb.detectors import build_detector
from bgb.eeg.montage import ELECTRODES
from bgb.eeg.signal import SignalSpec

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("model", [EegNetConfig(rate_hz=64), EventNetUnetConfig(rate_hz=64)])
@pytest.mark.parametrize(
    "frontend",
    [
        FrontendConfig(missing="interpolate"),
        FrontendConfig(missing="mask", normalise="window"),
        FrontendConfig(missing="refuse", montage="average"),
    ],
)
def test_detector_compiles_in_one_graph(model: ModelConfig, frontend: FrontendConfig) -> None:
    torch.manual_seed(0)
    signal = SignalSpec("electrodes", ELECTRODES, 128)
    detector = build_detector(model, frontend, signal, window_s=36).eval()
    tiles_BSCR = torch.randint(-500, 500, (2, 36, len(ELECTRODES), 128), dtype=torch.int16)
    present_BC = torch.ones(2, len(ELECTRODES), dtype=torch.bool)
    compiled = torch.compile(detector.forward, dynamic=False, fullgraph=True, backend="eager")
    torch.testing.assert_close(
        compiled(tiles_BSCR, present_BC), detector(tiles_BSCR, present_BC), rtol=1e-5, atol=1e-5
    )
