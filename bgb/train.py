"""READ FIRST. `python -m bgb.train`: train a detector, then score it on patients it never saw.

configuration   bgb/config      composed and checked before anything heavy is imported
run folder      bgb/training    named by a hash of the configuration, so that repeating a
                                command continues its run; owned by one process at a time
data            bgb/data        the cache: built where it lacks something, checked, opened
fit             bgb/training    detector (bgb/detectors) and Lightning trainer
evaluate        bgb/evaluation  threshold chosen on dev, frozen, applied to eval
"""

from bgb.config.compose import command
from bgb.config.schema import TrainConfig


@command(TrainConfig, name="train")
def main(config: TrainConfig) -> None:
    """Train and score unless that is done already; print the table and where the run lies."""
    # Imported here, after the configuration is known to be good: torch alone takes seconds.
    from bgb.evaluate import evaluate_run, print_scores
    from bgb.training import load_run, open_run
    from bgb.training.fit import build_data, fit

    with open_run(config) as folder:
        if not (folder.is_finished() and folder.scores.exists()):
            data = build_data(config)
            fit(config, folder, data)
            run = load_run(folder.path)
            evaluate_run(
                run,
                data.cache,
                folder.path,
                accelerator=config.trainer.accelerator,
                progress=not config.disable_progress,
            )
    print_scores(folder.path)


if __name__ == "__main__":
    main()
