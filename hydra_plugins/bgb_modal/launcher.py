"""The launcher as Hydra sees it; the work is done in bgb/infra/launch.py, imported when needed."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.errors import CompactHydraException
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bgb.config.infra import InfraConfig
from bgb.errors import BgbError, ConfigError

if TYPE_CHECKING:
    from bgb.infra.launch import Sweep


class BgbModalLauncher(Launcher):
    """One Modal container a job; every key of `InfraConfig` is a key of `hydra.launcher`."""

    def __init__(self, **values: Any) -> None:  # Any: the values of InfraConfig
        self._values = values
        self._sweep: Sweep | None = None

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Keep what Hydra gives; nothing is sent before `launch`."""
        self._context, self._task, self._config = hydra_context, task_function, config

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Carry out one batch of jobs and return what each of them returned, in order."""
        from bgb.infra.launch import Sweep

        try:
            if self._sweep is None:
                self._sweep = Sweep(
                    _to_infra(self._values),
                    context=self._context,
                    task=self._task,
                    config=self._config,
                )
            return self._sweep.launch(job_overrides, initial_job_idx)
        except BgbError as error:  # Hydra prints its own errors without a traceback
            raise CompactHydraException(f"{type(error).__name__}: {error}") from error


def _to_infra(values: Mapping[str, Any]) -> InfraConfig:  # Any: keys of hydra.launcher
    schema = OmegaConf.structured(InfraConfig)
    for node in (schema, *(node for node in schema.values() if isinstance(node, DictConfig))):
        OmegaConf.set_readonly(node, False)  # frozen classes make read-only nodes
    try:
        infra = OmegaConf.to_object(OmegaConf.merge(schema, dict(values)))
    except OmegaConfBaseException as error:
        raise ConfigError(f"hydra.launcher: {error}") from error
    assert isinstance(infra, InfraConfig)
    return infra


ConfigStore.instance().store(
    "bgb_modal",
    {
        "_target_": "hydra_plugins.bgb_modal.launcher.BgbModalLauncher",
        **OmegaConf.to_container(OmegaConf.structured(InfraConfig)),  # type: ignore[dict-item]
    },
    group="hydra/launcher",
    provider="bgb",
)
