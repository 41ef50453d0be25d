"""What every Lightning trainer of bgb has in common, and its silence."""

import contextlib
import logging
import warnings
from collections.abc import Iterator
from typing import Any

from bgb.config.schema import TrainConfig
from bgb.data.device import find_device


def trainer_options(
    config: TrainConfig, *, rank: int = 0
) -> dict[str, Any]:  # Any: arguments of Lightning's trainer
    """Return what the trainers of all processes have in common; each sees its own device only."""
    trainer = config.trainer
    on_gpu = find_device(trainer.accelerator).type == "cuda"
    return {
        "accelerator": trainer.accelerator,
        "devices": [rank] if on_gpu else 1,
        "precision": "bf16-mixed" if trainer.precision == "bf16-mixed" else "32-true",
        "max_epochs": trainer.max_epochs,
        "deterministic": trainer.deterministic,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
    }


@contextlib.contextmanager
def quiet_lightning() -> Iterator[None]:
    """Keep Lightning's notices (devices, advertisements) and one of its warnings off the screen."""
    names = ("pytorch_lightning", "lightning_fabric")
    levels = {name: logging.getLogger(name).level for name in names}
    with warnings.catch_warnings():
        # Lightning 2.6.6 on torch 2.13: CombinedLoader still makes a LeafSpec; not ours to mend.
        warnings.filterwarnings("ignore", ".*LeafSpec", FutureWarning)
        # Of several processes one validates: there is nothing to average over.
        warnings.filterwarnings("ignore", ".*sync_dist=True")
        for name in names:
            logging.getLogger(name).setLevel(logging.WARNING)
        try:
            yield
        finally:
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)
