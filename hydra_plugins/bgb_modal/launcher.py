"""The launcher as Hydra sees it; the work is done in bgb/infra/launch.py, imported when needed."""

from collections.abc import Sequence
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from bgb.config.infra import InfraConfig


class BgbModalLauncher(Launcher):
    """One Modal container a job; every key of `InfraConfig` is a key of `hydra.launcher`."""

    def __init__(self, **values: Any) -> None:  # Any: the values of InfraConfig
        self._values = values
        self._session: Any = None  # Any: bgb.infra.launch.Sweep, imported when needed

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Keep what Hydra gives; nothing is sent before `launch`."""
        self._context, self._task, self._config = hydra_context, task_function, config

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Carry out one batch of jobs and return what each of them returned, in order."""
        raise NotImplementedError


ConfigStore.instance().store(
    "bgb_modal",
    {
        "_target_": "hydra_plugins.bgb_modal.launcher.BgbModalLauncher",
        **OmegaConf.to_container(OmegaConf.structured(InfraConfig)),  # type: ignore[dict-item]
    },
    group="hydra/launcher",
    provider="bgb",
)
