"""Configuration of the detectors: one class each, and of the frontend that all of them share.

Beside its options every class tells, without torch, what the data and the checks must know:
`output_rate_hz`, `context_s`, `shortest_window_s` and `window_multiple_s`.
"""

from bgb.config.model.braindecode import BraindecodeConfig
from bgb.config.model.deepsoz import DeepSozConfig
from bgb.config.model.eegnet import EegNetConfig
from bgb.config.model.eegwavenet import EegWaveNetConfig
from bgb.config.model.eventnet_unet import EventNetUnetConfig
from bgb.config.model.evobrain import EvoBrainConfig
from bgb.config.model.frontend import FrontendConfig
from bgb.config.model.lookaround import LookAroundConfig
from bgb.config.model.mamba_unet import MambaUnetConfig
from bgb.config.model.seizure_transformer import SeizureTransformerConfig
from bgb.config.model.spectral_ssm import SpectralSsmConfig

MODELS = {
    "braindecode": BraindecodeConfig,
    "deepsoz": DeepSozConfig,
    "eegnet": EegNetConfig,
    "eegwavenet": EegWaveNetConfig,
    "eventnet_unet": EventNetUnetConfig,
    "evobrain": EvoBrainConfig,
    "lookaround": LookAroundConfig,
    "mamba_unet": MambaUnetConfig,
    "seizure_transformer": SeizureTransformerConfig,
    "spectral_ssm": SpectralSsmConfig,
}
ModelConfig = (
    BraindecodeConfig
    | DeepSozConfig
    | EegNetConfig
    | EegWaveNetConfig
    | EventNetUnetConfig
    | EvoBrainConfig
    | LookAroundConfig
    | MambaUnetConfig
    | SeizureTransformerConfig
    | SpectralSsmConfig
)

__all__ = [
    "MODELS",
    "BraindecodeConfig",
    "DeepSozConfig",
    "EegNetConfig",
    "EegWaveNetConfig",
    "EventNetUnetConfig",
    "EvoBrainConfig",
    "FrontendConfig",
    "LookAroundConfig",
    "MambaUnetConfig",
    "ModelConfig",
    "SeizureTransformerConfig",
    "SpectralSsmConfig",
]
