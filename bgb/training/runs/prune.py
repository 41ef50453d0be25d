"""Remove what is listed first: the confirmation is a digest of exactly the files that were listed.

A run is removed with its lock held, file by file and its configuration last, so that a removal that
was killed can be repeated. Links are removed, never followed.
"""

import hashlib
import logging
import os
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.filesize import decimal
from rich.markup import escape
from rich.table import Table

from bgb.data.manifest import MANIFEST
from bgb.errors import RunError
from bgb.locks import hold, is_held, owner
from bgb.training.run_folder import RunFolder
from bgb.training.runs.find import find_runs
from bgb.training.runs.record import read_record
from bgb.training.runs.report import Report

_log = logging.getLogger(__name__)
_DAY_S = 86400
# What a run folder never holds by itself: a cache, or another run.
_FOREIGN = re.compile(
    rf".*\b{re.escape(MANIFEST)}|.*/run\.lock|.*[0-9a-f]{{16}}/(train|dev|eval)/.*"
)


@dataclass(frozen=True)
class StoredFile:
    """One file or link of a run; the path is relative to the run folder."""

    path: str
    num_bytes: int
    changed_ns: int


@dataclass(frozen=True)
class Removal:
    """What would go of one run: some files, or all of it with its folder."""

    run: str
    folder: Path
    state: str
    whole: bool
    files: tuple[StoredFile, ...]

    @property
    def num_bytes(self) -> int:
        return sum(file.num_bytes for file in self.files)


@dataclass(frozen=True)
class Listing:
    """Everything that would go; what was asked for and stays, with the reason."""

    removals: tuple[Removal, ...]
    left_alone: tuple[str, ...] = ()

    @property
    def confirmation(self) -> str:
        """Digest of every file; a letter first, so that Hydra never reads a number."""
        lines = "\n".join(
            f"{removal.run}/{file.path} {file.num_bytes} {file.changed_ns} {removal.whole}"
            for removal in self.removals
            for file in removal.files
        )
        return f"remove-{hashlib.sha256(lines.encode()).hexdigest()[:12]}"


def list_removals(results: Path, kind: str, *, match: str, older_days: float) -> Listing:
    """List what would go.

    Parameters
    ----------
    kind : "checkpoints" (of finished runs all but the best), "runs" (whole ones), "unfinished"
        (runs that failed or stopped before their training ended and have not changed for
        `older_days`).
    """
    removals, left_alone = [], []
    for name, folder in find_runs(results, match).items():
        state = read_record(folder, name).state
        files = tuple(sorted(_files(folder), key=lambda file: file.path))
        if not _is_asked_for(kind, RunFolder(folder), state, files, older_days):
            continue
        reason = _reason_to_stay(folder, files) if kind != "checkpoints" else None
        if reason:
            left_alone.append(f"{name} is left alone: {reason}")
            continue
        if kind == "checkpoints":
            files = tuple(file for file in files if _is_spare(file.path))
        if files:
            removals.append(Removal(name, folder, state, kind != "checkpoints", files))
    return Listing(tuple(removals), tuple(left_alone))


def remove(listing: Listing, *, confirm: str) -> None:
    """Remove exactly what is listed.

    Raises
    ------
    RunError : `confirm` belongs to another listing, or a run has been taken up in the meantime.
    """
    if not listing.removals:
        raise RunError(f"confirm={confirm}, but there is nothing to remove")
    if confirm != listing.confirmation:
        raise RunError(
            f"confirm={confirm} belongs to another listing: the files or the choice have changed; "
            "leave confirm= out, and look at what would go now"
        )
    for removal in listing.removals:
        _remove(removal)
        _log.info("removed %s of %s", decimal(removal.num_bytes), removal.run)


def removal_report(listing: Listing, *, done: bool) -> Report:
    """Show what would go or, when it is done, what went."""
    total = sum(removal.num_bytes for removal in listing.removals)
    notes = list(listing.left_alone)
    if not listing.removals:
        notes.append("nothing to remove")
    elif done:
        notes.append(f"removed: {decimal(total)}")
    else:
        notes.append(
            f"Nothing was removed. To remove these {decimal(total)}, repeat the command with "
            f"confirm={listing.confirmation}"
        )
    return Report(
        [_row(each) for each in listing.removals], _table(listing, total, done=done), tuple(notes)
    )


def _is_asked_for(
    kind: str, run: RunFolder, state: str, files: Sequence[StoredFile], older_days: float
) -> bool:
    if kind == "runs":
        return True
    if kind == "checkpoints":
        return state in ("finished", "evaluated") and run.best.exists()
    old_s = time.time() - max(file.changed_ns for file in files) / 1e9
    ended = state not in ("stopped", "failed") or run.is_finished()
    return not ended and old_s >= older_days * _DAY_S


def _is_spare(path: str) -> bool:
    """Tell whether a checkpoint only served to continue: a finished run needs its best one."""
    return path.startswith("checkpoints/") and not path.startswith("checkpoints/best")


def _reason_to_stay(folder: Path, files: Sequence[StoredFile]) -> str | None:
    lock = RunFolder(folder).lock
    if is_held(lock):
        return f"it is being written by {owner(lock)}"
    foreign = next((file.path for file in files if _FOREIGN.fullmatch(file.path)), None)
    return None if foreign is None else f"it holds a cache or another run ({foreign})"


def _files(folder: Path) -> Iterator[StoredFile]:
    for parent, folders, names in os.walk(folder):
        links = [name for name in folders if (Path(parent) / name).is_symlink()]
        for name in [*names, *links]:
            path = Path(parent) / name
            found = path.lstat()
            relative = path.relative_to(folder).as_posix()
            yield StoredFile(relative, found.st_size, found.st_mtime_ns)


def _remove(removal: Removal) -> None:
    run = RunFolder(removal.folder)
    with hold(run.lock, wait=False) as mine:
        if not mine:
            raise RunError(f"run {removal.run} is being written by {owner(run.lock)}; it stays")
        files = [file.path for file in removal.files if file.path != run.lock.name]
        for path in sorted(files, key=lambda path: path == run.config.name):
            (removal.folder / path).unlink()
        if removal.whole:
            for parent, folders, _ in os.walk(removal.folder, topdown=False):
                for name in folders:
                    (Path(parent) / name).rmdir()
    # The lock goes once it is let go; whoever has taken the folder up in between keeps it.
    if removal.whole and [path.name for path in removal.folder.iterdir()] == [run.lock.name]:
        run.lock.unlink()
        removal.folder.rmdir()


def _row(removal: Removal) -> dict[str, str | int]:
    changed_ns = max(file.changed_ns for file in removal.files)
    return {
        "run": removal.run,
        "state": removal.state,
        "what": "all"
        if removal.whole
        else " ".join(Path(file.path).name for file in removal.files),
        "files": len(removal.files),
        "bytes": removal.num_bytes,
        "changed": datetime.fromtimestamp(changed_ns / 1e9, UTC).isoformat(timespec="seconds"),
    }


def _table(listing: Listing, total: int, *, done: bool) -> Table:
    table = Table(title="removed" if done else "to remove", title_justify="left", show_footer=True)
    table.add_column("Run", footer="all", overflow="fold")
    table.add_column("State")
    table.add_column("What", overflow="fold")
    table.add_column("Files", justify="right")
    table.add_column("Size", decimal(total), justify="right")
    table.add_column("Changed")
    for row in map(_row, listing.removals):
        size, changed = decimal(int(row["bytes"])), str(row["changed"])[:16].replace("T", " ")
        table.add_row(
            escape(str(row["run"])), str(row["state"]), str(row["what"]), str(row["files"]),
            size, changed,
        )  # fmt: skip
    return table
