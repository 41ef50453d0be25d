"""The life of a sweep, with a stand-in for Modal: killed, continued, changed, failed, left."""

import logging
from dataclasses import replace

import pytest
from aiohttp import ClientPayloadError
from hydra.core.utils import JobStatus

from bgb.config.infra import InfraConfig
from bgb.errors import InfraError
from bgb.infra import launch, recall
from bgb.infra.ledger import Ledger
from bgb.infra.payload import Done, Failure
from bgb.infra.watch import Sent
from tests.infra.cloud import Killed

INFRA = InfraConfig(poll_s=0.001)
JOBS = [["x=1"], ["x=2"]]


def values(returns):
    return [one.return_value for one in returns]


def records(tmp_path):
    return Ledger(tmp_path / "sweep").records


def test_jobs_return_what_they_computed_and_their_files_are_here(cloud, program, tmp_path):
    returns = program().launch(JOBS, 0)
    assert values(returns) == [1, 4]
    assert [one.overrides for one in returns] == JOBS
    assert returns[1].cfg == {"x": 2, "lr": 1.0, "root": "here"}
    assert returns[1].hydra_cfg.hydra.job.num == 1
    assert returns[1].working_dir == str(tmp_path / "sweep" / "1")
    assert (tmp_path / "sweep" / "1" / "log").read_text() == "2"
    config = cloud.calls["fc-1"][1]
    assert config.hydra.sweep.dir.startswith("/results/sweeps/")


def test_finished_sweep_is_read_from_the_ledger_without_modal(cloud, program):
    program().launch(JOBS, 0)
    again = program().launch(JOBS, 0)
    assert values(again) == [1, 4]
    assert (cloud.deployed, cloud.sent()) == (1, [1, 2])


def test_lost_result_is_asked_for_again_without_sending_the_job(cloud, program, tmp_path):
    program().launch(JOBS, 0)
    (tmp_path / "sweep" / ".modal" / "results" / "0.pkl").unlink()
    assert values(program().launch(JOBS, 0)) == [1, 4]
    assert cloud.sent() == [1, 2]


def test_more_jobs_are_sent_on_top_of_finished_ones(cloud, program):
    program().launch(JOBS, 0)
    assert values(program().launch([*JOBS, ["x=3"]], 0)) == [1, 4, 9]
    assert cloud.sent() == [1, 2, 3]


def test_changed_configuration_is_refused_and_the_key_is_named(cloud, program):
    program().launch(JOBS, 0)
    expected = r"job 1 of .*: lr differ \(overrides then: x=2; now: x=2 lr=2\).*hydra\.sweep\.dir="
    with pytest.raises(InfraError, match=expected):
        program().launch([["x=1"], ["x=2", "lr=2"]], 0)
    assert cloud.sent() == [1, 2]


def test_another_machine_or_more_dollars_are_no_change(cloud, program):
    program().launch(JOBS, 0)
    infra = replace(INFRA, gpu="L4", max_cost_usd=500.0)
    assert values(program(infra=infra).launch(JOBS, 0)) == [1, 4]


def test_changed_code_warns_and_names_the_jobs(cloud, program, monkeypatch, caplog):
    program().launch(JOBS, 0)
    monkeypatch.setattr(recall, "code_digest", lambda *_: "changed")
    program().launch([*JOBS, ["x=3"]], 0)
    assert "jobs 0, 1 were sent with other code than there is now" in caplog.text


def test_failed_job_is_shown_at_once_and_the_others_go_on(cloud, program, tmp_path, caplog):
    cloud.replies[1] = Failure("task", "ValueError: bad", "Traceback: line 7", ValueError("bad"))
    first, second = program().launch(JOBS, 0)
    assert second.return_value == 4
    assert first.status is JobStatus.FAILED
    with pytest.raises(ValueError, match="bad"):
        _ = first.return_value
    shown = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "job 0 (x=1) failed: ValueError: bad\nTraceback: line 7" in shown[0].getMessage()
    assert (records(tmp_path)[0].state, records(tmp_path)[0].kind) == ("failed", "task")
    assert (tmp_path / "sweep" / "0" / "log").exists()


def test_failure_without_a_traceback_shows_the_end_of_the_log(cloud, program, caplog):
    cloud.replies[1] = Failure("attempts", "started 10 times", attempts=10)
    program().launch(JOBS[:1], 0)
    assert "started 10 times\nlast lines of its container:\nkilled: out of memory" in caplog.text


def test_repeated_command_sends_only_what_failed(cloud, program):
    cloud.replies[1] = Failure("task", "bad")
    program().launch(JOBS, 0)
    cloud.replies.clear()
    assert values(program().launch(JOBS, 0)) == [1, 4]
    assert cloud.sent() == [1, 2, 1]


def test_fail_fast_cancels_the_others(cloud, program, tmp_path):
    cloud.replies[1] = Failure("task", "bad")
    cloud.hold = {2}
    infra = replace(INFRA, fail_fast=1)
    returns = program(infra=infra).launch(JOBS, 0)
    with pytest.raises(InfraError, match=r"job 1 was cancelled: 1 failed, infra\.fail_fast=1"):
        _ = returns[1].return_value
    assert cloud.cancelled == ["fc-1"]
    assert records(tmp_path)[1].state == "cancelled"
    cloud.hold.clear()
    cloud.replies.clear()
    assert values(program().launch(JOBS, 0)) == [1, 4]


def test_container_that_cannot_begin_ends_the_sweep(cloud, program, caplog):
    cloud.replies[1] = Failure("init", "torch 2.13 is locked, 2.12 is installed")
    cloud.hold = {2}
    with pytest.raises(InfraError, match="job 0 could not begin, nor can any other: torch"):
        program().launch(JOBS, 0)
    launch.close()
    assert (cloud.cancelled, cloud.stopped) == (["fc-1"], 1)
    assert "jobs go on; to see them again" not in caplog.text


@pytest.mark.parametrize("kind", ["machine", "storage"])
def test_bad_machine_or_full_volume_fails_one_job_and_the_others_go_on(cloud, program, kind):
    cloud.replies[1] = Failure(kind, "lost")
    first, second = program().launch(JOBS, 0)
    assert (first.status, second.return_value) == (JobStatus.FAILED, 4)
    cloud.replies.clear()
    assert values(program().launch(JOBS, 0)) == [1, 4]
    assert cloud.sent() == [1, 2, 1]


def test_bad_machine_before_any_container_worked_ends_the_sweep(cloud, program):
    cloud.replies[1] = Failure("machine", "nvidia-smi finds no GPU")
    cloud.hold, cloud.late_report = {2}, {"call_id": "of another sweep"}
    cloud.kill_at = 200  # rather than to wait for ever
    with pytest.raises(InfraError, match="job 0 could not begin, nor can any other: nvidia-smi"):
        program().launch(JOBS, 0)
    assert cloud.cancelled == ["fc-1"]


@pytest.mark.parametrize(
    "kind, hours", [("cancelled", 2.0), ("machine", 2.0), ("expired", 2.0), ("timeout", 8.25)]
)
def test_call_that_modal_ended_costs_what_its_worker_reported(
    cloud, program, tmp_path, kind, hours
):
    """What hung until Modal's limit took at least that, whatever it reported."""
    cloud.replies[1] = Failure(kind, "ended")
    cloud.late_report = {"call_id": "fc-0", "state": "preempted", "seconds": 7200.0, "attempt": 3}
    program().launch(JOBS[:1], 0)
    record = records(tmp_path)[0]
    assert (record.seconds, record.attempts) == (hours * 3600, 3)
    assert record.usd == pytest.approx(hours * 0.1584, rel=0.01)


def test_ctrl_c_leaves_jobs_running_and_says_how_to_go_on(
    cloud, program, tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr(launch, "_DOUBLE_CTRL_C_S", 0.01)
    monkeypatch.setattr("sys.orig_argv", ["python", "app.py", "-m", "x=1,2", "hydra.sweep.dir=old"])
    cloud.hold, cloud.ctrl_c_at = {1, 2}, (3,)
    with pytest.raises(SystemExit) as stop:
        program().launch(JOBS, 0)
    launch.close()
    assert stop.value.code == 130
    assert (cloud.cancelled, cloud.stopped) == ([], 0)
    assert f"-m x=1,2 hydra.sweep.dir={tmp_path / 'sweep'}" in caplog.text
    cloud.hold = set()
    assert values(program().launch(JOBS, 0)) == [1, 4]
    assert cloud.sent() == [1, 2]


def test_ctrl_c_twice_cancels_every_job_and_stops_the_app(cloud, program, tmp_path):
    cloud.hold, cloud.ctrl_c_at = {1, 2}, (3, 4)
    with pytest.raises(SystemExit):
        program().launch(JOBS, 0)
    assert (cloud.cancelled, cloud.stopped) == (["fc-0", "fc-1"], 1)
    assert {record.state for record in records(tmp_path).values()} == {"cancelled"}
    cloud.hold = set()
    assert values(program().launch(JOBS, 0)) == [1, 4]
    assert cloud.sent() == [1, 2, 1, 2]


def test_app_is_stopped_after_the_last_batch_only(cloud, program):
    sweep = program()
    assert values(sweep.launch(JOBS, 0)) + values(sweep.launch([["x=3"]], 2)) == [1, 4, 9]
    assert (cloud.deployed, cloud.stopped) == (1, 0)
    launch.close()
    assert cloud.stopped == 1


def test_app_that_cannot_be_stopped_is_named(cloud, program, monkeypatch, caplog):
    sweep = program()
    sweep.launch(JOBS, 0)

    def unreachable():
        raise InfraError("no network")

    monkeypatch.setattr(sweep._session, "stop", unreachable)
    launch.close()
    assert "`modal app stop bgb-0` removes it" in caplog.text


@pytest.mark.parametrize("kept", [Done(1, seconds=5.0), None], ids=["on the Volume", "nowhere"])
def test_result_that_modal_no_longer_keeps_is_read_from_the_volume(cloud, program, tmp_path, kept):
    cloud.hold, cloud.kill_at = {1, 2}, 16  # killed while it watched
    with pytest.raises(Killed):
        program().launch(JOBS, 0)
    cloud.kill_at, cloud.hold = None, set()
    cloud.gone = {"fc-0"}
    if kept:
        cloud.results["0"] = kept
    assert values(program().launch(JOBS, 0)) == [1, 4]
    assert cloud.sent() == ([1, 2] if kept else [1, 2, 1])
    assert (records(tmp_path)[0].earlier_usd > 0) == (kept is None)  # of the call that is lost


@pytest.mark.parametrize("error", [ConnectionError, ClientPayloadError])
def test_files_that_could_not_be_fetched_are_fetched_next_time(
    cloud, program, tmp_path, caplog, error
):
    cloud.volume.broken = error("no network")
    assert values(program().launch(JOBS[:1], 0)) == [1]
    assert values(program().launch(JOBS[:1], 0)) == [1]
    assert caplog.text.count("files of job 0 were not fetched (no network)") == 2
    assert not (tmp_path / "sweep" / "0" / "log").exists()
    cloud.volume.broken = None
    program().launch(JOBS[:1], 0)
    assert (tmp_path / "sweep" / "0" / "log").exists()
    assert records(tmp_path)[0].synced


def test_state_of_a_job_follows_what_its_worker_reports(cloud, program):
    sent = Sent(*_job(program))
    seen = [sent.row().state_text]
    for report in (
        {"state": "running"},
        {"state": "preempted"},
        {"state": "running", "attempt": 2},
    ):
        sent.progress = report
        seen.append(sent.row().state_text)
    sent.reply = Done(1, attempts=2, seconds=7200.0)
    seen.append(sent.row().state_text)
    assert seen == ["queued", "running", "preempted", "running (attempt 2)", "done (attempt 2)"]
    assert sent.row().usd == pytest.approx(1.0)


def test_report_of_an_earlier_call_is_not_this_job(cloud, program, caplog):
    caplog.set_level(logging.INFO)
    cloud.replies[1] = Failure("task", "bad")
    program().launch(JOBS[:1], 0)
    cloud.replies.clear()
    cloud.late_report = {"call_id": "fc-0", "state": "preempted"}
    caplog.clear()
    program().launch(JOBS[:1], 0)
    assert "job 0 (x=1): queued" in caplog.text
    assert "preempted" not in caplog.text


def _job(program):
    sweep = program()
    jobs = launch.compose_jobs(sweep._context, sweep._config, overrides=JOBS[:1], first=0)
    ticket = recall.Ticket("0", "/results/sweeps/s/sweep/0", "s", 3, 8.0, 0.5, "table", "f")
    return jobs[0], ticket
