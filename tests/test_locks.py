"""A lock names its live owner; a dead one never blocks."""

from pathlib import Path

from lock_holder import start_holder

from bgb.locks import hold, owner


def test_lock_of_a_live_process_is_refused_and_its_owner_named(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "a.lock"
    with start_holder(path) as holder:
        with hold(path, wait=False) as mine:
            assert not mine
        assert owner(path).startswith(f"process {holder.pid} on ")
        holder.communicate()


def test_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    with start_holder(path) as holder:
        holder.kill()
        holder.wait()
    with hold(path, wait=False) as mine:
        assert mine


def test_lock_that_nobody_held_has_no_owner(tmp_path: Path) -> None:
    assert owner(tmp_path / "a.lock") == "nobody"
