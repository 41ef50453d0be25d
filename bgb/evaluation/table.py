"""The table of scores that a person reads: per patient, overall, and the baseline beside it.

It is drawn from scores.json, so that a finished run shows it without scoring again.
"""

from collections.abc import Mapping
from typing import Any

from rich.table import Table

Json = Mapping[str, Any]  # Any: JSON values
_COLUMNS = ("Seizures", "Found", "Sens.", "Prec.", "F1", "FA/24 h", "AUROC")


def scores_table(scores: Json, *, split: str = "eval") -> Table:
    """Return the scores of a split, from the content of scores.json; fits 80 columns.

    Found counts SzCORE's reference pieces (merged below 90 s, split above 300 s), so its total may
    differ from the number of seizures.
    """
    result = scores["detector"]["splits"][split]
    table = Table(title=_title(split, result), title_justify="left")
    table.caption, table.caption_justify = _caption(scores, result), "left"
    table.add_column("Patient")
    for name in _COLUMNS:
        table.add_column(name, justify="right", no_wrap=True)
    for name, patient in result["patients"].items():
        table.add_row(name, *_counted_cells(patient, patient["event"]))
    table.add_section()
    _add_overall(table, "All", result, style="bold")
    if scores["baseline"] is not None:
        table.add_section()
        _add_overall(table, "Baseline", scores["baseline"]["splits"][split], style="dim")
    return table


def _add_overall(table: Table, name: str, result: Json, *, style: str) -> None:
    cells = _counted_cells(result, result["event"]["cumulated"])
    table.add_row(f"{name} summed", *cells, style=style)
    auroc = _number(_mean([patient["auroc"] for patient in result["patients"].values()]))
    cells = ("", "", *_event_cells(result["event"]["avg_per_subject"]), auroc)
    table.add_row(f"{name} mean", *cells, style=style)


def _counted_cells(result: Json, event: Json) -> tuple[str, ...]:
    found = f"{event['tp']}/{event['num_reference']}"
    return (str(result["num_seizures"]), found, *_event_cells(event), _number(result["auroc"]))


def _event_cells(event: Json) -> tuple[str, ...]:
    ratios = (_number(event[metric]) for metric in ("sensitivity", "precision", "f1"))
    return (*ratios, _number(event["fp_per_day"], digits=1))


def _number(value: float | None, *, digits: int = 3) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _mean(values: list[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return sum(defined) / len(defined) if defined else None


def _title(split: str, result: Json) -> str:
    return (
        f"{split}: {result['num_patients']} patients, {result['num_recordings']} recordings, "
        f"{result['hours']:.2f} h, {result['num_seizures']} seizures"
    )


def _caption(scores: Json, result: Json) -> str:
    interval = result["auroc_interval"]
    lines = [
        f"SzCORE events, timescoring {scores['timescoring']}; mean: over patients; -: undefined",
        f"AUROC: seconds, pooled over recordings; chance is {scores['chance_auroc']}",
    ]
    if interval["low"] is not None:
        lines.append(
            f"AUROC {interval['level']:.0%} interval over patients: "
            f"{interval['low']:.3f} to {interval['high']:.3f}"
        )
    lines.append(f"threshold {_threshold(scores['detector']['threshold'])}")
    if scores["baseline"] is not None:
        threshold = _threshold(scores["baseline"]["threshold"])
        lines.append(f"baseline: band power and logistic regression, threshold {threshold}")
    return "\n".join(lines)


def _threshold(choice: Json) -> str:
    text = f"{choice['threshold']:.3f}, from {choice['chosen_on']}"
    if choice["constraint_met"] is False:
        text += f" (more than {choice['max_fp_per_day']:g} FA/24 h there: limit not met)"
    return text
