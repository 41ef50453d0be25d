"""Ctrl-C while jobs run elsewhere, and the command that goes on."""

import os
import shlex
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from bgb.infra import interrupt
from bgb.infra.interrupt import Interrupts, resume_command


@pytest.fixture
def clock(monkeypatch):
    """A clock that only sleeping moves."""
    now = SimpleNamespace(s=100.0)

    def sleep(seconds):
        now.s += seconds

    monkeypatch.setattr(interrupt, "time", SimpleNamespace(monotonic=lambda: now.s, sleep=sleep))
    return now


def press():
    os.kill(os.getpid(), signal.SIGINT)


def test_second_ctrl_c_long_after_the_first_is_no_double(clock, capfd):
    with Interrupts("jobs go on", double_s=5.0) as interrupts:
        press()
        clock.s += 30.0  # Modal does not answer
        press()
        assert not interrupts.is_double()
        clock.s += 30.0
        press()
        clock.s += 4.0
        press()
        assert interrupts.is_double()
    assert capfd.readouterr().err.count("jobs go on") == 3  # what the fourth one does is known


def test_second_ctrl_c_while_it_is_waited_for_is_a_double(clock, monkeypatch):
    with Interrupts("jobs go on", double_s=5.0) as interrupts:
        press()
        monkeypatch.setattr(interrupt.time, "sleep", lambda _: press())
        assert interrupts.is_double()


def test_command_to_go_on_is_one_that_hydra_and_a_shell_can_read(monkeypatch):
    monkeypatch.setattr(
        "sys.orig_argv", ["python", "my app.py", "-m", "x=1,2", "hydra.sweep.dir=old"]
    )
    folder = Path("/home/a b/it's, or not")
    words = shlex.split(resume_command(folder))
    assert words[-3:-1] == ["-m", "x=1,2"]
    (override,) = OverridesParser.create().parse_overrides(words[-1:])
    assert (override.key_or_group, override.value()) == ("hydra.sweep.dir", str(folder))


@pytest.mark.parametrize(
    "typed, expected",
    [
        ("/venv/bin/python /venv/bin/bgb train x=1", "/venv/bin/bgb train x=1"),
        ("python -m bgb train x=1", "python -m bgb train x=1"),
        ("python -m bgb.train x=1", "python -m bgb.train x=1"),
        ("python apps/squares.py -m x=1", "python apps/squares.py -m x=1"),
    ],
)
def test_command_to_go_on_starts_the_program_as_it_was_started(monkeypatch, typed, expected):
    monkeypatch.setattr("sys.orig_argv", typed.split())
    monkeypatch.setattr("sys.argv", ["changed", "by", "the program"])
    assert resume_command(Path("sweep")) == f"{expected} hydra.sweep.dir=sweep"
