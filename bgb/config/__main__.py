"""`python -m bgb.config [key] [overrides]`: explain every key with type, default, unit and meaning.

The default shown is the composed one: schema, then option files, then the overrides given.
"""

import argparse
import json
import sys

from rich.console import Console
from rich.table import Table

from bgb.config import keys
from bgb.config.compose import compose
from bgb.config.schema import CHOICES, COMMANDS
from bgb.errors import BgbError


def main(arguments: list[str] | None = None) -> int:
    """Print the table; return 2 with a suggestion when the key does not exist."""
    parser = argparse.ArgumentParser(prog="python -m bgb.config", description=__doc__)
    parser.add_argument("key", nargs="?", help="such as data.window_s or data")
    parser.add_argument("overrides", nargs="*", help="such as data=tusz: show its defaults")
    parser.add_argument("--command", choices=sorted(COMMANDS), default="train")
    given = parser.parse_args(arguments)
    words = ([given.key] if given.key else []) + given.overrides
    overrides = [word for word in words if "=" in word]
    wanted = next((word for word in words if "=" not in word), None)
    try:
        Console(soft_wrap=False).print(_table(given.command, wanted, overrides))
    except BgbError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def _table(command: str, wanted: str | None, overrides: list[str]) -> Table:
    schema = COMMANDS[command]
    found = keys.find(schema, wanted) if wanted else list(keys.walk(schema))
    # The others cannot be composed without a run or an action; their defaults are the schema's.
    composed = compose("train", overrides) if command == "train" else schema
    if overrides:  # then only the keys of the options chosen
        found = [key for key in found if not key.option or _chosen(key, composed)]
    table = Table(title=f"Configuration of `python -m bgb.{command}`", title_justify="left")
    for heading in ("key", "type", "default", "unit", "meaning"):
        table.add_column(heading, overflow="fold")
    for key in found:
        style = "bold" if key.is_node else ""
        note = f"{key.help} [dim](with {key.option})[/dim]" if key.option else key.help
        table.add_row(key.path, key.type, _default(key, composed), key.unit, note, style=style)
    return table


def _default(key: keys.Key, composed: object) -> str:
    """Return the value that composing gives; for options not chosen, that of their own class."""
    if key.is_node:
        return getattr(_get(composed, key.path), "name", "")
    if key.option and not _chosen(key, composed):
        options = CHOICES[key.path.rpartition(".")[0]]
        return _shown(getattr(options[key.option](), key.path.rpartition(".")[2]))
    return _shown(_get(composed, key.path))


def _chosen(key: keys.Key, composed: object) -> bool:
    return _get(composed, f"{key.path.rpartition('.')[0]}.name") == key.option


def _get(node: object, path: str) -> object:
    for name in path.split("."):
        node = getattr(node, name, "")
    return node


def _shown(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


if __name__ == "__main__":
    sys.exit(main())
