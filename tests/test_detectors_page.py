"""docs/detectors.md and the programs that fill it: every option of conf/model has its row."""

import sys
from pathlib import Path
from typing import Any

import pytest

from bgb.config.compose import compose
from bgb.config.data import windows_in
from bgb.files import read_json
from experiments.detectors import gpu
from experiments.detectors.measure import measure
from experiments.detectors.options import Facts, names
from experiments.detectors.scores import TITLE, read_sweep
from experiments.detectors.table import COST_HEAD, render

PAGE = Path(__file__).parents[1] / "docs" / "detectors.md"
FACTS = Facts(1234, 0.5, 128, 80, (32, 32), 1 / 16, 1.5, 48)


def score(seed: int, f1: float) -> dict[str, Any]:
    values = {"steps": 10, "trained_s": 150.0, "windows_per_s": 20.0, "helsinki_auroc": None}
    return {
        "seed": seed,
        "event_f1": f1,
        "sensitivity": 0.5,
        "fp_per_day": 9.0,
        "auroc": 0.9,
    } | values


def cells(page: str, name: str) -> list[list[str]]:
    """Return the rows of an option in all tables."""
    rows = [line[2:-2].split(" | ") for line in page.splitlines() if line.startswith("| ")]
    return [row for row in rows if row[0] == name]


def test_page_has_the_head_of_the_generator_and_a_row_for_every_option() -> None:
    page = PAGE.read_text()
    assert f"| {' | '.join(COST_HEAD)} |" in page
    lacking = [name for name in names() if not cells(page, name)]
    assert not lacking, "run `python -m experiments.detectors.run page`"


def test_option_of_one_logit_for_many_seconds_is_told_in_full() -> None:
    row, _ = cells(render({"near": FACTS}, {}, {}), "near")  # the other is arithmetic
    assert row[:9] == [
        *("near", "1,234", "0.5", "128 Hz", "80 s", "32 s + 32 s", "1 in 16 s", "1.5 s", "48 s")
    ]
    assert set(row[9:]) == {"not measured"}


def test_option_that_cannot_be_built_says_why() -> None:
    (row,) = cells(render({"far": "no library"}, {}, {}), "far")
    assert row[1] == "not built here: no library"
    assert len(row) == len(COST_HEAD)


def test_scores_of_several_seeds_are_median_and_extremes_beside_the_baseline() -> None:
    sweep = {
        "budget_minutes": 5.0,
        "lr": 5e-4,
        "scores": {"near": [score(seed, f1) for seed, f1 in enumerate((0.2, 0.4, 0.3))]},
        "baseline": score(0, 0.7) | {"steps": 0},
        "always": score(0, 0.6) | {"steps": 0},
    }
    page = render({"near": FACTS, "other": FACTS}, {"sweep": sweep}, {})
    assert cells(page, "near")[1][3] == "0.300 (0.200 to 0.400)"
    assert cells(page, "(band power)")[0][:4] == ["(band power)", "-", "20", "0.700"]
    assert cells(page, "(always a seizure)")[0][3] == "0.600"
    assert "model=near seed=0,1,2 trainer.budget_minutes=5" in page
    assert "Not trained here: other." in page


def test_gpu_is_tried_without_one_and_its_figures_reach_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "gpu.json"
    words = ["gpu", "--device", "cpu", "--tiny", "--options", "eegnet", "--output", str(path)]
    monkeypatch.setattr(sys, "argv", words)
    gpu.main()
    record = read_json(path)
    assert record["options"]["eegnet"]["windows_per_s"] > 0
    assert record["options"]["eegnet"]["mfu"] is None  # nobody knows the peak of a CPU
    page = render({"eegnet": FACTS}, {}, record)
    assert len(cells(page, "eegnet")) == 2
    assert "not measured" not in cells(page, "eegnet")[0][11]


def test_cost_on_an_a100_is_scaled_by_the_peaks() -> None:
    flops, name = int(1e11), "NVIDIA H200"  # 989.4 TFLOP/s; an A100 has 312
    cost = gpu._cost(1000.0, flops, 60, name)
    assert cost["mfu"] == pytest.approx(1e14 / 989.4e12)
    assert cost["tusz_hours"] == pytest.approx(61_616 * 100 / 1000 / 3600)
    assert cost["a100_hours"] == pytest.approx(cost["tusz_hours"] * 989.4 / 312)
    assert cost["a100_usd"] == pytest.approx(cost["a100_hours"] * gpu.a100_usd_per_hour())
    longer = gpu._cost(1000.0, flops, 600, name)
    assert longer["tusz_hours"] == pytest.approx(cost["tusz_hours"] / 10, rel=1e-3)


@pytest.mark.slow
def test_speed_and_memory_come_from_a_process_of_their_own() -> None:
    figures = measure("eegnet", minutes=9, threads=1)
    assert figures["eeg_s_per_s"] > 60
    assert 100 < figures["peak_mib"] < 4000


def test_sweep_without_a_finished_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="holds no finished run of detectors-"):
        read_sweep(tmp_path, None, threads=1)


@pytest.mark.parametrize("name", names())
def test_batches_of_the_sweep_hold_as_much_eeg_whatever_a_window_is(name: str) -> None:
    config = compose("train", ["+experiment=detectors_on_two_cores", f"model={name}"])
    window_s = config.data.window_s
    assert config.title == TITLE
    assert config.data.batch_size == config.evaluation.batch_size == windows_in(480, window_s)
    assert 320 <= config.data.batch_size * window_s <= 600
    assert config.data.sampling.windows_per_epoch >= 5 * config.data.batch_size
