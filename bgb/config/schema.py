"""The primary configuration of each command, and which class types which group option.

YAML files hold values, these classes hold names, types, units and checks (DESIGN 3). `model` and
`data.corpus` are the two places where a group option chooses the class.
"""

from dataclasses import dataclass
from typing import Any

from bgb.config.augment import AugmentConfig
from bgb.config.check import not_negative, one_of, positive, require
from bgb.config.data import CORPORA, DataConfig
from bgb.config.evaluation import EvaluationConfig, PostprocessConfig
from bgb.config.infra import InfraConfig
from bgb.config.loss import LossConfig, check_imbalance
from bgb.config.model import MODELS, FrontendConfig, SpectralSsmConfig
from bgb.config.option import option, required
from bgb.config.runs import RunsConfig
from bgb.config.training import ACCELERATORS, LoggerConfig, OptimizerConfig, TrainerConfig


@dataclass(frozen=True)
class TrainConfig:
    """`python -m bgb.train`: train a detector, then score it on patients it never saw."""

    data: DataConfig = option(DataConfig, "corpus, cache and sampling")
    model: Any = required("which detector: an option of group model")  # Any: one of MODELS
    frontend: FrontendConfig = option(FrontendConfig, "first layers of every detector")
    augment: AugmentConfig = option(AugmentConfig, "what is done to training windows")
    loss: LossConfig = option(LossConfig, "what is minimised")
    optimizer: OptimizerConfig = option(OptimizerConfig, "the optimiser and its schedule")
    trainer: TrainerConfig = option(TrainerConfig, "how long, on what, how often to look")
    logger: LoggerConfig = option(LoggerConfig, "where metrics go")
    postprocess: PostprocessConfig = option(PostprocessConfig, "from probabilities to events")
    evaluation: EvaluationConfig = option(EvaluationConfig, "how recordings are scored")
    seed: int = option(0, "seed of weights and of the order of windows")
    results: str = option("runs", "folder that holds run folders and caches")
    title: str | None = option(None, "first part of the run's name; null = corpus-model")
    run: str | None = option(None, "name of the run; null = <title>-<hash of the configuration>")
    disable_progress: bool = option(False, "plain lines instead of progress bars")
    force_manifest_rebuild: bool = option(False, "make manifest.json anew before use")
    infra: Any = option(None, "rented machines: +infra=modal_a100; null = here")  # InfraConfig

    def __post_init__(self) -> None:
        not_negative(seed=self.seed)
        check_imbalance(self.loss, self.data.sampling)
        require(
            self.frontend.missing != "refuse" or not self.augment.dropout.probability,
            f"augment.dropout.probability={self.augment.dropout.probability} takes electrodes "
            "away, which frontend.missing=refuse refuses; set augment.dropout.probability=0, or "
            "frontend.missing=interpolate or mask",
        )
        require(
            not (self.augment.surrogate.probability and sum(self.model.context_s)),
            f"augment.surrogate.probability={self.augment.surrogate.probability} would mix the "
            f"context of {self.model.name} into what is judged, whatever its label; set "
            "augment.surrogate.probability=0",
        )
        require(
            self.data.preprocess.rate_hz % self.model.rate_hz == 0,
            f"model.rate_hz={self.model.rate_hz} must divide "
            f"data.preprocess.rate_hz={self.data.preprocess.rate_hz}",
        )
        self._check_window()
        if isinstance(self.model, SpectralSsmConfig) and self.model.causal:
            self._check_causal()
        require(
            self.infra is None or self.trainer.max_hours is None,
            f"trainer.max_hours={self.trainer.max_hours} is for this machine; what bounds a "
            "rented one is infra.max_hours: set that, and leave trainer.max_hours out",
        )
        require(
            self.data.batch_size >= self.trainer.devices,
            f"data.batch_size={self.data.batch_size} leaves nothing to some of trainer.devices="
            f"{self.trainer.devices}: it is the batch of all devices together; raise it",
        )
        if isinstance(self.infra, InfraConfig):
            num_gpus = max(1, self.infra.num_gpus)
            require(
                self.trainer.devices == num_gpus or self.infra.gpu is None,
                f"infra.gpu={self.infra.gpu} rents {num_gpus} GPUs, but trainer.devices="
                f"{self.trainer.devices} of them would train; set trainer.devices={num_gpus}, or "
                f"infra.gpu={self.infra.gpu_name}"
                + (f":{self.trainer.devices}" if self.trainer.devices > 1 else ""),
            )
            for key, folder in (
                ("results", self.results),
                ("data.cache_root", self.data.cache_root),
            ):
                mount = self.infra.volume.mount
                require(
                    f"{folder}/".startswith(f"{mount}/"),
                    f"{key}={folder} must lie on the Volume, which containers see as {mount}: "
                    "anything else is lost with them",
                )
        variant = self.model.variant or None
        for key, name in (("run", self.run), ("title", self.title), ("model.variant", variant)):
            require(
                name is None or (name not in ("", ".", "..") and "/" not in name),
                f"{key}={name!r} must be a plain folder name; results= is its parent",
            )

    def _check_causal(self) -> None:
        """Refuse a causal detector whose frontend looks ahead."""
        require(
            self.frontend.normalise == "fixed",
            f"model.causal=true needs frontend.normalise=fixed: frontend.normalise="
            f"{self.frontend.normalise} looks at a whole window, also at what is to come",
        )
        cached_hz = self.data.preprocess.rate_hz
        require(
            self.model.rate_hz == cached_hz,
            f"model.causal=true needs the rate of the cache: lowering {cached_hz} Hz to "
            f"model.rate_hz={self.model.rate_hz} looks ahead; set data.preprocess.rate_hz="
            f"{self.model.rate_hz} or model.rate_hz={cached_hz}",
        )

    def _check_window(self) -> None:
        """Refuse a window that the detector cannot judge."""
        model, window_s, context_s = self.model, self.data.window_s, sum(self.model.context_s)
        require(
            window_s >= model.shortest_window_s,
            f"data.window_s={window_s} is shorter than the detector's receptive field "
            f"({model.shortest_window_s:g} s at {model.rate_hz} Hz); raise data.window_s",
        )
        judged_s, multiple_s = window_s - context_s, model.window_multiple_s
        context = f" after {context_s} s of context" if context_s else ""
        require(
            judged_s % multiple_s == 0,
            f"data.window_s={window_s} is not a multiple of the {multiple_s} s that one "
            f"logit of {model.name} judges{context}; choose "
            f"{context_s + multiple_s * max(1, round(judged_s / multiple_s))}",
        )


@dataclass(frozen=True)
class EvaluateConfig:
    """`python -m bgb.evaluate run=<folder>`: score a trained detector on whole recordings."""

    run: str = required("run folder to score")
    data: Any = option(None, "another corpus: +data=chbmit; null = that of the run")  # DataConfig
    postprocess: Any = option(
        None, "other post-processing: +postprocess=default; null = that of the run"
    )  # Any: PostprocessConfig
    baseline: bool = option(True, "fit and report the baseline, too; needs a train split")
    accelerator: str = option("auto", "auto, cpu or gpu")
    out: str | None = option(None, "where scores go; null = the run folder")
    results: str = option("runs", "folder that holds caches")
    disable_progress: bool = option(False, "plain lines instead of progress bars")
    infra: Any = option(None, "rented machines: +infra=modal_l4; null = here")  # InfraConfig

    def __post_init__(self) -> None:
        require(
            self.out is not None or (self.data is None and self.postprocess is None),
            "data or postprocess differ from those of the run: set out=<folder>, "
            "so that the scores of the run itself are kept",
        )
        one_of("accelerator", self.accelerator, ACCELERATORS)


@dataclass(frozen=True)
class CacheConfig:
    """`python -m bgb.cache action=... data=...`: build, import, verify, list, inspect a cache."""

    action: str = required("build, import, verify, list or inspect")
    data: DataConfig = option(DataConfig, "corpus and cache")
    recording: str | None = option(None, "recording to inspect; null = the whole cache")
    source: str | None = option(None, "folder of the predecessor's cache, for action=import")
    force: bool = option(False, "build again what is there already")
    results: str = option("runs", "folder that holds caches")
    disable_progress: bool = option(False, "plain lines instead of progress bars")
    force_manifest_rebuild: bool = option(False, "make manifest.json anew before use")
    infra: Any = option(None, "build on rented machines: +infra=modal_cpu; null = here")

    def __post_init__(self) -> None:
        one_of("action", self.action, ("build", "import", "verify", "list", "inspect"))
        require(
            self.action != "import" or self.source is not None,
            "action=import needs source=<folder>: the folder above train, dev and eval of the "
            "predecessor's cache",
        )
        require(
            self.action == "import" or self.source is None,
            f"source={self.source} is read by action=import only; action={self.action} reads "
            "data.root",
        )
        require(
            self.action != "build" or self.data.origin == "edf",
            f"data.origin={self.data.origin} is not built from EDF files; "
            "action=import source=<folder> makes it",
        )


@dataclass(frozen=True)
class DetectConfig:
    """`python -m bgb.detect run=<folder> input=<EDF or folder>`: find seizures in recordings."""

    run: str = required("run folder of the detector")
    input: str = required("EDF file, or a folder whose EDF files are read")
    out: str = option("detections", "folder for csv_bi, events.tsv and probabilities")
    threshold: float | None = option(None, "probability of a seizure; null = the frozen one")
    live: bool = option(False, "replay each file as a live recording, too, and compare")
    chunk_s: float = option(1.0, "samples that a live replay feeds at once", unit="s")
    accelerator: str = option("auto", "auto, cpu or gpu")
    disable_progress: bool = option(False, "plain lines instead of progress bars")

    def __post_init__(self) -> None:
        require(
            self.threshold is None or 0 < self.threshold < 1,
            f"threshold={self.threshold} must lie between 0 and 1, or be null",
        )
        positive(chunk_s=self.chunk_s)
        one_of("accelerator", self.accelerator, ACCELERATORS)


@dataclass(frozen=True)
class ExportConfig:
    """`python -m bgb.export run=<folder> out=<file>.onnx`: a trained detector as an ONNX file."""

    run: str = required("run folder of the detector")
    out: str = option("detector.onnx", "the file to write")


@dataclass(frozen=True)
class PlanConfig(TrainConfig):
    """`python -m bgb.plan` with the overrides of a training: jobs, hours and dollars beforehand."""

    probe: bool = option(False, "measure the throughput now, on the machine that would train")
    probe_s: float = option(60.0, "about how long one measurement takes", unit="s")
    probes: str = option("runs/probes", "folder on this machine that keeps measurements")

    def __post_init__(self) -> None:
        super().__post_init__()
        positive(probe_s=self.probe_s)


@dataclass(frozen=True)
class StorageConfig:
    """`python -m bgb.storage`: what is stored where, what it costs, how fast it is."""

    places: list[str] = option([], "folders and fsspec URLs to look at; empty = data and results")
    data: DataConfig = option(DataConfig, "corpus whose files and caches are looked for")
    results: str = option("runs", "folder that holds run folders and caches")
    here: list[str] = option([], "folders of this machine to look at when infra is set")
    probe: bool = option(False, "measure latency a file and throughput of every place")
    probe_files: int = option(20, "files read to measure one place")
    disable_progress: bool = option(False, "plain lines instead of progress bars")
    infra: Any = option(None, "look at a Volume and bucket, too: +infra=modal_a100")  # InfraConfig

    def __post_init__(self) -> None:
        positive(probe_files=self.probe_files)


COMMANDS = {
    "train": TrainConfig,
    "evaluate": EvaluateConfig,
    "cache": CacheConfig,
    "detect": DetectConfig,
    "export": ExportConfig,
    "plan": PlanConfig,
    "storage": StorageConfig,
    "runs": RunsConfig,
}
CommandConfig = (
    TrainConfig
    | EvaluateConfig
    | CacheConfig
    | DetectConfig
    | ExportConfig
    | PlanConfig
    | StorageConfig
    | RunsConfig
)

# Group options that choose a class: package of the group -> option -> class.
CHOICES: dict[str, dict[str, type]] = {"data.corpus": dict(CORPORA), "model": dict(MODELS)}
# Groups whose files carry their own type, because some commands leave the node open.
GROUPS: dict[str, type] = {
    "data": DataConfig,
    "augment": AugmentConfig,
    "loss": LossConfig,
    "postprocess": PostprocessConfig,
    "trainer": TrainerConfig,
    "logger": LoggerConfig,
    "infra": InfraConfig,
}
