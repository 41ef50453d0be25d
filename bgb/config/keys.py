"""The keys of a configuration: walk them, describe them, refuse unknown ones with a suggestion.

Hydra drops a key that was added with `+` and that the schema lacks; bgb refuses it, before and
after composing (DESIGN 3).
"""

import difflib
import types
import typing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import OverrideParseException
from omegaconf import DictConfig, OmegaConf

from bgb.config.schema import CHOICES, GROUPS
from bgb.errors import ConfigError

_FREE_GROUPS = {"experiment", "infra"}  # `@package _global_`: their keys stand at the top
_GROUPS = {*GROUPS, *_FREE_GROUPS, *CHOICES}
_MAPPING = "names and values"  # the type of a key whose own keys nobody here knows


@dataclass(frozen=True)
class Key:
    """One key of the configuration."""

    path: str
    type: str
    unit: str
    help: str
    option: str  # "eegnet" where the key exists only with model=eegnet
    is_node: bool


def walk(schema: type, prefix: str = "", option: str = "") -> Iterator[Key]:
    """Yield every key under a schema, depth first, those of all group options included."""
    for field in fields(schema):
        path = f"{prefix}{field.name}"
        choices = CHOICES.get(path, {})
        nested = _node_class(path, field.type)
        shown = " or ".join(choices) if choices else _type_name(field.type)
        meta = field.metadata
        yield Key(path, shown, meta["unit"], meta["help"], option, bool(nested or choices))
        if nested:
            yield from walk(nested, f"{path}.", option)
        for name, choice in choices.items():
            yield from walk(choice, f"{path}.", name)


def check_overrides(arguments: Sequence[str], schema: type) -> None:
    """Refuse a command-line override whose key does not exist, and a group without its option.

    Raises
    ------
    ConfigError : names the nearest key.
    """
    words = [word for word in arguments if "=" in word and not word.startswith("-")]
    try:
        overrides = OverridesParser.create().parse_overrides(words)
    except OverrideParseException:
        return  # Hydra reports syntax errors itself
    keys = list(walk(schema))
    known = {key.path for key in keys}
    open_nodes = {key.path for key in keys if key.type == _MAPPING}
    for override in overrides:
        key = override.key_or_group
        if override.is_delete() or key == "hydra" or key.startswith(("hydra.", "hydra/")):
            continue
        if key.rpartition(".")[0] in open_nodes:
            continue
        if key in _GROUPS and override.value() is None:
            raise ConfigError(
                f"{key}=null chooses no option of group {key}; leave it out, or choose one that "
                "`--help` lists"
            )
        if key not in known and key.partition("@")[0] not in _FREE_GROUPS:
            raise _unknown(key, known | _FREE_GROUPS)


def refuse_unknown(composed: DictConfig, schema: type) -> None:
    """Refuse a composed configuration that holds a key which the schema lacks."""
    chosen = {OmegaConf.select(composed, f"{package}.name", default=None) for package in CHOICES}
    keys = [key for key in walk(schema) if not key.option or key.option in chosen]
    known = {key.path for key in keys}
    open_nodes = {key.path for key in keys if key.type == _MAPPING}
    for path in _paths(composed):
        if path not in known and path.rpartition(".")[0] not in open_nodes:
            raise _unknown(path, known)


def describe(schema: type, path: str) -> str:
    """Return the one-line meaning of a key."""
    return next((key.help for key in walk(schema) if key.path == path), path)


def find(schema: type, path: str) -> list[Key]:
    """Return a key and everything below it; `ConfigError` with a suggestion when there is none."""
    every = list(walk(schema))
    found = [key for key in every if key.path == path or key.path.startswith(f"{path}.")]
    if not found:
        raise _unknown(path, {key.path for key in every})
    return found


def _unknown(path: str, known: set[str]) -> ConfigError:
    near = difflib.get_close_matches(path, sorted(known), n=1, cutoff=0.5)
    same_name = [key for key in known if key.rpartition(".")[2] == path.rpartition(".")[2]]
    best = sorted(same_name)[:1] or near
    hint = f"did you mean {best[0]}? " if best else ""
    return ConfigError(
        f"unknown key {path!r}; {hint}`python -m bgb.config` explains every key that exists"
    )


def _paths(node: DictConfig, prefix: str = "") -> Iterator[str]:
    for name in map(str, node):
        path = f"{prefix}{name}"
        yield path
        if OmegaConf.is_missing(node, name) or OmegaConf.is_interpolation(node, name):
            continue
        child = node[name]
        if isinstance(child, DictConfig):
            yield from _paths(child, f"{path}.")


def _node_class(path: str, annotation: Any) -> type | None:  # Any: a dataclass field's type
    if is_dataclass(annotation) and isinstance(annotation, type):
        return annotation
    return GROUPS.get(path) if annotation is Any else None


def _type_name(annotation: Any) -> str:  # Any: a dataclass field's type
    if typing.get_origin(annotation) in (types.UnionType, typing.Union):
        return " or ".join(_type_name(part) for part in typing.get_args(annotation))
    if annotation is type(None):
        return "null"
    if typing.get_origin(annotation) is dict:
        return _MAPPING
    if typing.get_origin(annotation) is list:
        return f"list of {_type_name(typing.get_args(annotation)[0])}"
    if is_dataclass(annotation) or annotation is Any:
        return "group"
    return {"str": "text", "float": "number", "int": "integer"}.get(
        annotation.__name__, str(annotation.__name__)
    )
