"""The predecessor's caches: known for what they are, and turned into ours without EDF files."""

import hashlib
import logging
import os
import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import bgb.data.importing as importing
from bgb.config.data import BidsCorpus, DataConfig, SamplingConfig, TuszCorpus
from bgb.config.schema import CacheConfig
from bgb.data.cache import open_cache
from bgb.data.check import as_text
from bgb.data.import_recording import import_recording
from bgb.data.importing import find_legacy, import_cache, import_table, imported
from bgb.data.key import cache_folder, cache_key
from bgb.data.legacy import ORDER, count_windows, read_legacy
from bgb.data.materialise import claim_path
from bgb.data.module import EegDataModule
from bgb.data.verify import inspect_table, list_caches, verify_cache
from bgb.detectors.frontend import Frontend
from bgb.eeg.events import Event
from bgb.eeg.montage import ELECTRODES
from bgb.eeg.signal import SignalSpec
from bgb.errors import CacheError, ConfigError, RunError
from bgb.training.run import Run

RATE_HZ = 256
TRAIN, SHORT, DEV, EVAL = (f"aaaaaaa{letter}_s001_t000" for letter in "abcd")


def signal_CT(name: str, duration_s: float) -> np.ndarray:
    """Return z-scores as the predecessor had them, in its order of electrodes."""
    generator = np.random.default_rng(list(name.encode()))
    return generator.standard_normal((19, round(duration_s * RATE_HZ))).astype(np.float32)


def write_legacy(path: Path, signal: np.ndarray, spans=(), *, save=np.savez) -> Path:
    """Cut and save as the predecessor did: 60 s every 10 s, the last seconds dropped."""
    label_T = np.zeros(signal.shape[1], np.float32)
    for start_s, stop_s in spans:
        label_T[int(start_s * RATE_HZ) : int(stop_s * RATE_HZ)] = 1
    starts = range(0, signal.shape[1] - 60 * RATE_HZ + 1, 10 * RATE_HZ)
    cuts = [slice(start, start + 60 * RATE_HZ) for start in starts]
    windows = np.array([signal[:, cut] for cut in cuts], np.float32).reshape(-1, 19, 15360)
    path.parent.mkdir(parents=True, exist_ok=True)
    save(path, windows=windows, labels=np.array([label_T[cut] for cut in cuts]).reshape(-1, 15360))
    return path


def write_legacy_cache(root: Path) -> Path:
    """Write one recording of each kind into root/{train,dev,eval}."""
    train = signal_CT(TRAIN, 95.5)
    train[3, 1000], train[4, 2000] = 121, -200  # the largest artefact known; one that saturates
    write_legacy(root / "train" / f"{TRAIN}_windows.npz", train, [(10.5, 25.25), (85, 95)])
    write_legacy(root / "train" / f"{SHORT}_windows.npz", signal_CT(SHORT, 45))
    dev = signal_CT(DEV, 72)
    dev[[ORDER.index("Fz"), ORDER.index("Pz")]] = 0
    save = np.savez_compressed
    write_legacy(root / "dev" / f"{DEV}_windows.npz", dev, [(4, 12)], save=save)
    with np.load(write_legacy(root / "x.npz", signal_CT(EVAL, 60), [(0, 60)])) as archive:
        (root / "eval").mkdir()
        np.save(root / "eval" / f"{EVAL}_data.npy", archive["windows"])
        np.save(root / "eval" / f"{EVAL}_labels.npy", archive["labels"])
    (root / "x.npz").unlink()
    for name in ("manifest.json", "_dataset_index.json"):
        (root / "train" / name).write_text("{}")
    return root


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    """A cache of the predecessor; only read."""
    return write_legacy_cache(tmp_path_factory.mktemp("old"))


def config_for(cache_root: Path, **changes) -> DataConfig:
    values = {
        "corpus": TuszCorpus(),
        "root": "no/such/folder",
        "cache_root": str(cache_root),
        "sampling": SamplingConfig(windows_per_epoch=8),
        "window_s": 10,
        "batch_size": 4,
        "workers": 1,
    }
    return DataConfig(**{**values, **changes})


@pytest.fixture(scope="module")
def result(old, tmp_path_factory):
    """The configuration that reads the imported cache, and what the import reported."""
    config = config_for(tmp_path_factory.mktemp("new"))
    report = import_cache(config, str(old), progress=False)
    return imported(config, str(old)), report


@pytest.fixture
def cache(result):
    return open_cache(result[1].folder)


def in_our_order(signal: np.ndarray) -> np.ndarray:
    return signal[[ORDER.index(name) for name in ELECTRODES]]


def test_signal_is_rebuilt_within_half_a_quantum_and_in_our_order(cache):
    recording = cache[TRAIN]
    expected_CT = in_our_order(signal_CT(TRAIN, 95.5))[:, : 90 * RATE_HZ]
    ours_CT = recording.signal_CT()
    assert ours_CT.shape == (19, 90 * RATE_HZ)
    same = np.abs(ours_CT) < 100
    np.testing.assert_allclose(ours_CT[same], expected_CT[same], rtol=0, atol=2**-9 + 1e-6)
    assert same.sum() == same.size - 2


def test_order_of_electrodes_is_the_predecessors(cache):
    assert ORDER != ELECTRODES
    for name in ("O1", "F7", "T6"):
        theirs = signal_CT(TRAIN, 95.5)[ORDER.index(name), :RATE_HZ]
        ours = cache[TRAIN].signal_CT(0, 1)[ELECTRODES.index(name)]
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=0.002)


def test_artefact_of_121_deviations_is_kept_and_one_of_200_saturates(cache):
    ours_CT = cache[TRAIN].signal_CT()
    assert ours_CT[ELECTRODES.index("P3"), 1000] == 121
    assert ours_CT[ELECTRODES.index("F7"), 2000] == -32767 / 256
    assert cache[TRAIN].entry.clipped_samples == 1
    assert [row["clipped"] for row in cache[TRAIN].meta["statistics"]].count(1) == 1


def test_events_are_rebuilt_to_the_sample_and_end_with_the_signal(cache):
    assert cache[TRAIN].events == (Event(10.5, 25.25), Event(85.0, 90.0))
    assert cache[DEV].events == (Event(4.0, 12.0),)
    assert cache[EVAL].events == (Event(0.0, 60.0),)
    assert "may go on" in cache[TRAIN].meta["remarks"][0]


def test_electrode_that_is_zero_throughout_is_missing(cache):  # lesson 9
    assert cache[DEV].entry.missing == ("Fz", "Pz")
    assert cache[TRAIN].entry.missing == ()
    assert cache[DEV].num_seconds == 70


def test_meta_says_that_there_are_no_microvolts(cache):
    meta = cache[TRAIN].meta
    assert (meta["unit"], meta["quantum_uv"], meta["origin"]) == ("z", 2**-8, "predecessor")
    assert "z-scored" in meta["preprocess"]
    assert meta["edf"]["path"] == f"train/{TRAIN}_windows.npz"
    assert cache.spec.unit == "z"
    text = as_text(inspect_table(cache[TRAIN]))
    assert "rms z" in text
    assert "uV" not in text


def test_imported_files_are_sound_and_the_manifest_survives_a_reload(cache):
    assert [file.problem for file in verify_cache(cache.folder)] == [None] * 3
    assert open_cache(cache.folder, force_manifest=True).recordings == cache.recordings


def test_recording_without_a_window_is_left_out_with_a_remark(old, tmp_path, caplog):  # lesson 12
    report = import_cache(config_for(tmp_path), str(old), progress=False)
    assert set(report.built) == {TRAIN, DEV, EVAL}
    assert "1 recordings shorter than 60 s have no window in the predecessor's cache" in caplog.text


def test_table_has_the_sizes_before_and_after(result, old):
    train = result[1].splits[0]
    files = [old / "train" / f"{name}_windows.npz" for name in (TRAIN,)]
    assert train.old_bytes == sum(path.stat().st_size for path in files)
    assert train.new_bytes == (result[1].folder / "train" / f"{TRAIN}.npz").stat().st_size
    text = as_text(import_table(result[1]))
    assert f"{train.old_bytes / train.new_bytes:.1f}" in text
    assert "data.origin=predecessor data.check_source=false" in text


def test_sizes_are_said_before_anything_is_written(old, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    import_cache(config_for(tmp_path), str(old), progress=False)
    assert "import: 3 recordings of 0.01 GB become about 0.00 GB" in caplog.text


def test_disk_without_room_is_refused_before_anything_is_written(old, tmp_path, monkeypatch):
    usage = importing.shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(importing.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(CacheError, match=r"the import needs 0.0 GB .*larger disk"):
        import_cache(config_for(tmp_path), str(old), progress=False)
    assert not list(tmp_path.rglob("*.npz"))


def test_originals_are_not_touched(tmp_path):
    old = write_legacy_cache(tmp_path / "old")

    def state():
        files = [path for path in sorted(old.rglob("*")) if path.is_file()]
        return [
            (path, path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).digest())
            for path in files
        ]

    before = state()
    import_cache(config_for(tmp_path / "new"), str(old), progress=False)
    assert state() == before


def test_second_import_does_nothing_and_an_interrupted_one_goes_on(old, tmp_path):
    config = config_for(tmp_path)
    first = import_cache(config, str(old), progress=False)
    stamps = {path: path.stat().st_mtime_ns for path in first.folder.rglob("*.npz")}
    assert import_cache(config, str(old), progress=False).built == ()
    assert {path: path.stat().st_mtime_ns for path in first.folder.rglob("*.npz")} == stamps
    (first.folder / "dev" / f"{DEV}.npz").unlink()
    (first.folder / "dev" / f".{DEV}.npz.1-1.partial").write_bytes(b"torn")  # of a killed process
    assert import_cache(config, str(old), progress=False).built == (DEV,)
    assert not list(first.folder.rglob("*.partial"))


def test_several_processes_import_the_same_bytes(old, result, tmp_path, monkeypatch):
    monkeypatch.setattr("bgb.data.build._BYTES_A_WORKER", 1)
    report = import_cache(config_for(tmp_path, workers=2), str(old), progress=False)
    for path in report.folder.glob("*/*.npz"):
        same = result[1].folder / path.relative_to(report.folder)
        assert path.read_bytes() == same.read_bytes()


def test_changed_old_file_is_noticed(tmp_path):
    old, config = write_legacy_cache(tmp_path / "old"), config_for(tmp_path / "new")
    import_cache(config, str(old), progress=False)
    write_legacy(old / "dev" / f"{DEV}_windows.npz", signal_CT("other", 72), [(4, 12)])
    with pytest.raises(CacheError, match=f"1 recordings in .* were made of other .*{DEV}"):
        import_cache(config, str(old), progress=False)
    assert import_cache(config, str(old), progress=False, force=True).built


def spoil(path: Path, change) -> None:
    """Write the arrays of a file anew after `change(windows, labels)`."""
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files}
    change(arrays)
    np.savez(path, **arrays)


def shift_second_window(arrays):
    arrays["windows"][1, 5, 100] += 0.25


def flip_a_label(arrays):
    arrays["labels"][1, 7] = 1 - arrays["labels"][1, 7]


def half_a_label(arrays):
    arrays["labels"][:] = 0.5


def make_nan(arrays):
    arrays["windows"][0, 0, 5] = np.nan


def drop_labels(arrays):
    del arrays["labels"]


def drop_channel(arrays):
    arrays["windows"] = arrays["windows"][:, :18]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (shift_second_window, r"windows 0 and 1 differ by up to 0.25 where they overlap"),
        (flip_a_label, r"labels 0 and 1 differ by up to 1 where they overlap"),
        (half_a_label, r"labels other than 0 and 1"),
        (make_nan, r"a window holds NaN or infinity"),
        (drop_labels, r"it holds \['windows.npy'\], not windows and labels"),  # lesson 8
        (drop_channel, r"windows are float32 \(4, 18, 15360\), not float32 \(n, 19, 15360\)"),
    ],
)
def test_file_that_cannot_be_put_together_is_refused_by_name(tmp_path, change, message):
    path = tmp_path / f"{TRAIN}_windows.npz"
    write_legacy(path, signal_CT(TRAIN, 95.5), [(10, 20)])
    spoil(path, change)
    with pytest.raises(CacheError, match=f"{TRAIN}_windows.npz.*{message}"):
        read_legacy(path)


@pytest.mark.parametrize("where", [300_000, -100])
def test_damaged_file_is_refused(tmp_path, where):
    path = write_legacy(tmp_path / f"{TRAIN}_windows.npz", signal_CT(TRAIN, 60), [(10, 20)])
    data = bytearray(path.read_bytes())
    data[where] ^= 0xFF
    path.write_bytes(bytes(data) if where > 0 else bytes(data[:where]))
    with pytest.raises(CacheError, match=f"{TRAIN}_windows.npz cannot be imported"):
        read_legacy(path)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_checksum_of_the_windows_is_compared(tmp_path, save):
    path = write_legacy(tmp_path / f"{TRAIN}_windows.npz", signal_CT(TRAIN, 60), save=save)
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 16] ^= 1  # the CRC in the central directory
    path.write_bytes(bytes(data))
    with pytest.raises(CacheError, match=r"cannot be imported: Bad CRC-32 for file 'windows.npy'"):
        read_legacy(path)


def test_rows_beyond_the_shape_are_an_error(old, tmp_path):
    for name in (f"{EVAL}_data.npy", f"{EVAL}_labels.npy"):
        shutil.copy(old / "eval" / name, tmp_path)
    with (tmp_path / f"{EVAL}_data.npy").open("ab") as file:
        file.write(b"more")
    with pytest.raises(CacheError, match="there is more after row 1"):
        read_legacy(tmp_path / f"{EVAL}_data.npy")


def test_one_bad_file_does_not_stop_the_others(tmp_path):
    old = write_legacy_cache(tmp_path / "old")
    (old / "dev" / f"{DEV}_windows.npz").write_bytes(b"no zip")
    with pytest.raises(CacheError, match=rf"1 recordings could not be cached \(2 .*\n  {DEV}"):
        import_cache(config_for(tmp_path / "new"), str(old), progress=False)
    assert len(list((tmp_path / "new").rglob("*.npz"))) == 2
    rest = config_for(tmp_path / "new", exclude=[DEV])
    assert import_cache(rest, str(old), progress=False).built == ()


def test_too_many_missing_electrodes_are_refused(tmp_path):
    signal = signal_CT(TRAIN, 60)
    signal[:5] = 0
    write_legacy(tmp_path / "old" / "train" / f"{TRAIN}_windows.npz", signal, [(10, 20)])
    with pytest.raises(CacheError, match=r"lacks 5 electrodes \(Fp1, F3, C3, P3, F7\), more than"):
        import_cache(config_for(tmp_path / "new"), str(tmp_path / "old"), progress=False)


def test_cache_without_a_seizure_is_refused(tmp_path):  # lesson 1
    write_legacy(tmp_path / "old" / "train" / f"{TRAIN}_windows.npz", signal_CT(TRAIN, 60))
    with pytest.raises(CacheError, match="split train has no seizure"):
        import_cache(config_for(tmp_path / "new"), str(tmp_path / "old"), progress=False)


def test_patient_in_two_splits_is_refused_unless_left_out(tmp_path):  # lesson 10
    old = write_legacy_cache(tmp_path / "old")
    write_legacy(old / "dev" / f"{TRAIN[:8]}_s002_t000_windows.npz", signal_CT("x", 60), [(1, 2)])
    with pytest.raises(CacheError, match="patient aaaaaaaa is in train and in dev: leakage"):
        import_cache(config_for(tmp_path / "new"), str(old), progress=False)
    config = config_for(tmp_path / "new", exclude=["aaaaaaaa"])
    assert set(import_cache(config, str(old), progress=False).built) == {DEV, EVAL}


@pytest.mark.parametrize("inside", ["train", "nowhere"])
def test_wrong_source_folder_says_what_is_there(old, tmp_path, inside):
    with pytest.raises(CacheError, match="Give the folder above train, dev and eval"):
        import_cache(config_for(tmp_path), str(old / inside), progress=False)


def test_other_corpora_are_refused(old, tmp_path):
    with pytest.raises(ConfigError, match="data=bids: the predecessor cached TUSZ"):
        import_cache(config_for(tmp_path, corpus=BidsCorpus()), str(old), progress=False)


def test_imported_cache_has_a_key_of_its_own_that_filters_do_not_change(old, tmp_path):
    edf = config_for(tmp_path)
    ours = imported(edf, str(old))
    assert cache_key(ours) != cache_key(edf)
    other = replace(edf.preprocess, lowpass_hz=70.0)
    assert cache_key(replace(ours, preprocess=other)) == cache_key(ours)


def test_origin_and_source_are_checked_by_the_configuration(tmp_path):
    with pytest.raises(ConfigError, match=r"data.origin=predecessor .*data.check_source=false"):
        config_for(tmp_path, origin="predecessor")
    with pytest.raises(ConfigError, match="action=import needs source="):
        CacheConfig(action="import", data=config_for(tmp_path))
    with pytest.raises(ConfigError, match="source=x is read by action=import only"):
        CacheConfig(action="verify", source="x", data=config_for(tmp_path))
    alone = config_for(tmp_path, origin="predecessor", check_source=False)
    with pytest.raises(ConfigError, match="action=import source=<folder> makes it"):
        CacheConfig(action="build", data=alone)


def test_old_file_in_our_cache_is_an_error_that_names_the_import(cache, old, tmp_path):
    folder = shutil.copytree(cache.folder, tmp_path / cache.folder.name)
    shutil.copy(old / "dev" / f"{DEV}_windows.npz", folder / "dev")
    with pytest.raises(CacheError, match=r"predecessor's cache .*action=import source="):
        open_cache(folder)
    problems = [file.problem for file in verify_cache(folder) if file.problem]
    assert len(problems) == 1
    assert "action=import" in problems[0]


def test_list_shows_a_cache_of_the_predecessor_as_such(old, tmp_path):
    (tmp_path / "tusz").symlink_to(old)
    (listing,) = list_caches(tmp_path)
    assert listing.manifest == "predecessor's: import"
    assert listing.num_recordings == {"train": 2, "dev": 1, "eval": 1}


def test_windows_are_counted_from_the_header(old):
    assert count_windows(old / "train" / f"{TRAIN}_windows.npz") == 4
    assert count_windows(old / "eval" / f"{EVAL}_data.npy") == 1


def test_loader_hands_out_the_windows_of_the_predecessor(result):
    config = replace(result[0], root="no/such/folder")  # as a run has it: the EDF are gone
    data = EegDataModule(config, label_rate_hz=1.0, seed=0, progress=False)
    data.prepare_data()
    expected_CT = in_our_order(signal_CT(TRAIN, 95.5))
    for batch in data.train_dataloader():
        for tiles_SCR, start, label_K in zip(batch.tiles_BSCR, batch.start_B, batch.labels_BK):
            part = slice(int(start) * RATE_HZ, (int(start) + 10) * RATE_HZ)
            ours_CT = tiles_SCR.permute(1, 0, 2).reshape(19, -1).numpy() / 256
            usual = np.abs(ours_CT) < 100
            np.testing.assert_allclose(ours_CT[usual], expected_CT[:, part][usual], atol=0.002)
            seconds = int(start) + np.arange(10)
            seizure = ((seconds >= 10.5) & (seconds < 25)) | (seconds >= 85) | (seconds == 10)
            np.testing.assert_array_equal(label_K.numpy(), seizure)


def test_run_on_microvolts_is_told_of_the_imported_cache(result):
    config = replace(result[0], origin="edf")
    with pytest.raises(CacheError, match=r"never completed .*imported .*data.origin=predecessor"):
        EegDataModule(config, label_rate_hz=1.0, seed=0, progress=False).setup()


def test_detector_trained_on_z_scores_refuses_microvolts(result):
    signal = {**asdict(open_cache(result[1].folder).spec)}
    trained = SimpleNamespace(data=result[0])
    run = Run(SimpleNamespace(name="x"), trained, None, {"signal": signal})
    with pytest.raises(RunError, match=r"trained on z \(data.origin=predecessor\), .* in uV"):
        run.detector(SignalSpec("electrodes", ELECTRODES, 256))


def test_command_imports_and_prints_the_sizes(old, tmp_path):
    words = ("action=import", f"source={old}", "data=tusz", f"results={tmp_path}")
    done = subprocess.run(
        [sys.executable, "-m", "bgb.cache", *words, "data.workers=1"],
        env={**os.environ, "COLUMNS": "120"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "3 recordings now" in done.stdout.replace("\n", " ")
    assert "times smaller" in done.stdout
    assert len(list(tmp_path.glob("cache/tusz/*/*/*.npz"))) == 3


def test_frontend_takes_z_scores_as_they_are():
    z = SignalSpec("electrodes", ELECTRODES, 256, quantum_uv=2**-8, unit="z")
    uv = SignalSpec("electrodes", ELECTRODES, 256, quantum_uv=50 * 2**-8)
    tiles_BSCR = torch.randint(-2000, 2000, (1, 4, 19, 256), dtype=torch.int16)
    present_BC = torch.ones((1, 19), dtype=torch.bool)
    for normalise in ("fixed", "window"):  # one deviation counts like scale_uv, 50 microvolts
        ours, same = (
            Frontend(spec, rate_hz=256, normalise=normalise)(tiles_BSCR, present_BC)
            for spec in (z, uv)
        )
        torch.testing.assert_close(ours, same)


def test_busy_recording_is_left_to_the_other_process(old, tmp_path):
    config = imported(config_for(tmp_path), str(old))
    recording = find_legacy(config)[0].recordings[0]
    code = (
        "import sys; from pathlib import Path; from bgb.locks import hold\n"
        "with hold(Path(sys.argv[1]), wait=True): print('held', flush=True); sys.stdin.read()"
    )
    folder = cache_folder(config)
    words = [sys.executable, "-c", code, str(claim_path(folder, recording))]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"held\n"
        assert import_recording(folder, recording, config, wait=False).kind == "busy"
        other.stdin.close()
    assert import_recording(folder, recording, config, wait=True).kind == "built"
