"""The baseline: fitted on a bounded, even share of train; probabilities every two seconds."""

import dataclasses

import numpy as np
import pytest
from fake_recordings import RATE_HZ, FakeCache, MakeRecording

from bgb.errors import CacheError
from bgb.evaluation.baseline import (
    _choose,
    _choose_strength,
    _features,
    _folds,
    _labels,
    fit_baseline,
)
from bgb.evaluation.roc import rank_seconds


def test_it_finds_a_rhythm_in_patients_it_never_saw(small_cache: FakeCache) -> None:
    baseline = fit_baseline(small_cache.split("train"), max_seconds=2000, seed=0)
    scores = [baseline.score(recording) for recording in small_cache.split("eval")]
    assert rank_seconds(scores).auroc > 0.99


@pytest.mark.parametrize("duration_s", [0.5, 1, 2, 3, 61.25, 700])
def test_every_second_has_a_score(
    small_cache: FakeCache, make_recording: MakeRecording, duration_s: float
) -> None:
    baseline = fit_baseline(small_cache.split("train"), max_seconds=400, seed=0)
    recording = make_recording("x", patient="y", duration_s=duration_s)
    score = baseline.score(recording)
    assert (score.recording_id, score.patient, score.rate_hz) == ("x", "y", 0.5)
    assert len(score.probability_K) == int(np.ceil(duration_s / 2))
    assert np.isfinite(score.probability_K).all()


def test_the_same_seed_gives_the_same_baseline(small_cache: FakeCache) -> None:
    train, recording = small_cache.split("train"), small_cache.split("eval")[1]
    first, again, other = (
        fit_baseline(train, max_seconds=300, seed=seed).score(recording).probability_K
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_a_missing_electrode_is_interpolated_not_taken_as_zero(
    make_recording: MakeRecording,
) -> None:
    """A wave that all electrodes share cancels in a derivation, unless one of them is zero."""
    recording = make_recording()
    wave_R = 3000 * np.sin(2 * np.pi * 8 * np.arange(RATE_HZ) / RATE_HZ)
    tiles_SCR = (recording.tiles_SCR + wave_R).astype(np.int16)
    tiles_SCR[:, 4] = 0
    present_C = recording.present_C.copy()
    silent = dataclasses.replace(recording, tiles_SCR=tiles_SCR)
    present_C[4] = False
    lacking = dataclasses.replace(silent, present_C=present_C)
    starts_N = np.arange(0, 60, 2)
    expected_NF = _features(recording, starts_N)
    assert np.abs(_features(silent, starts_N) - expected_NF).max() > 2
    assert np.abs(_features(lacking, starts_N) - expected_NF).max() < 2


def test_seizure_comes_first_and_background_is_shared_evenly() -> None:
    labels = [np.zeros(10, bool), np.zeros(1000, bool), np.zeros(1000, bool)]
    labels[1][100:130] = True
    chosen = _choose(labels, 200, np.random.default_rng(0))
    assert [len(index_N) for index_N in chosen] == [10, 30 + 80, 80]
    assert np.isin(np.arange(100, 130), chosen[1]).all()
    assert all((np.diff(index_N) > 0).all() for index_N in chosen)


def test_much_seizure_takes_no_more_than_half() -> None:
    labels = [np.ones(500, bool), np.zeros(500, bool)]
    chosen = _choose(labels, 100, np.random.default_rng(0))
    assert [len(index_N) for index_N in chosen] == [50, 50]


def test_a_bound_above_what_exists_takes_everything() -> None:
    labels = [np.arange(50) < 5, np.zeros(30, bool)]
    chosen = _choose(labels, 10_000, np.random.default_rng(0))
    assert [index_N.tolist() for index_N in chosen] == [list(range(50)), list(range(30))]


def test_a_segment_is_seizure_if_half_of_it_is(make_recording: MakeRecording) -> None:
    recording = make_recording(duration_s=11.5, seizures=[(1.0, 4.9), (7.1, 8.0)])
    assert _labels(recording).tolist() == [True, True, False, False, False]


def test_regularisation_is_chosen_on_patients_held_out() -> None:
    """Noise that tells patients apart must not pass for seizure: C=1 would learn it by heart."""
    generator = np.random.default_rng(0)
    patient_N = np.repeat([f"p{number:02d}" for number in range(20)], 15)
    label_N = np.repeat(np.arange(20) % 2 == 0, 15)
    fingerprint_NF = np.repeat(generator.normal(0, 1, (20, 60)), 15, axis=0)
    features_NF = fingerprint_NF + generator.normal(0, 0.1, fingerprint_NF.shape)
    features_NF[:, 0] += 1.5 * label_N
    assert _choose_strength(features_NF.astype(np.float32), label_N, patient_N) <= 1e-2


@pytest.mark.parametrize("num_patients", [4, 5, 7, 23])
def test_each_fold_leaves_both_classes_to_fit_on(num_patients: int) -> None:
    """Two patients are all seizure, the others none: the two are never held out together."""
    patient_N = np.repeat([f"p{number:02d}" for number in range(num_patients)], 3)
    label_N = np.isin(patient_N, ["p00", "p03"])
    fold_N = _folds(label_N, patient_N)
    assert fold_N is not None
    for fold in np.unique(fold_N):
        assert set(label_N[fold_N != fold]) == {True, False}
        assert not set(patient_N[fold_N == fold]) & set(patient_N[fold_N != fold])


def test_a_single_patient_with_seizures_is_never_held_out(make_recording: MakeRecording) -> None:
    recordings = [
        make_recording(patient="a", seizures=[(10, 40)]),
        make_recording(patient="b"),
        make_recording(patient="c"),
    ]
    score = fit_baseline(recordings, max_seconds=1000, seed=0).score(recordings[0])
    assert rank_seconds([score]).auroc > 0.9


def test_train_without_seizures_is_refused(make_recording: MakeRecording) -> None:
    with pytest.raises(CacheError, match=r"hold 0 seizure segments of 30; .*baseline=false"):
        fit_baseline([make_recording()], max_seconds=1000, seed=0)
