"""bgb trains, sweeps, scores and ships EEG seizure detectors.

The public face (everything else is private) is imported on first use, because importing torch takes
seconds and most commands fail or finish without it:

    bgb.load_run(folder) -> Run                  config, scores, detector, provenance
    bgb.detect_recording(run, path) -> Detection    probability per output step, events
    bgb.detect_live(run, channels=..., rate_hz=...) -> LiveDetector    the same of a recorder

and, in the sub-packages, bgb.eeg.read_recording, read_events, write_events; bgb.data.open_cache;
bgb.evaluation.score_szcore.
"""

from typing import TYPE_CHECKING

__version__ = "0.1.0"
__all__ = ["Detection", "LiveDetector", "detect_live", "detect_recording", "load_run"]

if TYPE_CHECKING:
    from bgb.detect import Detection, detect_live, detect_recording
    from bgb.evaluation.live import LiveDetector
    from bgb.training.run import load_run


def __getattr__(name: str) -> object:
    if name == "load_run":
        from bgb.training.run import load_run

        return load_run
    if name == "LiveDetector":
        from bgb.evaluation.live import LiveDetector

        return LiveDetector
    if name in ("Detection", "detect_live", "detect_recording"):
        from bgb import detect

        return getattr(detect, name)
    raise AttributeError(f"module 'bgb' has no attribute {name!r}")
