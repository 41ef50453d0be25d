"""provenance.json: which code, versions, device and data made a run. No user, no environment.

Each start of a run is a session of its own. Uncommitted changes of the code lie beside it in
code.diff, those of a later session, if others, in code-<digest>.diff.
"""

import contextlib
import hashlib
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

import bgb
from bgb import job
from bgb.checkout import git_state, lock_digest, source_digest
from bgb.config.schema import TrainConfig
from bgb.config.sweep import current_sweep
from bgb.eeg.signal import SignalSpec
from bgb.errors import RunError
from bgb.files import read_json, write_json, write_text
from bgb.redact import redact, redact_override
from bgb.training.run_folder import RunFolder, config_digest, decisive_values

# The direct dependencies of pyproject.toml, whose metadata a container lacks.
PACKAGES = (
    *("cloudpickle", "edfio", "filelock", "fsspec", "hydra-core", "matplotlib", "modal", "numpy"),
    *("omegaconf", "pyedflib", "pyyaml", "pytorch-lightning", "rich", "s3fs", "scikit-learn"),
    *("scipy", "tensorboard", "timescoring", "torch", "wandb"),
)
_MAX_FAILURE_CHARACTERS = 500


def start(
    folder: RunFolder,
    config: TrainConfig,
    *,
    device: torch.device,
    signal: SignalSpec,
    cache_key: str,
    corpus: Mapping[str, Any],  # Any: counts of recordings, patients, seizures, hours of each split
    patients: Mapping[str, Sequence[str]],
) -> None:
    """Record the circumstances when a run starts; when it goes on, count it and keep the past."""
    before = _read(folder)
    sessions = before.get("sessions", [])
    sessions.append(_session(folder, device))
    write_json(
        folder.provenance,
        {
            "run": folder.name,
            "config": config_digest(config),
            "seeds": _seeds(config),
            "cache_key": cache_key,
            "signal": asdict(signal),
            "corpus": dict(corpus),
            "patients": {split: list(names) for split, names in patients.items()},
            "sessions": sessions,
            "started": sessions[0]["started"],
            "finished": None,
            "seconds": before.get("seconds", 0.0),
            "usd": before.get("usd", 0.0),
        },
    )


def finish(folder: RunFolder, *, stopped: str) -> None:
    """Note that training ended, and why: "max_epochs", "patience" or "budget"."""
    record = read_json(folder.provenance)
    write_json(folder.provenance, {**record, "finished": _now(), "stopped": stopped})


def note(folder: RunFolder, **figures: float | Mapping[str, float]) -> None:
    """Add what was measured."""
    write_json(folder.provenance, {**read_json(folder.provenance), **figures})


@contextlib.contextmanager
def failures_noted(folder: RunFolder) -> Iterator[None]:
    """Note why a run failed, for those who look at the folder later; forget it when it succeeds."""
    try:
        yield
    except Exception as error:
        reason = redact(f"{type(error).__name__}: {error}")[:_MAX_FAILURE_CHARACTERS]
        with contextlib.suppress(OSError, RunError):  # that the disk is full is told by `error`
            write_json(folder.provenance, {"finished": None, **_read(folder), "failure": reason})
        raise
    record = _read(folder)
    if record.pop("failure", None) is not None:
        write_json(folder.provenance, record)


class Spending:
    """Seconds and dollars of a run: those of earlier sessions and those of this one.

    `record` is called at every checkpoint, so that a killed session is counted up to its last one.
    """

    def __init__(self, folder: RunFolder, *, clock: Callable[[], float] = time.monotonic) -> None:
        before = _read(folder)
        self._folder, self._clock, self._started = folder, clock, clock() - job.current().age_s
        self._seconds, self._usd = before.get("seconds", 0.0), before.get("usd", 0.0)

    @property
    def session_s(self) -> float:
        """Seconds of this session."""
        return self._clock() - self._started

    def record(self) -> None:
        """Write the sums into provenance.json."""
        seconds = self.session_s
        usd = self._usd + seconds / 3600 * job.current().usd_per_hour
        record = read_json(self._folder.provenance)
        record |= {"seconds": round(self._seconds + seconds, 1), "usd": round(usd, 4)}
        write_json(self._folder.provenance, record)


def device_name(device: torch.device) -> str:
    """Return what people call the device."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type}, {torch.get_num_threads()} threads"


def _session(folder: RunFolder, device: torch.device) -> dict[str, Any]:  # Any: JSON
    """Return how the run is carried out this time; the code's diff is written beside."""
    here = job.current()
    return {
        "started": _now(),
        "code": _code(folder),
        "source": source_digest(),
        "lock": lock_digest(),
        "versions": {"python": platform.python_version(), **_versions()},
        "platform": platform.platform(),
        "device": device_name(device),
        "arguments": [redact_override(word) for word in here.arguments()],
        "sweep": current_sweep(),
        "attempt": here.attempt,
        "usd_per_hour": here.usd_per_hour,
        "machine": dict(here.provenance()),
    }


def _versions() -> dict[str, str | None]:
    # A container has the source of bgb, not its metadata.
    return {"bgb": bgb.__version__, **{name: _version(name) for name in PACKAGES}}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:  # a container needs not all of them
        return None


def _code(folder: RunFolder) -> dict[str, Any] | None:  # Any: text or bool
    """Return commit and state of the code; a diff goes into a file, whose name stands instead."""
    code = dict(git_state() or job.current().code() or {})
    diff = code.pop("diff", None)
    if not isinstance(diff, str):
        return code or None
    digest = hashlib.sha256(diff.encode()).hexdigest()
    path = folder.path / "code.diff"
    if path.exists() and path.read_text() != diff:
        path = folder.path / f"code-{digest[:8]}.diff"
    write_text(path, diff)
    return {**code, "diff": path.name, "diff_sha256": digest}


def _seeds(config: TrainConfig) -> dict[str, int]:
    """Return every seed of the configuration by its key."""
    values = decisive_values(config)
    return {key: value for key, value in values.items() if key.rpartition(".")[2] == "seed"}


def _read(folder: RunFolder) -> dict[str, Any]:  # Any: JSON
    return read_json(folder.provenance) if folder.provenance.exists() else {}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
