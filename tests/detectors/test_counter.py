"""Random numbers by counter: the published ones, the same in every batch, of the right law."""

# Shapes: N samples, V values a sample

import numpy as np
import torch
from scipy import stats

from bgb.detectors.counter import bits, normal, other_keys, sample_keys, uniform

KEYS_N = sample_keys(7, 1, torch.arange(200))


def test_bits_are_those_of_splitmix64() -> None:
    # The first outputs of SplitMix64 for seed 1234567, as its test vectors have them.
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    actual = bits(torch.tensor([1234567]), 3)[0].tolist()
    assert [value % (1 << 64) for value in actual] == expected


def test_numbers_of_a_sample_do_not_depend_on_its_batch() -> None:
    for draw in (uniform, normal):
        whole_NV = draw(KEYS_N, 13)
        parts_NV = [draw(sample_keys(7, 1, torch.tensor([number])), 13) for number in (0, 3, 199)]
        assert torch.equal(torch.cat(parts_NV), whole_NV[[0, 3, 199]])


def test_seeds_purposes_samples_and_other_keys_give_other_numbers() -> None:
    keys = [
        *sample_keys(7, 1, torch.arange(3)).tolist(),
        *sample_keys(7, 2, torch.arange(3)).tolist(),
        *sample_keys(8, 1, torch.arange(3)).tolist(),
        *other_keys(sample_keys(7, 1, torch.arange(3))).tolist(),
    ]
    assert len({uniform(torch.tensor([key]), 1).item() for key in keys}) == len(keys)


def test_uniform_numbers_are_uniform_within_and_across_samples() -> None:
    numbers_NV = uniform(KEYS_N, 200).numpy()
    assert numbers_NV.min() >= 0 and numbers_NV.max() < 1
    for numbers in (numbers_NV.ravel(), numbers_NV[:, 0], numbers_NV[0]):
        assert stats.kstest(numbers, "uniform").pvalue > 1e-3
    correlation_NN = np.corrcoef(numbers_NV)
    np.fill_diagonal(correlation_NN, 0)
    assert np.abs(correlation_NN).max() < 0.4


def test_normal_numbers_are_normal_and_independent_of_their_neighbours() -> None:
    numbers_NV = normal(KEYS_N, 401)
    assert numbers_NV.shape == (200, 401)
    numbers = numbers_NV.numpy().ravel()
    assert stats.kstest(numbers, "norm").pvalue > 1e-3
    assert np.abs(numbers).max() < 4.9
    for lag in (1, 2, 100, 101, 200):
        assert abs(np.corrcoef(numbers[:-lag], numbers[lag:])[0, 1]) < 0.02


def test_keys_are_left_as_they_are() -> None:
    before_N = KEYS_N.clone()
    normal(KEYS_N, 5)
    other_keys(KEYS_N)
    assert torch.equal(KEYS_N, before_N)
