"""read_recording: signals and the events that lie beside them, the public face of bgb.eeg."""

from pathlib import Path

import fsspec
import numpy as np
import pytest
from edf_writer import noise, write_edf

from bgb.eeg import Event, read_recording
from bgb.errors import AnnotationError, EdfError

CSV_BI = (
    "# version = csv_v1.0.0\n# bname = a\n# duration = 3.0000 secs\n"
    "# montage_file = nedc_eas_default_montage.txt\n#\n"
    "channel,start_time,stop_time,label,confidence\nTERM,{start},{stop},seiz,1.0000\n"
)


def test_labels_beside_the_file_are_found(tmp_path: Path) -> None:
    path = write_edf(tmp_path / "a.edf", {"Fp1": noise()})
    assert read_recording(path).events == ()
    (tmp_path / "a.csv_bi").write_text(CSV_BI.format(start="0.5000", stop="1.5000"))
    recording = read_recording(path)
    assert recording.events == (Event(0.5, 1.5, "seiz"),)
    assert recording.duration_s == 3 and recording.remarks == ()
    assert read_recording(str(path), annotations=None).events == ()


def test_events_beside_a_bids_file_are_found(tmp_path: Path) -> None:
    path = write_edf(tmp_path / "sub-1_run-00_eeg.edf", {"Fp1": noise()})
    (tmp_path / "sub-1_run-00_events.tsv").write_text(
        "onset\tduration\teventType\tconfidence\tchannels\tdateTime\trecordingDuration\n"
        "1.0\t1.0\tsz\tn/a\tn/a\t2000-01-01 00:00:00\t3.00\n"
    )
    assert read_recording(path).events == (Event(1, 2, "sz"),)


def test_labels_elsewhere_are_read(tmp_path: Path) -> None:
    path = write_edf(tmp_path / "a.edf", {"Fp1": noise()})
    labels = tmp_path / "other.csv_bi"
    with pytest.raises(AnnotationError, match=r"other\.csv_bi"):
        read_recording(path, annotations=labels)
    labels.write_text(CSV_BI.format(start="0.0000", stop="3.0000"))
    assert read_recording(path, annotations=labels).events == (Event(0, 3, "seiz"),)


def test_events_past_the_end_are_clipped_with_a_remark(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_edf(tmp_path / "a.edf", {"Fp1": noise()})
    (tmp_path / "a.csv_bi").write_text(CSV_BI.format(start="2.0000", stop="9.0000"))
    recording = read_recording(path)
    assert recording.events == (Event(2, 3, "seiz"),)
    assert len(recording.remarks) == 1 and "ends after the recording" in recording.remarks[0]
    assert recording.remarks[0] in caplog.text


def test_url_and_its_labels_are_read(tmp_path: Path) -> None:
    path = write_edf(tmp_path / "a.edf", {"Fp1": noise()})
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/labelled/a.edf", path.read_bytes())
    memory.pipe_file("/labelled/a.csv_bi", CSV_BI.format(start="0.5", stop="1.5").encode())
    recording = read_recording("memory://labelled/a.edf")
    assert recording.events == (Event(0.5, 1.5, "seiz"),)
    np.testing.assert_array_equal(recording.signals_CT, read_recording(path).signals_CT)


def test_s3_url_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Against the loopback server of `moto`, where that and `s3fs` are installed."""
    s3fs = pytest.importorskip("s3fs")
    server = pytest.importorskip("moto.server").ThreadedMotoServer(port=0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        options = {"endpoint_url": f"http://{host}:{port}", "key": "test", "secret": "test"}
        monkeypatch.setitem(fsspec.config.conf, "s3", options)
        filesystem = s3fs.S3FileSystem()
        filesystem.mkdir("bucket")
        path = write_edf(tmp_path / "a.edf", {"Fp1": noise()})
        filesystem.pipe_file("bucket/a.edf", path.read_bytes())
        filesystem.pipe_file("bucket/a.csv_bi", CSV_BI.format(start="0.5", stop="1.5").encode())
        recording = read_recording("s3://bucket/a.edf")
        assert recording.channels == ("Fp1",) and recording.events == (Event(0.5, 1.5, "seiz"),)
        with pytest.raises(EdfError, match=r"s3://bucket/none\.edf: cannot be opened"):
            read_recording("s3://bucket/none.edf")
    finally:
        server.stop()


def test_missing_file_is_an_error() -> None:
    with pytest.raises(EdfError, match=r"nowhere\.edf: cannot be opened"):
        read_recording("nowhere.edf")


@pytest.mark.real_data
def test_summary_that_lists_many_recordings_is_read_by_name(real_data: Path) -> None:
    folder = real_data / "chbmit_clips" / "chb01"
    path = folder / "chb01_04_seizure.edf"
    recording = read_recording(path, annotations=next(folder.glob("*summary.txt")))
    assert recording.events and recording.events[-1].stop_s <= recording.duration_s


@pytest.mark.real_data
def test_real_neonate_is_read_with_its_events(real_data: Path) -> None:
    paths = sorted((real_data / "helsinki_neonatal").glob("sub-*/ses-*/eeg/*_eeg.edf"))
    recordings = [read_recording(path) for path in paths[:6]]
    assert any(recording.events for recording in recordings)
    for recording in recordings:
        assert recording.signals_CT.shape == (21, 30 * 256) and recording.duration_s == 30
        assert 5 < np.median(recording.signals_CT[:19].std(axis=1)) < 300  # microvolts
