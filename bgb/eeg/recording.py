"""Recording: one continuous stretch of EEG in microvolts with its events."""

# Shapes: C channels, T samples

from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from bgb.eeg.events import Event


@dataclass(frozen=True)
class Recording:
    """Signals as stored in the file, in microvolts, and the events on them.

    Attributes
    ----------
    signals_CT : float32 microvolts.
    rate_hz : samples a second of every channel (may be fractional).
    channels : labels as the file spells them.
    events : seconds from the first sample, half-open, clipped to the recording.
    duration_s : exact duration that the file states, from its whole records.
    start : start date and time of the header (never cached; patient fields are never read).
    remarks : what was odd about the file and how it was read, one line each.
    """

    signals_CT: NDArray[np.float32]
    rate_hz: float
    channels: tuple[str, ...]
    events: tuple[Event, ...]
    duration_s: float
    start: datetime | None = None
    remarks: tuple[str, ...] = ()
