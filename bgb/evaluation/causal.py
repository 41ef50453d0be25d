"""CausalRun: a causal detector along a recording, its state carried from chunk to chunk.

It never looks back, so there are no windows and nothing to blend. A file is run in long chunks and
a live recording in the shortest: the state makes that the same.
"""

# Shapes: S seconds, C channels, R samples a second, K output steps

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bgb.data.tiles import Tiles
from bgb.evaluation.probability import to_probability
from bgb.evaluation.series import num_steps

State = Any  # Any: what a network makes of it; it is only handed back


class CausalDetector(Protocol):
    """What is run; a `Detector` whose `is_causal` is true."""

    @property
    def out_rate_hz(self) -> float: ...
    @property
    def window_s(self) -> int: ...
    def step(
        self, tiles_BSCR: Tensor, present_BC: Tensor, state: State
    ) -> tuple[Tensor, State]: ...


class Watched:
    """A causal detector with something to do before and after each of its steps."""

    is_causal = True

    def __init__(
        self, detector: CausalDetector, *, before: Callable[[], None], after: Callable[[], None]
    ) -> None:
        self._detector, self._before, self._after = detector, before, after
        self.window_s, self.out_rate_hz = detector.window_s, detector.out_rate_hz
        self.context_s = (0, 0)

    def step(self, tiles_BSCR: Tensor, present_BC: Tensor, state: State) -> tuple[Tensor, State]:
        self._before()
        logits_BK, state = self._detector.step(tiles_BSCR, present_BC, state)
        self._after()
        return logits_BK, state


class CausalRun:
    """Follows a recording that may still grow; see `Stitcher`, which has the same face.

    Parameters
    ----------
    live : shortest chunks, for the least delay; else chunks of about a window.
    """

    def __init__(self, detector: CausalDetector, tiles: Tiles, *, live: bool) -> None:
        self._detector, self._tiles, self._state = detector, tiles, None
        self._rate = Fraction(detector.out_rate_hz).limit_denominator(1000)
        shortest_s = self._rate.denominator
        self._chunk_s = shortest_s * (1 if live else max(1, detector.window_s // shortest_s))
        self._done_s = self._num_given = 0

    @property
    def wanted_from_s(self) -> int:
        """First second that is still to be read."""
        return self._done_s

    @property
    def period_s(self) -> int:
        return self._rate.denominator

    def ready_s(self, step: int) -> int:
        """Return how many seconds of a recording that goes on must be there for a final step."""
        shortest_s = self._rate.denominator
        return math.ceil((step + 1) / self._rate / shortest_s) * shortest_s

    def advance(self, *, ended: bool) -> NDArray[np.float32]:
        """Return the probability of the steps that have become final; all, once it has ended."""
        parts = [np.empty(0, np.float32)]
        while (waiting_s := self._tiles.num_seconds - self._done_s) > 0:
            if waiting_s < self._chunk_s and not ended:
                break
            parts.append(self._next(min(waiting_s, self._chunk_s)))
        probability_K = np.concatenate(parts)
        if ended:  # without the padding of the last second
            probability_K = probability_K[: self._num_steps() - self._num_given]
        self._num_given += len(probability_K)
        return probability_K

    def _next(self, num_seconds: int) -> NDArray[np.float32]:
        start_s, tiles = self._done_s, self._tiles
        self._done_s += num_seconds
        padded_s = self.ready_s(math.ceil(num_seconds * self._rate) - 1)
        chunk_SCR = np.zeros((padded_s, *_shape(tiles)), np.int16)
        chunk_SCR[:num_seconds] = tiles.tiles(start_s, start_s + num_seconds)
        present_C = torch.from_numpy(np.array(tiles.present_C))
        with torch.inference_mode():
            logits_BK, self._state = self._detector.step(
                torch.from_numpy(chunk_SCR)[None], present_C[None], self._state
            )
        expected = int(padded_s * self._rate)
        probability_BK = to_probability(logits_BK, expected, [start_s], tiles.recording_id)
        probability_K: NDArray[np.float32] = probability_BK[0].astype(np.float32)
        return probability_K

    def _num_steps(self) -> int:
        return num_steps(self._tiles.duration_s, float(self._rate))


def _shape(tiles: Tiles) -> tuple[int, int]:
    return tiles.spec.num_channels, tiles.spec.rate_hz
