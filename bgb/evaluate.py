"""`python -m bgb.evaluate run=<folder>`: score a trained detector on whole recordings.

Without more it repeats the evaluation of the run itself. `+data=...` scores it on another corpus,
`+postprocess=...` with other post-processing; then `out=` says where the scores go. The threshold
is chosen on dev of the corpus that is scored, and frozen, unless `postprocess.threshold` is set.
"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bgb.config.compose import command
from bgb.config.evaluation import EvaluationConfig, PostprocessConfig
from bgb.config.schema import EvaluateConfig

if TYPE_CHECKING:
    from bgb.data.cache import Cache
    from bgb.training.run import Run


@command(EvaluateConfig, name="evaluate")
def main(config: EvaluateConfig) -> None:
    """Score, write events and scores.json, print the table."""
    from bgb.data.module import EegDataModule
    from bgb.training import load_run

    run = load_run(config.run)
    out = Path(config.out) if config.out else run.folder.path
    progress = not config.disable_progress
    postprocess = config.postprocess or run.config.postprocess
    options = replace(
        run.config.evaluation, baseline=config.baseline and run.config.evaluation.baseline
    )
    data = EegDataModule(
        config.data or run.config.data,
        label_rate_hz=1,
        seed=0,
        splits=needed_splits(postprocess, options),
        progress=progress,
    )
    data.prepare_data()
    evaluate_run(run, data.cache, out, postprocess=postprocess, options=options, progress=progress)
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
    from bgb.training.fit import predict

    config = run.config
    detector = run.detector(cache.spec, accelerator=config.trainer.accelerator)
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
