"""Configuration of the frontend that all detectors share."""

from dataclasses import dataclass

from bgb.config.check import one_of, positive
from bgb.config.option import option


@dataclass(frozen=True)
class FrontendConfig:
    """First layers of every detector: scale, missing electrodes, montage, rate, normalise."""

    montage: str = option("double_banana", "double_banana (18 channels) or average (19)")
    missing: str = option("interpolate", "missing electrodes: interpolate, mask or refuse")
    normalise: str = option("fixed", "fixed (divide by scale_uv) or window (z-score per channel)")
    scale_uv: float = option(50.0, "amplitude that becomes 1 (normalise=fixed)", unit="uV")

    def __post_init__(self) -> None:
        one_of("frontend.montage", self.montage, ("double_banana", "average"))
        one_of("frontend.missing", self.missing, ("interpolate", "mask", "refuse"))
        one_of("frontend.normalise", self.normalise, ("fixed", "window"))
        positive(frontend__scale_uv=self.scale_uv)
