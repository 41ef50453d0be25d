"""Labels: what is seizure, ramps around its ends, and which steps count."""

import math

import numpy as np
import pytest

from bgb.data.labels import count_steps, step_labels, valid_steps
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
