"""Compose a configuration with Hydra and hand it on as frozen dataclasses.

`command` turns a function of one configuration into a Hydra program. Nothing heavier than Hydra is
imported before the configuration is known to be good (DESIGN 3, STYLE 17).
"""

import contextlib
import functools
import logging
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

import hydra
import yaml
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.errors import CompactHydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bgb.config import keys
from bgb.config.data import windows_in
from bgb.config.help import show_help
from bgb.config.infra import InfraConfig
from bgb.config.remote import (
    data_root,
    env_is_set,
    needs_multirun,
    refuse_swept_infra,
    refuse_to_stay,
    refuse_unused_launcher,
)
from bgb.config.schema import CHOICES, COMMANDS, GROUPS, TrainConfig
from bgb.errors import BgbError, ConfigError

_ConfigT = TypeVar("_ConfigT")
_ReturnT = TypeVar("_ReturnT")
# What a launcher does before its first job: (session, composed jobs, whether to show progress).
Prepare = Callable[..., None]
_log = logging.getLogger(__name__)


def config_dir() -> Path:
    """Folder of the option files: `conf/` of a checkout, or bgb/conf of an installed wheel."""
    package = Path(__file__).parents[1]
    shipped = package / "conf"
    return shipped if shipped.is_dir() else package.parent / "conf"


def command(
    schema: type[_ConfigT],
    *,
    name: str,
    prepare: Prepare | None = None,
    show: Callable[[Path], None] | None = None,
) -> Callable[[Callable[[_ConfigT], _ReturnT]], Callable[[], None]]:
    """Make a Hydra program of a function: check keys, compose, convert, report errors plainly.

    With `prepare` it is a program whose jobs `+infra=` sends to rented machines: `--multirun` is
    added, because Hydra uses a launcher only then, and the launcher calls `prepare` before the
    first job starts, and `show` with the folder of each job that came back. It finds them, and a
    check of a composed job, as attributes of the task.
    """

    def decorate(function: Callable[[_ConfigT], _ReturnT]) -> Callable[[], None]:
        @functools.wraps(function)
        def task(composed: DictConfig) -> _ReturnT:
            in_sweep = HydraConfig.get().mode == RunMode.MULTIRUN
            with _told_at_once() if in_sweep else _plain_errors():
                frozen = to_frozen(composed, schema)
                if prepare is not None:
                    refuse_to_stay(frozen)
                return function(frozen)

        @functools.wraps(function)
        def main() -> None:
            show_help(sys.argv[1:], schema, config_dir())
            register()
            # Hydra takes its overrides in one row only: a flag may stand among them here.
            sys.argv[1:] = sorted(sys.argv[1:], key=("-m", "--multirun").__contains__)
            with _plain_errors():
                keys.check_overrides(sys.argv[1:], schema)
                if prepare is not None and needs_multirun(sys.argv[1:], config_dir()):
                    sys.argv.append("--multirun")
                refuse_unused_launcher(sys.argv[1:])
                refuse_swept_infra(sys.argv[1:])
                # So that errors reach us: Hydra's own report would bury ours in a traceback.
                os.environ.setdefault("HYDRA_FULL_ERROR", "1")
                hydra.main(config_path=str(config_dir()), config_name=name, version_base="1.3")(
                    task
                )()

        def check(composed: DictConfig) -> None:
            to_frozen(composed, schema)

        vars(task).update(check=check, prepare=prepare, show=show)

        return main

    return decorate


def compose(name: str, overrides: list[str] | None = None) -> Any:  # Any: one of COMMANDS
    """Return the frozen configuration of a command, as the command line would compose it."""
    register()
    keys.check_overrides(overrides or [], COMMANDS[name])
    with hydra.initialize_config_dir(str(config_dir()), version_base="1.3"):
        return to_frozen(hydra.compose(name, overrides or []), COMMANDS[name])


def to_frozen(composed: DictConfig, schema: type[_ConfigT]) -> _ConfigT:
    """Turn a composed configuration into frozen dataclasses; every check runs here."""
    keys.refuse_unknown(composed, schema)
    missing = sorted(OmegaConf.missing_keys(composed))
    if missing:
        key = missing[0]
        raise ConfigError(f"{key} must be given: {key}=<{keys.describe(schema, key)}>")
    try:
        frozen = OmegaConf.to_object(composed)
    except OmegaConfBaseException as error:
        raise ConfigError(str(error)) from error
    assert isinstance(frozen, schema)
    return frozen


# Keys that runs of earlier versions have, and whose values follow from others now.
_RETIRED = ("trainer.monitor_mode",)


def load_config(path: Path) -> TrainConfig:
    """Read the config.yaml of a run folder back into frozen dataclasses."""
    return parse_config(path.read_text(), source=str(path))


def _drop(loaded: Any, key: str) -> None:  # Any: nodes of omegaconf
    """Take a key out of a configuration, where it is there."""
    parent, _, name = key.rpartition(".")
    node = OmegaConf.select(loaded, parent)
    if isinstance(node, DictConfig):
        node.pop(name, None)


def parse_config(text: str, *, source: str) -> TrainConfig:
    """Read the text of a configuration; `source` names where it stands."""
    register()
    base = _thawed(TrainConfig)
    try:
        loaded = OmegaConf.create(text)
        for key in _RETIRED:
            _drop(loaded, key)
        for package, options in CHOICES.items():
            option_class = options[OmegaConf.select(loaded, f"{package}.name")]
            OmegaConf.update(base, package, _thawed(option_class), force_add=True)
        if OmegaConf.select(loaded, "infra") is not None:
            base.infra = _thawed(InfraConfig)
        merged = OmegaConf.merge(base, loaded)
    except (KeyError, OmegaConfBaseException, yaml.YAMLError) as error:
        raise ConfigError(
            f"{source} does not fit this version of bgb ({error}); "
            "use the version that provenance.json names"
        ) from error
    assert isinstance(merged, DictConfig)
    return to_frozen(merged, TrainConfig)


def dump_config(config: TrainConfig) -> str:
    """Return the configuration as YAML text that `load_config` reads; it holds no secret."""
    return OmegaConf.to_yaml(OmegaConf.structured(config), resolve=True)


@functools.cache
def register() -> None:
    """Make schemas and resolvers known to Hydra, once."""
    OmegaConf.register_new_resolver("bgb.env_is_set", env_is_set, replace=True)
    OmegaConf.register_new_resolver("bgb.data_root", data_root, replace=True)
    OmegaConf.register_new_resolver("bgb.windows_in", windows_in, replace=True)
    store = ConfigStore.instance()
    for name, schema in COMMANDS.items():
        store.store(name, _thawed(schema), group="schema/command")
    for name, schema in GROUPS.items():
        store.store(name, _thawed(schema), group="schema/group")
    for package, options in CHOICES.items():
        for name, schema in options.items():
            store.store(name, _thawed(schema), group=f"schema/{package.rpartition('.')[2]}")
    keys_of_infra = {field.name: f"${{infra.{field.name}}}" for field in fields(InfraConfig)}
    store.store("launcher", keys_of_infra, group="schema")


def _thawed(schema: type) -> DictConfig:
    """Return the schema as a configuration that may still change: frozen classes are read-only."""
    node = OmegaConf.structured(schema)
    _thaw(node, schema)
    assert isinstance(node, DictConfig)
    return node


def _thaw(node: DictConfig, schema: type) -> None:
    OmegaConf.set_readonly(node, None)
    for field in fields(schema):
        if is_dataclass(field.type) and isinstance(field.type, type):
            _thaw(node[field.name], field.type)


@contextlib.contextmanager
def _told_at_once() -> Iterator[None]:
    """Say in a sweep why a job failed when it fails: Hydra ends with it after the last one."""
    try:
        yield
    except BgbError as error:
        _log.error("this job failed, the sweep goes on: %s: %s", type(error).__name__, error)
        raise


@contextlib.contextmanager
def _plain_errors() -> Iterator[None]:
    """Print a `BgbError` as one message and exit with 2; a traceback would hide it."""
    try:
        yield
    except BgbError as error:
        _log.debug("traceback of the error", exc_info=error)
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        sys.exit(2)
    except CompactHydraException as error:  # of the command line: a group or option unknown
        cause = error.__cause__
        why = f": {cause}" if isinstance(cause, OmegaConfBaseException) else ""
        sys.stderr.write(f"{error}{why}\n")
        sys.exit(2 if isinstance(cause, BgbError) else 1)
    except OSError as error:
        if error.filename is None:
            raise
        sys.stderr.write(
            f"{error.filename}: {error.strerror}; see the folders results=, data.root= and "
            "data.cache_root=\n"
        )
        sys.exit(2)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; the same command goes on from what was saved\n")
        sys.exit(130)
