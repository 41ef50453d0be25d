"""EvoBrain: its graphs, its streams, its size and cost."""

# Shapes: B batch, M clips, S seconds, C channels, T samples, E edges

import math

import pytest
import torch

from bgb.config.model import EvoBrainConfig
from bgb.detectors.evobrain import EvoBrain, correlation, strongest
from bgb.errors import ConfigError
from tests.detectors.catalogue import forward_flops, num_parameters

RATE_HZ = 64


def network_of(num_channels: int = 5) -> EvoBrain:
    torch.manual_seed(0)
    options = {"clip_s": 4, "node_width": 16, "edge_width": 16, "layers": 1}
    return EvoBrain(num_channels, rate_hz=RATE_HZ, window_s=12, **options).eval()  # type: ignore[arg-type]


def signal_of(num_channels: int = 5) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, num_channels, 12 * RATE_HZ, generator=generator)


def test_edges_are_absolute_correlations_of_one_second() -> None:
    seconds_MCST = signal_of()[:, :, :128].view(2, 5, 2, 64) + 3
    seconds_MCST[:, 1] = -2 * seconds_MCST[:, 0]
    seconds_MCST[:, 2] = 7  # a flat channel correlates with nothing
    found_MSCC = correlation(seconds_MCST)
    others = [0, 1, 3, 4]
    expected_CC = torch.corrcoef(seconds_MCST[1, others, 1]).abs()
    torch.testing.assert_close(found_MSCC[1, 1][others][:, others], expected_CC, atol=1e-3, rtol=0)
    assert found_MSCC[1, 1, 0, 1] == pytest.approx(1, abs=1e-3)
    assert not found_MSCC[:, :, 2].any()


def test_edge_is_kept_where_either_end_has_it_among_its_strongest() -> None:
    weights_CC = torch.tensor(
        [
            [1.0, 0.9, 0.8, 0.7],
            [0.9, 1.0, 0.3, 0.2],
            [0.8, 0.3, 1.0, 0.1],
            [0.7, 0.2, 0.1, 1.0],
        ]
    )
    expected_CC = torch.zeros(4, 4)
    for other in (1, 2, 3):  # the strongest of each other node; its own strongest is node 1
        expected_CC[0, other] = expected_CC[other, 0] = weights_CC[0, other]
    assert torch.equal(strongest(weights_CC[None, None], 1)[0, 0], expected_CC)


def test_node_carries_the_log_amplitude_of_a_sine_in_its_band() -> None:
    time_s = torch.arange(RATE_HZ) / RATE_HZ
    sine_MCST = (3 * torch.sin(2 * math.pi * 10 * time_s + 1)).view(1, 1, 1, -1)
    spectrum_F = network_of().spectrum(sine_MCST)[0, 0, 0]
    assert len(spectrum_F) == RATE_HZ // 2
    assert spectrum_F.argmax() == 10
    assert spectrum_F[10].item() == pytest.approx(math.log(3), abs=1e-3)
    assert spectrum_F[11].item() == pytest.approx(math.log(1e-3), abs=1e-2)


def test_graph_is_normalised_symmetrically_with_self_loops() -> None:
    network = network_of(num_channels=3)
    raw_E = torch.tensor([0.3, -1.0, 2.0])  # of the pairs 0-1, 0-2, 1-2
    a, b, c = torch.nn.functional.softplus(raw_E).tolist()
    adjacency_CC = torch.tensor([[1, a, b], [a, 1, c], [b, c, 1]])
    scale_CC = adjacency_CC.sum(1).rsqrt().diag()
    expected_CC = scale_CC @ adjacency_CC @ scale_CC
    torch.testing.assert_close(network._graph(raw_E[None])[0], expected_CC)


def test_channels_that_change_places_with_their_embeddings_change_nothing() -> None:
    network, order = network_of(), torch.tensor([3, 0, 4, 1, 2])
    signal_BCT = signal_of()
    before_BK = network(signal_BCT)
    assert not torch.allclose(network(signal_BCT[:, order]), before_BK, atol=1e-5)
    network.embedding_CD.data = network.embedding_CD.data[order]
    torch.testing.assert_close(network(signal_BCT[:, order]), before_BK)


def test_seconds_that_change_places_change_the_logit() -> None:
    network, signal_BCT = network_of(), signal_of()
    seconds = signal_BCT.view(2, 5, 12, RATE_HZ)[:, :, :4]
    forward_BK = network(seconds.flatten(2))
    assert not torch.allclose(network(seconds.flip(2).flatten(2)), forward_BK, atol=1e-5)


def test_stream_tells_of_every_row_what_it_knows_after_the_last_second() -> None:
    stream, series_MCST = network_of().edges, torch.randn(2, 5, 4, 1)
    states_CSD, _ = stream.mamba(stream.project(series_MCST[1]))
    torch.testing.assert_close(stream(series_MCST)[1], states_CSD[:, -1])


def test_evobrain_judges_each_clip_by_itself() -> None:
    network, signal_BCT = network_of(), signal_of()
    before_BK = network(signal_BCT)
    signal_BCT[..., 6 * RATE_HZ] += 5  # lies in the middle of the second clip
    after_BK = network(signal_BCT)
    torch.testing.assert_close(after_BK[:, [0, 2]], before_BK[:, [0, 2]])
    assert (after_BK[:, 1] != before_BK[:, 1]).all()


def test_flat_channels_leave_gradients_finite() -> None:
    network, signal_BCT = network_of().train(), signal_of()
    signal_BCT[0] = 0
    network(signal_BCT).sum().backward()
    gradients = [parameter.grad for parameter in network.parameters()]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)


def test_size_is_a_thirtieth_of_labram() -> None:
    # "30 times fewer parameters than LaBraM" (5.8 M) is all that the paper says.
    found = num_parameters(EvoBrainConfig())
    assert found == 152_556
    assert found < 5_819_338 / 30


def test_minute_costs_half_a_gflop() -> None:
    flops = forward_flops(EvoBrainConfig(), window_s=60)
    assert flops == pytest.approx(0.50e9, rel=0.02)


def test_window_that_is_not_whole_clips_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"data.window_s=50 .* model.clip_s=12; .*=48"):
        EvoBrain(5, rate_hz=64, window_s=50)


def test_width_that_makes_no_whole_heads_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"model.edge_width=12 must be a multiple of 16"):
        EvoBrainConfig(edge_width=12)
