"""The loader of training against its peers: the part `peers` of run.py.

Ours runs as in training, with labels and masks: as it is (the memory of a batch is used again) and
with buffers that keep nothing (every batch lies in new memory, as those of the peers do).
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import measure
import numpy as np
import torch
from peers import Opened, open_peers
from peers.rows import QUANTUM_UV, Row
from readers import WINDOW_S, fresh, plain_readers
from rich import box
from rich.table import Table
from timing import Cost, alternate, mean, median_ms, median_ratio

from bgb.data import CachedRecording
from bgb.data.buffers import TileBuffers
from bgb.data.loader import WindowLoader
from bgb.eeg.signal import SignalSpec

TOLERANCE_UV = 0.05  # half a quantum
MEMORIES = ("reused", "fresh")
TYPES = {"float32": torch.float32, "int16": torch.int16}
THREADS = (4, 1)  # 4: the default of `data.loader`


def against_peers(
    recordings: Sequence[CachedRecording], folder: Path, rounds: int
) -> dict[str, Any]:
    """Check and time all peers that can be imported, and ours; return what goes to results.json."""
    measure.check(recordings, plain_readers(recordings))
    opened, skipped = open_peers(recordings, folder)
    rows = {_name(peer, made, row): row for peer, made in opened.items() for row in made.rows}
    for name, row in rows.items():
        check(name, row, recordings)
    costs = alternate(measure.memcpy() | _ours(recordings) | _theirs(recordings, rows), rounds)
    return {
        "costs": costs,
        "rows": {
            name: {"documented": row.documented, "reused": row.reused} for name, row in rows.items()
        },
        "peers": {name: _facts(made) for name, made in opened.items()},
        "skipped": skipped,
    }


def check(name: str, row: Row, recordings: Sequence[CachedRecording]) -> None:
    """Compare a batch of the row with the cache."""
    asked = measure.draw(recordings, np.random.default_rng(1))
    batch_BCT = row.read(asked)
    assert batch_BCT.dtype == TYPES[row.dtype], name
    windows = row.served() if row.served else asked
    expected_BCT = np.stack([recordings[n].signal_CT(s, s + WINDOW_S) for n, s in windows])
    scale = 1 if row.dtype == "float32" else QUANTUM_UV
    np.testing.assert_allclose(
        batch_BCT.numpy() * scale, expected_BCT, rtol=0, atol=TOLERANCE_UV, err_msg=name
    )


def _name(peer: str, made: Opened, row: Row) -> str:
    stubs = f" (stub: {', '.join(made.stubs)})" if made.stubs else ""
    return f"{peer}{stubs} {row.use}, {row.dtype}, {'reused' if row.reused else 'fresh'}"


def _facts(made: Opened) -> dict[str, Any]:
    return {name: value for name, value in made._asdict().items() if name != "rows"}


def _ours(recordings: Sequence[CachedRecording]) -> dict[str, Callable[[], Cost]]:
    variants: dict[str, Callable[[], Cost]] = {}
    for kind, dtype in TYPES.items():
        for threads in THREADS:
            for memory in MEMORIES:
                made = measure.loader(recordings, dtype=dtype, threads=threads)
                if memory == "fresh":
                    _keep_no_memory(made, recordings[0].spec, dtype)
                variants[ours(kind, memory, threads)] = partial(measure.steady, iter(made))
    return variants


def ours(kind: str, memory: str, threads: int = THREADS[0]) -> str:
    """Return the name of a row of ours."""
    return f"bgb loader {threads} thread(s), {kind}, {memory}"


def _keep_no_memory(made: WindowLoader, spec: SignalSpec, dtype: torch.dtype) -> None:
    """Let every batch lie in new memory, which goes back to the system with the batch."""
    made._buffers = TileBuffers(
        spec, window_s=WINDOW_S, batch_size=measure.BATCH_SIZE, dtype=dtype, keep=0
    )


def _theirs(
    recordings: Sequence[CachedRecording], rows: Mapping[str, Row]
) -> dict[str, Callable[[], Cost]]:
    generator = np.random.default_rng(2)
    readers = {name: row.read for name, row in rows.items()}
    for kind, dtype in TYPES.items():
        readers[f"bgb reads 1 thread, {kind}, fresh"] = partial(fresh, recordings, dtype=dtype)

    def timed(name: str) -> Cost:
        batches = map(readers[name], [measure.draw(recordings, generator) for _ in range(3)])
        next(batches)  # not timed, as with ours: the first takes memory that others gave back
        return mean(partial(next, batches), 2)

    return {name: partial(timed, name) for name in readers}


def peer_table(part: Mapping[str, Any]) -> Table:
    """Return ratios to ours of the same type of batch, as text that fits a README."""
    ratios = [f"{kind}x ours {memory}" for kind in ("", "CPU ") for memory in MEMORIES]
    table = Table("warm", "ms", "x memcpy", *ratios[:2], "CPU ms", *ratios[2:], box=box.MARKDOWN)
    costs = part["costs"]
    for name in sorted(costs, key=lambda name: (_type(name), median_ms(costs[name]))):
        copied = median_ratio(costs[name], costs[f"memcpy {_type(name)}"], 0)
        table.add_row(
            name + (" (documented)" if part["rows"].get(name, {}).get("documented") else ""),
            f"{median_ms(costs[name]):.1f}",
            f"{copied:.1f}",
            *(f"{_over_ours(part, name, memory):.1f}" for memory in MEMORIES),
            f"{median_ms(costs[name], 1):.1f}",
            *(f"{_over_ours(part, name, memory, 1):.1f}" for memory in MEMORIES),
        )
    return table


def verdict(part: Mapping[str, Any]) -> str:
    """Name the peers that come nearest, and those that were skipped."""
    lines = []
    for kind in TYPES:
        rows = {name: row for name, row in part["rows"].items() if _type(name) == kind}
        for title, names, memory in (
            ("documented use, x ours reused", [n for n in rows if rows[n]["documented"]], "reused"),
            ("fresh batch, x ours fresh", [n for n in rows if not rows[n]["reused"]], "fresh"),
            ("reused batch, x ours reused", [n for n in rows if rows[n]["reused"]], "reused"),
        ):
            ratios = {name: _over_ours(part, name, memory) for name in names}
            if ratios:
                best = min(ratios, key=lambda name: ratios[name])
                lines.append(f"{kind}, best {title}: {ratios[best]:.1f} ({best})")
    lines += [
        f"{name} {made['version']}: {made['bytes_a_recording'] / 1e6:.1f} MB a recording"
        for name, made in part["peers"].items()
    ]
    lines += [f"skipped: {name}: {reason}" for name, reason in part["skipped"].items()]
    return "\n".join(lines)


def _over_ours(part: Mapping[str, Any], name: str, memory: str, kind: int = 0) -> float:
    costs = part["costs"]
    return median_ratio(costs[name], costs[ours(_type(name), memory)], kind)


def _type(name: str) -> str:
    return "int16" if "int16" in name else "float32"


def peer_plot(part: Mapping[str, Any], path: Path) -> None:
    """Draw the medians, ours in colour."""
    import matplotlib as mpl

    mpl.use("agg")
    mpl.rcParams["svg.hashsalt"] = "bgb"
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(13, 5), layout="constrained", sharex=True)
    times_ms = {name: median_ms(costs) for name, costs in part["costs"].items()}
    for axis, kind in zip(axes, TYPES):
        names = [name for name in times_ms if _type(name) == kind]
        names.sort(key=lambda name: -times_ms[name])
        colors = ["C0" if name.startswith("bgb") else "C7" for name in names]
        axis.barh(names, [times_ms[name] for name in names], color=colors)
        axis.set(xlabel="ms a batch of 64 windows of 60 s, warm (median)", title=f"{kind} batches")
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
