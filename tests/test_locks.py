"""A lock names its live owner; a dead one never blocks."""

import socket
from pathlib import Path

import pytest
from lock_holder import start_holder

from bgb.locks import hold, owner


def test_lock_of_a_live_process_is_refused_and_its_owner_named(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "a.lock"
    with start_holder(path) as holder:
        with hold(path, wait=False) as mine:
            assert not mine
        assert owner(path).startswith(f"process {holder.pid} on ")
        holder.communicate()


def test_lock_of_a_killed_process_is_taken_over_aloud(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    path = tmp_path / "a.lock"
    with start_holder(path) as holder:
        holder.kill()
        holder.wait()
    with hold(path, wait=False) as mine:
        assert mine
    assert f"left by process {holder.pid} on {socket.gethostname()} since 20" in caplog.text


def test_lock_that_was_let_go_names_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    path = tmp_path / "a.lock"
    for _ in range(2):
        with hold(path, wait=False) as mine:
            assert mine
        assert owner(path) == "nobody"
    assert "taken over" not in caplog.text


def test_lock_that_nobody_held_has_no_owner(tmp_path: Path) -> None:
    assert owner(tmp_path / "a.lock") == "nobody"
