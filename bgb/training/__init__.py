"""Training: Lightning module, callbacks, run folder, resume, provenance. Public: `load_run`."""

from bgb.training.run import Run, load_run
from bgb.training.run_folder import RunFolder, open_run

__all__ = ["Run", "RunFolder", "load_run", "open_run"]
