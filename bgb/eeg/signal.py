"""SignalSpec: the frozen fact sheet of a cached signal, where data and detectors meet."""

from dataclasses import dataclass
from typing import Literal

from bgb.eeg.montage import ELECTRODES

QUANTUM_UV = 0.1  # microvolts per int16 step: saturates at +-3276.7 microvolts (DESIGN 4)

ChannelSet = Literal["electrodes", "double_banana"]


@dataclass(frozen=True)
class SignalSpec:
    """What one cached sample is: which channels, how often, in which unit.

    Attributes
    ----------
    channel_set : "electrodes" (19 of the 10-20 system) or, where the source is already bipolar,
        "double_banana" (18 derivations).
    channels : names in cached order, length C.
    rate_hz : samples a second, whole.
    quantum_uv : microvolts per int16 step.
    unit : "uV"; "z" where an imported cache has z-scores only, `quantum_uv` is then in those.
    """

    channel_set: ChannelSet
    channels: tuple[str, ...]
    rate_hz: int
    quantum_uv: float = QUANTUM_UV
    unit: str = "uV"

    @property
    def num_channels(self) -> int:
        return len(self.channels)


# Imported from the predecessor: z-scores at 256 Hz. Artefacts reach 121 (tusz.md), this holds 128.
ZSCORE_SPEC = SignalSpec("electrodes", ELECTRODES, rate_hz=256, quantum_uv=2**-8, unit="z")
