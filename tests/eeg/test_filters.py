"""Preprocessing equals plain scipy, moves nothing in time and works on any length."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from bgb.config.data import PreprocessConfig
from bgb.eeg.channels import assign_channels
from bgb.eeg.edf import read_edf
from bgb.eeg.filter_plan import NOTCH_QUALITY, gain, plan_filter
from bgb.eeg.filters import filter_blocks, preprocess, preprocess_reference
from bgb.errors import EdfError

CONFIG = PreprocessConfig()
RATES_HZ = (128, 200, 249.9, 250, 256, 400, 512, 1000)


def brain(seconds: float, rate_hz: float, num_channels: int = 2) -> NDArray[np.float32]:
    """Pink-like noise of some 50 uV on an offset and a drift, with 20 uV of mains."""
    time_T = np.arange(round(seconds * rate_hz)) / rate_hz
    noise_CT = np.random.default_rng(0).normal(0, 5, (num_channels, len(time_T))).cumsum(axis=1)
    mains_T = 20 * np.sin(2 * np.pi * 60 * time_T)
    signals_CT: NDArray[np.float64] = noise_CT + mains_T + 300 + 20 * time_T
    return signals_CT.astype(np.float32)


def sine(frequency_hz: float, seconds: float, rate_hz: float) -> NDArray[np.float32]:
    time_T = np.arange(round(seconds * rate_hz)) / rate_hz
    signal_T: NDArray[np.float64] = np.sin(2 * np.pi * frequency_hz * time_T)
    return signal_T[None].astype(np.float32)


@pytest.mark.parametrize("rate_hz", RATES_HZ)
@pytest.mark.parametrize("notch_hz", [60.0, 50.0, None])
def test_result_equals_plain_scipy(rate_hz: float, notch_hz: float | None) -> None:
    config = PreprocessConfig(notch_hz=notch_hz)
    signals_CT = brain(40, rate_hz)
    filtered = preprocess(signals_CT, rate_hz, config)
    assert filtered.dtype == np.float32 and filtered.shape == (2, 40 * 256)
    np.testing.assert_allclose(
        filtered, preprocess_reference(signals_CT, rate_hz, config), atol=2e-3, rtol=0
    )


@pytest.mark.real_data
def test_real_recording_equals_plain_scipy_at_every_sample(real_data: Path) -> None:
    """The quantum is 0.1 uV; the ends count too."""
    path = next((real_data / "helsinki_neonatal" / "assembled" / "eval").glob("*.edf"))
    recording = read_edf(path)
    chosen = [source[0] for source in assign_channels(recording.channels).sources if source]
    signals_CT = recording.signals_CT[chosen]
    filtered = preprocess(signals_CT, recording.rate_hz, CONFIG)
    reference = preprocess_reference(signals_CT, recording.rate_hz, CONFIG)
    assert np.abs(filtered - reference).max() < 1e-3
    resampled = preprocess(signals_CT, 250.0, CONFIG)  # the same samples, read as 250 Hz
    assert np.abs(resampled - preprocess_reference(signals_CT, 250.0, CONFIG)).max() < 2e-3


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_nothing_moves_in_time(rate_hz: float) -> None:
    filtered = preprocess(sine(10, 30, rate_hz), rate_hz, CONFIG)[0]
    expected = sine(10, 30, 256)[0]
    inner = slice(5 * 256, -5 * 256)
    lag = np.angle(np.vdot(_analytic(expected[inner]), _analytic(filtered[inner])))
    assert abs(lag / (2 * np.pi * 10) * 256) < 0.01  # samples
    np.testing.assert_allclose(filtered[inner], expected[inner], atol=0.01)


def _analytic(signal_T: NDArray[np.float32]) -> NDArray[np.complex128]:
    from scipy.signal import hilbert

    return np.asarray(hilbert(signal_T))


@pytest.mark.parametrize("rate_hz", [250, 256, 512])
def test_impulse_stays_where_it_was(rate_hz: int) -> None:
    signals_CT = np.zeros((1, 10 * rate_hz), np.float32)
    signals_CT[0, 4 * rate_hz] = 1000
    filtered = preprocess(signals_CT, rate_hz, CONFIG)[0]
    assert filtered.argmax() == 4 * 256
    np.testing.assert_allclose(filtered[1024 - 50 : 1024], filtered[1074:1024:-1], atol=0.5)


@pytest.mark.parametrize(
    ("frequency_hz", "gain"), [(0.05, 0), (0.5, 0.5), (1, 1), (30, 1), (60, 0), (100, 0.5)]
)
def test_band_and_notch_let_pass_what_they_should(frequency_hz: float, gain: float) -> None:
    filtered = preprocess(sine(frequency_hz, 120, 512), 512, CONFIG)[0, 20 * 256 : -20 * 256]
    assert np.sqrt(2 * np.mean(filtered**2)) == pytest.approx(gain, abs=0.03)


def test_frequencies_above_half_the_rate_do_not_fold_back() -> None:
    filtered = preprocess(sine(200, 30, 1000), 1000, CONFIG)[0, 1280:-1280]
    assert np.abs(filtered).max() < 1e-3


def test_source_sampled_below_twice_the_lowpass_is_resampled_all_the_same() -> None:
    filtered = preprocess(sine(10, 30, 100), 100, CONFIG)[0, 1280:-1280]
    power = np.abs(np.fft.rfft(filtered * np.hanning(len(filtered)))) ** 2
    frequency_hz = np.fft.rfftfreq(len(filtered), 1 / 256)
    assert power[frequency_hz > 50].sum() < 1e-4 * power.sum()


@pytest.mark.parametrize("rate_hz", [250, 256, 512])
@pytest.mark.parametrize("num_samples", [2, 3, 50, 125, 128, 500, 512])
def test_recording_shorter_than_the_extension_is_filtered(rate_hz: int, num_samples: int) -> None:
    signals_CT = brain(num_samples / rate_hz, rate_hz)
    filtered = preprocess(signals_CT, rate_hz, CONFIG)
    assert filtered.shape == (2, round(num_samples / rate_hz * 256))
    assert np.isfinite(filtered).all()
    np.testing.assert_allclose(
        filtered, preprocess_reference(signals_CT, rate_hz, CONFIG), atol=2e-3
    )


def test_offset_makes_no_transient() -> None:
    for rate_hz in (250, 256):
        filtered = preprocess(np.full((1, 10 * rate_hz), 5000, np.float32), rate_hz, CONFIG)
        assert np.abs(filtered).max() < 0.01


def test_input_is_not_changed() -> None:
    signals_CT = brain(3, 250)
    before = signals_CT.copy()
    preprocess(signals_CT, 250, CONFIG)
    np.testing.assert_array_equal(signals_CT, before)


@pytest.mark.parametrize("rate_hz", [256.0003, 199.7731, float("nan"), 0.0])
def test_rate_without_a_usable_ratio_is_refused(rate_hz: float) -> None:
    with pytest.raises(EdfError, match=r"no usable ratio to 256 Hz|are no signal to filter"):
        preprocess(brain(3600, 50), rate_hz, CONFIG)


def test_samples_that_are_not_finite_are_refused() -> None:
    signals_CT = brain(3, 256)
    signals_CT[1, 7] = np.nan
    with pytest.raises(EdfError, match=r"channels \[1\] \(counted from 0\).* not finite"):
        preprocess(signals_CT, 256, CONFIG)


def test_empty_signal_is_refused() -> None:
    with pytest.raises(EdfError, match="0 samples at 256 Hz are no signal"):
        preprocess(np.zeros((2, 0), np.float32), 256, CONFIG)


def test_importing_the_package_does_not_import_scipy_signal_or_torch() -> None:
    code = (
        "import sys, bgb.eeg, bgb.eeg.filters, bgb.eeg.edf; "
        "print([m for m in ('scipy.signal', 'torch', 'pyedflib', 'edfio') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_gain_is_that_of_scipy_s_sections() -> None:
    from scipy.signal import butter, freqz, iirnotch, sosfreqz

    frequency_hz = np.linspace(0.01, 127.9, 500)
    sections = butter(4, (CONFIG.highpass_hz, CONFIG.lowpass_hz), "bandpass", fs=256, output="sos")
    _, band = sosfreqz(sections, frequency_hz, fs=256)
    _, notch = freqz(*iirnotch(60, NOTCH_QUALITY, 256), frequency_hz, fs=256)
    np.testing.assert_allclose(
        gain(frequency_hz, CONFIG), np.abs(band * notch) ** 2, rtol=1e-6, atol=1e-10
    )
    assert gain(np.zeros(1), CONFIG) == 0


@pytest.mark.parametrize("rate_hz", [200, 249.9, 250, 256, 512])
def test_blocks_leave_no_seams(monkeypatch: pytest.MonkeyPatch, rate_hz: float) -> None:
    signals_CT = brain(330, rate_hz, num_channels=1)
    whole = preprocess(signals_CT, rate_hz, CONFIG)
    monkeypatch.setattr("bgb.eeg.filter_plan._BLOCK_SAMPLES", 50 * 256)
    monkeypatch.setattr("bgb.eeg.filter_plan._LARGEST_OVERLAP", 0.5)
    plan = plan_filter(signals_CT.shape[1], rate_hz, CONFIG)
    assert plan.length / plan.hop_out > 4
    streamed = preprocess(signals_CT, rate_hz, CONFIG)
    np.testing.assert_allclose(streamed, whole, atol=0.01, rtol=0)
    np.testing.assert_allclose(
        streamed, preprocess_reference(signals_CT, rate_hz, CONFIG), atol=0.01, rtol=0
    )


@pytest.mark.parametrize("rate_hz", RATES_HZ)
@pytest.mark.parametrize("seconds", [0.5, 30, 156, 157, 720, 4000, 24 * 3600])
def test_blocks_are_whole_seconds_and_of_bounded_size(rate_hz: float, seconds: float) -> None:
    plan = plan_filter(round(seconds * rate_hz), rate_hz, CONFIG)
    assert plan.block_out / plan.block_in == pytest.approx(256 / rate_hz)
    assert plan.overlap_out / plan.overlap_in == pytest.approx(256 / rate_hz)
    assert plan.overlap_out >= 12 * 256 and plan.hop_out % 256 == 0 < plan.hop_out
    assert plan.block_out < 300 * 256
    assert plan.block_out < 2 * (seconds + 50) * 256


@pytest.mark.parametrize("num_samples", [1, 2999, 3000, 3001, 39000, 39001, 100_000])
def test_every_sample_is_read_once_and_in_order(num_samples: int) -> None:
    plan, position = plan_filter(num_samples, 250, CONFIG), 0

    def read(out_CT: NDArray[np.float32]) -> None:
        nonlocal position
        out_CT[:] = np.arange(position, position + out_CT.shape[1])
        position += out_CT.shape[1]

    pieces = list(filter_blocks(read, 1, plan))
    assert position == num_samples
    assert sum(piece.shape[1] for _, _, piece in pieces) == round(num_samples * 256 / 250)
    assert max(np.abs(piece).max() for _, _, piece in pieces) < 0.05  # a line has no gain


@pytest.mark.parametrize(
    "config",
    [
        PreprocessConfig(highpass_hz=0.1),
        PreprocessConfig(highpass_hz=5.0),
        PreprocessConfig(highpass_hz=10.0, lowpass_hz=12.0, notch_hz=None),
        PreprocessConfig(rate_hz=64, highpass_hz=0.5, lowpass_hz=31.0, notch_hz=None),
    ],
)
def test_other_bands_equal_plain_scipy_too(config: PreprocessConfig) -> None:
    signals_CT = brain(400, 250, num_channels=1)
    reference = preprocess_reference(signals_CT, 250, config)
    np.testing.assert_allclose(preprocess(signals_CT, 250, config), reference, atol=0.02, rtol=0)


def test_offset_of_a_tenth_of_a_volt_costs_less_than_the_quantum() -> None:
    signals_CT = brain(200, 250, num_channels=1)
    shifted = preprocess(signals_CT + np.float32(1e5), 250, CONFIG)
    assert np.abs(shifted - preprocess(signals_CT, 250, CONFIG)).max() < 0.01
