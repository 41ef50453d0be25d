"""Random numbers by counter: a pure function of (seed, purpose, sample, number), no state.

SplitMix64 (Steele 2014, doi 10.1145/2660193.2660195) on int64 tensors: whole batches at once, the
same bits on every device, whatever batch a sample comes in.
"""

# Shapes: N samples, V values a sample

import math

import torch
from torch import Tensor

_WORD = 1 << 64
_GOLDEN, _FIRST, _SECOND = (
    number - _WORD for number in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
)


def sample_keys(seed: int, purpose: int, sample_N: Tensor) -> Tensor:
    """Return a key for each sample, (N,) int64; other purposes have other, unrelated keys."""
    purpose_key = _mix(_mix(torch.tensor([seed], device=sample_N.device)) + purpose)
    return _mix(purpose_key + sample_N)


def other_keys(key_N: Tensor) -> Tensor:
    """Return keys whose numbers have nothing to do with those of the given keys."""
    return _mix(key_N.clone())


def bits(key_N: Tensor, num_values: int) -> Tensor:
    """Return 64 random bits a value, (N, V) int64."""
    counter_V = torch.arange(1, num_values + 1, device=key_N.device) * _GOLDEN
    return _mix(key_N[:, None] + counter_V)


def uniform(key_N: Tensor, num_values: int) -> Tensor:
    """Return numbers in [0, 1) in steps of 2^-24, exact in float32, (N, V)."""
    return _shifted(bits(key_N, num_values), 40).to(torch.float32) * 2**-24


def normal(key_N: Tensor, num_values: int) -> Tensor:
    """Return standard normal numbers, (N, V) float32, up to 4.8; equal to rounding on all devices.

    Box and Muller 1958, with a radius and an angle of 16 bits: 64 bits make four of them.
    """
    words = bits(key_N, -(-num_values // 4))
    halves = [_shifted(words, shift) & 0xFFFF for shift in (0, 16, 32, 48)]
    first, second, third, fourth = (
        half.to(torch.float32).add_(0.5).mul_(2**-16) for half in halves
    )
    parts = []
    for radius, turn in ((first, second), (third, fourth)):
        radius = radius.log_().mul_(-2).sqrt_()
        angle = turn.mul_(2 * math.pi)
        parts += [angle.cos().mul_(radius), angle.sin_().mul_(radius)]
    return torch.cat(parts, dim=1)[:, :num_values]


def _mix(value: Tensor) -> Tensor:
    """Finish as SplitMix64 does, in place: a bijection that scatters every bit."""
    value.bitwise_xor_(_shifted(value, 30)).mul_(_FIRST)
    value.bitwise_xor_(_shifted(value, 27)).mul_(_SECOND)
    return value.bitwise_xor_(_shifted(value, 31))


def _shifted(value: Tensor, count: int) -> Tensor:
    """Shift right and fill with zeros: int64 has a sign, which torch would fill with."""
    return (value >> count).bitwise_and_((1 << (64 - count)) - 1) if count else value
