"""The key of a cache: the hash of exactly what changes the bytes of a cached recording.

That is format, quantum, channel orders, preprocessing, label vocabulary, what the corpus makes of
its labels, and, where the corpus has no official split, how patients are split: the split stands in
`meta` and in the path, and a folder that holds one assignment only cannot leak (lesson 10). Never
in it: montage, window, sampling, workers, limit or paths (lessons 18, 21).
"""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bgb.config.data import CORPORA, DataConfig, SplitConfig, SyntheticCorpus, TuszCorpus
from bgb.eeg.events import LABEL_VOCABULARY
from bgb.eeg.montage import DOUBLE_BANANA, ELECTRODES
from bgb.eeg.signal import QUANTUM_UV, ZSCORE_SPEC
from bgb.errors import CacheError

FORMAT_VERSION = 2  # raise it whenever the same configuration would give other bytes

_OFFICIAL = (SyntheticCorpus, TuszCorpus)  # their folders say the split


def corpus_name(config: DataConfig) -> str:
    """Return the name of the corpus: its option in the group `data` and its folder in the cache."""
    return next(name for name, kind in CORPORA.items() if isinstance(config.corpus, kind))


def cache_identity(config: DataConfig) -> dict[str, Any]:  # Any: JSON
    """Return what the key hashes, readable; it stands in the `meta` of every file."""
    if config.origin == "predecessor":
        return _imported_identity(config)
    return {
        "format_version": FORMAT_VERSION,
        "quantum_uv": QUANTUM_UV,
        "channels": [list(ELECTRODES), list(DOUBLE_BANANA)],
        "preprocess": asdict(config.preprocess),
        "vocabulary": LABEL_VOCABULARY,
        "corpus": {"name": corpus_name(config), **asdict(config.corpus)},
        "split": _split_identity(config),
    }


def cache_key(config: DataConfig) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 of the identity."""
    text = json.dumps(cache_identity(config))
    text = json.dumps(json.loads(text, parse_int=float), sort_keys=True)  # 50 and 50.0 are one
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def cache_folder(config: DataConfig) -> Path:
    """Return <cache_root>/<corpus>/<key>, where the splits and the manifest lie."""
    if "://" in config.cache_root:
        raise CacheError(
            f"data.cache_root={config.cache_root} is a URL: such a cache is only copied from "
            "(data.staging); build it on a disk, then copy its folder there"
        )
    return Path(config.cache_root).expanduser() / corpus_name(config) / cache_key(config)


def _imported_identity(config: DataConfig) -> dict[str, Any]:  # Any: JSON
    """An imported cache has the signal, labels and splits that it was found with."""
    return {
        "format_version": FORMAT_VERSION,
        "origin": config.origin,
        "signal": asdict(ZSCORE_SPEC),
        "vocabulary": LABEL_VOCABULARY,
        "corpus": {"name": corpus_name(config)},
    }


def _split_identity(config: DataConfig) -> dict[str, Any]:  # Any: JSON
    split, mode = config.split, config.split.mode
    if mode == "official" or (mode == "auto" and isinstance(config.corpus, _OFFICIAL)):
        return {"mode": "official"}
    if mode == "column":
        return {"mode": "column"}
    lists = {name: sorted(getattr(split, name)) for name in ("train", "dev", "eval")}
    if mode == "list":
        return {"mode": "list", **lists}
    return {"mode": mode, **_fractions(split), **(lists if mode == "auto" else {})}


def _fractions(split: SplitConfig) -> dict[str, Any]:  # Any: JSON
    return {
        "dev_fraction": split.dev_fraction,
        "eval_fraction": split.eval_fraction,
        "seed": split.seed,
    }
