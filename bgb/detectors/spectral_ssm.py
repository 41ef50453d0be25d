"""Mamba-2 (Dao and Gu 2024, arXiv 2405.21060) on the log spectra of whole seconds; 1 Hz logits.

Spectra of one second were the input of S4Seizure and HySEIZa, which came third and sixth in the
SzCORE challenge of 2025; the design here is ours. Ten minutes at once cost less than ten seconds of
SeizureTransformer. The causal variant looks back only, carries a state and runs on a live signal.

Spectrum: Hann window, 1 Hz to `top_hz` (no constant), power in units of the squared scale of the
frontend, in bel above its floor. Float32 always.
"""

# Shapes: B batch, C channels, T samples, K seconds, F frequencies, D features, R samples a second

import torch
from torch import Tensor, nn
from torch.nn import functional

from bgb.detectors.fourier import fourier_basis
from bgb.detectors.mamba import MambaStack, State
from bgb.detectors.precision import as_typed

_FLOOR = 1e-6  # power; 0.05 uV where the frontend divides by 50 uV, the noise of an amplifier
_CENTRE = 3.0  # bel above the floor, near those of EEG


class SpectralSsm(nn.Module):
    """Judge each second by its spectrum and those before (and, unless causal, after) it.

    Attributes: the facts of the detector contract, and `is_causal`: `step` may be called.
    `receptive_field_s` is what one layer's convolution spans; its state sees the whole window.
    """

    basis_R2F: Tensor

    def __init__(
        self,
        num_channels: int,
        *,
        rate_hz: int,
        window_s: int,
        top_hz: int = 64,
        band_features: int = 32,
        causal: bool = False,
        num_features: int = 256,
        num_layers: int = 6,
        state_features: int = 64,
        head_features: int = 64,
        dropout: float = 0.1,
        chunk: int = 64,
        kernel: str = "portable",
    ) -> None:
        super().__init__()
        self.rate_hz, self.window_s = rate_hz, window_s
        self.out_rate_hz = 1.0
        self.receptive_field_s = 4.0
        self.context_s = (0, 0)
        self.is_causal = causal
        hann_R = torch.hann_window(rate_hz, dtype=torch.float64)
        basis_R2F = fourier_basis(hann_R, range(1, top_hz + 1))
        self.register_buffer("basis_R2F", basis_R2F, persistent=False)
        self.band = nn.Linear(top_hz, band_features)
        self.montage = nn.Linear(num_channels * band_features, num_features)
        self.mamba = MambaStack(
            num_features,
            num_layers=num_layers,
            dropout=dropout,
            bidirectional=not causal,
            state_features=state_features,
            head_features=head_features,
            chunk=chunk,
            kernel=kernel,
        )
        self.head = nn.Linear(num_features, 1)

    def forward(self, signal_BCT: Tensor) -> Tensor:
        """Return one logit a second, (B, K)."""
        return self._judge(signal_BCT, None)[0]

    def initial_state(self, batch: int) -> State:
        """Return the state before the first second of a live signal."""
        assert self.is_causal, "only a causal network has a state"
        return self.mamba.initial_state(batch)

    def step(self, signal_BCT: Tensor, state: State) -> tuple[Tensor, State]:
        """Go on with whole seconds of a live signal; return their logits and the next state.

        The logits are those of the whole signal, however it is split.
        """
        assert self.is_causal, "only a causal network can go on from a state"
        return self._judge(signal_BCT, state)

    def _judge(self, signal_BCT: Tensor, state: State | None) -> tuple[Tensor, State]:
        bands_BCKD = functional.silu(self.band(self._spectra(signal_BCT)))
        tokens_BKD = self.montage(bands_BCKD.transpose(1, 2).flatten(2))
        mixed_BKD, state = self.mamba(tokens_BKD, state)
        return self.head(mixed_BKD)[..., 0], state

    def _spectra(self, signal_BCT: Tensor) -> Tensor:
        """Return the log power of each second, (B, C, K, F)."""
        with as_typed(signal_BCT):
            seconds_BCKR = torch.unflatten(signal_BCT.float(), -1, (-1, self.rate_hz))
            real_BCKF, imaginary_BCKF = (seconds_BCKR @ self.basis_R2F).square().chunk(2, dim=-1)
            return torch.log10(real_BCKF + imaginary_BCKF + _FLOOR) + _CENTRE
