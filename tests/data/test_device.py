"""A split on a device: the same batches bit for bit, refused when too large or damaged."""

import logging
from dataclasses import replace

import numpy as np
import pytest
import torch

from bgb.data import device
from bgb.data.buffers import TileBuffers
from bgb.data.device import find_device, free_bytes, load_split
from bgb.data.labels import count_steps
from bgb.data.windows import WindowBatch, empty_batch, fill_batch, make_batch
from bgb.eeg.events import Event
from bgb.errors import CacheError, ConfigError

CPU = torch.device("cpu")


def assert_same(batch: WindowBatch, expected: WindowBatch) -> None:
    for name, here, there in zip(WindowBatch._fields, batch, expected):
        assert here.dtype == there.dtype, name
        assert torch.equal(here, there), name


def all_windows(recordings, window_s):
    return [
        (number, start)
        for number, recording in enumerate(recordings)
        for start in range(max(1, recording.num_seconds - window_s + 1))
    ]


def shifted_batches(split, recordings, windows, *, window_s, label_rate_hz, boundary_s, context_s):
    """Gather and cut windows that begin between two seconds, with a second more than they need."""
    numbers, starts = map(list, zip(*windows))
    starts = [start + row % 64 / 64 for row, start in enumerate(starts)]
    steps, read_s = count_steps(window_s, label_rate_hz), window_s + sum(context_s) + 1
    here = split.batch(
        numbers,
        starts,
        judged_s=window_s,
        num_steps=steps,
        first_sample=0,
        read_s=read_s,
        before_s=context_s[0],
        boundary_s=boundary_s,
    )
    buffers = TileBuffers(recordings[0].spec, window_s=read_s, batch_size=len(starts))
    there = empty_batch(buffers, starts, num_steps=steps, recordings=numbers, first_sample=0)
    tiles_B = [recordings[number] for number in numbers]
    fill_batch(
        there,
        tiles_B,
        starts,
        rows=range(len(starts)),
        judged_s=window_s,
        before_s=context_s[0],
        boundary_s=boundary_s,
    )
    return here, there


@pytest.mark.parametrize("context_s", [(0, 0), (3, 0), (20, 70)])
@pytest.mark.parametrize("boundary_s", [0.0, 0.3, 5.0])
@pytest.mark.parametrize(("window_s", "label_rate_hz"), [(8, 1.0), (8, 0.25), (9, 64.0), (60, 0.1)])
def test_shifted_windows_with_ramps_are_those_of_the_files(
    cache, window_s, label_rate_hz, boundary_s, context_s
):
    recordings = cache.split("train")
    here, there = shifted_batches(
        load_split(recordings, CPU),
        recordings,
        all_windows(recordings, window_s),
        window_s=window_s,
        label_rate_hz=label_rate_hz,
        boundary_s=boundary_s,
        context_s=context_s,
    )
    assert_same(here, there)
    assert there.labels_BK.isfinite().all()
    assert there.shift_B[:5].tolist() == list(range(len(there.shift_B)))[:5]
    assert bool(boundary_s) == bool(((there.labels_BK > 0) & (there.labels_BK < 1)).any())


def batches(split, recordings, windows, *, window_s, label_rate_hz, first_sample=0):
    numbers, starts = map(list, zip(*windows))
    steps = count_steps(window_s, label_rate_hz)
    here = split.batch(
        numbers,
        starts,
        judged_s=window_s,
        read_s=window_s,
        num_steps=steps,
        first_sample=first_sample,
    )
    there = make_batch(
        [recordings[number] for number in numbers],
        starts,
        window_s=window_s,
        label_rate_hz=label_rate_hz,
        recordings=numbers,
        first_sample=first_sample,
    )
    return here, there


@pytest.mark.parametrize(
    ("window_s", "label_rate_hz"),
    [(8, 1.0), (8, 0.25), (5, 3.0), (60, 0.1), (9, 64.0)],  # 60 s: longer than any recording
)
def test_every_window_is_bit_for_bit_that_of_the_files(cache, window_s, label_rate_hz):
    recordings = cache.split("train")
    here, there = batches(
        load_split(recordings, CPU),
        recordings,
        all_windows(recordings, window_s),
        window_s=window_s,
        label_rate_hz=label_rate_hz,
        first_sample=7,
    )
    assert_same(here, there)
    assert there.labels_BK.any()


def test_labels_of_many_seizures_are_those_of_the_host(cache):
    generator = np.random.default_rng(0)
    recordings = []
    for recording in cache.split("train"):
        starts = np.round(generator.uniform(0, recording.num_seconds - 1, 30), 4)
        stops = np.minimum(starts + np.round(generator.exponential(0.7, 30), 2) + 1e-4, 12.5)
        events = [
            Event(float(start), float(stop), "seiz")
            for start, stop in zip(starts, stops)
            if start < stop
        ]
        recordings.append(replace(recording, entry=replace(recording.entry, events=tuple(events))))
    for label_rate_hz in (1.0, 0.5, 7.0):
        here, there = batches(
            load_split(recordings, CPU),
            recordings,
            all_windows(recordings, 6),
            window_s=6,
            label_rate_hz=label_rate_hz,
        )
        assert_same(here, there)
        assert 0.05 < there.labels_BK.mean() < 0.95


def test_recordings_are_copied_in_pieces_of_bounded_size(cache, monkeypatch):
    recordings = cache.split("train")
    expected = load_split(recordings, CPU).tiles_NCR
    monkeypatch.setattr(device, "_CHUNK_BYTES", 3 * expected[0].nbytes)  # 40 s: 14 pieces
    assert torch.equal(load_split(recordings, CPU).tiles_NCR, expected)
    assert len(expected) == sum(recording.num_seconds for recording in recordings) + 1


def test_consumer_may_change_a_batch(cache):
    recordings = cache.split("train")
    split = load_split(recordings, CPU)
    before = split.tiles_NCR.clone()
    arguments = {"judged_s": 8, "read_s": 8, "num_steps": 8, "first_sample": 0}
    split.batch([0, 1], [0, 3], **arguments).tiles_BSCR.fill_(1)
    assert torch.equal(split.tiles_NCR, before)


def test_split_that_does_not_fit_is_refused_with_both_sizes(cache, monkeypatch):
    recordings = cache.split("train")
    needed = sum(recording.signal_bytes for recording in recordings)
    monkeypatch.setattr(device, "free_bytes", lambda _: needed - 1)
    with pytest.raises(ConfigError) as refused:
        load_split(recordings, CPU)
    assert f"residency=device: 3 recordings need {needed:,} bytes" in str(refused.value)
    assert f"cpu has {needed - 1:,} free" in str(refused.value)
    assert "data.residency=disk" in str(refused.value)
    monkeypatch.setattr(device, "free_bytes", lambda _: needed)
    load_split(recordings, CPU)


def test_damaged_signal_does_not_get_onto_the_device(cache, tmp_path):
    recordings = list(cache.split("train"))
    copy = tmp_path / "damaged.npz"
    content = bytearray(recordings[1].path.read_bytes())
    content[5000] ^= 1  # in the signal, which begins at 4096
    copy.write_bytes(content)
    recordings[1] = replace(recordings[1], path=copy)
    with pytest.raises(CacheError, match=r"damaged.npz is damaged: its signal differs"):
        load_split(recordings, CPU)


def test_loading_says_how_much_it_loads(cache, caplog):
    caplog.set_level(logging.INFO)
    load_split(cache.split("train"), CPU)
    assert "load to cpu: 3 files, 0.2 MB" in caplog.text


def test_device_is_that_of_the_accelerator():
    assert find_device("cpu") == CPU
    best = "cuda" if torch.cuda.is_available() else "cpu"
    if not torch.backends.mps.is_available():
        assert find_device("auto").type == find_device("gpu").type == best


def test_free_memory_of_the_host_is_known_and_bounded_by_the_container(monkeypatch):
    free = free_bytes(CPU)
    assert free is not None and free > 1 << 20
    monkeypatch.setattr(device, "_cgroup_memory", lambda: 12345)
    assert free_bytes(CPU) == 12345
    monkeypatch.setattr(device, "_cgroup_memory", lambda: None)
    monkeypatch.setattr(device, "_available_memory", lambda: None)
    assert free_bytes(CPU) is None
