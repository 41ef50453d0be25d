"""EEGWaveNet: its segments, its size, its cost."""

import pytest
import torch

from bgb.config.model import EegWaveNetConfig
from bgb.detectors.eegwavenet import EegWaveNet
from bgb.errors import ConfigError
from tests.detectors.catalogue import forward_flops, num_parameters


def test_eegwavenet_judges_each_segment_by_itself() -> None:
    torch.manual_seed(0)
    network = EegWaveNet(3, rate_hz=128, window_s=12).eval()
    signal_BCT = torch.randn(2, 3, 12 * 128)
    before_BK = network(signal_BCT)
    signal_BCT[..., 6 * 128] += 5  # lies in the middle of the second segment
    after_BK = network(signal_BCT)
    torch.testing.assert_close(after_BK[:, [0, 2]], before_BK[:, [0, 2]])
    assert (after_BK[:, 1] != before_BK[:, 1]).all()


def test_size_is_the_published_one_without_what_is_dead() -> None:
    # 658 parameters a channel and 33,890 others: 45,734 is the count at 18 channels.
    second_class = 32 + 1
    bias_before_norm = 5 * 2 * 32
    bias_of_cascade = 6 * 18
    expected = 45_734 - second_class - bias_before_norm - bias_of_cascade
    assert num_parameters(EegWaveNetConfig(), montage="double_banana") == expected == 45_273


def test_segment_costs_the_published_6_mflop() -> None:
    flops = forward_flops(EegWaveNetConfig(), window_s=4, montage="double_banana")
    assert flops == pytest.approx(6e6, rel=0.1)


def test_segment_too_short_for_the_coarsest_scale_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"segment_s=2 at .*_hz=128 is 256 .*_s to 4"):
        EegWaveNetConfig(rate_hz=128, segment_s=2)


def test_window_that_is_not_whole_segments_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"data.window_s=10 .* model.segment_s=4; .*=8"):
        EegWaveNet(3, rate_hz=128, window_s=10)
