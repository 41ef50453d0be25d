"""The loader: order, residency, threads, and resuming with the very next batch under Lightning."""

from dataclasses import replace

import pytest
import pytorch_lightning as pl
import torch
from torch import nn

from bgb.config.augment import (
    AugmentConfig,
    BandstopConfig,
    MirrorConfig,
    NoiseConfig,
    ShiftConfig,
)
from bgb.config.data import SamplingConfig
from bgb.corpora import find_corpus
from bgb.data.key import cache_folder
from bgb.data.labels import step_labels
from bgb.data.loader import WindowLoader
from bgb.data.module import EegDataModule
from bgb.data.npz import SignalHandle
from bgb.data.windows import WindowBatch
from bgb.detectors.augment import Augmentation
from bgb.detectors.frontend import Frontend
from bgb.errors import CacheError

SAMPLING = SamplingConfig(windows_per_epoch=22)  # the sixth batch holds two windows


@pytest.fixture
def make_loader(cache):
    def make(**changes):
        values = {"window_s": 8, "batch_size": 4, "label_rate_hz": 1.0, "seed": 0}
        return WindowLoader(cache.split("train"), SAMPLING, **{**values, **changes})

    return make


def same(one: WindowBatch, other: WindowBatch) -> bool:
    return all(torch.equal(left, right) for left, right in zip(one, other, strict=True))


def test_an_epoch_has_len_batches_and_the_last_may_be_smaller(make_loader):
    loader = make_loader()
    batches = list(loader)
    assert len(batches) == len(loader) == 6
    assert [len(batch.start_B) for batch in batches] == [4, 4, 4, 4, 4, 2]
    assert torch.cat([batch.sample_B for batch in batches]).tolist() == list(range(22))


def test_each_iteration_is_the_next_epoch_with_sample_numbers_of_the_whole_run(make_loader):
    loader = make_loader()
    first, second = list(loader), list(loader)
    assert not same(first[0], second[0])
    assert second[0].sample_B.tolist() == [22, 23, 24, 25]


def test_an_epoch_left_early_is_followed_by_the_next(make_loader):
    loader = make_loader()
    next(iter(loader))  # as limit_train_batches or a sanity check does
    assert next(iter(loader)).sample_B.tolist() == [22, 23, 24, 25]


def test_batch_holds_the_windows_it_says(make_loader, cache):
    recordings = cache.split("train")
    for batch in make_loader(label_rate_hz=0.25):
        assert batch.labels_BK.shape[1] == 2
        for tiles_SCR, number, start in zip(batch.tiles_BSCR, batch.recording_B, batch.start_B):
            expected = recordings[number].tiles(int(start), int(start) + 8)
            assert (tiles_SCR.numpy() == expected).all()


def test_seizure_windows_are_in_the_epoch(make_loader):  # lesson 14
    labels = torch.cat([batch.labels_BK for batch in make_loader()])
    assert labels.any(dim=1).float().mean() > 0.3


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("residency", ["disk", "memory", "device", "auto"])
def test_bytes_do_not_depend_on_residency_or_threads(make_loader, residency, threads):
    expected = list(make_loader())
    loader = make_loader(residency=residency, threads=threads)
    assert all(same(one, other) for one, other in zip(expected, loader, strict=True))


@pytest.mark.parametrize("num_processes", [2, 3, 4])
@pytest.mark.parametrize("residency", ["disk", "memory", "device"])
def test_shares_of_the_processes_make_up_every_batch(make_loader, residency, num_processes):
    shares = [
        make_loader(residency=residency, rank=rank, num_processes=num_processes, threads=3)
        for rank in range(num_processes)
    ]
    for batch, *parts in zip(make_loader(), *shares, strict=True):
        sizes = [len(part.start_B) for part in parts]
        assert max(sizes) - min(sizes) <= 1
        whole = WindowBatch(*(torch.cat(columns) for columns in zip(*parts)))
        assert same(batch, whole)


def test_state_of_a_share_is_that_of_whole_batches(make_loader):
    one, two = make_loader(), make_loader(rank=1, num_processes=2)
    for batches in (iter(one), iter(two)):
        next(batches), next(batches)
    assert one.state_dict() == two.state_dict() == {"epoch": 0, "position": 2}
    two.load_state_dict(one.state_dict())
    assert next(iter(two)).sample_B.tolist() == [10, 11]


SHIFTED = {"shift": ShiftConfig(probability=0.7), "boundary_s": 2.0}
AUGMENT = AugmentConfig(
    shift=SHIFTED["shift"],
    mirror=MirrorConfig(0.5),
    noise=NoiseConfig(0.5),
    bandstop=BandstopConfig(0.5),
)


def test_shifted_windows_hold_a_second_more_and_the_labels_of_their_exact_start(make_loader, cache):
    recordings, shifts = cache.split("train"), []
    for batch, whole in zip(make_loader(**SHIFTED), make_loader(), strict=True):
        assert batch.tiles_BSCR.shape[1:] == (9, 19, 64)
        assert torch.equal(batch.start_B, whole.start_B)
        assert torch.equal(batch.tiles_BSCR[:, :8], whole.tiles_BSCR)
        for number, start, shift, labels_K in zip(
            batch.recording_B.tolist(), batch.start_B.tolist(), batch.shift_B, batch.labels_BK
        ):
            expected_K = step_labels(
                recordings[number].events,
                start + shift.item() / 64,
                num_steps=8,
                step_s=1.0,
                boundary_s=2.0,
                duration_s=recordings[number].duration_s,
            )
            assert labels_K.tolist() == expected_K.tolist()
        shifts += batch.shift_B.tolist()
    assert min(shifts) >= 0 and 32 < max(shifts) < 64
    assert 0.4 < sum(shift > 0 for shift in shifts) / len(shifts) < 0.95


def test_shifts_are_below_their_bound_and_drawn_afresh_each_epoch(make_loader):
    loader = make_loader(shift=ShiftConfig(probability=1.0, max_s=0.25))
    first, second = (torch.cat([batch.shift_B for batch in loader]) for _ in range(2))
    assert not torch.equal(first, second)
    assert max(first.max(), second.max()) < 16


@pytest.mark.parametrize("residency", ["disk", "memory", "device"])
@pytest.mark.parametrize("batch_size", [4, 9])
def test_augmented_windows_do_not_depend_on_residency_or_batch(
    make_loader, cache, residency, batch_size
):
    augmentation = Augmentation(AUGMENT, cache.spec, seed=0)

    def windows(**changes):
        batches = [
            (*augmentation(*batch[:2], labels_BK=batch[2], sample_B=batch[6], shift_B=batch[7]),
             *batch[2:])
            for batch in make_loader(**SHIFTED, **changes)
        ]  # fmt: skip
        return [torch.cat(parts) for parts in zip(*batches)]

    dtype = torch.float32 if residency == "memory" else torch.int16
    expected = windows()
    actual = windows(residency=residency, batch_size=batch_size, threads=2, dtype=dtype)
    assert same(actual, expected)
    assert not torch.equal(actual[0], torch.cat([b.tiles_BSCR for b in make_loader()]).float())


def test_auto_residency_is_chosen_by_size_and_said_aloud(make_loader, caplog):
    caplog.set_level("INFO")
    make_loader(residency="auto", memory_gib=1.0)
    make_loader(residency="auto", memory_gib=1e-6)
    assert "residency memory: 3 recordings, 0.000 GiB" in caplog.text
    assert "residency disk: 3 recordings" in caplog.text


def test_consumer_may_keep_its_batches(make_loader):
    loader = make_loader()
    copies = [(batch, batch.tiles_BSCR.clone()) for batch in loader]
    assert all(torch.equal(batch.tiles_BSCR, copy) for batch, copy in copies)


def test_consumer_may_keep_a_part_of_every_batch(make_loader):
    parts = [(batch.tiles_BSCR[-1, 3:], batch.tiles_BSCR.clone()) for batch in make_loader()]
    assert all(torch.equal(part, copy[-1, 3:]) for part, copy in parts)


def test_memory_of_batches_is_used_again(make_loader):
    loader = make_loader(threads=2)
    places = {batch.tiles_BSCR.data_ptr() for _ in range(10) for batch in loader}
    assert len(places) <= 4 < 10 * len(loader)  # two ahead, one in use, one just let go of
    assert 1 <= len(loader._buffers._free) <= 4


@pytest.mark.parametrize("residency", ["disk", "memory"])
def test_float_batches_hold_the_same_numbers_channel_by_channel(make_loader, residency):
    loader = make_loader(residency=residency, dtype=torch.float32, threads=2)
    for floats, steps in zip(loader, make_loader(), strict=True):
        assert floats.tiles_BSCR.dtype == torch.float32
        assert floats.tiles_BSCR.transpose(1, 2).is_contiguous()
        assert torch.equal(floats.tiles_BSCR, steps.tiles_BSCR.float())
        assert same(floats[1:], steps[1:])


@pytest.mark.parametrize("dtype", [torch.int16, torch.float32])
def test_detector_sees_the_same_in_both_types(make_loader, cache, dtype):
    frontend = Frontend(cache.spec, rate_hz=64, normalise="window")
    for batch, steps in zip(make_loader(dtype=dtype), make_loader(), strict=True):
        seen = frontend(batch.tiles_BSCR, batch.present_BC)
        assert torch.equal(seen, frontend(steps.tiles_BSCR, steps.present_BC))


def test_windows_that_are_not_in_memory_are_announced_then_read(make_loader, monkeypatch):
    announced = []

    def announce(self, start_second, stop_second):
        announced.append((start_second, stop_second))

    def read_into(self, tiles_SCR, start_second):
        assert len(announced) % 4 == 0 or len(announced) == 22  # all of a batch before any is read
        read(self, tiles_SCR, start_second)

    expected = list(make_loader())
    read = SignalHandle.read_into
    monkeypatch.setattr(SignalHandle, "read_cached", lambda *_: False)
    monkeypatch.setattr(SignalHandle, "announce", announce)
    monkeypatch.setattr(SignalHandle, "read_into", read_into)
    for dtype in (torch.int16, torch.float32):
        announced.clear()
        got = list(make_loader(residency="disk", dtype=dtype))
        assert len(announced) == 22
        assert all(torch.equal(a.tiles_BSCR, b.tiles_BSCR.to(dtype)) for a, b in zip(got, expected))


@pytest.mark.parametrize("residency", ["disk", "device"])
@pytest.mark.parametrize("position", [0, 1, 5, 6])
def test_loaded_state_continues_with_the_very_next_batch(
    make_loader, position, residency
):  # lesson 67
    first = make_loader(threads=3, residency=residency)
    iterator = iter(first)
    for _ in range(position):
        next(iterator)
    state = first.state_dict()
    expected = [*iterator, *first] if position < 6 else list(first)
    resumed = make_loader(residency=residency)
    resumed.load_state_dict(state)
    got = [*resumed, *resumed] if 0 < position < 6 else list(resumed)
    assert len(got) == {0: 6, 1: 11, 5: 7, 6: 6}[position]
    assert all(same(one, other) for one, other in zip(got, expected))


def test_reader_errors_reach_the_consumer(make_loader, cache, tmp_path):
    missing = [replace(item, path=tmp_path / "gone.npz") for item in cache.split("train")]
    loader = WindowLoader(missing, SAMPLING, window_s=8, batch_size=4, label_rate_hz=1.0, seed=0)
    with pytest.raises(CacheError, match=r"gone.npz cannot be opened: No such file"):
        next(iter(loader))


class Recorder(pl.LightningModule):
    """Learns a little and notes which samples it saw."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(19, 1)
        self.seen: list[tuple[int, ...]] = []

    def training_step(self, batch, batch_idx):
        self.seen.append(tuple(batch.sample_B.tolist()))
        power_BC = batch.tiles_BSCR.float().square().mean(dim=(1, 3)) / 1e6
        return nn.functional.mse_loss(self.layer(power_BC)[:, 0], batch.labels_BK.mean(dim=1))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def train(config, folder, *, max_epochs=3, stop_after=None, checkpoint=None):
    """Fit from scratch or from a checkpoint; save one after `stop_after` batches and stop."""

    class Stop(pl.Callback):
        def on_train_batch_end(self, trainer, module, *_):
            if trainer.global_step == stop_after:
                trainer.save_checkpoint(folder / "mid.ckpt")
                raise KeyboardInterrupt

    pl.seed_everything(0, verbose=False)
    module = Recorder()
    trainer = pl.Trainer(
        max_epochs=max_epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        callbacks=[Stop()],
    )
    data = EegDataModule(config, label_rate_hz=1.0, seed=0, progress=False)
    try:
        trainer.fit(module, datamodule=data, ckpt_path=checkpoint, weights_only=True)
    except (KeyboardInterrupt, SystemExit):
        assert stop_after is not None
    return module


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")  # Lightning 2.6.6 on torch 2.13
@pytest.mark.parametrize("stop_after", [3, 6, 8, 12])  # mid-epoch, end of the first, ...
def test_lightning_resumes_with_identical_batches_and_weights(built_config, tmp_path, stop_after):
    config = replace(built_config, sampling=SAMPLING)
    whole = train(config, tmp_path)
    assert [samples[0] for samples in whole.seen[:7]] == [0, 4, 8, 12, 16, 20, 22]
    assert len(whole.seen) == 18
    before = train(config, tmp_path, stop_after=stop_after)
    after = train(config, tmp_path, checkpoint=tmp_path / "mid.ckpt")
    assert before.seen == whole.seen[:stop_after]
    assert after.seen == whole.seen[stop_after:]
    assert torch.equal(after.layer.weight, whole.layer.weight)


def test_module_builds_opens_and_checks(config, caplog):
    caplog.set_level("INFO")
    data = EegDataModule(config, label_rate_hz=1.0, seed=0, progress=False)
    with pytest.raises(CacheError, match="action=build"):
        data.setup()
    data.prepare_data()
    data.setup("fit")
    assert len(data.cache) == 5
    assert data.spec.rate_hz == 64
    assert "seizure s" in caplog.text  # the table it checked
    assert len(data.train_dataloader()) == 6


def test_module_opens_only_what_its_corpus_has(built_config):  # another tree may share the folder
    config = replace(built_config, exclude=["aaaaaaaa_s001_t001"])
    assert len(EegDataModule(config, label_rate_hz=1.0, seed=0).cache) == 4


def test_module_refuses_a_split_without_seizures(built_config, tmp_path):
    config = replace(built_config, exclude=["aaaaaaaa_s001_t000", "aaaaaaab_s001_t000"])
    assert len(find_corpus(config).recordings) == 3
    assert cache_folder(config) == cache_folder(built_config)
    with pytest.raises(CacheError, match="split train has no seizure in 1 recordings"):
        EegDataModule(config, label_rate_hz=1.0, seed=0).setup()
