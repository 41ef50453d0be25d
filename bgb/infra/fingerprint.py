"""Fingerprints: which configuration, which code and which lock file a job was sent with.

The configuration is hashed as it is sent, interpolations unresolved: the container resolves them,
and what they refer to is part of the configuration. `infra`, the machine that is rented, is left
out: a sweep may go on with another GPU or with more dollars. Digests of single keys let a refusal
name what differs without a value in the ledger.
"""

import hashlib
import inspect
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from bgb.config.infra import InfraConfig

_KEY_DIGITS = 8
_IGNORED_FOLDERS = frozenset({"__pycache__"})


def key_digests(task: DictConfig) -> dict[str, str]:
    """Return the digest of each key of a task's configuration, `infra` left out."""
    values = OmegaConf.to_container(task, resolve=False)
    assert isinstance(values, dict)
    infra = values.get("infra")
    if isinstance(infra, dict) and infra.keys() == {item.name for item in fields(InfraConfig)}:
        del values["infra"]
    return {key: _digest(value)[:_KEY_DIGITS] for key, value in _flatten(values)}


def fingerprint(keys: Mapping[str, str]) -> str:
    """Return one digest for all keys."""
    return _digest(dict(sorted(keys.items())))


def differing(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """Return the keys whose values differ, or which only one of the two has."""
    return sorted(key for key in one.keys() | other.keys() if one.get(key) != other.get(key))


def code_digest(shipped: Iterable[Path], function: Callable[..., Any]) -> str:
    """Return a digest of every file below what is shipped, and of the file of the task."""
    digest = hashlib.sha256()
    for source in sorted(shipped):
        for path in sorted(source.rglob("*")) if source.is_dir() else [source]:
            if path.is_file() and not _IGNORED_FOLDERS & set(path.parts):
                digest.update(f"{source.name}/{path.relative_to(source)}\n".encode())
                digest.update(hashlib.sha256(path.read_bytes()).digest())
    own = _source_file(function)
    if own is not None:
        digest.update(own.read_bytes())
    return digest.hexdigest()


def file_digest(path: Path) -> str:
    """Return the digest of one file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _source_file(function: Callable[..., Any]) -> Path | None:
    try:
        name = inspect.getsourcefile(inspect.unwrap(function))
    except TypeError:  # an instance with __call__, or a builtin
        return None
    return Path(name) if name and Path(name).is_file() else None


def _digest(value: Any) -> str:  # Any: a value of a configuration
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=repr).encode()).hexdigest()


def _flatten(node: Mapping[Any, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for name, value in node.items():
        if isinstance(value, dict) and value:
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
