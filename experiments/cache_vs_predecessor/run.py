"""The cache of the predecessor against ours: bytes on disk and time for 64 random windows.

The predecessor stored every 60 s window, one each 10 s, as z-scored float32 in one NPZ a recording
and read a window by loading the member. Both caches are built here from the same recordings, the
same windows are read from both in alternation, and they are compared before anything is timed.
"""

# Shapes: N windows of a recording, B windows of a batch, S seconds, C channels, R samples a second,
# T samples

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from bgb.config.data import DataConfig, SyntheticCorpus, TuszCorpus
from bgb.corpora import find_corpus, load_recording
from bgb.data import CachedRecording, open_cache
from bgb.data.build import build_cache
from bgb.data.key import cache_folder
from bgb.data.windows import make_batch
from bgb.eeg.channels import assign_channels
from bgb.eeg.filters import preprocess

WINDOW_S, STRIDE_S, BATCH_SIZE = 60, 10, 64
Window = tuple[CachedRecording, int]


def main() -> None:
    """Build both caches in a temporary folder, compare, time, print and write results.json."""
    arguments = _arguments()
    with TemporaryDirectory(dir=arguments.work) as work:
        config = _config(Path(work), arguments.tusz_root, arguments.hours)
        build_cache(config, find_corpus(config))
        cache = open_cache(cache_folder(config))
        recordings = [item for item in cache if item.duration_s >= WINDOW_S]
        by_id = {recording.recording_id: recording for recording in recordings}
        theirs = _their_caches(Path(work), config, by_id)
        _compare(recordings, theirs["predecessor, np.savez"])
        results = _results(recordings, theirs, arguments.rounds)
    results["corpus"] = str(arguments.tusz_root.name if arguments.tusz_root else "synthetic")
    Console().print(_table(results))
    arguments.output.write_text(json.dumps(results, indent=1) + "\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tusz-root", type=Path, help="corpus in TUSZ layout; default: synthetic")
    parser.add_argument("--hours", type=float, default=1.6, help="length of the synthetic corpus")
    parser.add_argument("--rounds", type=int, default=3, help="batches timed for each reader")
    default = Path(__file__).with_name("results.json")
    parser.add_argument("--output", type=Path, default=default, help="results file")
    parser.add_argument("--work", type=Path, help="folder for both caches (about 1 GB an hour)")
    return parser.parse_args()


def _config(work: Path, tusz_root: Path | None, hours: float) -> DataConfig:
    small = SyntheticCorpus(
        train_patients=4, dev_patients=2, eval_patients=2, hours=hours, oddities=False
    )
    return DataConfig(
        corpus=TuszCorpus() if tusz_root else small,
        root=str(tusz_root or work / "edf"),
        cache_root=str(work / "cache"),
    )


def _float_signals(config: DataConfig) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Yield the same preprocessed signals before they are quantised, z-scored (C, T)."""
    for source in find_corpus(config).recordings:
        recording = load_recording(source)
        sources = assign_channels(recording.channels).sources
        signal_CT = np.zeros((len(sources), recording.signals_CT.shape[1]), np.float32)
        for channel, place in enumerate(sources):
            if place is not None:
                signal_CT[channel] = recording.signals_CT[place[0]] * place[1]
        signal_CT = preprocess(signal_CT, recording.rate_hz, config.preprocess)
        yield source.recording_id, _z_score(signal_CT)


def _their_caches(
    work: Path, config: DataConfig, recordings: dict[str, CachedRecording]
) -> dict[str, dict[str, Path]]:
    """Write the predecessor's files: windows (N, 19, 15360) float32 and one label a sample."""
    paths: dict[str, dict[str, Path]] = {}
    for name, save in (("np.savez", np.savez), ("np.savez_compressed", np.savez_compressed)):
        (work / name).mkdir()
        paths[f"predecessor, {name}"] = {
            recording_id: _save(save, work / name, recordings[recording_id], signal_CT)
            for recording_id, signal_CT in _float_signals(config)
            if recording_id in recordings
        }
    return paths


def _save(
    save: Callable[..., None],
    folder: Path,
    recording: CachedRecording,
    signal_CT: NDArray[np.float32],
) -> Path:
    rate_hz = recording.spec.rate_hz
    labels_T = np.zeros(signal_CT.shape[1], np.uint8)
    for event in recording.events:
        labels_T[round(event.start_s * rate_hz) : round(event.stop_s * rate_hz)] = 1
    starts = [start * rate_hz for start in _starts(recording)]
    cut = [slice(start, start + WINDOW_S * rate_hz) for start in starts]
    path = folder / f"{recording.recording_id}.npz"
    windows_NCT = np.stack([signal_CT[:, window] for window in cut])
    save(path, windows=windows_NCT, labels=np.stack([labels_T[window] for window in cut]))
    return path


def _starts(recording: CachedRecording) -> range:
    """Return the starts the predecessor had: full windows only, the rest was dropped."""
    return range(0, int(recording.duration_s) - WINDOW_S + 1, STRIDE_S)


def _z_score(signal_CT: NDArray[np.float32]) -> NDArray[np.float32]:
    mean_C1, std_C1 = signal_CT.mean(axis=1, keepdims=True), signal_CT.std(axis=1, keepdims=True)
    scaled_CT: NDArray[np.float32] = (signal_CT - mean_C1) / np.maximum(std_C1, 1e-6)
    return scaled_CT


def _read_theirs(paths: dict[str, Path], windows: Sequence[Window]) -> torch.Tensor:
    """Read as the predecessor did: mmap_mode is silently ignored for an NPZ."""
    batch = []
    for recording, start in windows:
        with np.load(paths[recording.recording_id], mmap_mode="r") as archive:
            batch.append(torch.from_numpy(archive["windows"][start // STRIDE_S]))
    return torch.stack(batch)


def _read_ours(windows: Sequence[Window]) -> torch.Tensor:
    """Read what the loader hands to the device: int16 tiles (and labels and masks with them)."""
    recordings, starts = zip(*windows, strict=True)
    return make_batch(
        recordings,
        starts,
        window_s=WINDOW_S,
        label_rate_hz=1.0,
        recordings=[0] * len(starts),
        first_sample=0,
    ).tiles_BSCR


def _read_ours_float(windows: Sequence[Window]) -> torch.Tensor:
    """Read and do on the CPU what the frontend does on the device: float32 (B, C, T)."""
    return _read_ours(windows).permute(0, 2, 1, 3).mul(windows[0][0].spec.quantum_uv).flatten(2)


def _draw(recordings: Sequence[CachedRecording], generator: np.random.Generator) -> list[Window]:
    every = [(recording, start) for recording in recordings for start in _starts(recording)]
    return [every[index] for index in generator.integers(len(every), size=BATCH_SIZE)]


def _compare(recordings: Sequence[CachedRecording], theirs: dict[str, Path]) -> None:
    """Both caches must hold the same windows: undo the z-score, compare in microvolts."""
    for recording in recordings[:3]:
        windows = [(recording, start) for start in list(_starts(recording))[:2]]
        whole_CT = recording.signal_CT()
        mean_C1, std_C1 = whole_CT.mean(axis=1)[:, None], whole_CT.std(axis=1)[:, None]
        theirs_uv = _read_theirs(theirs, windows).numpy() * std_C1 + mean_C1
        np.testing.assert_allclose(_read_ours_float(windows).numpy(), theirs_uv, atol=0.1)


def _results(
    recordings: Sequence[CachedRecording], theirs: dict[str, dict[str, Path]], rounds: int
) -> dict[str, object]:
    readers: dict[str, Callable[[list[Window]], torch.Tensor]] = {
        "bgb, int16 to the device": _read_ours,
        "bgb, scaled to float32 on the CPU": _read_ours_float,
    }
    for name, paths in theirs.items():
        readers[name] = partial(_read_theirs, paths)
    our_bytes = sum(recording.path.stat().st_size for recording in recordings)
    sizes = dict.fromkeys(list(readers)[:2], our_bytes) | {
        name: sum(path.stat().st_size for path in paths.values()) for name, paths in theirs.items()
    }
    seconds = _time(readers, recordings, rounds)
    return {
        "date": date.today().isoformat(),
        "machine": {"cpu": _cpu(), "cores": os.cpu_count(), "system": platform.platform()},
        "versions": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "torch": torch.__version__,
        },
        "recordings": len(recordings),
        "hours": sum(recording.duration_s for recording in recordings) / 3600,
        "channels": recordings[0].spec.num_channels,
        "rate_hz": recordings[0].spec.rate_hz,
        "rounds": rounds,
        "readers": {
            name: {"bytes": sizes[name], "seconds_per_batch": seconds[name]} for name in readers
        },
    }


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _time(
    readers: dict[str, Callable[[list[Window]], torch.Tensor]],
    recordings: Sequence[CachedRecording],
    rounds: int,
) -> dict[str, list[float]]:
    """Time every reader in each round, in random order; fast ones again until 0.5 s are over.

    All readers of a round read the same windows; a repetition of a fast one draws new ones.
    """
    generator = np.random.default_rng(0)
    seconds: dict[str, list[float]] = {name: [] for name in readers}
    for number in range(rounds + 1):  # the first round warms the page cache and is not counted
        drawn = _draw(recordings, generator)
        for index in generator.permutation(len(readers)):
            name, windows = list(readers)[index], drawn
            if number == 0:
                readers[name](drawn[:16])
                continue
            round_started = time.perf_counter()
            while True:
                started = time.perf_counter()
                readers[name](windows)
                now = time.perf_counter()
                seconds[name].append(now - started)
                if now - round_started > 0.5:
                    break
                windows = _draw(recordings, generator)
    return seconds


def _table(results: dict[str, object]) -> Table:
    readers = results["readers"]
    assert isinstance(readers, dict)
    ours = readers["bgb, int16 to the device"]
    best_s = statistics.median(ours["seconds_per_batch"])
    table = Table(title=f"{results['recordings']} recordings, {results['hours']:.2f} h; 64 windows")
    for column in ("cache and reader", "MB", "x bgb", "ms a batch", "x bgb"):
        table.add_column(column, justify="left" if column.startswith("cache") else "right")
    for name, row in readers.items():
        median_s = statistics.median(row["seconds_per_batch"])
        table.add_row(
            name,
            f"{row['bytes'] / 1e6:,.1f}",
            f"{row['bytes'] / ours['bytes']:.1f}",
            f"{1000 * median_s:,.1f}",
            f"{median_s / best_s:,.1f}",
        )
    return table


if __name__ == "__main__":
    main()
