"""TUSZ csv, csv_bi and tse: what real copies hold, and that nothing is read silently wrong."""

from pathlib import Path

import fsspec
import pytest

from bgb.eeg.annotations import read_events
from bgb.eeg.events import Event, seizures
from bgb.errors import AnnotationError

HEAD = """# version = csv_v1.0.0
# bname = aaaaaaac_s001_t000
# duration = 301.0000 secs
# montage_file = nedc_eas_default_montage.txt
#
channel,start_time,stop_time,label,confidence
"""
TYPES = """FP1-F7,0.0000,36.8868,bckg,1.0000
FP1-F7,36.8868,183.3055,cpsz,1.0000
FP1-F7,183.3055,301.0000,bckg,1.0000
F7-T3,30.0000,40.0000,cpsz,1.0000
F7-T3,250.0000,260.0000,gnsz,1.0000
T3-T5,20.0000,25.0000,cpsz,1.0000
"""


def read(
    tmp_path: Path, text: str, name: str = "a.csv", *, duration_s: float | None = None
) -> tuple[Event, ...]:
    file = tmp_path / name
    file.write_text(text, newline="")
    return read_events(file, duration_s=duration_s)


def test_types_become_the_union_over_channels_of_each_label(tmp_path: Path) -> None:
    assert read(tmp_path, HEAD + TYPES) == (
        Event(20, 25, "cpsz"),
        Event(30, 183.3055, "cpsz"),
        Event(250, 260, "gnsz"),
    )


def test_overlapping_types_are_both_kept(tmp_path: Path) -> None:
    rows = "FP1-F7,1.0,5.0,cpsz,1.0\nF7-T3,3.0,9.0,gnsz,1.0\n"
    assert read(tmp_path, HEAD + rows) == (Event(1, 5, "cpsz"), Event(3, 9, "gnsz"))


def test_csv_bi_reads_alike_with_tiling_and_with_seizures_only(tmp_path: Path) -> None:
    seizure = "TERM,30.0000,49.0000,seiz,1.0000\n"
    tiling = f"TERM,0.0000,30.0000,bckg,1.0000\n{seizure}TERM,49.0000,301.0000,bckg,1.0000\n"
    assert read(tmp_path, HEAD + seizure) == read(tmp_path, HEAD + tiling) == (Event(30, 49),)


def test_touching_seizures_of_csv_bi_stay_two(tmp_path: Path) -> None:
    rows = "TERM,1.0,2.0,seiz,1.0\nTERM,2.0,3.0,seiz,1.0\n"
    assert len(read(tmp_path, HEAD + rows)) == 2


def test_background_row_alone_means_no_event(tmp_path: Path) -> None:
    assert read(tmp_path, HEAD + "TERM,0.0000,301.0000,bckg,1.0000\n") == ()


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("301.0000 secs", "301.00 secs"),
        ("nedc_eas_default", "$NEDC_NFC/lib/nedc_eas_default"),
        (HEAD.removesuffix("channel,start_time,stop_time,label,confidence\n"), ""),
    ],
)
def test_headers_of_all_releases_are_read(tmp_path: Path, old: str, new: str, ending: str) -> None:
    text = (HEAD.replace(old, new) + "TERM,1.0,2.0,seiz,1.0\n").replace("\n", ending)
    assert read(tmp_path, text) == (Event(1, 2),)


def test_columns_are_found_by_name_not_by_place(tmp_path: Path) -> None:
    """Lesson 1: a parser of columns 0 to 2 once saw no seizure in 254 GB."""
    rows = "label,confidence,stop_time,start_time,channel\nseiz,1.0,9.0,4.0,TERM\n"
    assert read(tmp_path, "# version = csv_v1.0.0\n" + rows) == (Event(4, 9),)


@pytest.mark.parametrize("label", ["mysz", "nesz", "absz", "spsz", "tcsz", "tnsz"])
def test_every_seizure_type_is_a_seizure(tmp_path: Path, label: str) -> None:
    """Lessons 2 and 3: mysz was forgotten, and only `seiz` was looked for."""
    assert seizures(read(tmp_path, HEAD + f"FP1-F7,1.0,2.0,{label},1.0\n")) == (Event(1, 2),)


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("TERM,1.0,2.0,spkz,1.0", "unknown label 'spkz'; known are seizure:absz"),
        ("TERM,1.0,seiz,1.0", "4 values for the 5 columns"),
        ("TERM,one,2.0,seiz,1.0", "start_time must be a number of seconds, not 'one'"),
        ("TERM,5.0,2.0,seiz,1.0", "a start must be >= 0 and a stop not before its start"),
        ("TERM,nan,2.0,seiz,1.0", "a start must be >= 0"),
        ("TERM,-1.0,2.0,seiz,1.0", "a start must be >= 0"),
        ("TERM,1.0,inf,seiz,1.0", "a start must be >= 0"),
        ("TERM,10.0,12.", "3 values for the 5 columns"),
    ],
)
def test_malformed_row_names_file_line_and_text(tmp_path: Path, row: str, problem: str) -> None:
    with pytest.raises(AnnotationError) as error:
        read(tmp_path, HEAD + "TERM,0.0,1.0,bckg,1.0\n" + row + "\n")
    assert problem in str(error.value)
    assert f"a.csv, line 8: {row!r}" in str(error.value)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (HEAD, "no rows; even a recording without seizure has one bckg row"),
        ("# version = csv_v1.0.0\nchannel,start,stop\na,1,2\n", "the header lacks"),
        (HEAD.replace("301.0000 secs", "long") + TYPES, "expected `# duration = 301.0000 secs`"),
        ("", "which no dialect does"),
        ("hello\n", "begins with 'hello', which no dialect does; known are TUSZ csv"),
    ],
)
def test_unusable_file_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(AnnotationError, match=r"a\.csv") as error:
        read(tmp_path, text)
    assert problem in str(error.value)


def test_missing_file_is_an_error_not_silence(tmp_path: Path) -> None:
    """Lesson 8."""
    with pytest.raises(AnnotationError, match=r"no label file .*none\.csv_bi"):
        read_events(tmp_path / "none.csv_bi")


def test_event_past_the_end_is_clipped_and_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = "TERM,290.0,310.5,seiz,1.0\nTERM,320.0,330.0,seiz,1.0\n"
    assert read(tmp_path, HEAD + rows, duration_s=301.0) == (Event(290, 301),)
    assert "[290.0000, 310.5000) s ends after the recording (301.0000 s): clipped" in caplog.text
    assert "[320.0000, 330.0000) s ends after the recording (301.0000 s): dropped" in caplog.text


def test_without_a_duration_nothing_is_clipped(tmp_path: Path) -> None:
    assert read(tmp_path, HEAD + "TERM,290.0,310.5,seiz,1.0\n") == (Event(290, 310.5),)


@pytest.mark.parametrize(("duration_s", "logged"), [(301.5, False), (303.0, True)])
def test_stated_duration_that_differs_by_a_second_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, duration_s: float, logged: bool
) -> None:
    read(tmp_path, HEAD + "TERM,1.0,2.0,seiz,1.0\n", duration_s=duration_s)
    said = "the label file states 301.0000 s, the recording has 303.0000 s" in caplog.text
    assert said == logged


def test_seizure_of_no_length_is_dropped_and_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = "TERM,0.0000,0.0000,seiz,1.0\nTERM,4.0,5.0,seiz,1.0\n"
    assert read(tmp_path, HEAD + rows) == (Event(4, 5),)
    assert "seiz at 0.0000 s has no length: dropped" in caplog.text


def test_tse_of_v1_5_is_read(tmp_path: Path) -> None:
    text = "version = tse_v1.0.0\n\n0.0000 36.8868 bckg 1.0000\n36.8868 183.3055 fnsz 1.0000\n"
    assert read(tmp_path, text, "a.tse") == (Event(36.8868, 183.3055, "fnsz"),)


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("0.0 1.0 seiz", "line 3: '0.0 1.0 seiz': expected `start stop label probability`"),
        ("0.0 1.0 what 1.0", "unknown label 'what'"),
        ("", "no rows"),
    ],
)
def test_malformed_tse_is_refused(tmp_path: Path, row: str, problem: str) -> None:
    with pytest.raises(AnnotationError) as error:
        read(tmp_path, f"version = tse_v1.0.0\n\n{row}\n", "a.tse")
    assert problem in str(error.value)


def test_label_file_is_read_from_a_url() -> None:
    url = "memory://test_annotations_tusz/a.csv_bi"
    with fsspec.open(url, "w") as file:
        file.write(HEAD + "TERM,1.0,2.0,seiz,1.0\n")
    assert read_events(url) == (Event(1, 2),)


@pytest.mark.real_data
def test_real_csv_bi_equals_the_events_tsv_beside_it(real_data: Path) -> None:
    files = sorted((real_data / "helsinki_neonatal" / "assembled").rglob("*.csv_bi"))
    found = [seizures(read_events(file)) for file in files]
    assert sum(map(len, found)) == 30
    for file, events in zip(files, found, strict=True):
        assert events == seizures(read_events(file.with_name(f"{file.stem}_events.tsv")))
