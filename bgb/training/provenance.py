"""provenance.json: which code, versions, device and data made a run. No user, no environment."""

import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import torch

import bgb
from bgb import job
from bgb.checkout import git_state
from bgb.config.schema import TrainConfig
from bgb.eeg.signal import SignalSpec
from bgb.files import read_json, write_json
from bgb.training.run_folder import RunFolder

_PACKAGES = ("torch", "numpy", "pytorch-lightning", "timescoring")


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
    before = read_json(folder.provenance) if folder.provenance.exists() else {}
    code = git_state() or job.current().code()
    sessions = before.get("sessions", [])
    sessions.append(
        {
            "started": _now(),
            "code": code,
            "versions": {"python": platform.python_version(), **_versions()},
            "platform": platform.platform(),
            "device": device_name(device),
            "arguments": job.current().arguments(),
            "attempt": job.current().attempt,
            "usd_per_hour": job.current().usd_per_hour,
            "machine": dict(job.current().provenance()),
        }
    )
    write_json(
        folder.provenance,
        {
            "run": folder.name,
            "seed": config.seed,
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
    """Note that training ended, and why: "max_epochs" or "patience"."""
    record = read_json(folder.provenance)
    write_json(folder.provenance, {**record, "finished": _now(), "stopped": stopped})


def note(folder: RunFolder, **figures: float | Mapping[str, float]) -> None:
    """Add what was measured."""
    write_json(folder.provenance, {**read_json(folder.provenance), **figures})


class Spending:
    """Seconds and dollars of a run: those of earlier sessions and those of this one.

    `record` is called at every checkpoint, so that a killed session is counted up to its last one.
    """

    def __init__(self, folder: RunFolder, *, clock: Callable[[], float] = time.monotonic) -> None:
        before = read_json(folder.provenance) if folder.provenance.exists() else {}
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


def _versions() -> dict[str, str]:
    # A container has the source of bgb, not its metadata.
    return {"bgb": bgb.__version__, **{name: version(name) for name in _PACKAGES}}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
