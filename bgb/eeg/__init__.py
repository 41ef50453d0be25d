"""EEG on disk and in memory: recordings in microvolts, events, montages, filters.

The public face: `read_recording`, `read_events`, `write_events` and what they return.
"""

from bgb.eeg.annotations import read_events, write_events
from bgb.eeg.events import Event
from bgb.eeg.reader import read_recording
from bgb.eeg.recording import Recording
from bgb.eeg.signal import SignalSpec

__all__ = ["Event", "Recording", "SignalSpec", "read_events", "read_recording", "write_events"]
