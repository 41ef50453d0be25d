"""READ FIRST. `python -m bgb.train`: train a detector, then score it on patients it never saw.

configuration   bgb/config      composed and checked before anything heavy is imported
run folder      bgb/training    named by a hash of the configuration, so that repeating a
                                command continues its run; owned by one process at a time
data            bgb/data        the cache: built where it lacks something, checked, opened
fit             bgb/training    detector (bgb/detectors) and Lightning trainer
evaluate        bgb/evaluation  threshold chosen on dev, frozen, applied to eval
"""

from typing import Any

from bgb import startup
from bgb.config.compose import command, to_frozen
from bgb.config.schema import TrainConfig
from bgb.evaluate import show_job


def prepare(session: Any, configs: list[Any], *, progress: bool) -> None:  # Any: see Prepare
    """Refuse two jobs of one run folder; build the caches before the first GPU is paid."""
    from bgb.infra.cache_build import prepare_caches
    from bgb.training.run_folder import refuse_shared_runs

    refuse_shared_runs([to_frozen(config, TrainConfig) for config in configs])
    prepare_caches(session, configs, progress=progress)


@command(TrainConfig, name="train", prepare=prepare, show=show_job)
def main(config: TrainConfig) -> float:
    """Train and score unless that is done already; print the table and where the run lies.

    Returns the best value of `trainer.monitor`, which a sweeper may optimise.
    """
    startup.begin()
    # Imported here, after the configuration is known to be good: torch alone takes seconds.
    with startup.uncollected():
        from bgb import job
        from bgb.evaluate import evaluate_run, print_scores
        from bgb.training import load_run, open_run
        from bgb.training.build import build_data, check_machine
        from bgb.training.checkpoint import best_score
        from bgb.training.fit import fit
        from bgb.training.provenance import Spending, failures_noted
    startup.reached("imports")
    check_machine(config)

    with open_run(config) as folder, failures_noted(folder):
        job.current().add_output(folder.path)
        if not (folder.is_finished() and folder.scores.exists()):
            spending = Spending(folder)
            data = build_data(config)
            startup.reached("data")
            fit(config, folder, data, spending)
            run = load_run(folder.path)
            evaluate_run(
                run,
                data.cache,
                folder.path,
                accelerator=config.trainer.accelerator,
                progress=not config.disable_progress,
            )
            spending.record()
            job.current().publish()
    print_scores(folder.path)
    # A pruned run keeps only its best checkpoint, which knows its score, too.
    return best_score(folder.last if folder.last.exists() else folder.best)


if __name__ == "__main__":
    main()
