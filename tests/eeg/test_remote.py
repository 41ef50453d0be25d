"""Reading behind URLs: failed and dragging requests are tried again, final answers are not."""

import logging
from typing import ClassVar

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from bgb.eeg import remote
from bgb.eeg.edf import read_edf
from bgb.eeg.remote import ATTEMPTS, read_parts, read_url
from bgb.errors import EdfError
from tests.eeg.s3_stub import serve


class Flaky(MemoryFileSystem):
    """Files in memory; the next reads fail as told."""

    protocol = "flaky"
    errors: ClassVar[list[Exception]] = []
    num_reads = 0

    def info(self, path, **_):
        return {"name": path, "size": 10, "type": "file"}

    def cat_file(self, path, start=None, end=None, **_):
        type(self).num_reads += 1
        if self.errors:
            raise self.errors.pop(0)
        return b"0123456789"[start:end]


@pytest.fixture
def flaky(monkeypatch):
    fsspec.register_implementation("flaky", Flaky, clobber=True)
    monkeypatch.setattr(remote, "_FIRST_WAIT_S", 0.001)
    Flaky.errors, Flaky.num_reads = [], 0
    return Flaky


def test_read_that_fails_twice_is_tried_a_third_time_and_each_failure_is_said(flaky, caplog):
    flaky.errors = [TimeoutError("late"), OSError(5, "Input/output error")]
    with caplog.at_level(logging.WARNING):
        assert read_url("flaky://a.edf") == b"0123456789"
    assert flaky.num_reads == 3
    said = [record.getMessage() for record in caplog.records]
    assert said[0] == (
        "flaky://a.edf: attempt 1 of 5 failed (TimeoutError: late); the next in 0.001 s"
    )
    assert (
        "attempt 2 of 5 failed (OSError: [Errno 5] Input/output error); the next in 0.002 s"
        in (said[1])
    )


def test_only_the_part_that_failed_is_read_again(flaky, monkeypatch):
    monkeypatch.setattr(remote, "REQUEST_BYTES", 4)
    parts = read_parts("flaky://a.edf")
    assert next(parts) == b"0123"
    flaky.errors = [OSError("reset")]
    assert list(parts) == [b"4567", b"89"]
    assert flaky.num_reads == 4


def test_read_that_never_works_ends_with_its_last_error(flaky):
    flaky.errors = [OSError(f"failure {number}") for number in range(1, 9)]
    with pytest.raises(OSError, match=f"failure {ATTEMPTS}"):
        read_url("flaky://a.edf")
    assert flaky.num_reads == ATTEMPTS


@pytest.mark.parametrize("error", [FileNotFoundError("gone"), PermissionError("denied")])
def test_final_answer_is_not_asked_for_again(flaky, error):
    flaky.errors = [error]
    with pytest.raises(type(error)):
        read_url("flaky://a.edf")
    assert flaky.num_reads == 1


def test_part_that_comes_short_is_an_error(flaky, monkeypatch):
    monkeypatch.setattr(Flaky, "info", lambda *_, **__: {"size": 12})
    with pytest.raises(OSError, match=r"10 bytes came for \[0, 12\)"):
        read_url("flaky://a.edf")


def test_edf_that_cannot_be_fetched_is_named(flaky):
    flaky.errors = [OSError("the network is down")] * ATTEMPTS
    with pytest.raises(EdfError, match=r"flaky://a.edf: cannot be opened: the network is down"):
        read_edf("flaky://a.edf")


@pytest.fixture
def bucket(monkeypatch):
    """A store behind s3://, reached as AWS would be."""
    import s3fs

    monkeypatch.setattr(remote, "_FIRST_WAIT_S", 0.001)
    for name, value in (("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test")):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")  # botocore's own would hide ours
    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 1)
    with serve() as (store, address):
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        s3fs.S3FileSystem.clear_instance_cache()
        store.objects["eeg/a.edf"] = bytes(range(256)) * 1000
        yield store
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.mark.parametrize("faults", [["busy", "busy"], ["cut", "cut"]])
def test_bucket_that_is_busy_or_cuts_answers_is_read_in_the_end(bucket, faults):
    bucket.faults.extend(faults)
    assert read_url("s3://eeg/a.edf") == bucket.objects["eeg/a.edf"]
    assert bucket.num_gets == len(faults) + 1


def test_answer_that_trickles_is_given_up(bucket, monkeypatch, caplog):
    monkeypatch.setattr(remote, "_PATIENCE_S", 1.0)
    bucket.faults.append("trickle")
    assert read_url("s3://eeg/a.edf") == bucket.objects["eeg/a.edf"]
    assert "attempt 1 of 5 failed (FSTimeoutError" in caplog.text
