"""Post-processing: units are seconds and the order is smooth, threshold, merge, drop."""

import numpy as np
import pytest

from bgb.config.evaluation import PostprocessConfig
from bgb.eeg.events import Event
from bgb.evaluation.postprocess import GrowingSmooth, smooth, to_events
from bgb.evaluation.series import RecordingScore, mean_over, num_steps

PLAIN = PostprocessConfig(smooth_s=0.0, merge_gap_s=0.0, min_duration_s=0.0)


def series(duration_s: float, rate_hz: float, *bounds: tuple[float, float]) -> np.ndarray:
    probability_K = np.zeros(num_steps(duration_s, rate_hz), np.float32)
    for start_s, stop_s in bounds:
        probability_K[round(start_s * rate_hz) : round(stop_s * rate_hz)] = 1.0
    return probability_K


def bounds(events: tuple[Event, ...]) -> list[tuple[float, float]]:
    return [(event.start_s, event.stop_s) for event in events]


@pytest.mark.parametrize("rate_hz", [0.25, 0.5, 1.0, 4.0, 16.0])
def test_lengths_are_seconds_at_every_rate(rate_hz: float) -> None:
    """Lesson 79: kernels in samples change their meaning with the rate."""
    probability_K = series(400, rate_hz, (40, 80), (100, 140), (200, 208), (300, 340))
    config = PostprocessConfig(smooth_s=0.0, merge_gap_s=24.0, min_duration_s=20.0)
    events = to_events(probability_K, rate_hz, 400, config, 0.5)
    assert bounds(events) == [(40, 140), (300, 340)]


def test_a_gap_of_exactly_merge_gap_s_stays() -> None:
    probability_K = series(60, 10, (10, 20), (20.3, 30), (35, 40))
    config = PostprocessConfig(smooth_s=0, merge_gap_s=0.3, min_duration_s=0)
    assert bounds(to_events(probability_K, 10, 60, config, 0.5)) == [
        (10, 20),
        (pytest.approx(20.3), 30),
        (35, 40),
    ]
    config = PostprocessConfig(smooth_s=0, merge_gap_s=5.0, min_duration_s=0)
    assert bounds(to_events(probability_K, 10, 60, config, 0.5)) == [(10, 30), (35, 40)]


def test_fragments_are_merged_before_short_ones_are_dropped() -> None:
    """Lesson 79: dropping first loses a seizure that was detected in pieces."""
    fragments = series(60, 4, (10, 12), (13, 15), (16, 18))
    config = PostprocessConfig(smooth_s=0, merge_gap_s=2, min_duration_s=5)
    assert bounds(to_events(fragments, 4, 60, config, 0.5)) == [(10, 18)]


def test_an_event_of_exactly_min_duration_s_is_kept() -> None:
    probability_K = series(60, 10, (10.1, 10.4), (20, 20.2))
    config = PostprocessConfig(smooth_s=0, merge_gap_s=0, min_duration_s=0.3)
    assert bounds(to_events(probability_K, 10, 60, config, 0.5)) == [(10.1, 10.4)]


def test_the_threshold_itself_is_a_seizure() -> None:
    probability_K = np.array([0.4, 0.5, 0.6], np.float32)
    assert bounds(to_events(probability_K, 1, 3, PLAIN, 0.5)) == [(1, 3)]


def test_events_end_with_the_recording() -> None:
    probability_K = np.ones(num_steps(10.3, 4), np.float32)
    assert len(probability_K) == 42
    assert bounds(to_events(probability_K, 4, 10.3, PLAIN, 0.5)) == [(0, 10.3)]


def test_a_partial_last_step_counts_only_its_own_length() -> None:
    probability_K = np.array([0, 0, 1], np.float32)  # the last segment of 4 s holds 0.5 s
    config = PostprocessConfig(smooth_s=0, merge_gap_s=0, min_duration_s=1)
    assert to_events(probability_K, 0.25, 8.5, config, 0.5) == ()


def test_nothing_above_the_threshold_is_no_event() -> None:
    assert to_events(series(60, 4), 4, 60, PostprocessConfig(), 0.5) == ()


def test_smoothing_is_a_centred_average_over_seconds() -> None:
    probability_K = series(60, 4, (30, 30.25))
    smoothed_K = smooth(probability_K, 4, smooth_s=5.0)
    # A window of 20 steps around the centre of each step: 19 whole and two halves.
    expected_K = np.convolve(probability_K, np.r_[0.5, np.ones(19), 0.5] / 20, "same")
    np.testing.assert_allclose(smoothed_K, expected_K, atol=1e-12)
    assert np.argmax(smoothed_K > 0) == 120 - 10
    np.testing.assert_allclose(smoothed_K[::-1], smooth(probability_K[::-1], 4, smooth_s=5.0))


@pytest.mark.parametrize("rate_hz", [0.25, 1.0, 4.0])
def test_smoothing_keeps_a_constant_also_at_the_edges(rate_hz: float) -> None:
    constant_K = np.full(100, 0.3, np.float64)
    np.testing.assert_allclose(smooth(constant_K, rate_hz, smooth_s=9.0), constant_K, atol=1e-12)


def test_smoothing_shorter_than_a_step_changes_nothing() -> None:
    probability_K = np.random.default_rng(0).random(50).astype(np.float32)
    np.testing.assert_array_equal(smooth(probability_K, 0.25, smooth_s=4.0), probability_K)


def test_a_day_at_16_hz_is_post_processed_without_a_loop_over_samples() -> None:
    """Lesson 74: quadratic extraction of events timed out; here runs are found by differences."""
    probability_K = (np.arange(24 * 3600 * 16) % 160 < 80).astype(np.float32)
    events = to_events(probability_K, 16, 24 * 3600, PLAIN, 0.5)
    assert len(events) == 24 * 360
    assert bounds(events)[:2] == [(0, 5), (10, 15)]


def test_mean_over_is_clipped_to_the_series() -> None:
    values = np.array([1.0, 3.0])
    means = mean_over(values, 0.5, np.array([-1.0, 1.0, 3.0]), np.array([2.0, 3.0, 9.0]))
    np.testing.assert_allclose(means, [1.0, 2.0, 3.0])


@pytest.mark.parametrize(
    ("duration_s", "rate_hz", "expected"),
    [(10, 4, 40), (10.1, 4, 41), (10, 0.25, 3), (0.1 * 3, 10, 3), (12.0000004, 0.25, 3)],
)
def test_steps_cover_the_recording(duration_s: float, rate_hz: float, expected: int) -> None:
    assert num_steps(duration_s, rate_hz) == expected


def test_a_series_of_the_wrong_length_is_our_own_mistake() -> None:
    with pytest.raises(AssertionError):
        RecordingScore("a", "a", np.zeros(39, np.float32), 4, 10, ())


@pytest.mark.parametrize("rate_hz", [4.0, 1.0, 1.5, 0.25])
@pytest.mark.parametrize("smooth_s", [0.0, 0.7, 3.0, 5.0, 11.3])
@pytest.mark.parametrize("chunk", [1, 7, 400])
def test_a_growing_series_is_smoothed_to_the_same_bits(
    rate_hz: float, smooth_s: float, chunk: int
) -> None:
    series_K = np.random.default_rng(0).random(400).astype(np.float32)
    growing, parts = GrowingSmooth(rate_hz, smooth_s=smooth_s), []
    for first in range(0, 400, chunk):
        parts.append(growing.add(series_K[first : first + chunk]))
        assert len(growing._integral_E) <= 4 + smooth_s * rate_hz
    smoothed_K = np.concatenate(parts)
    assert 400 - len(smoothed_K) <= 1 + smooth_s * rate_hz / 2
    expected_K = smooth(series_K, rate_hz, smooth_s=smooth_s)
    np.testing.assert_array_equal(smoothed_K, expected_K[: len(smoothed_K)])
