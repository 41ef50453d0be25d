"""Where windows are read from: the files (page cache), or one copy of a split in memory.

The bytes are the same. `auto` takes memory where the split fits, and says so.
"""

import logging
import zlib
from collections.abc import Sequence

from bgb.data.cache import CachedRecording
from bgb.data.tiles import TiledRecording, Tiles
from bgb.errors import CacheError, ConfigError

_LOG = logging.getLogger(__name__)


def make_resident(
    recordings: Sequence[CachedRecording], residency: str, *, memory_gib: float
) -> tuple[Tiles, ...]:
    """Return the recordings as they are (disk) or with all their tiles in memory."""
    needed_gib = sum(recording.signal_bytes for recording in recordings) / 2**30
    if residency not in ("auto", "memory", "disk"):
        raise ConfigError(f"data.residency={residency!r} is not valid; auto, memory or disk")
    in_memory = residency == "memory" or (residency == "auto" and needed_gib <= memory_gib)
    _LOG.info(
        "residency %s: %d recordings, %.3f GiB (data.residency=%s, data.memory_gib=%g)",
        *("memory" if in_memory else "disk", len(recordings), needed_gib, residency, memory_gib),
    )
    return tuple(_in_memory(item) for item in recordings) if in_memory else tuple(recordings)


def _in_memory(recording: CachedRecording) -> TiledRecording:
    tiles_SCR = recording.tiles(0, recording.num_seconds)
    if zlib.crc32(tiles_SCR.data) != recording.meta["signal_crc32"]:
        raise CacheError(
            f"{recording.path} is damaged: its signal differs from its checksum; remove the file, "
            "then `python -m bgb.cache action=build data=...`"
        )
    return TiledRecording(
        recording_id=recording.recording_id,
        tiles_SCR=tiles_SCR,
        spec=recording.spec,
        present_C=recording.present_C,
        duration_s=recording.duration_s,
        events=recording.events,
    )
