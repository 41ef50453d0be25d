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
    """Refuse values that are zero or negative; here and below, `__` in a name is its dot."""
    for key, value in values.items():
        require(value is None or value > 0, f"{_dotted(key)}={value} must be above 0")


def not_negative(**values: float | None) -> None:
    """Refuse negative values."""
    for key, value in values.items():
        require(value is None or value >= 0, f"{_dotted(key)}={value} must not be negative")


def share(**values: float) -> None:
    """Refuse values outside [0, 1)."""
    for key, value in values.items():
        require(0 <= value < 1, f"{_dotted(key)}={value} must be in [0, 1)")


def _dotted(key: str) -> str:
    return key.replace("__", ".")
