"""Detector: the frontend and a network behind one contract (DESIGN 6); `build_detector` makes it.

A new architecture is one file with a network class, one option class in bgb.config.model and one
`case` here. Everything downstream reads the facts and has no branch per architecture.
"""

# Shapes: B batch, S seconds, C cached channels, R samples a second, K output steps

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from torch import Tensor, nn

from bgb.config.model import (
    BraindecodeConfig,
    DeepSozConfig,
    EegNetConfig,
    EegWaveNetConfig,
    EventNetUnetConfig,
    EvoBrainConfig,
    FrontendConfig,
    LookAroundConfig,
    MambaUnetConfig,
    ModelConfig,
    SeizureTransformerConfig,
    SpectralSsmConfig,
)
from bgb.config.model.state_space import StateSpaceConfig
from bgb.detectors.braindecode import BraindecodeNetwork, find_architecture
from bgb.detectors.deepsoz import DeepSoz
from bgb.detectors.eegnet import EegNet
from bgb.detectors.eegwavenet import EegWaveNet
from bgb.detectors.eventnet_unet import EventNetUnet
from bgb.detectors.evobrain import EvoBrain
from bgb.detectors.frontend import Frontend
from bgb.detectors.lookaround import LookAround
from bgb.detectors.mamba_unet import MambaUnet
from bgb.detectors.seizure_transformer import SeizureTransformer
from bgb.detectors.spectral_ssm import SpectralSsm
from bgb.detectors.ssd import scan_of
from bgb.eeg.signal import SignalSpec
from bgb.errors import ConfigError

Network = (
    BraindecodeNetwork
    | DeepSoz
    | EegNet
    | EegWaveNet
    | EventNetUnet
    | EvoBrain
    | LookAround
    | MambaUnet
    | SeizureTransformer
    | SpectralSsm
)
_NOT_ARGUMENTS = ("name", "variant", "window_s")  # of a network: the window is that of the data
State = Any  # Any: what a causal network makes of it; it is only handed back


class Detector(nn.Module):
    """From cached tiles to logits; the sigmoid and all that follows live outside.

    Attributes
    ----------
    rate_hz : samples a second that the network reads.
    out_rate_hz : logits a second (below 1 where a logit judges several seconds).
    window_s : seconds of a window.
    context_s : seconds at the left and right of a window that are seen and not judged.
    receptive_field_s : the shortest window that makes sense.
    is_causal : no logit looks ahead; `step` runs it without windows.
    is_one_graph : torch.compile takes it whole.

    Raises
    ------
    ConfigError : the network is causal, but its frontend looks further than the sample at hand.
    """

    def __init__(self, frontend: Frontend, network: Network) -> None:
        super().__init__()
        self.frontend = frontend
        self.network = network
        self.rate_hz: int = network.rate_hz
        self.out_rate_hz: float = network.out_rate_hz
        self.window_s: int = network.window_s
        self.context_s: tuple[int, int] = network.context_s
        self.receptive_field_s: float = network.receptive_field_s
        self.is_causal: bool = getattr(network, "is_causal", False)
        self.is_one_graph: bool = getattr(network, "is_one_graph", True)
        if self.is_causal:
            _check_pointwise(frontend)

    def forward(self, tiles_BSCR: Tensor, present_BC: Tensor) -> Tensor:
        """Return float32 logits of the judged part, (B, K), for int16 tiles and electrodes present.

        K = (S - sum(context_s)) * out_rate_hz.
        """
        logits_BK: Tensor = self.network(self.frontend(tiles_BSCR, present_BC))
        return logits_BK.float()

    def step(
        self, tiles_BSCR: Tensor, present_BC: Tensor, state: State | None
    ) -> tuple[Tensor, State]:
        """Return the logits (B, K) of the seconds after those of `state`, and the next state.

        For causal detectors; the first seconds of recordings come with the state None.
        """
        device = self.frontend.montage.device
        network: Any = self.network  # Any: only some networks are causal
        state = network.initial_state(len(tiles_BSCR)) if state is None else state
        logits_BK, state = network.step(
            self.frontend(tiles_BSCR.to(device), present_BC.to(device)), state
        )
        return logits_BK.float(), state


def build_detector(
    model: ModelConfig, frontend: FrontendConfig, signal: SignalSpec, *, window_s: int
) -> Detector:
    """Build the detector that the configuration names, for signals of this kind."""
    layers = Frontend(signal, rate_hz=model.rate_hz, **asdict(frontend))
    return Detector(layers, _network(model, layers.num_channels, window_s))


def check_importable(model: ModelConfig) -> None:
    """Refuse a model whose optional package does not import, before there is a signal for it.

    Raises
    ------
    ConfigError : names the package and how it is installed.
    """
    match model:
        case BraindecodeConfig():
            find_architecture(model.architecture)
        case StateSpaceConfig():
            scan_of(model.kernel)


def _network(model: ModelConfig, num_channels: int, window_s: int) -> Network:
    options = {name: value for name, value in asdict(model).items() if name not in _NOT_ARGUMENTS}
    network = _kind(model)(num_channels, window_s=window_s, **options)
    if window_s < network.receptive_field_s:
        raise ConfigError(
            f"data.window_s={window_s} is shorter than the detector's receptive field "
            f"({network.receptive_field_s:g} s at {network.rate_hz} Hz); raise data.window_s"
        )
    return network


def _kind(model: ModelConfig) -> Callable[..., Network]:
    match model:
        case BraindecodeConfig():
            return BraindecodeNetwork
        case DeepSozConfig():
            return DeepSoz
        case EegNetConfig():
            return EegNet
        case EegWaveNetConfig():
            return EegWaveNet
        case EventNetUnetConfig():
            return EventNetUnet
        case EvoBrainConfig():
            return EvoBrain
        case LookAroundConfig():
            return LookAround
        case MambaUnetConfig():
            return MambaUnet
        case SeizureTransformerConfig():
            return SeizureTransformer
        case SpectralSsmConfig():
            return SpectralSsm
        case _:
            raise ConfigError(f"no detector is built from {type(model).__name__}")


def _check_pointwise(frontend: Frontend) -> None:
    """Refuse a frontend of which a sample depends on later ones."""
    if frontend.normalise != "fixed":
        raise ConfigError(
            f"frontend.normalise={frontend.normalise} looks at a whole window, which a causal "
            "detector does not have; set frontend.normalise=fixed"
        )
    if frontend.decimate.factor != 1:
        raise ConfigError(
            f"model.rate_hz={frontend.rate_hz} is below the rate of the cache "
            f"({frontend.signal.rate_hz} Hz), and lowering it looks ahead, which a causal detector "
            f"must not; set data.preprocess.rate_hz={frontend.rate_hz} or "
            f"model.rate_hz={frontend.signal.rate_hz}"
        )
