"""Stand-ins for packages that a peer imports but does not need to read windows."""

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType


class _Stub(ModuleType):
    """A module in which every name is an empty class."""

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


class _Finder:
    def __init__(self, package: str) -> None:
        self.package = package

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name.partition(".")[0] != self.package:
            return None
        return ModuleSpec(name, self, is_package=True)  # type: ignore[arg-type]  # has the methods

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Stub(spec.name)

    def exec_module(self, module: ModuleType) -> None: ...


def stub_broken(packages: Sequence[str]) -> list[str]:
    """Put a stub in the place of those of `packages` that cannot be imported; return them."""
    broken = []
    for package in packages:
        try:
            import_module(package)
        except (ImportError, OSError):  # OSError: a library of CUDA is missing
            for name in [name for name in sys.modules if name.partition(".")[0] == package]:
                del sys.modules[name]
            sys.meta_path.insert(0, _Finder(package))  # type: ignore[arg-type]
            broken.append(package)
    return broken
