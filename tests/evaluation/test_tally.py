"""Tally: the metrics of a validation from counts, against those from everything kept."""

import operator
import tracemalloc
from functools import reduce

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from bgb.config.evaluation import PostprocessConfig
from bgb.eeg.events import Event
from bgb.evaluation.roc import seconds_of
from bgb.evaluation.series import RecordingScore
from bgb.evaluation.tally import THRESHOLDS, Tally, empty_tally, tally_recording
from bgb.evaluation.threshold import choose_point, choose_threshold, sweep_thresholds

CONFIG = PostprocessConfig()


def noisy(*, seed: int, spread: float = 1.0, shift: float = 0.0) -> RecordingScore:
    """Return 15 min at 4 Hz with a seizure of a minute that a fair detector half sees."""
    generator = np.random.default_rng(seed)
    logits_K = np.cumsum(generator.normal(0, 0.06, 3600)) - 2
    onset_s = int(generator.integers(100, 700))
    logits_K[4 * onset_s : 4 * onset_s + 240] += 2.5
    probability_K = (1 / (1 + np.exp(-spread * logits_K - shift))).astype(np.float32)
    events = (Event(onset_s, onset_s + 60),)
    return RecordingScore(f"r{seed}", "p", probability_K, 4.0, 900.0, events)


def total(scores: list[RecordingScore]) -> Tally:
    return reduce(operator.add, [tally_recording(score, CONFIG) for score in scores])


def exact(scores: list[RecordingScore]) -> tuple[float, float]:
    pairs = [seconds_of(score) for score in scores]
    probability_S, truth_S = (np.concatenate(parts) for parts in zip(*pairs))
    return roc_auc_score(truth_S, probability_S), average_precision_score(truth_S, probability_S)


# Calibrated, hardly more than a constant, sure of itself, at the ends of what float32 can hold.
@pytest.mark.parametrize(
    ("spread", "shift"), [(1.0, 0.0), (0.1, 0.0), (0.02, -1.0), (3.0, 2.0), (2.0, -20.0)]
)
def test_ranking_from_bins_is_that_of_sklearn(spread: float, shift: float) -> None:
    scores = [noisy(seed=seed, spread=spread, shift=shift) for seed in range(40)]
    tally, (auroc, auprc) = total(scores), exact(scores)
    ranking = tally.ranking()
    assert abs(ranking.auroc - auroc) < 1e-4
    assert abs(ranking.auprc - auprc) < 1e-4
    assert abs(ranking.auroc - auroc) <= tally.auroc_error() + 1e-12
    assert (ranking.num_seconds, ranking.num_seizure_seconds) == (40 * 900, 40 * 60)


def test_error_is_half_the_pairs_that_a_bin_ties() -> None:
    score = noisy(seed=0)
    flat = RecordingScore("a", "a", np.full(3600, 0.3, np.float32), 4.0, 900.0, score.events)
    assert tally_recording(flat, CONFIG).auroc_error() == 0.5
    assert empty_tally().auroc_error() == 0
    assert total([noisy(seed=seed) for seed in range(5)]).auroc_error() < 1e-4


def test_detector_that_says_the_same_everywhere_is_at_chance() -> None:
    flat = RecordingScore("a", "a", np.full(3600, 0.3, np.float32), 4.0, 900.0, (Event(0, 90),))
    ranking = tally_recording(flat, CONFIG).ranking()
    assert ranking.auroc == 0.5
    assert ranking.auprc == pytest.approx(0.1, abs=1e-3)


def test_probabilities_of_zero_and_one_lie_in_the_outermost_bins() -> None:
    probability_K = np.array([0.0, 1.0] * 1800, np.float32)
    score = RecordingScore("a", "a", probability_K, 1.0, 3600.0, (Event(1, 2),))
    tally = tally_recording(score, CONFIG)
    assert (tally.background_N[0], tally.background_N[-1]) == (1800, 1799)
    assert tally.seizure_N[-1] == 1


def test_one_class_only_is_nan() -> None:
    silent = RecordingScore("a", "a", np.full(60, 0.1, np.float32), 1.0, 60.0, ())
    for tally in (empty_tally(), tally_recording(silent, CONFIG)):
        assert np.isnan([tally.ranking().auroc, tally.ranking().auprc]).all()


def test_events_at_every_threshold_are_those_of_the_exact_sweep() -> None:
    scores = [noisy(seed=seed) for seed in range(6)]
    exact_points = {p.threshold: p.scores for p in sweep_thresholds(scores, CONFIG)}
    points = total(scores).points()
    assert [point.threshold for point in points] == THRESHOLDS.tolist()
    thresholds = np.array(list(exact_points))
    for point in points[::20]:
        near = thresholds[np.abs(thresholds - point.threshold).argmin()]
        if near == point.threshold:
            assert point.scores == exact_points[near]
    middle = points[len(points) // 2]  # 0.5 is in both
    assert middle.threshold == 0.5
    assert middle.scores == exact_points[0.5]


def test_fixed_grid_finds_an_f1_next_to_the_best() -> None:
    scores = [noisy(seed=seed) for seed in range(30)]
    found, best = choose_point(total(scores).points(), CONFIG), choose_threshold(scores, CONFIG)
    assert found.scores is not None and best.scores is not None
    assert found.scores.f1 == pytest.approx(best.scores.f1, abs=0.01)


def test_parts_in_any_order_sum_to_the_same_whole() -> None:
    tallies = [tally_recording(noisy(seed=seed), CONFIG) for seed in range(6)]
    straight = reduce(operator.add, tallies, empty_tally())
    first, second = reduce(operator.add, tallies[::2]), reduce(operator.add, tallies[1::2])
    for merged in (first + second, second + first):
        assert merged.ranking() == straight.ranking()
        assert merged.points() == straight.points()


def test_memory_does_not_grow_with_hours() -> None:
    # Lesson 72: the predecessor held every window of dev, 120 GB.
    score = noisy(seed=0)

    def kept_after(recordings: int) -> int:
        tracemalloc.start()
        tally = empty_tally()
        for _ in range(recordings):
            tally = tally + tally_recording(score, CONFIG)
        kept, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert tally.background_N.sum() == recordings * 840
        return kept

    few, many = kept_after(2), kept_after(20)
    assert abs(many - few) < 100_000
    assert many < 5_000_000
