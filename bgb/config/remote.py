"""What `+infra=` changes in a configuration: multirun, roots of the data, variables in secrets.

Inside a rented container `BGB_JOB` is set: there a command runs in place and never launches again.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import OverrideParseException
from omegaconf import DictConfig

from bgb.errors import ConfigError

IN_JOB = "BGB_JOB"
_STOPS = ("-m", "--multirun", "-c", "--cfg", "-i", "--info", "--hydra-help", "--version")


def needs_multirun(arguments: Sequence[str], options: Path) -> bool:
    """Tell whether a command line names an infrastructure and lacks `--multirun`.

    It may stand in an experiment, too, whose file is below `options`.
    """
    if os.environ.get(IN_JOB) or any(word.partition("=")[0] in _STOPS for word in arguments):
        return False
    chosen = dict(word.lstrip("+").split("=", 1) for word in arguments if "=" in word)
    infra = chosen.get("infra")
    if infra is None and "experiment" in chosen:
        infra = _infra_of(options / "experiment" / f"{chosen['experiment']}.yaml")
    return infra not in (None, "null")


def refuse_unused_launcher(arguments: Sequence[str]) -> None:
    """Refuse a launcher in a single run, where Hydra would drop it without a word."""
    chosen = [word for word in arguments if word.lstrip("+").startswith("hydra/launcher=")]
    if chosen and not {"-m", "--multirun"} & set(arguments) and not os.environ.get(IN_JOB):
        raise ConfigError(f"{chosen[0]} has no effect in a single run; add --multirun")


def refuse_swept_infra(arguments: Sequence[str]) -> None:
    """Refuse to sweep over machines: Hydra takes one launcher, that of the first, for all jobs."""
    try:
        words = [word for word in arguments if "=" in word and not word.startswith("-")]
        overrides = OverridesParser.create().parse_overrides(words)
    except OverrideParseException:
        return  # Hydra reports syntax errors itself
    for override in overrides:
        key = override.key_or_group
        if (key == "infra" or key.startswith("infra.")) and override.is_sweep_override():
            raise ConfigError(
                f"{override.input_line} would sweep over machines, but all jobs of a sweep rent "
                "the same; give one command for each"
            )


def refuse_to_stay(config: object) -> None:
    """Never train here what was meant for a GPU there: a job with `infra` that was not sent."""
    if getattr(config, "infra", None) is not None and not os.environ.get(IN_JOB):
        raise ConfigError(
            "infra is set, but the job would stay on this machine: Hydra uses a launcher in "
            "multirun only, and not where an experiment of a sweep names it; add --multirun, put "
            "+infra=... on the command line, or leave infra out"
        )


def data_root(name: str, here: str, *, _root_: DictConfig) -> str:
    """Return the folder of a corpus: below `here`, or where the containers of infra find it."""
    infra = _root_.get("infra")
    if infra is None:
        return f"{here}/{name}"
    return str(infra.roots.tusz if name == "tusz" else f"{infra.roots.other}/{name}")


def env_is_set(name: str, *, _root_: DictConfig) -> bool:
    """Tell whether a variable is set, or may be in a container: a secret holds it there."""
    infra = _root_.get("infra")
    in_secret = infra is not None and bool(infra.secrets) and not os.environ.get(IN_JOB)
    return bool(os.environ.get(name)) or in_secret


def _infra_of(experiment: Path) -> str | None:
    """Return the option of group infra in the defaults list of an experiment."""
    if not experiment.is_file():
        return None  # Hydra says which experiments exist
    defaults: Any = (yaml.safe_load(experiment.read_text()) or {}).get("defaults", [])
    named = [entry for entry in defaults if isinstance(entry, dict) and "/infra" in entry]
    return named[-1]["/infra"] if named else None
