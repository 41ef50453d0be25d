"""The Python environment of a container: what an image has, without what only a laptop has.

An image holds the packages of the lock file. bgb itself and other editable installs are not among
them: their source is mounted, their metadata, entry points and .pth files do not exist. Modal adds
its own dependencies in `/__modal/deps` at the end of sys.path, often in older versions: importing
prefers the image's, listing what is installed finds both.
"""

import functools
import sys
import sysconfig
from importlib.metadata import Distribution, distributions
from pathlib import Path

import modal
from modal.mount import REMOTE_PACKAGES_PATH, REMOTE_SITECUSTOMIZE_PATH, SITECUSTOMIZE_CONTENT
from packaging.requirements import Requirement

INSTALLED = Path(sysconfig.get_path("purelib"))
ORIGINALS = "/opt/packages"  # where a container sees INSTALLED, off its sys.path
PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"


def make_venv(folder: Path, *, python: str) -> None:
    """Make a virtual environment for a container that has its interpreter in `python`."""
    packages = folder / "lib" / PYTHON / "site-packages"
    packages.mkdir(parents=True)
    (folder / "bin").mkdir()
    for name in (PYTHON, "python3", "python"):
        (folder / "bin" / name).symlink_to(f"{python}/bin/{PYTHON}")
    (folder / "pyvenv.cfg").write_text(f"home = {python}/bin\n")
    for name in _of_images():
        (packages / name).symlink_to(f"{ORIGINALS}/{name}")


def add_modal(root: Path, builder_version: str) -> None:
    """Add to a container's root folder what Modal mounts: the metadata of its dependencies."""
    customize = root / REMOTE_SITECUSTOMIZE_PATH.lstrip("/")
    customize.parent.mkdir(parents=True, exist_ok=True)
    customize.write_text(SITECUSTOMIZE_CONTENT)
    for name, version in modal_pins(builder_version).items():
        info = root / REMOTE_PACKAGES_PATH.lstrip("/") / f"{name}-{version}.dist-info"
        info.mkdir(parents=True)
        text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        (info / "METADATA").write_text(text)


@functools.cache
def modal_pins(builder_version: str) -> dict[str, str]:
    """Return name and version of Modal's dependencies for this Python."""
    file = Path(modal.__file__).parent / "builder" / f"{builder_version}.txt"
    wanted = [Requirement(line) for line in file.read_text().splitlines() if line.strip()]
    return {
        one.name: str(one.specifier).removeprefix("==")
        for one in wanted
        if one.marker is None or one.marker.evaluate()
    }


@functools.cache
def _of_images() -> tuple[str, ...]:
    """Return the entries of site-packages that an image would have, too."""
    hidden = {name for one in distributions(path=[str(INSTALLED)]) for name in _hidden(one)}
    return tuple(
        path.name
        for path in INSTALLED.iterdir()
        if path.name not in hidden and path.suffix != ".pth"
    )


def _hidden(distribution: Distribution) -> set[str]:
    editable = '"editable": true' in (distribution.read_text("direct_url.json") or "")
    if not editable and distribution.metadata["Name"] != "bgb":
        return set()
    return {file.parts[0] for file in distribution.files or ()} | {"bgb"}
