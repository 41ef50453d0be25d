"""SzCORE scores: every expected value of timescoring 0.0.7, and the golden fixtures."""

import json
import math
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from timescoring.annotations import Annotation
from timescoring.scoring import EventScoring, SampleScoring

from bgb.eeg.annotations import read_events
from bgb.eeg.events import Event
from bgb.evaluation.szcore import (
    METRICS,
    Scores,
    SzcoreScores,
    SzcoreSummary,
    score_szcore,
    summarise,
    timescoring_version,
)

PAIRS = [
    "p01_exact",
    "p03_miss",
    "p05_early_half",
    "p07_inside",
    "p09_ref_split_in_3",
    "p11_touch",
    "p13_in_pre_tolerance",
    "p15_in_post_tolerance",
    "p17_merge_89s",
    "p19_split_301s",
    "p21_whole_file",
    "p23_end_of_file",
    "p25_two_refs_one_hyp_between",
    "p27_fraction_times",
    "p29_back_to_back",
    "r00_random",
    "r02_random",
    "r04_random",
    "r06_random",
    "r08_random",
]
VARIANTS = {"timescoring_fs256": "timescoring", "szcore_1hz": "szcore_1hz"}
NAN = float("nan")
FILE_S = 3600.0


def events(*bounds: tuple[float, float]) -> tuple[Event, ...]:
    return tuple(Event(start_s, stop_s) for start_s, stop_s in bounds)


def same(value: float, expected: float | None) -> bool:
    if expected is None or math.isnan(expected):
        return math.isnan(value)
    return value == pytest.approx(expected, rel=1e-12, abs=1e-12)


@cache
def load(path: Path) -> Any:
    return json.loads(path.read_text())


# --- expected values of timescoring 0.0.7 ---


@pytest.mark.real_data
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("pair", PAIRS)
def test_pair_equals_timescoring(real_data: Path, pair: str, variant: str) -> None:
    given = load(real_data / "scoring" / "pairs.json")[pair]
    expected = load(real_data / "scoring" / "expected_szcore_per_pair.json")[pair][variant]
    scores = score_szcore(
        events(*given["ref"]),
        events(*given["hyp"]),
        duration_s=given["duration"],
        variant=VARIANTS[variant],  # type: ignore[arg-type]
    )
    for kind in ("event", "sample"):
        assert_equal(getattr(scores, kind), expected[kind])


def assert_equal(scores: Scores, expected: dict[str, Any]) -> None:
    assert (scores.tp, scores.fp, scores.num_reference) == (
        expected["tp"],
        expected["fp"],
        expected["refTrue"],
    )
    assert scores.scored_s == expected["numSamples"] / expected["fs"]
    for metric in METRICS:
        name = "fpRate" if metric == "fp_per_day" else metric
        assert same(getattr(scores, metric), expected[name]), metric


@pytest.mark.real_data
def test_every_expected_pair_is_tested(real_data: Path) -> None:
    expected = load(real_data / "scoring" / "expected_szcore_per_pair.json")
    assert set(expected) == set(PAIRS) == set(load(real_data / "scoring" / "pairs.json"))
    assert all(set(variants) == set(VARIANTS) for variants in expected.values())


@cache
def helsinki_summary(folder: Path, variant: str, dialect: str) -> SzcoreSummary:
    scores = []
    for number in range(1, 80):
        reference, hypothesis = (read_expert(folder, expert, number, dialect) for expert in "AB")
        duration_s = duration_of(folder / "csv_bi" / "A" / f"eeg{number:02d}.csv_bi")
        score = score_szcore(
            reference,
            hypothesis,
            duration_s=duration_s,
            variant=variant,  # type: ignore[arg-type]
        )
        scores.append((f"sub-{number:03d}", score))
    return summarise(scores)


def read_expert(folder: Path, expert: str, number: int, dialect: str) -> tuple[Event, ...]:
    if dialect == "csv_bi":
        return read_events(folder / "csv_bi" / expert / f"eeg{number:02d}.csv_bi")
    subject = folder / "szcore" / expert / f"sub-{number:03d}"
    return read_events(next(subject.rglob("*_events.tsv")))


def duration_of(csv_bi: Path) -> float:
    line = next(line for line in csv_bi.read_text().splitlines() if line.startswith("# duration"))
    return float(line.split("=")[1].split()[0])


@pytest.mark.real_data
@pytest.mark.parametrize("dialect", ["csv_bi", "szcore"])
@pytest.mark.parametrize("variant", VARIANTS.values())
@pytest.mark.parametrize("kind", ["event", "sample"])
def test_two_experts_on_79_recordings_equal_szcore_evaluation(
    real_data: Path, kind: str, variant: str, dialect: str
) -> None:
    summary = helsinki_summary(real_data / "scoring" / "helsinki_annotators", variant, dialect)
    path = real_data / "scoring" / "expected_szcore_aggregate.json"
    expected = load(path)["helsinki_refA_hypB"]
    assert len(summary.per_subject) == 79
    average = getattr(summary, f"{kind}_average")
    for name, value in expected["avg_per_subject"][f"{kind}_results"].items():
        assert same(getattr(average, name.replace("fpRate", "fp_per_day")), value), name
    cumulated = getattr(summary.cumulated, kind)
    for name, value in expected["cumulated"][f"{kind}_results"].items():
        assert same(getattr(cumulated, name.replace("fpRate", "fp_per_day")), value), name


# --- golden fixtures of a file of one hour: (tp, fp, num_reference, F1, false alarms a day) ---

REF = ((100, 160),)
GOLDEN = [
    (REF, ((60, 70),), (0, 1, 1, 0.0, 24.0)),
    (REF, ((60, 71),), (1, 0, 1, 1.0, 0.0)),
    (REF, ((219, 230),), (1, 0, 1, 1.0, 0.0)),
    (REF, ((220, 230),), (0, 1, 1, 0.0, 24.0)),
    (REF, ((100, 300),), (1, 0, 1, 1.0, 0.0)),
    (REF, ((1000, 1010),), (0, 1, 1, 0.0, 24.0)),
    (REF, (), (0, 0, 1, 0.0, 0.0)),
    ((), (), (0, 0, 0, NAN, 0.0)),
    ((), ((10, 20),), (0, 1, 0, 0.0, 24.0)),
    (((600, 1320),), ((610, 620),), (1, 0, 3, 0.5, 0.0)),
    (((900, 930),), ((600, 1320),), (1, 1, 1, 2 / 3, 24.0)),
    (((100, 120), (180, 200)), ((100, 120),), (1, 0, 1, 1.0, 0.0)),
    (((100, 401),), ((100, 401),), (2, 0, 2, 1.0, 0.0)),
    (((100, 130),), ((1000, 1010), (1099, 1110)), (0, 1, 1, 0.0, 24.0)),  # gap of 89 s: one
    (((100, 130),), ((1000, 1010), (1100, 1110)), (0, 2, 1, 0.0, 48.0)),  # gap of 90 s: two
]


@pytest.mark.parametrize(("reference", "hypothesis", "expected"), GOLDEN)
def test_golden_event_scores(reference: Any, hypothesis: Any, expected: Any) -> None:
    event = score_szcore(events(*reference), events(*hypothesis), duration_s=FILE_S).event
    assert (event.tp, event.fp, event.num_reference) == expected[:3]
    assert same(event.f1, expected[3])
    assert same(event.fp_per_day, expected[4])


def test_golden_sample_f1() -> None:
    scores = score_szcore(events(*REF), events((100, 300)), duration_s=FILE_S)
    assert scores.sample.f1 == pytest.approx(0.4615, abs=1e-4)


@pytest.mark.parametrize("seed", range(20))
def test_random_recordings_equal_timescoring_at_256_hz(seed: int) -> None:
    """Masks are built at the rates that are scored, not at 256 Hz; the counts are the same."""
    generator = np.random.default_rng(seed)
    duration_s = float(generator.uniform(30, 4000))
    pair = [np.sort(generator.uniform(0, duration_s, 2 * n)).reshape(-1, 2) for n in (3, 12)]
    annotations = [
        Annotation([tuple(row) for row in bounds.tolist()], 256, round(duration_s * 256))
        for bounds in pair
    ]
    scores = score_szcore(*(events(*bounds.tolist()) for bounds in pair), duration_s=duration_s)
    for ours, theirs in (
        (scores.event, EventScoring(*annotations)),
        (scores.sample, SampleScoring(*annotations)),
    ):
        assert_equal(ours, vars(theirs))


# --- what timescoring itself does not guard ---


def test_only_seizures_are_scored() -> None:
    reference = (Event(0, 100, "bckg"), Event(100, 160, "fnsz"), Event(700, 760, "impd"))
    scores = score_szcore(reference, events((100, 160)), duration_s=FILE_S)
    assert (scores.event.num_reference, scores.sample.num_reference) == (1, 60)


def test_order_and_overlap_of_events_do_not_matter() -> None:
    tangled = events((150, 160), (100, 155), (120, 130))
    assert score_szcore(tangled, tangled[::-1], duration_s=FILE_S) == score_szcore(
        events(*REF), events(*REF), duration_s=FILE_S
    )


def test_events_past_the_end_are_cut_off() -> None:
    scores = score_szcore(events((3590, 3700)), events((3650, 3700)), duration_s=FILE_S)
    assert (scores.event.num_reference, scores.event.fp) == (1, 0)
    assert scores.sample.num_reference == 10


@pytest.mark.parametrize("variant", VARIANTS.values())
@pytest.mark.parametrize("duration_s", [0.01, 0.4, 1.5, 2.0])
def test_a_very_short_recording_is_scored(duration_s: float, variant: Any) -> None:
    whole = events((0, duration_s))
    scores = score_szcore(whole, whole, duration_s=duration_s, variant=variant)
    assert scores.event.fp == scores.sample.fp == 0


def test_scores_of_a_day_and_of_nothing() -> None:
    assert Scores(3, 1, 4, 24 * 3600).fp_per_day == 1.0
    nothing = Scores(0, 0, 0, 0.0)
    assert all(math.isnan(getattr(nothing, metric)) for metric in METRICS)


def test_counts_are_summed_over_the_recordings_of_a_subject_before_averaging() -> None:
    def pair(tp: int, fp: int, num_reference: int) -> SzcoreScores:
        scores = Scores(tp, fp, num_reference, 3600.0)
        return SzcoreScores(scores, scores)

    summary = summarise([("a", pair(1, 0, 1)), ("b", pair(0, 0, 0)), ("a", pair(0, 2, 3))])
    assert summary.per_subject["a"].event == Scores(1, 2, 4, 7200.0)
    # b has no seizure and no detection: only its false alarms a day are defined.
    assert summary.event_average.sensitivity == 0.25
    assert summary.event_average.precision == pytest.approx(1 / 3)
    assert summary.event_average.fp_per_day == pytest.approx(12.0)
    assert summary.event_average.fp_per_day_std == pytest.approx(12.0)
    assert summary.cumulated.event == Scores(1, 2, 4, 10800.0)


def test_an_average_over_no_defined_subject_is_nan_without_warning() -> None:
    assert math.isnan(summarise([]).event_average.f1)


def test_the_version_of_timescoring_is_the_pinned_one() -> None:
    assert timescoring_version() == "0.0.7"
