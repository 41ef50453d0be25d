"""From a recording to int16 seconds: channels, padding, saturation, contradictions."""

import numpy as np
import pytest
from tiny_corpus import RATE_HZ

from bgb.config.data import PreprocessConfig
from bgb.data.tiles import count_seconds, tile_recording
from bgb.eeg.events import Event
from bgb.eeg.filters import preprocess, preprocess_reference
from bgb.eeg.montage import DOUBLE_BANANA, ELECTRODES
from bgb.eeg.recording import Recording
from bgb.errors import CacheError, ChannelError

PREPROCESS = PreprocessConfig(rate_hz=RATE_HZ, highpass_hz=0.5, lowpass_hz=25.0, notch_hz=None)


def recording(*, duration_s=10.5, lacking=(), scale_uv=50.0, events=(), seed=0):
    channels = tuple(name for name in ELECTRODES if name not in lacking)[::-1]  # any order
    shape = len(channels), round(duration_s * RATE_HZ)
    signals_CT = scale_uv * np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
    return Recording(signals_CT, RATE_HZ, channels, events, duration_s)


def tile(source, *, max_missing=4):
    return tile_recording(source, PREPROCESS, max_missing=max_missing, recording_id="rec_1")


def test_tiles_hold_the_preprocessed_signal_in_fixed_order_at_a_tenth_of_a_microvolt():
    source = recording()
    tiled = tile(source)
    expected_CT = preprocess(source.signals_CT[::-1], RATE_HZ, PREPROCESS)
    cached_CT = tiled.tiles_SCR.transpose(1, 0, 2).reshape(19, -1)[:, : expected_CT.shape[1]]
    assert tiled.tiles_SCR.dtype == np.int16
    assert tiled.spec.channels == ELECTRODES
    np.testing.assert_allclose(cached_CT * 0.1, expected_CT, atol=0.0501)


def test_last_partial_second_is_padded_with_zeros_and_duration_stays_exact():
    tiled = tile(recording(duration_s=10.5))
    assert tiled.tiles_SCR.shape == (11, 19, RATE_HZ)
    assert tiled.duration_s == 10.5
    assert np.any(tiled.tiles_SCR[10, :, : RATE_HZ // 2])
    assert not np.any(tiled.tiles_SCR[10, :, RATE_HZ // 2 :])


def test_missing_electrodes_are_zero_and_listed():  # lessons 6 and 9
    tiled = tile(recording(lacking=("Fz", "Pz")))
    rows = [ELECTRODES.index("Fz"), ELECTRODES.index("Pz")]
    assert tiled.missing == ("Fz", "Pz")
    assert np.flatnonzero(~tiled.present_C).tolist() == rows
    assert not tiled.tiles_SCR[:, rows].any()
    assert tiled.tiles_SCR[:, tiled.present_C].any(axis=(0, 2)).all()


def test_too_many_missing_electrodes_are_refused_by_name():
    with pytest.raises(
        ChannelError, match=r"rec_1 lacks 2 of 19 channels \(Fz, Pz\).*max_missing=1"
    ):
        tile(recording(lacking=("Fz", "Pz")), max_missing=1)


def test_saturation_is_symmetric_and_counted():
    tiled = tile(recording(scale_uv=3000.0))
    assert tiled.tiles_SCR.max() == 32767
    assert tiled.tiles_SCR.min() == -32767
    at_limit = int((np.abs(tiled.tiles_SCR.astype(int)) == 32767).sum())
    assert 0 < tiled.clipped_samples <= at_limit
    assert tile(recording()).clipped_samples == 0


def test_statistics_name_every_channel():
    tiled = tile(recording(lacking=("Cz",)))
    by_name = {row["channel"]: row for row in tiled.statistics}
    assert tuple(by_name) == ELECTRODES
    assert by_name["Cz"]["rms_uv"] == 0
    assert 20 < by_name["Fp1"]["rms_uv"] < 60
    assert by_name["Fp1"]["min_uv"] < 0 < by_name["Fp1"]["max_uv"]


def test_labels_longer_than_the_signal_are_an_error():  # lesson 4
    with pytest.raises(CacheError, match=r"rec_1: seiz \[5.0, 11.0\) s ends after the signal"):
        tile(recording(events=(Event(5.0, 11.0),)))


def test_duration_that_contradicts_the_samples_is_an_error():
    source = recording()
    wrong = Recording(source.signals_CT, RATE_HZ, source.channels, (), 20.0)
    with pytest.raises(CacheError, match=r"672 samples at 64 Hz are 10.5000 s but its duration"):
        tile(wrong)


def test_recording_without_samples_is_an_error():
    with pytest.raises(CacheError, match="rec_1 holds no samples"):
        tile(recording(duration_s=0.0))


@pytest.mark.parametrize(
    ("duration_s", "seconds"), [(0.3, 1), (1.0, 1), (1.001, 2), (3 * 0.1 + 9.7, 10), (60.5, 61)]
)
def test_every_second_begun_is_a_tile(duration_s, seconds):
    assert count_seconds(duration_s) == seconds


def test_reversed_derivation_is_negated():
    signals_CT = 50 * np.random.default_rng(0).standard_normal((18, 640), dtype=np.float32)
    straight = Recording(signals_CT, RATE_HZ, DOUBLE_BANANA, (), 10.0)
    turned_CT = signals_CT.copy()
    turned_CT[0] *= -1
    turned = Recording(turned_CT, RATE_HZ, ("F3-Fp1", *DOUBLE_BANANA[1:]), (), 10.0)
    np.testing.assert_array_equal(tile(turned).tiles_SCR, tile(straight).tiles_SCR)


def test_tiles_of_many_blocks_equal_the_reference(monkeypatch):
    monkeypatch.setattr("bgb.eeg.filter_plan._BLOCK_SAMPLES", 40 * RATE_HZ)
    monkeypatch.setattr("bgb.eeg.filter_plan._LARGEST_OVERLAP", 0.5)
    source = recording(duration_s=100.5)
    tiled = tile(source)
    expected_CT = preprocess_reference(source.signals_CT[::-1], RATE_HZ, PREPROCESS)
    cached_CT = tiled.tiles_SCR.transpose(1, 0, 2).reshape(19, -1)
    np.testing.assert_allclose(cached_CT[:, : expected_CT.shape[1]] * 0.1, expected_CT, atol=0.051)
    assert not cached_CT[:, expected_CT.shape[1] :].any()
    rms_uv = [row["rms_uv"] for row in tiled.statistics]
    np.testing.assert_allclose(rms_uv, np.sqrt((expected_CT**2).mean(axis=1)), atol=0.01)


@pytest.mark.parametrize("num_samples", [1, 63, 64, 65, 36 * 64 + 1, 10 * 36 * 64])
def test_last_tile_is_there_however_little_it_holds(monkeypatch, num_samples):
    """At 640 Hz a second may begin that has not a sample at 64 Hz, just where a block ends."""
    monkeypatch.setattr("bgb.eeg.filter_plan._BLOCK_SAMPLES", 60 * RATE_HZ)
    monkeypatch.setattr("bgb.eeg.filter_plan._LARGEST_OVERLAP", 0.5)
    signals_CT = np.ones((19, 10 * num_samples + 4), np.float32)
    duration_s = signals_CT.shape[1] / 640
    tiled = tile(Recording(signals_CT, 640, ELECTRODES, (), duration_s))
    assert tiled.num_seconds == count_seconds(duration_s)
    assert not tiled.tiles_SCR[-1, :, 1:].any() or num_samples % 64 not in (0, 1)


def test_samples_that_are_not_finite_are_refused():
    source = recording()
    source.signals_CT[3, 100] = np.nan
    with pytest.raises(CacheError, match="rec_1: the filtered signal is not finite; exclude"):
        tile(source)
