"""The tiny corpus, cached; every test here is skipped without a CUDA device."""

import pytest
import torch

from bgb.corpora import find_corpus
from bgb.data.build import build_cache
from tests.data.tiny_corpus import config_for, write_corpus


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.parent.name == "gpu":
            item.add_marker(pytest.mark.gpu)
            if not torch.cuda.is_available():
                item.add_marker(pytest.mark.skip(reason="no CUDA device here"))


@pytest.fixture(scope="session")
def gpu_config(tmp_path_factory):
    """The tiny corpus with its cache built; not to be changed."""
    root = tmp_path_factory.mktemp("corpus")
    write_corpus(root)
    config = config_for(root, tmp_path_factory.mktemp("cache"))
    build_cache(config, find_corpus(config))
    return config
