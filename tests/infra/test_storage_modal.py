"""`python -m bgb.storage +infra=...`: the Volume from outside, the bucket from a container."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bgb.corpora import find_corpus
from bgb.data.build import build_cache
from bgb.data.key import cache_folder
from tests.data.tiny_corpus import config_for, write_corpus
from tests.fakemodal import FakeModal, why_not

pytestmark = pytest.mark.modal
BUCKET, VOLUME = "brain-go-brr-eeg-data-20250919", "brain-go-brr-results"
# In two parts, so that no uploaded source file can hold it as it stands.
WORD = "s3cr3t" + "-w0rd"
SECRETS = {"wandb-secret": {"WANDB_API_KEY": WORD}, "aws-s3-secret": {"AWS_KEY": WORD}}
AT_64_HZ = (
    *("data=tusz", "data.preprocess.rate_hz=64", "data.preprocess.lowpass_hz=25"),
    *("data.preprocess.notch_hz=null", "infra.poll_s=0.1"),
)


def start(tmp_path: Path, secrets: dict[str, dict[str, str]]) -> FakeModal:
    if reason := why_not():
        pytest.skip(reason)
    write_corpus(tmp_path / "bucket" / "tusz" / "edf")
    (tmp_path / "here").mkdir()
    return FakeModal(tmp_path / "modal", buckets={BUCKET: tmp_path / "bucket"}, secrets=secrets)


@pytest.fixture
def modal(tmp_path: Path) -> Iterator[FakeModal]:
    """Modal with the bucket; there is no Volume yet."""
    with start(tmp_path, SECRETS) as fake:
        yield fake


def storage(
    fake: FakeModal, tmp_path: Path, *words: str, expect: int = 0, **variables: str
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "bgb.storage", "+infra=modal_a100", *AT_64_HZ, *words],
        cwd=tmp_path / "here",
        env={**os.environ, **fake.environment, **variables, "COLUMNS": "140"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == expect, done.stderr
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "here").iterdir())
    return done


def fill_volume(fake: FakeModal, tmp_path: Path) -> None:
    """Put a cache of the tiny corpus on the Volume, but for one recording, and a run."""
    config = config_for(tmp_path / "bucket" / "tusz" / "edf", tmp_path / "built")
    build_cache(config, find_corpus(config))
    folder = cache_folder(config)
    next(folder.glob("eval/*.npz")).unlink()
    volume = fake.stores.volumes.create(VOLUME, version=1)
    shutil.copytree(tmp_path / "built", volume / "cache")
    (volume / "mine" / "checkpoints").mkdir(parents=True)
    (volume / "mine" / "config.yaml").write_text("seed: 0")
    (volume / "mine" / "checkpoints" / "last.ckpt").write_bytes(bytes(5000))
    (volume / "mine" / "provenance.json").write_text('{"finished": "2026-11-23"}')


def test_volume_and_bucket_are_drawn_measured_and_left_alone(
    modal: FakeModal, tmp_path: Path
) -> None:
    fill_volume(modal, tmp_path)
    before = files_of(modal.volume(VOLUME))
    shown = storage(modal, tmp_path, "probe=true", "probe_files=2").stdout
    assert f"bucket {BUCKET}/tusz/  10 files" in shown
    assert "5 EDF (train 3, dev 1, eval 1)" in shown
    assert "train 3, dev 1," in shown
    assert "1 of 5 recordings missing (eval/aaaaaaad_s001_t000), manifest stale" in shown.replace(
        "\n│       ", " "
    )
    assert "mine: finished, 1 checkpoints 5.0 kB" in shown
    assert shown.count("│ container") == 2
    assert files_of(modal.volume(VOLUME)) == before
    assert [app.state for app in modal.apps()] == ["stopped"]
    assert {options["gpu"] for options in modal.function_options()} == {None}
    assert not any(WORD.encode() in payload for payload in modal.payloads())


def test_without_a_bucket_no_container_is_needed(modal: FakeModal, tmp_path: Path) -> None:
    fill_volume(modal, tmp_path)
    shown = storage(modal, tmp_path, "infra.bucket.name=null", "data.root=edf").stdout
    assert f"Volume {VOLUME}" in shown
    assert "mine: finished" in shown
    assert modal.apps() == []


def test_missing_volume_is_said_and_not_made(modal: FakeModal, tmp_path: Path) -> None:
    done = storage(modal, tmp_path, expect=2)
    assert f"Volume {VOLUME} does not exist (infra.volume.name)" in done.stderr
    assert "no container starts without its Volume" in done.stderr
    assert modal.rpcs["FunctionCreate"] == 0
    again = storage(modal, tmp_path, expect=2)
    assert f"Volume {VOLUME} does not exist (infra.volume.name)" in again.stderr


def test_missing_secret_is_said_and_the_volume_still_drawn(tmp_path: Path) -> None:
    with start(tmp_path, {"wandb-secret": SECRETS["wandb-secret"]}) as fake:
        fill_volume(fake, tmp_path)
        done = storage(fake, tmp_path, expect=2)
    assert "modal secret create aws-s3-secret" in done.stderr
    assert "mine: finished" in done.stdout


def test_without_credentials_the_next_step_is_said(modal: FakeModal, tmp_path: Path) -> None:
    done = storage(modal, tmp_path, expect=2, MODAL_TOKEN_ID="bad")
    assert "modal token new" in done.stderr
    assert "data does not exist" in done.stdout


def files_of(folder: Path) -> dict[str, int]:
    return {
        str(path.relative_to(folder)): path.stat().st_size
        for path in folder.rglob("*")
        if path.is_file()
    }
