"""LookAroundNet is the published network, and judges a target by what surrounds it."""

# Shapes: B batch, C channels, T samples, K targets

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from bgb.config.model import LookAroundConfig
from bgb.detectors.lookaround import LookAround
from bgb.errors import ConfigError


def tiny(window_s: int) -> LookAround:
    torch.manual_seed(0)
    network = LookAround(
        3, rate_hz=32, window_s=window_s, target_s=4, before_s=6, after_s=2, width=12, layers=1
    )
    return network.eval()


def test_size_is_the_published_one_without_the_second_class() -> None:
    with torch.device("meta"):
        network = LookAround(18, rate_hz=128, window_s=80)
    count = sum(parameter.numel() for parameter in network.parameters())
    assert count == 458_594 - (18 * 96 + 1)


def test_a_target_costs_the_stated_flops() -> None:
    with torch.device("meta"):
        network = LookAround(18, rate_hz=128, window_s=80).eval()
        signal_BCT = torch.empty(1, 18, 80 * 128)
    with FlopCounterMode(display=False) as counter:
        assert network(signal_BCT).shape == (1, 1)
    # Layers over 213 patches of 18 channels, then over 18 channels; not in the stated figure.
    attention = 4 * 96 * (3 * 18 * 213**2 + 18**2)
    assert (counter.get_total_flops() - attention) / 1e9 == pytest.approx(3.0, abs=0.02)


def test_each_target_is_judged_with_its_own_surroundings() -> None:
    network = tiny(20)
    assert network.context_s == (6, 2)
    signal_BCT = torch.randn(2, 3, 20 * 32)
    together = network(signal_BCT)
    alone = [tiny(12)(signal_BCT[..., 32 * first : 32 * (first + 12)]) for first in (0, 4, 8)]
    torch.testing.assert_close(together, torch.cat(alone, dim=1))


@pytest.mark.parametrize("second", [0, 11])
def test_context_changes_the_judgement(second: int) -> None:
    network = tiny(12)
    signal_BCT = torch.randn(1, 3, 12 * 32)
    before = network(signal_BCT)
    signal_BCT[..., 32 * second : 32 * second + 20] *= -5
    assert not torch.equal(network(signal_BCT), before)


def test_window_that_is_not_whole_targets_is_refused() -> None:
    with pytest.raises(
        ConfigError,
        match=r"data.window_s=90 less the context of 64 s .* model.target_s=16; .*window_s=80",
    ):
        LookAround(18, rate_hz=128, window_s=90)


def test_patch_of_broken_samples_is_refused() -> None:
    with pytest.raises(
        ConfigError,
        match=r"patch_s=0.375 must hold whole samples at model.rate_hz=100; .* of 0.01",
    ):
        LookAroundConfig(rate_hz=100)


def test_heads_that_do_not_divide_the_width_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"model.heads=5 must divide model.width=96"):
        LookAroundConfig(heads=5)


def test_negative_context_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"model.before_s=-1 must not be negative"):
        LookAroundConfig(before_s=-1)
