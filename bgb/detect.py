"""`python -m bgb.detect run=<folder> input=<EDF or folder>`: find seizures in recordings.

The recording walks the same path as in training and evaluation: tiles, windows, detector,
stitching, post-processing at the threshold that was frozen on dev. Labels are not needed.
`live=true` also replays each file as a recorder would give it, and tells delay and difference.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bgb.config.compose import command
from bgb.config.schema import DetectConfig
from bgb.eeg.events import Event
from bgb.eeg.signal import SignalSpec
from bgb.errors import CacheError, ChannelError, EdfError, RunError
from bgb.files import write_atomically

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bgb.detectors import Detector
    from bgb.evaluation.live import LiveDetector
    from bgb.training.run import Run


@dataclass(frozen=True, eq=False)
class Detection:
    """What a detector found in one recording.

    Attributes
    ----------
    probability_K : probability of a seizure in each step of 1 / rate_hz seconds.
    events : detected seizures, seconds from the start.
    threshold : probability at which they were cut.
    remarks : what was odd about the file and how it was read.
    """

    probability_K: "NDArray[np.float32]"
    rate_hz: float
    duration_s: float
    events: tuple[Event, ...]
    threshold: float
    start: datetime | None
    remarks: tuple[str, ...]


DetectorOf = Callable[[SignalSpec], "Detector"]
_LIVE = ("recording", "final after", "slowest chunk", "differs by", "events")


@command(DetectConfig, name="detect")
def main(config: DetectConfig) -> None:
    """Detect in every file, write csv_bi, events.tsv and probabilities, print a table.

    A file that cannot be read does not stop the others; they are named at the end.
    """
    from rich.console import Console
    from rich.progress import track
    from rich.table import Table

    from bgb.terminal import print_table
    from bgb.training import load_run

    run, out = load_run(config.run), Path(config.out)
    detector_of = functools.cache(partial(run.detector, accelerator=config.accelerator))
    console = Console(stderr=True)
    quiet = config.disable_progress or not console.is_terminal
    table = Table("recording", "seconds", "seizures", "first at", title=f"run {run.name}")
    replays = Table(*_LIVE, title=f"replayed live, {config.chunk_s:g} s at once")
    failures = []
    for path, name in track(_inputs(config.input), "detect", console=console, disable=quiet):
        try:
            detection = detect_recording(
                run, path, threshold=config.threshold, detector_of=detector_of
            )
            if config.live:
                replay = _replay(run, path, detection, config.chunk_s, detector_of)
                replays.add_row(str(name), *replay)
        except (EdfError, ChannelError, CacheError) as error:
            failures.append(f"{name}: {error}")
            table.add_row(str(name), "-", "not read", "-")
            continue
        _write(out / name, detection)
        first = f"{detection.events[0].start_s:.1f} s" if detection.events else "-"
        table.add_row(str(name), f"{detection.duration_s:g}", str(len(detection.events)), first)
    print_table(table)
    if replays.row_count:
        print_table(replays)
    Console().print(f"events and probabilities: {out}")
    if failures:
        raise EdfError("\n".join([f"{len(failures)} files were not read:", *failures]))


def detect_recording(
    run: "Run",
    path: str | Path,
    *,
    threshold: float | None = None,
    detector_of: DetectorOf | None = None,
) -> Detection:
    """Detect seizures in one EDF file with the detector of a run.

    Parameters
    ----------
    threshold : probability of a seizure; None for the one that was frozen on dev.
    detector_of : the detector for a kind of signal, to load it once for many files; None loads it.

    Raises
    ------
    EdfError, ChannelError : the file cannot be read, or lacks the channels of the montage.
    RunError : the run has no frozen threshold and none is given.
    """
    from bgb.data.tiles import tile_recording
    from bgb.eeg import read_recording
    from bgb.evaluation.postprocess import to_events
    from bgb.evaluation.stitching import stitch_recording
    from bgb.training.build import predict

    threshold = _threshold(run, threshold)
    data = run.config.data
    recording = read_recording(path, annotations=None)
    tiles = tile_recording(recording, data.preprocess, max_missing=data.max_missing)
    detector = (detector_of or partial(run.detector, accelerator="auto"))(tiles.spec)
    series = stitch_recording(partial(predict, detector), detector, tiles, run.config.evaluation)
    events = to_events(
        series.probability_K, series.rate_hz, series.duration_s, run.config.postprocess, threshold
    )
    return Detection(
        series.probability_K,
        series.rate_hz,
        series.duration_s,
        events,
        threshold,
        recording.start,
        (*recording.remarks, *tiles.remarks),
    )


def detect_live(
    run: "Run",
    *,
    channels: Sequence[str],
    rate_hz: float,
    threshold: float | None = None,
    detector_of: DetectorOf | None = None,
) -> "LiveDetector":
    """Return what detects seizures while they are recorded, with the detector of a run.

    Parameters
    ----------
    channels : labels of the recorder's channels, as an EDF file would have them.
    rate_hz : samples a second of the recorder.
    threshold, detector_of : as for `detect_recording`.

    Raises
    ------
    EdfError, ChannelError : the rate cannot be resampled, or channels of the montage are missing.
    RunError : the run has no frozen threshold and none is given.
    """
    from bgb.data.live import LiveRecording
    from bgb.evaluation.live import LiveDetector
    from bgb.training.build import predict

    threshold = _threshold(run, threshold)
    data = run.config.data
    recording = LiveRecording(channels, rate_hz, data.preprocess, max_missing=data.max_missing)
    detector = (detector_of or partial(run.detector, accelerator="auto"))(recording.spec)
    return LiveDetector(
        partial(predict, detector),
        detector,
        recording,
        evaluation=run.config.evaluation,
        postprocess=run.config.postprocess,
        threshold=threshold,
    )


def _replay(
    run: "Run", path: Path, detection: Detection, chunk_s: float, detector_of: DetectorOf
) -> list[str]:
    """Feed a file as a recorder would; return delay, time and difference to its detection."""
    from bgb.eeg import read_recording

    recording = read_recording(path, annotations=None)
    rate_hz, signals_CT = recording.rate_hz, recording.signals_CT
    live = detect_live(
        run,
        channels=recording.channels,
        rate_hz=rate_hz,
        threshold=detection.threshold,
        detector_of=detector_of,
    )
    num_samples = max(1, round(chunk_s * rate_hz))
    for first in range(0, signals_CT.shape[1], num_samples):
        live.feed(signals_CT[:, first : first + num_samples], start_s=first / rate_hz)
    slowest_s = live.slowest_s
    live.finish()
    difference = abs(live.probability_K - detection.probability_K).max()
    same = "the same" if live.events == detection.events else f"differ: {len(live.events)}"
    return [f"{live.latency_s:g} s", f"{1000 * slowest_s:.1f} ms", f"{difference:.1e}", same]


def _threshold(run: "Run", threshold: float | None) -> float:
    if threshold is not None:
        return threshold
    if run.threshold is None:
        raise RunError(
            f"run {run.folder.path} has no scores.json, so no threshold was chosen on dev; "
            f"run `python -m bgb.evaluate run={run.folder.path}` first, or set threshold="
        )
    return run.threshold


def _inputs(given: str) -> list[tuple[Path, Path]]:
    """Return the EDF files and the name of each below the output folder, without suffix."""
    path = Path(given)
    files = [path] if path.is_file() else sorted(path.rglob("*.[eE][dD][fF]"))
    if not files:
        raise EdfError(f"input={given} is neither an EDF file nor a folder that holds one")
    root = path.parent if path.is_file() else path
    return [(file, file.relative_to(root).with_suffix("")) for file in files]


def _write(stem: Path, detection: Detection) -> None:
    import numpy as np

    from bgb.evaluation.writing import write_event_files

    write_event_files(
        stem, detection.events, duration_s=detection.duration_s, start=detection.start
    )
    write_atomically(
        stem.with_name(stem.name + "_probability.npz"),
        lambda file: np.savez(
            file, probability_K=detection.probability_K, rate_hz=detection.rate_hz
        ),
    )


if __name__ == "__main__":
    main()
