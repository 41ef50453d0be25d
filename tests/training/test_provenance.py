"""provenance.json: what made a run, session by session, and why it failed."""

import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from bgb import job
from bgb.config.schema import TrainConfig
from bgb.eeg.signal import ZSCORE_SPEC
from bgb.errors import RunError
from bgb.files import read_json, write_json
from bgb.training import provenance
from bgb.training.run_folder import RunFolder, default_name, run_folder

ROOT = Path(__file__).parents[2]
MakeConfig = Callable[..., TrainConfig]


def started(config: TrainConfig) -> tuple[RunFolder, dict[str, object]]:
    """Start a session of a run; return its folder and what was recorded of the session."""
    folder = run_folder(config)
    folder.path.mkdir(parents=True, exist_ok=True)
    provenance.start(
        folder,
        config,
        device=torch.device("cpu"),
        signal=ZSCORE_SPEC,
        cache_key="key",
        corpus={},
        patients={},
    )
    return folder, read_json(folder.provenance)["sessions"][-1]


def code_is(monkeypatch: pytest.MonkeyPatch, **state: str | bool) -> None:
    monkeypatch.setattr(provenance, "git_state", lambda: {"commit": "c0ffee", **state})


def test_versions_are_those_of_every_direct_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    direct = [text.partition(">")[0].partition("=")[0] for text in project["dependencies"]]
    assert sorted(provenance.PACKAGES) == sorted(direct)


def test_digests_of_configuration_lock_and_source_are_recorded(make_config: MakeConfig) -> None:
    config = make_config("seed=3")
    folder, session = started(config)
    record = read_json(folder.provenance)
    assert default_name(config).endswith(record["config"][:8])
    assert record["seeds"]["seed"] == 3
    assert all(len(str(session[name])) == 64 for name in ("lock", "source"))
    assert session["sweep"] is None


def test_uncommitted_changes_lie_beside_and_earlier_ones_stay(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for diff in ("one\n", "one\n", "two\n"):
        code_is(monkeypatch, dirty=True, diff=diff)
        folder, session = started(make_config())
        found.append(session["code"]["diff"])
    assert found[:2] == ["code.diff", "code.diff"]
    assert (folder.path / "code.diff").read_text() == "one\n"
    assert (folder.path / found[2]).read_text() == "two\n"


def test_clean_code_leaves_no_diff(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    code_is(monkeypatch, dirty=False)
    folder, session = started(make_config())
    assert session["code"] == {"commit": "c0ffee", "dirty": False}
    assert not list(folder.path.glob("*.diff"))


def test_container_without_git_records_the_code_of_its_ticket(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provenance, "git_state", lambda: None)
    sent = {"commit": "c0ffee", "dirty": True, "diff": "from afar\n"}
    monkeypatch.setattr(job.current(), "code", lambda: sent)
    folder, session = started(make_config())
    assert session["code"]["commit"] == "c0ffee"
    assert (folder.path / "code.diff").read_text() == "from afar\n"


def test_arguments_are_recorded_without_secrets(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["train", "seed=1", "+hydra.job.env_set.WANDB_API_KEY=abc"])
    _, session = started(make_config())
    assert session["arguments"] == ["seed=1", "+hydra.job.env_set.WANDB_API_KEY=***"]


def test_failure_is_noted_and_forgotten_when_the_run_succeeds(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    write_json(folder.provenance, {"finished": None, "seconds": 3.0})
    with pytest.raises(RunError), provenance.failures_noted(folder):
        raise RunError("loss is nan")
    record = read_json(folder.provenance)
    assert record == {"finished": None, "seconds": 3.0, "failure": "RunError: loss is nan"}
    with provenance.failures_noted(folder):
        pass
    assert read_json(folder.provenance) == {"finished": None, "seconds": 3.0}


def test_failure_before_the_first_session_is_noted_too(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    with pytest.raises(ValueError, match="no data"), provenance.failures_noted(folder):
        raise ValueError("no data")
    assert read_json(folder.provenance)["failure"] == "ValueError: no data"
    assert not folder.is_finished()


def test_stop_is_no_failure(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    with pytest.raises(SystemExit), provenance.failures_noted(folder):
        raise SystemExit(143)
    assert not folder.provenance.exists()
