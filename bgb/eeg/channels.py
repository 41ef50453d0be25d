"""Channel names: every dialect of label to the 19 electrodes or the 18 derivations.

A label is read in one way or not at all: `EEG FP1-REF`, `Fp1-Avg`, `T7` and `FP1-F7` are known by
rule; bare numbers, `EKG` or `01` (zero-one, chb12) are not turned into electrodes (lesson 5: early
code took the first 19 channels by position).
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bgb.eeg.montage import DOUBLE_BANANA, ELECTRODES
from bgb.eeg.signal import ChannelSet
from bgb.errors import ChannelError

# Suffixes that name a common reference: TUSZ REF, LE and AR, SzCORE Avg, CHB-MIT CS2 (chb12).
REFERENCES = frozenset({"REF", "LE", "AR", "AVG", "AV", "CAR", "CS2"})
SYNONYMS = {"T7": "T3", "T8": "T4", "P7": "T5", "P8": "T6"}
# The 10-10 system, mastoids and the extra temporal, sphenoidal and nasopharyngeal leads of TUSZ.
_SCALP = (
    "Nz Fp1 Fpz Fp2 AF1 AF2 AF3 AF4 AF5 AF6 AF7 AF8 AF9 AF10 AFz F1 F2 F3 F4 F5 F6 F7 F8 F9 F10 Fz "
    "FT7 FT8 FT9 FT10 FC1 FC2 FC3 FC4 FC5 FC6 FCz T1 T2 T3 T4 T5 T6 T9 T10 C1 C2 C3 C4 C5 C6 Cz "
    "TP7 TP8 TP9 TP10 CP1 CP2 CP3 CP4 CP5 CP6 CPz P1 P2 P3 P4 P5 P6 P9 P10 Pz PO1 PO2 PO3 PO4 PO5 "
    "PO6 PO7 PO8 PO9 PO10 POz O1 O2 Oz O9 O10 I1 I2 Iz A1 A2 M1 M2 Sp1 Sp2 Pg1 Pg2"
).split()
_SPELLING = {name.upper(): name for name in _SCALP} | SYNONYMS
_PREFIX = re.compile(r"^EEG\s+")
_MNE_REPEAT = re.compile(r"-\d+$")  # MNE renames the repeats of a label to, ...


@dataclass(frozen=True)
class ChannelName:
    """What a label means: an electrode against a reference, or a derivation of two electrodes.

    Attributes
    ----------
    electrode : official spelling, T3/T4/T5/T6 for T7/T8/P7/P8.
    minus : the second electrode of a derivation, else None.
    reference : upper-case suffix of an electrode, "" where the label names none.
    """

    electrode: str
    minus: str | None = None
    reference: str = ""

    @property
    def name(self) -> str:
        return self.electrode if self.minus is None else f"{self.electrode}-{self.minus}"

    @property
    def reversed_name(self) -> str:
        return f"{self.minus}-{self.electrode}"


@dataclass(frozen=True)
class ChannelAssignment:
    """Which channel of a file serves which channel of the set.

    Attributes
    ----------
    channel_set : "electrodes" or "double_banana".
    channels : the 19 or 18 names, in the fixed order of `bgb.eeg.montage`.
    sources : for each name (index in the labels, sign +1 or -1), or None where it is missing.
    missing : the names without a source.
    remarks : what was left out or turned round, one line each.
    """

    channel_set: ChannelSet
    channels: tuple[str, ...]
    sources: tuple[tuple[int, int] | None, ...]
    missing: tuple[str, ...]
    remarks: tuple[str, ...] = ()


def parse_label(label: str) -> ChannelName | None:
    """Read an EDF label as an EEG channel; None for anything else (EKG, PHOTIC, numbers)."""
    text = _PREFIX.sub("", label.strip().upper())
    first, dash, second = (part.strip() for part in _MNE_REPEAT.sub("", text).partition("-"))
    electrode = _SPELLING.get(first)
    if electrode is None:
        return None
    if not dash or second in REFERENCES:
        return ChannelName(electrode, reference=second)
    minus = _SPELLING.get(second)
    return None if minus is None else ChannelName(electrode, minus=minus)


def assign_channels(labels: Sequence[str]) -> ChannelAssignment:
    """Find the 19 electrodes or the 18 derivations of the double banana among the labels.

    The set of which the larger share is there is taken; on a tie the electrodes, because every
    montage can be made from them. Electrodes must share one reference, else their differences mean
    nothing: the reference of most is kept and the others count as missing, with a remark.
    A derivation that the file holds only reversed is taken with sign -1.

    Raises
    ------
    ChannelError : no label fits either set, a wanted name stands twice (`read_recording` has
        already dropped repeats with identical samples), or two references are equally common.
    """
    names = [(index, name) for index, label in enumerate(labels) if (name := parse_label(label))]
    electrodes, remarks = _one_reference(
        [(index, name) for index, name in names if name.name in ELECTRODES], labels
    )
    derivations = _derivations(names)
    if not electrodes and not derivations:
        raise ChannelError(
            f"no electrode of the 10-20 system and no derivation of the double banana among the "
            f"labels {list(labels)}; labels such as 'EEG FP1-REF', 'Fp1-Avg', 'T7' or 'FP1-F7' "
            "are understood: rename the channels of the file"
        )
    digits = [label for label in labels if label.strip() in ("01", "02")]
    if digits:
        remarks = [*remarks, f"labels {digits} begin with a zero and are not read as O1 or O2"]
    if len(electrodes) / len(ELECTRODES) >= len(derivations) / len(DOUBLE_BANANA):
        return _assignment("electrodes", ELECTRODES, electrodes, labels, remarks)
    return _assignment("double_banana", DOUBLE_BANANA, derivations, labels, [])


_Sources = dict[str, list[tuple[int, int]]]  # name -> every (index, sign) that could serve it


def _one_reference(
    found: Sequence[tuple[int, ChannelName]], labels: Sequence[str]
) -> tuple[_Sources, list[str]]:
    counts = Counter(name.reference for _, name in found).most_common()
    if not counts:
        return {}, []
    if len(counts) > 1 and counts[0][1] == counts[1][1]:
        raise ChannelError(
            f"as many electrodes against {_reference(counts[0][0])} as against "
            f"{_reference(counts[1][0])} among the labels {list(labels)}; "
            "keep those of one reference in the file"
        )
    kept = counts[0][0]
    odd = [labels[index] for index, name in found if name.reference != kept]
    remarks = [f"left out, not against {_reference(kept)} as the others: {odd}"] if odd else []
    return _collect((name.name, index, +1) for index, name in found if name.reference == kept), (
        remarks
    )


def _reference(suffix: str) -> str:
    return suffix or "an unnamed reference"


def _derivations(names: Sequence[tuple[int, ChannelName]]) -> _Sources:
    direct = _collect((name.name, i, +1) for i, name in names if name.name in DOUBLE_BANANA)
    turned = _collect(
        (name.reversed_name, i, -1) for i, name in names if name.reversed_name in DOUBLE_BANANA
    )
    return turned | direct  # CHB-MIT holds both T7-P7 and P7-T7: the direct one is taken


def _collect(triples: Iterable[tuple[str, int, int]]) -> _Sources:
    sources: _Sources = defaultdict(list)
    for name, index, sign in triples:
        sources[name].append((index, sign))
    return dict(sources)


def _assignment(
    channel_set: ChannelSet,
    channels: tuple[str, ...],
    found: _Sources,
    labels: Sequence[str],
    remarks: Sequence[str],
) -> ChannelAssignment:
    for name, places in found.items():
        if len(places) > 1:
            raise ChannelError(
                f"{name} stands {len(places)} times, with different samples: "
                f"{[labels[index] for index, _ in places]} (channels "
                f"{[index for index, _ in places]} counted from 0); keep one of them in the file"
            )
    sources = tuple(found[name][0] if name in found else None for name in channels)
    turned = [labels[source[0]] for source in sources if source and source[1] < 0]
    lines = [*remarks, f"taken with the sign turned: {turned}"] if turned else remarks
    missing = tuple(name for name in channels if name not in found)
    return ChannelAssignment(channel_set, channels, sources, missing, tuple(lines))
