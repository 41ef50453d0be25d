"""A live recording becomes the tiles of its file, at the promised second, whatever its chunks."""

import numpy as np
import pytest
from numpy.typing import NDArray
from tiny_corpus import RATE_HZ

from bgb.config.data import PreprocessConfig
from bgb.data.live import LiveRecording
from bgb.data.tiles import TiledRecording, tile_recording
from bgb.eeg.montage import DOUBLE_BANANA, ELECTRODES
from bgb.eeg.recording import Recording
from bgb.errors import ChannelError, EdfError

PREPROCESS = PreprocessConfig(rate_hz=RATE_HZ, highpass_hz=1.0, lowpass_hz=25.0, notch_hz=None)
LABELS = ("EEG EKG-REF", *(f"EEG {name.upper()}-REF" for name in ELECTRODES[::-1]))


def signals(duration_s: float, rate_hz: float = 100.0) -> NDArray[np.float32]:
    """Noise of some 50 uV on an offset and a drift; the first channel is not EEG."""
    time_T = np.arange(round(duration_s * rate_hz)) / rate_hz
    noise_CT = np.random.default_rng(0).normal(0, 5, (len(LABELS), len(time_T))).cumsum(axis=1)
    return np.asarray(noise_CT + 300 + 5 * time_T, np.float32)


def live(rate_hz: float = 100.0, labels: tuple[str, ...] = LABELS) -> LiveRecording:
    return LiveRecording(labels, rate_hz, PREPROCESS, max_missing=1)


def fed(signals_CT: NDArray[np.float32], chunk: int, rate_hz: float = 100.0) -> NDArray[np.int16]:
    recording = live(rate_hz)
    for first in range(0, signals_CT.shape[1], chunk):
        for _ in recording.feed(signals_CT[:, first : first + chunk]):
            pass
    recording.finish()
    return recording.tiles(0, recording.num_seconds)


def of_file(signals_CT: NDArray[np.float32], rate_hz: float = 100.0) -> TiledRecording:
    duration_s = signals_CT.shape[1] / rate_hz
    recording = Recording(signals_CT, rate_hz, LABELS, (), duration_s)
    return tile_recording(recording, PREPROCESS, max_missing=1)


@pytest.mark.parametrize("rate_hz", [RATE_HZ, 100.0, 250.0, 49.9])
@pytest.mark.parametrize("duration_s", [0.3, 5, 6.2, 7, 13.4, 60.5])
def test_tiles_are_those_of_the_file_within_a_quantum(rate_hz: float, duration_s: float) -> None:
    signals_CT = signals(duration_s, rate_hz)
    file_SCR = of_file(signals_CT, rate_hz).tiles_SCR
    live_SCR = fed(signals_CT, 50, rate_hz)
    assert live_SCR.shape == file_SCR.shape
    difference = np.abs(live_SCR.astype(int) - file_SCR)
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.003


def test_chunks_of_any_length_give_the_same_bytes() -> None:
    signals_CT = signals(40.3)
    whole_SCR = fed(signals_CT, signals_CT.shape[1])
    for chunk in (7, 100, 1370):
        np.testing.assert_array_equal(fed(signals_CT, chunk), whole_SCR)


def test_a_tile_comes_with_the_last_sample_that_it_was_promised_for() -> None:
    recording, signals_CT = live(), signals(20)
    assert (recording.hop_s, recording.look_ahead_s) == (1, 6)
    for sample in range(signals_CT.shape[1]):
        for _ in recording.feed(signals_CT[:, sample : sample + 1]):
            pass
        is_ready = (sample + 1) / 100 >= recording.ready_s(recording.num_seconds + 1)
        assert not is_ready, f"{recording.num_seconds} tiles after {sample + 1} samples"
        if recording.num_seconds:
            assert (sample + 1) / 100 >= recording.ready_s(recording.num_seconds)


def test_forgotten_tiles_are_freed_and_the_others_keep_their_second() -> None:
    recording, signals_CT = live(), signals(40)
    for _ in recording.feed(signals_CT):
        recording.forget(recording.num_seconds - 3)
    recording.finish()
    assert len(recording._kept) == 3 + recording.look_ahead_s
    np.testing.assert_allclose(
        recording.tiles(35, 40), of_file(signals_CT).tiles_SCR[35:], atol=1, rtol=0
    )


def test_wrong_channels_are_refused_by_name() -> None:
    with pytest.raises(ChannelError, match=r"no electrode of the 10-20 system"):
        live(labels=("1", "2"))
    with pytest.raises(ChannelError, match=r"live lacks 2 of 19 .*max_missing=1"):
        live(labels=LABELS[:-2])
    assert live(labels=DOUBLE_BANANA).spec.channel_set == "double_banana"


def test_a_rate_that_cannot_be_resampled_is_refused() -> None:
    with pytest.raises(EdfError, match=r"no usable ratio to 64 Hz"):
        live(rate_hz=100.0001)
    for rate_hz in (0.0, float("nan")):
        with pytest.raises(EdfError, match=r"rate_hz=.* is no sampling rate"):
            live(rate_hz=rate_hz)


def test_a_chunk_of_other_channels_is_refused() -> None:
    with pytest.raises(EdfError, match=r"shape \(3, 100\) .* \(20, samples\) was expected"):
        next(live().feed(np.zeros((3, 100), np.float32)))


def test_samples_that_are_not_finite_are_refused_and_not_taken() -> None:
    recording, signals_CT = live(), signals(1)
    signals_CT[0] = np.nan  # EKG is not read
    list(recording.feed(signals_CT))
    signals_CT[5, 20] = np.nan
    with pytest.raises(EdfError, match=rf"{LABELS[5]}.* not finite in the chunk from 1\.000 s"):
        next(recording.feed(signals_CT))
    assert recording.fed_s == 1.0


def test_a_gap_is_refused() -> None:
    recording = live()
    list(recording.feed(signals(2), start_s=0.0))
    list(recording.feed(signals(1), start_s=2.004))  # a clock in milliseconds
    with pytest.raises(EdfError, match=r"begins at 3\.500 s was fed where 3\.000 s was expected"):
        next(recording.feed(signals(1), start_s=3.5))


def test_what_has_finished_takes_no_more_and_what_is_empty_does_not_finish() -> None:
    recording = live()
    with pytest.raises(EdfError, match="nothing was fed"):
        recording.finish()
    list(recording.feed(signals(2)))
    recording.finish()
    with pytest.raises(EdfError, match="has finished; begin another"):
        next(recording.feed(signals(1)))
    with pytest.raises(EdfError, match="has finished; begin another"):
        recording.finish()
