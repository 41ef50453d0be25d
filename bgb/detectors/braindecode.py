"""Any classifier of braindecode (Schirrmeister et al. 2017, doi 10.1002/hbm.23730), as it is.

The package is optional and imported when a network is built. bgb promises nothing about what is
inside: neither that a network compiles or exports, nor that none of its parameters is dead.
"""

# Shapes: B batch, C channels, T samples, K segments

import difflib
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from bgb.detectors.segments import as_segments, check_segments
from bgb.errors import ConfigError


class BraindecodeNetwork(nn.Module):
    """Judge each segment of `segment_s` seconds on its own.

    Attributes: the facts of the detector contract (`rate_hz`, `out_rate_hz`, `window_s`,
    `context_s`, `receptive_field_s`); a segment needs no context.
    """

    is_one_graph = False  # nobody knows what a foreign network holds

    def __init__(
        self,
        num_channels: int,
        *,
        rate_hz: int,
        window_s: int,
        architecture: str,
        segment_s: int = 4,
        options: dict[str, Any] | None = None,  # Any: whatever the architecture takes
    ) -> None:
        super().__init__()
        check_segments(window_s, segment_s, "model.segment_s")
        self.rate_hz, self.window_s = rate_hz, window_s
        self.out_rate_hz = 1 / segment_s
        self.receptive_field_s = float(segment_s)
        self.context_s = (0, 0)
        self.num_samples = segment_s * rate_hz
        facts = {"n_chans": num_channels, "n_times": self.num_samples, "sfreq": rate_hz}
        self.classifier = _build(architecture, {**facts, "n_outputs": 1, **(options or {})})

    def forward(self, signal_BCT: Tensor) -> Tensor:
        """Return one logit a segment, (B, T / segment)."""
        num_segments = signal_BCT.shape[-1] // self.num_samples
        logits: Tensor = self.classifier(as_segments(signal_BCT, self.num_samples))
        return logits.view(-1, num_segments)


def _build(architecture: str, arguments: dict[str, Any]) -> nn.Module:
    """Build the classifier, and try it on a segment."""
    network = find_architecture(architecture)
    segment_1CT = torch.zeros(1, arguments["n_chans"], arguments["n_times"])
    try:
        classifier: nn.Module = network(**arguments).eval()
        with torch.no_grad():
            shape = tuple(classifier(segment_1CT).shape)
    except Exception as error:  # of any kind: each architecture refuses in its own way
        raise ConfigError(
            f"model.architecture={architecture} cannot be built with {arguments}: {error}; "
            "change model.rate_hz, model.segment_s or model.options, or choose another"
        ) from error
    if shape != (1, 1):
        raise ConfigError(
            f"model.architecture={architecture} is no classifier of segments: for one segment it "
            f"gives an output of shape {shape} in place of (1, 1); choose another"
        )
    return classifier.train()


def find_architecture(architecture: str) -> Any:  # Any: braindecode has no types
    """Return a class of `braindecode.models`.

    Raises
    ------
    ConfigError : the package does not import, or has no such classifier.
    """
    models = _models()
    base = models.EEGModuleMixin
    valid = sorted(
        name
        for name, value in vars(models).items()
        if isinstance(value, type) and issubclass(value, base) and value is not base
    )
    if architecture not in valid:
        near = difflib.get_close_matches(architecture, valid, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]}? " if near else ""
        raise ConfigError(
            f"model.architecture={architecture!r} is not in braindecode.models; {hint}"
            f"choose one of {valid}"
        )
    return getattr(models, architecture)


def _models() -> ModuleType:
    """Import braindecode.models, which takes seconds."""
    try:
        from braindecode import models
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"model=braindecode needs a package that is not installed ({error}); "
            "`pip install 'bgb[braindecode]'`, or choose another model"
        ) from error
    except (ImportError, OSError) as error:  # OSError: the libraries of CUDA are missing
        raise ConfigError(
            f"model=braindecode: braindecode is installed, but does not import ({error}). It needs "
            "a torchaudio that fits the installed torch, and that of PyPI wants CUDA: install "
            "both from one index of https://download.pytorch.org/whl, or choose another model"
        ) from error
    return models  # type: ignore[no-any-return]
