"""Whether a cache holds every recording of its corpus, told from names alone.

Nothing is generated, hashed or written: `python -m bgb.cache action=build` compares the contents.
"""

from dataclasses import dataclass
from pathlib import Path

from bgb.config.data import DataConfig, SyntheticCorpus
from bgb.corpora import find_corpus
from bgb.data.key import cache_key, corpus_name
from bgb.errors import BgbError
from bgb.infra.storage.survey import StoredCache

_SUFFIXES = (".csv", ".csv_bi", ".edf")


@dataclass(frozen=True)
class KnownCorpus:
    """The recordings ("split/name") of the corpus that the configuration names.

    Attributes
    ----------
    key : of the cache that this configuration uses.
    problem : why the recordings are not known; None where they are.
    """

    name: str
    key: str
    root: str
    recordings: frozenset[str] = frozenset()
    problem: str | None = None


@dataclass(frozen=True)
class Completeness:
    """What is to be said of a cache; `complete` is None where nothing can be compared."""

    complete: bool | None
    text: str


def know_corpus(config: DataConfig) -> KnownCorpus:
    """Find the corpus where it can be found; a synthetic one that is not there is not made."""
    known = KnownCorpus(corpus_name(config), cache_key(config), config.root)
    absent = _not_generated(config)
    if absent:
        return KnownCorpus(known.name, known.key, known.root, problem=absent)
    try:
        corpus = find_corpus(config, progress=False)
    except (BgbError, OSError) as error:
        return KnownCorpus(known.name, known.key, known.root, problem=str(error))
    recordings = frozenset(f"{one.split}/{one.recording_id}" for one in corpus.recordings)
    return KnownCorpus(known.name, known.key, known.root, recordings)


def judge(cache: StoredCache, corpus: KnownCorpus) -> Completeness:
    """Compare the recordings of a cache with those of its corpus.

    A cache of other preprocessing is compared, too, but not one of another synthetic corpus.
    """
    if cache.corpus != corpus.name:
        return Completeness(None, f"not compared: data={cache.corpus} would")
    if corpus.problem:
        return Completeness(None, f"not compared: {corpus.problem}")
    same = cache.key == corpus.key
    if not same and corpus.name == "synthetic":
        return Completeness(None, "of another synthetic corpus, or other preprocessing")
    wanted, there = corpus.recordings, cache.recordings
    if not same:  # its split may differ: compare names only
        wanted = frozenset(name.partition("/")[2] for name in wanted)
        there = frozenset(name.partition("/")[2] for name in there)
    missing = sorted(wanted - there)
    settings = "" if same else ", other settings"
    if not missing:
        return Completeness(True, f"complete{settings}")
    some = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
    what = f"{len(missing):,} of {len(wanted):,} recordings missing{settings} ({some})"
    return Completeness(False, what)


def _not_generated(config: DataConfig) -> str | None:
    """Say so where `find_corpus` would write files."""
    if not isinstance(config.corpus, SyntheticCorpus):
        return None
    from bgb.corpora.synthetic import MARKER, plan_corpus

    root = Path(config.root).expanduser()
    if not (root / MARKER).is_file():
        return f"no synthetic corpus at {config.root}"
    plans = plan_corpus(config.corpus)
    files = [root / "edf" / plan.folder / f"{plan.stem}{end}" for plan in plans for end in _SUFFIXES]
    lacking = sum(not file.exists() for file in files)
    if lacking == len(files):
        return f"the synthetic corpus at {config.root} is of another seed or size"
    return f"{lacking} files of the synthetic corpus are not written yet" if lacking else None
