"""Find the run folders below a results folder, those that a sweep brought back included."""

import difflib
import os
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from bgb.data.manifest import MANIFEST
from bgb.errors import RunError
from bgb.training.runs.record import is_run

_DEEPEST = 6  # folders below results; sweeps/<date>/<job>/<run> is the fourth


def find_runs(results: Path, pattern: str = "*") -> dict[str, Path]:
    """Return run folders by their path below `results`, sorted.

    Parameters
    ----------
    pattern : glob that this path or the name of the folder must fit.

    Raises
    ------
    RunError : there is no such results folder.
    """
    if not results.is_dir():
        raise RunError(f"results={results} is no folder; name the one that holds run folders")
    found = {path.relative_to(results).as_posix(): path for path in _walk(results, _DEEPEST)}
    return {
        name: found[name]
        for name in sorted(found)
        if fnmatchcase(name, pattern) or fnmatchcase(found[name].name, pattern)
    }


def find_run(results: Path, wanted: str) -> tuple[str, Path]:
    """Return name and folder of one run, given its name, its path below results or its path.

    Raises
    ------
    RunError : there is none, or several have the name.
    """
    runs = find_runs(results)
    given = Path(wanted).expanduser().absolute()
    fitting = [
        name
        for name, path in runs.items()
        if name == wanted or path.name == wanted or path.absolute() == given
    ]
    if len(fitting) == 1:
        return fitting[0], runs[fitting[0]]
    if fitting:
        raise RunError(f"several runs are called {wanted}: give one of {', '.join(fitting)}")
    near = difflib.get_close_matches(wanted, runs, n=3, cutoff=0.4)
    hint = f"the nearest are {', '.join(near)}" if near else "`python -m bgb.runs` lists them"
    raise RunError(f"no run {wanted!r} below {results} ({len(runs)} runs); {hint}")


def _walk(folder: Path, depth: int) -> Iterator[Path]:
    """Yield the runs below a folder; links, hidden folders and caches are left alone."""
    with os.scandir(folder) as entries:
        below = sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    for name in below:
        path = folder / name
        if name.startswith(".") or (path / MANIFEST).exists():
            continue
        if is_run(path):
            yield path
        elif depth > 1:
            yield from _walk(path, depth - 1)
