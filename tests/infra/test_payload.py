"""Requests and replies: what one side cannot read never hides the rest."""

import importlib
import sys
import types
from pathlib import Path

import pytest

from bgb.errors import InfraError
from bgb.infra.payload import Done, Failure, failure_of, pack, pack_reply, unpack, unpack_reply
from tests.infra.jobs import OnlyHereError, ticket


@pytest.fixture
def far_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """A module that is there while something is written, and `gone` when it is read."""
    source = "class Thing:\n    pass\nclass ThingError(Exception):\n    pass\n"
    (tmp_path / "far_away.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    sys.modules.pop("far_away", None)
    return importlib.import_module("far_away")


def gone(module: types.ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    del sys.modules[module.__name__]
    Path(module.__file__).unlink()
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path not in module.__file__])


def test_request_comes_back_as_it_was_sent() -> None:
    request = unpack(pack(lambda *parts: "-".join(parts), ["a", "b"], ticket()))
    assert request.ticket == ticket()
    assert request.call() == "a-b"
    assert unpack(pack(abs, [-1])).ticket is None


def test_ticket_is_read_though_the_function_is_not(
    far_away: types.ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = pack(far_away.Thing, [], ticket())
    gone(far_away, monkeypatch)
    request = unpack(data)
    assert request.ticket == ticket()
    with pytest.raises(InfraError, match=r"the function cannot be read: no module .*'far_away'"):
        request.load()


def test_value_of_a_class_that_is_unknown_here_is_a_failure_that_says_so(
    far_away: types.ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = pack_reply(Done(far_away.Thing(), attempts=3, seconds=1.5))
    gone(far_away, monkeypatch)
    reply = unpack_reply(data)
    assert (reply.kind, reply.attempts, reply.seconds) == ("unpickle", 3, 1.5)
    assert "no module named 'far_away'" in reply.message


def test_exception_of_a_class_that_is_unknown_here_keeps_message_and_traceback(
    far_away: types.ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = pack_reply(failure_of(far_away.ThingError("it broke")))
    gone(far_away, monkeypatch)
    reply = unpack_reply(data)
    assert (reply.kind, reply.message, reply.exception) == ("task", "ThingError: it broke", None)
    assert isinstance(reply.error(), InfraError)
    assert "far_away.ThingError: it broke" in str(reply.error())


def test_exception_comes_back_with_its_class() -> None:
    reply = unpack_reply(pack_reply(failure_of(KeyError("name"))))
    assert isinstance(reply.error(), KeyError)


def test_exception_that_pickles_but_cannot_be_read_again_is_left_out() -> None:
    reply = unpack_reply(pack_reply(failure_of(OnlyHereError("a", "b"))))
    assert reply == Failure("task", "OnlyHereError: ab", reply.traceback_text)


def test_short_values_and_other_variables_are_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "run")
    monkeypatch.setenv("GREETING", "a-long-text-that-is-sent")
    pack(print, ["run a-long-text-that-is-sent"])
    monkeypatch.setenv("DATABASE_PASSWORD", "a-long-text-that-is-sent")
    with pytest.raises(InfraError, match=r"DATABASE_PASSWORD.*modal secret create"):
        pack(print, ["run a-long-text-that-is-sent"])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("openai_api_key", "a-long-text-that-is-sent"),
        ("GITHUB_PAT", "a-long-text-that-is-sent"),
        ("PGPASSWD", "a-long-text-that-is-sent"),
        ("GOOGLE_CREDENTIALS", "a-long-text-that-is-sent"),
        ("STORE", "postgres://me:hidden@there/data"),
    ],
)
def test_secrets_are_known_by_many_names(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(InfraError, match=f"the value of the environment variable {name};"):
        pack(print, [value])
