"""How far a logit of every detector sees, measured by gradient, is what its facts say."""

# Shapes: B batch, C channels, T samples, S seconds, K output steps

import torch
from torch import Tensor

from bgb.config.model import EventNetUnetConfig, ModelConfig
from bgb.detectors import Detector
from tests.detectors.catalogue import detector_of, each_model

# By attention or recurrence; the receptive field they state is the least that makes sense.
SEE_ALL = {"deepsoz", "mamba_unet", "seizure_transformer", "spectral_ssm"}
_NOISES = 4  # a max pool hides most samples of one noise


def seen_seconds(detector: Detector, step: int) -> Tensor:
    """Return the seconds of the window that change one logit, in order."""
    network = detector.network.eval()
    generator = torch.Generator().manual_seed(0)
    shape = (_NOISES, detector.frontend.num_channels, detector.window_s, detector.rate_hz)
    noise_BCSR = torch.randn(shape, generator=generator).requires_grad_()
    network(noise_BCSR.flatten(2))[:, step].sum().backward()
    assert noise_BCSR.grad is not None
    return noise_BCSR.grad.any(3).any(1).any(0).nonzero()[:, 0]


def judged(detector: Detector, step: int) -> tuple[float, float]:
    """Return first and last second that one logit judges."""
    begin_s = detector.context_s[0] + step / detector.out_rate_hz
    return begin_s, begin_s + 1 / detector.out_rate_hz


def num_steps(detector: Detector) -> int:
    return round((detector.window_s - sum(detector.context_s)) * detector.out_rate_hz)


@each_model
def test_a_logit_sees_what_it_judges_and_as_far_as_its_facts_say(
    model: ModelConfig, window_s: int
) -> None:
    detector = detector_of(model, 2 * window_s)
    step = num_steps(detector) // 2
    seen_S = seen_seconds(detector, step)
    begin_s, end_s = judged(detector, step)
    assert ((seen_S > begin_s - 1) & (seen_S < end_s)).any()
    reach_s = float(seen_S.max() + 1 - seen_S.min())
    assert reach_s > 0.8 * min(detector.receptive_field_s, detector.window_s / 2)
    assert seen_S.min() <= begin_s - detector.context_s[0]
    assert seen_S.max() + 1 >= end_s + detector.context_s[1]


@each_model
def test_a_logit_sees_a_bounded_stretch_or_all_that_it_may(
    model: ModelConfig, window_s: int
) -> None:
    detector = detector_of(model, 2 * window_s)
    step = num_steps(detector) // 2
    seen_S = seen_seconds(detector, step)
    begin_s, end_s = judged(detector, step)
    if model.name in SEE_ALL:
        until_s = end_s if getattr(model, "causal", False) else detector.window_s
        assert (seen_S.min(), seen_S.max()) == (0, until_s - 1)
        return
    around_s = end_s - begin_s + sum(detector.context_s)
    if detector.receptive_field_s == around_s:  # judges a segment, and nothing beyond
        assert seen_S.min() >= begin_s - detector.context_s[0]
        assert seen_S.max() < end_s + detector.context_s[1]
    assert len(seen_S) < 2.5 * detector.receptive_field_s


@each_model
def test_no_second_of_a_window_is_read_in_vain(model: ModelConfig, window_s: int) -> None:
    detector = detector_of(model, window_s)
    seen = {
        second
        for step in {0, num_steps(detector) // 2, num_steps(detector) - 1}
        for second in seen_seconds(detector, step).tolist()
    }
    assert {0, window_s - 1} <= seen


@each_model
def test_configuration_knows_receptive_field_and_context(model: ModelConfig, window_s: int) -> None:
    detector = detector_of(model, window_s)
    assert model.shortest_window_s == detector.receptive_field_s
    assert model.context_s == detector.context_s
    assert window_s >= model.shortest_window_s
    assert (window_s - sum(model.context_s)) % model.window_multiple_s == 0


def test_unet_sees_about_as_far_as_it_says() -> None:
    detector = detector_of(EventNetUnetConfig(rate_hz=128, base_channels=4), 64)
    reach_s = len(seen_seconds(detector, num_steps(detector) // 2))
    assert detector.receptive_field_s == 18
    assert 0.8 * 18 < reach_s < 2.5 * 18
