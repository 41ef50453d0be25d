"""Which windows an epoch is made of."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from bgb.config.data import SamplingConfig
from bgb.data.sampling import check_kinds, draw_epoch, index_windows, window_kinds
from bgb.eeg.events import Event
from bgb.errors import CacheError

SAMPLING = SamplingConfig(windows_per_epoch=70, partial=1.0, full=0.5, none=2.0)


def fake(patient="p", duration_s=100.0, spans=()):
    """A stand-in for a cached recording: the index reads these four facts only."""
    events = tuple(Event(start, stop) for start, stop in spans)
    return SimpleNamespace(
        patient=patient, duration_s=duration_s, num_seconds=int(np.ceil(duration_s)), events=events
    )


RECORDINGS = [
    fake("a", 200.0, [(50.0, 80.0)]),
    fake("a", 100.0),
    fake("b", 60.5, [(10.0, 14.0)]),
    fake("c", 5.0, [(0.0, 5.0)]),
    fake("d", 3000.0),
]


def brute_kind(recording, start, window_s):
    """The definition, a fiftieth of a second at a time."""
    stop = min(start + window_s, recording.duration_s)
    times = np.arange(start * 50, round(stop * 50)) / 50 + 0.01
    spans = [(event.start_s, event.stop_s) for event in recording.events]
    inside = [any(start <= time < stop for start, stop in spans) for time in times]
    share = np.mean(inside)
    return 2 if share == 1 else int(share > 0)


@pytest.mark.parametrize("window_s", [1, 8, 60])
@pytest.mark.parametrize(
    "recording",
    [
        fake(duration_s=40.0, spans=[(10.0, 25.0)]),
        fake(duration_s=40.5, spans=[(10.25, 12.5), (20.74, 20.9), (39.0, 40.5)]),
        fake(duration_s=5.5, spans=[(0.0, 5.5)]),
        fake(duration_s=12.5, spans=[]),
        fake(duration_s=30.0, spans=[(3.0, 9.0), (5.0, 14.0)]),
    ],
)
def test_kind_of_every_window_equals_the_definition(recording, window_s):
    kinds = window_kinds(recording, window_s)
    assert kinds.tolist() == [brute_kind(recording, start, window_s) for start in range(len(kinds))]
    assert len(kinds) == max(1, recording.num_seconds - window_s + 1)


def drawn(sampling=SAMPLING, recordings=RECORDINGS, *, seed=0, epoch=0, window_s=8):
    index = index_windows(recordings, judged_s=window_s, by_patient=sampling.by_patient)
    return draw_epoch(index, sampling, seed=seed, epoch=epoch)


def kinds_of(epoch, window_s=8):
    kinds = [window_kinds(recording, window_s) for recording in RECORDINGS]
    return [int(kinds[number][start]) for number, start in zip(epoch.recording_N, epoch.start_N)]


def test_kinds_come_in_the_proportion_of_their_weights():
    epoch = drawn()
    assert len(epoch) == 70
    assert np.bincount(kinds_of(epoch)).tolist() == [40, 20, 10]


def test_natural_kinds_come_as_often_as_they_exist():
    sampling = replace(SAMPLING, natural=True, windows_per_epoch=2000)
    exist = np.bincount(np.concatenate([window_kinds(each, 8) for each in RECORDINGS]))
    expected = 2000 * exist / exist.sum()
    assert np.abs(np.bincount(kinds_of(drawn(sampling))) - expected).max() < 1


def test_an_epoch_too_short_for_a_seizure_window_is_refused():  # lesson 14
    index = index_windows([fake("a", 3600.0, [(50.0, 54.0)])], judged_s=8)
    with pytest.raises(CacheError, match=r"windows_per_epoch=100 would hold no seizure .* raise"):
        check_kinds(index, SamplingConfig(natural=True, windows_per_epoch=100))


def test_patients_are_even_within_a_kind():
    epoch = drawn()
    patients = np.array([RECORDINGS[number].patient for number in epoch.recording_N])
    kinds = np.array(kinds_of(epoch))
    counts = {kind: np.unique(patients[kinds == kind], return_counts=True) for kind in range(3)}
    assert counts[0][0].tolist() == ["a", "b", "d"]
    assert sorted(counts[0][1].tolist()) == [13, 13, 14]
    assert sorted(counts[2][1].tolist()) == [5, 5]


def test_without_balancing_long_recordings_dominate():
    epoch = drawn(replace(SAMPLING, by_patient=False))
    background = epoch.recording_N[np.array(kinds_of(epoch)) == 0]
    assert np.mean(background == 4) > 0.8


def test_epoch_is_a_pure_function_of_seed_and_epoch():
    one, same = drawn(seed=3, epoch=5), drawn(seed=3, epoch=5)
    assert one.start_N.tolist() == same.start_N.tolist()
    assert one.recording_N.tolist() == same.recording_N.tolist()
    assert one.start_N.tolist() != drawn(seed=3, epoch=6).start_N.tolist()
    assert one.start_N.tolist() != drawn(seed=4, epoch=5).start_N.tolist()


def test_background_is_drawn_afresh_each_epoch():  # lesson 17
    def background(epoch):
        drawn_now = drawn(epoch=epoch)
        return {
            (number, start)
            for number, start, kind in zip(
                drawn_now.recording_N.tolist(), drawn_now.start_N.tolist(), kinds_of(drawn_now)
            )
            if kind == 0 and number == 4
        }

    assert len(background(0) & background(1)) <= 3


def test_windows_do_not_repeat_while_there_are_enough():
    recordings = [fake("a", 100.0, [(50.0, 80.0)])]
    everything = SamplingConfig(windows_per_epoch=200, partial=1.0, full=0.0, none=1.0)
    epoch = drawn(everything, recordings)
    kinds = window_kinds(recordings[0], 8)
    _, times = np.unique(epoch.start_N[kinds[epoch.start_N] == 0], return_counts=True)
    assert len(times) == (kinds == 0).sum()  # all of them before any comes again
    assert times.max() - times.min() <= 1


def test_order_is_shuffled_over_kinds_and_patients():
    kinds = kinds_of(drawn())
    assert len(set(kinds[:20])) == 3


def test_kind_that_does_not_exist_is_left_out_with_a_line(caplog):
    recordings = [fake("a", 100.0, [(50.0, 54.0)])]
    index = index_windows(recordings, judged_s=8)
    check_kinds(index, SAMPLING)
    assert "no window of kind full exists: its share goes to the others" in caplog.text
    epoch = draw_epoch(index, SAMPLING, seed=0, epoch=0)
    assert np.bincount(window_kinds(recordings[0], 8)[epoch.start_N]).tolist() == [47, 23]


def test_no_seizure_window_at_all_is_an_error():  # lesson 14
    with pytest.raises(CacheError, match=r"no seizure window to draw: there are 0 partial and 0"):
        check_kinds(index_windows([fake("a")], judged_s=8), SAMPLING)


def test_index_grows_with_events_not_with_windows():
    long = index_windows([fake("a", 100_000.0, [(50.0, 80.0)])], judged_s=60)
    assert long.count("none") > 99_000
    assert sum(len(runs.ends) for groups in long.groups.values() for runs in groups) <= 5


def test_ten_thousand_hours_are_drawn_in_a_moment():
    import time

    recordings = [fake(f"p{n % 500}", 3600.0, [(100.0 + n % 50, 160.0)]) for n in range(2000)]
    index = index_windows(recordings, judged_s=60)
    started = time.process_time()
    epoch = draw_epoch(index, replace(SAMPLING, windows_per_epoch=20_000), seed=0, epoch=0)
    assert time.process_time() - started < 2
    assert len(epoch) == 20_000
