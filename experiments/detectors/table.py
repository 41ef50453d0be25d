"""docs/detectors.md from results.json and gpu.json; what they lack is "not measured"."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from bgb.config.compose import compose
from experiments.detectors.gpu import arithmetic
from experiments.detectors.options import Facts

Json = Mapping[str, Any]  # Any: what results.json and gpu.json hold
MISSING = "not measured"
COST_HEAD = (
    *("model=", "parameters", "GFLOP a minute", "reads", "window", "context", "logits"),
    *("receptive field", "latency", "EEG s/s, CPU", "peak memory", "EEG s/s, GPU"),
)
_SCORE_HEAD = (
    *("model=", "steps", "windows/s", "event F1", "sensitivity", "FP/24 h", "AUROC"),
    "AUROC, neonates",
)
_ARITHMETIC_HEAD = ("model=", "hours at 40 % MFU", "dollars", "hours at 10 % MFU", "dollars")
_GPU_HEAD = (
    *("model=", "batch", "windows/s", "TFLOP/s", "MFU", "hours of TUSZ", "hours on an A100"),
    "dollars",
)


def render(facts: Mapping[str, Facts | str], results: Json, gpu: Json) -> str:
    """Return the page.

    Parameters
    ----------
    facts : of every option, or why it cannot be built here.
    results, gpu : empty where nothing was measured.
    """
    speed, gpu_rows = results.get("speed", {}), gpu.get("options", {})
    costs = [_cost_row(name, each, speed, gpu_rows) for name, each in facts.items()]
    parts = [_INTRODUCTION, _table(COST_HEAD, costs), _COST_NOTES.format(**_machine(results))]
    parts += [_score_part(facts, results), _gpu_part(facts, gpu)]
    return "\n\n".join(parts) + "\n"


def _cost_row(
    name: str, facts: Facts | str, speed: Mapping[str, Json], gpu: Mapping[str, Json]
) -> list[str]:
    if isinstance(facts, str):
        return [name, f"not built here: {facts}", *[""] * (len(COST_HEAD) - 2)]
    cpu = speed.get(name)
    return [
        name,
        f"{facts.parameters:,}",
        f"{facts.gflop_per_minute:.3g}",
        f"{facts.rate_hz} Hz",
        f"{facts.window_s} s",
        " + ".join(f"{side} s" for side in facts.context_s) if any(facts.context_s) else "-",
        _rate(facts.out_rate_hz),
        f"{facts.receptive_field_s:.4g} s",
        f"{facts.latency_s} s",
        f"{_round(cpu['eeg_s_per_s']):,}" if cpu else MISSING,
        f"{cpu['peak_mib']:,.0f} MiB" if cpu else MISSING,
        f"{_round(gpu[name]['eeg_s_per_s']):,}" if name in gpu else MISSING,
    ]


def _score_part(facts: Mapping[str, Facts | str], results: Json) -> str:
    sweep = results.get("sweep")
    title = "## Scores under equal time"
    if not sweep:
        return f"{title}\n\nNot measured."
    trained = [name for name in facts if name in sweep["scores"]]
    rows = [_score_row(name, sweep["scores"][name]) for name in trained]
    rows.append(_score_row("(band power)", [sweep["baseline"]]))
    rows.append(_score_row("(always a seizure)", [sweep["always"]]))
    left = [name for name in facts if name not in sweep["scores"]]
    note = f"Not trained here: {', '.join(left)}." if left else ""
    about = _SCORE_NOTES.format(command=_command(trained, sweep), **sweep)
    return "\n\n".join([title, about, _table(_SCORE_HEAD, rows), *([note] if note else [])])


def _score_row(name: str, scores: Sequence[Json]) -> list[str]:
    return [
        name,
        _band(scores, "steps", ",.0f") if any(each["steps"] for each in scores) else "-",
        _band(scores, "windows_per_s", ".3g"),
        _band(scores, "event_f1", ".3f"),
        _band(scores, "sensitivity", ".3f"),
        _band(scores, "fp_per_day", ".1f"),
        _band(scores, "auroc", ".3f"),
        _band(scores, "helsinki_auroc", ".3f"),
    ]


def _band(scores: Sequence[Json], key: str, form: str) -> str:
    """Return the median, and the extremes where there are several seeds."""
    values = [each[key] for each in scores if each[key] is not None]
    if not values:
        return "-"
    text = format(median(values), form)
    return f"{text} ({min(values):{form}} to {max(values):{form}})" if len(values) > 1 else text


def _command(options: Sequence[str], sweep: Json) -> str:
    seeds = sorted({each["seed"] for scores in sweep["scores"].values() for each in scores})
    words = [f"model={','.join(options)}"]
    if seeds != [0]:
        words.append(f"seed={','.join(map(str, seeds))}")
    experiment = compose("train", ["+experiment=detectors_on_two_cores"])
    if sweep["budget_minutes"] != experiment.trainer.budget_minutes:
        words.append(f"trainer.budget_minutes={sweep['budget_minutes']:g}")
    return f"python -m bgb.train -m +experiment=detectors_on_two_cores {' '.join(words)}"


def _gpu_part(facts: Mapping[str, Facts | str], gpu: Json) -> str:
    title = "## Training on a GPU"
    if not gpu:
        return "\n\n".join([title, f"Not measured: {_GPU_OWED}", _arithmetic_table(facts)])
    rows = [
        [
            name,
            f"{each['batch']}",
            f"{each['windows_per_s']:,.4g}",
            f"{each['flop_per_s'] / 1e12:.3g}",
            "-" if each["mfu"] is None else f"{100 * each['mfu']:.1f} %",
            f"{each['tusz_hours']:.3g}",
            "-" if each["a100_hours"] is None else f"{each['a100_hours']:.3g}",
            "-" if each["a100_usd"] is None else f"{each['a100_usd']:.2f}",
        ]
        for name, each in gpu["options"].items()
        if name in facts
    ]
    ratio = "unknown" if gpu["peak_ratio"] is None else f"{gpu['peak_ratio']:.3g}"
    about = _GPU_NOTES.format(**{**gpu, "peak_ratio": ratio})
    return "\n\n".join([title, about, _table(_GPU_HEAD, rows)])


def _arithmetic_table(facts: Mapping[str, Facts | str]) -> str:
    """Return what the operations alone would cost at two degrees of use: a bound, no figure."""
    rows = []
    for name, each in facts.items():
        if isinstance(each, Facts):
            hours_40, usd_40 = arithmetic(each.gflop_per_minute, 0.4)
            hours_10, usd_10 = arithmetic(each.gflop_per_minute, 0.1)
            rows.append(
                [name, f"{hours_40:.2g}", f"{usd_40:.2f}", f"{hours_10:.2g}", f"{usd_10:.2f}"]
            )
    return _table(_ARITHMETIC_HEAD, rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _rate(rate_hz: float) -> str:
    return f"{rate_hz:g} Hz" if rate_hz >= 1 else f"1 in {1 / rate_hz:g} s"


def _round(value: float) -> int:
    """Return three digits: a clock tells no more."""
    return int(float(f"{value:.3g}"))


def _machine(results: Json) -> dict[str, str]:
    unknown = "the machine: not measured"
    if "machine" not in results:
        return {"machine": unknown, "torch": "-", "date": "-", "minutes": "-", "rounds": "-"}
    return {key: str(results[key]) for key in ("machine", "torch", "date", "minutes", "rounds")}


_INTRODUCTION = """# The detectors, what they cost and what they score

Generated by `python -m experiments.detectors.run`, from measurements; do not edit. How each
figure is taken: [experiments/detectors](../experiments/detectors/README.md). Recipes and papers
stand in `conf/experiment/` and in the files of `bgb/detectors/`.

## What they are, and what they cost"""

_COST_NOTES = """Of the natural window, 18 channels (double banana). GFLOP: matrix products and
convolutions of a forward pass for a minute that is judged, windows side by side
(`evaluation.overlap` 0.5 doubles it); element-wise work and Fourier transforms are not counted.
Latency: from a second of EEG to its logit at most, windows side by side, without computing. EEG
s/s: seconds judged in a second, frontend and network, the median over batches: of about 4 minutes
in float32 on the CPU (median of {rounds} rounds); compiled in bf16, in the batch of the last
table, on the GPU. Peak memory: the largest resident set of a process that scores {minutes} minutes
of EEG, Python and torch included. CPU: {machine}, torch {torch}, {date}."""

_SCORE_NOTES = """Every detector trains for {budget_minutes:g} minutes of wall-clock time,
validations included, on the same two cores, corpus and settings
(`conf/experiment/detectors_on_two_cores.yaml`); nothing is tuned for any of them, and one
learning rate, {lr:g}, serves all. The time decides, so figures move from run to run; they rank
what is learned in minutes, not what a detector reaches on TUSZ.

    {command}

Event F1, sensitivity and false positives: SzCORE events summed over the eval split of the
synthetic corpus (10 patients, threshold from dev). AUROC: of its seconds, and of the seconds of
the 42 Helsinki clips, neonates that no detector was trained on. Several seeds: median
(extremes). Recordings of the synthetic corpus last about five minutes and most hold a seizure, so
that an event F1 is high for whatever calls all of them one: the last row. AUROC tells more."""

_GPU_OWED = """`python -m experiments.detectors.gpu` writes gpu.json on a machine with a GPU, and
then this. Until then arithmetic: what the operations of 100 epochs of TUSZ (61,616 windows of 60 s
each, or as much EEG in other windows) would take on an A100 in bf16, if it computed at 40 % or 10 %
of its peak, and cost at the price of `conf/infra/modal_a100.yaml`. Small networks wait for memory
and launches, not for arithmetic: theirs will be more. Goal for seizure_transformer: 40 %, and below
$10; the predecessor paid 3,400 to 5,300."""
_GPU_NOTES = """{device}, torch {torch}, {date}: forward, backward and step in bf16, compiled,
the corpus on the device. MFU counts three forward passes a window, whatever is recomputed. Hours:
100 epochs of 61,616 windows of 60 s, or as much EEG in other windows. On an A100: the same at equal
MFU, that is, hours times the ratio of the peaks ({peak_ratio}); dollars at {usd_per_hour:.2f} an
hour ({prices})."""
