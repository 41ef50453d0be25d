"""AUROC and AUPRC of seconds, and the interval over patients."""

import math

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from bgb.eeg.events import Event
from bgb.evaluation.roc import auroc_interval, rank_seconds, seconds_of
from bgb.evaluation.series import RecordingScore, num_steps


def recording(
    patient: str, *, duration_s: float = 600.0, rate_hz: float = 1.0, shift: float = 1.0, seed: int
) -> RecordingScore:
    generator = np.random.default_rng(seed)
    values_K = generator.normal(0, 1, num_steps(duration_s, rate_hz))
    values_K[round(100 * rate_hz) : round(160 * rate_hz)] += shift
    probability_K = (1 / (1 + np.exp(-values_K))).astype(np.float32)
    return RecordingScore(
        f"{patient}{seed}", patient, probability_K, rate_hz, duration_s, (Event(100, 160),)
    )


def test_pooled_ranking_is_that_of_sklearn() -> None:
    scores = [recording("a", seed=0), recording("b", seed=1)]
    ranking = rank_seconds(scores)
    truth_S = np.zeros(600, bool)
    truth_S[100:160] = True
    truth_S, values_S = np.tile(truth_S, 2), np.concatenate([s.probability_K for s in scores])
    assert ranking.auroc == pytest.approx(roc_auc_score(truth_S, values_S))
    assert ranking.auprc == pytest.approx(average_precision_score(truth_S, values_S))
    assert (ranking.num_seconds, ranking.num_seizure_seconds) == (1200, 120)


def test_a_second_is_the_mean_of_its_steps() -> None:
    score = RecordingScore("a", "a", np.arange(10, dtype=np.float32) / 10, 4.0, 2.5, ())
    np.testing.assert_allclose(seconds_of(score)[0], [0.15, 0.55], rtol=1e-6)


def test_a_segment_counts_for_each_of_its_seconds() -> None:
    score = RecordingScore("a", "a", np.array([0.2, 0.6], np.float32), 0.25, 7.0, (Event(0, 2),))
    probability_S, truth_S = seconds_of(score)
    np.testing.assert_allclose(probability_S, [0.2] * 4 + [0.6] * 3, rtol=1e-6)
    assert truth_S.tolist() == [True] * 2 + [False] * 5


def test_truth_follows_the_half_second_rule() -> None:
    events = (Event(1.4, 3.6), Event(5.6, 6.4), Event(7, 8, "bckg"))
    score = RecordingScore("a", "a", np.zeros(10, np.float32), 1.0, 10.0, events)
    assert np.flatnonzero(seconds_of(score)[1]).tolist() == [1, 2, 3]


@pytest.mark.parametrize("events", [(), (Event(0, 60),)])
def test_one_class_only_is_nan(events: tuple[Event, ...]) -> None:
    ranking = rank_seconds([RecordingScore("a", "a", np.zeros(60, np.float32), 1.0, 60.0, events)])
    assert math.isnan(ranking.auroc) and math.isnan(ranking.auprc)
    assert math.isnan(rank_seconds([]).auroc)


def test_the_interval_holds_the_pooled_value_and_repeats() -> None:
    scores = [recording(f"p{seed}", shift=seed / 4, seed=seed) for seed in range(8)]
    interval = auroc_interval(scores, seed=1)
    assert interval.low < rank_seconds(scores).auroc < interval.high
    assert auroc_interval(scores, seed=1) == interval
    assert auroc_interval(scores, seed=2) != interval


def test_patients_are_drawn_whole() -> None:
    """Ten recordings of one patient are not ten patients: the interval stays as wide."""
    few = [recording(f"p{seed}", shift=seed / 2, seed=seed) for seed in range(4)]
    repeated = few * 10
    expected = auroc_interval(few, seed=0)
    assert auroc_interval(repeated, seed=0).low == pytest.approx(expected.low, abs=1e-3)


def test_a_draw_equals_the_auroc_of_the_patients_drawn() -> None:
    """Without a spread between patients the interval closes on the pooled value."""
    same = recording("a", seed=3)
    scores = [
        RecordingScore(name, name, same.probability_K, 1.0, 600.0, same.events) for name in "abcd"
    ]
    interval = auroc_interval(scores, seed=0)
    assert interval.low == pytest.approx(interval.high)
    assert interval.low == pytest.approx(rank_seconds(scores).auroc, abs=2e-3)


def test_ties_count_half() -> None:
    """A detector that says the same everywhere is at chance, whoever is drawn."""
    scores = [
        RecordingScore(name, name, np.full(600, 0.7, np.float32), 1.0, 600.0, (Event(10, 70),))
        for name in "abcd"
    ]
    interval = auroc_interval(scores, seed=0)
    assert (interval.low, interval.high) == (0.5, 0.5)


def test_two_patients_say_nothing_about_others() -> None:
    interval = auroc_interval([recording("a", seed=0), recording("b", seed=1)], seed=0)
    assert math.isnan(interval.low) and math.isnan(interval.high)
