"""Training: Lightning module, callbacks, run folder, resume, provenance. Public: `load_run`."""

from bgb.training.run import Run, load_run

__all__ = ["Run", "load_run"]
