"""The U that detectors share: lengths, skips, and fewer operations in inference."""

# Shapes: B batch, D features, T samples or steps of a level

import pytest
import torch
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from bgb.detectors.conv_unet import AveragedHead, Decoder, Encoder, UpConvolution
from tests.detectors.catalogue import CATALOGUE, detector_of, windows


@pytest.mark.parametrize("kernel", [3, 5, 7, 9, 11])
def test_phases_equal_repetition_and_convolution(kernel: int) -> None:
    torch.manual_seed(0)
    layer = UpConvolution(6, 5, kernel)
    features_BDT = torch.randn(2, 6, 11)
    expected = layer(features_BDT)
    assert expected.shape == (2, 5, 22)
    torch.testing.assert_close(layer._phases(features_BDT), expected, atol=1e-5, rtol=1e-5)


def test_decoder_adds_to_each_level_what_the_encoder_had_there() -> None:
    encoder, decoder = Encoder([3, 2, 4], (5, 3)), Decoder([4, 4, 2], (3, 5))
    features_BDT, skips = encoder(torch.randn(2, 3, 12))
    assert features_BDT.shape == (2, 4, 3)
    assert [skip.shape for skip in skips] == [(2, 2, 12), (2, 4, 6)]
    torch.nn.init.zeros_(decoder[-1].weight)
    torch.nn.init.zeros_(decoder[-1].bias)
    assert torch.equal(decoder(features_BDT, skips), skips[0])


def test_head_averages_in_float32_under_autocast() -> None:
    torch.manual_seed(0)
    head, features_BDT = AveragedHead(2, 8), torch.randn(2, 2, 32)
    with torch.autocast("cpu", torch.bfloat16):
        fine_BT = functional.conv1d(features_BDT, head.weight, head.bias, padding=5)[:, 0]
        found_BK = head(features_BDT)
    assert fine_BT.dtype == torch.bfloat16
    torch.testing.assert_close(found_BK, fine_BT.float().unflatten(1, (-1, 8)).mean(-1))


@pytest.mark.parametrize("name", ["mamba_unet", "seizure_transformer", "seizure_transformer_even"])
def test_inference_mode_gives_the_same_logits_in_fewer_operations(name: str) -> None:
    model, window_s = CATALOGUE[name]
    detector, batch = detector_of(model, window_s).eval(), windows(window_s)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        expected_BK = detector(*batch)
    with FlopCounterMode(display=False) as fewer, torch.inference_mode():
        torch.testing.assert_close(detector(*batch), expected_BK, atol=1e-5, rtol=1e-5)
    assert fewer.get_total_flops() < counter.get_total_flops()
