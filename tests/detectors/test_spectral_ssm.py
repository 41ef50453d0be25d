"""Mamba-2 on spectra: stated sizes, the spectrum, and the state of the causal variant."""

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from bgb.config.model import SpectralSsmConfig
from bgb.detectors.spectral_ssm import SpectralSsm
from bgb.errors import ConfigError

TINY = {"top_hz": 20, "band_features": 4, "num_features": 16, "num_layers": 2}


def network_of(*, causal: bool = True) -> SpectralSsm:
    torch.manual_seed(0)
    return SpectralSsm(
        18, rate_hz=64, window_s=40, causal=causal, state_features=8, head_features=8, **TINY
    ).eval()  # type: ignore[arg-type]


def signal(num_seconds: int = 40) -> Tensor:
    return torch.randn(2, 18, 64 * num_seconds, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("options", "num_parameters", "giga"),
    [({}, 2_970_689, 5.2), ({"num_features": 128, "num_layers": 4}, 621_569, 1.4)],
)
def test_network_has_the_stated_size_and_cost(
    options: dict[str, int], num_parameters: int, giga: float
) -> None:
    with torch.device("meta"):
        network = SpectralSsm(18, rate_hz=256, window_s=600, chunk=64, **options)  # type: ignore[arg-type]
        with FlopCounterMode(display=False) as counter:
            network(torch.empty(1, 18, 600 * 256))
    assert sum(each.numel() for each in network.parameters()) == num_parameters
    # The stated cost leaves out the spectrum, which is a matrix product here.
    spectrum = 2 * 600 * 18 * 256 * 2 * 64
    assert (counter.get_total_flops() - spectrum) / 1e9 == pytest.approx(giga, abs=0.06)


def test_spectrum_is_that_of_the_fourier_transform() -> None:
    found = network_of()._spectra(signal(3))
    seconds = signal(3).double().unflatten(-1, (3, 64))
    window = torch.hann_window(64, dtype=torch.float64)
    amplitude = 2 / window.sum() * torch.fft.rfft(window * seconds).abs()
    expected = torch.log10(amplitude.square() + 1e-6) + 3
    torch.testing.assert_close(found.double(), expected[..., 1:21], rtol=1e-4, atol=1e-4)


def test_spectrum_is_float32_under_autocast() -> None:
    network = network_of()
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(network._spectra(signal(3)), network._spectra(signal(3).float()))
        assert network._spectra(signal(3)).dtype == torch.float32


@pytest.mark.parametrize("cuts", [(1,), (7, 8, 30), tuple(range(1, 40))])
def test_live_signal_gives_the_logits_of_the_whole(cuts: tuple[int, ...]) -> None:
    network = network_of()
    whole_BK = network(signal())
    parts, state = [], network.initial_state(2)
    for part_BCT in torch.tensor_split(signal(), [64 * cut for cut in cuts], dim=-1):
        logits_BK, state = network.step(part_BCT, state)
        assert logits_BK.shape == (2, part_BCT.shape[-1] // 64)
        parts.append(logits_BK)
    torch.testing.assert_close(torch.cat(parts, dim=1), whole_BK, rtol=1e-5, atol=1e-5)
    assert all(isinstance(each, Tensor) for each in state)


def test_only_the_causal_network_looks_back_alone() -> None:
    later = torch.cat((signal()[..., : 64 * 20], 3 * signal()[..., 64 * 20 :]), dim=-1)
    for causal in (True, False):
        network = network_of(causal=causal)
        assert network.is_causal == causal
        same = torch.isclose(network(signal()), network(later), atol=1e-6)
        assert same[:, :20].all() == causal
        assert not same[:, 20:].any()


def test_network_that_looks_ahead_has_no_state() -> None:
    with pytest.raises(AssertionError, match="only a causal network"):
        network_of(causal=False).initial_state(1)


def test_spectrum_above_half_of_the_rate_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"model.top_hz=64 is above half .*=100; .* at most 50"):
        SpectralSsmConfig(rate_hz=100)
