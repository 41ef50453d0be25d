"""Jobs that the tests of app and worker send; they travel by value."""

import os
import signal
import sys
import time
from pathlib import Path

import cloudpickle

from bgb.errors import InfraError
from bgb.infra.app import Session
from bgb.infra.payload import Done, Failure, Ticket
from bgb.job import current

cloudpickle.register_pickle_by_value(sys.modules[__name__])
NAME = "0"  # of the job that `ticket` is for


class OnlyHereError(Exception):
    """An error whose class the other side can read by value only."""

    def __init__(self, one: str, two: str) -> None:  # two: pickle cannot make it again
        super().__init__(one + two)


def ticket(**changes) -> Ticket:
    """A ticket of a job that nothing limits."""
    values = {
        "name": NAME,
        "job_dir": f"/results/sweeps/s/{NAME}",
        "sweep_id": "s",
        "max_attempts": 5,
        "max_hours": 1.0,
        "usd_per_hour": 2.5,
        "rates_source": "test",
        "fingerprint": "f",
    }
    return Ticket(**{**values, **changes})


def wait(session: Session, call_id: str, *, timeout_s: float = 60.0) -> Done | Failure:
    """Return how a call ends."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        reply = session.look(call_id)
        if reply is not None:
            return reply
        time.sleep(0.05)
    raise AssertionError(f"{call_id} has not ended")


def own_folder():
    """Return a folder on the Volume for this very job."""
    folder = Path("/results/jobs") / current().provenance().get("job", "no-ticket")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def add(one, two):
    return one + two


def count_runs():
    """Return how often this was begun, as committed files tell."""
    folder = own_folder()
    (folder / f"run-{time.time_ns()}").touch()
    current().publish()
    return len(list(folder.glob("run-*")))


def fail_after_counting():
    raise ValueError(f"run {count_runs()}")


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def report_then_sleep():
    current().progress(epoch=1, auroc=0.5)
    print("asleep", flush=True)
    sleep_until_restarted()
    return current().attempt


def sleep_until_restarted():
    """Wait for an interrupt in the first attempt; nothing is handled."""
    while current().attempt == 1:
        time.sleep(0.05)


def sleep_for_ever():
    current().progress(epoch=1)
    while True:
        time.sleep(0.05)


def own_a_run_for_ever():
    with current().lease(Path("/results/runs/x")):
        sleep_for_ever()


def exit_when_interrupted():
    """Do what Lightning does: KeyboardInterrupt becomes exit code 1."""
    current().progress(epoch=1)
    try:
        sleep_until_restarted()
    except KeyboardInterrupt:
        sys.exit(1)
    return current().attempt


def checkpoint_when_told():
    """Do what Lightning does at a batch boundary: SIGTERM, checkpoint, exit; then go on."""
    checkpoint = own_folder() / "last.ckpt"
    if checkpoint.exists():
        return checkpoint.read_text()
    told = []
    signal.signal(signal.SIGTERM, lambda signum, frame: told.append(signum))
    current().progress(epoch=1)
    while not told:
        time.sleep(0.02)
    checkpoint.write_text("saved at a batch boundary")
    raise SystemExit(128 + signal.SIGTERM)


def stop_before_the_end():
    """A job that predicts: what it would begin next does not fit into the time left."""
    if current().seconds_left < 3600:
        current().stop_early()
        sleep_for_ever()
    return current().seconds_left


def return_early_when_told():
    """A job that takes SIGTERM for its end and returns as if all were done."""
    if current().attempt > 1:
        return "whole"
    told = []
    signal.signal(signal.SIGTERM, lambda signum, frame: told.append(signum))
    current().progress(epoch=1)
    while not told:
        time.sleep(0.02)
    return "half"


def publish_one_file_of_two():
    """Leave one file committed and one not, then be killed in the first attempt."""
    folder = own_folder()
    if current().attempt == 1:
        (folder / "published").touch()
        current().publish()
        (folder / "not-published").touch()
        current().progress(epoch=1)
        sleep_until_restarted()
    return sorted(path.name for path in folder.iterdir())


def raise_unreadable():
    raise OnlyHereError("never", "again")


def raise_infra_error():
    raise InfraError("say this")


def return_lock():
    import threading

    return threading.Lock()


def add_output(folder):
    Path(folder).mkdir(parents=True)
    current().add_output(Path(folder))
    current().add_output(Path(folder))


def provenance():
    return dict(current().provenance())


def environment(*names):
    return {name: os.environ.get(name) for name in names}


def list_source():
    """Return the files below /root, which is all that was shipped."""
    root = Path("/root")
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


def compose_train():
    """Compose the configuration of training from the shipped option files."""
    from bgb.config.compose import compose

    return compose("train", ["trainer.max_epochs=7"]).trainer.max_epochs
