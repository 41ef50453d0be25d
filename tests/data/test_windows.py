"""Windows: labels, padding, and that no second is left out."""

import math

import numpy as np
import pytest
import torch

from bgb.data.windows import (
    count_steps,
    num_starts,
    recording_windows,
    step_labels,
    valid_steps,
    window_starts,
)
from bgb.eeg.events import Event
from bgb.errors import ConfigError


def labels(events, start_s, num_steps, step_s):
    return step_labels(events, start_s, num_steps=num_steps, step_s=step_s).tolist()


def test_step_is_seizure_if_at_least_half_of_it_is():
    assert labels([Event(1.5, 3.49)], 0, 5, 1.0) == [0, 1, 1, 0, 0]
    assert labels([Event(1.51, 3.5)], 0, 5, 1.0) == [0, 0, 1, 1, 0]


def test_labels_of_a_window_in_the_middle_are_relative_to_it():  # lesson 76
    assert labels([Event(10, 12)], 9, 4, 1.0) == [0, 1, 1, 0]


def test_labels_below_and_above_one_hertz():
    assert labels([Event(4, 6)], 0, 3, 4.0) == [0, 1, 0]  # 2 of 4 s are half
    assert labels([Event(4, 5.9)], 0, 3, 4.0) == [0, 0, 0]
    assert labels([Event(0.25, 0.75)], 0, 4, 0.25) == [0, 1, 1, 0]


def test_parts_of_a_step_add_up_and_overlaps_count_once():
    assert labels([Event(0, 0.3), Event(0.6, 0.9)], 0, 1, 1.0) == [1]
    assert labels([Event(0, 0.3), Event(0.1, 0.4)], 0, 1, 1.0) == [0]


def ramp(events, start_s, num_steps, step_s, *, boundary_s, duration_s=math.inf):
    return step_labels(
        events,
        start_s,
        num_steps=num_steps,
        step_s=step_s,
        boundary_s=boundary_s,
        duration_s=duration_s,
    ).tolist()


def test_labels_ramp_linearly_around_onset_and_offset():
    labels_K = ramp([Event(4, 8)], 0, 24, 0.5, boundary_s=2.0)
    assert labels_K[:6] == [0] * 6
    assert labels_K[6:10] == [0.125, 0.375, 0.625, 0.875]
    assert labels_K[10:14] == [1] * 4
    assert labels_K[14:18] == [0.875, 0.625, 0.375, 0.125]
    assert labels_K[18:] == [0] * 6


def test_a_ramp_is_the_same_wherever_the_window_begins():
    # An onset just outside the window still ramps into it.
    events = [Event(4, 8), Event(9.5, 10)]
    whole = ramp(events, 0, 24, 0.5, boundary_s=3.0)
    for first in range(1, 24):
        assert ramp(events, first / 2, 24 - first, 0.5, boundary_s=3.0) == whole[first:]
        assert ramp(events, 0, first, 0.5, boundary_s=3.0) == whole[:first]


def test_a_recording_that_begins_or_ends_in_a_seizure_has_no_ramp_there():
    labels_K = ramp([Event(0, 10)], 0, 12, 1.0, boundary_s=4.0, duration_s=10.0)
    assert labels_K[:10] == [1] * 10


@pytest.mark.parametrize("boundary_s", [0.1, 1.0, 7.0])
def test_hard_labels_are_soft_labels_above_a_half(boundary_s):
    events = [Event(3.3, 20.1), Event(40, 52.7)]
    soft = np.array(ramp(events, 0, 60, 1.0, boundary_s=boundary_s))
    assert ((soft > 0.5) == np.array(labels(events, 0, 60, 1.0))).all()
    assert np.isfinite(ramp(events, 0, 60, 1.0, boundary_s=boundary_s, duration_s=52.7)).all()


def test_only_seizures_are_positive():
    assert labels([Event(0, 2, "impd"), Event(2, 3, "bckg")], 0, 3, 1.0) == [0, 0, 0]


def test_step_is_valid_if_it_begins_before_the_end():
    valid_BK = valid_steps([2.5, 2.0, 9.0], [0, 0, 6], num_steps=4, step_s=1.0)
    assert valid_BK.tolist() == [
        [True, True, True, False],
        [True, True, False, False],
        [True, True, True, False],
    ]


def test_window_must_hold_whole_steps():
    assert count_steps(60, 0.25) == 15
    assert count_steps(8, 64) == 512
    with pytest.raises(
        ConfigError, match=r"the 61 s of data.window_s .* no whole number of steps of 4 s"
    ):
        count_steps(61, 0.25)


@pytest.mark.parametrize("num_seconds", [1, 7, 8, 9, 12, 13, 40])
@pytest.mark.parametrize("stride_s", [1, 4, 5, 8])
def test_every_second_is_covered_and_windows_are_full_where_they_can(num_seconds, stride_s):
    starts = window_starts(num_seconds, judged_s=8, stride_s=stride_s)
    covered = {second for start in starts for second in range(start, start + 8)}
    assert covered >= set(range(num_seconds))
    assert starts == sorted(set(starts))
    assert num_seconds < 8 or starts[-1] + 8 == num_seconds
    assert num_starts(num_seconds, 8) == starts[-1] + 1


def test_stride_beyond_the_window_is_refused():
    with pytest.raises(ConfigError, match=r"stride_s=9 must be in 1..judged_s=8"):
        window_starts(40, judged_s=8, stride_s=9)


def test_recording_shorter_than_the_window_is_padded_and_masked(cache):  # lesson 12
    recording = cache["aaaaaaaa_s001_t001"]
    (batch,) = recording_windows(recording, window_s=20, stride_s=10, batch_size=4)
    assert batch.tiles_BSCR.shape == (1, 20, 19, 64)
    np.testing.assert_array_equal(batch.tiles_BSCR[0, :13], recording.tiles(0, 13))
    assert not batch.tiles_BSCR[0, 13:].any()
    assert batch.valid_BK[0].tolist() == [True] * 13 + [False] * 7
    assert batch.present_BC[0].sum() == 17


@pytest.mark.parametrize("context_s", [(0, 0), (4, 7), (60, 50), (3, 0)])
def test_every_second_is_judged_amid_its_context(cache, context_s):
    recording = cache["aaaaaaaa_s001_t000"]
    before_s, after_s = context_s
    silence = np.zeros((100, 19, 64), np.int16)
    padded = np.concatenate([silence, recording.tiles(0, recording.num_seconds), silence])
    judged = np.zeros(recording.num_seconds, bool)
    plain = recording_windows(recording, window_s=8, stride_s=5, batch_size=3)
    batches = recording_windows(
        recording,
        window_s=8 + before_s + after_s,
        stride_s=5,
        batch_size=3,
        context_s=context_s,
    )
    for batch, expected in zip(batches, plain, strict=True):
        assert torch.equal(batch.start_B, expected.start_B)
        assert torch.equal(batch.labels_BK, expected.labels_BK)
        assert torch.equal(batch.valid_BK, expected.valid_BK)
        for tiles_SCR, start in zip(batch.tiles_BSCR, batch.start_B.tolist()):
            judged[start : start + 8] = True
            first = 100 + start - before_s
            np.testing.assert_array_equal(tiles_SCR, padded[first : first + len(tiles_SCR)])
    assert judged.all()


def test_windows_of_a_recording_carry_its_signal_labels_and_numbers(cache):
    recording = cache["aaaaaaaa_s001_t000"]
    batches = list(recording_windows(recording, window_s=8, stride_s=5, batch_size=3, recording=7))
    assert torch.cat([batch.start_B for batch in batches]).tolist() == [
        0,
        5,
        10,
        15,
        20,
        25,
        30,
        32,
    ]
    assert torch.cat([batch.sample_B for batch in batches]).tolist() == list(range(8))
    assert set(torch.cat([batch.recording_B for batch in batches]).tolist()) == {7}
    assert batches[0].tiles_BSCR.dtype == torch.int16
    for batch in batches:
        for tiles_SCR, start, labels_K in zip(batch.tiles_BSCR, batch.start_B, batch.labels_BK):
            np.testing.assert_array_equal(tiles_SCR, recording.tiles(start, start + 8))
            expected = [float(10 <= second < 25) for second in range(start, start + 8)]
            assert labels_K.tolist() == expected


def test_windows_of_a_recording_in_memory_are_the_same(cache):
    from bgb.data.residency import make_resident

    recordings = cache.split("train")
    for on_disk, in_memory in zip(
        recordings, make_resident(recordings, "memory", memory_gib=1), strict=True
    ):
        for one, other in zip(
            *(
                recording_windows(item, window_s=9, stride_s=4, batch_size=2)
                for item in (on_disk, in_memory)
            ),
            strict=True,
        ):
            assert all(torch.equal(left, right) for left, right in zip(one, other))
