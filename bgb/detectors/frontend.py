"""The first layers of every detector: int16 tiles in, a normalised montage at its own rate out.

Scale, missing electrodes, montage, decimation and normalisation happen here, on the device: one
cache serves every montage and rate (DESIGN 4 and 5). It holds no parameter and saves no buffer
(lesson 68): the same weights serve electrodes and bipolar sources. It computes in float32 even
under autocast, and clamps nothing (lesson 57).
"""

# Shapes: B batch, S seconds, C cached channels, R samples a second, M montage channels, T samples

import torch
from torch import Tensor, nn

from bgb.detectors.resample import Decimate
from bgb.eeg.montage import montage_channels, montage_matrix, neighbour_weights
from bgb.eeg.signal import SignalSpec
from bgb.errors import ChannelError, ConfigError

_TOUCHES = 0.5  # an electrode with less weight in a derivation only adds to its common reference
_FLOOR_UV = 1.0  # added to the standard deviation, so that a flat channel stays flat
_FLOOR_Z = 0.02  # the same where one standard deviation is 50 microvolts


class Frontend(nn.Module):
    """Turn cached tiles into the signal that a network reads.

    Missing electrodes, by policy:

    - ``interpolate``: the weighted mean of the neighbours that are present, else of all present;
      nothing stands in for a derivation of a bipolar source, it is zero;
    - ``mask``: derivations that touch a missing electrode (with weight 0.5 or more) are zero; in a
      common reference the interpolated value stands in;
    - ``refuse``: `ChannelError`.
    """

    montage: Tensor  # (M, C)
    neighbours: Tensor  # (C, C)

    def __init__(
        self,
        signal: SignalSpec,
        *,
        rate_hz: int,
        montage: str = "double_banana",
        missing: str = "interpolate",
        normalise: str = "fixed",
        scale_uv: float = 50.0,
    ) -> None:
        super().__init__()
        self.signal = signal
        self.rate_hz = rate_hz
        self.channels = montage_channels(montage)
        self.missing = missing
        self.normalise = normalise
        # z-scores, of an imported cache, are scaled already
        self.scale = scale_uv if signal.unit == "uV" else 1.0
        self.floor = _FLOOR_UV if signal.unit == "uV" else _FLOOR_Z
        self.decimate = Decimate(_factor(signal.rate_hz, rate_hz))
        for name, matrix in (
            ("montage", montage_matrix(montage, signal.channels)),
            ("neighbours", neighbour_weights(signal.channels)),
        ):
            self.register_buffer(name, torch.from_numpy(matrix).float(), persistent=False)

    @property
    def num_channels(self) -> int:
        """Channels of the montage, M."""
        return len(self.channels)

    def forward(self, tiles_BSCR: Tensor, present_BC: Tensor) -> Tensor:
        """Return the montage (B, M, S * rate_hz) in float32; int16 tiles need not be contiguous."""
        with torch.autocast(tiles_BSCR.device.type, enabled=False):
            derive_BMC = self._derivations(present_BC) * self.signal.quantum_uv
            electrodes_BCT = tiles_BSCR.to(torch.float32).transpose(1, 2).flatten(2)
            signal_BMT: Tensor = self.decimate(derive_BMC @ electrodes_BCT)
            if self.normalise == "window":
                return _z_score(signal_BMT, _recorded(tiles_BSCR), self.floor)
            return signal_BMT / self.scale

    def _derivations(self, present_BC: Tensor) -> Tensor:
        """Return the montage of each sample with its missing electrodes filled in, (B, M, C)."""
        # A compiled training cannot look; the whole corpus was looked through before it.
        refuse = self.missing == "refuse" and not torch.compiler.is_compiling()
        if refuse and not bool(present_BC.all()):
            absent = (~present_BC).any(0).nonzero().flatten().tolist()
            names = [self.signal.channels[channel] for channel in absent]
            raise ChannelError(
                f"frontend.missing=refuse, but the batch lacks {names}; "
                "set frontend.missing=interpolate or mask"
            )
        present = present_BC.to(torch.float32)
        missing = 1 - present
        derive_BMC = self.montage @ (torch.diag_embed(present) + self._stand_ins(present))
        if self.missing == "mask":
            touches_MC = (self.montage.abs() >= _TOUCHES).to(torch.float32)
            derive_BMC = derive_BMC * (missing @ touches_MC.T == 0)[..., None]
        return derive_BMC

    def _stand_ins(self, present_BC: Tensor) -> Tensor:
        """Return rows of weights for the missing electrodes, zero for the present, (B, C, C)."""
        weights = self.neighbours * present_BC[:, None]
        alone = (weights.sum(-1) == 0) & (self.neighbours.sum(-1) > 0)
        weights = torch.where(alone[..., None], present_BC[:, None], weights)
        total = weights.sum(-1, keepdim=True)
        weights = weights / torch.where(total > 0, total, 1)  # none at all: zero, never NaN
        return weights * (1 - present_BC)[..., None]


def _factor(cached_hz: int, rate_hz: int) -> int:
    if cached_hz % rate_hz:
        valid = [rate for rate in range(32, cached_hz + 1) if cached_hz % rate == 0]
        raise ConfigError(
            f"model.rate_hz={rate_hz} does not divide the rate of the cache ({cached_hz} Hz); "
            f"choose one of {valid}, or another data.preprocess.rate_hz"
        )
    return cached_hz // rate_hz


def _recorded(tiles_BSCR: Tensor) -> Tensor:
    """Tell which seconds hold any signal, (B, S): padding and dead stretches are all zero."""
    return (tiles_BSCR != 0).flatten(2).any(-1)


def _z_score(signal_BMT: Tensor, recorded_BS: Tensor, floor: float) -> Tensor:
    """Normalise each channel by the seconds that were recorded; the others stay near zero."""
    num_samples = signal_BMT.shape[-1] // recorded_BS.shape[-1]
    weight = recorded_BS.repeat_interleave(num_samples, dim=1)[:, None].to(torch.float32)
    count = weight.sum(-1, keepdim=True).clamp_min(1)
    mean = (signal_BMT * weight).sum(-1, keepdim=True) / count
    centred = (signal_BMT - mean) * weight
    deviation = (centred.square().sum(-1, keepdim=True) / count).sqrt()
    return centred / (deviation + floor)
