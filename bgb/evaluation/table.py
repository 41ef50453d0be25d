"""The table of scores that a person reads: per patient, overall, and the baseline beside it."""

import math

from rich.table import Table

from bgb.evaluation.results import Evaluation, PatientResult, ScoredDetector, SplitResult
from bgb.evaluation.roc import CHANCE_AUROC
from bgb.evaluation.szcore import Scores, SubjectAverage, timescoring_version

_COLUMNS = ("Seizures", "Found", "Sens.", "Prec.", "F1", "FA/24 h", "AUROC")


def scores_table(evaluation: Evaluation, *, split: str = "eval") -> Table:
    """Return the scores of a split; fits 80 columns.

    Found counts SzCORE's reference pieces (merged below 90 s, split above 300 s), so its total may
    differ from the number of seizures.
    """
    result = evaluation.detector.splits[split]
    table = Table(title=_title(result), caption=_caption(evaluation, result), title_justify="left")
    table.caption_justify = "left"
    table.add_column("Patient")
    for name in _COLUMNS:
        table.add_column(name, justify="right", no_wrap=True)
    for patient in result.patients:
        table.add_row(patient.patient, *_patient_cells(patient))
    table.add_section()
    _add_overall(table, "All", result, style="bold")
    if evaluation.baseline is not None:
        table.add_section()
        _add_overall(table, "Baseline", evaluation.baseline.splits[split], style="dim")
    return table


def _add_overall(table: Table, name: str, result: SplitResult, *, style: str) -> None:
    event, average = result.summary.cumulated.event, result.summary.event_average
    cells = (str(result.num_seizures), _found(event), *_event_cells(event))
    table.add_row(f"{name} summed", *cells, _number(result.ranking.auroc), style=style)
    mean_auroc = _mean([patient.ranking.auroc for patient in result.patients])
    table.add_row(f"{name} mean", "", "", *_event_cells(average), _number(mean_auroc), style=style)


def _patient_cells(patient: PatientResult) -> tuple[str, ...]:
    event = patient.szcore.event
    auroc = _number(patient.ranking.auroc)
    return (str(patient.num_seizures), _found(event), *_event_cells(event), auroc)


def _event_cells(scores: Scores | SubjectAverage) -> tuple[str, ...]:
    return (
        _number(scores.sensitivity),
        _number(scores.precision),
        _number(scores.f1),
        _number(scores.fp_per_day, digits=1),
    )


def _found(scores: Scores) -> str:
    return f"{scores.tp}/{scores.num_reference}"


def _number(value: float, *, digits: int = 3) -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


def _mean(values: list[float]) -> float:
    defined = [value for value in values if not math.isnan(value)]
    return sum(defined) / len(defined) if defined else float("nan")


def _title(result: SplitResult) -> str:
    return (
        f"{result.split}: {len(result.patients)} patients, {len(result.recordings)} recordings, "
        f"{result.hours:.2f} h, {result.num_seizures} seizures"
    )


def _caption(evaluation: Evaluation, result: SplitResult) -> str:
    interval = result.auroc_interval
    lines = [
        f"SzCORE events, timescoring {timescoring_version()}; mean: over patients; -: undefined",
        f"AUROC: seconds, pooled over recordings; chance is {CHANCE_AUROC}",
    ]
    if not math.isnan(interval.low):
        lines.append(
            f"AUROC {interval.level:.0%} interval over patients: "
            f"{interval.low:.3f} to {interval.high:.3f}"
        )
    lines.append(f"threshold {_threshold(evaluation.detector)}")
    if evaluation.baseline is not None:
        lines.append(
            f"baseline: band power and logistic regression, threshold "
            f"{_threshold(evaluation.baseline)}"
        )
    return "\n".join(lines)


def _threshold(scored: ScoredDetector) -> str:
    choice = scored.threshold
    text = f"{choice.threshold:.3f}, from {choice.chosen_on}"
    if choice.constraint_met is False:
        text += f" (more than {choice.max_fp_per_day:g} FA/24 h there: limit not met)"
    return text
