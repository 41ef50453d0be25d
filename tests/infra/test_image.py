"""The image: the lock file's packages, and all of our source, YAML included."""

import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from bgb.config import compose
from bgb.config.infra import InfraConfig
from bgb.errors import InfraError
from bgb.infra import container, image
from bgb.infra.app import Session
from bgb.infra.payload import Done
from tests.fakemodal import FakeModal
from tests.infra import jobs
from tests.infra.jobs import wait

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def infra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> InfraConfig:
    """Ships a local package with YAML, and a local module."""
    package = tmp_path / "source" / "my_study"
    (package / "__pycache__").mkdir(parents=True)
    for name in ("__init__.py", "config.yaml", "__pycache__/old.pyc", ".hidden"):
        (package / name).touch()
    (tmp_path / "source" / "my_tools.py").touch()
    monkeypatch.syspath_prepend(tmp_path / "source")
    return InfraConfig(packages=["my_study", "my_tools"], apt=["git"])


@pytest.mark.modal
def test_container_sees_the_shipped_source_and_nothing_else(
    fake_modal: FakeModal, infra: InfraConfig
) -> None:
    session = Session(infra, sweep_id="s")
    session.deploy()
    files = wait(session, session.submit(jobs.list_source)).value
    assert {"my_study/config.yaml", "my_tools.py", "requirements.lock"} <= set(files)
    assert "hydra_plugins/bgb_modal/launcher.py" in files
    here = [*(REPOSITORY / "bgb").rglob("*.py"), *(REPOSITORY / "conf").rglob("*.yaml")]
    assert {path.relative_to(REPOSITORY).as_posix() for path in here} <= set(files)
    assert not {"my_study/__pycache__/old.pyc", "my_study/.hidden"} & set(files)


@pytest.mark.modal
def test_configuration_composes_in_the_container(fake_modal: FakeModal) -> None:
    session = Session(InfraConfig(), sweep_id="s")
    session.deploy()
    reply = wait(session, session.submit(jobs.compose_train))
    assert reply == Done(7)


@pytest.mark.modal
def test_image_is_built_from_the_lock_file_and_the_python_used_here(
    fake_modal: FakeModal, infra: InfraConfig
) -> None:
    Session(infra, sweep_id="s").deploy()
    options = fake_modal.function_options()[0]
    assert list(options["image_files"].values()) == [
        (REPOSITORY / "requirements.lock").read_bytes()
    ]
    assert f"python:3.{sys.version_info.minor}" in options["image"][0]
    commands = "\n".join(options["image"])
    assert "git" in commands
    assert commands.index("git") < commands.index("uv pip install")


def test_wheel_ships_its_option_files_once(monkeypatch: pytest.MonkeyPatch) -> None:
    inside = Path(compose.__file__).parents[1] / "conf"
    monkeypatch.setattr(image, "config_dir", lambda: inside)
    assert "conf" not in image.shipped(InfraConfig())
    monkeypatch.undo()
    assert image.shipped(InfraConfig())["conf"] == REPOSITORY / "conf"


def test_package_that_cannot_be_found_is_named() -> None:
    with pytest.raises(InfraError, match="no Python package 'nowhere' can be imported here"):
        image.shipped(InfraConfig(packages=["nowhere"]))
    with pytest.raises(InfraError, match=r"no Python package 'nowhere\.deep'"):
        image.shipped(InfraConfig(packages=["nowhere.deep"]))


def test_missing_lock_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InfraError, match=r"infra\.lock=.*nowhere\.lock does not exist"):
        image.lock_file(InfraConfig(lock=str(tmp_path / "nowhere.lock")))
    monkeypatch.setattr("bgb.__file__", str(tmp_path / "bgb" / "__init__.py"))
    with pytest.raises(
        InfraError, match=r"installed without requirements.lock; .*infra\.lock=FILE"
    ):
        image.lock_file(InfraConfig())


def test_lock_file_of_the_repository_fits_what_is_installed_here() -> None:
    container.check_versions((REPOSITORY / "requirements.lock").read_text())


def test_other_version_than_locked_is_named() -> None:
    numpy = version("numpy")
    same = f"rich=={version('rich')}"
    lock = f"# made by hand\nNumPy==1.0 ; python_version > '3'\nnot-installed==1.0\n{same}"
    with pytest.raises(InfraError, match=f"numpy 1.0 is locked, {numpy} is installed;"):
        container.check_versions(lock)


def test_only_the_version_that_would_be_imported_is_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "aiohttp-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: aiohttp\nVersion: 1.0\n")
    lock = f"aiohttp=={version('aiohttp')}"
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])  # as Modal adds its own
    container.check_versions(lock)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    with pytest.raises(InfraError, match=r"aiohttp .* is locked, 1\.0 is installed"):
        container.check_versions(lock)


def test_local_part_of_a_version_is_no_difference() -> None:
    public = version("torch").partition("+")[0]
    container.check_versions(f"torch=={public}")
    container.check_versions(f"torch=={public}+cu999")


def test_container_without_the_gpu_that_is_paid_for_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    here = container.Container("app", "volume", "/results", gpu="A100-80GB")
    with pytest.raises(InfraError, match=r"infra\.gpu=A100-80GB was asked for.*finds no GPU"):
        container.check_gpu(here, "")


def test_torch_that_cannot_use_the_gpu_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho NVIDIA A100-SXM4-80GB\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    lock = f"torch=={version('torch')}"
    here = container.Container("app", "volume", "/results", gpu="A100-80GB")
    with pytest.raises(InfraError, match="cannot use NVIDIA A100-SXM4-80GB: the lock file names"):
        container.check_gpu(here, lock)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    container.check_gpu(here, lock)


def test_container_reads_what_the_app_told_it(monkeypatch: pytest.MonkeyPatch) -> None:
    told = container.Container("app", "volume", "/results", environment="dev", gpu="L4")
    assert container.Container.of_environ(told.to_environ()) == told
    monkeypatch.setenv(container.WITHOUT_GPU, "1")
    assert told.to_environ()["BGB_GPU"] == ""
