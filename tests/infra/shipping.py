"""Ships `shipped_jobs` to the loopback Modal as a module of its own and deploys its functions."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import modal
import pytest

from tests.infra import shipped_jobs

Deploy = Callable[..., Any]
"""`deploy(name, **options)`: deploy one job in the app "jobs", return the looked-up Function."""


def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Import a copy of the jobs as top-level `jobs_in_modal`: only that file is shipped."""
    source = tmp_path / "source"
    source.mkdir(exist_ok=True)
    (source / "jobs_in_modal.py").write_text(Path(shipped_jobs.__file__).read_text())
    monkeypatch.syspath_prepend(source)
    monkeypatch.delitem(sys.modules, "jobs_in_modal", raising=False)
    return __import__("jobs_in_modal")


def deployer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Deploy:
    """Return a function that deploys jobs by their name."""
    jobs = shipped(tmp_path, monkeypatch)

    def deploy(name: str, **options: Any) -> Any:
        app = modal.App("jobs")
        app.function(**options)(getattr(jobs, name))
        app.deploy()
        return modal.Function.from_name("jobs", name)

    return deploy
