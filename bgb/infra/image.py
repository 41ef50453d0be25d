"""The image of the containers: Debian, Python as here, the lock file's packages, then our source.

What changes seldom comes first, for Modal keeps layers by content. Source is mounted when a
container starts and never built in, so that a changed line costs no build. It is shipped folder by
folder: `Image.add_local_python_source` would leave out YAML, and the installed `hydra_plugins` may
hold plugins that are not ours.
"""

import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import bgb
from bgb.config.compose import config_dir
from bgb.config.infra import InfraConfig
from bgb.errors import InfraError
from bgb.infra.container import LOCK_FILE

if TYPE_CHECKING:
    import modal

UV_VERSION = "0.8.22"
HOME = "/root"  # on the PYTHONPATH of every Modal container
IGNORED = ("**/__pycache__", "**/*.pyc", "**/.*")


def build_image(infra: InfraConfig, packages: Sequence[str] = ()) -> "modal.Image":
    """Describe the image; Modal builds it when an app is deployed.

    Raises
    ------
    InfraError : there is no lock file, or a package that is to be shipped cannot be found.
    """
    import modal

    image = modal.Image.debian_slim(python_version=python_version(infra))
    if infra.apt:
        image = image.apt_install(*infra.apt)
    lock = lock_file(infra)
    image = image.uv_pip_install(requirements=[str(lock)], uv_version=UV_VERSION)
    image = image.env({"MPLBACKEND": "Agg", "PYTHONUNBUFFERED": "1"})
    image = image.add_local_file(lock, str(LOCK_FILE))
    for target, source in shipped(infra, packages).items():
        if source.is_dir():
            image = image.add_local_dir(source, f"{HOME}/{target}", ignore=IGNORED)
        else:
            image = image.add_local_file(source, f"{HOME}/{target}")
    return image


def python_version(infra: InfraConfig) -> str:
    """Return the Python of the image: pickles travel safely between equal minor versions only."""
    return infra.python or f"{sys.version_info.major}.{sys.version_info.minor}"


def lock_file(infra: InfraConfig) -> Path:
    """Return the requirements file with the exact version of every package.

    Raises
    ------
    InfraError : there is none.
    """
    if infra.lock is not None:
        path = Path(infra.lock)
        if not path.is_file():
            raise InfraError(f"infra.lock={path} does not exist; name a requirements file")
        return path
    package = Path(bgb.__file__).parent
    for folder in (package, package.parent):  # of a wheel, of a checkout
        if (folder / "requirements.lock").is_file():
            return folder / "requirements.lock"
    raise InfraError(
        f"{package} was installed without requirements.lock; write one with "
        "`pip freeze --exclude-editable > requirements.lock` and give infra.lock=FILE"
    )


def shipped_folders(infra: InfraConfig, packages: Sequence[str] = ()) -> list[Path]:
    """Return the folders and modules whose files reach the container."""
    return list(shipped(infra, packages).values())


def shipped(infra: InfraConfig, packages: Sequence[str] = ()) -> dict[str, Path]:
    """Return what is shipped by its place below /root."""
    names = dict.fromkeys(["bgb", "hydra_plugins.bgb_modal", *infra.packages, *packages])
    sources = {}
    for name in names:
        source = _find(name)
        sources[name.replace(".", "/") + source.suffix] = source
    if not config_dir().is_relative_to(sources["bgb"]):  # a checkout, not a wheel
        sources["conf"] = config_dir()
    return sources


def _find(name: str) -> Path:
    """Return the folder of a package, or the file of a module."""
    try:
        spec = importlib.util.find_spec(name)
    except ModuleNotFoundError:
        spec = None
    if spec is not None and spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations)))
    if spec is not None and spec.origin and spec.origin.endswith(".py"):
        return Path(spec.origin)
    raise InfraError(
        f"infra.packages: no Python package {name!r} can be imported here; give the import name "
        "of a local package, as in infra.packages=[mypackage], and start where it can be imported"
    )
