"""Checks that a schema runs in `__post_init__`; each names the key, its value and what is valid."""

from collections.abc import Iterable
from typing import Any

from bgb.errors import ConfigError


def require(condition: bool, message: str) -> None:
    """Raise `ConfigError(message)` unless the condition holds."""
    if not condition:
        raise ConfigError(message)


def one_of(key: str, value: Any, valid: Iterable[Any]) -> None:  # Any: values of any option
    """Refuse a value that is not among the valid ones."""
    choices = list(valid)
    require(value in choices, f"{key}={value!r} is not valid; choose one of {choices}")


def positive(**values: float | None) -> None:
    """Refuse values that are zero or negative; a name may use `__` for the dot."""
    for key, value in values.items():
        name = key.replace("__", ".")
        require(value is None or value > 0, f"{name}={value} must be above 0")


def not_negative(**values: float | None) -> None:
    """Refuse negative values; a name may use `__` for the dot."""
    for key, value in values.items():
        name = key.replace("__", ".")
        require(value is None or value >= 0, f"{name}={value} must not be negative")
