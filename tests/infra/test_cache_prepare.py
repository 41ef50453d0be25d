"""What happens before the first job of a sweep: each distinct cache is filled, once."""

import shutil

import hydra
import pytest

import bgb.infra.cache_build as build_module
from bgb.config.compose import config_dir, register, to_frozen
from bgb.config.infra import InfraConfig, VolumeConfig
from bgb.config.schema import TrainConfig
from bgb.data.module import EegDataModule
from bgb.errors import CacheError, ConfigError
from bgb.infra.cache_build import prepare_caches
from bgb.infra.prices import TABLE
from tests.data.tiny_corpus import RECORDINGS, write_corpus
from tests.infra.local_session import LocalSession


@pytest.fixture
def session(tmp_path, monkeypatch):
    monkeypatch.setattr(build_module, "load_rates", lambda: TABLE)
    return LocalSession(InfraConfig(volume=VolumeConfig(mount=str(tmp_path / "volume"))))


@pytest.fixture
def edf(tmp_path):
    write_corpus(tmp_path / "edf")
    return tmp_path / "edf"


def compose_job(edf, *overrides):
    register()
    with hydra.initialize_config_dir(str(config_dir()), version_base="1.3"):
        cache = edf.parent / "volume" / "cache"
        values = [f"data.root={edf}", f"data.cache_root={cache}", "data=tusz"]
        return hydra.compose("train", [*values, "data.workers=1", *overrides])


def test_sweep_fills_each_distinct_cache_once_and_its_jobs_need_no_source(session, edf):
    jobs = [
        compose_job(edf, "seed=0"),
        compose_job(edf, "seed=1", "data.batch_size=4"),
        compose_job(edf, "data.preprocess.notch_hz=50"),
    ]
    prepare_caches(session, jobs, progress=False)
    assert session.names() == ["plan_cache", "build_share", "finish_cache"] * 2
    assert [one.data.check_source for one in jobs] == [False] * 3
    shutil.rmtree(edf)
    for one in jobs:
        config = to_frozen(one, TrainConfig).data
        assert len(EegDataModule(config, label_rate_hz=1, seed=0).cache) == len(RECORDINGS)


def test_wrong_job_ends_the_sweep_before_a_cache_is_built(session, edf):
    jobs = [compose_job(edf), compose_job(edf, "data.window_s=1")]
    with pytest.raises(ConfigError, match=r"data\.window_s=1 is shorter"):
        prepare_caches(session, jobs, progress=False)
    assert session.calls == []
    assert jobs[0].data.check_source


def test_job_without_sources_is_refused_where_its_cache_is_incomplete(session, edf):
    jobs = [compose_job(edf, "data.check_source=false")]
    with pytest.raises(CacheError, match=r"data.check_source=false, but the cache of tusz .*lacks"):
        prepare_caches(session, jobs, progress=False)
    assert session.calls == []
    prepare_caches(session, [compose_job(edf)], progress=False)
    prepare_caches(session, jobs, progress=False)
