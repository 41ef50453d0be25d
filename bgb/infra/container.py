"""What a container is told about itself, as environment variables, and whether it is fit for work.

The app sets the variables, the worker reads them: a deployed function serves many jobs.
"""

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from bgb.errors import InfraError

LOCK_FILE = Path("/root/requirements.lock")  # where the image has it
# Set on the laptop to try an option with a GPU where no GPU is, as with the loopback Modal.
WITHOUT_GPU = "BGB_WITHOUT_GPU"


@dataclass(frozen=True)
class Container:
    """The app that a container belongs to, its Volume, and the GPU that was asked for."""

    app: str
    volume: str
    mount: str
    environment: str = ""  # Modal environment; empty = that of the profile
    gpu: str = ""  # empty = none was asked for

    def to_environ(self) -> dict[str, str | None]:
        """Return the variables from which `of_environ` makes this again."""
        optional = os.environ.get(WITHOUT_GPU)
        return {
            "BGB_APP": self.app,
            "BGB_VOLUME": self.volume,
            "BGB_VOLUME_MOUNT": self.mount,
            "BGB_MODAL_ENVIRONMENT": self.environment,
            "BGB_GPU": "" if optional else self.gpu,
            "BGB_RESULTS": self.mount,
        }

    @classmethod
    def of_environ(cls, environ: Mapping[str, str] = os.environ) -> "Container":
        """Read what the app said."""
        return cls(
            app=environ["BGB_APP"],
            volume=environ["BGB_VOLUME"],
            mount=environ["BGB_VOLUME_MOUNT"],
            environment=environ.get("BGB_MODAL_ENVIRONMENT", ""),
            gpu=environ.get("BGB_GPU", ""),
        )


def check_gpu(container: Container, lock_text: str) -> None:
    """Refuse a machine without the GPU that is paid for.

    Raises
    ------
    InfraError : there is none, or torch cannot use it.
    """
    if not container.gpu:
        return
    gpus = visible_gpus()
    if not gpus:
        raise InfraError(
            f"infra.gpu={container.gpu} was asked for, but nvidia-smi finds no GPU in this "
            "container; repeat the command, and ask Modal's support if it happens again"
        )
    if "torch" in _pins(lock_text):
        _check_cuda(gpus)


def check_versions(lock_text: str) -> None:
    """Compare the installed packages with a requirements file of `name==version` lines.

    Raises
    ------
    InfraError : lists each package with another version; packages of one side only pass.
    """
    differing = []
    for name, locked in _pins(lock_text).items():
        # The one that is imported: Modal's own packages stand in its shadow, often older.
        found = _installed(name)
        # A wheel index may add a local part, as in torch 2.9.0+cu128.
        if found is not None and found.partition("+")[0] != locked:
            differing.append(f"{name} {locked} is locked, {found} is installed")
    if differing:
        raise InfraError(
            f"the image does not hold what the lock file names: {'; '.join(sorted(differing))}; "
            "deploy anew, and keep infra.lock free of packages that the image brings along"
        )


def visible_gpus() -> list[str]:
    """Return the names of the GPUs of this machine, as nvidia-smi tells them."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    done = subprocess.run(
        [program, "--query-gpu=name", "--format=csv,noheader"],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.split("\n")[:-1] if done.returncode == 0 else []


def _check_cuda(gpus: list[str]) -> None:
    import torch

    if not torch.cuda.is_available():
        raise InfraError(
            f"torch {torch.__version__} (CUDA {torch.version.cuda}) cannot use {gpus[0]}: the lock "
            "file names a build of torch for CPUs or for another driver; change infra.lock"
        )


def _pins(lock_text: str) -> dict[str, str]:
    """Return name and version, without local part, of each `name==version` line."""
    pins = {}
    for line in lock_text.splitlines():
        requirement = line.partition("#")[0].partition(";")[0].strip()
        name, equals, version = requirement.partition("==")
        if equals:
            public = version.split()[0].partition("+")[0]
            pins[_normal(name.partition("[")[0])] = public
    return pins


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _normal(name: str) -> str:
    return name.strip().lower().replace("_", "-").replace(".", "-")
