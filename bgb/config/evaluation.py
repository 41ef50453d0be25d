"""Configuration of post-processing and evaluation."""

from dataclasses import dataclass

from bgb.config.check import not_negative, one_of, positive, require, share
from bgb.config.option import option


@dataclass(frozen=True)
class PostprocessConfig:
    """From a probability per output step to events. All lengths are seconds; order as listed."""

    smooth_s: float = option(5.0, "moving average of the probability; 0 = none", unit="s")
    threshold: float | None = option(None, "probability of a seizure; null = choose on dev, freeze")
    merge_gap_s: float = option(5.0, "events closer than this become one", unit="s")
    min_duration_s: float = option(5.0, "shorter events are dropped after merging", unit="s")
    objective: str = option("event_f1", "what the dev threshold maximises: event_f1 or sensitivity")
    max_fp_per_day: float | None = option(
        None, "false alarms per 24 h that the dev threshold must keep to (objective=sensitivity)"
    )

    def __post_init__(self) -> None:
        not_negative(
            postprocess__smooth_s=self.smooth_s,
            postprocess__merge_gap_s=self.merge_gap_s,
            postprocess__min_duration_s=self.min_duration_s,
        )
        positive(postprocess__max_fp_per_day=self.max_fp_per_day)
        one_of("postprocess.objective", self.objective, ("event_f1", "sensitivity"))
        require(
            self.threshold is None or 0 < self.threshold < 1,
            f"postprocess.threshold={self.threshold} must lie between 0 and 1, or be null",
        )
        require(
            self.objective != "sensitivity" or self.max_fp_per_day is not None,
            "postprocess.objective=sensitivity needs postprocess.max_fp_per_day",
        )


@dataclass(frozen=True)
class EvaluationConfig:
    """How whole recordings are scored."""

    overlap: float = option(0.5, "share of a window that the next one covers again")
    batch_size: int = option(16, "windows in a batch", unit="windows")
    baseline: bool = option(True, "report band-power logistic regression beside the detector")
    baseline_seconds: int = option(
        20000, "most training seconds that the baseline is fitted on", unit="s"
    )

    def __post_init__(self) -> None:
        share(evaluation__overlap=self.overlap)
        positive(
            evaluation__batch_size=self.batch_size,
            evaluation__baseline_seconds=self.baseline_seconds,
        )
