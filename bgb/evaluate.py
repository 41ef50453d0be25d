"""`python -m bgb.evaluate run=<folder>`: score a trained detector on whole recordings.

Without more it repeats the evaluation of the run itself. `+data=...` scores it on another corpus,
`+postprocess=...` with other post-processing; then `out=` says where the scores go. The threshold
is chosen on dev of the corpus that is scored, and frozen, unless `postprocess.threshold` is set.
"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bgb.config.compose import command
from bgb.config.data import DataConfig
from bgb.config.evaluation import EvaluationConfig, PostprocessConfig
from bgb.config.schema import EvaluateConfig
from bgb.errors import RunError

if TYPE_CHECKING:
    from bgb.data.cache import Cache
    from bgb.training.run import Run


def prepare(session: Any, configs: list[Any], *, progress: bool) -> None:  # Any: see Prepare
    """Nothing: the run folder and its caches lie on the volume already."""


def show_job(job: Path) -> None:
    """Print the scores of a job that came back from a rented machine."""
    for scores in sorted(job.glob("*/scores.json")):
        print_scores(scores.parent)


@command(EvaluateConfig, name="evaluate", prepare=prepare, show=show_job)
def main(config: EvaluateConfig) -> None:
    """Score, write events and scores.json, print the table."""
    from bgb import job
    from bgb.data.module import EegDataModule
    from bgb.training import load_run

    run = load_run(config.run)
    if config.out is None and not run.folder.is_finished():
        raise RunError(
            f"run {run.folder.path} has not finished training: repeat its command, or set "
            "out=<folder> to score its best checkpoint so far"
        )
    out = Path(config.out) if config.out else run.folder.path
    job.current().add_output(out)
    progress = not config.disable_progress
    postprocess = config.postprocess or run.config.postprocess
    options = replace(
        run.config.evaluation, baseline=config.baseline and run.config.evaluation.baseline
    )
    corpus = _as_trained(run, config.data)
    data = EegDataModule(
        corpus,
        label_rate_hz=1,
        seed=0,
        splits=needed_splits(postprocess, options),
        progress=progress,
    )
    data.prepare_data()
    _refuse_seen_patients(run, corpus, data.cache)
    evaluate_run(
        run,
        data.cache,
        out,
        postprocess=postprocess,
        options=options,
        accelerator=config.accelerator,
        progress=progress,
    )
    print_scores(out)


def needed_splits(postprocess: PostprocessConfig, options: EvaluationConfig) -> tuple[str, ...]:
    """Return what scoring reads: train for the baseline, dev for the threshold, and eval."""
    train = ("train",) if options.baseline else ()
    dev = ("dev",) if postprocess.threshold is None else ()
    return (*train, *dev, "eval")


def evaluate_run(
    run: "Run",
    cache: "Cache",
    out: Path,
    *,
    postprocess: PostprocessConfig | None = None,
    options: EvaluationConfig | None = None,
    accelerator: str = "auto",
    progress: bool = True,
) -> None:
    """Score the best weights of a run on a cache; write events and scores.json into `out`.

    Parameters
    ----------
    postprocess, options : other than those of the run; None for its own.
    """
    from functools import partial

    from bgb.evaluation.evaluate import evaluate_detector
    from bgb.evaluation.writing import write_results
    from bgb.training.build import predict

    config = run.config
    detector = run.detector(cache.spec, accelerator=accelerator)
    evaluation = evaluate_detector(
        partial(predict, detector),
        detector,
        cache,
        postprocess=postprocess or config.postprocess,
        evaluation=options or config.evaluation,
        seed=config.seed,
        progress=progress,
    )
    out.mkdir(parents=True, exist_ok=True)
    write_results(out, evaluation)


def _as_trained(run: "Run", data: DataConfig | None) -> DataConfig:
    """Return the corpus to score, preprocessed as the detector was trained, mains excepted."""
    own = run.config.data
    if data is None:
        return own
    preprocess = replace(own.preprocess, notch_hz=data.preprocess.notch_hz)
    return replace(data, preprocess=preprocess, max_missing=own.max_missing)


def _refuse_seen_patients(run: "Run", data: DataConfig, cache: "Cache") -> None:
    """Refuse to score patients that the run was trained or tuned on (lesson 10)."""
    own = run.config.data
    # Names of patients identify people within one tree, and in the corpora that exist once.
    same_tree = data.root == own.root or data.corpus.name in ("tusz", "chbmit", "siena")
    if data.corpus.name != own.corpus.name or not same_tree:
        return
    patients = run.provenance.get("patients")
    if patients is None:
        raise RunError(
            f"{run.folder.provenance} does not say which patients the run was trained on; "
            "train it again before scoring it on this corpus"
        )
    seen = set(patients["train"]) | set(patients["dev"])
    shared = sorted(seen & {recording.patient for recording in cache.split("eval")})
    if shared:
        raise RunError(
            f"eval holds {len(shared)} patients that run {run.name} was trained or tuned on "
            f"({', '.join(shared[:5])}): give the splits of the run (data.split), or other patients"
        )


def print_scores(folder: Path) -> None:
    """Print the table that scores.json of a folder holds."""
    from rich.console import Console

    from bgb.evaluation.table import scores_table
    from bgb.files import read_json

    console = Console()
    console.print(scores_table(read_json(folder / "scores.json")))
    console.print(f"run folder: {folder} (every figure: scores.json)")


if __name__ == "__main__":
    main()
