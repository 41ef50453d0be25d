"""The tiny corpus, its cache (built once, read only) and configurations."""

import pytest
from tiny_corpus import config_for, write_corpus

from bgb.corpora import find_corpus
from bgb.data.build import build_cache
from bgb.data.cache import open_cache


@pytest.fixture(scope="session")
def corpus_root(tmp_path_factory):
    root = tmp_path_factory.mktemp("corpus")
    write_corpus(root)
    return root


@pytest.fixture
def config(corpus_root, tmp_path):
    """The tiny corpus with an empty cache root of its own."""
    return config_for(corpus_root, tmp_path / "cache")


@pytest.fixture(scope="session")
def built_config(corpus_root, tmp_path_factory):
    """The tiny corpus with its cache built; not to be changed."""
    config = config_for(corpus_root, tmp_path_factory.mktemp("cache"))
    build_cache(config, find_corpus(config))
    return config


@pytest.fixture(scope="session")
def cache(built_config):
    from bgb.data.key import cache_folder

    return open_cache(cache_folder(built_config))
