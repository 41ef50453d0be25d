"""Every dialect of channel names maps to the 19 electrodes or the 18 derivations, or to nothing."""

from pathlib import Path

import pytest

from bgb.eeg.channels import assign_channels, parse_label
from bgb.eeg.montage import DOUBLE_BANANA, ELECTRODES
from bgb.errors import ChannelError

CHBMIT = (
    "FP1-F7 F7-T7 T7-P7 P7-O1 FP1-F3 F3-C3 C3-P3 P3-O1 FP2-F4 F4-C4 C4-P4 P4-O2 FP2-F8 F8-T8 "
    "T8-P8-0 P8-O2 FZ-CZ CZ-PZ P7-T7 T7-FT9 FT9-FT10 FT10-T8"
).split()


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("EEG FP1-REF", "Fp1"),
        ("EEG FP1-LE", "Fp1"),
        ("Fp1-Avg", "Fp1"),
        ("FP1-AR", "Fp1"),
        ("EEG Fp1", "Fp1"),
        ("fp1", "Fp1"),
        (" eeg cz - ref ", "Cz"),
        ("F7-CS2", "F7"),
        ("EEG T7-Ref", "T3"),
        ("T8", "T4"),
        ("P7", "T5"),
        ("p8", "T6"),
        ("FP1-F7", "Fp1-F7"),
        ("EEG FP1-F7", "Fp1-F7"),
        ("F7-T7", "F7-T3"),
        ("T8-P8-0", "T4-T6"),
        ("T8-P8-1", "T4-T6"),
        ("P7-T7", "T5-T3"),
        ("FT9-FT10", "FT9-FT10"),
        ("EEG Fpz-Cz", "Fpz-Cz"),
        ("EEG A1-REF", "A1"),
        ("C3-A2", "C3-A2"),
    ],
)
def test_label_of_eeg_is_understood(label: str, name: str) -> None:
    parsed = parse_label(label)
    assert parsed is not None and parsed.name == name


@pytest.mark.parametrize(
    "label",
    "EKG,EEG EKG-REF,ECG EKG,PHOTIC PH,EMG-REF,EEG 30-LE,1,01,EEG 01-REF,O,EEG,-,.,,LUE-RAE,VNS,"
    "EEG C3P-REF,LOC-ROC,EKG1-CHIN,Resp Effort,FP1-XYZ,EOG horizontal,EEGFp1".split(","),
)
def test_other_label_is_not_guessed(label: str) -> None:
    assert parse_label(label) is None


@pytest.mark.parametrize("pattern", ["EEG {}-REF", "EEG {}-LE", "{}-Avg", "{}-AR", "EEG {}", "{}"])
def test_electrodes_of_every_dialect_are_found_in_any_order(pattern: str) -> None:
    labels = [pattern.format(name.upper()) for name in reversed(ELECTRODES)]
    assignment = assign_channels(["EKG", *labels, "EEG A1-REF"])
    assert assignment.channel_set == "electrodes" and assignment.channels == ELECTRODES
    assert assignment.sources == tuple((19 - i, 1) for i in range(19))
    assert assignment.missing == () and assignment.remarks == ()


def test_synonyms_are_one_electrode() -> None:
    new = {"T3": "T7", "T4": "T8", "T5": "P7", "T6": "P8"}
    assignment = assign_channels([new.get(name, name) for name in ELECTRODES])
    assert assignment.sources == tuple((i, 1) for i in range(19))


def test_bipolar_source_becomes_the_double_banana() -> None:
    assignment = assign_channels(CHBMIT)
    assert assignment.channel_set == "double_banana" and assignment.channels == DOUBLE_BANANA
    assert assignment.missing == () and assignment.remarks == ()
    t3_t5 = assignment.sources[DOUBLE_BANANA.index("T3-T5")]
    assert t3_t5 == (CHBMIT.index("T7-P7"), 1)


def test_reversed_derivation_is_taken_with_its_sign_turned() -> None:
    labels = [label for label in CHBMIT if label != "T7-P7"]
    assignment = assign_channels(labels)
    assert assignment.sources[DOUBLE_BANANA.index("T3-T5")] == (labels.index("P7-T7"), -1)
    assert assignment.remarks == ("taken with the sign turned: ['P7-T7']",)


def test_missing_electrodes_are_named() -> None:
    """249 files of TUSZ lack Fz and Pz (lesson 6)."""
    assignment = assign_channels([name for name in ELECTRODES if name not in ("Fz", "Pz")])
    assert assignment.missing == ("Fz", "Pz")
    assert [assignment.sources[ELECTRODES.index(name)] for name in ("Fz", "Pz")] == [None, None]


def test_fuller_set_is_taken_and_electrodes_on_a_tie() -> None:
    both = [*ELECTRODES, *DOUBLE_BANANA]
    assert assign_channels(both).channel_set == "electrodes"
    assert assign_channels([*DOUBLE_BANANA, "Cz"]).channel_set == "double_banana"
    assert assign_channels([*ELECTRODES[:10], "FP1-F7"]).channel_set == "electrodes"


def test_electrodes_against_another_reference_are_left_out() -> None:
    labels = [f"EEG {name}-REF" for name in ELECTRODES if name != "Cz"]
    assignment = assign_channels([*labels, "EEG CZ-LE", "FC1-AVG"])
    assert assignment.missing == ("Cz",)
    assert assignment.remarks == ("left out, not against REF as the others: ['EEG CZ-LE']",)


def test_two_complete_references_are_refused() -> None:
    labels = [f"{name}-{suffix}" for name in ELECTRODES for suffix in ("REF", "LE")]
    with pytest.raises(ChannelError, match="as many electrodes against REF as against LE"):
        assign_channels(labels)


def test_wanted_channel_that_stands_twice_is_refused() -> None:
    with pytest.raises(ChannelError, match=r"T4-T6 stands 2 times.*\['T8-P8-0', 'T8-P8-1'\]"):
        assign_channels([*CHBMIT, "T8-P8-1"])
    with pytest.raises(ChannelError, match=r"T3 stands 2 times.*\['T3', 'T7'\] \(channels \[6, 19"):
        assign_channels([*ELECTRODES, "T7"])


def test_unneeded_channel_may_stand_twice() -> None:
    assert not assign_channels([*ELECTRODES, "A1", "A1", "EKG", "EKG"]).missing


def test_zero_one_is_not_read_as_o1() -> None:
    """chb12_28 spells O1 as zero-one; recorders also number their spare channels so."""
    assignment = assign_channels([name.replace("O1", "01") for name in ELECTRODES])
    assert assignment.missing == ("O1",)
    assert assignment.remarks == ("labels ['01'] begin with a zero and are not read as O1 or O2",)


def test_labels_that_fit_nothing_are_listed() -> None:
    with pytest.raises(
        ChannelError, match=r"among the labels \['squarewave', 'EKG'\]; labels such"
    ):
        assign_channels(["squarewave", "EKG"])


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("path", "channel_set", "missing"),
    [
        ("layouts/siena/PN00/PN00-1.edf", "electrodes", ()),
        ("chbmit_clips/chb01/chb01_03_ictal10-20s.edf", "double_banana", ()),
        ("helsinki_neonatal/assembled/dev/helsiasm00d_s001_t000.edf", "electrodes", ()),
        ("edf_oddities/derived_phys_min_eq_max.edf", "electrodes", ("Fp1",)),
    ],
)
def test_real_recordings_are_assigned(
    real_data: Path, path: str, channel_set: str, missing: tuple[str, ...]
) -> None:
    from bgb.eeg.edf import read_edf

    assignment = assign_channels(read_edf(real_data / path).channels)
    assert (assignment.channel_set, assignment.missing) == (channel_set, missing)


@pytest.mark.real_data
def test_repeat_with_other_samples_is_refused_where_it_is_needed(real_data: Path) -> None:
    """The layout files hold random samples, so that T8-P8 stands twice with different ones."""
    from bgb.eeg.edf import read_edf

    recording = read_edf(real_data / "layouts" / "chbmit" / "chb05" / "chb05_01.edf")
    with pytest.raises(ChannelError, match=r"T4-T6 stands 2 times, with different samples"):
        assign_channels(recording.channels)
