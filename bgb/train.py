"""READ FIRST. `python -m bgb.train`: train a detector, then score it on patients it never saw.

    configuration   bgb/config      composed and checked before anything heavy is imported
    data            bgb/data        the cache: built where it lacks something, checked, opened
    detector        bgb/detectors   frontend and network
    fit             bgb/training    Lightning; continues where the last one stopped
    evaluate        bgb/evaluation  threshold chosen on dev, frozen, applied to eval

Repeating a command continues its run: the name of the run folder is a hash of the configuration.
"""

from bgb.config.compose import command
from bgb.config.schema import TrainConfig


@command(TrainConfig, name="train")
def main(config: TrainConfig) -> None:
    """Train, score, print the table and where the run lies."""
    # Imported here, after the configuration is known to be good: torch alone takes seconds.
    from bgb.evaluate import evaluate_run, print_scores
    from bgb.training import load_run
    from bgb.training.fit import fit

    folder = fit(config)
    if not folder.scores.exists():
        run = load_run(folder.path)
        evaluate_run(run, folder.path, progress=not config.disable_progress)
    print_scores(folder.path)


if __name__ == "__main__":
    main()
