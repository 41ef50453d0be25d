"""LiveDetector: probabilities and seizures of a recording that is still going on.

It gives what the file of the same recording would give, as soon as that is final: the tiles, the
windows and the blending are the same code. What is given is never taken back.
"""

# Shapes: N channels of the recorder, T samples at its rate, K output steps

import math
import time
from array import array
from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from bgb.config.evaluation import EvaluationConfig, PostprocessConfig
from bgb.data.live import LiveRecording
from bgb.eeg.events import Event
from bgb.evaluation.postprocess import GrowingSmooth, event_bounds, to_events
from bgb.evaluation.stitching import DetectorFacts, Predict, follow

_TOLERANCE_S = 1e-9


class LiveDetector:
    """Follows a recorder; `bgb.detect_live` makes one from a run.

    Attributes
    ----------
    recording : what has been fed.
    rate_hz : steps a second.
    threshold : probability at which events are cut.
    compute_s, slowest_s : seconds that the last and the slowest call took here.
    """

    def __init__(
        self,
        predict: Predict,
        facts: DetectorFacts,
        recording: LiveRecording,
        *,
        evaluation: EvaluationConfig,
        postprocess: PostprocessConfig,
        threshold: float,
    ) -> None:
        self.recording, self.rate_hz, self.threshold = recording, facts.out_rate_hz, threshold
        self._follower = follow(predict, facts, recording, evaluation, live=True)
        self._postprocess = postprocess
        self._series, self._smoothed, self._ended = array("f"), array("d"), False
        self._smooth = GrowingSmooth(self.rate_hz, smooth_s=postprocess.smooth_s)
        self.compute_s = self.slowest_s = 0.0

    def feed(
        self, signals_NT: NDArray[np.floating], *, start_s: float | None = None
    ) -> NDArray[np.float32]:
        """Take the next samples, a row for each channel; return the steps that became final.

        Parameters
        ----------
        signals_NT : microvolts; any number of samples.
        start_s : time of the first of them since the first of all, to notice what was lost.

        Raises
        ------
        EdfError : a gap, another number of channels, or samples that are not finite.
        """
        return self._timed(lambda: self._follow(self.recording.feed(signals_NT, start_s=start_s)))

    def finish(self) -> NDArray[np.float32]:
        """End the recording here and return the rest of its steps."""

        def finish() -> NDArray[np.float32]:
            self.recording.finish()
            self._ended = True
            return self._follower.advance(ended=True)

        return self._timed(finish)

    @property
    def probability_K(self) -> NDArray[np.float32]:
        """All final steps so far."""
        return np.array(self._series, np.float32)

    @property
    def events(self) -> tuple[Event, ...]:
        """Seizures so far whose beginning and end are final."""
        if self._ended:
            return to_events(
                *(self.probability_K, self.rate_hz, self.recording.duration_s),
                *(self._postprocess, self.threshold),
            )
        return tuple(event for event, is_over in self._so_far() if is_over)

    @property
    def ongoing(self) -> Event | None:
        """The seizure whose end is not final; its beginning is, its stop is the last one known."""
        so_far = [] if self._ended else self._so_far()
        return next((event for event, is_over in so_far if not is_over), None)

    def ready_s(self, step: int) -> int:
        """Return how many seconds must be fed for a step to be final."""
        return self.recording.ready_s(self._follower.ready_s(step))

    @property
    def latency_s(self) -> float:
        """The most seconds of recording from the end of a step until it is final.

        To it come the length of a chunk, for its samples wait for each other, and `compute_s`.
        """
        period_s = math.lcm(self._follower.period_s, self.recording.hop_s)
        return max(
            self.ready_s(step) - (step + 1) / self.rate_hz
            for step in range(round(period_s * self.rate_hz))
        )

    def _follow(self, blocks: Iterable[None]) -> NDArray[np.float32]:
        """Advance after every block, so that batches do not depend on the length of chunks."""
        parts = [np.empty(0, np.float32)]
        for _ in blocks:
            parts.append(self._follower.advance(ended=False))
            self.recording.forget(self._follower.wanted_from_s)
        return np.concatenate(parts)

    def _so_far(self) -> list[tuple[Event, bool]]:
        """Return events in what no later step changes, and which of them no later event joins."""
        config, smoothed_K = self._postprocess, np.array(self._smoothed)
        certain_s = len(smoothed_K) / self.rate_hz
        bounds = event_bounds(smoothed_K, self.rate_hz, certain_s, config, self.threshold)
        last_s = min(certain_s - config.merge_gap_s + _TOLERANCE_S, certain_s - _TOLERANCE_S)
        return [(Event(float(start), float(stop)), stop <= last_s) for start, stop in bounds]

    def _timed(self, work: Callable[[], NDArray[np.float32]]) -> NDArray[np.float32]:
        started = time.perf_counter()
        probability_K = work()
        self._series.frombytes(probability_K.tobytes())
        self._smoothed.frombytes(self._smooth.add(probability_K).tobytes())
        self.compute_s = time.perf_counter() - started
        self.slowest_s = max(self.slowest_s, self.compute_s)
        return probability_K
