"""Every detector compiles for training in one graph, whatever its frontend does."""

import pytest
import torch

from bgb.config.model import DeepSozConfig, EegNetConfig, FrontendConfig, ModelConfig
from bgb.detectors import Detector, build_detector
from bgb.detectors.compiling import check_lstm, compile_detector
from bgb.errors import ConfigError
from tests.detectors.catalogue import SIGNAL, detector_of, each_model, windows

pytestmark = pytest.mark.slow


def assert_compiles(detector: Detector) -> None:
    torch.compiler.reset()
    batch = windows(detector.window_s)
    compiled = compile_detector(detector, backend="eager")
    torch.testing.assert_close(compiled(*batch), detector(*batch), rtol=1e-5, atol=1e-5)


@each_model
def test_detector_compiles_in_one_graph(model: ModelConfig, window_s: int) -> None:
    assert_compiles(detector_of(model, window_s).eval())


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


def test_an_lstm_is_not_unrolled_on_a_cpu() -> None:
    detector = detector_of(DeepSozConfig(rate_hz=64, feedforward_width=16, lstm_width=8), 10)
    check_lstm(detector, torch.device("cuda"))
    check_lstm(detector_of(EegNetConfig(), 60), torch.device("cpu"))
    with pytest.raises(ConfigError, match=r"trainer.compile=true would unroll the LSTM"):
        check_lstm(detector, torch.device("cpu"))
