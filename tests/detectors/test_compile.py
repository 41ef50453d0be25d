"""Every detector compiles for training in one graph, whatever its frontend does."""

import pytest
import torch

from bgb.config.model import EegNetConfig, FrontendConfig, ModelConfig
from bgb.detectors import Detector, build_detector
from tests.detectors.catalogue import CATALOGUE, SIGNAL, detector_of, each_model, windows

pytestmark = pytest.mark.slow
RECURRENT = {"deepsoz"}  # torch compiles no LSTM, and leaves it as it is


def assert_compiles(detector: Detector, *, fullgraph: bool = True) -> None:
    torch.compiler.reset()
    batch = windows(detector.window_s)
    compiled = torch.compile(detector.forward, dynamic=False, fullgraph=fullgraph, backend="eager")
    torch.testing.assert_close(compiled(*batch), detector(*batch), rtol=1e-5, atol=1e-5)


# Between two graphs dynamo looks at what is not a leaf.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
@each_model
def test_detector_compiles_in_one_graph_but_for_an_lstm(model: ModelConfig, window_s: int) -> None:
    detector = detector_of(model, window_s).eval()
    is_one_graph = detector.is_one_graph
    assert is_one_graph == (model.name not in RECURRENT)
    assert_compiles(detector, fullgraph=is_one_graph)


@pytest.mark.filterwarnings("ignore:.*torch.jit.* is deprecated:DeprecationWarning")  # its own use
@pytest.mark.parametrize("name", ["seizure_transformer", "lookaround", "mamba_unet", "evobrain"])
def test_detector_in_training_compiles_with_its_gradients(name: str) -> None:
    detector = detector_of(*CATALOGUE[name])
    torch.compiler.reset()
    compiled = torch.compile(
        detector.forward, dynamic=False, fullgraph=True, backend="aot_eager_decomp_partition"
    )
    compiled(*windows(detector.window_s)).sum().backward()
    assert all(parameter.grad is not None for parameter in detector.parameters())


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
