"""Old clinical files are read tolerantly, with a remark, and never by guessing."""

import logging
import warnings
from datetime import datetime
from pathlib import Path

import edfio
import fsspec
import numpy as np
import pytest
from edf_writer import noise, patch, write_edf

from bgb.eeg.edf import read_edf
from bgb.errors import EdfError

HELSINKI_20S = (21, 5120, 256.0)  # channels, samples, rate of the file that the derived ones are of
# file: (shape and rate, what a remark says or None) or the text of the refusal
ODDITIES: dict[str, tuple[tuple[int, int, float], str | None] | str] = {
    "derived_ok_20s": (HELSINKI_20S, None),
    "derived_date_colons": (HELSINKI_20S, "start date is not written as dd.mm.yy"),
    "derived_edfplus_D_gap": "a gap of 50 s before record 10 (second 10 of the samples)",
    "derived_flat_and_saturated": (HELSINKI_20S, None),
    "derived_header_only": "holds no complete record: the header declares 20",
    "derived_nrec_minus1": (HELSINKI_20S, "record count -1 (never closed by the recorder)"),
    "derived_phys_min_eq_max": ((20, 5120, 256.0), "without a usable range"),
    "derived_truncated_mid_record": ((21, 19 * 256, 256.0), "20 records, 19 are complete"),
    "edfio_short_psg": ((3, 30_000, 100.0), "at another rate than the rest: 'Resp oro-nasal' 1 Hz"),
    "edfio_test_subsecond": ((1, 698 * 128, 128.0), None),
    "mne_duplicate_channel_labels": ((3, 2500, 250.0), None),
    "mne_test": ((139, 3072, 512.0), "outside the declared digital range, read as stored"),
    "mne_test_uneven_samp": "have 2 rates: '3Hz +5/-5 V' 100 Hz, '0.2Hz Blk 1/0uV' 12.8 Hz",
    "not_edf_git_lfs_pointer": "is a Git LFS pointer, not the recording",
    "pyedflib_test_legacy": ((11, 120_000, 200.0), None),
    "pyedflib_test_utf8": ((1, 698 * 128, 128.0), None),
}


@pytest.mark.real_data
def test_every_odd_file_has_an_expectation(real_data: Path) -> None:
    assert {path.stem for path in (real_data / "edf_oddities").glob("*.edf")} == set(ODDITIES)


@pytest.mark.real_data
@pytest.mark.parametrize("name", ODDITIES)
def test_odd_file_is_read_right_or_refused(
    real_data: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = real_data / "edf_oddities" / f"{name}.edf"
    expected = ODDITIES[name]
    if isinstance(expected, str):
        with pytest.raises(EdfError) as refusal:
            read_edf(path)
        assert expected in str(refusal.value) and str(path) in str(refusal.value)
        return
    (num_channels, num_samples, rate_hz), remark = expected
    recording = read_edf(path)
    assert recording.signals_CT.shape == (num_channels, num_samples)
    assert recording.signals_CT.dtype == np.float32
    assert recording.rate_hz == rate_hz
    assert recording.duration_s == num_samples / rate_hz
    assert [r for r in recording.remarks if remark and remark in r] or not remark
    assert remark or not recording.remarks
    assert [record.getMessage() for record in caplog.records] == [
        f"{path}: {remark}" for remark in recording.remarks
    ]
    _assert_as_edfio(path, recording.channels, recording.signals_CT)


def _assert_as_edfio(path: Path, labels: tuple[str, ...], signals_CT: np.ndarray) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        edf = edfio.read_edf(path)
    unread = iter(edf.signals)
    for label, signal_T in zip(labels, signals_CT, strict=True):
        signal = next(signal for signal in unread if signal.label == label)
        np.testing.assert_allclose(signal_T, signal.data, atol=1e-3, rtol=1e-6)


@pytest.mark.real_data
@pytest.mark.parametrize(
    "name",
    ["derived_ok_20s", "edfio_test_subsecond", "mne_duplicate_channel_labels", "edfio_short_psg"],
)
def test_values_equal_those_of_pyedflib(real_data: Path, name: str) -> None:
    import pyedflib

    path = real_data / "edf_oddities" / f"{name}.edf"
    recording = read_edf(path)
    with pyedflib.EdfReader(str(path)) as reader:
        assert tuple(reader.getSignalLabels()[: len(recording.channels)]) == recording.channels
        assert recording.start is not None
        assert recording.start.replace(microsecond=0) == reader.getStartdatetime().replace(
            microsecond=0
        )
        for channel, signal_T in enumerate(recording.signals_CT):
            np.testing.assert_allclose(signal_T, reader.readSignal(channel), atol=1e-3, rtol=0)


@pytest.mark.real_data
def test_samples_outside_the_digital_range_are_read_as_stored(real_data: Path) -> None:
    recording = read_edf(real_data / "chbmit_clips" / "chb01" / "chb01_04_ictal10-20s.edf")
    channel = recording.channels.index("FT9-FT10")
    assert recording.signals_CT[channel].min() == pytest.approx(-2348 * 1600 / 4095, abs=0.5)
    assert (
        "samples outside the declared digital range, read as stored: 'FT9-FT10' 18, 'FT10-T8' 7"
        in recording.remarks
    )


@pytest.mark.real_data
def test_repeat_with_identical_samples_is_read_once(real_data: Path) -> None:
    recording = read_edf(real_data / "chbmit_clips" / "chb01" / "chb01_03_ictal10-20s.edf")
    assert recording.channels.count("T8-P8") == 1 and len(recording.channels) == 22
    assert recording.remarks == ("'T8-P8' stands twice with identical samples: the first is used",)


def test_repeat_with_other_samples_is_kept(tmp_path: Path) -> None:
    path = write_edf(tmp_path / "a.edf", [("T8-P8", noise(seed=0)), ("T8-P8", noise(seed=1))])
    assert read_edf(path).channels == ("T8-P8", "T8-P8")


def test_values_and_start_are_those_written(tmp_path: Path) -> None:
    signal = noise()
    path = patch(write_edf(tmp_path / "a.edf", {"Fp1": signal}), "start", "17.03.9907.08.09")
    recording = read_edf(path)
    np.testing.assert_allclose(recording.signals_CT[0], signal, atol=1e-3)
    assert recording.start == datetime(1999, 3, 17, 7, 8, 9)
    assert recording.remarks == ()


@pytest.mark.parametrize("start", ["00.00.0000.00.00", "xx.xx.xx00.00.00", "01.01.0025.00.00"])
def test_unreadable_start_is_left_unknown(tmp_path: Path, start: str) -> None:
    recording = read_edf(patch(write_edf(tmp_path / "a.edf", {"Fp1": noise()}), "start", start))
    assert recording.start is None
    assert recording.remarks == ("start date or time cannot be read: left unknown",)


def test_patient_fields_go_nowhere(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write_edf(tmp_path / "a.edf", {"Fp1": noise(), "F3": noise(seed=1)})
    patch(path, "patient", "MCH-0234567 F 16-SEP-1987 Haagse_Harry")
    patch(path, "recording", "Startdate 16-SEP-1987 PSG-1234 Nurse_Ratched Telemetry03")
    patch(path, "num_records", "-1")
    with caplog.at_level(logging.DEBUG):
        recording = read_edf(path)
    text = f"{recording!r} {caplog.text}"
    assert recording.remarks and "Harry" not in text and "Nurse" not in text and "1987" not in text


@pytest.mark.parametrize(
    "field", ["num_records", "record_s", "num_signals", "header_bytes", "samples"]
)
def test_name_in_a_shifted_header_is_not_repeated(tmp_path: Path, field: str) -> None:
    path = write_edf(tmp_path / "a.edf", {"Fp1": noise()})
    patch(path, field, "Joe", signal=0 if field == "samples" else None)
    with pytest.raises(EdfError, match=r"is not a|are not whole numbers above 0") as refusal:
        read_edf(path)
    assert "Joe" not in str(refusal.value) and refusal.value.__context__ is None


@pytest.mark.parametrize(
    ("dimension", "microvolts"),
    [
        (b"uV", 1),
        (b"UV", 1),
        (b"\xb5V", 1),
        (b"\xc2\xb5V", 1),
        (b"\xce\xbcV", 1),
        (b"\xe6V", 1),
        (b"mV", 1e3),
        (b"V", 1e6),
        (b"nV", 1e-3),
    ],
)
def test_voltage_is_converted_to_microvolts(
    tmp_path: Path, dimension: bytes, microvolts: float
) -> None:
    signal = noise()
    path = write_edf(tmp_path / "a.edf", {"Fp1": signal})
    recording = read_edf(patch(path, "dimension", dimension, signal=0))
    np.testing.assert_allclose(recording.signals_CT[0], signal * microvolts, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("dimension", ["", "mm", "MV"])
def test_eeg_in_an_unknown_unit_is_refused(tmp_path: Path, dimension: str) -> None:
    path = write_edf(tmp_path / "a.edf", {"Fp1": noise(), "EEG F3-REF": noise()})
    with pytest.raises(EdfError, match=r"unknown unit: 'EEG F3-REF' \(.+\); nV, uV, mV and V"):
        read_edf(patch(path, "dimension", dimension, signal=1))


def test_other_channel_in_an_unknown_unit_is_left_out(tmp_path: Path) -> None:
    path = write_edf(tmp_path / "a.edf", {"Fp1": noise(), "PHOTIC PH": noise(), "EKG": noise()})
    recording = read_edf(patch(path, "dimension", "mm", signal=1))
    assert recording.channels == ("Fp1", "EKG")


def test_eeg_at_two_rates_is_refused(tmp_path: Path) -> None:
    path = write_edf(tmp_path / "a.edf", {"Fp1": noise(), "F3": noise()})
    contents = path.read_bytes()
    path.write_bytes(contents[:768] + contents[768 : 768 + 3 * (256 + 128) * 2])
    with pytest.raises(EdfError, match="EEG channels have 2 rates: 'Fp1' 256 Hz, 'F3' 128 Hz"):
        read_edf(patch(path, "samples", "128", signal=1))


def test_file_without_any_voltage_is_refused(tmp_path: Path) -> None:
    path = write_edf(tmp_path / "a.edf", {"SPO2": noise()}, dimension="%")
    with pytest.raises(EdfError, match=r"no channel is a voltage .*'SPO2' \(%\)"):
        read_edf(path)


def test_file_whose_channels_cannot_be_scaled_is_refused(tmp_path: Path) -> None:
    path = write_edf(tmp_path / "a.edf", {"Fp1": noise()})
    with pytest.raises(EdfError, match="no channel can be scaled"):
        read_edf(patch(path, "digital_max", "-32767", signal=0))


def test_fractional_rate_is_exact(tmp_path: Path) -> None:
    path = write_edf(tmp_path / "a.edf", {"Fp1": noise()})
    recording = read_edf(
        patch(
            path,
            "record_s",
            "1.024",
        )
    )
    assert recording.rate_hz == 250.0
    assert recording.duration_s == 3.072


def test_bytes_after_the_declared_records_are_left_out(tmp_path: Path) -> None:
    path = write_edf(tmp_path / "a.edf", {"Fp1": noise()})
    recording = read_edf(patch(path, "num_records", "2"))
    assert recording.signals_CT.shape == (1, 512) and recording.duration_s == 2
    assert recording.remarks == ("512 bytes after the 2 declared records are left out",)


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("version", b"\xffBIOSEMI", "is a BDF file"),
        ("version", "1", "does not begin with the version number 0"),
        ("record_s", "0", "not a number of seconds above 0"),
        ("num_signals", "7", "7 signals need a header of 2048 bytes; the header says 512"),
        ("num_records", "0", "holds no complete record"),
    ],
)
def test_header_that_contradicts_itself_is_refused(
    tmp_path: Path, field: str, value: str | bytes, text: str
) -> None:
    path = patch(write_edf(tmp_path / "a.edf", {"Fp1": noise()}), field, value)
    with pytest.raises(EdfError, match=text):
        read_edf(path)


def test_missing_empty_and_short_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(EdfError, match=r"none\.edf: cannot be opened: No such file"):
        read_edf(tmp_path / "none.edf")
    (tmp_path / "empty.edf").touch()
    with pytest.raises(EdfError, match=r"empty\.edf: has 0 bytes"):
        read_edf(tmp_path / "empty.edf")


def _write_plus(path: Path, onsets: list[str | None], *, kind: str) -> Path:
    """Write an EDF+ of one-second records that begin at the given onsets."""
    write_edf(path, [("Fp1", noise(len(onsets), 8)), ("x", np.zeros(len(onsets) * 8))], rate_hz=8)
    contents = path.read_bytes()
    header, records = contents[:768], bytearray(contents[768:])
    for record, onset in enumerate(onsets):
        tal = b"" if onset is None else onset.encode() + b"\x14\x14\x00"
        records[record * 32 + 16 : record * 32 + 32] = tal.ljust(16, b"\x00")
    path.write_bytes(header + records)
    return patch(patch(path, "reserved", kind), "label", "EDF Annotations", signal=1)


def test_discontinuous_file_whose_records_follow_each_other_is_read(tmp_path: Path) -> None:
    recording = read_edf(_write_plus(tmp_path / "a.edf", ["+0.5", "+1.5", "+2.5"], kind="EDF+D"))
    assert recording.signals_CT.shape == (1, 24)
    assert recording.start is not None and recording.start.microsecond == 500_000
    assert recording.remarks == ("EDF+D, but its records follow each other: read as continuous",)


@pytest.mark.parametrize("kind", ["EDF+D", "EDF+C"])
@pytest.mark.parametrize(
    ("onsets", "text"),
    [
        (["+0", "+60", "+61"], "a gap of 59 s before record 1 "),
        (["+0", "+1", "+1.5"], "an overlap of 0.5 s before record 2 "),
        (["+0", "+1", "+2.07"], "a gap of 0.07 s before record 2 "),
    ],
)
def test_gap_is_never_closed(
    tmp_path: Path, kind: str, onsets: list[str | None], text: str
) -> None:
    with pytest.raises(EdfError, match=text):
        read_edf(_write_plus(tmp_path / "a.edf", onsets, kind=kind))


def test_discontinuous_file_that_does_not_keep_time_is_refused(tmp_path: Path) -> None:
    path = _write_plus(tmp_path / "a.edf", ["+0", None, "+2"], kind="EDF+D")
    with pytest.raises(EdfError, match="not every record says when it begins"):
        read_edf(path)


def test_continuous_file_that_does_not_keep_time_is_read(tmp_path: Path) -> None:
    recording = read_edf(_write_plus(tmp_path / "a.edf", ["+0", None, "+2"], kind="EDF+C"))
    assert recording.signals_CT.shape == (1, 24) and recording.remarks == ()


def test_url_is_read_like_a_file(tmp_path: Path) -> None:
    path = write_edf(tmp_path / "a.edf", {"Fp1": noise(), "F3": noise(seed=1)})
    fsspec.filesystem("memory").pipe_file("/bucket/a.edf", path.read_bytes())
    local, remote = read_edf(path), read_edf("memory://bucket/a.edf")
    np.testing.assert_array_equal(local.signals_CT, remote.signals_CT)
    assert (local.channels, local.start) == (remote.channels, remote.start)


def test_url_that_cannot_be_opened_is_refused() -> None:
    with pytest.raises(EdfError, match=r"memory://bucket/none\.edf: cannot be opened"):
        read_edf("memory://bucket/none.edf")
    with pytest.raises(EdfError, match=r"nosuch://a\.edf: cannot be opened: Protocol not known"):
        read_edf("nosuch://a.edf")


@pytest.mark.real_data
def test_every_real_recording_is_read(real_data: Path) -> None:
    paths = [p for p in real_data.rglob("*.edf") if p.parent.name != "edf_oddities"]
    for path in paths[::5]:
        recording = read_edf(path)
        assert np.isfinite(recording.signals_CT).all() and recording.start is not None
    assert len(paths) > 90
