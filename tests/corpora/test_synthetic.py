"""The synthetic corpus: faithful to TUSZ, whole, reproducible, and a fair task."""

# Shapes: C channels, T samples

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import edfio
import numpy as np
import pytest

from bgb.config.data import DataConfig, SyntheticCorpus
from bgb.corpora import find_corpus, load_recording
from bgb.corpora.synthetic import (
    GENERATOR_VERSION,
    MARKER,
    ODDITIES,
    corpus,
    ensure_synthetic,
    plan_corpus,
    write_broken,
)
from bgb.corpora.synthetic.plan import RecordingPlan
from bgb.eeg import read_events
from bgb.errors import AnnotationError, CorpusError

TINY = SyntheticCorpus(
    train_patients=2, dev_patients=2, eval_patients=2, hours=0.05, oddities=False
)
ODD = replace(TINY, oddities=True)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synthetic")
    ensure_synthetic(folder, ODD, progress=False)
    return folder


class Files:
    """The three files of one recording."""

    def __init__(self, root: Path, plan: RecordingPlan) -> None:
        self.path = root / "edf" / plan.folder / f"{plan.stem}.edf"
        self.plan = plan
        self.edf = edfio.read_edf(self.path)
        self.labels = [signal.label for signal in self.edf.signals]

    def rows(self, suffix: str) -> list[tuple[str, float, float, str]]:
        lines = self.path.with_suffix(suffix).read_text().splitlines()
        assert lines[5] == "channel,start_time,stop_time,label,confidence"
        cells = [line.split(",") for line in lines[6:]]
        return [(name, float(start), float(stop), label) for name, start, stop, label, _ in cells]

    def signal(self, name: str) -> np.ndarray:
        (signal,) = [s for s in self.edf.signals if s.label.split(" ")[1].split("-")[0] == name]
        return signal.data


def odd(root: Path, name: str) -> list[Files]:
    found = [Files(root, plan) for plan in plan_corpus(ODD) if plan.oddity == name]
    assert found
    return found


def every(root: Path) -> Iterator[Files]:
    for plan in plan_corpus(ODD):
        yield Files(root, plan)


def digests(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


# The odd cases of TUSZ


def test_durations_of_the_recipe_are_all_there(root: Path) -> None:
    durations_s = {files.edf.duration for files in every(root)}
    assert {10.0, 45.0, 61.0, 301.0, 900.0} <= durations_s


def test_all_montages_stand_in_their_folders_with_their_suffix(root: Path) -> None:
    suffixes = {"01_tcp_ar": "REF", "02_tcp_le": "LE", "03_tcp_ar_a": "REF"}
    seen = set()
    for files in every(root):
        montage = files.path.parent.name
        seen.add(montage)
        assert all(label.endswith(f"-{suffixes[montage]}") for label in files.labels[:17])
        assert ("EEG A1-REF" in files.labels) == (montage == "01_tcp_ar")
    assert seen == set(suffixes)


def test_rates_of_the_default_corpus_are_those_of_tusz() -> None:
    rates_hz = [plan.rate_hz for plan in plan_corpus(SyntheticCorpus())]
    assert set(rates_hz) == {250, 256, 400, 512}
    assert rates_hz.count(250) > len(rates_hz) / 2


def test_order_of_channels_varies(root: Path) -> None:
    orders = {tuple(files.labels[:3]) for files in every(root)}
    assert len(orders) > 1


def test_fz_and_pz_are_missing_where_cz_is_not(root: Path) -> None:
    for files in odd(root, "missing_fz_pz"):
        names = [label.split(" ")[1].split("-")[0] for label in files.labels]
        assert "CZ" in names
        assert not {"FZ", "PZ"} & set(names)


def test_extra_channels_have_another_unit_and_rate(root: Path) -> None:
    (files,) = odd(root, "extra_channels")
    photic = files.edf.get_signal("PHOTIC PH")
    assert (photic.physical_dimension, photic.sampling_frequency) == ("mm", 50)
    assert {"EEG EKG1-REF", "EEG 26-REF"} <= set(files.labels)
    assert [note.text for note in files.edf.annotations] == ["EYES OPEN", "SZ"]


def test_start_date_has_colons(root: Path) -> None:
    plan = next(plan for plan in plan_corpus(ODD) if plan.oddity == "colon_date")
    content = (root / "edf" / plan.folder / f"{plan.stem}.edf").read_bytes()
    assert content[168:176] == b"01:01:85"


def test_seizure_free_file_has_one_background_row(root: Path) -> None:
    (files,) = odd(root, "seizure_free")
    assert files.rows(".csv_bi") == [("TERM", 0.0, 45.0, "bckg")]
    assert {row[1:] for row in files.rows(".csv")} == {(0.0, 45.0, "bckg")}


def test_csv_bi_lists_seizures_alone_or_tiles_the_recording(root: Path) -> None:
    (alone,), (tiling,) = odd(root, "very_long_seizure"), odd(root, "close_pair")
    assert [row[3] for row in alone.rows(".csv_bi")] == ["seiz"]
    assert [row[3] for row in tiling.rows(".csv_bi")] == ["bckg", "seiz", "bckg", "seiz", "bckg"]
    bounds = [row[1:3] for row in tiling.rows(".csv_bi")]
    assert [stop for _, stop in bounds[:-1]] == [start for start, _ in bounds[1:]]


def test_two_types_lie_on_different_channels_with_different_bounds(root: Path) -> None:
    (files,) = odd(root, "two_types")
    rows = [row for row in files.rows(".csv") if row[3] != "bckg"]
    channels = {kind: {row[0] for row in rows if row[3] == kind} for kind in ("fnsz", "cpsz")}
    assert channels["fnsz"] and channels["cpsz"] and not channels["fnsz"] & channels["cpsz"]
    assert len({row[1:3] for row in rows}) > 2
    assert len({row[0] for row in files.rows(".csv")}) == 22  # bckg everywhere else
    seizures = [row[1:3] for row in files.rows(".csv_bi") if row[3] == "seiz"]
    assert seizures == [(60.25, 118.0), (180.0, 231.75)]  # the union over channels
    header = files.path.with_suffix(".csv").read_text().splitlines()
    assert header[2] == "# duration = 301.00 secs"


def test_events_touch_start_and_end(root: Path) -> None:
    (files,) = odd(root, "touching_ends")
    first, last = files.rows(".csv_bi")
    assert (first[1], last[2]) == (0.0, files.edf.duration)


def test_an_event_stops_after_the_recording(root: Path) -> None:
    (files,) = odd(root, "past_end")
    assert files.rows(".csv_bi")[-1][2] > files.edf.duration


def test_two_seizures_are_less_than_two_seconds_apart(root: Path) -> None:
    (files,) = odd(root, "close_pair")
    first, second = [row for row in files.rows(".csv_bi") if row[3] == "seiz"]
    assert 0 < second[1] - first[2] < 2


def test_one_seizure_is_longer_than_ten_minutes(root: Path) -> None:
    (files,) = odd(root, "very_long_seizure")
    ((_, start_s, stop_s, _),) = files.rows(".csv_bi")
    assert stop_s - start_s > 600


def test_spike_is_120_sigma_and_within_range(root: Path) -> None:
    (files,) = odd(root, "huge_spike")
    channel_T = files.signal("F3")
    peak = np.argmax(np.abs(channel_T))
    rest_T = np.delete(channel_T, peak)
    assert np.abs(channel_T[peak]) / rest_T.std() == pytest.approx(120, abs=2)
    assert np.abs(channel_T[peak]) < 4999


def test_one_channel_is_flat(root: Path) -> None:
    (files,) = odd(root, "flat_channel")
    assert np.ptp(files.signal("C4")) == 0
    assert np.ptp(files.signal("C3")) > 10


def test_tokens_continue_one_session(root: Path) -> None:
    (first,), (second,) = odd(root, "chain_first"), odd(root, "chain_second")
    assert first.path.parent == second.path.parent
    assert first.path.name.replace("_t000", "_t001") == second.path.name


def test_program_reads_every_odd_file(root: Path) -> None:
    config = DataConfig(corpus=ODD, root=str(root), cache_root=str(root / "cache"))
    found = find_corpus(config)
    read = {recording.recording_id: load_recording(recording) for recording in found.recordings}
    assert len(read) == len(plan_corpus(ODD))
    past_end = next(plan.stem for plan in plan_corpus(ODD) if plan.oddity == "past_end")
    (recording,) = [read[name] for name in read if past_end in name]
    assert recording.events[-1].stop_s == recording.duration_s
    assert any("clipped" in remark for remark in recording.remarks)


def test_unusable_files_are_refused_by_name(tmp_path: Path) -> None:
    unlabelled, malformed = write_broken(tmp_path)
    assert not unlabelled.with_suffix(".csv_bi").exists()
    with pytest.raises(AnnotationError, match=malformed.stem):
        read_events(malformed.with_suffix(".csv_bi"))


# The corpus as a whole


def test_bytes_are_the_same_in_another_folder_by_one_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ensure_synthetic(tmp_path / "many", TINY, progress=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    ensure_synthetic(tmp_path / "one", TINY, progress=False)
    assert digests(tmp_path / "many") == digests(tmp_path / "one")


def test_another_seed_gives_other_signals_and_patients(tmp_path: Path) -> None:
    names = [{plan.stem for plan in plan_corpus(replace(TINY, seed=seed))} for seed in (0, 1)]
    assert names[0] != names[1]


def test_interrupted_corpus_is_completed_and_the_rest_left_alone(tmp_path: Path) -> None:
    ensure_synthetic(tmp_path, TINY, progress=False)
    before = digests(tmp_path)
    gone, *kept = sorted((tmp_path / "edf").rglob("*.edf"))
    times = {path: path.stat().st_mtime_ns for path in kept}
    gone.unlink()
    ensure_synthetic(tmp_path, TINY, progress=False)
    assert digests(tmp_path) == before
    assert {path: path.stat().st_mtime_ns for path in kept} == times


def test_complete_corpus_is_not_written_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(corpus, "_write_all")
    ensure_synthetic(root, ODD, progress=False)


def test_folder_of_another_configuration_is_refused(tmp_path: Path) -> None:
    ensure_synthetic(tmp_path, TINY, progress=False)
    with pytest.raises(CorpusError, match=r'"seed": 0.*"seed": 5.*choose another data\.root'):
        ensure_synthetic(tmp_path, replace(TINY, seed=5), progress=False)


def test_folder_of_another_generator_version_is_refused(tmp_path: Path) -> None:
    ensure_synthetic(tmp_path, TINY, progress=False)
    marker = json.loads((tmp_path / MARKER).read_text())
    assert marker["generator_version"] == GENERATOR_VERSION
    (tmp_path / MARKER).write_text(json.dumps(marker | {"generator_version": 0}))
    with pytest.raises(CorpusError, match=r'"generator_version": 0'):
        ensure_synthetic(tmp_path, TINY, progress=False)


def test_folder_of_a_real_corpus_is_refused_and_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "edf" / "train").mkdir(parents=True)
    with pytest.raises(CorpusError, match="was not written by bgb"):
        ensure_synthetic(tmp_path, TINY, progress=False)
    assert not any(path.is_file() for path in tmp_path.rglob("*"))


def test_patients_are_in_one_split_each() -> None:
    pairs = {(plan.split, plan.patient.name) for plan in plan_corpus(SyntheticCorpus())}
    assert Counter(split for split, _ in pairs) == {"train": 24, "dev": 8, "eval": 10}
    assert len({name for _, name in pairs}) == 42


def test_files_are_distinct_whatever_the_number_of_patients() -> None:
    for patients in (1, 2, 40):
        config = SyntheticCorpus(train_patients=patients, dev_patients=1, eval_patients=1)
        files = [(plan.folder, plan.stem) for plan in plan_corpus(config)]
        assert len(set(files)) == len(files)


def test_every_split_has_seizures_and_recordings_without() -> None:
    for config in (TINY, ODD, SyntheticCorpus(), replace(TINY, train_patients=1)):
        for split in ("train", "dev", "eval"):
            having = {bool(p.seizures) for p in plan_corpus(config) if p.split == split}
            assert having == {True, False}


@pytest.mark.parametrize("seed", range(5))
def test_ordinary_recordings_of_the_default_corpus_are_as_stated(seed: int) -> None:
    plans = plan_corpus(SyntheticCorpus(seed=seed, oddities=False))
    total_s = sum(plan.duration_s for plan in plans)
    seizures = [event for plan in plans for event in plan.seizures]
    assert total_s == pytest.approx(5 * 3600, rel=0.02)
    assert 0.08 < sum(event.duration_s for event in seizures) / total_s < 0.12
    assert all(8 <= event.duration_s <= 90 for event in seizures)
    assert all(180 <= plan.duration_s <= 600 for plan in plans)
    assert len({p.patient.name for p in plans if p.seizures}) > 0.8 * 42


def test_header_says_nothing_of_a_person(root: Path) -> None:
    for files in every(root):
        assert files.edf.local_patient_identification == "X X X X"
        assert files.edf.local_recording_identification.endswith("X X X")


def test_signals_are_plausible_microvolts(root: Path) -> None:
    for files in every(root):
        for signal in files.edf.signals[:17]:
            assert signal.physical_dimension == "uV"
            assert signal.physical_range == (-4999.75, 4999.75)
            if not files.plan.oddity:
                assert 5 < signal.data.std() < 80
                assert np.abs(signal.data).max() < 1000


def test_odd_cases_have_names_that_the_files_carry() -> None:
    assert [p.oddity for p in plan_corpus(ODD) if p.oddity] == [oddity.name for oddity in ODDITIES]
