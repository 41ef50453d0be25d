"""The end of an epoch that is still due: told to Lightning 2.6.6, which cannot tell by itself.

A checkpoint taken between the last step of an epoch and the end of its validation makes Lightning
take the epoch for over: `on_train_epoch_end` is left out, and `on_train_epoch_start` of the next
epoch too. Marked so, the epoch counts as under way with all its batches done, as at a stop
between two batches; resumed, it finds no batch left and ends as it would have.
"""

from typing import Any

import pytorch_lightning as pl


def mark_due(loops: dict[str, Any]) -> None:  # Any: Lightning's state of its loops
    """Change the state of the loops in a checkpoint so that the epoch is under way."""
    fit = loops["fit_loop"]
    for counts in (fit["epoch_progress"]["total"], fit["epoch_progress"]["current"]):
        counts["processed"] = counts["completed"]
    batches = fit["epoch_loop.batch_progress"]
    for counts in (batches["total"], batches["current"]):
        counts["completed"] = counts["processed"]
    fit["epoch_loop.state_dict"]["_batches_that_stepped"] = batches["total"]["ready"]


def skip_to_it(trainer: pl.Trainer) -> None:
    """Let the epoch that `on_train_start` finds under way end without another batch."""
    fetcher = trainer.fit_loop._data_fetcher
    assert fetcher is not None
    # The loader, asked for its next batch, would begin the next epoch.
    fetcher.iterator = iter(())
