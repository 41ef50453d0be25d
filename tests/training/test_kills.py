"""A run that is killed at random points, over and over, ends bit for bit as an undisturbed one."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

EXPERIMENT = Path(__file__).parents[2] / "experiments" / "resume" / "run.py"
CORPUS = """data=bids data.root={eeg}/bids data.cache_root={eeg}/cache
    data.sampling.full=0"""


@pytest.mark.slow
def test_run_killed_at_random_points_ends_as_an_undisturbed_one(
    eeg_folder: Path, tmp_path: Path
) -> None:
    # A process of its own: this one has threads, and a child that it forks could hang.
    options = ["--kills", "20", "--seed", "3", "--out", str(tmp_path)]
    corpus = CORPUS.format(eeg=eeg_folder).split()
    done = subprocess.run(
        [sys.executable, str(EXPERIMENT), *options, *corpus], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["differences"] == []
    signals, phases = Counter[str](), Counter[str]()
    for by, where, count in report["kills"]:
        signals[by] += count
        phases[where] += count
    assert signals.total() == 20
    # Drawn, and a draw that comes too late counts for nothing: in 20 one kind may be missing.
    assert signals.keys() <= {"SIGKILL", "SIGTERM", "SIGINT"}
    assert "SIGKILL" in signals and len(signals) >= 2
    assert {"validation", "last.ckpt"} < phases.keys()
