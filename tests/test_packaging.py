"""The wheel holds what a checkout holds: package, option files, commands."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


def test_wheel_ships_every_option_file_and_no_recording(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    options = {
        f"bgb/conf/{path.relative_to(ROOT / 'conf')}" for path in ROOT.glob("conf/**/*.yaml")
    }
    assert options <= names
    assert {"bgb/py.typed", "hydra_plugins/bgb_modal/launcher.py"} <= names
    assert not [name for name in names if name.endswith((".edf", ".npz"))]


def test_commands_of_the_wheel_compose_from_any_folder(wheel: Path, tmp_path: Path) -> None:
    unpacked = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(unpacked)
    code = (
        "import sys, bgb.config.compose as c;"
        f"assert c.config_dir().is_relative_to({str(unpacked)!r}), c.config_dir();"
        "print(c.compose('train', ['data=tusz', '+infra=modal_l4']).data.corpus.name);"
        "from bgb.infra import image; infra = c.compose('train', ['+infra=modal_l4']).infra;"
        "print(image.lock_file(infra).name, *sorted(image.shipped(infra)))"
    )
    environment = {**os.environ, "PYTHONPATH": str(unpacked)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    # A wheel carries what a container needs: the lock file, and option files within the package.
    assert done.stdout.split() == ["tusz", "requirements.lock", "bgb", "hydra_plugins/bgb_modal"]


def test_console_script_lists_the_commands() -> None:
    done = subprocess.run([sys.executable, "-m", "bgb"], capture_output=True, text=True, check=True)
    for command in ("train", "evaluate", "detect", "cache", "config"):
        assert f"bgb {command}" in done.stdout
