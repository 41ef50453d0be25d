"""`python -m tests.fakemodal`: a loopback Modal for a terminal, until Ctrl-C.

Prints the environment that points Modal's client at it, then a line for each thing that happens.
Type `preempt TASK` or `kill TASK` to see how a job takes it (TASK as printed, e.g. ta-1234).
"""

import argparse
import contextlib
import shlex
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tests.fakemodal import FakeModal

_BUCKET = "brain-go-brr-eeg-data-20250919"
_SECRETS = {
    "wandb-secret": {"WANDB_API_KEY": "fake"},
    "aws-s3-secret": {"AWS_ACCESS_KEY_ID": "fake", "AWS_SECRET_ACCESS_KEY": "fake"},
}
_POLL_S = 0.3


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until interrupted."""
    options = _parser().parse_args(arguments)
    # A shell that starts it in the background lets it ignore Ctrl-C, and all that it starts, too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with contextlib.ExitStack() as stack:
        root = options.root or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        root.mkdir(parents=True, exist_ok=True)
        buckets = _buckets(options.bucket, root)
        secrets = _secrets(options.secret)
        fake = stack.enter_context(FakeModal(root, buckets=buckets, secrets=secrets))
        _say(*_introduction(fake.environment, root, buckets))
        threading.Thread(target=_obey, args=(fake,), daemon=True).start()
        with contextlib.suppress(KeyboardInterrupt):
            _watch(fake)
        _say("stopping: all containers are killed")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.fakemodal", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--root", type=Path, help="where all files lie (default: temporary)")
    for name, form in {"bucket": "NAME=FOLDER", "secret": "NAME:KEY=VALUE"}.items():
        parser.add_argument(f"--{name}", action="append", default=[], metavar=form)
    return parser


def _buckets(given: Iterable[str], root: Path) -> dict[str, Path]:
    """Return folders by bucket; the default bucket is empty unless a folder is given for it."""
    buckets = {}
    for text in given:
        name, equals, folder = text.partition("=")
        if not (name and equals and Path(folder).is_dir()):
            raise SystemExit(f"--bucket {text}: give NAME=FOLDER with an existing folder")
        buckets[name] = Path(folder).resolve()
    if _BUCKET not in buckets:
        buckets[_BUCKET] = root / "buckets" / _BUCKET
        (buckets[_BUCKET] / "tusz" / "edf").mkdir(parents=True, exist_ok=True)
    return buckets


def _secrets(given: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return the default secrets and the given ones, which win."""
    secrets = {name: dict(values) for name, values in _SECRETS.items()}
    for text in given:
        name, colon, pair = text.partition(":")
        key, equals, value = pair.partition("=")
        if not (name and colon and key and equals):
            # The text may hold a secret's value: it is not repeated.
            raise SystemExit("--secret: give NAME:KEY=VALUE")
        secrets.setdefault(name, {})[key] = value
    return secrets


def _introduction(
    environment: Mapping[str, str], root: Path, buckets: Mapping[str, Path]
) -> list[str]:
    exports = [f"export {name}={shlex.quote(value)}" for name, value in environment.items()]
    return [
        *exports,
        f"# files under {root}",
        *(f"# bucket {name}: {folder}" for name, folder in buckets.items()),
        "# in another terminal, after the exports:",
        "#   python -m bgb.train +infra=modal_cpu",
    ]


def _obey(fake: FakeModal) -> None:
    """Carry out the commands that are typed."""
    actions = {"preempt": fake.preempt, "kill": fake.kill}
    for line in sys.stdin:
        words = line.split()
        if len(words) != 2 or words[0] not in actions:
            _say(f"unknown command {line.strip()!r}: type preempt TASK or kill TASK")
        elif words[1] not in {task.task_id for task in fake.containers() if task.alive}:
            _say(f"no container {words[1]} runs")
        else:
            actions[words[0]](words[1])
            _say(f"container {words[1]}: {words[0]}")


def _watch(fake: FakeModal) -> None:
    """Print what changes from one look to the next."""
    before: dict[str, str] = {}
    while True:
        now = _states(fake)
        _say(*(f"{name} {state}" for name, state in now.items() if before.get(name) != state))
        before = now
        time.sleep(_POLL_S)


def _states(fake: FakeModal) -> dict[str, str]:
    """Return a line for everything that exists, by its name."""
    states = {f"app {app.app_id}": f"{app.state} ({app.name})" for app in fake.apps()}
    for call in fake.calls():
        attempts = f", attempt {call.attempts}" if call.attempts > 1 else ""
        states[f"call {call.call_id}"] = f"{call.status} ({call.function_name}{attempts})"
    for task in fake.containers():
        state = f"started (pid {task.pid})" if task.alive else "ended"
        states[f"container {task.task_id}"] = f"{state}, function {task.function_name}"
    return states


def _say(*lines: str) -> None:
    for line in lines:
        print(line, flush=True)


if __name__ == "__main__":
    main()
