"""What Modal tells of a call that the worker did not answer, and what a session knows to run."""

import re

import modal
import pytest
from aiohttp import ClientPayloadError
from modal import exception as of_modal

from bgb.config.infra import InfraConfig
from bgb.infra.app import Session
from bgb.infra.payload import Done, pack_reply


class Call:
    """Stands for modal.FunctionCall: raises or returns what it is given."""

    def __init__(self, answer):
        self.answer = answer

    def get(self, *, timeout):
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer

    def cancel(self, *, terminate_containers):
        assert terminate_containers


@pytest.fixture
def session(monkeypatch):
    made = Session(InfraConfig(), sweep_id="s")
    made.answer = TimeoutError()
    monkeypatch.setattr(modal.FunctionCall, "from_id", lambda _: Call(made.answer))
    return made


@pytest.mark.parametrize(
    "error, kind, message",
    [
        (ModuleNotFoundError("No module named 'edfio'"), "init", "belongs into the lock file"),
        (SyntaxError("match"), "init", "could not begin"),
        (of_modal.InternalFailure("host lost"), "machine", "container was lost.*host lost"),
        (of_modal.RemoteError("exit code 137"), "machine", "container was lost.*exit code 137"),
        (of_modal.ExecutionError("Could not deserialize"), "machine", "goes on from its last"),
        (OSError("No space left on device"), "machine", "No space left"),
        (of_modal.RemoteError("Input was cancelled by user"), "cancelled", "cancelled by user"),
        (of_modal.FunctionTimeoutError("after 3 s"), "timeout", "raise infra.max_hours=8"),
    ],
)
def test_only_what_keeps_every_container_from_beginning_is_an_init_failure(
    session, error, kind, message
):
    session.answer = error
    failure = session.look("fc-1")
    assert failure.kind == kind
    assert re.search(message, failure.message)


def test_large_result_that_is_cut_off_on_its_way_is_asked_for_again(session):
    session.answer = ClientPayloadError("not all bytes came")
    assert session.look("fc-1") is None
    session.answer = pack_reply(Done(1))
    assert session.look("fc-1") == Done(1)


def test_session_knows_which_calls_go_on(session):
    session.look("fc-1")
    session.look("fc-2")
    assert session.open_calls == {"fc-1", "fc-2"}
    session.cancel("fc-1")
    session.answer = pack_reply(Done(1))
    session.look("fc-2")
    assert session.open_calls == set()
