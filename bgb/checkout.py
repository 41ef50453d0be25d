"""Which commit of bgb this is, where it runs from a checkout."""

import subprocess
from pathlib import Path
from typing import Any


def git_state() -> dict[str, Any] | None:  # Any: {"commit": str, "dirty": bool}
    """Return commit and whether the tree differs from it; None outside a checkout of bgb."""
    root = Path(__file__).parents[1]
    if not (root / ".git").exists():
        return None
    try:
        commit = _git(root, "rev-parse", "HEAD")
        dirty = bool(_git(root, "status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.CalledProcessError):
        return None
    return {"commit": commit, "dirty": dirty}


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
