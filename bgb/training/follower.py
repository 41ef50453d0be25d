"""`python -m bgb.training.follower`: one more process of a run, started by its leader alone.

It takes its share of each step and nothing else: it opens the cache that the leader has checked,
goes on from the checkpoint that the leader has chosen, and writes nothing but the reproducer of a
step that is not finite.
"""

import logging
import os
import signal
import sys
import threading
from dataclasses import replace
from typing import Any

import pytorch_lightning as pl
import torch.distributed as dist
from pytorch_lightning.callbacks import Callback

from bgb.config.schema import TrainConfig
from bgb.data.device import find_device
from bgb.data.module import EegDataModule
from bgb.errors import BgbError
from bgb.training import epoch_end
from bgb.training.averaging import MovingAverage
from bgb.training.build import build_module, data_module, seeded_detector
from bgb.training.checkpoint import EPOCH_END_DUE, Checkpoints, load_checkpoint
from bgb.training.lightning import quiet_lightning, trainer_options
from bgb.training.processes import Order, Together, join, meet
from bgb.training.run_folder import run_folder

_log = logging.getLogger(__name__)


def main() -> int:
    """Carry out the order that comes on standard input; return the exit status."""
    # The leader hears signals, and this process ends with it.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    order = Order.from_line(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_leader, name="bgb-lifeline", daemon=True).start()
    logging.basicConfig(
        level=logging.WARNING, format=f"process {order.rank}: %(levelname)s %(message)s"
    )
    try:
        with quiet_lightning():
            follow(order)
    except BgbError as error:
        _log.critical("%s: %s", type(error).__name__, error)
        return 2
    return 0


def follow(order: Order) -> None:
    """Train as one of several processes, until the last epoch."""
    config, rank = order.config, order.rank
    data = open_data(config)
    detector = seeded_detector(config, data)
    loader = data.train_dataloader(rank=rank, num_processes=config.trainer.devices)
    checkpoint = load_checkpoint(order.checkpoint) if order.checkpoint else {}
    if checkpoint:
        loader.load_state_dict(checkpoint["loader"])
    trainer = pl.Trainer(
        **trainer_options(config, rank=rank),
        callbacks=_callbacks(config, checkpoint, rank=rank),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
    )
    join(meet(order), rank, config.trainer.devices, trainer.strategy.root_device)
    trainer.fit(
        build_module(
            config,
            detector,
            failures=run_folder(config).path / "failures" / f"process-{rank}",
            recordings=[each.recording_id for each in data.cache.split("train")],
        ),
        train_dataloaders=loader,
        ckpt_path=order.checkpoint,
        weights_only=True,
    )
    dist.destroy_process_group()


def open_data(config: TrainConfig) -> EegDataModule:
    """Open the cache that the leader has built: its list of recordings, not the EDF files again."""
    data = data_module(
        replace(
            config,
            data=replace(config.data, check_source=False),
            disable_progress=True,
            force_manifest_rebuild=False,
        )
    )
    data.setup()
    return data


class _EpochEndDue(Callback):
    """Leave an epoch whose end alone is due to the leader."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        epoch_end.skip_to_it(trainer)


def _callbacks(
    config: TrainConfig,
    checkpoint: dict[str, Any],  # Any: a Lightning checkpoint
    *,
    rank: int,
) -> list[Callback]:
    callbacks: list[Callback] = [Together(config.seed, rank=rank)]
    if config.trainer.ema_decay:  # a checkpoint holds the averages in place of the weights
        device = find_device(config.trainer.accelerator, rank)
        callbacks.append(MovingAverage(config.trainer.ema_decay, device))
    if checkpoint and checkpoint["callbacks"][Checkpoints.__qualname__][EPOCH_END_DUE]:
        callbacks.append(_EpochEndDue())
    return callbacks


def _end_with_leader() -> None:
    """End when the leader lets go of standard input, as it does however it ends."""
    os.read(sys.stdin.fileno(), 1)
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
