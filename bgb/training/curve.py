"""The learning rate of a run before it starts: numbers, a drawing for terminals, warnings.

It is computed by the very schedule that trains. The predecessor warmed up from 6.6e-9 for many
steps and nobody saw it (lesson 56).
"""

from dataclasses import dataclass
from functools import cached_property

from bgb.config.schema import TrainConfig
from bgb.training.estimate import num_steps
from bgb.training.module import Schedule

_COLUMNS, _LINES = 60, 6  # of the drawing, in characters of 2 x 4 dots
_DOTS_BLANK = 0x2800  # braille; the bit of a dot by its line and column
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
_LOW_SHARE, _FEW_STEPS = 1e-3, 10  # rates this far below the peak teach nothing
_LONG_WARM_UP = 0.2  # of all steps


@dataclass(frozen=True)
class RateCurve:
    """Peak rate and schedule over the optimiser steps of a run; equal ones train alike.

    With a time budget the steps are the most there can be: the curve shrinks to its end.
    """

    peak: float
    schedule: Schedule
    num_steps: int
    steps_per_epoch: int
    budget_minutes: float | None = None

    def rate(self, step: int) -> float:
        """Return the rate at which optimiser step `step` (from 0) is taken."""
        return self.peak * self.schedule.factor(step, self.num_steps)

    @cached_property
    def peak_step(self) -> int:
        """Step, from 0, that is taken at the highest rate: the first one after the warm-up."""
        return max(range(self.num_steps), key=self.rate)

    def text(self) -> str:
        """Return the numbers in one line."""
        epochs = self.peak_step / self.steps_per_epoch
        within = f", all within {self.budget_minutes:g} min" if self.budget_minutes else ""
        return (
            f"{self.rate(0):.3g} at step 0, {self.peak_step:,} warm-up steps ({epochs:.3g} epochs) "
            f"to {self.rate(self.peak_step):.3g}, {self.rate(self.num_steps - 1):.3g} at the last "
            f"of {self.num_steps:,} steps{within}"
        )


def rate_curve(config: TrainConfig) -> RateCurve:
    """Return the curve of a run."""
    optimizer, steps = config.optimizer, num_steps(config)
    schedule = Schedule(optimizer.warmup_fraction, optimizer.final_fraction)
    trainer = config.trainer
    per_epoch = steps // trainer.max_epochs
    return RateCurve(optimizer.lr, schedule, steps, per_epoch, trainer.budget_minutes)


def warnings_of(curve: RateCurve) -> list[str]:
    """Return what is likely to be a mistake."""
    warnings = []
    low = sum(curve.rate(step) < _LOW_SHARE * curve.peak for step in range(curve.peak_step))
    if low > _FEW_STEPS:
        warnings.append(
            f"the first {low:,} steps are taken below {_LOW_SHARE:g} of the peak rate and teach "
            "next to nothing; lower optimizer.warmup_fraction"
        )
    share = curve.peak_step / curve.num_steps
    if share > _LONG_WARM_UP and curve.peak_step > curve.steps_per_epoch:
        warnings.append(
            f"the warm-up takes {share:.0%} of all steps; lower optimizer.warmup_fraction"
        )
    return warnings


def draw(curve: RateCurve) -> list[str]:
    """Return the curve as lines of braille dots between its axes."""
    num_x, num_y = 2 * _COLUMNS, 4 * _LINES
    top, cells = curve.rate(curve.peak_step), [[_DOTS_BLANK] * _COLUMNS for _ in range(_LINES)]
    last = curve.num_steps - 1
    heights = [curve.rate(round(x * last / (num_x - 1))) / top * (num_y - 1) for x in range(num_x)]
    for x, height in enumerate(heights):
        before = heights[max(0, x - 1)]
        for dot in range(round(min(before, height)), round(max(before, height)) + 1):
            line, row = divmod(num_y - 1 - dot, 4)
            cells[line][x // 2] |= _DOTS[row][x % 2]
    labels = [f"{top:.2g}", *[""] * (_LINES - 2), "0"]
    rows = [
        f"{label:>8} |{''.join(map(chr, row))}" for label, row in zip(labels, cells, strict=True)
    ]
    return [*rows, f"{'step':>8} 0{f'{last:,}':>{_COLUMNS}}"]
