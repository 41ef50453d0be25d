"""The Fourier transform of seconds as one matrix, for a product is exported to any runtime."""

# Shapes: T samples of a second, F frequencies

import torch
from torch import Tensor


def fourier_basis(window_T: Tensor, frequencies_hz: range) -> Tensor:
    """Return cosines, then sines, under a window (T, 2 F): a sine of amplitude 1 has length 1.

    The window is float64; what is returned is float32.
    """
    time_T = torch.arange(len(window_T), dtype=torch.float64) / len(window_T)
    frequency_F = torch.arange(frequencies_hz.start, frequencies_hz.stop, dtype=torch.float64)
    phase_TF = 2 * torch.pi * time_T[:, None] * frequency_F
    basis_T2F = torch.cat((phase_TF.cos(), phase_TF.sin()), dim=-1) * window_T[:, None]
    return (basis_T2F * 2 / window_T.sum()).float()
