"""The table of jobs, on a terminal and elsewhere."""

import logging
import sys

import pytest
from rich.console import Console

from bgb.infra.table import Board, Row, elapsed_text, progress_text, summary, table

ROWS = [
    Row(0, "lr=1", "done", elapsed_s=3700, usd=1.5),
    Row(1, "lr=2", "running", 3, {"epoch": 2, "max_epochs": 10, "val_auroc": 0.91234}, 65.0, 0.25),
    Row(2, "lr=3", "queued"),
]


def drawn(rows):
    console = Console(width=120)
    with console.capture() as capture:
        console.print(table(rows, "title"))
    return capture.get()


def test_table_shows_state_progress_time_and_dollars():
    text = drawn(ROWS)
    for shown in ("lr=1", "done", "1:01:40", "$1.50", "running (attempt 3)", "epoch 2/10"):
        assert shown in text
    assert "3 jobs: 1 done, 1 running, 1 queued; $1.75 so far" in text


def test_long_sweeps_show_what_moves():
    rows = [Row(n, f"lr={n}", "done") for n in range(100)]
    rows[57] = Row(57, "lr=57", "running")
    rows[91] = Row(91, "lr=91", "failed")
    text = drawn(rows)
    assert "lr=57" in text and "lr=91" in text
    assert "lr=99" not in text
    assert "98 done" in text


@pytest.mark.parametrize(
    "values, text",
    [
        ({}, ""),
        ({"epoch": 1}, "epoch 1"),
        ({"step": 7, "max_steps": 9, "epoch": 1}, "epoch 1, step 7/9"),
        ({"loss": 0.123456, "note": "warm-up"}, "loss 0.1235, note warm-up"),
        ({"state": "running", "attempt": 1, "seconds": 3.0, "call_id": "fc-1", "at": 1.0}, ""),
        ({"task_id": "ta-1", "started": 1.0}, ""),
    ],
)
def test_progress_in_one_line(values, text):
    assert progress_text(values) == text


@pytest.mark.parametrize("seconds, text", [(0, "0:00:00"), (59.9, "0:00:59"), (86400, "24:00:00")])
def test_elapsed_time(seconds, text):
    assert elapsed_text(seconds) == text


def test_summary_counts_states():
    assert summary(ROWS[:1]) == "1 jobs: 1 done; $1.50 so far"


def test_without_a_terminal_each_change_is_one_line(caplog):
    caplog.set_level(logging.INFO)
    with Board("title") as board:
        board.show(ROWS)
        board.show(ROWS)
        board.show([ROWS[0], ROWS[1], Row(2, "lr=3", "running")])
    lines = [record.getMessage() for record in caplog.records]
    assert lines[:4] == [
        "job 0 (lr=1): done",
        "job 1 (lr=2): running (attempt 3)",
        "job 2 (lr=3): queued",
        "job 2 (lr=3): running",
    ]
    assert lines[4].startswith("3 jobs: 1 done, 2 running")
    assert len(lines) == 5


def test_on_a_terminal_log_lines_go_through_the_live_table(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    handler = logging.StreamHandler(sys.stderr)
    logging.getLogger().addHandler(handler)
    own = handler.stream
    try:
        with Board("title") as board:
            board.show(ROWS)
            assert handler.stream is not own
            logging.getLogger("test").warning("job 1 failed")
        assert handler.stream is own
    finally:
        logging.getLogger().removeHandler(handler)
    text = capsys.readouterr().err
    assert "job 1 failed" in text
    assert text.count("lr=2") >= 2  # drawn live, and left behind at the end
