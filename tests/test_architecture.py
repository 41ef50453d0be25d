"""The dependency arrows of bgb, and what may not be imported before a configuration is good.

commands -> training, evaluation, infra -> data, detectors -> corpora -> eeg -> config, errors
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "bgb"
COMMANDS = {"__main__", "train", "evaluate", "cache", "detect", "export", "plan", "runs", "storage"}
LOWEST = {"files", "locks", "job", "checkout", "redact", "startup"}  # any part may import these
# What each part may import; a part may always import itself.
ALLOWED = {
    "errors": set(),
    "files": {"errors"},
    "locks": set(),
    "job": {"errors"},
    "startup": set(),
    "terminal": set(),
    "checkout": {"redact"},
    "redact": set(),
    "config": {"errors"},
    "eeg": {"config", "errors"},
    "corpora": {"eeg", "config", "errors"},
    "data": {"corpora", "eeg", "config", "errors"},
    "detectors": {"eeg", "config", "errors"},
    "evaluation": {"data", "detectors", "corpora", "eeg", "config", "errors"},
    "infra": {"data", "corpora", "eeg", "config", "errors"},
    "training": {"evaluation", "data", "detectors", "corpora", "eeg", "config", "errors"},
}
MODULES = sorted(PACKAGE.rglob("*.py"))


def part_of(module: Path) -> str:
    return module.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(module: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_module_imports_only_what_lies_below_it(module: Path) -> None:
    part = part_of(module)
    if part in COMMANDS or part == "__init__":
        return
    used = {name.split(".")[1] for name in imports(module) if name.startswith("bgb.")}
    forbidden = used - ALLOWED[part] - {part, *LOWEST}
    assert not forbidden, f"{module.relative_to(PACKAGE)} imports {sorted(forbidden)}"


def test_every_part_of_the_package_is_in_the_arrows() -> None:
    parts = {part_of(module) for module in MODULES}
    assert parts == set(ALLOWED) | COMMANDS | {"__init__"}


@pytest.mark.parametrize("module", [f"bgb.{name}" for name in sorted(COMMANDS - {"__main__"})])
def test_command_imports_nothing_heavy_before_the_configuration_is_good(module: str) -> None:
    heavy = "torch pytorch_lightning modal wandb pyedflib scipy sklearn matplotlib tensorboard"
    code = f"import sys, {module}; print(sorted(set({heavy.split()}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
