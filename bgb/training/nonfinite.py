"""What happens when a step is not finite: the run stops, or leaves the batch out, within a budget.

A batch that is left out is used up and changes nothing: no weight, buffer or optimiser state, and
neither schedule nor global_step, which count steps that were taken (lesson 63). The count of such
batches travels in the checkpoint, so a resumed run leaves out the same ones and no more.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bgb.data.windows import WindowBatch
from bgb.errors import RunError
from bgb.training.numerics import Finding

_log = logging.getLogger(__name__)
_SHOWN = 5  # windows that a message names


@dataclass(frozen=True)
class NonfinitePolicy:
    """What to do, where to keep reproducers, and how to name windows.

    Attributes
    ----------
    skip : leave such a batch out, instead of stopping.
    budget : batches that a run may leave out.
    folder : of the reproducer files; None = none are written.
    recordings : ids of the recordings of the train split; empty = windows are named by number.
    """

    skip: bool = False
    budget: int = 0
    folder: Path | None = None
    recordings: Sequence[str] = ()

    def path(self, batch: int) -> Path | None:
        """Return the reproducer of a batch, counted from the start of the run from 0."""
        return self.folder and self.folder / f"step-{batch}.pt"

    def decide(self, text: str, num_skipped: int) -> None:
        """Return where the batch may be left out, with a warning.

        Raises
        ------
        RunError : the policy is to stop, or the budget is used up.
        """
        if not self.skip:
            raise RunError(
                f"{text}; lower optimizer.lr, look at these windows, or repeat the command with "
                "trainer.nonfinite=skip to leave such batches out"
            )
        if num_skipped >= self.budget:
            raise RunError(
                f"{text}; {num_skipped} batches were left out before it, as many as "
                f"trainer.nonfinite_budget={self.budget} allows; lower optimizer.lr, or look at "
                "these windows"
            )
        _log.warning("batch left out (%d of %d): %s", num_skipped + 1, self.budget, text)

    def describe(self, finding: Finding, batch: WindowBatch) -> str:
        """Return what was not finite, and in which windows."""
        return (
            f"first not finite: {finding.tensor}; samples with logits that are not finite: "
            f"{list(finding.samples)} of {batch.sample_B.tolist()}; "
            f"recordings {self._windows(finding, batch)}"
        )

    def _windows(self, finding: Finding, batch: WindowBatch) -> str:
        """Name the windows: those with broken logits, else those of the whole batch."""
        rows = [
            (recording, start)
            for recording, start, sample in zip(
                batch.recording_B.tolist(), batch.start_B.tolist(), batch.sample_B.tolist()
            )
            if not finding.samples or sample in finding.samples
        ]
        names = [
            f"{self.recordings[recording] if self.recordings else recording} from {start} s"
            for recording, start in rows[:_SHOWN]
        ]
        rest = f" and {len(rows) - _SHOWN} more" if len(rows) > _SHOWN else ""
        return ", ".join(names) + rest
