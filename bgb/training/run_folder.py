"""The run folder (DESIGN 7): its paths, its default name, its lock.

The name ends in a hash of what decides the result, so that a repeated command continues the run and
a changed one starts another. One live process owns a run at a time (lesson 42).
"""

import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bgb import job
from bgb.config.compose import dump_config, load_config
from bgb.config.schema import TrainConfig
from bgb.errors import RunError
from bgb.files import read_json, write_text
from bgb.locks import hold, owner

# Where and how a run is carried out, not what it computes.
_NOT_IN_HASH = frozenset(
    {
        *(
            "results",
            "title",
            "run",
            "logger",
            "disable_progress",
            "force_manifest_rebuild",
            "infra",
        ),
        *("data.cache_root", "data.staging", "data.residency", "data.memory_gib"),
        *("data.threads", "data.workers"),
        *("data.check_source", "model.variant"),
        *(
            "trainer.accelerator",
            "trainer.devices",
            "trainer.threads",
            "trainer.checkpoint_minutes",
        ),
        *("trainer.log_every_steps", "trainer.resume", "trainer.max_hours"),
        # A run that stopped at such a step goes on, leaving it out, as if it had from the start.
        *("trainer.nonfinite", "trainer.nonfinite_budget"),
    }
)


@dataclass(frozen=True)
class RunFolder:
    """Paths of one run; making the object touches nothing."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def config(self) -> Path:
        return self.path / "config.yaml"

    @property
    def provenance(self) -> Path:
        return self.path / "provenance.json"

    @property
    def last(self) -> Path:
        """Checkpoint from which the run continues."""
        return self.path / "checkpoints" / "last.ckpt"

    @property
    def previous(self) -> Path:
        """The checkpoint before the last one."""
        return self.path / "checkpoints" / "previous.ckpt"

    @property
    def best(self) -> Path:
        """Checkpoint with the best monitored metric."""
        return self.path / "checkpoints" / "best.ckpt"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.csv"

    @property
    def tensorboard(self) -> Path:
        return self.path / "tensorboard"

    @property
    def speed(self) -> Path:
        return self.path / "speed.csv"

    @property
    def scores(self) -> Path:
        return self.path / "scores.json"

    @property
    def lock(self) -> Path:
        return self.path / "run.lock"

    def is_finished(self) -> bool:
        """Tell whether training ended; evaluation may still be due."""
        return self.provenance.exists() and bool(read_json(self.provenance).get("finished"))


def default_name(config: TrainConfig) -> str:
    """Return <title, or corpus-model>-<8 hex digits of what decides the result>."""
    title = config.title or f"{config.data.corpus.name}-{config.model.label}"
    return f"{title}-{config_digest(config)[:8]}"


def config_digest(config: TrainConfig) -> str:
    """Return the SHA-256 of what decides the result of a run."""
    decisive = json.dumps(decisive_values(config), sort_keys=True)
    return hashlib.sha256(decisive.encode()).hexdigest()


def decisive_values(config: TrainConfig) -> dict[str, Any]:  # Any: values of any option
    """Return every key that decides the result of a run, flat, with its value."""
    flat = _flatten(dataclasses.asdict(config))
    return {key: value for key, value in flat.items() if not _left_out(key)}


def refuse_difference(there: TrainConfig, here: TrainConfig, *, what: str, cure: str) -> None:
    """Refuse what was made with a configuration that decides another result.

    Raises
    ------
    RunError : `what` was made with ...; `cure`.
    """
    theirs, ours = decisive_values(there), decisive_values(here)
    keys = theirs.keys() | ours.keys()
    differing = sorted(key for key in keys if theirs.get(key) != ours.get(key))
    if differing:
        key = differing[0]
        raise RunError(
            f"{what} was made with {key}={theirs.get(key)!r}, not {ours.get(key)!r} "
            f"({len(differing)} keys differ: {', '.join(differing)}); {cure}"
        )


def run_folder(config: TrainConfig) -> RunFolder:
    """Return the folder of the run that this configuration names."""
    return RunFolder(Path(config.results).expanduser() / (config.run or default_name(config)))


@contextlib.contextmanager
def open_run(config: TrainConfig) -> Iterator[RunFolder]:
    """Make the folder or take it up again, and own it until the block ends.

    Raises
    ------
    RunError
        Another live process owns it, it holds another configuration, or it exists and
        ``trainer.resume=never``.
    """
    folder = run_folder(config)
    with hold(folder.lock, wait=False) as mine:
        if not mine:
            raise RunError(
                f"run {folder.path} is being written by {owner(folder.lock)}; "
                "wait for it, stop it, or set another run=<name>"
            )
        with job.current().lease(folder.path):
            folder.last.parent.mkdir(exist_ok=True)
            if folder.config.exists():
                _refuse_other(folder, config)
            else:
                write_text(folder.config, dump_config(config))
            yield folder


def refuse_shared_runs(configs: Sequence[TrainConfig]) -> None:
    """Refuse jobs that run at the same time and would write one run folder.

    Raises
    ------
    RunError : names the folder and the key in which two jobs differ, which decides no result.
    """
    seen: dict[Path, TrainConfig] = {}
    for config in configs:
        path = run_folder(config).path
        other = seen.setdefault(path, config)
        if other is not config:
            there, here = (_flatten(dataclasses.asdict(each)) for each in (other, config))
            differing = sorted(key for key in here if there.get(key) != here[key])
            keys = ", ".join(differing) or "no key"
            raise RunError(
                f"two jobs would write run {path}: they differ in {keys}, which does not decide "
                "the result; sweep over other keys, or set another title= for each"
            )


def _refuse_other(folder: RunFolder, config: TrainConfig) -> None:
    if config.trainer.resume == "never":
        raise RunError(
            f"run {folder.path} exists and trainer.resume=never; "
            "set trainer.resume=auto to continue it, or another run=<name>"
        )
    refuse_difference(
        load_config(folder.config),
        config,
        what=f"run {folder.path}",
        cure="leave run= out, or set another run=<name>",
    )


def _left_out(key: str) -> bool:
    parts = key.split(".")
    return any(".".join(parts[: end + 1]) in _NOT_IN_HASH for end in range(len(parts)))


def _flatten(node: dict[str, Any], prefix: str = "") -> dict[str, Any]:  # Any: any option
    flat: dict[str, Any] = {}
    for name, value in node.items():
        key = f"{prefix}{name}"
        flat |= _flatten(value, f"{key}.") if isinstance(value, dict) else {key: value}
    return flat
