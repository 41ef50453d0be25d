"""The U-Net with Mamba-2 layers: stated sizes, and what it sees."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from bgb.config.model import MambaUnetConfig
from bgb.detectors.mamba_unet import MambaUnet
from bgb.errors import ConfigError
from tests.detectors.catalogue import CATALOGUE, detector_of, windows

SIZES = {
    "small": ({"num_features": 128, "num_layers": 4}, 821_713, 3.8),
    "base": ({}, 4_857_953, 17.7),
    "large": ({"num_features": 512, "num_levels": 5}, 17_391_329, 29.4),
}


@pytest.mark.parametrize(("options", "num_parameters", "giga"), SIZES.values(), ids=SIZES.keys())
def test_unet_has_the_stated_size_and_cost(
    options: dict[str, int], num_parameters: int, giga: float
) -> None:
    with torch.device("meta"):
        network = MambaUnet(18, rate_hz=256, window_s=60, chunk=64, **options)  # type: ignore[arg-type]
        with FlopCounterMode(display=False) as counter:
            network(torch.empty(1, 18, 60 * 256))
    assert sum(each.numel() for each in network.parameters()) == num_parameters
    assert round(counter.get_total_flops() / 1e9, 1) == giga


def test_lower_output_rate_is_the_mean_of_the_logits_of_the_samples() -> None:
    model, window_s = CATALOGUE["mamba_unet"]
    batch = windows(window_s)
    coarse = detector_of(model, window_s).eval()(*batch)
    options = {"rate_hz": 64, "num_levels": 2, "num_features": 16, "num_layers": 2}
    fine = detector_of(
        MambaUnetConfig(out_rate_hz=64, state_features=8, head_features=8, **options), window_s
    ).eval()(*batch)
    assert fine.shape == (3, 64 * window_s)
    torch.testing.assert_close(fine.unflatten(1, (-1, 16)).mean(-1), coarse)


def test_every_logit_depends_on_the_whole_window() -> None:
    detector = detector_of(*CATALOGUE["mamba_unet"]).eval()
    tiles_BSCR, present_BC = windows(7, batch=1)
    before = detector(tiles_BSCR, present_BC)
    tiles_BSCR[:, 3] = 0
    assert (detector(tiles_BSCR, present_BC) != before).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rate_hz": 100}, r"model.rate_hz=100 must be a multiple of 16"),
        (
            {"num_features": 100, "head_features": 50},
            r"model.num_features=100 must be a multiple of 8",
        ),
        ({"num_levels": 6}, r"model.num_levels=6 must be in 1 to 5"),
        ({"out_rate_hz": 3}, r"model.out_rate_hz=3 must divide model.rate_hz=256"),
        ({"head_features": 48}, r"model.head_features=48 must divide twice .* \(512\)"),
        ({"kernel": "fast"}, r"model.kernel='fast' is not valid; .*mamba_ssm"),
        ({"dropout": 1.0}, r"model.dropout=1.0 must be in \[0, 1\)"),
        ({"chunk": 0}, r"model.chunk=0 must be above 0"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        MambaUnetConfig(**options)  # type: ignore[arg-type]
