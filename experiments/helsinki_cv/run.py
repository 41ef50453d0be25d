"""Cross-validate on the Helsinki neonatal clips, by neonate, beside band-power regression.

    python experiments/helsinki_cv/run.py <BIDS tree> --pretrained runs/<synthetic run>

Both see the same folds and are scored by the same 1 Hz AUROC, pooled over all held-out clips. With
`--pretrained` each fold starts from the weights of a run (the demo's), else from random ones.
Nothing is tuned inside: epochs and learning rate are fixed, and printed with the result.
"""

import argparse
import json
import platform
from collections.abc import Sequence
from datetime import date
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from bgb.config.compose import compose
from bgb.config.evaluation import EvaluationConfig
from bgb.config.schema import TrainConfig
from bgb.data.cache import CachedRecording
from bgb.data.loader import WindowLoader
from bgb.data.module import EegDataModule
from bgb.detectors import Detector, build_detector
from bgb.eeg.bandpower import band_power
from bgb.evaluation.baseline import fit_baseline
from bgb.evaluation.evaluate import stitch_all
from bgb.evaluation.roc import rank_seconds
from bgb.evaluation.series import RecordingScore, num_steps
from bgb.training import load_run
from bgb.training.build import predict
from bgb.training.losses import StepLoss
from bgb.training.module import parameter_groups

Fold = tuple[list[CachedRecording], list[CachedRecording]]


def main() -> None:
    arguments = parse()
    overrides = ["+experiment=helsinki", f"data.root={arguments.root}"]
    config = compose("train", [*overrides, *arguments.override])
    data = EegDataModule(config.data, label_rate_hz=1, seed=0)
    data.prepare_data()
    rows = {}
    untrained = (
        {
            "pretrained detector as it is": score(
                [series_of(pretrained(arguments), list(data.cache))]
            )
        }
        if arguments.pretrained
        else {}
    )
    for seed in range(arguments.first_seed, arguments.first_seed + arguments.repeats):
        folds = make_folds(list(data.cache), arguments.folds, seed)
        title = f"folds of seed {seed}"
        rows[seed] = {
            **untrained,
            "detector, trained on the folds": score(
                [detector_fold(config, fold, seed, arguments) for fold in track(folds, title)]
            ),
            "band power, double banana": score([baseline_fold(fold, seed) for fold in folds]),
            "band power, referential": score([referential_fold(fold) for fold in folds]),
        }
    report(rows, config, arguments)


def make_folds(recordings: list[CachedRecording], num_folds: int, seed: int) -> list[Fold]:
    """Split by patient; whether a patient has seizures plays no part."""
    patients = [recording.patient for recording in recordings]
    folds = GroupKFold(num_folds, shuffle=True, random_state=seed).split(patients, groups=patients)
    return [
        ([recordings[i] for i in train], [recordings[i] for i in test]) for train, test in folds
    ]


def detector_fold(
    config: TrainConfig, fold: Fold, seed: int, arguments: argparse.Namespace
) -> list[RecordingScore]:
    """Average the series of `--members` detectors, each trained on the fold's training clips."""
    members = [
        member_fold(config, fold, 100 * seed + member, arguments)
        for member in range(arguments.members)
    ]
    return [average(series) for series in zip(*members, strict=True)]


def member_fold(
    config: TrainConfig, fold: Fold, seed: int, arguments: argparse.Namespace
) -> list[RecordingScore]:
    train, test = fold
    torch.manual_seed(seed)
    detector = build_detector(
        config.model, config.frontend, train[0].spec, window_s=config.data.window_s
    )
    if arguments.pretrained:
        detector.load_state_dict(pretrained(arguments).state_dict())
    train_detector(detector, config, train, seed, arguments)
    return series_of(detector, test)


def pretrained(arguments: argparse.Namespace) -> Detector:
    return load_run(arguments.pretrained).detector()


def series_of(detector: Detector, recordings: Sequence[CachedRecording]) -> list[RecordingScore]:
    detector.eval()
    return stitch_all(partial(predict, detector), detector, recordings, EvaluationConfig())


def train_detector(
    detector: Detector,
    config: TrainConfig,
    recordings: Sequence[CachedRecording],
    seed: int,
    arguments: argparse.Namespace,
) -> None:
    loader = WindowLoader(
        recordings,
        config.data.sampling,
        window_s=config.data.window_s,
        batch_size=config.data.batch_size,
        label_rate_hz=detector.out_rate_hz,
        seed=seed,
        residency="memory",
    )
    groups = parameter_groups(detector, config.optimizer.weight_decay)
    optimizer = torch.optim.AdamW(groups, arguments.lr)
    num_steps_ = arguments.epochs * len(loader)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, num_steps_)
    detector.train()
    for _ in range(arguments.epochs):
        for batch in loader:
            logits_BK = detector(batch.tiles_BSCR, batch.present_BC)
            loss = StepLoss().sum(logits_BK, batch.labels_BK, batch.valid_BK)
            loss = loss / batch.valid_BK.sum()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(detector.parameters(), config.optimizer.gradient_clip)
            optimizer.step()
            schedule.step()


def average(series: Sequence[RecordingScore]) -> RecordingScore:
    first = series[0]
    mean_K = np.mean([item.probability_K for item in series], axis=0).astype(np.float32)
    return RecordingScore(
        first.recording_id, first.patient, mean_K, first.rate_hz, first.duration_s, first.events
    )


def baseline_fold(fold: Fold, seed: int) -> list[RecordingScore]:
    """The baseline that every evaluation reports; its regularisation is chosen inside the fold."""
    train, test = fold
    fitted = fit_baseline(train, max_seconds=20000, seed=seed)
    return [fitted.score(recording) for recording in test]


def referential_fold(fold: Fold) -> list[RecordingScore]:
    """Band power of the electrodes as recorded, 2 s, plain logistic regression."""
    train, test = fold
    features = [features_of(recording) for recording in train]
    labels = [labels_of(recording) for recording in train]
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    model.fit(np.concatenate(features), np.concatenate(labels))
    return [
        RecordingScore(
            recording.recording_id,
            recording.patient,
            model.predict_proba(features_of(recording))[:, 1].astype(np.float32),
            0.5,
            recording.duration_s,
            recording.events,
        )
        for recording in test
    ]


def features_of(recording: CachedRecording) -> Any:  # Any: a float32 array (N, features)
    count = num_steps(recording.duration_s, 0.5)
    return band_power(recording.signal_CT(), recording.spec.rate_hz, segment_s=2)[:count]


def labels_of(recording: CachedRecording) -> Any:  # Any: a bool array (N,)
    starts = np.arange(num_steps(recording.duration_s, 0.5)) * 2.0
    covered = sum(
        np.clip(np.minimum(event.stop_s, starts + 2) - np.maximum(event.start_s, starts), 0, None)
        for event in recording.events
    )
    return np.broadcast_to(np.asarray(covered) >= 1, starts.shape)


def score(folds: Sequence[Sequence[RecordingScore]]) -> float:
    return rank_seconds([series for fold in folds for series in fold]).auroc


def report(
    rows: dict[int, dict[str, float]], config: TrainConfig, arguments: argparse.Namespace
) -> None:
    names = list(next(iter(rows.values())))
    table = Table(title=f"1 Hz AUROC, {arguments.folds} folds by neonate", title_justify="left")
    for name in ("folds drawn with seed", *names):
        table.add_column(name, justify="right")
    for seed, row in rows.items():
        table.add_row(str(seed), *(f"{row[name]:.3f}" for name in names))
    means = {name: float(np.mean([row[name] for row in rows.values()])) for name in names}
    table.add_section()
    table.add_row("mean", *(f"{means[name]:.3f}" for name in names))
    Console().print(table)
    results = {
        "rows": rows,
        "mean": means,
        "settings": {
            key: str(value)
            for key, value in vars(arguments).items()
            if key not in ("root", "pretrained", "output")
        },
        "pretrained": arguments.pretrained and Path(arguments.pretrained).name,
        "model": config.model.label,
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "versions": {name: version(name) for name in ("bgb", "torch", "numpy", "scikit-learn")},
        "date": date.today().isoformat(),
    }
    Path(arguments.output).write_text(json.dumps(results, indent=1) + "\n")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", help="BIDS tree of the clips")
    parser.add_argument("override", nargs="*", help="configuration, such as model=eegnet")
    parser.add_argument("--pretrained", help="run folder whose weights each fold starts from")
    parser.add_argument("--folds", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=5, help="draws of the folds")
    parser.add_argument("--first-seed", type=int, default=10, help="seed of the first draw")
    parser.add_argument("--members", type=int, default=1, help="detectors averaged in each fold")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--lr", type=float, default=1e-4)
    parser.add_argument("--output", default=Path(__file__).with_name("results.json"))
    return parser.parse_intermixed_args()


if __name__ == "__main__":
    main()
