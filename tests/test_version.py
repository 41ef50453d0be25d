"""The version of bgb stands in bgb/__init__.py alone and is known where bgb is not installed."""

import re
from importlib.metadata import Distribution, PackageNotFoundError, version
from pathlib import Path

import pytest
from hatchling.metadata.core import ProjectMetadata
from hatchling.plugin.manager import PluginManager

import bgb
from bgb.training import provenance

ROOT = Path(__file__).parents[1]


@pytest.fixture
def source_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Packages are as in a container: bgb is there as source, without metadata."""
    find = Distribution.from_name

    def find_others(name: str) -> Distribution:
        if name == "bgb":
            raise PackageNotFoundError(name)
        return find(name)

    monkeypatch.setattr(Distribution, "from_name", find_others)


def test_version_of_the_wheel_and_of_the_citation_is_that_of_the_source() -> None:
    assert ProjectMetadata(str(ROOT), PluginManager()).version == bgb.__version__
    citation = (ROOT / "CITATION.cff").read_text()
    assert f"\nversion: {bgb.__version__}\n" in citation


def test_provenance_names_the_version_of_bgb_without_its_metadata(source_only: None) -> None:
    with pytest.raises(PackageNotFoundError):
        version("bgb")
    assert provenance._versions()["bgb"] == bgb.__version__


def test_no_module_asks_for_the_metadata_of_bgb() -> None:
    asking = re.compile(r"""\b(version|distribution|metadata|requires|files)\(["']bgb["']\)""")
    modules = [*ROOT.glob("bgb/**/*.py"), *ROOT.glob("hydra_plugins/**/*.py")]
    assert len(modules) > 50
    assert not [str(path) for path in modules if asking.search(path.read_text())]
