"""From an EDF file to a cached file: ours, and what others do, each a function of two paths."""

import hashlib
import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bgb.config.data import DataConfig, PreprocessConfig, TuszCorpus
from bgb.corpora.base import CorpusRecording
from bgb.data.materialise import materialise
from bgb.data.npz import write_npz
from bgb.eeg.channels import assign_channels
from bgb.eeg.edf import read_edf

CONFIG = PreprocessConfig()
Pipeline = Callable[[Path, Path], object]


def ours(edf: Path, folder: Path) -> None:
    """What a worker of `bgb.cache action=build` does, hash, checksums and fsync included."""
    config = DataConfig(corpus=TuszCorpus(), root=str(edf.parent), cache_root=str(folder))
    labels = str(edf.with_suffix(".csv_bi"))
    materialise(
        folder, CorpusRecording(edf.stem, "p", "train", str(edf), labels), config, wait=True
    )


def limit(edf: Path, folder: Path) -> None:
    """Read the file and write as many bytes as ours: no hash, no microvolts, no filter."""
    contents = np.fromfile(edf, "<i2")
    header_bytes = 256 * (1 + int(edf.read_bytes()[252:256]))
    num_seconds = int(edf.read_bytes()[236:244])
    records = contents[header_bytes // 2 :].reshape(num_seconds, -1)
    tiles = np.zeros((num_seconds, 19, CONFIG.rate_hz), np.int16)
    per_second = min(CONFIG.rate_hz, records.shape[1] // 31)
    tiles[:, :, :per_second] = records[:, : 19 * per_second].reshape(num_seconds, 19, per_second)
    write_npz(folder / "limit.npz", {"signal": tiles})


def recursive(edf: Path, folder: Path) -> None:
    """What ours did before: hash, polyphase filter in float32, sections forwards and backwards."""
    hashlib.sha256(edf.read_bytes()).hexdigest()
    signals, rate_hz = _electrodes(edf)
    filtered = [recursive_filter(signal[None], rate_hz)[0] for signal in signals]
    steps = np.rint(np.stack(filtered) * 10).clip(-32767, 32767).astype(np.int16)
    tiles = steps.reshape(len(steps), -1, CONFIG.rate_hz).transpose(1, 0, 2)
    write_npz(folder / "recursive.npz", {"signal": np.ascontiguousarray(tiles)})


def predecessor(edf: Path, folder: Path) -> None:
    """pyedflib, scipy in float64, and overlapping float32 windows of 60 s, one each 10 s."""
    import pyedflib

    with pyedflib.EdfReader(str(edf)) as reader:
        rate_hz = reader.getSampleFrequency(0)
        signals = np.stack([reader.readSignal(channel) for channel in range(19)])
    signals = recursive_filter(signals, rate_hz)
    windows = np.lib.stride_tricks.sliding_window_view(signals, 15360, axis=1)[:, ::2560]
    windows = windows.transpose(1, 0, 2).astype(np.float32)
    windows = (windows - windows.mean(axis=(1, 2), keepdims=True)) / windows.std(
        axis=(1, 2), keepdims=True
    )
    np.savez(folder / "predecessor.npz", windows=windows)


def mne_default(edf: Path, folder: Path) -> None:
    """MNE's documented way: read, resample, filter, notch."""
    import mne

    raw = mne.io.read_raw_edf(edf, preload=True, verbose="error")
    raw.pick(raw.ch_names[:19]).resample(CONFIG.rate_hz, verbose="error")
    raw.filter(CONFIG.highpass_hz, CONFIG.lowpass_hz, verbose="error")
    raw.notch_filter(CONFIG.notch_hz, verbose="error")
    steps = np.rint(raw.get_data() * 1e7).clip(-32767, 32767).astype(np.int16)
    write_npz(folder / "mne.npz", {"signal": steps})


def recursive_filter(signals: np.ndarray, rate_hz: float) -> np.ndarray:
    """Resample by scipy's default polyphase filter, then Butterworth and notch, zero phase."""
    from scipy.signal import butter, iirnotch, resample_poly, sosfiltfilt, tf2sos

    if rate_hz != CONFIG.rate_hz:
        signals = signals - signals.mean(axis=1, keepdims=True)
        signals = resample_poly(signals, CONFIG.rate_hz, int(rate_hz), axis=1, padtype="line")
    band = (CONFIG.highpass_hz, CONFIG.lowpass_hz)
    sections = butter(4, band, "bandpass", fs=CONFIG.rate_hz, output="sos")
    notch = tf2sos(*iirnotch(CONFIG.notch_hz, 30, CONFIG.rate_hz))
    widths, extension = (0, 0), 10 * CONFIG.rate_hz
    extended = np.pad(
        signals.astype(np.float64), (widths, (extension,) * 2), "reflect", reflect_type="odd"
    )
    filtered = sosfiltfilt(np.concatenate([sections, notch]), extended, padtype=None)
    return filtered[:, extension:-extension]


def pipelines() -> dict[str, Pipeline]:
    """Return all that can be imported here, by title."""
    found: dict[str, Pipeline] = {
        "limit: read and write": limit,
        "bgb": ours,
        "polyphase and IIR (before)": recursive,
        "predecessor": predecessor,
    }
    if importlib.util.find_spec("mne"):
        found["MNE, defaults"] = mne_default
    return found


def _electrodes(edf: Path) -> tuple[np.ndarray, float]:
    recording = read_edf(edf)
    rows = [source[0] for source in assign_channels(recording.channels).sources if source]
    return recording.signals_CT[rows], recording.rate_hz
