"""What the launcher checks and prepares before it sends a job, with a stand-in for Modal."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from omegaconf import OmegaConf

from bgb.config.infra import InfraConfig
from bgb.errors import ConfigError, InfraError
from bgb.infra import launch
from bgb.infra.hydra_job import compose_jobs, remote_config
from bgb.infra.payload import Done, Failure
from bgb.locks import hold
from tests.infra.cloud import Killed

INFRA = InfraConfig(poll_s=0.001)
JOBS = [["x=1"], ["x=2"]]


def task(config):
    raise AssertionError("runs in containers only")


def values(returns):
    return [one.return_value for one in returns]


@pytest.mark.parametrize(
    "override, message",
    [
        ("hydra.sweep.subdir=same", "jobs 0 and 1 would both write to hydra.sweep.subdir=same"),
        ("hydra.sweep.subdir=../out", "must be a folder below hydra.sweep.dir"),
        ("hydra.sweep.subdir=.modal", "must be a folder below hydra.sweep.dir"),
        ("hydra.job.env_copy=[HOME]", r"env_copy=\['HOME'\] would send values of this environment"),
    ],
)
def test_what_cannot_be_sent_is_refused_before_anything_is(cloud, program, override, message):
    with pytest.raises(InfraError, match=message):
        program(override).launch(JOBS, 0)
    assert cloud.deployed == 0


def test_price_above_the_limit_is_refused_before_anything_is_sent(cloud, program):
    infra = replace(INFRA, gpu="H100", max_cost_usd=10.0)
    with pytest.raises(InfraError, match=r"2 jobs x at most 8\.25 h x .* infra\.max_cost_usd=10"):
        program(infra=infra).launch(JOBS, 0)
    assert (cloud.deployed, cloud.sent()) == (0, [])


def test_what_earlier_batches_cost_counts_against_the_limit(cloud, program):
    # Two jobs of at most 1 h fit into $0.40 ($0.159/h each); two hours are spent on them.
    infra = replace(INFRA, max_hours=1.0, max_cost_usd=0.4)
    cloud.replies = {1: Done(1, seconds=3600.0), 2: Done(4, seconds=3600.0)}
    sweep = program(infra=infra)
    sweep.launch(JOBS, 0)
    with pytest.raises(InfraError, match="that this sweep has spent, are more than"):
        sweep.launch([["x=3"]], 2)
    assert cloud.sent() == [1, 2]


def test_what_a_failed_call_cost_counts_against_the_limit(cloud, program):
    infra = replace(INFRA, max_hours=1.0, max_cost_usd=0.4)
    for _ in range(2):  # $0.159 each
        cloud.replies = {1: Failure("task", "bad", seconds=3600.0)}
        program(infra=infra).launch(JOBS[:1], 0)
    with pytest.raises(InfraError, match=r"and \$0\.31\d that this sweep has spent"):
        program(infra=infra).launch(JOBS[:1], 0)
    assert cloud.sent() == [1, 1]


def killed(cloud, sweep, overrides, *, step):
    """Launch, and die at a step."""
    cloud.steps, cloud.kill_at = 0, step
    with pytest.raises(Killed):
        sweep.launch(overrides, 0)
    cloud.kill_at = None


def test_whoever_returns_to_jobs_that_run_is_not_refused(cloud, program):
    killed(cloud, program(), JOBS, step=16)
    dear = replace(INFRA, max_cost_usd=0.01)
    assert values(program(infra=dear).launch(JOBS, 0)) == [1, 4]
    assert cloud.sent() == [1, 2]


def test_jobs_that_run_count_when_more_are_sent(cloud, program):
    infra = replace(INFRA, max_hours=1.0, max_cost_usd=0.5)  # two jobs of at most $0.198, no third
    cloud.hold = {1, 2}
    killed(cloud, program(infra=infra), JOBS, step=16)
    cloud.kill_at = 200  # rather than to wait for ever
    with pytest.raises(InfraError, match=r"1 job x .* and \$0\.396 for jobs that run, are more"):
        program(infra=infra).launch([*JOBS, ["x=3"]], 0)
    assert cloud.sent() == [1, 2]


def test_what_filling_caches_cost_counts_in_this_sweep_for_good(cloud, program):
    promised = []

    def prepare(session, configs, *, progress):
        promised.append(session.promised_usd)
        session.spent_usd += 0.1
        raise InfraError("2 recordings cannot be read")

    task = SimpleNamespace(prepare=prepare)
    infra = replace(INFRA, max_hours=1.0, max_cost_usd=0.35)
    for _ in range(2):
        with pytest.raises(InfraError, match="2 recordings"):
            program(infra=infra, function=task).launch(JOBS[:1], 0)
    with pytest.raises(InfraError, match=r"and \$0\.20\d? that this sweep has spent"):
        program(infra=infra, function=task).launch(JOBS[:1], 0)
    assert promised == pytest.approx([0.198, 0.298], rel=0.01)


@pytest.mark.parametrize("is_building", [True, False])
def test_ctrl_c_leaves_containers_that_fill_a_cache(cloud, program, is_building):
    def prepare(session, configs, *, progress):
        if is_building:
            ticket = SimpleNamespace(name="share", job_dir="/results/share")
            session.submit(None, 0, 0, configs[0], ticket=ticket)
        raise KeyboardInterrupt

    with pytest.raises(SystemExit):
        program(function=SimpleNamespace(prepare=prepare)).launch(JOBS, 0)
    launch.close()
    assert cloud.stopped == (0 if is_building else 1)


def test_task_prepares_its_data_before_the_first_job_is_sent(cloud, program):
    seen = []

    def with_data(config):
        raise AssertionError("runs in containers only")

    def prepare(session, configs, *, progress):
        seen.append((cloud.sent(), [OmegaConf.to_container(config) for config in configs]))
        for config in configs:
            config.root = "prepared"

    with_data.prepare = prepare
    program(function=with_data).launch(JOBS, 0)
    program(function=with_data).launch([*JOBS, ["x=3"]], 0)
    assert [(sent, [config["x"] for config in configs]) for sent, configs in seen] == [
        ([], [1, 2]),
        ([1, 2], [3]),
    ]
    assert {config.root for _, config in cloud.calls.values()} == {"prepared"}


def test_nothing_is_sent_where_preparing_fails(cloud, program):
    def with_data(config):
        raise AssertionError("runs in containers only")

    def prepare(session, configs, *, progress):
        raise InfraError("2 recordings cannot be read")

    with_data.prepare = prepare
    with pytest.raises(InfraError, match="2 recordings"):
        program(function=with_data).launch(JOBS, 0)
    assert cloud.sent() == []


def test_ctrl_c_while_data_are_prepared_says_how_to_go_on(cloud, program, caplog):
    def with_data(config):
        raise AssertionError("runs in containers only")

    def prepare(session, configs, *, progress):
        raise KeyboardInterrupt

    with_data.prepare = prepare
    with pytest.raises(SystemExit) as stop:
        program(function=with_data).launch(JOBS, 0)
    assert stop.value.code == 130
    assert "interrupted; to go on: python" in caplog.text


def test_no_value_of_the_configuration_is_in_the_ledger(cloud, program, tmp_path):
    program("root=hunter2").launch(JOBS, 0)
    assert "hunter2" not in (tmp_path / "sweep" / ".modal" / "jobs.jsonl").read_text()


def test_label_is_what_tells_jobs_apart(cloud, program):
    sweep = program()
    words = [["lr=2", "x=1"], ["lr=2", "x=2"]]
    jobs = launch.compose_jobs(sweep._context, sweep._config, overrides=words, first=0)
    assert [job.label for job in jobs] == ["x=1", "x=2"]
    (job,) = launch.compose_jobs(sweep._context, sweep._config, overrides=words[:1], first=0)
    assert job.label == "lr=2 x=1"


def test_plugin_takes_its_keys_from_the_configuration(cloud, configured):
    keys = ["volume.name=mine", "max_hours=2", "poll_s=0.001", "secrets=[a,b]"]
    context, config = configured(
        "hydra/launcher=bgb_modal", *(f"hydra.launcher.{key}" for key in keys)
    )
    launcher = Plugins.instance().instantiate_launcher(
        hydra_context=context, task_function=task, config=config
    )
    assert values(launcher.launch(JOBS, 0)) == [1, 4]
    assert values(launcher.launch([["x=3"]], 2)) == [9]
    assert (cloud.infra.volume.name, cloud.infra.max_hours) == ("mine", 2.0)
    assert (cloud.infra.secrets, cloud.deployed) == (["a", "b"], 1)


@pytest.mark.parametrize(
    "key, message",
    [("gpu=A1000", "infra.gpu=A1000|A1000"), ("cpu=many", "many"), ("volume.version=3", "version")],
)
def test_plugin_refuses_wrong_values_by_name(cloud, configured, key, message):
    context, config = configured("hydra/launcher=bgb_modal", f"hydra.launcher.{key}")
    launcher = Plugins.instance().instantiate_launcher(
        hydra_context=context, task_function=task, config=config
    )
    with pytest.raises(HydraException, match=message):
        launcher.launch(JOBS, 0)


def test_second_launcher_of_the_same_sweep_is_refused(cloud, program, tmp_path):
    lock = tmp_path / "sweep" / ".modal" / "lock"
    with hold(lock, wait=False), pytest.raises(InfraError, match="is being watched by process"):
        program().launch(JOBS, 0)


def test_job_that_cannot_be_sent_ends_the_launcher_and_the_others_go_on(cloud, program, caplog):
    cloud.refused = {2}
    with pytest.raises(InfraError, match="cannot be pickled"):
        program().launch(JOBS, 0)
    assert "jobs go on; to see them again: python" in caplog.text
    assert (cloud.sent(), cloud.cancelled) == ([1], [])
    cloud.refused = set()
    assert values(program().launch(JOBS, 0)) == [1, 4]
    assert cloud.sent() == [1, 2]


def test_job_that_the_program_itself_refuses_ends_the_sweep_before_anything_is_sent(cloud, program):
    def check(config):
        if config.x == 2:
            raise ConfigError(f"x={config.x} must be odd")

    def checked(config):
        raise AssertionError("runs in containers only")

    checked.check = check
    with pytest.raises(ConfigError, match="x=2 must be odd"):
        program(function=checked).launch(JOBS, 0)
    assert (cloud.deployed, cloud.sent()) == (0, [])


def test_job_that_logs_to_the_terminal_alone_logs_into_its_folder_too(configured):
    context, config = configured(
        "hydra.job_logging.root.handlers=[console]", "~hydra.job_logging.handlers.file"
    )
    (job,) = compose_jobs(context, config, overrides=[["x=1"]], first=0)
    sent = remote_config(job, "/results/sweeps/s")
    file = OmegaConf.to_container(sent.hydra.job_logging, resolve=False)["handlers"]["bgb_file"]
    assert file["filename"] == "${hydra.runtime.output_dir}/job.log"
    assert sent.hydra.job_logging.root.handlers == ["console", "bgb_file"]
    context, config = configured()  # Hydra's own writes a file already
    (job,) = compose_jobs(context, config, overrides=[["x=1"]], first=0)
    assert "bgb_file" not in remote_config(job, "/results/s").hydra.job_logging.handlers
