"""Run: what came out of a run folder: configuration, detector with its best weights, scores."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from bgb.config.compose import load_config
from bgb.config.model import ModelConfig
from bgb.config.model.state_space import StateSpaceConfig
from bgb.config.schema import TrainConfig
from bgb.detectors import Detector, build_detector
from bgb.eeg.signal import SignalSpec
from bgb.errors import RunError
from bgb.files import read_json
from bgb.training.checkpoint import load_checkpoint
from bgb.training.run_folder import RunFolder

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Run:
    """A run folder, read.

    Attributes
    ----------
    folder : its paths.
    config : what was trained.
    scores : contents of scores.json; None before `python -m bgb.evaluate`.
    provenance : contents of provenance.json.
    """

    folder: RunFolder
    config: TrainConfig
    scores: dict[str, Any] | None  # Any: JSON
    provenance: dict[str, Any]  # Any: JSON

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def threshold(self) -> float | None:
        """Probability of a seizure that was frozen on dev; None before the run is scored."""
        scores = self.scores
        return None if scores is None else float(scores["detector"]["threshold"]["threshold"])

    def detector(self, signal: SignalSpec | None = None, *, accelerator: str = "cpu") -> Detector:
        """Return the detector with its best weights, in evaluation mode.

        Parameters
        ----------
        signal : what it is to read; None = what it was trained on. The same weights serve
            electrodes and, with the double banana, bipolar sources.
        accelerator : "cpu", "gpu", or "auto" for a GPU where there is one.

        Raises
        ------
        RunError : it was trained on z-scores and is to read microvolts, or the reverse.
        """
        trained = SignalSpec(**_as_spec(self.provenance["signal"]))
        spec = signal or trained
        if spec.unit != trained.unit:
            raise RunError(
                f"run {self.name} was trained on {trained.unit} (data.origin="
                f"{self.config.data.origin}), the recording is in {spec.unit}: amplitudes do not "
                "compare; train on a cache that was built from EDF files"
            )
        if accelerator == "gpu" and not torch.cuda.is_available():
            raise RunError("accelerator=gpu, but there is no CUDA device here; set accelerator=cpu")
        on_gpu = accelerator != "cpu" and torch.cuda.is_available()
        config = self.config
        model = config.model if on_gpu else _portable(config.model)
        detector = build_detector(model, config.frontend, spec, window_s=config.data.window_s)
        detector.load_state_dict(_best_weights(self.folder))
        return detector.to("cuda" if on_gpu else "cpu").eval()


def load_run(folder: str | Path) -> Run:
    """Read a run folder.

    Raises
    ------
    RunError : there is no run, or it has not reached its first checkpoint.
    """
    run = RunFolder(Path(folder))
    for path in (run.config, run.provenance, run.best):
        if not path.exists():
            raise RunError(
                f"{run.path} is no trained run: {path.relative_to(run.path)} is missing; "
                "make one with `python -m bgb.train`, or let it reach the end of an epoch"
            )
    scores = read_json(run.scores) if run.scores.exists() else None
    return Run(run, load_config(run.config), scores, read_json(run.provenance))


def _portable(model: ModelConfig) -> ModelConfig:
    """Return a model that runs without CUDA: the same function of the same weights."""
    if isinstance(model, StateSpaceConfig) and model.kernel != "portable":
        _log.info("model.kernel=%s needs CUDA: the portable one runs here", model.kernel)
        return replace(model, kernel="portable")
    return model


def _best_weights(folder: RunFolder) -> dict[str, torch.Tensor]:
    """Return the weights of the detector (averaged ones where the run averages)."""
    checkpoint = load_checkpoint(folder.best)
    prefix = "detector."
    return {
        name.removeprefix(prefix): value
        for name, value in checkpoint["state_dict"].items()
        if name.startswith(prefix)
    }


def _as_spec(values: dict[str, Any]) -> dict[str, Any]:  # Any: fields of SignalSpec
    return {**values, "channels": tuple(values["channels"])}
