"""What detectors of a kind tell alike: their label, and the windows that they judge.

Classes of properties: what an option class says otherwise, it overrides.
"""

from dataclasses import dataclass

from bgb.config.option import option


@dataclass(frozen=True)
class Labelled:
    """A detector with a name, and perhaps a variant of it: other values of the same options."""

    name: str = option("", "the detector")
    variant: str = option("", "small, large, ...: what sets an option file apart in lists of runs")

    @property
    def label(self) -> str:
        """The name that people read: mamba_unet, mamba_unet_small."""
        return f"{self.name}_{self.variant}" if self.variant else self.name


class WholeWindow(Labelled):
    """All of a window is judged, and any whole seconds are a window."""

    @property
    def context_s(self) -> tuple[int, int]:
        """Seconds of a window that are looked at, but not judged."""
        return (0, 0)

    @property
    def window_multiple_s(self) -> int:
        """What the judged part of a window must be a multiple of."""
        return 1


class Seconds(WholeWindow):
    """One logit a second."""

    @property
    def output_rate_hz(self) -> float:
        """Logits a second."""
        return 1.0


class Steps(WholeWindow):
    """Several logits a second: `out_rate_hz`."""

    out_rate_hz: int

    @property
    def output_rate_hz(self) -> float:
        """Logits a second."""
        return float(self.out_rate_hz)


class Segments(WholeWindow):
    """One logit for each `segment_s`, which is judged by itself."""

    segment_s: int

    @property
    def output_rate_hz(self) -> float:
        """Logits a second."""
        return 1 / self.segment_s

    @property
    def shortest_window_s(self) -> float:
        """The receptive field: one segment."""
        return float(self.segment_s)

    @property
    def window_multiple_s(self) -> int:
        """What the judged part of a window must be a multiple of."""
        return self.segment_s
