"""Stitching: every second once, no seam, no context, one recording at a time."""

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fake_recordings import FakeRecording, MakeRecording

from bgb.data.windows import WindowBatch
from bgb.errors import ConfigError, RunError
from bgb.evaluation.stitching import Predict, check_window, stitch

Wave = Callable[[torch.Tensor], torch.Tensor]


def of_time(wave: Wave, *, judged_s: int, rate_hz: float) -> Predict:
    """A detector whose logit depends on nothing but the time of the centre of its step."""

    def predict(batch: WindowBatch) -> torch.Tensor:
        centre_s_K = (torch.arange(round(judged_s * rate_hz), dtype=torch.float64) + 0.5) / rate_hz
        return wave(batch.start_B[:, None] + centre_s_K)

    return predict


def constant(value: float, num_steps: int) -> Predict:
    return lambda batch: torch.full((len(batch.start_B), num_steps), value)


def slow_wave(time_s: torch.Tensor) -> torch.Tensor:
    return 3 * torch.sin(time_s / 7)


@pytest.mark.parametrize("duration_s", [0.4, 1, 9.5, 30, 60, 61, 100.25, 333.3])
@pytest.mark.parametrize(("rate_hz", "context_s"), [(4, (5, 7)), (1, (0, 0)), (0.25, (3, 5))])
def test_constant_logits_give_a_constant_series(
    make_recording: MakeRecording,
    duration_s: float,
    rate_hz: float,
    context_s: tuple[int, int],
) -> None:
    predict = constant(0.7, round((60 - sum(context_s)) * rate_hz))
    score = stitch(
        predict,
        make_recording(duration_s=duration_s),
        window_s=60,
        out_rate_hz=rate_hz,
        context_s=context_s,
    )
    assert len(score.probability_K) == int(np.ceil(duration_s * rate_hz))
    assert score.probability_K.dtype == np.float32
    np.testing.assert_allclose(score.probability_K, 1 / (1 + np.exp(-0.7)), rtol=1e-6)


@pytest.mark.parametrize("duration_s", [20, 60, 97.5, 301])
@pytest.mark.parametrize("context_s", [(0, 0), (10, 10), (1, 13), (30, 0)])
@pytest.mark.parametrize("overlap", [0.0, 0.5, 0.75])
@pytest.mark.parametrize("rate_hz", [1, 2, 4])
def test_a_function_of_time_is_reproduced_exactly(
    make_recording: MakeRecording,
    duration_s: float,
    context_s: tuple[int, int],
    overlap: float,
    rate_hz: float,
) -> None:
    score = stitch(
        of_time(slow_wave, judged_s=60 - sum(context_s), rate_hz=rate_hz),
        make_recording(duration_s=duration_s),
        window_s=60,
        out_rate_hz=rate_hz,
        context_s=context_s,
        overlap=overlap,
        batch_size=3,
    )
    centre_s_K = (torch.arange(len(score.probability_K), dtype=torch.float64) + 0.5) / rate_hz
    expected_K = torch.sigmoid(slow_wave(centre_s_K)).numpy()
    np.testing.assert_allclose(score.probability_K, expected_K, atol=1e-6)


@pytest.mark.parametrize("duration_s", [44, 60, 80, 124])
@pytest.mark.parametrize("rate_hz", [0.25, 0.5, 1.5])
def test_steps_longer_than_or_across_a_second_are_reproduced_exactly(
    make_recording: MakeRecording, duration_s: float, rate_hz: float
) -> None:
    score = stitch(
        of_time(slow_wave, judged_s=60, rate_hz=rate_hz),
        make_recording(duration_s=duration_s),
        window_s=60,
        out_rate_hz=rate_hz,
    )
    centre_s_K = (torch.arange(len(score.probability_K), dtype=torch.float64) + 0.5) / rate_hz
    expected_K = torch.sigmoid(slow_wave(centre_s_K)).numpy()
    np.testing.assert_allclose(score.probability_K, expected_K, atol=1e-6)


def test_a_last_window_between_segments_is_shared_out_by_time(
    make_recording: MakeRecording,
) -> None:
    """The last window of 62 s begins at 2 s: half of each of its segments belongs to the next."""
    score = stitch(
        of_time(lambda time_s: time_s / 20, judged_s=60, rate_hz=0.25),
        make_recording(duration_s=62),
        window_s=60,
        out_rate_hz=0.25,
    )
    assert len(score.probability_K) == 16
    expected_K = 1 / (1 + np.exp(-(np.arange(16) * 4 + 2) / 20))
    np.testing.assert_allclose(score.probability_K, expected_K, atol=0.02)


@pytest.mark.parametrize("context_s", [(0, 0), (6, 6)])
def test_the_windows_blend_without_a_jump(
    make_recording: MakeRecording, context_s: tuple[int, int]
) -> None:
    """Windows that disagree meet in a slope, not in a step at the edge of one."""
    judged_s = 60 - sum(context_s)
    stride_s = judged_s // 2

    def by_window(batch: WindowBatch) -> torch.Tensor:
        is_even = batch.start_B % (2 * stride_s) == 0
        return torch.where(is_even, 4.0, -4.0)[:, None].expand(-1, 4 * judged_s)

    score = stitch(
        by_window,
        make_recording(duration_s=judged_s + 10 * stride_s),
        window_s=60,
        out_rate_hz=4,
        context_s=context_s,
    )
    assert np.ptp(score.probability_K) > 0.8
    assert np.abs(np.diff(score.probability_K)).max() < 0.03


def test_every_second_is_given_to_the_detector(make_recording: MakeRecording) -> None:
    seen = np.zeros(200, bool)

    def look(batch: WindowBatch) -> torch.Tensor:
        for start in batch.start_B.tolist():
            seen[start : start + 30] = True
        return torch.zeros(len(batch.start_B), 30)

    stitch(look, make_recording(duration_s=199.3), window_s=30, out_rate_hz=1, overlap=0.0)
    assert seen.all()


def test_batches_are_bounded_and_without_gradient(make_recording: MakeRecording) -> None:
    sizes = []
    weight = torch.ones(1, requires_grad=True)

    def predict(batch: WindowBatch) -> torch.Tensor:
        sizes.append(len(batch.start_B))
        logits_BK = weight * torch.ones(len(batch.start_B), 30)
        assert not logits_BK.requires_grad
        return logits_BK

    stitch(predict, make_recording(duration_s=600), window_s=30, out_rate_hz=1, batch_size=7)
    assert max(sizes) == 7


def test_identity_and_reference_are_kept(make_recording: MakeRecording) -> None:
    recording: FakeRecording = make_recording("bbb_t1", duration_s=60.5, seizures=[(10, 20)])
    score = stitch(
        constant(0.0, 60), recording, window_s=60, out_rate_hz=1, patient=recording.patient
    )
    assert (score.recording_id, score.patient, score.duration_s) == ("bbb_t1", "aaa", 60.5)
    assert score.events == recording.events


def test_half_precision_logits_are_taken(make_recording: MakeRecording) -> None:
    score = stitch(
        lambda batch: torch.zeros(len(batch.start_B), 60, dtype=torch.bfloat16),
        make_recording(),
        window_s=60,
        out_rate_hz=1,
    )
    np.testing.assert_array_equal(score.probability_K, 0.5)


def test_a_window_shorter_than_the_context_is_refused(make_recording: MakeRecording) -> None:
    message = r"data\.window_s=20 leaves nothing to judge .* 10 s and 10 s; raise data\.window_s"
    with pytest.raises(ConfigError, match=message):
        stitch(constant(0, 80), make_recording(), window_s=20, out_rate_hz=4, context_s=(10, 10))


def test_a_window_can_be_checked_before_any_work() -> None:
    check_window(SimpleNamespace(window_s=20, out_rate_hz=4.0, context_s=(5, 5)))
    with pytest.raises(ConfigError, match="leaves nothing"):
        check_window(SimpleNamespace(window_s=20, out_rate_hz=4.0, context_s=(10, 10)))


def test_a_window_of_no_whole_number_of_segments_is_refused(make_recording: MakeRecording) -> None:
    with pytest.raises(
        ConfigError, match=r"30 s of data\.window_s=30 .* choose 0 s more than a multiple of 4 s"
    ):
        stitch(constant(0, 7), make_recording(), window_s=30, out_rate_hz=0.25)


def test_logits_of_a_wrong_shape_are_refused(make_recording: MakeRecording) -> None:
    with pytest.raises(RunError, match=r"shape \(1, 59\) where \(1, 60\)"):
        stitch(constant(0, 59), make_recording(), window_s=60, out_rate_hz=1)


def test_diverged_weights_are_named_not_scored(make_recording: MakeRecording) -> None:
    with pytest.raises(RunError, match=r"aaa_s001_t000: .* not finite .* optimizer\.lr"):
        stitch(constant(float("nan"), 60), make_recording(), window_s=60, out_rate_hz=1)
