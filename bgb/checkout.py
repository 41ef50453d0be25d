"""Which code of bgb this is: commit and uncommitted changes of a checkout, digest of the source."""

import hashlib
import subprocess
from pathlib import Path
from typing import Any

from bgb.redact import redact

_PACKAGE = Path(__file__).parent
_ROOT = _PACKAGE.parent
_MAX_DIFF_CHARACTERS = 2**19
_IMPORTED = ("bgb", "hydra_plugins")  # code that runs although no commit knows it
# Files that may hold secrets do not belong into a repository; if they are there, they stay there.
_NEVER = (":(exclude,glob)**/.env", ":(exclude,glob)**/.env.*")


def git_state() -> dict[str, Any] | None:  # Any: {"commit": str, "dirty": bool, "diff": str}
    """Return commit and changes of tracked files; None outside a checkout of bgb.

    `diff`, where the tree is dirty, is a patch without binary files and without the secrets of this
    environment. A large one is cut and says so in its last line.
    """
    if not (_ROOT / ".git").exists():
        return None
    try:
        commit = _git("rev-parse", "HEAD").strip()
        untracked = _git("ls-files", "--others", "--exclude-standard", "--", *_IMPORTED).split()
        if not (_git("status", "--porcelain", "--untracked-files=no").strip() or untracked):
            return {"commit": commit, "dirty": False}
        diff = redact(_git("diff", "--no-ext-diff", "--no-color", "HEAD", "--", ".", *_NEVER))
    except (OSError, subprocess.CalledProcessError):
        return None
    return {"commit": commit, "dirty": True, "diff": _bounded(diff)}


def source_digest() -> str:
    """Return the SHA-256 of the modules of bgb, which a container and a wheel have, too."""
    digest = hashlib.sha256()
    for path in sorted(_PACKAGE.rglob("*.py")):
        digest.update(f"{path.relative_to(_PACKAGE).as_posix()}\n".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def lock_digest() -> str | None:
    """Return the SHA-256 of requirements.lock of this checkout, wheel or image, if there is one."""
    paths = [folder / "requirements.lock" for folder in (_PACKAGE, _ROOT)]
    return next(
        (hashlib.sha256(path.read_bytes()).hexdigest() for path in paths if path.is_file()), None
    )


def _bounded(diff: str) -> str:
    if len(diff) <= _MAX_DIFF_CHARACTERS:
        return diff
    kept = diff[:_MAX_DIFF_CHARACTERS].rpartition("\n")[0]
    digest = hashlib.sha256(diff.encode(errors="replace")).hexdigest()
    return f"{kept}\n# cut here: {len(diff):,} characters in all, SHA-256 {digest}\n"


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(_ROOT), *arguments]
    done = subprocess.run(command, check=True, capture_output=True)
    return done.stdout.decode(errors="replace")
