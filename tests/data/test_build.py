"""Building: lazy, idempotent, parallel, crash-safe; foreign and failing recordings."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import edfio
import numpy as np
import pytest
from tiny_corpus import RATE_HZ, RECORDINGS, config_for, write_corpus, write_edf

import bgb.data.build as build_module
from bgb.corpora import find_corpus
from bgb.data import source
from bgb.data.build import build_cache, plan_build
from bgb.data.cache import open_cache
from bgb.data.key import cache_folder
from bgb.data.manifest import MANIFEST
from bgb.data.npz import read_meta
from bgb.data.workers import large_pages, open_executor
from bgb.eeg import byte_stream
from bgb.errors import CacheError


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.glob("*/*.npz"))
    }


def build(config, **options):
    return build_cache(config, find_corpus(config), **options)


def test_every_recording_is_built_into_its_split(config):
    report = build(config)
    assert sorted(report.built) == sorted(RECORDINGS)
    assert sorted(digests(report.folder)) == sorted(
        f"{split}/{name}.npz" for name, (split, *_) in RECORDINGS.items()
    )


def test_second_call_does_nothing(config):
    folder = build(config).folder
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    report = build(config)
    assert (report.built, sorted(report.present)) == ((), sorted(RECORDINGS))
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_only_the_wanted_splits_are_built_and_the_rest_later(config):
    assert build(config, splits=["dev"]).built == ("aaaaaaac_s001_t000",)
    assert len(build(config).built) == 4


def test_bytes_are_reproducible_and_meta_says_everything(config, corpus_root, tmp_path):
    first = build(config).folder
    second = build(replace(config, cache_root=str(tmp_path / "other"))).folder
    assert digests(first) == digests(second)
    text = json.dumps(meta := read_meta(first / "train" / "aaaaaaaa_s001_t001.npz"))
    assert str(corpus_root) not in text  # no machine paths
    assert meta["edf"]["path"] == "train/aaaaaaaa_s001_t001.edf"
    assert meta["missing"] == ["Fz", "Pz"]
    assert (meta["duration_s"], meta["num_seconds"]) == (12.5, 13)
    assert (meta["patient"], meta["split"], meta["corpus"]) == ("aaaaaaaa", "train", "tusz")
    assert meta["preprocess"]["lowpass_hz"] == 25.0
    assert meta["key"] == first.name


def test_patient_fields_of_the_edf_header_go_nowhere(config, tmp_path):
    root = tmp_path / "edf"
    write_corpus(root)
    for path in root.rglob("*.edf"):
        data = bytearray(path.read_bytes())
        data[8:88] = b"MCH-0234567 F 02-MAY-1951 Haagse_Harry".ljust(80)
        path.write_bytes(bytes(data))
    folder = build(replace(config, root=str(root))).folder
    for path in [*folder.rglob("*.npz"), folder / MANIFEST]:
        data = path.read_bytes()
        for secret in ("Haagse", "1951", "0234567"):
            assert secret.encode() not in data
            assert secret.encode("utf-32-le") not in data


def test_parallel_processes_build_the_same_bytes(config, built_config):
    folder = build(replace(config, workers=2)).folder
    assert digests(folder) == digests(cache_folder(built_config))


def test_worker_processes_do_not_import_torch():
    code = "import sys, bgb.data.build; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from tiny_corpus import config_for
from bgb.corpora import find_corpus
from bgb.data.build import build_cache
config = config_for(Path({root!r}), Path({cache!r}))
print(len(build_cache(config, find_corpus(config)).built))
"""


def start_build(root: Path, cache: Path) -> "subprocess.Popen[str]":
    code = SCRIPT.format(tests=str(Path(__file__).parent), root=str(root), cache=str(cache))
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("num_builders", [3, pytest.param(16, marks=pytest.mark.slow)])
def test_builders_at_once_build_each_recording_once(
    config, corpus_root, built_config, num_builders
):
    builders = [start_build(corpus_root, Path(config.cache_root)) for _ in range(num_builders)]
    built = [int(builder.communicate(timeout=300)[0]) for builder in builders]
    assert [builder.returncode for builder in builders] == [0] * num_builders
    assert sum(built) == len(RECORDINGS)
    assert digests(cache_folder(config)) == digests(cache_folder(built_config))
    assert len(open_cache(cache_folder(config))) == len(RECORDINGS)


def test_killed_build_continues_to_identical_bytes(config, corpus_root, built_config):
    builder = start_build(corpus_root, Path(config.cache_root))
    folder = cache_folder(config)
    deadline = time.monotonic() + 60
    while not list(folder.glob("*/.*.partial")) + list(folder.glob("*/*.npz")):
        assert time.monotonic() < deadline
        time.sleep(0.001)
    os.kill(builder.pid, signal.SIGKILL)
    builder.communicate()
    split = folder / "train"
    split.mkdir(exist_ok=True)
    torn = split / ".aaaaaaaa_s001_t000.npz.99999.partial"  # as a kill in mid-write leaves it
    torn.write_bytes(b"half a file")
    (split / "aaaaaaaa_s001_t000.npz").unlink(missing_ok=True)
    build(config)
    assert digests(folder) == digests(cache_folder(built_config))
    assert not list(folder.rglob("*.partial"))


KILLED = """
import os, signal, sys
sys.path.insert(0, {tests!r})
from bgb.data import npz
original, calls = npz.{name}, 0
def killed(*arguments, **options):
    global calls
    calls += 1
    if calls == {call}:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*arguments, **options)
npz.{name} = killed
"""


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("_write_member", 1),
        ("_npy_header", 5),
        ("crc32_of_end", 7),
        ("os.fsync", 2),
        ("os.fsync", 3),
    ],
)
def test_build_killed_at_any_point_leaves_nothing_torn(
    config, corpus_root, built_config, name, call
):
    prefix = KILLED.format(tests=str(Path(__file__).parent), name=name, call=call)
    code = prefix + SCRIPT.format(
        tests=str(Path(__file__).parent), root=str(corpus_root), cache=config.cache_root
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == -signal.SIGKILL
    folder = cache_folder(config)
    assert digests(folder).items() <= digests(cache_folder(built_config)).items()
    assert len(list(folder.rglob("*.partial"))) <= 1
    build(config)
    assert digests(folder) == digests(cache_folder(built_config))
    assert not list(folder.rglob("*.partial"))


def test_every_edf_is_read_once(config, monkeypatch):
    num_bytes = Counter()

    class Counting(byte_stream.FileIO):
        def readinto(self, buffer):
            count = super().readinto(buffer)
            num_bytes[Path(self.name).name] += count
            return count

    monkeypatch.setattr(byte_stream, "FileIO", Counting)
    monkeypatch.setattr("bgb.data.source._digest", _only_labels(source._digest))
    folder = build(config).folder
    sizes = {path.name: path.stat().st_size for path in Path(config.root).rglob("*.edf")}
    assert num_bytes == sizes
    for path in Path(config.root).rglob("*.edf"):
        meta = read_meta(folder / path.parent.name / f"{path.stem}.npz")
        assert meta["edf"]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()


def _only_labels(digest):
    def checked(url):
        assert not url.endswith(".edf")
        return digest(url)

    return checked


@pytest.mark.parametrize("other_sample", [0, -1])
def test_electrode_that_stands_twice_with_other_samples_is_refused(config, tmp_path, other_sample):
    root = tmp_path / "edf"
    write_corpus(root)
    path = root / "dev" / "aaaaaaac_s001_t000.edf"
    edf = edfio.read_edf(path)
    data = edf.signals[0].data.copy()
    data[other_sample] += 10
    twin = edfio.EdfSignal(
        data,
        RATE_HZ,
        label=edf.signals[0].label,
        physical_dimension="uV",
        physical_range=(-9000, 9000),
    )
    edf.append_signals(twin)
    edf.write(path)
    with pytest.raises(CacheError, match=r"aaaaaaac_s001_t000: Fp1 stands 2 times, with different"):
        build(replace(config, root=str(root)))
    assert not list(cache_folder(config).rglob("*.partial"))


def test_worker_processes_take_large_pages_and_this_one_stays_as_it_was(monkeypatch):
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.tcache_count=7")
    with large_pages(), open_executor(2) as executor:
        seen = executor.submit(os.getenv, "GLIBC_TUNABLES").result()
    assert seen == "glibc.malloc.tcache_count=7:glibc.malloc.hugetlb=1"
    assert os.environ["GLIBC_TUNABLES"] == "glibc.malloc.tcache_count=7"


def test_recording_claimed_by_another_process_is_waited_for(config, caplog):
    caplog.set_level("INFO")
    lock = cache_folder(config) / ".claims" / "dev" / "aaaaaaac_s001_t000.lock"
    code = (
        "import sys, time; from pathlib import Path; from bgb.locks import hold\n"
        f"with hold(Path({str(lock)!r}), wait=True):\n"
        "    print('mine', flush=True); time.sleep(1.5)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None and holder.stdout.readline() == "mine\n"
    report = build(config)
    holder.communicate()
    assert len(report.built) == len(RECORDINGS)
    assert "waiting for aaaaaaac_s001_t000, claimed by" in caplog.text
    assert str(holder.pid) in caplog.text


def test_failing_recording_is_named_and_the_others_are_built(config, tmp_path):
    root = tmp_path / "edf"
    write_corpus(root)
    lacking = ("Fp1", "Fp2", "Fz", "Cz", "Pz")
    write_edf(root / "train" / "aaaaaaaa_s001_t001.edf", 12.5, missing=lacking)
    (root / "eval" / "aaaaaaad_s001_t000.edf").write_bytes(b"not an EDF")
    config = replace(config, root=str(root))
    with pytest.raises(CacheError) as caught:
        build(config)
    text = str(caught.value)
    assert "2 recordings could not be cached (3 others were built)" in text
    assert "aaaaaaaa_s001_t001 lacks 5 of 19 channels (Fp1, Fz, Cz, Pz, Fp2)" in text
    assert "data.exclude=[aaaaaaaa_s001_t001,aaaaaaad_s001_t000]" in text
    assert len(open_cache(cache_folder(config))) == 3
    mended = replace(config, exclude=["aaaaaaaa_s001_t001", "aaaaaaad_s001_t000"])
    assert len(build(mended).present) == 3


def test_unexpected_exception_in_one_recording_spares_the_others(config, monkeypatch):
    def explode(folder, recording, config, **options):
        if recording.split == "eval":
            raise ZeroDivisionError("boom")
        return original(folder, recording, config, **options)

    original = build_module.materialise
    monkeypatch.setattr(build_module, "materialise", explode)
    with pytest.raises(CacheError, match=r"aaaaaaad_s001_t000: ZeroDivisionError: boom"):
        build(config)
    assert len(open_cache(cache_folder(config))) == 4


def test_another_tree_with_the_same_names_is_foreign(config, tmp_path):
    build(config)
    root = tmp_path / "other"
    write_corpus(root)
    write_edf(root / "dev" / "aaaaaaac_s001_t000.edf", 20.5, seed=99)
    other = replace(config, root=str(root))
    with pytest.raises(
        CacheError, match=r"1 recordings in .* made of other EDF or label files"
    ) as e:
        build(other)
    assert "aaaaaaac_s001_t000" in str(e.value)
    assert "force=true" in str(e.value)
    assert "data.cache_root" in str(e.value)


def test_corrected_labels_are_noticed_and_force_builds_again(config, tmp_path):
    root = tmp_path / "edf"
    write_corpus(root)
    config = replace(config, root=str(root))
    folder = build(config).folder
    labels = root / "dev" / "aaaaaaac_s001_t000.csv_bi"
    labels.write_text(labels.read_text().replace("12.0000", "13.0000"))
    with pytest.raises(CacheError, match="other EDF or label files"):
        build(config)
    assert len(build(config, force=True).built) == len(RECORDINGS)
    assert open_cache(folder)["aaaaaaac_s001_t000"].events[0].stop_s == 13.0


def test_copy_of_the_corpus_with_new_time_stamps_is_the_same_corpus(config, corpus_root, tmp_path):
    build(config)
    shutil.copytree(corpus_root, tmp_path / "copy", copy_function=shutil.copyfile)
    for path in (tmp_path / "copy").rglob("*.*"):
        os.utime(path, (1, 1))
    plan = plan_build(*(moved := replace(config, root=str(tmp_path / "copy")), find_corpus(moved)))
    assert (len(plan.ready), plan.to_build, plan.foreign) == (len(RECORDINGS), (), ())


def test_signal_equals_the_edf_in_microvolts(cache, corpus_root):
    from bgb.data.tiles import tile_recording
    from bgb.eeg.reader import read_recording

    name = "aaaaaaab_s001_t000"
    cached = cache[name]
    recording = read_recording(corpus_root / "train" / f"{name}.edf", annotations=None)
    config = config_for(corpus_root, corpus_root).preprocess
    tiled = tile_recording(recording, config, max_missing=0)
    np.testing.assert_array_equal(cached.tiles(0, cached.num_seconds), tiled.tiles_SCR)
