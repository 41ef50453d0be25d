"""`python -m bgb.config` explains every key."""

from dataclasses import fields, is_dataclass

import pytest

from bgb.config.__main__ import main
from bgb.config.keys import walk
from bgb.config.schema import CHOICES, COMMANDS


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "250")


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_key_has_a_meaning(command: str) -> None:
    for key in walk(COMMANDS[command]):
        assert key.help, f"{key.path} has no help"


def test_every_option_class_is_reached() -> None:
    reached = {key.option for key in walk(COMMANDS["train"])}
    for options in CHOICES.values():
        for name, option in options.items():
            assert is_dataclass(option)
            assert fields(option)
            assert name in reached


def test_key_is_shown_with_type_unit_and_composed_default(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["data.window_s", "data.window_s=90"]) == 0
    row = next(line for line in capsys.readouterr().out.splitlines() if "data.window_s" in line)
    cells = [cell.strip() for cell in row.strip("│").split("│")]
    assert cells == ["data.window_s", "integer", "90", "s", "length of a training window"]


def test_group_shows_only_the_chosen_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["model", "model=eegnet"]) == 0
    shown = capsys.readouterr().out
    assert "model.segment_s" in shown
    assert "model.base_channels" not in shown


def test_unknown_key_is_refused_with_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data.windows"]) == 2
    assert "did you mean data.window_s?" in capsys.readouterr().err
