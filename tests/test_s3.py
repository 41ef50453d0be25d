"""EDF files in an S3 bucket: a loopback server (moto), reached as AWS would be, by environment."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("s3")]
BUCKET = "s3://eeg/tusz/edf"
AT_64_HZ = (
    *("data=tusz", "data.preprocess.rate_hz=64", "data.preprocess.lowpass_hz=25"),
    *("data.preprocess.notch_hz=null", "data.window_s=8"),
)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The variables of a machine whose bucket `eeg` holds a tiny corpus in TUSZ layout."""
    import s3fs
    from moto.server import ThreadedMotoServer

    from tests.data.tiny_corpus import write_corpus

    corpus = tmp_path_factory.mktemp("s3") / "corpus"
    write_corpus(corpus)
    server = ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    keys = {"key": "test", "secret": "test", "endpoint_url": f"http://{host}:{port}"}
    try:
        system = s3fs.S3FileSystem(**keys, skip_instance_cache=True)
        system.mkdir("eeg")
        system.put(f"{corpus}/", "eeg/tusz/edf/", recursive=True)
        yield {
            **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
            **{"AWS_ENDPOINT_URL": keys["endpoint_url"], "AWS_EC2_METADATA_DISABLED": "true"},
            **{"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"},
            **{"AWS_CONFIG_FILE": "/nowhere", "AWS_SHARED_CREDENTIALS_FILE": "/nowhere"},
            **{"OMP_NUM_THREADS": "1", "COLUMNS": "120", "LOCAL_CORPUS": str(corpus)},
        }
    finally:
        server.stop()


def run(
    folder: Path, environment: dict[str, str], *words: str, expect: int = 0
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", f"bgb.{words[0]}", *words[1:]]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == expect, done.stderr
    assert "Traceback" not in done.stderr
    return done


def test_cache_from_s3_equals_the_one_from_disk(
    environment: dict[str, str], tmp_path: Path
) -> None:
    for results, root, workers in (
        ("bucket", BUCKET, 2),
        ("disk", environment["LOCAL_CORPUS"], 1),
    ):
        words = (*AT_64_HZ, f"data.root={root}", f"results={results}", f"data.workers={workers}")
        run(tmp_path, environment, "cache", "action=build", *words)
    here, there = (
        {path.relative_to(tmp_path / results): path for path in (tmp_path / results).rglob("*.npz")}
        for results in ("disk", "bucket")
    )
    assert len(here) == 5
    assert here.keys() == there.keys()
    for name, path in here.items():
        with np.load(path) as expected, np.load(there[name]) as found:
            np.testing.assert_array_equal(found["signal"], expected["signal"])
            assert found["events"].tolist() == expected["events"].tolist()


def test_training_reads_its_corpus_from_s3_once(
    environment: dict[str, str], tmp_path: Path
) -> None:
    words = (*AT_64_HZ, f"data.root={BUCKET}", "data.workers=1", "model=eegnet")
    words += ("model.rate_hz=64", "trainer.max_epochs=1", "data.sampling.windows_per_epoch=16")
    shown = run(tmp_path, environment, "train", *words).stdout
    assert "run folder: runs/tusz-eegnet-" in shown
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npz")}
    assert run(tmp_path, environment, "train", *words).stdout == shown
    assert files == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("cache/*/*/*/*.npz")}


def test_cache_in_a_bucket_is_trained_from_once_it_is_staged(
    environment: dict[str, str], tmp_path: Path
) -> None:
    import s3fs

    words = (*AT_64_HZ, f"data.root={environment['LOCAL_CORPUS']}", "data.workers=1")
    run(tmp_path, environment, "cache", "action=build", *words, "results=built")
    keys = {"key": "test", "secret": "test", "endpoint_url": environment["AWS_ENDPOINT_URL"]}
    system = s3fs.S3FileSystem(**keys, skip_instance_cache=True)
    system.put(f"{tmp_path}/built/cache/", "eeg/caches/", recursive=True)
    words += ("model=eegnet", "model.rate_hz=64", "trainer.max_epochs=1")
    words += ("data.sampling.windows_per_epoch=16", "data.cache_root=s3://eeg/caches")
    refused = run(tmp_path, environment, "train", *words, expect=2).stderr
    assert "is a URL: a cache is read at random" in refused
    words += ("data.staging=local", "data.check_source=false")
    assert "run folder: runs/tusz-eegnet-" in run(tmp_path, environment, "train", *words).stdout
    built = {path.name: path.read_bytes() for path in (tmp_path / "built").rglob("*.npz")}
    assert {path.name: path.read_bytes() for path in (tmp_path / "local").rglob("*.npz")} == built


def test_storage_draws_and_measures_a_bucket(environment: dict[str, str], tmp_path: Path) -> None:
    words = ("storage", "data=tusz", f"data.root={BUCKET}", "probe=true", "probe_files=3")
    shown = run(tmp_path, environment, *words).stdout
    assert "s3://eeg/tusz/edf  10 files" in shown
    assert "5 EDF (train 3, dev 1, eval 1)" in shown
    assert "list prices of" in shown
    (row,) = [line for line in shown.splitlines() if "this machine" in line]
    assert row.split("│")[3].strip() == "3"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("place", "changes", "message"),
    [
        ("s3://eeg/none", {}, "s3://eeg/none does not exist or is empty"),
        ("s3://other/tusz", {}, "s3://other/tusz does not exist"),
        ("s3://eeg/tusz", {"AWS_ACCESS_KEY_ID": ""}, "set AWS_ACCESS_KEY_ID"),
        ("s3://eeg/tusz", {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "see AWS_ENDPOINT_URL"),
    ],
)
def test_bucket_that_cannot_be_read_is_said(
    environment: dict[str, str], tmp_path: Path, place: str, changes: dict[str, str], message: str
) -> None:
    changed = {**environment, **changes, "AWS_MAX_ATTEMPTS": "1"}
    changed = {name: value for name, value in changed.items() if value}
    done = run(tmp_path, changed, "storage", f"places=[{place}]", expect=2)
    assert message in done.stderr
    assert message[:20] in done.stdout


def test_corpus_in_a_bucket_without_keys_is_named(
    environment: dict[str, str], tmp_path: Path
) -> None:
    changed = {name: value for name, value in environment.items() if "KEY" not in name}
    words = ("cache", "action=build", *AT_64_HZ, f"data.root={BUCKET}")
    done = run(tmp_path, changed, *words, expect=2)
    assert "AWS_ACCESS_KEY_ID" in done.stderr
