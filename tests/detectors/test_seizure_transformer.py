"""SeizureTransformer is the published network."""

# Shapes: B batch, C channels, T samples, K output steps

import math

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from bgb.config.model import SeizureTransformerConfig
from bgb.detectors.seizure_transformer import SeizureTransformer, _positions
from bgb.errors import ConfigError


def tiny(*, rate_hz: int = 64, out_rate_hz: int = 4) -> SeizureTransformer:
    torch.manual_seed(0)
    network = SeizureTransformer(
        3, rate_hz=rate_hz, window_s=8, out_rate_hz=out_rate_hz, base_channels=2, layers=1, heads=2
    )
    return network.eval()


def published(num_channels: int, *, out_rate_hz: int) -> SeizureTransformer:
    with torch.device("meta"):
        return SeizureTransformer(
            num_channels, rate_hz=256, window_s=60, out_rate_hz=out_rate_hz
        ).eval()


@pytest.mark.parametrize("out_rate_hz", [4, 256])
@pytest.mark.parametrize(("num_channels", "count"), [(19, 37_848_897), (18, 37_848_545)])
def test_size_is_the_published_one_without_its_dead_layer(
    num_channels: int, count: int, out_rate_hz: int
) -> None:
    # 41,001,281 as coded (19 channels), of which 3,152,384 are a layer that never runs.
    network = published(num_channels, out_rate_hz=out_rate_hz)
    assert sum(parameter.numel() for parameter in network.parameters()) == count
    assert 37_848_897 == 41_001_281 - 3_152_384


@pytest.mark.parametrize("num_channels", [18, 19])
def test_a_minute_costs_the_stated_flops(num_channels: int) -> None:
    network = published(num_channels, out_rate_hz=256)
    with FlopCounterMode(display=False) as counter:
        logits_BK = network(torch.empty(1, num_channels, 60 * 256, device="meta"))
    assert logits_BK.shape == (1, 60 * 256)
    attention = 8 * 4 * 480**2 * 512  # layers, products, tokens, width; not in the stated figure
    assert (counter.get_total_flops() - attention) / 1e9 == pytest.approx(43.4, abs=0.05)


def test_logits_are_means_of_the_published_ones() -> None:
    dense, pooled = tiny(out_rate_hz=64), tiny(out_rate_hz=4)
    signal_BCT = torch.randn(2, 3, 8 * 64)
    expected = dense(signal_BCT).view(2, -1, 16).mean(-1)
    torch.testing.assert_close(pooled(signal_BCT), expected)


def test_odd_lengths_are_padded_and_cropped() -> None:
    network = tiny(rate_hz=50, out_rate_hz=50)
    signal_BCT = torch.randn(2, 3, 50 * 5)  # 7.8 steps of the transformer
    whole = torch.cat((signal_BCT, torch.zeros(2, 3, 6)), dim=-1)
    torch.testing.assert_close(network(signal_BCT), network(whole)[:, :250])


def test_transformer_sees_the_whole_window() -> None:
    network = tiny()
    signal_BCT = torch.randn(1, 3, 40 * 64)
    before = network(signal_BCT)
    signal_BCT[..., -64:] *= -1
    assert (network(signal_BCT) != before)[0, :4].all()


def test_positions_are_those_of_the_paper() -> None:
    found = _positions(torch.empty(1, 30, 8))
    assert found[7, 2] == pytest.approx(math.sin(7 / 10000 ** (2 / 8)), abs=1e-6)
    assert found[29, 7] == pytest.approx(math.cos(29 / 10000 ** (6 / 8)), abs=1e-6)


def test_layers_begin_different() -> None:
    network = SeizureTransformer(3, rate_hz=64, window_s=8, base_channels=1, layers=2, heads=1)
    first, second = network.transformer
    assert not torch.equal(first.linear1.weight, second.linear1.weight)


def test_heads_that_do_not_divide_the_width_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"model.heads=3 must divide the width .* 512 \(16 x "):
        SeizureTransformerConfig(heads=3)


def test_rate_that_does_not_divide_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"model.out_rate_hz=5 must divide model.rate_hz=256"):
        SeizureTransformerConfig(out_rate_hz=5)


def test_more_residual_blocks_than_published_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"model.residual_blocks=8 must be 0 to 7"):
        SeizureTransformerConfig(residual_blocks=8)
