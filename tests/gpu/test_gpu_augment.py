"""On a GPU: the same windows are changed, in the same way, as on the CPU."""

from dataclasses import fields, replace

import pytest
import torch

from bgb.config.augment import AugmentConfig, ShiftConfig
from bgb.config.data import SamplingConfig
from bgb.data.cache import open_cache
from bgb.data.key import cache_folder
from bgb.data.loader import WindowLoader
from bgb.detectors.augment import Augmentation
from bgb.detectors.counter import bits, sample_keys, uniform

CUDA = torch.device("cuda", 0)
STEPS = [field.name for field in fields(AugmentConfig)]


@pytest.fixture
def batches(gpu_config):
    """Return the first shifted batch with ramps, of the CPU and of the split on the GPU."""
    recordings = open_cache(cache_folder(gpu_config)).split("train")

    def first(**where):
        loader = WindowLoader(
            recordings,
            SamplingConfig(windows_per_epoch=64),
            window_s=8,
            batch_size=64,
            label_rate_hz=4.0,
            seed=0,
            shift=ShiftConfig(probability=1.0),
            boundary_s=2.0,
            **where,
        )
        return next(iter(loader))

    return recordings[0].spec, first(), first(residency="device", device=CUDA)


def test_random_numbers_have_the_same_bits():
    keys, there = (sample_keys(3, 1, torch.arange(99, device=device)) for device in ("cpu", CUDA))
    assert torch.equal(bits(keys, 1001), bits(there, 1001).cpu())
    assert torch.equal(uniform(keys, 1001), uniform(there, 1001).cpu())


def test_shifted_batches_with_ramps_are_those_of_the_files(batches):
    _, expected, there = batches
    assert all(torch.equal(one, other.cpu()) for one, other in zip(expected, there, strict=True))


@pytest.mark.parametrize("step", STEPS)
def test_windows_are_changed_as_on_the_cpu(batches, step):
    spec, expected, there = batches
    config = AugmentConfig(shift=ShiftConfig(probability=1.0))
    config = replace(config, **{step: replace(getattr(config, step), probability=0.5)})
    augmentation = Augmentation(config, spec, seed=0)
    ours, theirs = (
        augmentation.to(batch.tiles_BSCR.device)(
            batch.tiles_BSCR,
            batch.present_BC,
            labels_BK=batch.labels_BK,
            sample_B=batch.sample_B,
            shift_B=batch.shift_B,
        )
        for batch in (expected, there)
    )
    torch.testing.assert_close(theirs[0].cpu(), ours[0], rtol=1e-4, atol=1e-2)
    assert torch.equal(theirs[1].cpu(), ours[1])
