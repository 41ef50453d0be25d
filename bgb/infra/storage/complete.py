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
    recordings: frozenset[str] = frozenset()
    problem: str | None = None


@dataclass(frozen=True)
class Completeness:
    """What is to be said of a cache; `complete` is None where nothing can be compared."""

    complete: bool | None
    text: str


def know_corpus(config: DataConfig) -> KnownCorpus:
    """Find the corpus where it can be found; a synthetic one that is not there is not made."""
    absent = _not_generated(config)
    if absent:
        return unknown_corpus(config, absent)
    try:
        corpus = find_corpus(config, progress=False)
    except BgbError as error:
        return unknown_corpus(config, str(error))
    recordings = frozenset(f"{one.split}/{one.recording_id}" for one in corpus.recordings)
    return KnownCorpus(corpus_name(config), cache_key(config), recordings)


def unknown_corpus(config: DataConfig, problem: str) -> KnownCorpus:
    """Return the corpus of a configuration without its recordings, and why."""
    return KnownCorpus(corpus_name(config), cache_key(config), problem=problem)


def judge(cache: StoredCache, corpus: KnownCorpus) -> Completeness:
    """Compare the recordings of a cache with those of its corpus.

    A cache with other settings (preprocessing, draw of the splits) is compared by bare names, but
    never with another synthetic corpus. Where the corpus is not known, what complete builds of the
    cache found is compared.
    """
    same = cache.corpus == corpus.name and cache.key == corpus.key
    if corpus.recordings and same:
        return _compare(cache.recordings, corpus.recordings, "")
    if corpus.recordings and cache.corpus == corpus.name != "synthetic":
        return _compare(_bare(cache.recordings), _bare(corpus.recordings), ", other settings")
    if cache.wanted:
        return _compare(cache.recordings, cache.wanted, " as last built")
    if cache.corpus != corpus.name:
        return Completeness(None, f"not compared: data={cache.corpus} would")
    return Completeness(None, f"not compared: {corpus.problem or 'made with other settings'}")


def _compare(there: frozenset[str], wanted: frozenset[str], how: str) -> Completeness:
    missing = sorted(wanted - there)
    if not missing:
        return Completeness(True, f"complete{how}")
    some = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
    what = f"{len(missing):,} of {len(wanted):,} recordings missing{how} ({some})"
    return Completeness(False, what)


def _bare(recordings: frozenset[str]) -> frozenset[str]:
    return frozenset(name.partition("/")[2] for name in recordings)


def _not_generated(config: DataConfig) -> str | None:
    """Say so where `find_corpus` would write files."""
    if not isinstance(config.corpus, SyntheticCorpus):
        return None
    from bgb.corpora.synthetic import MARKER, plan_corpus

    root = Path(config.root).expanduser()
    if not (root / MARKER).is_file():
        return f"no synthetic corpus at {config.root}"
    plans = plan_corpus(config.corpus)
    files = [
        root / "edf" / plan.folder / f"{plan.stem}{end}" for plan in plans for end in _SUFFIXES
    ]
    lacking = sum(not file.exists() for file in files)
    if lacking == len(files):
        return f"the synthetic corpus at {config.root} is of another seed or size"
    return f"{lacking} files of the synthetic corpus are not written yet" if lacking else None
