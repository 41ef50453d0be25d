"""Configuration of the data: corpus, splits, preprocessing, cache and sampling."""

from dataclasses import dataclass
from typing import Any

from bgb.config.check import not_negative, one_of, positive, require
from bgb.config.option import option, required

SPLITS = ("train", "dev", "eval")


@dataclass(frozen=True)
class SyntheticCorpus:
    """A generated corpus in TUSZ layout: real EDF and csv_bi files, seeded, bytes reproducible."""

    name: str = option("synthetic", "the corpus")
    seed: int = option(0, "seed of the whole corpus")
    train_patients: int = option(24, "patients in train")
    dev_patients: int = option(8, "patients in dev")
    eval_patients: int = option(10, "patients in eval")
    hours: float = option(5.0, "total length of all ordinary recordings", unit="h")
    oddities: bool = option(True, "include the odd files that TUSZ is known to hold")

    def __post_init__(self) -> None:
        positive(
            data__corpus__train_patients=self.train_patients,
            data__corpus__dev_patients=self.dev_patients,
            data__corpus__eval_patients=self.eval_patients,
            data__corpus__hours=self.hours,
        )


@dataclass(frozen=True)
class TuszCorpus:
    """TUH EEG Seizure Corpus: the official tree, v1.5, or flat folders train/ dev/ eval/."""

    name: str = option("tusz", "the corpus")
    labels: str = option("csv_bi", "label files to train on: csv_bi, csv (types) or tse (v1.5)")

    def __post_init__(self) -> None:
        one_of("data.corpus.labels", self.labels, ("csv_bi", "csv", "tse"))


@dataclass(frozen=True)
class ChbmitCorpus:
    """CHB-MIT: chbNN/chbNN_MM.edf with chbNN-summary.txt; bipolar; chb21 is chb01 again."""

    name: str = option("chbmit", "the corpus")


@dataclass(frozen=True)
class SienaCorpus:
    """Siena Scalp EEG: PNxx/*.edf with Seizures-list-PNxx.txt."""

    name: str = option("siena", "the corpus")


@dataclass(frozen=True)
class BidsCorpus:
    """BIDS / SzCORE tree: sub-*/[ses-*/]eeg/*_eeg.edf with *_events.tsv."""

    name: str = option("bids", "the corpus")


CORPORA = {
    "synthetic": SyntheticCorpus,
    "tusz": TuszCorpus,
    "chbmit": ChbmitCorpus,
    "siena": SienaCorpus,
    "bids": BidsCorpus,
}
CorpusConfig = SyntheticCorpus | TuszCorpus | ChbmitCorpus | SienaCorpus | BidsCorpus


@dataclass(frozen=True)
class SplitConfig:
    """Who is trained on and who is scored: always whole patients.

    `auto` takes the official split where the corpus has one, then a `split` column of
    participants.tsv, then explicit lists, then seeded fractions.
    """

    mode: str = option("auto", "auto, official, column, list or fractions")
    train: list[str] = option([], "patients of train (mode list)")
    dev: list[str] = option([], "patients of dev (mode list)")
    eval: list[str] = option([], "patients of eval (mode list)")
    dev_fraction: float = option(0.2, "share of patients in dev (mode fractions)")
    eval_fraction: float = option(0.2, "share of patients in eval (mode fractions)")
    seed: int = option(0, "seed of the draw (mode fractions)")

    def __post_init__(self) -> None:
        one_of("data.split.mode", self.mode, ("auto", "official", "column", "list", "fractions"))
        positive(data__split__dev_fraction=self.dev_fraction)
        positive(data__split__eval_fraction=self.eval_fraction)
        require(
            self.dev_fraction + self.eval_fraction < 1,
            f"data.split.dev_fraction={self.dev_fraction} and data.split.eval_fraction="
            f"{self.eval_fraction} leave no patient for train; their sum must be below 1",
        )


@dataclass(frozen=True)
class PreprocessConfig:
    """What is done to a whole recording, once, zero phase, before it is cached."""

    rate_hz: int = option(256, "sampling rate of the cache", unit="Hz")
    highpass_hz: float = option(0.5, "lower edge of the band-pass", unit="Hz")
    lowpass_hz: float = option(100.0, "upper edge of the band-pass", unit="Hz")
    notch_hz: float | None = option(60.0, "mains frequency to notch out; null for none", unit="Hz")

    def __post_init__(self) -> None:
        positive(
            data__preprocess__rate_hz=self.rate_hz,
            data__preprocess__highpass_hz=self.highpass_hz,
            data__preprocess__notch_hz=self.notch_hz,
        )
        nyquist = self.rate_hz / 2
        require(
            self.highpass_hz < self.lowpass_hz < nyquist,
            f"data.preprocess: highpass_hz={self.highpass_hz} < lowpass_hz={self.lowpass_hz} "
            f"< rate_hz/2={nyquist} must hold",
        )
        require(
            self.notch_hz is None or self.notch_hz < nyquist,
            f"data.preprocess.notch_hz={self.notch_hz} must be below rate_hz/2={nyquist}",
        )


@dataclass(frozen=True)
class SamplingConfig:
    """What an epoch of training windows is made of, drawn afresh by (seed, epoch)."""

    windows_per_epoch: int = option(1024, "training windows in one epoch", unit="windows")
    partial: float = option(1.0, "weight of windows with some seizure")
    full: float = option(0.5, "weight of windows that are all seizure")
    none: float = option(2.0, "weight of windows without seizure")
    natural: bool = option(False, "draw kinds as often as they exist; the weights are not read")
    by_patient: bool = option(True, "draw patients evenly within each kind of window")

    def __post_init__(self) -> None:
        positive(data__sampling__windows_per_epoch=self.windows_per_epoch)
        not_negative(
            data__sampling__partial=self.partial,
            data__sampling__full=self.full,
            data__sampling__none=self.none,
        )
        require(
            self.partial + self.full > 0 and self.none > 0,
            "data.sampling must draw both seizure (partial or full > 0) and background (none > 0)",
        )


@dataclass(frozen=True)
class DataConfig:
    """One corpus, its cache and how windows are drawn from it."""

    corpus: Any = required("which corpus: an option of group data")  # Any: one of CORPORA
    root: str = required("folder or fsspec URL of the EDF files")
    cache_root: str = required("folder under which caches are kept")
    split: SplitConfig = option(SplitConfig, "how patients are split")
    preprocess: PreprocessConfig = option(PreprocessConfig, "what is done before caching")
    sampling: SamplingConfig = option(SamplingConfig, "what an epoch is made of")
    window_s: int = option(60, "length of a training window", unit="s")
    batch_size: int = option(16, "windows in a batch", unit="windows")
    residency: str = option("auto", "where windows come from: auto, device, memory or disk")
    staging: str | None = option(
        None, "local folder that the cache is copied to and read from; null = read in place"
    )
    memory_gib: float = option(8.0, "largest split that auto keeps in memory", unit="GiB")
    threads: int = option(4, "threads that read windows ahead, all of them one batch")
    workers: int = option(0, "processes that build the cache; 0 = one a core")
    max_missing: int = option(4, "electrodes that a recording may lack before it is refused")
    missing_labels: str = option("error", "recordings without label file: error or skip")
    expect_complete: bool = option(False, "refuse a corpus whose counts differ from the published")
    limit: int | None = option(None, "use only the first N recordings of each split (trials)")
    exclude: list[str] = option([], "recordings left out on purpose, by name")
    origin: str = option("edf", "what the cache was made of: edf, or predecessor (action=import)")
    check_source: bool = option(True, "compare cache and EDF files; false = read the cache alone")

    def __post_init__(self) -> None:
        positive(
            data__window_s=self.window_s,
            data__batch_size=self.batch_size,
            data__threads=self.threads,
            data__memory_gib=self.memory_gib,
            data__limit=self.limit,
        )
        not_negative(data__workers=self.workers, data__max_missing=self.max_missing)
        require(
            "://" not in self.cache_root or (self.staging is not None and not self.check_source),
            f"data.cache_root={self.cache_root} is a URL: a cache is read at random and lies on a "
            "local disk or a mounted volume; to have a finished one copied here, set data.staging="
            "<local folder> and data.check_source=false",
        )
        require(
            self.staging is None or ("://" not in self.staging and self.staging != self.cache_root),
            f"data.staging={self.staging} must be a local folder other than data.cache_root",
        )
        one_of("data.residency", self.residency, ("auto", "device", "memory", "disk"))
        one_of("data.origin", self.origin, ("edf", "predecessor"))
        require(
            self.origin == "edf" or not self.check_source,
            "data.origin=predecessor is an imported cache without EDF files to compare with; set "
            "data.check_source=false, too",
        )
        require(
            self.origin == "edf" or self.preprocess.rate_hz == 256,
            f"data.origin=predecessor is at 256 Hz, not data.preprocess.rate_hz="
            f"{self.preprocess.rate_hz}; leave that out",
        )
        one_of("data.missing_labels", self.missing_labels, ("error", "skip"))


def windows_in(seconds: float, window_s: int) -> int:
    """Return how many windows hold about so much EEG, at least one: for options in seconds."""
    return max(1, round(seconds / window_s))
