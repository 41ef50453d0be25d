"""A job of a Hydra multirun: composed and checked on the laptop, carried out in a container.

The composed configuration travels, so that the container needs none of the option files; the
folder of the sweep is replaced by one on the Volume, everything else stays as Hydra made it.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobRuntime, JobStatus, run_job, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from bgb.errors import InfraError
from bgb.infra.fingerprint import fingerprint, key_digests

LOG = "job.log"


@dataclass(frozen=True)
class HydraJob:
    """One job of a sweep.

    Attributes
    ----------
    config : its whole configuration, `hydra` included, with the sweep's folder of the laptop.
    subdir : its folder in the sweep's.
    local : its folder on the laptop.
    keys, fingerprint : digests of its configuration.
    label : what tells it from the other jobs of its batch, for people.
    """

    num: int
    overrides: tuple[str, ...]
    config: DictConfig
    subdir: str
    local: Path
    keys: dict[str, str]
    fingerprint: str
    label: str = ""


def compose_jobs(
    context: HydraContext, config: DictConfig, *, overrides: Sequence[Sequence[str]], first: int
) -> list[HydraJob]:
    """Compose every job of a batch, before anything is sent.

    Raises
    ------
    InfraError : two jobs share a folder, or one would carry variables of this environment along.
    """
    sweep_dir = Path(str(config.hydra.sweep.dir)).absolute()
    before = HydraConfig.instance().cfg
    try:
        jobs = [
            _compose(context, config, list(words), first + index, sweep_dir)
            for index, words in enumerate(overrides)
        ]
    finally:
        HydraConfig.instance().cfg = before
    _refuse_shared_folders(jobs)
    shared = set.intersection(*(set(job.overrides) for job in jobs)) if len(jobs) > 1 else set()
    return [
        replace(job, label=" ".join(word for word in job.overrides if word not in shared))
        for job in jobs
    ]


def task_config(job: HydraJob) -> DictConfig:
    """Return a copy of the job's configuration without the `hydra` node."""
    return _without_hydra(job.config)


def with_task(job: HydraJob, task: DictConfig) -> HydraJob:
    """Take over what was changed in a task's configuration; the fingerprint stays."""
    config = copy.deepcopy(job.config)
    with read_write(config), open_dict(config):
        for key in task:
            config[key] = task._get_node(key)
    return replace(job, config=config)


def remote_config(job: HydraJob, sweep_dir: str) -> DictConfig:
    """Return the job's configuration with the sweep's folder on the Volume."""
    config = copy.deepcopy(job.config)
    with read_write(config.hydra), open_dict(config.hydra):
        config.hydra.sweep.dir = sweep_dir
        config.hydra.sweep.subdir = job.subdir
        _log_to_file(config.hydra.job_logging)
    return config


def remote_sweep_dir(mount: str, sweep_id: str, local: Path) -> str:
    """Return the sweep's folder as containers see it: its id and, for people, its name."""
    return str(PurePosixPath(mount) / "sweeps" / sweep_id / local.name)


def run_hydra_job(
    context: HydraContext,
    task: TaskFunction,
    config: DictConfig,
    singletons: Any,  # Any: of Singleton.get_state()
) -> Any:  # Any: whatever the task returns
    """Carry a job out, in the container, as Hydra does; raise what the task raised."""
    Singleton.set_state(singletons)
    setup_globals()
    HydraConfig.instance().set_config(config)
    done = run_job(
        hydra_context=context,
        task_function=task,
        config=config,
        job_dir_key="hydra.sweep.dir",
        job_subdir_key="hydra.sweep.subdir",
    )
    if done.status is JobStatus.FAILED:
        raise done._return_value  # reading return_value would write to standard error, too
    return done.return_value


def job_return(job: HydraJob, value: Any, *, failed: bool) -> JobReturn:  # Any: see above
    """Return what Hydra's sweepers expect of a job; an exception as `value` where it failed."""
    done = JobReturn(
        overrides=list(job.overrides),
        cfg=task_config(job),
        hydra_cfg=OmegaConf.masked_copy(job.config, "hydra"),
        working_dir=str(job.local),
        task_name=JobRuntime.instance().get("name"),
        status=JobStatus.FAILED if failed else JobStatus.COMPLETED,
    )
    done.return_value = value
    return done


def _log_to_file(logging_config: DictConfig) -> None:
    """Let a program that logs to the terminal alone log into its folder, too: that comes back."""
    handlers = logging_config.get("handlers")
    if not handlers or any("filename" in handler for handler in handlers.values()):
        return
    handlers.bgb_file = {
        "class": "logging.FileHandler",
        "filename": f"${{hydra.runtime.output_dir}}/{LOG}",
        "formatter": next(iter(logging_config.get("formatters") or {}), None),
    }
    logging_config.root.handlers = [*logging_config.root.handlers, "bgb_file"]


def _refuse_shared_folders(jobs: Sequence[HydraJob]) -> None:
    owners: dict[str, int] = {}
    for job in jobs:
        other = owners.setdefault(job.subdir, job.num)
        if other != job.num:
            raise InfraError(
                f"jobs {other} and {job.num} would both write to hydra.sweep.subdir={job.subdir}; "
                "jobs run at the same time: put ${hydra.job.num} into it"
            )


def _compose(
    context: HydraContext, config: DictConfig, words: list[str], num: int, sweep_dir: Path
) -> HydraJob:
    composed = context.config_loader.load_sweep_config(config, words)
    with read_write(composed), open_dict(composed):
        composed.hydra.job.num = num
        composed.hydra.job.id = str(num)
    _refuse_environment(composed)
    HydraConfig.instance().set_config(composed)  # `${hydra:...}` in the folder's name
    subdir = str(composed.hydra.sweep.subdir)
    parts = PurePosixPath(subdir).parts
    if not parts or subdir.startswith("/") or ".." in parts or parts[0] == ".modal":
        raise InfraError(
            f"hydra.sweep.subdir={subdir!r} must be a folder below hydra.sweep.dir, such as "
            "${hydra.job.num}"
        )
    keys = key_digests(_without_hydra(composed))
    local = sweep_dir / subdir
    return HydraJob(
        num, tuple(composed.hydra.overrides.task), composed, subdir, local, keys, fingerprint(keys)
    )


def _without_hydra(config: DictConfig) -> DictConfig:
    task = copy.deepcopy(config)
    with read_write(task), open_dict(task):
        del task["hydra"]
    return task


def _refuse_environment(config: DictConfig) -> None:
    """Refuse `hydra.job.env_copy`: values of variables, keys perhaps, would travel in the open."""
    names = list(config.hydra.job.env_copy)
    if names:
        raise InfraError(
            f"hydra.job.env_copy={names} would send values of this environment along, readable in "
            "the job's files; set plain ones with hydra.job.env_set, and put secret ones into a "
            "Modal secret that infra.secrets (hydra.launcher.secrets) names"
        )
