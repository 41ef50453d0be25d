"""Label files as TUSZ v2 writes them: csv (types, one row a channel) and csv_bi (TERM, seiz)."""

from collections.abc import Iterable, Sequence

import numpy as np

from bgb.corpora.synthetic.plan import Mark, RecordingPlan
from bgb.corpora.synthetic.scalp import POSITIONS
from bgb.eeg.events import Event, union

_TCP = (
    "FP1-F7 F7-T3 T3-T5 T5-O1 FP2-F8 F8-T4 T4-T6 T6-O2 A1-T3 T3-C3 C3-CZ CZ-C4 C4-T4 T4-A2 "
    "FP1-F3 F3-C3 C3-P3 P3-O1 FP2-F4 F4-C4 C4-P4 P4-O2"
)
_CHANNELS = tuple(_TCP.split())
_EAR_CHANNELS = ("A1-T3", "T4-A2")
_REACH = 0.75  # a focal seizure is marked on channels with an electrode this near its focus


def csv_text(plan: RecordingPlan) -> str:
    """Return the csv file: every channel of the montage tiled with bckg and seizure types."""
    marks = plan.marks or tuple(_marks_of_seizures(plan))
    rows: list[str] = []
    for channel in montage_channels(plan):
        events = [Event(m.start_s, m.stop_s, m.label) for m in marks if m.channel == channel]
        rows += _tiles(channel, events, plan.duration_s)
    return _header(plan) + "".join(rows)


def csv_bi_text(plan: RecordingPlan) -> str:
    """Return the csv_bi file: seizures alone, or tiling; one bckg row where there is no seizure."""
    events = union(plan.seizures)
    if plan.tiling or not events:
        return _header(plan) + "".join(_tiles("TERM", events, plan.duration_s))
    return _header(plan) + "".join(_row("TERM", event) for event in events)


def montage_channels(plan: RecordingPlan) -> tuple[str, ...]:
    """Return the 22 channels of the TCP montage, or 20 where the ears were not recorded."""
    if plan.montage != "03_tcp_ar_a":
        return _CHANNELS
    return tuple(channel for channel in _CHANNELS if channel not in _EAR_CHANNELS)


def _header(plan: RecordingPlan) -> str:
    short = plan.oddity == "two_types"  # some headers state "301.00 secs"
    folder = "$NEDC_NFC/lib/" if plan.tiling else ""
    return (
        "# version = csv_v1.0.0\n"
        f"# bname = {plan.stem}\n"
        f"# duration = {plan.duration_s:.{2 if short else 4}f} secs\n"
        f"# montage_file = {folder}nedc_eas_default_montage.txt\n"
        "#\n"
        "channel,start_time,stop_time,label,confidence\n"
    )


def _marks_of_seizures(plan: RecordingPlan) -> Iterable[Mark]:
    for event in plan.seizures:
        for channel in montage_channels(plan):
            if plan.patient.kind == "generalised" or _near(channel, plan.patient.focus):
                yield Mark(channel, event.start_s, event.stop_s, event.label)


def _near(channel: str, focus: str) -> bool:
    offsets = [np.subtract(POSITIONS[name], POSITIONS[focus]) for name in channel.split("-")]
    return bool(min(np.hypot(*offset) for offset in offsets) < _REACH)


def _tiles(channel: str, events: Sequence[Event], duration_s: float) -> list[str]:
    """Return rows that cover [0, duration_s): bckg between the events."""
    rows, covered_s = [], 0.0
    for event in sorted(events):
        if event.start_s > covered_s:
            rows.append(_row(channel, Event(covered_s, event.start_s, "bckg")))
        rows.append(_row(channel, event))
        covered_s = event.stop_s
    if covered_s < duration_s:
        rows.append(_row(channel, Event(covered_s, duration_s, "bckg")))
    return rows


def _row(channel: str, event: Event) -> str:
    return f"{channel},{event.start_s:.4f},{event.stop_s:.4f},{event.label},1.0000\n"
