"""A step that is not finite: the tensor that is named, and what is put back."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from bgb.config.model import EegNetConfig, FrontendConfig
from bgb.data.windows import WindowBatch
from bgb.detectors import Detector, build_detector
from bgb.eeg.montage import ELECTRODES
from bgb.eeg.signal import SignalSpec
from bgb.errors import RunError
from bgb.training.losses import StepLoss
from bgb.training.module import Schedule, SeizureModule
from bgb.training.nonfinite import NonfinitePolicy
from bgb.training.numerics import Before, Finding, relative_change

NAN, INF = float("nan"), float("inf")


@pytest.fixture
def module() -> SeizureModule:
    torch.manual_seed(0)
    signal = SignalSpec("electrodes", ELECTRODES, 128)
    detector = build_detector(EegNetConfig(rate_hz=64), FrontendConfig(), signal, window_s=8)
    return SeizureModule(detector, lr=0.1, weight_decay=0.0, schedule=Schedule(0, 0)).train()


def make_batch(num_windows: int = 3) -> WindowBatch:
    generator = torch.Generator().manual_seed(1)
    number_B = torch.arange(num_windows)
    shape = (num_windows, 8, len(ELECTRODES), 128)
    return WindowBatch(
        torch.randint(-500, 500, shape, dtype=torch.int16, generator=generator),
        torch.ones(num_windows, len(ELECTRODES), dtype=torch.bool),
        torch.zeros(num_windows, 2),
        torch.ones(num_windows, 2, dtype=torch.bool),
        *(10 * number_B, number_B, 100 + number_B, torch.zeros_like(number_B)),
    )


class BreakGradient(torch.autograd.Function):
    """The identity, whose gradient is infinite."""

    @staticmethod
    def forward(ctx: object, value: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        return gradient * INF


def break_output(detector: Detector, name: str, value: float) -> None:
    """Put one number into the output of a submodule."""

    def spoil(layer: nn.Module, arguments: object, output: Tensor) -> Tensor:
        return torch.cat((output[:1] + value, output[1:]))

    detector.get_submodule(name).register_forward_hook(spoil)


def test_healthy_step_has_no_finding(module: SeizureModule) -> None:
    found = module.examine(make_batch())
    assert found.tensor == "nothing, computed again"
    assert (found.gradients, found.samples) == ((), ())


@pytest.mark.parametrize("name", ["frontend.decimate", "network.spatial.2", "network.head"])
@pytest.mark.parametrize("value", [NAN, INF])
def test_first_output_that_is_not_finite_is_named(
    module: SeizureModule, name: str, value: float
) -> None:
    break_output(module.detector, name, value)
    found = module.examine(make_batch())
    assert found.tensor == f"output of {name}"
    assert 100 in found.samples
    assert all(parameter.grad is None for parameter in module.parameters())


def test_weight_that_is_not_finite_is_named_before_what_it_breaks(module: SeizureModule) -> None:
    with torch.no_grad():
        module.detector.network.head.weight[0, 3] = NAN
    assert module.examine(make_batch()).tensor == "weight network.head.weight"


def test_gradient_that_is_not_finite_is_named_where_it_breaks_first(module: SeizureModule) -> None:
    separable = module.detector.get_submodule("network.separable")
    separable.register_forward_hook(lambda layer, inputs, output: BreakGradient.apply(output))
    found = module.examine(make_batch())
    assert found.tensor == "gradient of network.separable.2.bias"
    assert found.loss < INF and "network.head.weight" not in found.gradients


def test_norm_that_overflows_is_not_blamed_on_one_gradient(module: SeizureModule) -> None:
    class Steep(StepLoss):
        def sum(self, logits_BK: Tensor, labels_BK: Tensor, valid_BK: Tensor) -> Tensor:
            return 1e30 * super().sum(logits_BK, labels_BK, valid_BK)

    module.loss = Steep()
    assert module.examine(make_batch()).tensor == "gradient norm"


def test_step_is_undone_with_its_running_means_and_draws(module: SeizureModule) -> None:
    detector, batch = module.detector, make_batch()
    before = Before.step(detector)
    kept = {name: value.clone() for name, value in detector.state_dict().items()}
    break_output(detector, "network.temporal.0", NAN)
    first = module.examine(batch)
    assert not detector.network.temporal[1].running_mean.isfinite().all()
    before.restore(detector)
    assert all(torch.equal(value, kept[name]) for name, value in detector.state_dict().items())
    drawn = torch.rand(5)
    before.restore(detector)
    assert torch.equal(torch.rand(5), drawn)
    assert module.examine(batch).tensor == first.tensor


def test_relative_change_is_over_all_tensors_together() -> None:
    before = [torch.tensor([3.0]), torch.tensor([[4.0]])]
    after = [torch.tensor([3.0]), torch.tensor([[4.5]])]
    assert relative_change(before, after) == pytest.approx(0.1)


def test_windows_are_named_by_recording_and_start() -> None:
    policy = NonfinitePolicy(recordings=("a", "b", "c"))
    text = policy.describe(Finding("loss", NAN, (), (101,)), make_batch())
    assert text.endswith("[101] of [100, 101, 102]; recordings b from 10 s")
    every = NonfinitePolicy().describe(Finding("loss", NAN, (), ()), make_batch(7))
    assert every.endswith("recordings 0 from 0 s, 1 from 10 s, 2 from 20 s, 3 from 30 s, "
                          "4 from 40 s and 2 more")  # fmt: skip


def test_policy_stops_or_leaves_out_within_its_budget(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(RunError, match=r"loss is nan; lower optimizer\.lr, .*nonfinite=skip to"):
        NonfinitePolicy().decide("loss is nan", 0)
    policy = NonfinitePolicy(skip=True, budget=2, folder=Path("failures"))
    policy.decide("loss is nan", 1)
    assert "batch left out (2 of 2): loss is nan" in caplog.text
    with pytest.raises(RunError, match=r"2 batches were left out .*nonfinite_budget=2 allows"):
        policy.decide("loss is nan", 2)
    assert policy.path(7) == Path("failures/step-7.pt")
