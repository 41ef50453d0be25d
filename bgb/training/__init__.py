"""Training: Lightning module, callbacks, run folder, resume, provenance. Public: `load_run`.

What needs torch is imported on first use: `bgb.runs` reads run folders without it.
"""

from typing import TYPE_CHECKING

from bgb.training.run_folder import RunFolder, open_run

__all__ = ["Run", "RunFolder", "load_run", "open_run"]

if TYPE_CHECKING:
    from bgb.training.run import Run, load_run


def __getattr__(name: str) -> object:
    if name in ("Run", "load_run"):
        from bgb.training import run

        return getattr(run, name)
    raise AttributeError(f"module 'bgb.training' has no attribute {name!r}")
