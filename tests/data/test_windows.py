"""Windows: padding, and that no second is left out."""

import numpy as np
import pytest
import torch

from bgb.data.windows import num_starts, recording_windows, window_starts
from bgb.errors import ConfigError


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
