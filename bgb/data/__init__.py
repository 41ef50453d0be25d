"""Caches of EEG and the windows drawn from them.

Public: `open_cache` and what it returns. Training takes `bgb.data.module.EegDataModule`, scoring
`bgb.data.windows.recording_windows`; these import torch and are therefore not imported here.
"""

from bgb.data.cache import Cache, CachedRecording, open_cache

__all__ = ["Cache", "CachedRecording", "open_cache"]
