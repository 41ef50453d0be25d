"""Libraries that read random windows, each as its documentation shows: the peers of our loader.

    pip install -c requirements.lock -e '.[peers]'

`open_peers` writes the recordings in the format of each peer and returns its rows. A peer that is
not installed or does not import is left out by name, with the reason.
"""

import time
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from bgb.data.cache import CachedRecording
from peers import chunked, eeg_libraries, stored_windows
from peers.rows import Row
from peers.stubs import stub_broken


class Peer(NamedTuple):
    """A library: `needs` are packages that it imports but that reading does not touch."""

    name: str  # of its distribution
    module: str
    rows: Callable[[Sequence[CachedRecording], Path], list[Row]]
    needs: tuple[str, ...] = ()


class Opened(NamedTuple):
    """A peer that is ready to read."""

    rows: list[Row]
    version: str
    stubs: list[str]
    bytes_a_recording: float
    write_s: float


PEERS = (
    Peer("h5py", "h5py", chunked.h5py_rows),
    Peer("zarr", "zarr", chunked.zarr_rows),
    Peer("tensorstore", "tensorstore", chunked.tensorstore_rows),
    Peer("pylance", "lance", chunked.lance_rows),
    Peer("webdataset", "webdataset", stored_windows.webdataset_rows),
    Peer(
        "mosaicml-streaming", "streaming", stored_windows.mds_rows, ("torchvision", "transformers")
    ),
    Peer("torcheeg", "torcheeg.io", stored_windows.torcheeg_rows),
    Peer("mne", "mne", eeg_libraries.mne_rows),
    Peer("braindecode", "braindecode", eeg_libraries.braindecode_rows, ("torchaudio",)),
)


def open_peers(
    recordings: Sequence[CachedRecording], folder: Path, peers: Sequence[Peer] = PEERS
) -> tuple[dict[str, Opened], dict[str, str]]:
    """Return the peers that can be imported, and why the others were skipped."""
    opened, skipped = {}, {}
    for peer in peers:
        try:
            installed = version(peer.name)
            stubs = stub_broken(peer.needs)
            import_module(peer.module)
        except (ImportError, OSError) as error:  # PackageNotFoundError is an ImportError
            skipped[peer.name] = f"{type(error).__name__}: {error}"
            continue
        store = folder / peer.name
        store.mkdir(parents=True)
        started = time.perf_counter()
        rows = peer.rows(recordings, store)
        write_s = time.perf_counter() - started
        num_bytes = sum(path.stat().st_size for path in store.rglob("*") if path.is_file())
        opened[peer.name] = Opened(rows, installed, stubs, num_bytes / len(recordings), write_s)
    return opened, skipped
