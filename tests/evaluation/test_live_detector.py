"""A live recording gives what its file gives, when promised, and takes nothing back (lesson 80)."""

# Shapes: B batch, M montage channels, T samples, K output steps

from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bgb.config.compose import compose, config_dir
from bgb.config.data import PreprocessConfig
from bgb.config.evaluation import EvaluationConfig, PostprocessConfig
from bgb.config.model import EegNetConfig, EventNetUnetConfig
from bgb.data.live import LiveRecording
from bgb.data.tiles import TiledRecording, tile_recording
from bgb.data.windows import WindowBatch
from bgb.detectors import Detector
from bgb.detectors.frontend import Frontend
from bgb.eeg.events import Event
from bgb.eeg.montage import ELECTRODES
from bgb.eeg.recording import Recording
from bgb.errors import ConfigError, EdfError
from bgb.evaluation.live import LiveDetector
from bgb.evaluation.postprocess import to_events
from bgb.evaluation.stitching import DetectorFacts, Predict, stitch_recording
from bgb.training.build import predict
from tests.detectors.catalogue import CATALOGUE, SIGNAL, detector_of

SOURCE_HZ, CACHE_HZ = 100.0, SIGNAL.rate_hz
PREPROCESS = PreprocessConfig(CACHE_HZ, highpass_hz=2.0, lowpass_hz=25.0, notch_hz=None)
LOOK_AHEAD_S = 3
EVALUATION = EvaluationConfig(overlap=0.5, batch_size=1)
POSTPROCESS = PostprocessConfig(smooth_s=3.0, merge_gap_s=4.0, min_duration_s=2.0)
QUANTUM = 2e-3  # of a probability: a thousandth of the samples differ by 0.1 uV


class Looking(nn.Module):
    """Looks 2 s back and 3 s ahead; four logits a second, of the amplitude around the step."""

    rate_hz, out_rate_hz, window_s, context_s = CACHE_HZ, 4.0, 13, (2, 3)
    receptive_field_s = 6.0

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(0.5))

    def forward(self, signal_BMT: Tensor) -> Tensor:
        power_BK = signal_BMT.abs().mean(1).unflatten(-1, (-1, CACHE_HZ // 4)).mean(-1)
        around_BK: Tensor = power_BK.unfold(-1, 21, 1).mean(-1)
        return self.gain * around_BK - 1


class Leaky(nn.Module):
    """Causal: a leaky integrator of the amplitude, two logits a second."""

    rate_hz, out_rate_hz, window_s, context_s = CACHE_HZ, 2.0, 10, (0, 0)
    receptive_field_s, is_causal = 1.0, True

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(0.3))

    def forward(self, signal_BMT: Tensor) -> Tensor:
        return self.step(signal_BMT, self.initial_state(len(signal_BMT)))[0]

    def initial_state(self, batch: int) -> Tensor:
        return torch.zeros(batch)

    def step(self, signal_BMT: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        levels = []
        for part_BMT in signal_BMT.split(CACHE_HZ // 2, dim=-1):
            state = 0.9 * state + part_BMT.abs().mean((1, 2))
            levels.append(state)
        return self.gain * torch.stack(levels, 1) - 1, state


def of_network(network: Any, **frontend: Any) -> Detector:  # Any: a test's network
    return Detector(Frontend(SIGNAL, **{"rate_hz": CACHE_HZ, **frontend}), network).eval()


def detector_named(name: str) -> Detector:
    match name:
        case "eegnet":
            return detector_of(EegNetConfig(rate_hz=64, segment_s=4), 12).eval()
        case "eventnet_unet":
            config = EventNetUnetConfig(rate_hz=CACHE_HZ, base_channels=2)
            return detector_of(config, 20).eval()
        case "spectral":
            return detector_of(*CATALOGUE["spectral_ssm_causal"]).eval()
        case "context":
            return of_network(Looking())
        case _:
            return of_network(Leaky())


def signals(duration_s: float) -> NDArray[np.float32]:
    """Noise of some 20 uV on an offset, and a rhythm in every second half minute."""
    time_T = np.arange(round(duration_s * SOURCE_HZ)) / SOURCE_HZ
    noise_CT = np.random.default_rng(0).normal(300, 20, (len(ELECTRODES), len(time_T)))
    rhythm_T = np.where(time_T % 60 >= 30, 200 * np.sin(2 * np.pi * 6 * time_T), 0)
    signs_C = np.where(np.arange(len(ELECTRODES)) % 2, 1, -1)
    return (noise_CT + signs_C[:, None] * rhythm_T).astype(np.float32)


def tiled(signals_CT: NDArray[np.float32]) -> TiledRecording:
    duration_s = signals_CT.shape[1] / SOURCE_HZ
    recording = Recording(signals_CT, SOURCE_HZ, ELECTRODES, (), duration_s)
    return tile_recording(recording, PREPROCESS, max_missing=0)


def follow(
    facts: DetectorFacts,
    run: Predict | None = None,
    evaluation: EvaluationConfig = EVALUATION,
    postprocess: PostprocessConfig = POSTPROCESS,
) -> LiveDetector:
    return LiveDetector(
        run or partial(predict, facts),  # type: ignore[arg-type]
        facts,
        LiveRecording(ELECTRODES, SOURCE_HZ, PREPROCESS, max_missing=0),
        evaluation=evaluation,
        postprocess=postprocess,
        threshold=0.5,
    )


def replay(live: LiveDetector, signals_CT: NDArray[np.float32], chunk: int) -> NDArray[np.float32]:
    parts = [
        live.feed(signals_CT[:, first : first + chunk])
        for first in range(0, signals_CT.shape[1], chunk)
    ]
    return np.concatenate([*parts, live.finish()])


each_detector = pytest.mark.parametrize(
    "name", ["eegnet", "eventnet_unet", "context", "causal", "spectral"]
)


@each_detector
@pytest.mark.parametrize("duration_s", [2.5, 11, 64.3])
def test_live_gives_what_the_file_gives(name: str, duration_s: float) -> None:
    detector, signals_CT = detector_named(name), signals(duration_s)
    file = stitch_recording(
        partial(predict, detector), detector, tiled(signals_CT), EvaluationConfig()
    )
    live = follow(detector)
    live_K = replay(live, signals_CT, 100)
    assert len(live_K) == len(file.probability_K)
    np.testing.assert_allclose(live_K, file.probability_K, atol=QUANTUM, rtol=0)
    assert np.ptp(live_K) > 0 or duration_s < 4
    assert live.events == to_events(
        file.probability_K, file.rate_hz, file.duration_s, POSTPROCESS, 0.5
    )


@each_detector
def test_chunks_of_any_length_give_the_same_bits(name: str) -> None:
    detector, signals_CT = detector_named(name), signals(47.3)
    whole_K = replay(follow(detector), signals_CT, signals_CT.shape[1])
    for chunk in (7, 100, 1370):
        np.testing.assert_array_equal(replay(follow(detector), signals_CT, chunk), whole_K)


def of_time(facts: SimpleNamespace) -> Predict:
    """A detector whose logit depends on the window and on the time in it."""

    def run(batch: WindowBatch) -> Tensor:
        num_steps = round((facts.window_s - sum(facts.context_s)) * facts.out_rate_hz)
        time_K = torch.arange(num_steps, dtype=torch.float64) / facts.out_rate_hz
        return torch.sin((batch.start_B[:, None] + time_K) / 5 + batch.start_B[:, None])

    return run


@pytest.mark.parametrize("rate_hz", [4.0, 1.0, 1.5, 0.25, 1 / 12])  # 1 / 12: a step is a window
@pytest.mark.parametrize("context_s", [(0, 0), (2, 3), (0, 9)])
@pytest.mark.parametrize("overlap", [0.0, 0.5])
def test_every_step_is_final_exactly_when_promised(
    rate_hz: float, context_s: tuple[int, int], overlap: float
) -> None:
    facts = SimpleNamespace(
        window_s=12 + sum(context_s), out_rate_hz=rate_hz, context_s=context_s, is_causal=False
    )
    evaluation, signals_CT = EvaluationConfig(overlap=overlap, batch_size=1), signals(70)
    live, delays_s = follow(facts, of_time(facts), evaluation), []
    given = []
    for second in range(70):
        given.append(live.feed(signals_CT[:, 100 * second : 100 * (second + 1)]))
        num_given = sum(map(len, given))
        assert num_given == 0 or live.ready_s(num_given - 1) <= second + 1 < live.ready_s(num_given)
        first = num_given - len(given[-1])
        delays_s += [second + 1 - (k + 1) / rate_hz for k in range(first, num_given)]
    assert max(delays_s) == pytest.approx(live.latency_s)
    series_K = np.concatenate([*given, live.finish()])
    file = stitch_recording(of_time(facts), facts, tiled(signals_CT), evaluation)
    np.testing.assert_array_equal(series_K, file.probability_K)


@pytest.mark.parametrize("overlap", [0.0, 0.5, 0.875])
@pytest.mark.parametrize("option", sorted(path.stem for path in config_dir().glob("model/*.yaml")))
def test_every_option_has_a_delay_below_its_window(option: str, overlap: float) -> None:
    config = compose("train", [f"model={option}", f"evaluation.overlap={overlap}"])
    model, window_s = config.model, config.data.window_s
    facts = SimpleNamespace(
        window_s=window_s,
        out_rate_hz=model.output_rate_hz,
        context_s=model.context_s,
        is_causal=getattr(model, "causal", False),
    )
    live = LiveDetector(
        lambda batch: torch.empty(0),
        facts,
        LiveRecording(ELECTRODES, 256.0, config.data.preprocess, max_missing=0),
        evaluation=config.evaluation,
        postprocess=config.postprocess,
        threshold=0.5,
    )
    filter_s = 12
    longest_s = filter_s + (1 if facts.is_causal else window_s - model.context_s[0] + 1)
    assert filter_s <= live.latency_s <= longest_s


def test_a_causal_detector_waits_for_its_step_and_the_filter_only() -> None:
    live, signals_CT = follow(detector_named("causal")), signals(20)
    assert live.latency_s == LOOK_AHEAD_S + 0.5  # the first half of a second waits for the other
    assert len(live.feed(signals_CT[:, :399])) == 0
    assert len(live.feed(signals_CT[:, 399:400])) == 2


def test_a_causal_detector_is_run_once_over_every_second() -> None:
    """Without overlap, and the same in long chunks (file), in short ones and in one."""
    detector, tiles = detector_named("causal"), tiled(signals(33.2))
    file = stitch_recording(partial(predict, detector), detector, tiles, EvaluationConfig())
    with torch.inference_mode():
        whole = detector(torch.from_numpy(tiles.tiles_SCR)[None], torch.ones(1, 19).bool())
    np.testing.assert_allclose(file.probability_K, torch.sigmoid(whole)[0, :67], atol=1e-6)


def test_a_causal_detector_refuses_a_frontend_that_looks_ahead() -> None:
    with pytest.raises(ConfigError, match=r"frontend\.normalise=window .* set frontend\.normalise"):
        of_network(Leaky(), normalise="window")
    with pytest.raises(ConfigError, match=r"model\.rate_hz=64 .* \(128 Hz\).* looks ahead"):
        of_network(Leaky(), rate_hz=64)


def test_memory_does_not_grow_with_the_recording() -> None:
    for name in ("context", "causal"):
        live, sizes = follow(detector_named(name)), []
        for _ in range(12):
            live.feed(signals(10))
            follower: Any = live._follower  # Any: private
            sums = 0 if name == "causal" else follower._blend._sums_2U.size
            waiting = live.recording._waiting_PT.size
            sizes.append((len(live.recording._kept), sums, waiting))
        assert max(sizes[6:]) <= max(sizes[:6]), name
        assert max(size[0] for size in sizes) <= 13 + 8


def test_events_are_told_when_they_are_final_and_never_change() -> None:
    """Two pieces that are close are one event; its beginning is told while it goes on."""
    facts = SimpleNamespace(window_s=4, out_rate_hz=1.0, context_s=(0, 0), is_causal=False)
    seizures = [(10, 20), (23, 30), (31, 32), (50, 61), (70, 71), (80, 90)]

    def run(batch: WindowBatch) -> Tensor:
        time_BK = batch.start_B[:, None] + torch.arange(4)
        inside = [(time_BK >= start) & (time_BK < stop) for start, stop in seizures]
        return torch.where(torch.stack(inside).any(0), 4.0, -4.0)

    for smooth_s, merge_gap_s in ((0.0, 4.0), (3.0, 4.0), (0.0, 0.0)):
        config = PostprocessConfig(smooth_s=smooth_s, merge_gap_s=merge_gap_s, min_duration_s=2.0)
        live, told, begun = follow(facts, run, postprocess=config), tuple[Event, ...](), {}
        for second in range(88):
            live.feed(signals(1))
            assert live.events[: len(told)] == told
            told = live.events
            if live.ongoing:
                begun.setdefault(live.ongoing.start_s, second)
        assert len(told) >= 2
        live.finish()
        assert live.ongoing is None
        assert live.events == to_events(live.probability_K, 1.0, 88.0, config, 0.5)
        assert live.events[: len(told)] == told
        starts_s = [event.start_s for event in live.events]
        assert list(begun) == starts_s[: len(begun)] and len(begun) >= 2
        soon_s = live.latency_s + config.min_duration_s + smooth_s / 2 + 1 / live.rate_hz
        assert all(second + 1 - start_s <= soon_s for start_s, second in begun.items())


def test_a_gap_is_refused_and_nothing_is_lost() -> None:
    live, signals_CT = follow(detector_named("causal")), signals(30)
    live.feed(signals_CT[:, :1000], start_s=0.0)
    with pytest.raises(EdfError, match=r"begins at 12\.000 s was fed where 10\.000 s"):
        live.feed(signals_CT[:, 1200:], start_s=12.0)
    live.feed(signals_CT[:, 1000:], start_s=10.0)
    live.finish()
    expected_K = replay(follow(detector_named("causal")), signals_CT, 500)
    np.testing.assert_array_equal(live.probability_K, expected_K)
    assert live.slowest_s >= live.compute_s > 0
