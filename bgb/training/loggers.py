"""Where numbers go: metrics.csv always, TensorBoard and Weights & Biases when asked for.

Each row carries the optimiser steps done so far, and a resumed run first drops the rows that were
written after its checkpoint, so that no step stands twice. TensorBoard and wandb are imported only
here and only when enabled (lesson 86); W&B keeps one id per run folder (lesson 85).
"""

import csv
import io
import os
import secrets
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger, WandbLogger  # does not import wandb

from bgb.config.training import LoggerConfig
from bgb.files import write_text
from bgb.training.run_folder import RunFolder

_COLUMNS = ("step", "epoch", "metric", "value")


class CsvLogger(Logger):
    """Append to metrics.csv, one row a number: step, epoch, metric, value.

    `pandas.read_csv(...).pivot_table(index="step", columns="metric", values="value")` is the table.

    Parameters
    ----------
    kept_rows : rows that stay: those that the checkpoint counted. The step alone does not tell: the
        rows of an epoch's end carry the step of its last batch.
    """

    def __init__(self, path: Path, *, kept_rows: int = 0) -> None:
        super().__init__()
        self.path = path
        kept = read_metrics(path)[:kept_rows]
        self._num_rows = len(kept)
        text = io.StringIO()
        writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(kept)
        write_text(path, text.getvalue())

    @property
    def name(self) -> str:
        return "csv"

    @property
    def version(self) -> str:
        return ""

    def log_hyperparams(self, *args: object, **kwargs: object) -> None:
        """Do nothing: the configuration is in config.yaml."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Append one row for each metric; `epoch` becomes a column."""
        epoch = metrics.get("epoch", "")
        with self.path.open("a", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            for name, value in metrics.items():
                if name != "epoch":
                    writer.writerow((step, epoch, name, f"{float(value):.7g}"))
                    self._num_rows += 1

    def sync(self) -> int:
        """Bring the rows to the disk, for a checkpoint that counts them; return how many."""
        with self.path.open("rb") as file:
            os.fsync(file.fileno())
        return self._num_rows


class TensorBoardLogger(Logger):
    """Write an event file that `tensorboard --logdir` shows.

    Lightning's own logger imports torch.utils.tensorboard, boto3 and s3fs before the first step:
    0.3 s. This one takes the writer of tensorboard itself, at the first row.
    """

    def __init__(self, folder: Path, *, resumed_step: int = 0) -> None:
        super().__init__()
        self.folder, self._resumed_step = folder, resumed_step
        self._writer: Any = None  # Any: EventFileWriter, untyped

    @property
    def name(self) -> str:
        return "tensorboard"

    @property
    def version(self) -> str:
        return ""

    def log_hyperparams(self, *args: object, **kwargs: object) -> None:
        """Do nothing: the configuration is in config.yaml."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Add one scalar for each metric."""
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in metrics.items()]
        self._open().add_event(
            Event(wall_time=time.time(), step=step, summary=Summary(value=values))
        )

    def save(self) -> None:
        """Put on disk what is waiting."""
        if self._writer is not None:
            self._writer.flush()

    def finalize(self, status: str) -> None:
        """Close the file; a later row would open another."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _open(self) -> Any:  # Any: see _writer
        """Return the writer; the first event of a resumed run hides what lies past its step."""
        if self._writer is None:
            from tensorboard.compat.proto.event_pb2 import Event, SessionLog
            from tensorboard.summary.writer.event_file_writer import EventFileWriter

            self._writer = EventFileWriter(str(self.folder))
            if self._resumed_step:
                start = SessionLog(status=SessionLog.START)
                self._writer.add_event(Event(step=self._resumed_step + 1, session_log=start))
                self._resumed_step = 0  # said once
        return self._writer


def read_metrics(path: Path) -> list[dict[str, str]]:
    """Return the whole rows of a metrics.csv; none where there is no file.

    A last row that a kill has torn is left out.
    """
    if not path.exists():
        return []
    whole = path.read_text().rpartition("\n")[0]
    return [row for row in csv.DictReader(io.StringIO(whole)) if row["value"]]


def build_loggers(
    config: LoggerConfig, folder: RunFolder, *, resumed_step: int = 0, kept_rows: int = 0
) -> list[Logger]:
    """Return the loggers that the configuration asks for, without what the checkpoint lacks.

    Parameters
    ----------
    resumed_step, kept_rows : optimiser steps done, and rows of metrics.csv, at the checkpoint.
    """
    loggers: list[Logger] = [CsvLogger(folder.metrics, kept_rows=kept_rows)]
    if config.tensorboard:
        loggers.append(TensorBoardLogger(folder.tensorboard, resumed_step=resumed_step))
    if config.wandb:
        loggers.append(_wandb(config, folder))
    return loggers


def close_loggers(loggers: Iterable[Logger]) -> None:
    """End the W&B run, so that the next run of this process does not write into it."""
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            logger.experiment.finish()


def wandb_id(folder: RunFolder) -> str:
    """Return the W&B id of this run, drawn once and kept in the folder."""
    path = folder.path / "wandb" / "run-id"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, secrets.token_hex(4))
    return path.read_text()


def _wandb(config: LoggerConfig, folder: RunFolder) -> Logger:
    import wandb

    return WandbLogger(
        name=folder.name,
        save_dir=folder.path,
        id=wandb_id(folder),
        resume="allow",
        project=config.wandb_project,
        entity=config.wandb_entity,
        offline=config.wandb_mode == "offline",
        log_model=False,
        # The run folder says what ran; host, user and environment stay at home.
        settings=wandb.Settings(
            console="off",
            disable_git=True,
            save_code=False,
            x_disable_meta=True,
            x_disable_machine_info=True,
            x_disable_stats=True,
            x_save_requirements=False,
        ),
    )
