"""Configuration of augmentation; all of it is off unless an option of group augment turns it on."""

from dataclasses import dataclass

from bgb.config.check import positive, require
from bgb.config.option import option


def _probability(key: str, value: float) -> None:
    require(0 <= value <= 1, f"augment.{key}.probability={value} must be in [0, 1]")


@dataclass(frozen=True)
class ShiftConfig:
    """Start a window between two whole seconds; labels are those of the shifted window."""

    probability: float = option(0.0, "share of windows that are shifted")
    max_s: float = option(1.0, "shifts are uniform below this", unit="s")

    def __post_init__(self) -> None:
        _probability("shift", self.probability)
        require(
            0 < self.max_s <= 1,
            f"augment.shift.max_s={self.max_s} must be above 0 and at most 1: windows start at "
            "every whole second already",
        )


@dataclass(frozen=True)
class MirrorConfig:
    """Swap left and right, midline kept (Deiss 2018, arXiv 1803.09702)."""

    probability: float = option(0.0, "share of windows that are mirrored")

    def __post_init__(self) -> None:
        _probability("mirror", self.probability)


@dataclass(frozen=True)
class AmplitudeConfig:
    """Multiply a window by one gain (Mohsenvand 2020, PMLR 136: amplitude scale)."""

    probability: float = option(0.0, "share of windows that are scaled")
    max_gain: float = option(1.25, "gains are log-uniform between 1 / max_gain and this")

    def __post_init__(self) -> None:
        _probability("amplitude", self.probability)
        require(self.max_gain > 1, f"augment.amplitude.max_gain={self.max_gain} must be above 1")


@dataclass(frozen=True)
class DropoutConfig:
    """Declare electrodes missing; frontend.missing says what stands in for them (Saeed 2021)."""

    probability: float = option(0.0, "share of windows that lose electrodes")
    share: float = option(0.1, "chance of each electrode of such a window to be lost")

    def __post_init__(self) -> None:
        _probability("dropout", self.probability)
        require(0 < self.share < 1, f"augment.dropout.share={self.share} must be in (0, 1)")


@dataclass(frozen=True)
class NoiseConfig:
    """Add white Gaussian noise, independent in each channel (Wang 2018; Mohsenvand 2020)."""

    probability: float = option(0.0, "share of windows with noise")
    max_uv: float = option(5.0, "standard deviations are uniform below this", unit="uV")

    def __post_init__(self) -> None:
        _probability("noise", self.probability)
        positive(augment__noise__max_uv=self.max_uv)


@dataclass(frozen=True)
class SurrogateConfig:
    """Randomise the phases of the Fourier transform (Schwabedal 2019, arXiv 1806.08675).

    All channels turn by the same phases, so their coherence stays. A surrogate is stationary, so
    windows whose label changes are left as they are, and so are those with padding.
    """

    probability: float = option(0.0, "share of windows replaced by a surrogate")
    magnitude: float = option(1.0, "phases turn by up to this share of a full turn")

    def __post_init__(self) -> None:
        _probability("surrogate", self.probability)
        require(
            0 < self.magnitude <= 1,
            f"augment.surrogate.magnitude={self.magnitude} must be in (0, 1]",
        )


@dataclass(frozen=True)
class BandstopConfig:
    """Take out one band of frequencies (Cheng 2020, arXiv 2007.04871; Mohsenvand 2020)."""

    probability: float = option(0.0, "share of windows that lose a band")
    max_width_hz: float = option(4.0, "widths at half height are uniform below this", unit="Hz")
    max_centre_hz: float = option(40.0, "centres are uniform below this", unit="Hz")

    def __post_init__(self) -> None:
        _probability("bandstop", self.probability)
        positive(
            augment__bandstop__max_width_hz=self.max_width_hz,
            augment__bandstop__max_centre_hz=self.max_centre_hz,
        )


@dataclass(frozen=True)
class AugmentConfig:
    """What is done to training windows on the device, before the montage, seeded by sample."""

    shift: ShiftConfig = option(ShiftConfig, "start between two whole seconds")
    mirror: MirrorConfig = option(MirrorConfig, "swap left and right")
    amplitude: AmplitudeConfig = option(AmplitudeConfig, "one gain for all channels")
    dropout: DropoutConfig = option(DropoutConfig, "lose electrodes")
    noise: NoiseConfig = option(NoiseConfig, "add Gaussian noise")
    surrogate: SurrogateConfig = option(SurrogateConfig, "randomise Fourier phases")
    bandstop: BandstopConfig = option(BandstopConfig, "take out a band of frequencies")

    @property
    def is_off(self) -> bool:
        """Tell whether windows stay as they are."""
        return not any(transform.probability for transform in vars(self).values())
