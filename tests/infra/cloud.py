"""`Cloud` stands for Modal in tests of the launcher alone: it outlives launchers, runs nothing, and
answers `x * x` for each job with `x` once a launcher has looked at it often enough. A call begins
when it is sent, or waits in `queue`; the first one of a job has it, the others are duplicates."""

import os
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest
from modal.types import FileEntryType

from bgb.errors import InfraError
from bgb.infra import launch, recall
from bgb.infra.ledger import Ledger
from bgb.infra.payload import Done, Failure
from bgb.infra.prices import load_rates


class Killed(BaseException):
    """Stands for SIGKILL: nothing in the launcher handles it."""


class Cloud:
    """What all sessions share; `replies[x]` comes instead of x * x, jobs in `hold` never end."""

    def __init__(self, root: Path) -> None:
        self.volume = Volume(root)
        self.calls = {}  # call id -> (ticket, config)
        self.looks = {}
        self.replies, self.hold, self.results = {}, set(), {}
        self.cancelled, self.gone, self.values = [], set(), {}
        self.refused = set()  # x of jobs that cannot be sent
        self.queue = None  # a list: calls wait in it until one of them was looked at twice
        self.newest_first = False
        self.owners, self.begun = {}, []  # ticket's name -> call id; the calls that got their job
        self.late_report = None  # what a worker that is gone left
        self.deployed = self.stopped = 0
        self.ctrl_c_at = ()  # numbers of looks, counted over all calls
        self.steps, self.kill_at = 0, None

    def session(self, infra, *, sweep_id, packages=()):
        self.infra = infra
        return Session(self, infra)

    def sent(self):
        """Return x of every job that was sent, in order."""
        return [config.x for _, config in self.calls.values()]

    def began(self):
        """Return x of every job that was begun, in order."""
        return [self.calls[call_id][1].x for call_id in self.begun]

    def begin(self, call_id):
        ticket, config = self.calls[call_id]
        if self.owners.setdefault(ticket.name, call_id) != call_id:
            return
        self.begun.append(call_id)
        report = {"call_id": call_id, "state": "running", "seconds": 1.0}
        self.values[ticket.name] = self.late_report or report
        self.volume.put(f"{ticket.job_dir.removeprefix('/results/')}/log", f"{config.x}")

    def begin_all(self):
        """Let the queue begin; later calls no longer wait."""
        waiting, self.queue = self.queue, None
        for call_id in reversed(waiting) if self.newest_first else waiting:
            self.begin(call_id)

    def forget(self):
        """Forget every call."""
        for seen in (self.calls, self.looks, self.values, self.owners, self.begun):
            seen.clear()

    def step(self):
        self.steps += 1
        if self.steps == self.kill_at:
            raise Killed

    def reply(self, call_id):
        ticket, config = self.calls[call_id]
        if call_id in (self.queue or ()):
            return None
        if call_id not in self.begun:
            return Failure("duplicate", "sent twice", attempts=0, owner=self.owners[ticket.name])
        if call_id in self.gone:
            return Failure("expired", "no longer kept")
        if call_id in self.cancelled:
            return Failure("cancelled", "cancelled", attempts=1, seconds=1.0)
        if config.x in self.hold or self.looks[call_id] < 2:
            return None
        return self.replies.get(config.x, Done(config.x**2, attempts=1, seconds=36.0))


class Session:
    """What the launcher uses of `bgb.infra.app.Session`."""

    def __init__(self, cloud, infra):
        self.cloud, self.infra, self.volume = cloud, infra, cloud.volume
        self.name = "bgb-0"
        self.open_calls = set()
        self.promised_usd = self.spent_usd = 0.0

    def deploy(self):
        self.cloud.deployed += 1

    def submit(self, function, *args, pool="job", ticket=None):
        self.cloud.step()
        call_id = f"fc-{len(self.cloud.calls)}"
        config = args[2]
        if config.x in self.cloud.refused:
            raise InfraError("the function cannot be pickled")
        self.cloud.calls[call_id], self.cloud.looks[call_id] = (ticket, config), 0
        if self.cloud.queue is None:
            self.cloud.begin(call_id)
        else:
            self.cloud.queue.append(call_id)
        self.cloud.step()
        self.open_calls.add(call_id)
        return call_id

    def owner(self, name):
        return self.cloud.owners.get(name)

    def release(self, name, *, ended):
        self.cloud.step()
        if self.cloud.owners.get(name) == ended:
            del self.cloud.owners[name]
        self.cloud.step()

    def look(self, call_id):
        self.cloud.step()
        self.cloud.looks[call_id] += 1
        if sum(self.cloud.looks.values()) in self.cloud.ctrl_c_at:
            os.kill(os.getpid(), signal.SIGINT)
        if self.cloud.queue and self.cloud.looks[call_id] == 2:
            self.cloud.begin_all()
        reply = self.cloud.reply(call_id)
        (self.open_calls.add if reply is None else self.open_calls.discard)(call_id)
        return reply

    def stored(self, ticket):
        return self.cloud.results.get(ticket.name)

    def cancel(self, call_id):
        self.cloud.cancelled.append(call_id)
        self.open_calls.discard(call_id)

    def stop(self):
        self.cloud.stopped += 1

    def progress(self):
        return self.cloud.values

    def task_logs(self, call_id, lines):
        return "killed: out of memory"


class Volume:
    """The calls of modal.Volume that fetching uses, on a folder."""

    def __init__(self, root):
        self.root, self.broken = root, None  # an exception: what listing a folder raises

    def put(self, path, text):
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def listdir(self, path, *, recursive):
        if self.broken is not None:
            raise self.broken
        folder = self.root / path.lstrip("/")
        return [
            SimpleNamespace(
                path=str(file.relative_to(self.root)),
                type=FileEntryType.FILE,
                size=file.stat().st_size,
                mtime=int(file.stat().st_mtime),
            )
            for file in folder.rglob("*")
            if file.is_file()
        ]

    def read_file(self, path):
        if not (self.root / path).exists():
            raise FileNotFoundError(path)
        yield (self.root / path).read_bytes()


def in_place(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a cloud in Modal's place; each line of the ledger is a step where a launcher can die."""
    append, save = Ledger._append, Ledger.save_result
    rates = load_rates(live=False)

    def append_in_steps(self, line):
        cloud.step()
        append(self, line)
        cloud.step()

    def save_in_steps(self, num, reply):
        cloud.step()
        save(self, num, reply)

    monkeypatch.setattr(launch, "Session", cloud.session)
    monkeypatch.setattr(launch, "load_rates", lambda: rates)
    monkeypatch.setattr(recall, "code_digest", lambda *_: "code")
    monkeypatch.setattr(Ledger, "_append", append_in_steps)
    monkeypatch.setattr(Ledger, "save_result", save_in_steps)
