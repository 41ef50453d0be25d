"""What the runs of the sweep scored: on the eval split, and on clips of neonates, never trained on.

The clips are scored by the detector as the sweep left it. The baseline of every evaluation, band
power, is fitted on the same train split and scored on the same clips.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bgb.config.compose import compose
from bgb.config.model import ModelConfig
from bgb.data.cache import Cache, CachedRecording
from bgb.data.module import EegDataModule
from bgb.evaluation.baseline import fit_baseline
from bgb.evaluation.evaluate import stitch_all
from bgb.evaluation.results import score_split
from bgb.evaluation.roc import rank_seconds
from bgb.evaluation.series import RecordingScore, num_steps
from bgb.training import load_run
from bgb.training.build import data_module, predict
from bgb.training.run import Run
from experiments.detectors.options import model_of, names

TITLE = "detectors"  # of conf/experiment/detectors_on_two_cores.yaml


@dataclass(frozen=True)
class Score:
    """What one run reached; scores as in scores.json, of the split eval.

    Attributes
    ----------
    steps, trained_s : when the budget ended it.
    windows_per_s : in training.
    helsinki_auroc : None where the clips were not given.
    """

    seed: int
    steps: int
    trained_s: float
    windows_per_s: float | None
    event_f1: float | None
    sensitivity: float | None
    fp_per_day: float | None
    auroc: float | None
    helsinki_auroc: float | None


@dataclass(frozen=True)
class Sweep:
    """The scores of all runs by option, and the budget of each run.

    Beside them the baseline, and what calls every second a seizure: the floor of an event F1 where
    recordings are short.
    """

    budget_minutes: float
    lr: float
    scores: dict[str, list[Score]]
    baseline: Score
    always: Score


def read_sweep(results: Path, clips: Path | None, *, threads: int) -> Sweep:
    """Read every finished run of the sweep below `results`; score the clips of neonates.

    Raises
    ------
    SystemExit : there is no such run, or budgets differ.
    """
    torch.set_num_threads(threads)
    runs = list(_runs(results))
    settings = {(r.config.trainer.budget_minutes, r.config.optimizer.lr) for r in runs}
    if len(settings) != 1:
        found = f"runs of {len(settings)} budgets and learning rates" if runs else "no finished run"
        raise SystemExit(f"{results} holds {found} of {TITLE}-*: see experiments/detectors")
    helsinki = _open_clips(clips, results) if clips else None
    models = {name: model_of(name) for name in names()}
    scores: dict[str, list[Score]] = {}
    for run in sorted(runs, key=lambda run: run.config.seed):
        scores.setdefault(_option_of(run, models), []).append(_score(run, helsinki))
    ((minutes, lr),) = settings
    assert minutes is not None
    return Sweep(minutes, lr, scores, _baseline(runs[0], helsinki), _always(runs[0], helsinki))


def _runs(results: Path) -> Iterator[Run]:
    for folder in sorted(results.glob(f"{TITLE}-*")):
        if (folder / "scores.json").exists():
            yield load_run(folder)


def _option_of(run: Run, models: Mapping[str, ModelConfig]) -> str:
    for name, model in models.items():
        if model == run.config.model:
            return name
    raise SystemExit(f"{run.folder.path} trained no option of conf/model as it is; move it away")


def _open_clips(clips: Path, results: Path) -> Cache:
    words = ["+experiment=helsinki", f"data.root={clips}", f"results={results}"]
    config = compose("train", words)
    data = EegDataModule(config.data, label_rate_hz=1, seed=0)
    data.prepare_data()
    return data.cache


def _score(run: Run, helsinki: Cache | None) -> Score:
    assert run.scores is not None
    provenance, neonates = run.provenance, None
    if helsinki is not None:
        detector = run.detector(helsinki.spec)
        with torch.inference_mode():
            series = stitch_all(
                partial(predict, detector), detector, list(helsinki), run.config.evaluation
            )
        neonates = rank_seconds(series).auroc
    return Score(
        seed=run.config.seed,
        steps=provenance["steps"],
        trained_s=provenance["trained_s"],
        windows_per_s=provenance.get("speed", {}).get("windows_per_s"),
        **_of_eval(run.scores["detector"]),
        helsinki_auroc=neonates,
    )


def _baseline(run: Run, helsinki: Cache | None) -> Score:
    assert run.scores is not None
    neonates = None
    if helsinki is not None:
        data = data_module(run.config)
        data.setup()
        options = run.config.evaluation
        fitted = fit_baseline(
            data.cache.split("train"), max_seconds=options.baseline_seconds, seed=run.config.seed
        )
        neonates = rank_seconds([fitted.score(clip) for clip in helsinki]).auroc
    return Score(
        seed=run.config.seed,
        steps=0,
        trained_s=0.0,
        windows_per_s=None,
        **_of_eval(run.scores["baseline"]),
        helsinki_auroc=neonates,
    )


def _always(run: Run, helsinki: Cache | None) -> Score:
    data = data_module(run.config)
    data.setup()
    series = [_all_seizure(recording) for recording in data.cache.split("eval")]
    result = score_split("eval", series, run.config.postprocess, threshold=0.5, seed=0)
    event = result.summary.cumulated.event
    neonates = None
    if helsinki is not None:
        neonates = rank_seconds([_all_seizure(clip) for clip in helsinki]).auroc
    return Score(
        *(0, 0, 0.0, None, event.f1, event.sensitivity, event.fp_per_day),
        auroc=result.ranking.auroc,
        helsinki_auroc=neonates,
    )


def _all_seizure(recording: CachedRecording) -> RecordingScore:
    return RecordingScore(
        recording.recording_id,
        recording.patient,
        np.ones(num_steps(recording.duration_s, 1.0), np.float32),
        1.0,
        recording.duration_s,
        recording.events,
    )


def _of_eval(scored: dict[str, Any]) -> dict[str, float]:  # Any: JSON
    split = scored["splits"]["eval"]
    event = split["event"]["cumulated"]
    return {
        "event_f1": event["f1"],
        "sensitivity": event["sensitivity"],
        "fp_per_day": event["fp_per_day"],
        "auroc": split["auroc"],
    }
