"""Filling a cache on the Volume: planned, shared out and resumed, without a container.

What only containers show is in test_cache_modal.py.
"""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

import bgb.infra.cache_build as build_module
from bgb import job
from bgb.config.infra import CacheWorkersConfig, InfraConfig, VolumeConfig
from bgb.corpora import find_corpus
from bgb.data.build import build_cache
from bgb.data.cache import open_cache
from bgb.data.key import cache_folder
from bgb.errors import CacheError, CorpusError, InfraError
from bgb.infra.cache_build import fill_cache
from bgb.infra.cache_jobs import CachePlan, ShareReport, split_work
from bgb.infra.payload import Done, Failure
from bgb.infra.prices import TABLE
from tests.data.tiny_corpus import RECORDINGS, config_for, write_corpus, write_edf
from tests.infra.local_session import LocalSession


@pytest.fixture(autouse=True)
def dated_prices(monkeypatch):
    monkeypatch.setattr(build_module, "load_rates", lambda: TABLE)


@pytest.fixture
def infra(tmp_path):
    return InfraConfig(
        volume=VolumeConfig(mount=str(tmp_path / "volume")),
        cache=CacheWorkersConfig(containers=20),
        poll_s=0.001,
    )


@pytest.fixture
def session(infra):
    return LocalSession(infra)


@pytest.fixture
def data(tmp_path):
    """The tiny corpus, and a cache on the Volume that is still empty."""
    write_corpus(tmp_path / "edf")
    return config_for(tmp_path / "edf", tmp_path / "volume" / "cache")


@pytest.fixture
def many_shares(monkeypatch):
    """So little work is worth a container that every recording gets one."""
    monkeypatch.setattr(build_module, "_BYTES_A_CONTAINER", 1)


def fill(session, data, **options):
    return fill_cache(session, data, progress=False, **options)


def test_empty_cache_is_planned_built_and_finished(session, data, caplog):
    caplog.set_level("INFO")
    cache = fill(session, data)
    assert session.names() == ["plan_cache", "build_share", "finish_cache"]
    assert sorted(one.recording_id for one in cache) == sorted(RECORDINGS)
    assert len(open_cache(cache_folder(data))) == len(RECORDINGS)
    assert "2 jobs x at most 8.25 h" in caplog.text  # what it costs is said before
    assert "seizure s" in caplog.text  # and what was checked, after


def test_bytes_are_those_of_a_cache_built_here(session, data, tmp_path):
    fill(session, data)
    local = replace(data, cache_root=str(tmp_path / "local"))
    folder = build_cache(local, find_corpus(local), progress=False).folder
    for path in folder.glob("*/*.npz"):
        other = cache_folder(data) / path.relative_to(folder)
        assert other.read_bytes() == path.read_bytes()


def test_nothing_is_left_on_the_volume_but_the_cache(session, data):
    fill(session, data)
    files = [path for path in cache_folder(data).rglob("*") if path.is_file()]
    assert sum(path.suffix == ".npz" for path in files) == len(RECORDINGS)
    others = {path.name for path in files if path.suffix != ".npz"} - {"manifest.lock"}
    assert "manifest.json" in others and len(others) == 2  # and the snapshot


def test_complete_cache_starts_no_container(session, data):
    fill(session, data)
    later = LocalSession(session.infra, "later")
    shutil.rmtree(data.root)
    assert len(fill(later, data)) == len(RECORDINGS)
    assert later.calls == []


def test_complete_cache_is_compared_with_its_source_when_asked(session, data):
    fill(session, data)
    later = LocalSession(session.infra, "later")
    fill(later, data, check_source=True)
    assert later.names() == ["plan_cache"]
    write_corpus(Path(data.root) / "more")
    shutil.rmtree(data.root)
    with pytest.raises(CorpusError, match="does not exist"):
        fill(later, data, check_source=True)


def test_other_selection_of_the_same_cache_needs_one_container_only(session, data):
    fill(session, data)
    later = LocalSession(session.infra, "later")
    assert len(fill(later, replace(data, limit=1))) == 3
    assert later.names() == ["plan_cache"]


def test_every_recording_is_in_exactly_one_share(session, data, many_shares):
    fill(session, data)
    shares = [args[1] for function, args in session.calls if function.__name__ == "build_share"]
    names = [one.recording_id for share in shares for one in share.recordings]
    assert len(shares) == 5
    assert sorted(names) == sorted(RECORDINGS)


def test_volume_of_version_1_has_five_writers_at_most(session, data):
    plan = CachePlan(None, (), (10 << 30,))
    new = InfraConfig(volume=VolumeConfig(version=2), cache=CacheWorkersConfig(containers=20))
    for infra, expected in [(session.infra, 5), (new, 20)]:
        session.infra = infra
        assert build_module._Build(session, data, TABLE, False)._num_shares(plan) == expected


def test_shares_are_even_in_bytes():
    recordings = tuple(
        SimpleNamespace(recording_id=str(number), edf=str(number)) for number in range(7)
    )
    shares = split_work(CachePlan(None, recordings, (9, 7, 6, 5, 5, 2, 2)), 3)
    assert [share.num_bytes for share in shares] == [13, 12, 11]


def test_killed_build_goes_on_with_what_lacks(session, data, many_shares):
    session.replies["call-2"] = Failure("attempts", "10 attempts ended without a result")
    with pytest.raises(InfraError, match=r"10 attempts ended .*what was built is kept") as caught:
        fill(session, data)
    assert "infra.cache.memory_gib" in str(caught.value)
    built = {path: path.stat().st_mtime_ns for path in cache_folder(data).glob("*/*.npz")}
    assert len(built) == len(RECORDINGS) - 1
    later = LocalSession(session.infra, "later")
    fill(later, data)
    (share,) = [args[1] for function, args in later.calls if function.__name__ == "build_share"]
    assert len(share.recordings) == 1
    assert (
        built.items()
        <= {path: path.stat().st_mtime_ns for path in cache_folder(data).glob("*/*.npz")}.items()
    )


def test_restarted_share_builds_only_what_lacks(session, data):
    fill(session, data)
    function, args = session.calls[1]
    (cache_folder(data) / "dev" / "aaaaaaac_s001_t000.npz").unlink()
    assert function(*args) == ShareReport(("aaaaaaac_s001_t000",), {})


def test_share_says_how_far_it_is_and_publishes_at_the_end(session, data):
    told = []

    class Told(job.Job):
        def progress(self, **values):
            told.append(values)

        def publish(self):
            told.append("published")

    fill(session, data)
    function, args = session.calls[1]
    shutil.rmtree(cache_folder(data) / "train")
    job.set_current(Told())
    try:
        function(*args)
    finally:
        job.set_current(job.Job())
    assert told[-2:] == [{"done_bytes": args[1].num_bytes, "done_files": 5}, "published"]
    assert [values["done_files"] for values in told[:-1]] == [3, 4, 5]


def test_progress_of_all_containers_is_one(session, data, many_shares, monkeypatch, caplog):
    caplog.set_level("INFO")
    monkeypatch.setattr("bgb.data.progress._LINE_EVERY_S", 0)
    half = {"state": "running", "done_bytes": 30_000, "done_files": 1}

    def progress():
        shares = [ticket.name for ticket in session.tickets if "share" in ticket.name]
        return {shares[0]: half, shares[3]: half} if len(shares) == 5 else {}

    session.progress = progress
    fill(session, data)
    assert "cache: 2 of 5 files, " in caplog.text
    total = sum(path.stat().st_size for path in Path(data.root).rglob("*.edf"))
    assert f"{100 * 60_000 / total:.0f} %" in caplog.text


def test_failing_recordings_are_all_named_and_no_job_starts(session, data, many_shares):
    (Path(data.root) / "train" / "aaaaaaab_s001_t000.edf").write_bytes(b"not an EDF")
    lacking = ("Fp1", "Fp2", "Fz", "Cz", "Pz")
    write_edf(Path(data.root) / "train" / "aaaaaaaa_s001_t001.edf", 12.5, missing=lacking)
    with pytest.raises(CacheError, match=r"2 recordings could not be cached \(3 others") as caught:
        fill(session, data)
    assert "'data.exclude=[aaaaaaaa_s001_t001,aaaaaaab_s001_t000]'" in str(caught.value)
    assert "finish_cache" not in session.names()
    mended = replace(data, exclude=["aaaaaaaa_s001_t001", "aaaaaaab_s001_t000"])
    later = LocalSession(session.infra, "later")
    assert len(fill(later, mended)) == 3
    assert later.names() == ["plan_cache"]


def test_container_that_cannot_start_cancels_the_others(session, data, many_shares):
    session.replies["call-1"] = Failure("init", "No module named 'edfio'")
    session.pending.update({"call-2": 99, "call-3": 99, "call-4": 99, "call-5": 99})
    with pytest.raises(InfraError, match="No module named 'edfio'"):
        fill(session, data)
    assert sorted(session.cancelled) == ["call-2", "call-3", "call-4", "call-5"]


def test_recording_that_vanished_from_the_volume_is_built_again(session, data):
    fill(session, data)
    (cache_folder(data) / "dev" / "aaaaaaac_s001_t000.npz").unlink()
    later = LocalSession(session.infra, "later")
    assert len(fill(later, data)) == len(RECORDINGS)
    assert later.names() == ["plan_cache", "build_share", "finish_cache"]


def test_other_tree_of_the_same_names_is_refused(session, data, tmp_path):
    fill(session, data)
    write_corpus(tmp_path / "other")
    write_edf(tmp_path / "other" / "dev" / "aaaaaaac_s001_t000.edf", 20.5, seed=99)
    with pytest.raises(CacheError, match="were made of other EDF or label files"):
        fill(session, replace(data, root=str(tmp_path / "other")))


def test_force_builds_all_of_it_again(session, data):
    fill(session, data)
    before = {path.stat().st_mtime_ns for path in cache_folder(data).glob("*/*.npz")}
    fill(LocalSession(session.infra, "later"), data, force=True)
    after = {path.stat().st_mtime_ns for path in cache_folder(data).glob("*/*.npz")}
    assert len(after) == len(RECORDINGS) and not before & after


def test_forced_build_that_is_killed_goes_on_with_what_lacks(session, data):
    fill(session, data)
    later = LocalSession(session.infra, "later")
    fill(later, data, force=True)
    function, args = later.calls[1]
    again = cache_folder(data) / "dev" / "aaaaaaac_s001_t000.npz"
    os.utime(again, (1, 1))  # of the cache that was to be replaced
    assert function(*args) == ShareReport(("aaaaaaac_s001_t000",), {})


def test_cache_that_is_not_on_the_volume_is_refused_before_anything_starts(session, data):
    elsewhere = replace(data, cache_root="/tmp/cache")
    with pytest.raises(InfraError, match=r"data.cache_root=/tmp/cache is not on the Volume"):
        fill(session, elsewhere)
    assert session.calls == []


def test_cache_without_seizures_starts_no_job(session, data):
    spare = replace(data, exclude=["aaaaaaaa_s001_t000", "aaaaaaab_s001_t000"])
    with pytest.raises(CacheError, match="split train has no seizure in 1 recordings"):
        fill(session, spare)
    later = LocalSession(session.infra, "later")
    with pytest.raises(CacheError, match="split train has no seizure"):
        fill(later, spare)
    assert later.calls == []


def test_containers_of_an_earlier_command_are_waited_for(session, data, caplog):
    caplog.set_level("INFO")
    records = cache_folder(data) / "builders"
    records.mkdir(parents=True)
    (records / "one.json").write_text(json.dumps(["old-0"]))
    (records / "two.json").write_text(json.dumps(["old-1", "old-2"]))
    session.replies |= {"old-1": Done(None), "old-2": Failure("cancelled", "cancelled")}
    session.pending["old-2"] = 3
    fill(session, data)
    assert "1 containers of another command still build this cache" in caplog.text
    assert session.pending["old-2"] == 0
    assert list(records.iterdir()) == []


def test_two_commands_at_once_keep_their_calls_apart(session, data, many_shares):
    """Each call is on record before the next is sent: a killed command is waited for."""
    records = cache_folder(data) / "builders"
    seen, submit = [], session.submit

    def submit_and_see(function, *args, **options):
        (records / "other.json").parent.mkdir(parents=True, exist_ok=True)
        (records / "other.json").write_text(json.dumps(["other-0"]))
        own = [json.loads(path.read_text()) for path in records.glob("[!o]*.json")]
        seen.append((function.__name__, own))
        return submit(function, *args, **options)

    session.submit = submit_and_see
    fill(session, data)
    assert seen[:4] == [
        ("plan_cache", []),
        ("build_share", [["call-0"]]),
        ("build_share", [["call-1"]]),
        ("build_share", [["call-1", "call-2"]]),
    ]
    assert [path.name for path in records.iterdir()] == ["other.json"]


def test_what_costs_too_much_is_refused_before_it_is_built(session, data):
    session.infra = replace(session.infra, max_cost_usd=1.5)  # $1.31 each
    with pytest.raises(InfraError, match=r"2 jobs x .* infra.max_cost_usd=1.5"):
        fill(session, data)
    assert session.names() == ["plan_cache"]


def test_what_jobs_may_cost_and_cache_together_must_fit(session, data):
    session.promised_usd = 99.0
    with pytest.raises(InfraError, match=r"and \$99\.00 for jobs and what was spent, are"):
        fill(session, data)
    assert session.calls == []


def test_containers_that_build_are_paid(session, data):
    hour = ShareReport((), {}), 1, 3600.0
    session.replies["call-1"] = Done(*hour)
    with pytest.raises(CacheError):  # nothing was built
        fill(session, data)
    assert session.spent_usd == pytest.approx(0.1584, rel=0.01)


def test_tickets_are_never_used_twice(session, data):
    fill(session, data)
    fill(session, data, force=True)
    for values in ({one.name for one in session.tickets}, {one.job_dir for one in session.tickets}):
        assert len(values) == len(session.calls) == 6
