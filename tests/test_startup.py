"""Start-up: what is said about it, and what may not be imported before the first step."""

import gc
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from bgb import startup

# What only evaluation, a plot or another logger needs: 0.1 to 0.3 s each. (scipy.signal and
# matplotlib come with torchmetrics, which Lightning imports.)
NOT_YET = (
    *("sklearn", "pandas", "tensorboard", "torch.utils.tensorboard"),
    *("s3fs", "boto3", "aiobotocore", "wandb", "modal", "pyedflib"),
)


@pytest.fixture(autouse=True)
def collector() -> Iterator[None]:
    yield
    startup.finish()
    gc.enable()
    gc.unfreeze()


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_training_imports_nothing_that_only_evaluation_and_logging_need() -> None:
    code = (
        "import sys, bgb.training.fit, bgb.evaluate; "
        f"print(sorted({set(NOT_YET)} & sys.modules.keys()))"
    )
    assert run(code) == "[]"


def test_parts_of_the_start_are_named_in_order_and_said_once() -> None:
    startup.begin()
    startup.reached("data")
    startup.reached("first step")
    took = startup.finish()
    assert took is not None
    assert re.fullmatch(
        r"\d+\.\d\d s after the start \(\d+\.\d\d s of CPU\): .*data 0\.\d\d, first step 0\.\d\d",
        took,
    )
    assert startup.finish() is None


def test_part_without_a_clock_is_not_noted() -> None:
    startup.reached("data")
    assert startup.finish() is None


def test_clock_of_a_fresh_process_runs_from_its_start() -> None:
    said = run(
        "import time; time.sleep(0.3); from bgb import startup; "
        "startup.begin(); print(startup.finish())"
    )
    assert float(said.partition(" ")[0]) >= 0.3
    assert "configuration" in said


def test_process_that_has_trained_counts_from_the_configuration(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "torch", sys)
    startup.begin()
    startup.reached("imports")
    took = startup.finish()
    assert took is not None
    assert took.startswith("0.")
    assert "configuration" not in took


def test_imports_run_uncollected_and_stay_out_of_later_collections(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    with startup.uncollected():
        assert not gc.isenabled()
    assert gc.isenabled()
    assert gc.get_freeze_count() > 0


def test_collector_is_back_after_a_failed_import(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    with pytest.raises(ImportError), startup.uncollected():
        raise ImportError("no such thing")
    assert gc.isenabled()


def test_what_an_earlier_run_left_behind_is_not_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", sys)
    before = gc.get_freeze_count()
    with startup.uncollected():
        assert gc.isenabled()
    assert gc.get_freeze_count() == before
