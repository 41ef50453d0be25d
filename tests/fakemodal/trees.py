"""Folders as values: what a tree holds, what differs between two, and how to make up for it.

A regular file is known by its bytes and its mode, so that touching a file is no change. Files are
always replaced, never rewritten: a hard link to one keeps the bytes that it had.
"""

import hashlib
import os
import shutil
import stat
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

_SMALL_BYTES = 1 << 20


@dataclass(frozen=True)
class Node:
    """One path of a tree: kind ("file", "folder", "link"), content (digest, link target), mode."""

    kind: str
    content: str = ""
    mode: int = 0


Tree = Mapping[str, Node]


@dataclass
class Scanner:
    """Reads trees; remembers the digests of large files by inode, size and times."""

    known: dict[tuple[int, int, int, int], str] = field(default_factory=dict)

    def scan(self, root: Path) -> dict[str, Node]:
        """Return every path below `root`; what disappears meanwhile or is no file is left out."""
        found: dict[str, Node] = {}
        waiting = [""]
        while waiting:
            folder = waiting.pop()
            for entry in _entries(root / folder):
                name = f"{folder}/{entry.name}" if folder else entry.name
                try:
                    node = self._node(entry)
                except FileNotFoundError:
                    continue
                if node is not None:
                    found[name] = node
                    waiting += [name] if node.kind == "folder" else []
        return found

    def _node(self, entry: os.DirEntry[str]) -> Node | None:
        if entry.is_symlink():
            return Node("link", str(Path(entry.path).readlink()))
        if entry.is_dir():
            return Node("folder")
        status = entry.stat(follow_symlinks=False)
        if not stat.S_ISREG(status.st_mode):
            return None
        return Node("file", self._digest(Path(entry.path), status), stat.S_IMODE(status.st_mode))

    def _digest(self, path: Path, status: os.stat_result) -> str:
        if status.st_size <= _SMALL_BYTES:
            return hashlib.sha256(path.read_bytes()).hexdigest()
        key = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        if key not in self.known:
            with path.open("rb") as file:
                self.known[key] = hashlib.file_digest(file, "sha256").hexdigest()
        return self.known[key]


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []


@dataclass(frozen=True)
class Changes:
    """What turns one tree into another: paths to write (folders first) and to remove (last)."""

    written: tuple[str, ...]
    removed: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.written or self.removed)


def changes(before: Tree, after: Tree) -> Changes:
    """Return what was added, changed or removed between two scans of one folder."""
    written = sorted(path for path, node in after.items() if before.get(path) != node)
    removed = sorted(set(before) - set(after), reverse=True)
    return Changes(tuple(written), tuple(removed))


@dataclass(frozen=True)
class Writer:
    """Changes a tree path by path, each in one step as others see it.

    New files are made in `staging`, which lies outside all trees. `link` makes hard links instead
    of copies, for targets that nobody writes to.
    """

    staging: Path
    link: bool = False

    def apply(self, difference: Changes, source: Path, target: Path, nodes: Tree) -> None:
        """Carry changes over from `source` to `target`, whose other paths stay as they are.

        A folder is removed only when nothing of others is left in it.
        """
        for name in difference.removed:
            remove(target / name)
        for name in difference.written:
            if nodes[name].kind == "folder":
                make_folder(target / name)
            else:
                self._place(source / name, target / name, nodes[name].kind)

    def _place(self, source: Path, target: Path, kind: str) -> None:
        part = self.staging / uuid.uuid4().hex
        try:
            if kind == "link":
                part.symlink_to(source.readlink())
            elif self.link:
                os.link(source, part)
            else:
                shutil.copy2(source, part)
        except FileNotFoundError:  # gone since the scan: the next commit tells
            return
        replace(part, target)


def replace(part: Path, target: Path) -> None:
    """Move a finished file over `target`, in place of a whole folder if there is one."""
    make_folder(target.parent)
    if target.is_dir() and not target.is_symlink():
        shutil.rmtree(target)
    part.replace(target)


def make_folder(folder: Path) -> None:
    """Make a folder and its parents, in place of files or links of that name."""
    for path in (folder, *folder.parents):
        if path.is_symlink() or path.is_file():
            path.unlink()
        elif path.is_dir():
            break
    folder.mkdir(parents=True, exist_ok=True)


def remove(path: Path) -> None:
    """Remove a file, a link or an empty folder."""
    if path.is_dir() and not path.is_symlink():
        if not any(path.iterdir()):
            path.rmdir()
    else:
        path.unlink(missing_ok=True)
