"""Which code ran: commit, changes of tracked files, digest of the source."""

import hashlib
import subprocess
from pathlib import Path

import pytest

from bgb import checkout

TOKEN = "0123456789abcdefghij"


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with two committed files that takes the place of the checkout of bgb."""
    (tmp_path / "module.py").write_text("LR = 1\n")
    (tmp_path / ".env").write_text("PASSWORD=committed-by-mistake\n")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "first")
    monkeypatch.setattr(checkout, "_ROOT", tmp_path)
    return tmp_path


def git(folder: Path, *words: str) -> None:
    who = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    subprocess.run(["git", "-C", str(folder), *who, *words], check=True, capture_output=True)


def test_clean_checkout_has_a_commit_and_no_diff(repository: Path) -> None:
    (repository / "untracked.py").touch()
    state = checkout.git_state()
    assert state is not None
    assert (len(state["commit"]), state["dirty"], "diff" in state) == (40, False, False)


def test_diff_of_a_dirty_checkout_applies_to_its_commit(repository: Path) -> None:
    (repository / "module.py").write_text("LR = 2\n")
    state = checkout.git_state()
    assert state is not None and state["dirty"]
    git(repository, "checkout", "--quiet", "module.py")
    (repository / "a.diff").write_text(state["diff"])
    git(repository, "apply", "a.diff")
    assert (repository / "module.py").read_text() == "LR = 2\n"


def test_diff_holds_no_untracked_file_no_env_file_and_no_secret(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_TOKEN", TOKEN)
    (repository / "untracked.py").write_text("KEY = 'untracked'\n")
    (repository / ".env").write_text("PASSWORD=changed-by-mistake\n")
    (repository / "module.py").write_text(f"KEY = '{TOKEN}'\nURL = 's3://me:pass@host'\n")
    state = checkout.git_state()
    assert state is not None
    assert "+KEY = '***'\n+URL = 's3://me:***@host'" in state["diff"]
    for text in ("untracked", "mistake", TOKEN):
        assert text not in state["diff"]


def test_large_diff_is_cut_and_says_so(repository: Path) -> None:
    (repository / "module.py").write_text("x = 1\n" * 200_000)
    state = checkout.git_state()
    assert state is not None
    assert len(state["diff"]) < 2**19 + 200
    assert state["diff"].splitlines()[-1].startswith("# cut here: 1,4")


def test_digest_of_the_source_changes_with_any_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkout, "_PACKAGE", tmp_path)
    (tmp_path / "a.py").write_text("1")
    first = checkout.source_digest()
    (tmp_path / "a.txt").write_text("no module")
    assert checkout.source_digest() == first
    (tmp_path / "a.py").write_text("2")
    assert checkout.source_digest() != first


def test_lock_file_is_found_beside_or_within_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkout, "_PACKAGE", tmp_path / "bgb")
    monkeypatch.setattr(checkout, "_ROOT", tmp_path)
    assert checkout.lock_digest() is None
    (tmp_path / "requirements.lock").write_text("torch==2.13.0\n")
    assert checkout.lock_digest() == hashlib.sha256(b"torch==2.13.0\n").hexdigest()
