"""DeviceSplit: the signals of a split as one int16 tensor on a device, windows gathered there.

One tensor (N, C, R) holds the seconds of all recordings, one recording after the other, and one
second of zeros at its end that stands for all padding: a window is a list of rows, and a batch is
one gather. Of each batch only a few numbers a window travel to the device: where it starts and the
seizures near it; labels come of these in float64, as on the host. Batches are bit for bit those
that `make_batch` cuts. Augmentation and normalisation follow in the detector, on the device too.
"""

# Shapes: N seconds of the split, P recordings, B windows, S seconds of a window, C channels,
# R samples a second, K output steps, E seizures

import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from threading import local
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bgb.data.cache import CachedRecording
from bgb.data.progress import ByteProgress
from bgb.data.windows import WindowBatch
from bgb.eeg.events import seizures
from bgb.errors import CacheError, ConfigError

_Loaded = TypeVar("_Loaded")
LOADERS = 8  # threads that read whole recordings: enough requests in flight for a network volume
_CHUNK_BYTES = 16 << 20


@dataclass(frozen=True, eq=False)
class DeviceSplit:
    """The recordings of a split on a device.

    Attributes
    ----------
    tiles_NCR : int16; the last second is zero.
    first_P, seconds_P : where each recording begins in `tiles_NCR`, and how long it is.
    present_PC : False for channels that the recording lacks.
    durations_P : exact lengths in seconds, float64, on the host.
    seizures_P : (E, 2) starts and stops in seconds, float64, disjoint and sorted, on the host.
    """

    tiles_NCR: Tensor
    first_P: Tensor
    seconds_P: Tensor
    present_PC: Tensor
    durations_P: NDArray[np.float64]
    seizures_P: tuple[NDArray[np.float64], ...]

    @property
    def device(self) -> torch.device:
        return self.tiles_NCR.device

    def batch(
        self,
        recordings: Sequence[int],
        starts: Sequence[float],
        *,
        judged_s: int,
        num_steps: int,
        first_sample: int,
        read_s: int,
        before_s: int = 0,
        boundary_s: float = 0.0,
    ) -> WindowBatch:
        """Gather windows into fresh tensors on the device; arguments as for `fill_batch`.

        `read_s` is the length of the tiles: judged part, context and, where windows may be
        shifted, one second more.
        """
        numbers = self._numbers(recordings, starts, judged_s=judged_s, reach_s=boundary_s / 2)
        near_B = numbers.to(_exact(self.device))  # one small copy, all exact in float64
        labels_BK, valid_BK = _steps(
            near_B, num_steps=num_steps, step_s=judged_s / num_steps, boundary_s=boundary_s
        )
        recording_B, start_B = near_B[:, :2].to(torch.int64).to(self.device).unbind(1)
        shift_B = (near_B[:, 1].frac() * self.tiles_NCR.shape[-1]).round()
        return WindowBatch(
            tiles_BSCR=self._gather(recording_B, start_B - before_s, read_s),
            present_BC=self.present_PC[recording_B],
            labels_BK=labels_BK.to(self.device),
            valid_BK=valid_BK.to(self.device),
            start_B=start_B,
            recording_B=recording_B,
            sample_B=torch.arange(first_sample, first_sample + len(starts), device=self.device),
            shift_B=shift_B.to(torch.int64).to(self.device),
        )

    def _numbers(
        self,
        recordings: Sequence[int],
        starts: Sequence[float],
        *,
        judged_s: int,
        reach_s: float,
    ) -> Tensor:
        """Return recording, start, duration and the seizures near each window, (B, 3 + 2E)."""
        near = []
        for recording, start in zip(recordings, starts, strict=True):
            spans_E2 = self.seizures_P[recording]
            first = np.searchsorted(spans_E2[:, 1], start - reach_s, side="right")
            stop = np.searchsorted(spans_E2[:, 0], start + judged_s + reach_s, side="left")
            near.append(spans_E2[first:stop].reshape(-1))
        numbers = np.zeros((len(near), 3 + max(map(len, near), default=0)))
        numbers[:, 0], numbers[:, 1] = recordings, starts
        numbers[:, 2] = self.durations_P[list(recordings)]
        for row, spans in zip(numbers, near):
            row[3 : 3 + len(spans)] = spans
        return torch.from_numpy(numbers)

    def _gather(self, recording_B: Tensor, first_B: Tensor, read_s: int) -> Tensor:
        second_BS = first_B[:, None] + torch.arange(read_s, device=self.device)
        inside_BS = (second_BS >= 0) & (second_BS < self.seconds_P[recording_B][:, None])
        zeros = len(self.tiles_NCR) - 1
        row_BS = torch.where(inside_BS, self.first_P[recording_B][:, None] + second_BS, zeros)
        tiles = self.tiles_NCR.index_select(0, row_BS.flatten())
        return tiles.view(*row_BS.shape, *tiles.shape[1:])


def load_split(
    recordings: Sequence[CachedRecording], device: torch.device, *, progress: bool = True
) -> DeviceSplit:
    """Copy a split to a device, by several threads; each signal is compared with its CRC.

    Raises
    ------
    ConfigError : the split does not fit into what is free there.
    CacheError : a file is damaged.
    """
    refuse_too_large(recordings, device, "device")
    spec, seconds = recordings[0].spec, [recording.num_seconds for recording in recordings]
    first = [0, *accumulate(seconds)]
    tiles_NCR = torch.empty(
        (first[-1] + 1, spec.num_channels, spec.rate_hz), dtype=torch.int16, device=device
    )
    tiles_NCR[-1] = 0
    buffers = local()  # one for each thread

    def copy(number: int) -> None:
        _copy(recordings[number], tiles_NCR[first[number] : first[number + 1]], buffers)

    load_each(recordings, copy, f"load to {device}", progress=progress)
    spans = [
        [[event.start_s, event.stop_s] for event in seizures(recording.events)]
        for recording in recordings
    ]
    return DeviceSplit(
        tiles_NCR=tiles_NCR,
        first_P=torch.tensor(first[:-1], device=device),
        seconds_P=torch.tensor(seconds, device=device),
        present_PC=torch.from_numpy(np.stack([item.present_C for item in recordings])).to(device),
        durations_P=np.array([recording.duration_s for recording in recordings]),
        seizures_P=tuple(np.array(span, np.float64).reshape(-1, 2) for span in spans),
    )


def load_each(
    recordings: Sequence[CachedRecording],
    load: Callable[[int], _Loaded],
    title: str,
    *,
    progress: bool,
) -> list[_Loaded]:
    """Call `load` with the number of each recording, in several threads, and show progress."""
    total = split_bytes(recordings)
    with (
        ByteProgress(title, total, len(recordings), bar=progress) as bar,
        ThreadPoolExecutor(min(LOADERS, len(recordings)), "bgb-load") as pool,
    ):
        futures = [pool.submit(load, number) for number in range(len(recordings))]
        try:
            for recording, future in zip(recordings, futures):
                future.result()
                bar.advance(recording.signal_bytes, recording.recording_id)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return [future.result() for future in futures]


def find_device(accelerator: str, rank: int = 0) -> torch.device:
    """Return the device on which process `rank` trains with `trainer.accelerator`."""
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return torch.device("cuda", rank)
    if accelerator in ("auto", "gpu", "mps") and torch.backends.mps.is_available():
        return torch.device("mps", 0)
    return torch.device("cpu")


def refuse_too_large(
    recordings: Sequence[CachedRecording], device: torch.device, residency: str
) -> None:
    """Raise `ConfigError` where the signals do not fit into what the device has free."""
    needed, free = split_bytes(recordings), free_bytes(device)
    if free is not None and needed > free:
        raise ConfigError(
            f"data.residency={residency}: {len(recordings)} recordings need {needed:,} bytes "
            f"({needed / 1e9:.1f} GB), {device} has {free:,} free ({free / 1e9:.1f} GB); set "
            "data.residency=disk, or fewer recordings with data.limit"
        )


def split_bytes(recordings: Sequence[CachedRecording]) -> int:
    """Return the size of all tiles."""
    return sum(recording.signal_bytes for recording in recordings)


def free_bytes(device: torch.device) -> int | None:
    """Return what may be allocated: on the host, without swapping; None where nobody tells."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    limits = [_available_memory(), _cgroup_memory()]
    return min((limit for limit in limits if limit is not None), default=None)


def check_signal(recording: CachedRecording, crc32: int) -> None:
    """Raise `CacheError` unless the signal that was read has the checksum of its file."""
    if crc32 != recording.meta["signal_crc32"]:
        raise CacheError(
            f"{recording.path} is damaged: its signal differs from its checksum; remove the file, "
            "then `python -m bgb.cache action=build data=...`"
        )


def _copy(recording: CachedRecording, tiles_SCR: Tensor, buffers: local) -> None:
    """Copy one recording in pieces of bounded size, through a buffer that the device can reach."""
    if not hasattr(buffers, "tiles_SCR"):
        seconds = max(1, _CHUNK_BYTES // tiles_SCR[0].nbytes)
        pinned = tiles_SCR.device.type == "cuda"
        shape = (seconds, *tiles_SCR.shape[1:])
        buffers.tiles_SCR = torch.empty(shape, dtype=torch.int16, pin_memory=pinned)
    buffer_SCR, crc32 = buffers.tiles_SCR, 0
    for begin in range(0, len(tiles_SCR), len(buffer_SCR)):
        target_SCR = tiles_SCR[begin : begin + len(buffer_SCR)]
        piece_SCR = buffer_SCR[: len(target_SCR)]
        recording.read_into(piece_SCR.numpy(), begin)
        crc32 = zlib.crc32(piece_SCR.numpy().data, crc32)
        target_SCR.copy_(piece_SCR)
    check_signal(recording, crc32)


def _exact(device: torch.device) -> torch.device:
    """Return where float64 can be computed: MPS has none."""
    return torch.device("cpu") if device.type == "mps" else device


def _steps(
    numbers: Tensor, *, num_steps: int, step_s: float, boundary_s: float
) -> tuple[Tensor, Tensor]:
    """Return labels and validity of each step (B, K): `step_labels` and `valid_steps`, batched."""
    offset_K = step_s * torch.arange(num_steps, dtype=torch.float64, device=numbers.device)
    begin_BK, duration_B1 = numbers[:, 1:2] + offset_K, numbers[:, 2:3]
    valid_BK = begin_BK < duration_B1 - 1e-9
    end_BK = begin_BK + step_s
    if boundary_s:
        middle_BK = torch.minimum(begin_BK + step_s / 2, duration_B1)
        begin_BK = (middle_BK - boundary_s / 2).clamp_min(0)
        end_BK = torch.minimum(middle_BK + boundary_s / 2, duration_B1)
    covered_BK = torch.zeros_like(begin_BK)
    for column in range(3, numbers.shape[1], 2):  # absent seizures are [0, 0): they add nothing
        start_B1, stop_B1 = numbers[:, column, None], numbers[:, column + 1, None]
        overlap_BK = torch.minimum(end_BK, stop_B1) - torch.maximum(begin_BK, start_B1)
        covered_BK += overlap_BK.clamp_min(0)
    if boundary_s:
        return (covered_BK / (end_BK - begin_BK)).to(torch.float32), valid_BK
    return (covered_BK >= step_s / 2 - 1e-9).to(torch.float32), valid_BK


def _available_memory() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    values = dict(line.split(":", 1) for line in lines)
    return int(values["MemAvailable"].split()[0]) << 10 if "MemAvailable" in values else None


def _cgroup_memory() -> int | None:
    """Return what the limit of this container leaves, files that can be dropped counted as free."""
    folder = Path("/sys/fs/cgroup")
    try:
        limit = (folder / "memory.max").read_text().strip()
        used = int((folder / "memory.current").read_text())
        lines = (folder / "memory.stat").read_text().splitlines()
    except (OSError, ValueError):
        return None
    reclaimable = int(dict(line.split() for line in lines).get("inactive_file", 0))
    return None if limit == "max" else max(0, int(limit) - used + reclaimable)
