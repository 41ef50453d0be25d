"""The learning rate is told and drawn as it will be, and mistakes are warned of."""

import pytest

from bgb.config.compose import compose
from bgb.training.curve import RateCurve, draw, rate_curve, warnings_of
from bgb.training.module import Schedule


def curve(warmup: float, num_steps: int, *, final: float = 0.01, epochs: int = 10) -> RateCurve:
    return RateCurve(1e-3, Schedule(warmup, final), num_steps, num_steps // epochs)


def test_numbers_are_those_of_the_schedule_that_trains() -> None:
    found = rate_curve(compose("plan", ["optimizer.lr=2e-3", "optimizer.warmup_fraction=0.1"]))
    schedule = Schedule(0.1, 0.01)
    assert (found.num_steps, found.steps_per_epoch, found.peak_step) == (320, 64, 32)
    assert found.rate(7) == 2e-3 * schedule.factor(7, 320)
    assert found.text() == (
        "6.06e-05 at step 0, 32 warm-up steps (0.5 epochs) to 0.002, 2e-05 at the last of 320 steps"
    )


def test_drawing_climbs_to_the_peak_and_falls_to_the_end() -> None:
    lines = draw(curve(0.5, 1000))
    rows = [line.partition("|")[2] for line in lines[:-1]]
    assert len({len(row) for row in rows}) == 1
    peak = [position for position, dots in enumerate(rows[0]) if dots != chr(0x2800)]
    assert peak[0] < len(rows[0]) / 2 < peak[-1]
    assert rows[-1][0] != chr(0x2800) and rows[-1][-1] != chr(0x2800)
    assert lines[0].startswith("   0.001 |")
    assert lines[-1].endswith("999")


def test_constant_rate_of_a_single_step_is_drawn() -> None:
    assert len(draw(curve(0.0, 1, final=1.0, epochs=1))) == 7


def test_ordinary_schedules_are_not_warned_of() -> None:
    for overrides in ([], ["+experiment=smoke"], ["+experiment=tusz_a100_100ep"]):
        assert warnings_of(rate_curve(compose("plan", overrides))) == []


@pytest.mark.parametrize(
    ("found", "warning"),
    [
        # Lesson 56: the predecessor trained for many steps at 6.6e-9.
        (curve(0.1, 200_000), "the first 20 steps are taken below 0.001 of the peak rate"),
        (curve(0.4, 1000), "the warm-up takes 40% of all steps"),
    ],
)
def test_likely_mistakes_are_warned_of(found: RateCurve, warning: str) -> None:
    (told,) = warnings_of(found)
    assert warning in told
