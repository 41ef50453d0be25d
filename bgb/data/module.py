"""EegDataModule: the data of a run for Lightning: builds what is lacking, checks, loads.

Only training windows come as batches from here. Validation and evaluation walk whole recordings of
`cache.split("dev")` and `cache.split("eval")` through `recording_windows`.
"""

import logging
from collections.abc import Sequence
from functools import cached_property

import torch
from pytorch_lightning import LightningDataModule

from bgb.config.augment import ShiftConfig
from bgb.config.data import SPLITS, DataConfig
from bgb.corpora import find_corpus
from bgb.corpora.base import Corpus
from bgb.data.build import build_cache
from bgb.data.cache import Cache, open_cache
from bgb.data.check import check_cache, summary_text
from bgb.data.device import find_device
from bgb.data.key import cache_folder
from bgb.data.loader import WindowLoader
from bgb.data.snapshot import Recordings, read_snapshot
from bgb.data.staging import stage_lists, stage_recordings, staged_config
from bgb.eeg.signal import SignalSpec

_LOG = logging.getLogger(__name__)
_NO_SHIFT = ShiftConfig()


class EegDataModule(LightningDataModule):
    """The cache of one corpus and the training windows drawn from it.

    Parameters
    ----------
    label_rate_hz : output steps a second of the detector; below 1 for long segments.
    seed : of the order of windows.
    splits : those this run needs: built, opened and checked.
    progress : show a bar while the cache is built.
    force_manifest : read the `meta` of every file again.
    accelerator : where the detector is trained, as `trainer.accelerator` has it.
    context_s, shift, boundary_s : of the `WindowLoader`.
    """

    def __init__(
        self,
        config: DataConfig,
        *,
        label_rate_hz: float,
        seed: int,
        splits: Sequence[str] = SPLITS,
        progress: bool = True,
        force_manifest: bool = False,
        accelerator: str = "cpu",
        context_s: tuple[int, int] = (0, 0),
        shift: ShiftConfig = _NO_SHIFT,
        boundary_s: float = 0.0,
    ) -> None:
        super().__init__()
        self._config, self._label_rate_hz, self._seed = config, label_rate_hz, seed
        self._splits, self._progress, self._force_manifest = splits, progress, force_manifest
        self._accelerator = accelerator
        self._context_s, self._shift, self._boundary_s = context_s, shift, boundary_s
        self._cache: Cache | None = None

    @cached_property
    def corpus(self) -> Corpus:
        """Return the corpus as `data` describes it."""
        return find_corpus(self._config, progress=self._progress)

    @property
    def cache(self) -> Cache:
        """Return the opened and checked cache."""
        if self._cache is None:
            self.setup()
        assert self._cache is not None
        return self._cache

    @property
    def spec(self) -> SignalSpec:
        """Return what a cached sample is; the detector is built from it."""
        return self.cache.spec

    def prepare_data(self) -> None:
        """Build what this run needs and the cache lacks; without its sources, `setup` says so."""
        if not self._config.check_source:
            return
        build_cache(self._config, self.corpus, splits=self._splits, progress=self._progress)

    def setup(self, stage: str | None = None) -> None:
        """Open the cache and check it; an empty or leaking split stops the run with a table."""
        if self._cache is not None:
            return
        config = self._config
        if config.staging is not None:
            stage_lists(config)
            config = staged_config(config)
        wanted = [one for one in self._recordings(config) if one[0] in self._splits]
        if self._config.staging is not None:
            stage_recordings(self._config, wanted, progress=self._progress)
        folder = cache_folder(config)
        cache = open_cache(folder, recordings=wanted, force_manifest=self._force_manifest)
        check_cache(cache, splits=self._splits)
        _LOG.info("cache %s\n%s", folder, summary_text(cache))
        self._cache = cache

    def _recordings(self, config: DataConfig) -> Recordings:
        """Return (split, recording id) of the corpus, or of its snapshot in the cache."""
        if not config.check_source:
            known = read_snapshot(config)
            _LOG.info(
                "data.check_source=false: %d recordings, as the last build found them with "
                "data.limit=%s and %d names in data.exclude",
                *(len(known), config.limit, len(config.exclude)),
            )
            return known
        return tuple((one.split, one.recording_id) for one in self.corpus.recordings)

    def train_dataloader(self, *, rank: int = 0, num_processes: int = 1) -> WindowLoader:
        """Return the loader of training windows; its order depends on (seed, epoch) only.

        Parameters
        ----------
        rank : of this process among those that share each batch; CUDA device `rank` is its own.
        """
        config, device = self._config, find_device(self._accelerator, rank)
        return WindowLoader(
            self.cache.split("train"),
            config.sampling,
            window_s=config.window_s,
            batch_size=config.batch_size,
            label_rate_hz=self._label_rate_hz,
            seed=self._seed,
            residency=config.residency,
            device=device,
            # On the CPU the threads of the loader convert, into memory that is used again.
            dtype=torch.float32 if device.type == "cpu" else torch.int16,
            progress=self._progress,
            # Each process has a copy of its own.
            memory_gib=config.memory_gib / num_processes,
            threads=config.threads,
            rank=rank,
            num_processes=num_processes,
            context_s=self._context_s,
            shift=self._shift,
            boundary_s=self._boundary_s,
        )
