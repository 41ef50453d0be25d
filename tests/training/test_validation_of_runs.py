"""When a run validates, on what part of dev, and that its price is bounded before step one."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
from run_once import train

from bgb.config.schema import TrainConfig
from bgb.config.training import MONITORS, VALIDATION_METRICS, is_due
from bgb.eeg.events import Event
from bgb.errors import ConfigError
from bgb.files import read_json
from bgb.training.build import build_data
from bgb.training.loggers import read_metrics
from bgb.training.run_folder import RunFolder
from bgb.training.validation import DevPart, choose_dev

MakeConfig = Callable[..., TrainConfig]


class Facts:
    """Of the small runs: windows of 12 s every 4 s, so 10 for each of two recordings of dev."""

    window_s, out_rate_hz, context_s, is_causal = 12, 0.25, (0, 0), False


def choose(config: TrainConfig) -> DevPart:
    return choose_dev(config, build_data(config).cache, Facts())


def test_all_of_dev_is_validated_where_it_is_cheap(
    make_config: MakeConfig, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        part = choose(make_config())
    assert (len(part.recordings), part.num_windows, part.num_other_windows) == (2, 20, 0)
    assert (
        "validation: 2 of 2 recordings of dev, 2 of 2 patients, 0.03 of 0.03 h, 2 seizures; "
        "20 windows, 0.28 of the passes of training"
    ) in caplog.text
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


def test_part_is_cut_down_to_its_share_of_the_training_aloud(
    make_config: MakeConfig, caplog: pytest.LogCaptureFixture
) -> None:
    part = choose(make_config("trainer.val_share=0.15"))  # 10.8 of 3 x 24 windows
    assert (len(part.recordings), part.num_windows, part.num_other_windows) == (1, 10, 10)
    assert {r.recording_id for r in (*part.recordings, *part.others)} == {
        r.recording_id for r in choose(make_config()).recordings
    }
    assert "validation is cut down to 0.01 h by trainer.val_share=0.15; raise it" in caplog.text


def test_rarer_validation_may_cost_more(make_config: MakeConfig) -> None:
    assert choose(make_config("trainer.val_share=0.1", "trainer.val_every_epochs=2")).others == (
        choose(make_config("trainer.val_share=0.2")).others
    )


def test_share_that_leaves_no_seizure_is_refused_with_the_keys_to_change(
    make_config: MakeConfig,
) -> None:
    message = (
        r"trainer.val_share=0.05 allows a validation 3 windows \(3 passes x "
        r"data.sampling.windows_per_epoch=24 x trainer.val_every_epochs=1\), but no recording of "
        r"dev with a seizure takes fewer than 10; raise one of these keys, or lower evaluation.over"
    )
    with pytest.raises(ConfigError, match=message):
        choose(make_config("trainer.val_share=0.05"))


def test_part_keeps_to_hours_and_share_at_once_whatever_the_seed(
    monkeypatch: pytest.MonkeyPatch, make_config: MakeConfig
) -> None:
    @dataclass
    class Recording:
        recording_id: str
        patient: str
        num_seconds: int
        events: tuple[Event, ...] = (Event(1.0, 5.0, "seiz"),)

        @property
        def duration_s(self) -> float:
            return float(self.num_seconds)

    # Both fit the hours, the long one alone does not fit the share.
    dev = (Recording("long", "a", 1000), Recording("short", "b", 100))
    cache = SimpleNamespace(split=lambda _: dev)
    for seed in range(6):
        config = make_config("trainer.val_hours=0.28", "trainer.val_share=0.6", f"seed={seed}")
        part = choose_dev(config, cache, Facts())  # type: ignore[arg-type]  # what it uses of it
        assert [each.recording_id for each in part.recordings] == ["short"]


def test_hours_shorter_than_every_recording_are_said_to_be(
    make_config: MakeConfig, caplog: pytest.LogCaptureFixture
) -> None:
    part = choose(make_config("trainer.val_hours=0.001"))
    assert len(part.recordings) == 1
    assert "is longer than trainer.val_hours=0.001: validation scores the shortest" in caplog.text


def test_monitor_says_itself_which_way_is_better(make_config: MakeConfig) -> None:
    for monitor, mode in MONITORS.items():
        assert make_config(f"trainer.monitor={monitor}").trainer.monitor_mode == mode
    assert MONITORS["val/fp_per_day"] == "min"


@pytest.mark.parametrize("name", ["val/threshold", "val_full/auroc", "val/sensitivity_at_24fp"])
def test_monitor_that_cannot_select_is_refused(make_config: MakeConfig, name: str) -> None:
    with pytest.raises(ConfigError, match=r"trainer.monitor='val.*choose one of \['val/auroc', "):
        make_config(f"trainer.monitor={name}")


def test_what_is_due_comes_every_so_often_and_at_the_end() -> None:
    assert [n for n in range(1, 8) if is_due(n, every=3, max_epochs=7)] == [3, 6, 7]
    assert [n for n in range(1, 8) if is_due(n, every=0, max_epochs=7)] == []


def test_full_validations_have_their_own_rows(make_config: MakeConfig) -> None:
    folder = train(
        make_config(
            *("trainer.max_epochs=3", "trainer.val_share=0.15", "trainer.val_full_every_epochs=2"),
            "trainer.monitor=val/sensitivity_at_fp",
        )
    )
    rows = read_metrics(folder.metrics)
    for name in VALIDATION_METRICS:
        full = name.replace("val/", "val_full/")
        assert [row["epoch"] for row in rows if row["metric"] == name] == ["0", "1", "2"]
        assert [row["epoch"] for row in rows if row["metric"] == full] == ["1", "2"]


def test_share_of_the_validation_is_logged_and_recorded_but_is_no_metric(
    make_config: MakeConfig, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        folder = train(make_config("trainer.max_epochs=2"))  # speed leaves out the first steps
    assert " of the training)" in caplog.text
    assert read_json(folder.provenance)["speed"]["validation_share"] > 0
    assert "share" not in folder.metrics.read_text()


def test_validation_that_is_ended_leaves_nothing_and_the_resumed_run_ends_the_same(
    straight: RunFolder, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(deadline: object, trainer: object) -> None:
        raise KilledError

    with monkeypatch.context() as patch, pytest.raises(KilledError):
        patch.setattr("bgb.training.deadline.Deadline.stop_if_over", stop)
        train(make_config("run=ended"))
    resumed = train(make_config("run=ended"))
    assert resumed.metrics.read_text() == straight.metrics.read_text()


class KilledError(Exception):
    """Stands for whatever stops a run between two recordings."""
