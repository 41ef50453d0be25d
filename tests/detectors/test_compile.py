"""Every detector compiles for training in one graph, whatever its frontend does."""

import pytest
import torch

from bgb.config.model import EegNetConfig, FrontendConfig, ModelConfig
from bgb.detectors import Detector, build_detector
from bgb.errors import ConfigError
from bgb.training.module import Schedule, SeizureModule
from tests.detectors.catalogue import SIGNAL, detector_of, each_model, windows

pytestmark = pytest.mark.slow
RECURRENT = {"deepsoz"}  # torch 2.13 traces an LSTM, but then fails in aot_autograd


def assert_compiles(detector: Detector) -> None:
    torch.compiler.reset()
    batch = windows(detector.window_s)
    compiled = torch.compile(detector.forward, dynamic=False, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(*batch), detector(*batch), rtol=1e-5, atol=1e-5)


@each_model
def test_detector_compiles_in_one_graph_or_is_refused(model: ModelConfig, window_s: int) -> None:
    detector = detector_of(model, window_s).eval()
    if model.name in RECURRENT:
        with pytest.raises(ConfigError, match=r"does not compile .* set trainer.compile=false"):
            SeizureModule(detector, lr=1, weight_decay=0, schedule=Schedule(0, 1), compiled_size=2)
    else:
        assert_compiles(detector)


@pytest.mark.parametrize(
    "frontend",
    [
        FrontendConfig(missing="mask", normalise="window"),
        FrontendConfig(missing="refuse", montage="average"),
    ],
)
def test_every_frontend_compiles_in_one_graph(frontend: FrontendConfig) -> None:
    torch.manual_seed(0)
    detector = build_detector(EegNetConfig(rate_hz=64), frontend, SIGNAL, window_s=12)
    assert_compiles(detector.eval())
