"""The jobs that a command line stands for, as Hydra's own sweeper would split it, and which of them
this process is."""

from collections.abc import Sequence
from pathlib import Path

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override
from hydra.errors import HydraException
from hydra.types import RunMode

from bgb.errors import ConfigError

_BASIC = f"{BasicSweeper.__module__}.{BasicSweeper.__name__}"


def first_job(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with the first value of every sweep and without `--multirun`.

    A `glob(...)`, whose values only Hydra's search path knows, is left out.
    """
    kept = [word for word in arguments if word not in ("-m", "--multirun")]
    try:
        parsed = {word: _parse(word) for word in kept if _is_override(word)}
    except HydraException:
        return list(arguments)  # Hydra says what is wrong with it
    return [
        _first(parsed[word]) if word in parsed else word
        for word in kept
        if not (word in parsed and isinstance(parsed[word].value(), Glob))
    ]


def expand(arguments: Sequence[str]) -> list[list[str]]:
    """Return the overrides of every job, in Hydra's order, those of `hydra.sweeper.params`, too.

    Call it from within a Hydra program.

    Raises
    ------
    ConfigError : another sweeper is set, whose jobs are not known before they run.
    """
    sweeper = HydraConfig.get().sweeper
    if sweeper["_target_"] != _BASIC:
        raise ConfigError(
            f"hydra/sweeper is {sweeper['_target_']}, which chooses its jobs while they run; "
            "leave hydra/sweeper out to plan one job, and multiply"
        )
    words = [f"{key}={value}" for key, value in (sweeper.get("params") or {}).items()]
    words += [word for word in arguments if _is_override(word)]
    loader = GlobalHydra.instance().config_loader()
    try:
        overrides = OverridesParser.create(config_loader=loader).parse_overrides(words)
        (jobs,) = BasicSweeper.split_arguments(overrides, None)
    except HydraException as error:
        raise ConfigError(str(error)) from error
    return [list(job) for job in jobs]


def current_sweep() -> dict[str, str | int] | None:
    """Return name of the sweep's folder and number of the job; None outside a sweep."""
    if not HydraConfig.initialized():
        return None
    hydra = HydraConfig.get()
    if hydra.mode != RunMode.MULTIRUN:
        return None
    return {"name": Path(hydra.sweep.dir).name, "job": int(hydra.job.num)}


def _is_override(word: str) -> bool:
    return word.startswith("~") or ("=" in word and not word.startswith("-"))


def _parse(word: str) -> Override:
    return OverridesParser.create().parse_override(word)


def _first(override: Override) -> str:
    if not override.is_discrete_sweep():
        return str(override.input_line)
    return f"{override.get_key_element()}={next(override.sweep_string_iterator())}"
