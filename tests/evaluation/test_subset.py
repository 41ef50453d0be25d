"""bounded_subset: within its limit, mixed as the whole, never without a seizure."""

from fake_recordings import FakeRecording, MakeRecording

from bgb.evaluation.subset import bounded_subset


def recordings_of(make_recording: MakeRecording, *, every: int, count: int) -> list[FakeRecording]:
    return [
        make_recording(f"r{i}", duration_s=60, seizures=[(10, 20)] if i % every == 0 else [])
        for i in range(count)
    ]


def test_subset_is_bounded_seeded_and_mixed(make_recording: MakeRecording) -> None:
    recordings = recordings_of(make_recording, every=5, count=50)
    costs = [1.0] * 50
    subset = bounded_subset(recordings, costs, limit=20, seed=0)
    assert len(subset) == 20
    assert sum(bool(recording.events) for recording in subset) == 4
    assert subset == bounded_subset(recordings, costs, limit=20, seed=0)
    assert subset != bounded_subset(recordings, costs, limit=20, seed=1)
    assert bounded_subset(recordings, costs, limit=50, seed=0) == tuple(recordings)


def test_seizure_that_fits_is_not_crowded_out(make_recording: MakeRecording) -> None:
    recordings = recordings_of(make_recording, every=25, count=50)
    for seed in range(10):
        subset = bounded_subset(recordings, [1.0] * 50, limit=1, seed=seed)
        assert [bool(recording.events) for recording in subset] == [True]


def test_seizure_that_fits_is_taken_before_one_that_does_not(make_recording: MakeRecording) -> None:
    recordings = recordings_of(make_recording, every=1, count=5)
    for seed in range(10):
        assert bounded_subset(recordings, [9, 9, 2, 9, 9], limit=3, seed=seed) == (recordings[2],)


def test_where_no_seizure_fits_the_cheapest_alone_is_taken(make_recording: MakeRecording) -> None:
    recordings = recordings_of(make_recording, every=2, count=5)
    assert bounded_subset(recordings, [9, 1, 7, 1, 8], limit=3, seed=0) == (recordings[2],)


def test_subset_of_recordings_without_seizure_is_bounded_likewise(
    make_recording: MakeRecording,
) -> None:
    recordings = recordings_of(make_recording, every=99, count=6)[1:]
    assert len(bounded_subset(recordings, [1.0] * 5, limit=2, seed=0)) == 2
