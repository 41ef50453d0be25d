"""Every detector keeps the contract of DESIGN 6."""

# Shapes: B batch, S seconds, C channels, R samples a second, K output steps

import re
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from bgb.config.model import (
    MODELS,
    EegNetConfig,
    EventNetUnetConfig,
    FrontendConfig,
    ModelConfig,
)
from bgb.detectors import build_detector
from bgb.eeg.montage import ELECTRODES
from bgb.eeg.signal import SignalSpec
from bgb.errors import ConfigError
from tests.detectors.catalogue import (
    BIPOLAR_SIGNAL,
    CATALOGUE,
    detector_of,
    each_model,
    forward_flops,
    num_logits,
    windows,
)

# Of SeizureTransformer, whose published size counts them, and of EEGNet, which has a norm twice.
_KEPT_AS_PUBLISHED = re.compile(r"residual\.\d+\.change\.0\..*bias|temporal\.1\.bias")
_NOT_OURS = {"braindecode"}  # models of a package that need not be there


def test_every_detector_is_in_the_catalogue() -> None:
    listed = {type(model) for model, _ in CATALOGUE.values()}
    assert {name for name, model in MODELS.items() if model not in listed} <= _NOT_OURS


@each_model
@pytest.mark.parametrize("factor", [1, 2])
def test_logits_cover_the_window_at_the_stated_rate(
    model: ModelConfig, window_s: int, factor: int
) -> None:
    detector = detector_of(model, factor * window_s)
    logits_BK = detector(*windows(factor * window_s))
    assert detector.out_rate_hz == model.output_rate_hz
    assert logits_BK.shape == (3, num_logits(detector, factor * window_s))
    assert detector.window_s == factor * window_s
    assert detector.rate_hz == model.rate_hz
    assert detector.context_s == model.context_s


@each_model
def test_logits_are_float32_in_any_precision(model: ModelConfig, window_s: int) -> None:
    detector = detector_of(model, window_s).eval()
    with torch.autocast("cpu", torch.bfloat16):
        assert detector(*windows(window_s, batch=1)).dtype == torch.float32


@each_model
def test_share_of_a_process_may_be_empty(model: ModelConfig, window_s: int) -> None:
    detector = detector_of(model, window_s).eval()  # norms need a window, unless they share
    logits_BK = detector(*windows(window_s, batch=0))
    assert logits_BK.shape == (0, num_logits(detector, window_s))
    logits_BK.sum().backward()
    assert all(not each.grad.any() for each in detector.parameters())  # type: ignore[union-attr]


@each_model
@pytest.mark.parametrize("montage", ["double_banana", "average"])
def test_no_parameter_is_dead(model: ModelConfig, window_s: int, montage: str) -> None:
    # Lesson 62: 71 % of the predecessor's parameters were dead.
    detector = detector_of(model, window_s, montage=montage)
    logits_BK = detector(*windows(window_s))
    (logits_BK * torch.linspace(-1, 2, logits_BK.numel()).view_as(logits_BK)).sum().backward()
    gradients = {name: each.grad for name, each in detector.named_parameters()}
    largest = {name: 0.0 if g is None else float(g.abs().max()) for name, g in gradients.items()}
    # No output depends on a bias before a norm: what is left of its gradient is rounding.
    dead = {name for name, each in largest.items() if each < 5e-8 * max(largest.values())}
    assert {name for name in dead if not _KEPT_AS_PUBLISHED.search(name)} == set()


@each_model
def test_evaluation_is_deterministic_and_independent_of_the_batch(
    model: ModelConfig, window_s: int
) -> None:
    detector = detector_of(model, window_s)
    tiles_BSCR, present_BC = windows(window_s)
    detector(tiles_BSCR, present_BC)  # moves the statistics of the norms
    detector.eval()
    together = detector(tiles_BSCR, present_BC)
    assert torch.equal(together, detector(tiles_BSCR, present_BC))
    alone = detector(tiles_BSCR[1:2], present_BC[1:2])
    torch.testing.assert_close(alone, together[1:2], atol=1e-5, rtol=1e-4)


@each_model
def test_weights_come_back_from_a_file_with_the_same_bits(
    model: ModelConfig, window_s: int, tmp_path: Path
) -> None:
    detector = detector_of(model, window_s)
    batch = windows(window_s)
    detector(*batch)  # moves the statistics of the norms
    torch.save(detector.state_dict(), tmp_path / "weights.pt")
    other = detector_of(model, window_s, seed=1)
    assert not torch.equal(other.eval()(*batch), detector.eval()(*batch))
    other.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    assert torch.equal(other(*batch), detector(*batch))


@each_model
def test_weights_serve_electrodes_and_bipolar_sources_alike(
    model: ModelConfig, window_s: int
) -> None:
    detector = detector_of(model, window_s)
    other = detector_of(model, window_s, signal=BIPOLAR_SIGNAL)
    torch.nn.init.zeros_(next(other.parameters()))
    other.load_state_dict(detector.state_dict())
    tiles_BSCR, present_BC = windows(window_s)
    derive_MC = detector.frontend.montage
    derived_BSCR = torch.einsum("mc,bscr->bsmr", derive_MC, tiles_BSCR.float()).to(torch.int16)
    expected = detector.eval()(tiles_BSCR, present_BC)
    found = other.eval()(derived_BSCR, torch.ones(3, 18, dtype=torch.bool))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_eegnet_judges_each_segment_by_itself() -> None:
    detector = detector_of(EegNetConfig(rate_hz=64), 12).eval()
    tiles_BSCR, present_BC = windows(12)
    before = detector(tiles_BSCR, present_BC)
    tiles_BSCR[:, 6] = 0  # lies in the middle of the second segment
    after = detector(tiles_BSCR, present_BC)
    torch.testing.assert_close(after[:, [0, 2]], before[:, [0, 2]])
    assert not torch.equal(after[:, 1], before[:, 1])


def test_eegnet_has_the_published_size() -> None:
    # braindecode counts 2,434 at 19 channels, of which 1,026 are its head of two classes.
    signal = SignalSpec("electrodes", ELECTRODES, 256)
    frontend = FrontendConfig(montage="average")
    detector = build_detector(EegNetConfig(), frontend, signal, window_s=60)
    sizes = {name: parameter.numel() for name, parameter in detector.network.named_parameters()}
    head = sizes.pop("head.weight") + sizes.pop("head.bias")
    assert sum(sizes.values()) == 2434 - 1026
    assert head == 16 * 16 + 1


def test_eegnet_costs_what_its_convolutions_do() -> None:
    steps = 60 * 128
    temporal, spatial = 8 * 18 * steps * 64, 16 * 18 * steps
    separable, head = (steps // 4) * 16 * (16 + 16), 15 * 16 * 16
    macs = temporal + spatial + separable + head
    assert forward_flops(EegNetConfig(), window_s=60) == pytest.approx(2 * macs, rel=0.01)


def test_a_minute_of_the_unet_costs_the_stated_flops() -> None:
    assert forward_flops(EventNetUnetConfig(), window_s=60) == pytest.approx(1.64e9, rel=0.005)


def test_unet_has_the_stated_size() -> None:
    detector = detector_of(EventNetUnetConfig(rate_hz=128), 60)
    assert sum(parameter.numel() for parameter in detector.parameters()) == 1_374_961


def test_window_below_the_receptive_field_is_refused() -> None:
    with pytest.raises(
        ConfigError,
        match=r"data.window_s=17 is shorter .* field \(18 s at 128 Hz\); raise data.window_s",
    ):
        detector_of(EventNetUnetConfig(rate_hz=128), 17)


def test_window_that_is_not_whole_segments_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"data.window_s=10 .* model.segment_s=4; .*=8"):
        detector_of(EegNetConfig(rate_hz=64), 10)


def test_unknown_model_is_refused() -> None:
    @dataclass(frozen=True)
    class Unknown:
        rate_hz: int = 128

    with pytest.raises(ConfigError, match="no detector is built from Unknown"):
        detector_of(Unknown(), 60)  # type: ignore[arg-type]
