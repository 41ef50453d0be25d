"""Where windows are read from: the files (page cache), a copy of the split in memory, or a device.

The bytes are the same. `auto` takes the GPU that trains where the split fills at most half of what
is free there, else memory up to `data.memory_gib`, else the files, and says so.
"""

import logging
import zlib
from collections.abc import Sequence

import numpy as np
import torch

from bgb.data.cache import CachedRecording
from bgb.data.device import (
    DeviceSplit,
    check_signal,
    free_bytes,
    load_each,
    load_split,
    refuse_too_large,
    split_bytes,
)
from bgb.data.tiles import TiledRecording, Tiles
from bgb.errors import ConfigError

_LOG = logging.getLogger(__name__)
RESIDENCIES = ("auto", "device", "memory", "disk")
_CHUNK_BYTES = 16 << 20
_CPU = torch.device("cpu")


def make_resident(
    recordings: Sequence[CachedRecording],
    residency: str,
    *,
    memory_gib: float,
    device: torch.device = _CPU,
    progress: bool = True,
) -> tuple[Tiles, ...] | DeviceSplit:
    """Return the recordings as they are (disk), with their tiles in memory, or all on a device.

    Parameters
    ----------
    device : where the detector is trained.

    Raises
    ------
    ConfigError : `residency` is unknown, or the split does not fit there.
    CacheError : a file is damaged (not with disk, where only a few windows are read at a time).
    """
    needed = split_bytes(recordings)
    chosen = _choose(needed, device, memory_gib) if residency == "auto" else residency
    if chosen not in RESIDENCIES:
        raise ConfigError(f"data.residency={residency!r} is not valid; {', '.join(RESIDENCIES)}")
    where = f"{chosen} {device}" if chosen == "device" else chosen
    _LOG.info(
        "residency %s: %d recordings, %.3f GiB (data.residency=%s, data.memory_gib=%g)",
        *(where, len(recordings), needed / 2**30, residency, memory_gib),
    )
    if chosen == "device":
        return load_split(recordings, device, progress=progress)
    return load_memory(recordings, progress=progress) if chosen == "memory" else tuple(recordings)


def load_memory(
    recordings: Sequence[CachedRecording], *, progress: bool = True
) -> tuple[TiledRecording, ...]:
    """Read whole recordings, by several threads; each signal is compared with its CRC."""
    refuse_too_large(recordings, _CPU, "memory")
    loaded = load_each(
        recordings, lambda number: _load(recordings[number]), "load to memory", progress=progress
    )
    return tuple(loaded)


def _choose(needed: int, device: torch.device, memory_gib: float) -> str:
    if device.type == "cuda" and needed <= (free_bytes(device) or 0) // 2:
        return "device"
    free = free_bytes(_CPU)
    fits = needed <= memory_gib * 2**30 and (free is None or needed <= free)
    return "memory" if fits else "disk"


def _load(recording: CachedRecording) -> TiledRecording:
    spec = recording.spec
    tiles_SCR = np.empty((recording.num_seconds, spec.num_channels, spec.rate_hz), np.int16)
    step, crc32 = max(1, _CHUNK_BYTES // tiles_SCR[0].nbytes), 0
    for begin in range(0, len(tiles_SCR), step):
        piece_SCR = tiles_SCR[begin : begin + step]
        recording.read_into(piece_SCR, begin)
        crc32 = zlib.crc32(piece_SCR.data, crc32)
    check_signal(recording, crc32)
    return TiledRecording(
        recording_id=recording.recording_id,
        tiles_SCR=tiles_SCR,
        spec=spec,
        present_C=recording.present_C,
        duration_s=recording.duration_s,
        events=recording.events,
    )
