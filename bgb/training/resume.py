"""Where a killed run goes on: at the newest of its last two checkpoints that is sound and its own.

One that is torn or foreign is refused aloud, and the one before it is used.
"""

import logging
from pathlib import Path
from typing import Any, NamedTuple

from bgb.config.compose import parse_config
from bgb.config.schema import TrainConfig
from bgb.errors import ConfigError, RunError
from bgb.training.checkpoint import EPOCH_END_DUE, Checkpoints, load_checkpoint
from bgb.training.run_folder import RunFolder, refuse_difference

_log = logging.getLogger(__name__)
_KEYS = {"state_dict", "loops", "callbacks", "optimizer_states", "loader", "config", "global_step"}


class ResumePoint(NamedTuple):
    """A checkpoint to go on from."""

    path: Path
    checkpoint: dict[str, Any]  # Any: a Lightning checkpoint


def find_resume_point(folder: RunFolder, config: TrainConfig) -> ResumePoint | None:
    """Return the newest sound checkpoint by its steps (lesson 71); None where there is none yet.

    One that is refused is named in a warning and put aside.

    Raises
    ------
    RunError : there are checkpoints and none is sound, or the best one is lost.
    """
    _remove_partial_files(folder)
    there = [path for path in (folder.last, folder.previous) if path.exists()]
    sound, refused = [], {}
    for path in there:
        try:
            sound.append(ResumePoint(path, _read(path, config)))
        except RunError as error:
            refused[path] = str(error)
    if not there:
        return None
    if not sound:
        raise RunError(
            f"run {folder.path} cannot go on: {'; '.join(refused.values())}. Put a sound "
            f"checkpoint there, or remove {folder.last.parent} to train anew"
        )
    for path, why in refused.items():
        # Out of the way: the next checkpoint would push it over the sound one.
        aside = path.with_suffix(".refused")
        path.replace(aside)
        _log.warning("refused, and kept as %s: %s; the other one is used", aside.name, why)
    point = max(sound, key=_progress)
    _refuse_lost_best(folder, point)
    _log.info(
        "run %s goes on at epoch %d, step %d (%s)",
        folder.path, point.checkpoint["epoch"], point.checkpoint["global_step"], point.path.name,
    )  # fmt: skip
    return point


def _read(path: Path, config: TrainConfig) -> dict[str, Any]:  # Any: a Lightning checkpoint
    """Load a checkpoint of this run.

    Raises
    ------
    RunError : it is torn, no checkpoint of bgb, or of another configuration.
    """
    checkpoint = load_checkpoint(path)
    missing = _KEYS - checkpoint.keys()
    if missing:
        raise RunError(f"{path} is no checkpoint of bgb: it has no {', '.join(sorted(missing))}")
    try:
        theirs = parse_config(checkpoint["config"], source=str(path))
    except ConfigError as error:
        raise RunError(str(error)) from error
    refuse_difference(theirs, config, what=str(path), cure="it is of another run")
    return checkpoint


def _progress(point: ResumePoint) -> tuple[int, bool]:
    """Order by optimiser steps; of two at one step the one that has its epoch's end behind it."""
    checkpoint = point.checkpoint
    return checkpoint["global_step"], not _state(checkpoint)[EPOCH_END_DUE]


def _refuse_lost_best(folder: RunFolder, point: ResumePoint) -> None:
    best_step = _state(point.checkpoint)["best_step"]
    if best_step is not None and not folder.best.exists():
        raise RunError(
            f"{folder.best} is missing, and the run is past its step {best_step}: put it back, or "
            f"remove {folder.last.parent} to train anew"
        )


def _state(checkpoint: dict[str, Any]) -> dict[str, Any]:  # Any: a Lightning checkpoint
    state: dict[str, Any] = checkpoint["callbacks"][Checkpoints.__qualname__]
    return state


def _remove_partial_files(folder: RunFolder) -> None:
    """Remove what kills in the midst of writing have left; this run is ours alone."""
    for partial in folder.last.parent.glob(".*.partial"):
        partial.unlink(missing_ok=True)
