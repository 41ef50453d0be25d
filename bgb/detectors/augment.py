"""Augmentation: training windows are changed on the device, as electrodes, before the montage.

Tiles come in and tiles go out, so detector and frontend are those of every day. What is random
depends on the seed and on the number of the sample in the run alone: a window is changed in the
same way in whatever batch, on whatever device, and after a resume. Padding stays zero.
"""

# Shapes: B batch, N windows of the batch that a step changes, S seconds, C cached channels,
# R samples a second, T samples, F frequencies, K output steps

import math
from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple

import torch
from torch import Tensor, nn

from bgb.config.augment import AugmentConfig
from bgb.detectors.counter import normal, other_keys, sample_keys, uniform
from bgb.eeg.montage import mirror_order
from bgb.eeg.signal import SignalSpec

_UV_PER_Z = 50.0  # what a z-score of 1 is taken for, as in the frontend


class _Purpose(IntEnum):
    """What numbers are drawn for; a number once given stays, or runs could not be repeated."""

    MIRROR = 1
    AMPLITUDE = 2
    DROPOUT = 3
    NOISE = 4
    SURROGATE = 5
    BANDSTOP = 6


class _Windows(NamedTuple):
    """What the steps change in place: signal and channels present; and what they go by."""

    signal_BCT: Tensor
    present_BC: Tensor
    recorded_BT: Tensor  # False in seconds without any signal
    is_steady_B: Tensor  # one label throughout, no padding


# Changes the windows of the rows given; their keys give all numbers it needs.
_Step = Callable[[_Windows, Tensor, Tensor], None]


class Augmentation(nn.Module):
    """Change the windows of a training batch; validation and use never come here."""

    opposite: Tensor  # (C,)

    def __init__(self, config: AugmentConfig, signal: SignalSpec, *, seed: int) -> None:
        super().__init__()
        self.config, self.seed = config, seed
        self.rate_hz = signal.rate_hz
        self.quantum_uv = signal.quantum_uv * (1 if signal.unit == "uV" else _UV_PER_Z)
        opposite = torch.tensor(mirror_order(signal.channels))
        self.register_buffer("opposite", opposite, persistent=False)
        steps: tuple[tuple[_Purpose, float, _Step], ...] = (  # in this order
            (_Purpose.MIRROR, config.mirror.probability, self._mirror),
            (_Purpose.BANDSTOP, config.bandstop.probability, self._bandstop),
            (_Purpose.SURROGATE, config.surrogate.probability, self._surrogate),
            (_Purpose.AMPLITUDE, config.amplitude.probability, self._amplitude),
            (_Purpose.NOISE, config.noise.probability, self._noise),
            (_Purpose.DROPOUT, config.dropout.probability, self._dropout),
        )
        self._steps = tuple(step for step in steps if step[1])

    @torch.no_grad()
    def forward(
        self,
        tiles_BSCR: Tensor,
        present_BC: Tensor,
        *,
        labels_BK: Tensor,
        sample_B: Tensor,
        shift_B: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Return changed tiles, float32, and the channels present; the batch itself stays.

        Parameters
        ----------
        tiles_BSCR : with one second more than the window where the configuration shifts.
        labels_BK : a window whose label changes gets no surrogate.
        sample_B : number of the window in the run.
        shift_B : samples by which the window begins after its first second; labels know of it.
        """
        signal_BCT = self._cut(tiles_BSCR.transpose(1, 2).flatten(2), shift_B)
        signal_BCT = signal_BCT.to(torch.float32, copy=True)
        recorded_BT = self._recorded(tiles_BSCR, shift_B)
        is_steady_B = (labels_BK == labels_BK[:, :1]).all(1) & recorded_BT.all(1)
        windows = _Windows(signal_BCT, present_BC.clone(), recorded_BT, is_steady_B)
        for purpose, probability, change in self._steps:
            key_B = sample_keys(self.seed, purpose, sample_B)
            is_chosen_B = uniform(key_B, 1)[:, 0] < probability
            if purpose is _Purpose.SURROGATE:
                is_chosen_B &= windows.is_steady_B
            rows_N = is_chosen_B.nonzero()[:, 0]
            if len(rows_N):
                change(windows, rows_N, other_keys(key_B[rows_N]))
        return self._seconds(signal_BCT).transpose(1, 2), windows.present_BC

    def _cut(self, values_BCT: Tensor, shift_B: Tensor) -> Tensor:
        """Return the samples from where the windows begin, (B, C, T)."""
        if not self.config.shift.probability:
            return values_BCT
        from_each_sample = values_BCT.unfold(2, values_BCT.shape[2] - self.rate_hz, 1)
        row_B = torch.arange(len(shift_B), device=shift_B.device)
        return from_each_sample[row_B, :, shift_B]

    def _recorded(self, tiles_BSCR: Tensor, shift_B: Tensor) -> Tensor:
        """Tell which samples lie in seconds that hold any signal, (B, T)."""
        recorded_BS = (tiles_BSCR != 0).flatten(2).any(2)
        recorded_BT = torch.repeat_interleave(recorded_BS, self.rate_hz, dim=1)
        return self._cut(recorded_BT[:, None], shift_B)[:, 0]

    def _seconds(self, signal_BCT: Tensor) -> Tensor:
        """Return a view (B, C, S, R)."""
        # Not -1, which an empty share of a batch leaves open.
        num_seconds = signal_BCT.shape[2] // self.rate_hz
        return signal_BCT.view(*signal_BCT.shape[:2], num_seconds, self.rate_hz)

    def _mirror(self, windows: _Windows, rows_N: Tensor, _: Tensor) -> None:
        for channels in (windows.signal_BCT, windows.present_BC):
            channels[rows_N] = channels[rows_N[:, None], self.opposite]

    def _bandstop(self, windows: _Windows, rows_N: Tensor, key_N: Tensor) -> None:
        """Multiply the spectrum by 1 - a Gaussian, which rings no longer than it must."""
        config, num_samples = self.config.bandstop, windows.signal_BCT.shape[2]
        width_N1, centre_N1 = torch.split(uniform(key_N, 2), 1, dim=1)
        frequency_F = torch.fft.rfftfreq(num_samples, 1 / self.rate_hz, device=key_N.device)
        distance_NF = (frequency_F - config.max_centre_hz * centre_N1).abs()
        width_N1 = (config.max_width_hz * width_N1).clamp_min(1e-3)  # 0 would divide
        gain_NF = 1 - torch.exp(-4 * math.log(2) * (distance_NF / width_N1).square())
        spectrum_NCF = torch.fft.rfft(windows.signal_BCT[rows_N]) * gain_NF[:, None]
        signal_NCT = torch.fft.irfft(spectrum_NCF, num_samples)
        windows.signal_BCT[rows_N] = signal_NCT * windows.recorded_BT[rows_N, None]

    def _surrogate(self, windows: _Windows, rows_N: Tensor, key_N: Tensor) -> None:
        num_samples = windows.signal_BCT.shape[2]
        spectrum_NCF = torch.fft.rfft(windows.signal_BCT[rows_N])
        turn_NF = self.config.surrogate.magnitude * uniform(key_N, spectrum_NCF.shape[2])
        turn_NF[:, 0] = 0  # the mean is real, and so is the highest frequency of an even length
        turn_NF[:, (num_samples + 1) // 2 :] = 0
        phase_NF = 2 * math.pi * turn_NF
        spectrum_NCF *= torch.complex(phase_NF.cos(), phase_NF.sin())[:, None]
        windows.signal_BCT[rows_N] = torch.fft.irfft(spectrum_NCF, num_samples)

    def _amplitude(self, windows: _Windows, rows_N: Tensor, key_N: Tensor) -> None:
        exponent_N1 = math.log(self.config.amplitude.max_gain) * (2 * uniform(key_N, 1) - 1)
        windows.signal_BCT[rows_N] *= exponent_N1.exp()[:, None]

    def _noise(self, windows: _Windows, rows_N: Tensor, key_N: Tensor) -> None:
        shape = windows.signal_BCT.shape[1:]
        deviation_N1 = self.config.noise.max_uv / self.quantum_uv * uniform(key_N, 1)
        noise_NX = normal(other_keys(key_N), shape.numel()).mul_(deviation_N1)
        noise_NCT = noise_NX.view(-1, *shape).mul_(windows.recorded_BT[rows_N, None])
        windows.signal_BCT[rows_N] += noise_NCT

    def _dropout(self, windows: _Windows, rows_N: Tensor, key_N: Tensor) -> None:
        is_kept_NC = uniform(key_N, windows.present_BC.shape[1]) >= self.config.dropout.share
        windows.present_BC[rows_N] &= is_kept_NC


def build_augmentation(
    config: AugmentConfig, signal: SignalSpec, *, seed: int
) -> Augmentation | None:
    """Build what the configuration names; None where windows stay as they are."""
    return None if config.is_off else Augmentation(config, signal, seed=seed)
