"""Windows: a recording and a whole second; what a batch of them is, and how they are cut.

A window is judged between the seconds of context that its detector asks for on both sides, and is
known by where that part begins; context outside the recording is zero. So every second is judged
somewhere: a recording shorter than that part gives one window, padded and masked, and the last
second begun is part of the last window (lesson 12).
"""

# Shapes: B windows, S seconds of a window with its context, C channels, R samples a second,
# K output steps of the judged part

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from bgb.data.buffers import TileBuffers
from bgb.data.cache import CachedRecording
from bgb.data.labels import count_steps, step_labels, valid_steps
from bgb.data.tiles import Tiles
from bgb.errors import ConfigError


class WindowBatch(NamedTuple):
    """Windows as the detector takes them; int16 travels to the device, the frontend scales it.

    Attributes
    ----------
    tiles_BSCR : int16, or the same numbers as float32 (`TileBuffers`); zero where padded or
        missing.
    present_BC : False for channels that the recording lacks.
    labels_BK : float32; 1 where at least half of the step is seizure, or a ramp (`step_labels`).
    valid_BK : False for steps that begin at or after the end of the recording.
    start_B : first second of the judged part of the window in its recording.
    recording_B : index of the recording in its split.
    sample_B : number of the window in the whole run; seeds its augmentation.
    shift_B : samples by which the window begins after its first second. Where windows may be
        shifted, all tiles hold one second more, which the device cuts (DESIGN 4).
    """

    tiles_BSCR: torch.Tensor
    present_BC: torch.Tensor
    labels_BK: torch.Tensor
    valid_BK: torch.Tensor
    start_B: torch.Tensor
    recording_B: torch.Tensor
    sample_B: torch.Tensor
    shift_B: torch.Tensor


def num_starts(num_seconds: int, judged_s: int) -> int:
    """Return how many whole seconds a window can be judged from; at least one."""
    return max(1, num_seconds - judged_s + 1)


def window_starts(num_seconds: int, *, judged_s: int, stride_s: int) -> list[int]:
    """Return starts that cover every second; the last window ends with the recording if it can."""
    if not 0 < stride_s <= judged_s:
        raise ConfigError(
            f"stride_s={stride_s} must be in 1..judged_s={judged_s}: no second unseen"
        )
    last = num_starts(num_seconds, judged_s) - 1
    return [*range(0, last, stride_s), last]


def recording_windows(
    tiles: Tiles,
    *,
    window_s: int,
    stride_s: int,
    batch_size: int,
    label_rate_hz: float = 1.0,
    context_s: tuple[int, int] = (0, 0),
    recording: int = 0,
) -> Iterator[WindowBatch]:
    """Walk one recording, in order; `sample_B` counts its windows from 0."""
    judged_s = window_s - sum(context_s)
    return windows_at(
        tiles,
        window_starts(tiles.num_seconds, judged_s=judged_s, stride_s=stride_s),
        window_s=window_s,
        batch_size=batch_size,
        label_rate_hz=label_rate_hz,
        context_s=context_s,
        recording=recording,
    )


def windows_at(
    tiles: Tiles,
    starts: Sequence[int],
    *,
    window_s: int,
    batch_size: int,
    label_rate_hz: float = 1.0,
    context_s: tuple[int, int] = (0, 0),
    recording: int = 0,
    first_sample: int = 0,
) -> Iterator[WindowBatch]:
    """Cut some windows of one recording, in order."""
    buffers = TileBuffers(
        tiles.spec, window_s=window_s, batch_size=min(batch_size, len(starts)), keep=2
    )
    for first in range(0, len(starts), batch_size):
        batch = starts[first : first + batch_size]
        yield make_batch(
            [tiles] * len(batch),
            batch,
            window_s=window_s,
            label_rate_hz=label_rate_hz,
            context_s=context_s,
            recordings=[recording] * len(batch),
            first_sample=first_sample + first,
            buffers=buffers,
        )


def make_batch(
    tiles_B: Sequence[Tiles],
    starts_B: Sequence[int],
    *,
    window_s: int,
    label_rate_hz: float,
    recordings: Sequence[int],
    first_sample: int,
    context_s: tuple[int, int] = (0, 0),
    buffers: TileBuffers | None = None,
) -> WindowBatch:
    """Cut windows; a consumer may keep what it gets, with or without `buffers`."""
    judged_s = window_s - sum(context_s)
    batch = empty_batch(
        buffers or TileBuffers(tiles_B[0].spec, window_s=window_s, batch_size=len(tiles_B)),
        starts_B,
        num_steps=count_steps(judged_s, label_rate_hz),
        recordings=recordings,
        first_sample=first_sample,
    )
    rows = range(len(tiles_B))
    fill_batch(batch, tiles_B, starts_B, rows=rows, judged_s=judged_s, before_s=context_s[0])
    return batch


def empty_batch(
    buffers: TileBuffers,
    starts_B: Sequence[float],
    *,
    num_steps: int,
    recordings: Sequence[int],
    first_sample: int,
) -> WindowBatch:
    """Return a batch that says which windows it is to hold; `fill_batch` does the rest.

    Parameters
    ----------
    starts_B : seconds; between two whole ones where a window is shifted.
    """
    size = len(starts_B)
    tiles_BSCR = buffers.take(size)
    exact_B = torch.tensor(starts_B, dtype=torch.float64)
    return WindowBatch(
        tiles_BSCR=tiles_BSCR,
        present_BC=torch.empty((size, tiles_BSCR.shape[2]), dtype=torch.bool),
        labels_BK=torch.empty((size, num_steps), dtype=torch.float32),
        valid_BK=torch.empty((size, num_steps), dtype=torch.bool),
        start_B=exact_B.to(torch.int64),
        recording_B=torch.tensor(recordings, dtype=torch.int64),
        sample_B=torch.arange(first_sample, first_sample + size, dtype=torch.int64),
        shift_B=(exact_B.frac() * tiles_BSCR.shape[-1]).round().to(torch.int64),
    )


def fill_batch(
    batch: WindowBatch,
    tiles_B: Sequence[Tiles],
    starts_B: Sequence[float],
    *,
    rows: range,
    judged_s: int,
    before_s: int = 0,
    boundary_s: float = 0.0,
) -> None:
    """Read the windows of some rows of a batch; other threads may fill the others.

    What the system holds in memory is copied first. The rest is then under way all at once.

    Parameters
    ----------
    judged_s : seconds that have labels; they begin `before_s` after the first second read.
    """
    windows_BSCR, num_seconds = batch.tiles_BSCR.numpy(), batch.tiles_BSCR.shape[1]
    scratch_SCR = np.empty(windows_BSCR.shape[1:], np.int16)  # stays in the cache of the core
    parts = []
    for row in rows:
        first = int(starts_B[row]) - before_s
        inside = slice(max(0, -first), min(num_seconds, tiles_B[row].num_seconds - first))
        windows_BSCR[row, : inside.start] = 0
        windows_BSCR[row, inside.stop :] = 0
        window_SCR, start = windows_BSCR[row, inside], first + inside.start
        parts.append((tiles_B[row], window_SCR, start, scratch_SCR[inside]))
    absent = [part for part in parts if not _copy(*part, wait=False)]
    for tiles, window_SCR, start, _ in absent:
        assert isinstance(tiles, CachedRecording)
        tiles.announce(start, start + len(window_SCR))
    for part in absent:
        _copy(*part, wait=True)
    _describe(batch, tiles_B, starts_B, rows=rows, judged_s=judged_s, boundary_s=boundary_s)


def _copy(
    tiles: Tiles,
    window_SCR: NDArray[Any],  # Any: int16 or float32
    start_second: int,
    scratch_SCR: NDArray[np.int16],
    *,
    wait: bool,
) -> bool:
    """Fill one window; without `wait` only if that takes no disk, else return False."""
    if not isinstance(tiles, CachedRecording):
        np.copyto(window_SCR, tiles.tiles(start_second, start_second + len(window_SCR)))
        return True
    if window_SCR.dtype == np.int16:  # straight into the batch, no copy between
        return tiles.read_into(window_SCR, start_second, wait=wait)
    complete = tiles.read_into(scratch_SCR, start_second, wait=wait)
    if complete:
        np.copyto(window_SCR, scratch_SCR)
    return complete


def _describe(
    batch: WindowBatch,
    tiles_B: Sequence[Tiles],
    starts_B: Sequence[float],
    *,
    rows: range,
    judged_s: int,
    boundary_s: float,
) -> None:
    """Fill in labels and masks; what all windows share is done at once, for it holds up readers."""
    num_steps, part = batch.labels_BK.shape[1], slice(rows.start, rows.stop)
    step_s = judged_s / num_steps
    present_BC, labels_BK = batch.present_BC.numpy()[part], batch.labels_BK.numpy()[part]
    labels_BK[:] = 0
    durations_s = [tiles.duration_s for tiles in tiles_B[part]]
    batch.valid_BK.numpy()[part] = valid_steps(
        durations_s, starts_B[part], num_steps=num_steps, step_s=step_s
    )
    for row, (tiles, start_s) in enumerate(zip(tiles_B[part], starts_B[part], strict=True)):
        present_BC[row] = tiles.present_C
        if tiles.events:
            labels_BK[row] = step_labels(
                tiles.events,
                start_s,
                num_steps=num_steps,
                step_s=step_s,
                boundary_s=boundary_s,
                duration_s=tiles.duration_s,
            )
