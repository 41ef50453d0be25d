"""DeepSOZ: its transformer layer, its size, its cost."""

# Shapes: B batch, K seconds, L tokens, D width

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from bgb.config.model import DeepSozConfig
from bgb.detectors.deepsoz import DeepSoz, clip
from tests.detectors.catalogue import forward_flops, num_parameters


def network_of(num_channels: int = 5) -> DeepSoz:
    torch.manual_seed(0)
    return DeepSoz(num_channels, rate_hz=32, window_s=6, heads=4, feedforward_width=24).eval()


def signal_of(network: DeepSoz, num_channels: int = 5) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    shape = (2, num_channels, network.window_s * network.rate_hz)
    return torch.randn(shape, generator=generator)


def torch_layer(network: DeepSoz) -> nn.TransformerEncoderLayer:
    """Return torch's layer with the weights of the network."""
    ours = network.gather
    layer = nn.TransformerEncoderLayer(32, 4, 24, batch_first=True).eval()
    weights, zeros = (ours.query.weight, ours.key.weight, ours.value.weight), torch.zeros(32)
    state = {
        "self_attn.in_proj_weight": torch.cat(weights),
        "self_attn.in_proj_bias": torch.cat((ours.query.bias, zeros, ours.value.bias)),
        **{f"self_attn.out_proj.{name}": value for name, value in ours.out.named_parameters()},
        **{f"linear1.{name}": value for name, value in ours.feedforward[0].named_parameters()},
        **{f"linear2.{name}": value for name, value in ours.feedforward[3].named_parameters()},
        **{f"norm1.{name}": value for name, value in ours.norms[0].named_parameters()},
        **{f"norm2.{name}": value for name, value in ours.norms[1].named_parameters()},
    }
    layer.load_state_dict(state)
    return layer


def test_learned_token_is_that_of_a_whole_transformer_layer() -> None:
    network = network_of()
    for name, parameter in network.gather.named_parameters():
        if "bias" in name or "norms" in name:  # at their first values they would prove nothing
            nn.init.normal_(parameter)
    seconds_BCKD = signal_of(network).unflatten(-1, (-1, 32))
    signal_BKCD = seconds_BCKD.transpose(1, 2)
    tokens_BKLD = torch.cat((signal_BKCD, torch.zeros(2, 6, 1, 32)), dim=2)
    tokens_BKLD = tokens_BKLD + network.gather.tokens.weight
    expected_BKD = torch_layer(network)(tokens_BKLD.flatten(0, 1))[:, -1].unflatten(0, (2, 6))
    torch.testing.assert_close(network.gather(seconds_BCKD), expected_BKD, rtol=1e-4, atol=1e-5)


def test_every_second_sees_the_whole_window() -> None:
    network = network_of()
    signal_BCT = signal_of(network)
    before_BK = network(signal_BCT)
    signal_BCT[..., -network.rate_hz :] *= -1
    assert (network(signal_BCT) != before_BK).all()


def test_order_of_the_channels_matters() -> None:
    network = network_of()
    signal_BCT = signal_of(network)
    assert not torch.allclose(network(signal_BCT), network(signal_BCT.flip(1)))


def test_channels_are_clipped_at_two_standard_deviations_from_their_mean() -> None:
    network = network_of()
    signal_BCT = 7 + signal_of(network)
    clipped_BCT = signal_BCT.clone()
    for window_CT in clipped_BCT:
        for channel_T in window_CT:
            mean, deviation = channel_T.mean(), channel_T.std(correction=0)
            channel_T.clamp_(mean - 2 * deviation, mean + 2 * deviation)
    assert not torch.equal(clipped_BCT, signal_BCT)
    expected_BK = network(signal_BCT)
    network.clip_sd = 0.0
    torch.testing.assert_close(network(clipped_BCT), expected_BK)


def test_padding_does_not_change_where_channels_are_clipped() -> None:
    network = network_of()
    signal_BCT = 7 + signal_of(network)
    padded_BCT = functional.pad(signal_BCT, (0, 3 * signal_BCT.shape[-1]))
    clipped_BCT = clip(padded_BCT, 2.0)[..., : signal_BCT.shape[-1]]
    torch.testing.assert_close(clipped_BCT, clip(signal_BCT, 2.0))
    assert not torch.equal(clipped_BCT, signal_BCT)


def test_size_is_the_published_one_without_what_is_dead() -> None:
    second_class, zone_branch, key_bias = 2 * 100 + 1, 256 + 1, 256
    expected = 687_955 - second_class - zone_branch - key_bias
    assert num_parameters(DeepSozConfig(), montage="average") == expected == 687_241
    one_position_less = expected - 256
    assert num_parameters(DeepSozConfig(), montage="double_banana") == one_position_less


def test_second_costs_a_thirteenth_of_the_published_form() -> None:
    # Multiply-adds: 19 channels and the token through the layer, or what is read of it.
    tokens, width, lstm, head = 20, 256, 2 * 4 * 100 * (256 + 100), 200
    layer = tokens * 6 * width**2 + 2 * tokens**2 * width
    assert round(2 * 600 * (layer + lstm + head) / 1e9) == 10  # GFLOP in ten minutes, as stated
    gathered = 2 * 8 * tokens * width + 4 * width**2
    query = 2 * width**2  # once, whatever the window
    found = forward_flops(DeepSozConfig(), window_s=30, montage="average")
    assert found == 2 * (30 * (gathered + lstm + head) + query)
    assert (layer + lstm + head) / (gathered + lstm + head) == pytest.approx(13, abs=0.5)
