"""Training on several devices of one machine: one process a device, one of them the leader.

Every process takes its share of each batch, and the gradients are added up before each step: no
more is exchanged, so weights and optimiser stay equal everywhere. The leader is the process that
the user started. It alone holds the run folder, writes, validates and hears signals; it may stop
after any step, whatever the others have begun; while it validates, they are idle, which costs the
share `validation_share` of their hours. The others are started once the cache is ready,
and end with the leader: their standard input is a lifeline.

Lightning's DDP is not used. It sends SIGTERM on in the midst of other exchanges, re-executes the
command line, which a rented container has none of, and torch's wrapper divides by the number of
processes, not of valid steps, and waits for ever where shares have unequal numbers of pieces.
"""

import contextlib
import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
import torch.distributed as dist
from pytorch_lightning.callbacks import Callback
from torch.distributed import Store, TCPStore  # type: ignore[attr-defined]  # not re-exported

import bgb
from bgb.config.compose import dump_config, parse_config
from bgb.config.schema import TrainConfig
from bgb.errors import BgbError, ConfigError, RunError

_log = logging.getLogger(__name__)
_HOST = "127.0.0.1"
# The others wait while the leader validates; whether they live is seen in other ways.
_PATIENCE = timedelta(days=7)
_GRACE_S = 10.0  # for a process to say why it ends, and to end
_POLL_S = 0.1


@dataclass(frozen=True)
class Order:
    """What a follower is told.

    Attributes
    ----------
    port : of the store through which the processes meet.
    checkpoint : from which the run goes on; None = from the beginning.
    """

    config: TrainConfig
    rank: int
    port: int
    checkpoint: Path | None

    def to_line(self) -> bytes:
        """Return the order as one line of JSON."""
        checkpoint = str(self.checkpoint) if self.checkpoint else None
        values = (dump_config(self.config), self.rank, self.port, checkpoint)
        return f"{json.dumps(values)}\n".encode()

    @classmethod
    def from_line(cls, line: bytes) -> "Order":
        """Read what `to_line` has written."""
        text, rank, port, checkpoint = json.loads(line)
        config = parse_config(text, source="the leader's configuration")
        return cls(config, rank, port, Path(checkpoint) if checkpoint else None)


def check_devices(accelerator: str, num_devices: int) -> None:
    """Refuse more processes than there are GPUs to train on.

    Raises
    ------
    ConfigError : names how many there are.
    """
    if num_devices == 1 or accelerator == "cpu":
        return
    there = torch.cuda.device_count()
    if there < num_devices and (there or accelerator == "gpu" or torch.backends.mps.is_available()):
        raise ConfigError(
            f"trainer.devices={num_devices}, but this machine has {there} CUDA devices; set "
            f"trainer.devices={max(1, there)}, or trainer.accelerator=cpu"
        )


@contextlib.contextmanager
def followers(
    config: TrainConfig, device: torch.device, *, checkpoint: Path | None
) -> Iterator[None]:
    """Train together with `trainer.devices - 1` further processes; with one device do nothing.

    Raises
    ------
    RunError : another process has ended; what it said stands above.
    """
    size = config.trainer.devices
    if size == 1:
        yield
        return
    store = TCPStore(_HOST, 0, size, is_master=True, wait_for_workers=False)
    orders = [Order(config, rank, store.port, checkpoint) for rank in range(1, size)]
    processes = [_start(order) for order in orders]
    try:
        _wait_until_ready(store, processes)
        with _watched(processes):
            join(store, 0, size, device)
            try:
                yield
            except Exception as error:
                _explain(processes, error)
                raise
            finally:
                _end(processes)  # first: they may wait for us in the midst of an exchange
                _leave(device)
    finally:
        _end(processes)


def join(store: Store, rank: int, size: int, device: torch.device) -> None:
    """Enter the group; returns when all are in."""
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(
        backend,
        store=store,
        rank=rank,
        world_size=size,
        timeout=_PATIENCE,
        device_id=device if device.type == "cuda" else None,
    )


def _leave(device: torch.device) -> None:
    """Leave the group; NCCL would wait for the others to leave it together."""
    if device.type == "cuda":
        dist.distributed_c10d._abort_process_group()
    else:
        dist.destroy_process_group()


def meet(order: Order) -> Store:
    """Tell the leader that this process is ready; return the store to `join` with."""
    size = order.config.trainer.devices
    store = TCPStore(_HOST, order.port, size, is_master=False)
    store.set(_ready(order.rank), "")
    return store


class Together(Callback):
    """Let the processes start from the same weights, and draw different numbers.

    What is drawn (a dropout) depends on seed, step and process alone: no process but the leader
    keeps the state of its generators.
    """

    def __init__(self, seed: int, *, rank: int) -> None:
        super().__init__()
        self.seed, self.rank = seed, rank

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Wait for the others, too: the leader may now replace the checkpoint they came from."""
        for tensor in pl_module.state_dict().values():
            dist.broadcast(tensor, src=0)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: object, batch_idx: int
    ) -> None:
        numbers = np.random.SeedSequence([self.seed, trainer.global_step, self.rank])
        torch.manual_seed(int(numbers.generate_state(1)[0]))


def _start(order: Order) -> "subprocess.Popen[bytes]":
    # The source of this process, wherever it was imported from and whatever lies around here.
    path = [str(Path(bgb.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "bgb.training.follower"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path))},
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for the leader
    )
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # it has ended: whoever waits for it will see
        process.stdin.write(order.to_line())
        process.stdin.flush()
    return process


def _wait_until_ready(store: Store, processes: list["subprocess.Popen[bytes]"]) -> None:
    awaited = [_ready(rank) for rank in range(1, len(processes) + 1)]
    while not store.check(awaited):
        time.sleep(_POLL_S)
        _raise_ended(processes)


def _raise_ended(
    processes: list["subprocess.Popen[bytes]"], cause: Exception | None = None
) -> None:
    for rank, process in enumerate(processes, start=1):
        if process.poll():
            raise RunError(
                f"process {rank} of {len(processes) + 1} (trainer.devices) has ended with status "
                f"{process.returncode}: what it said stands above; repeat the command to continue"
            ) from cause


def _explain(processes: list["subprocess.Popen[bytes]"], error: Exception) -> None:
    """Blame the process that has ended, unless the leader knows what is wrong."""
    until = time.monotonic() + _GRACE_S
    while time.monotonic() < until and any(process.poll() is None for process in processes):
        time.sleep(_POLL_S)
    if not isinstance(error, BgbError):
        _raise_ended(processes, error)
    _log.warning("what the other processes found in their shares of the batch stands above")


@contextlib.contextmanager
def _watched(processes: list["subprocess.Popen[bytes]"]) -> Iterator[None]:
    """End this process when another has ended while it waits for it: NCCL would wait for ever."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(_POLL_S):
            if any(process.poll() for process in processes):
                break
        if not over.wait(2 * _GRACE_S):
            _log.critical("another process of this run has ended; so does this one")
            os._exit(1)

    thread = threading.Thread(target=watch, name="bgb-followers", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()


def _end(processes: list["subprocess.Popen[bytes]"]) -> None:
    """Close the lifelines, and see to it that nothing is left."""
    for process in processes:
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
    for process in processes:
        try:
            process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _ready(rank: int) -> str:
    return f"ready/{rank}"
