"""The text of `--help`. Hydra's own copies its configuration once per group and takes seconds."""

import sys
from collections.abc import Sequence
from pathlib import Path

_FLAGS = """Flags:
  -m, --multirun     a sweep: every combination of values that are separated by commas
  --cfg job          print the composed configuration and stop
  --config-dir DIR   look for option files in this folder, too
  --hydra-help       every flag of Hydra
"""


def show_help(arguments: Sequence[str], schema: type, options: Path) -> None:
    """Print the help and exit when `--help` or `-h` is among the arguments."""
    if not {"--help", "-h"} & set(arguments):
        return
    groups = "\n".join(
        f"  {folder.name:<13}{', '.join(sorted(file.stem for file in folder.glob('*.yaml')))}"
        for folder in sorted(options.iterdir())
        if folder.is_dir() and folder.name != "hydra"
    )
    sys.stdout.write(
        f"{schema.__doc__}\n\n"
        f"Groups, chosen with group=option (experiment with +experiment=option):\n{groups}\n\n"
        "Keys, set with key=value: `python -m bgb.config` explains every one.\n\n"
        f"{_FLAGS}"
    )
    sys.exit(0)
