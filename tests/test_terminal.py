"""print_table: names stay whole where the screen is narrow."""

import pytest
from rich.table import Table

from bgb.terminal import print_table


def test_table_wider_than_a_pipe_keeps_every_word(capsys: pytest.CaptureFixture[str]) -> None:
    names = [f"{letter}{'-' * 30}{letter}" for letter in "abcd"]
    table = Table(*names)
    table.add_row(*names)
    print_table(table)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5
    assert all(sum(name in line for line in lines) == 2 for name in names)
