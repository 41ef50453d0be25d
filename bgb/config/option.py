"""`option`: a dataclass field with its meaning and unit, from which the reference is generated."""

from dataclasses import field
from typing import Any


def option(default: Any, help: str, *, unit: str = "") -> Any:  # noqa: A002 - Any: dataclass fields
    """Declare one key: default, one-line meaning, unit. A class is its own factory."""
    metadata = {"help": help, "unit": unit}
    if isinstance(default, type):
        return field(default_factory=default, metadata=metadata)
    if isinstance(default, list | dict):
        return field(default_factory=lambda: type(default)(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def required(help: str, *, unit: str = "") -> Any:  # noqa: A002 - Any: dataclass fields
    """Declare a key that must be given (`???` in YAML)."""
    return field(default="???", metadata={"help": help, "unit": unit})
