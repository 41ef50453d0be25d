"""Augmentation: what each step does, that it is seeded by sample, and that padding stays zero."""

# Shapes: B batch, S seconds, C channels, R samples a second, T samples, M channels of the montage

from dataclasses import fields, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from bgb.config.augment import AugmentConfig
from bgb.detectors import Frontend
from bgb.detectors.augment import Augmentation, build_augmentation
from bgb.eeg.montage import DOUBLE_BANANA, ELECTRODES
from bgb.eeg.signal import SignalSpec

ELECTRODE_SIGNAL = SignalSpec("electrodes", ELECTRODES, 64)
BIPOLAR_SIGNAL = SignalSpec("double_banana", DOUBLE_BANANA, 64)
BATCH, SECONDS = 40, 8
STEPS = [field.name for field in fields(AugmentConfig)]
each_step = pytest.mark.parametrize("step", STEPS)


def only(step: str, probability: float = 1.0, **values: float) -> AugmentConfig:
    """Return a configuration with one step on."""
    config = AugmentConfig()
    changed = replace(getattr(config, step), probability=probability, **values)
    return replace(config, **{step: changed})


def batch(signal: SignalSpec = ELECTRODE_SIGNAL, *, seconds: int = SECONDS) -> dict[str, Tensor]:
    """Return steady windows that begin at their second, all channels present."""
    generator = torch.Generator().manual_seed(0)
    shape = (BATCH, seconds, signal.num_channels, signal.rate_hz)
    return {
        "tiles_BSCR": torch.randint(-500, 500, shape, dtype=torch.int16, generator=generator),
        "present_BC": torch.ones(BATCH, signal.num_channels, dtype=torch.bool),
        "labels_BK": torch.zeros(BATCH, 4),
        "sample_B": torch.arange(100, 100 + BATCH),
        "shift_B": torch.zeros(BATCH, dtype=torch.int64),
    }


def run(
    config: AugmentConfig, values: dict[str, Any], signal: SignalSpec = ELECTRODE_SIGNAL
) -> tuple[Tensor, Tensor]:
    """Return tiles (B, S, C, R) and channels present."""
    augmentation = build_augmentation(config, signal, seed=3)
    assert augmentation is not None
    tiles_BSCR, present_BC = augmentation(**values)
    return tiles_BSCR, present_BC


def channel_major(tiles_BSCR: Tensor) -> Tensor:
    """Return float32 tiles as `TileBuffers` holds them: flattening their seconds copies nothing."""
    return tiles_BSCR.transpose(1, 2).contiguous().float().transpose(1, 2)


def electrodes(tiles_BSCR: Tensor) -> Tensor:
    """Return (B, C, T) in float32."""
    return tiles_BSCR.float().transpose(1, 2).flatten(2)


def test_nothing_is_built_where_everything_is_off() -> None:
    assert build_augmentation(AugmentConfig(), ELECTRODE_SIGNAL, seed=0) is None


@each_step
def test_every_step_changes_something_and_never_the_batch_itself(step: str) -> None:
    values = batch(seconds=SECONDS + (step == "shift"))
    values["shift_B"] += 5
    for tiles_BSCR in (values["tiles_BSCR"], channel_major(values["tiles_BSCR"])):
        values["tiles_BSCR"] = tiles_BSCR
        before = {name: value.clone() for name, value in values.items()}
        changed_BSCR, present_BC = run(only(step), values)
        assert changed_BSCR.dtype == torch.float32
        assert changed_BSCR.shape == (BATCH, SECONDS, 19, 64)
        assert all(torch.equal(values[name], value) for name, value in before.items())
        same = torch.equal(changed_BSCR, tiles_BSCR[:, :SECONDS].float())
        assert not same or not torch.equal(present_BC, values["present_BC"])


@each_step
def test_a_sample_is_changed_in_the_same_way_in_every_batch(step: str) -> None:
    config, values = only(step, 0.5), batch(seconds=SECONDS + (step == "shift"))
    values["shift_B"] = torch.arange(BATCH)
    whole = run(config, values)
    order = torch.randperm(BATCH, generator=torch.Generator().manual_seed(1))
    for rows in (order[:1], order[1:4], order[4:]):
        for part, expected in zip(run(config, {n: v[rows] for n, v in values.items()}), whole):
            assert torch.equal(part, expected[rows])


@each_step
def test_int16_and_float_tiles_give_the_same_bits(step: str) -> None:
    values = batch(seconds=SECONDS + (step == "shift"))
    expected = run(only(step), values)
    actual = run(only(step), {**values, "tiles_BSCR": channel_major(values["tiles_BSCR"])})
    assert all(torch.equal(one, other) for one, other in zip(actual, expected))


@pytest.mark.parametrize("step", [name for name in STEPS if name != "shift"])
def test_probability_is_the_share_of_windows_changed(step: str) -> None:
    values = batch()
    changed_BSCR, present_BC = run(only(step, 0.3), values)
    is_changed_B = (changed_BSCR != values["tiles_BSCR"]).flatten(1).any(1)
    is_changed_B |= ~present_BC.all(1)
    assert 0.1 < is_changed_B.float().mean() < 0.5


@each_step
def test_padding_stays_zero(step: str) -> None:
    values = batch(seconds=SECONDS + (step == "shift"))
    values["tiles_BSCR"][:, 5:] = 0
    changed_BSCR, _ = run(only(step), values)
    assert not changed_BSCR[:, 5:].any()
    assert changed_BSCR[:, :5].any()


def test_seed_decides() -> None:
    values = batch()
    one, other = (
        Augmentation(only("noise"), ELECTRODE_SIGNAL, seed=seed)(**values)[0] for seed in (0, 1)
    )
    assert not torch.equal(one, other)


def test_nothing_of_it_is_saved() -> None:  # lesson 68
    assert not Augmentation(only("mirror"), ELECTRODE_SIGNAL, seed=0).state_dict()


def test_mirror_swaps_sides_and_what_is_missing_with_them() -> None:
    values = batch()
    left, right = ELECTRODES.index("T5"), ELECTRODES.index("T6")
    middle = ELECTRODES.index("Cz")
    values["present_BC"][:, left] = False
    mirrored_BSCR, present_BC = run(only("mirror"), values)
    assert torch.equal(mirrored_BSCR[:, :, right], values["tiles_BSCR"][:, :, left].float())
    assert torch.equal(mirrored_BSCR[:, :, left], values["tiles_BSCR"][:, :, right].float())
    assert torch.equal(mirrored_BSCR[:, :, middle], values["tiles_BSCR"][:, :, middle].float())
    assert not present_BC[:, right].any()
    assert present_BC[:, left].all()


def test_mirrored_derivations_are_those_of_mirrored_electrodes() -> None:
    values, frontend = batch(), Frontend(ELECTRODE_SIGNAL, rate_hz=64, scale_uv=0.1)
    bipolar = Frontend(BIPOLAR_SIGNAL, rate_hz=64, scale_uv=0.1)
    of_electrodes_BMT = frontend(*run(only("mirror"), values))
    derived_BMT = frontend(values["tiles_BSCR"], values["present_BC"])
    derived = {
        **values,
        "tiles_BSCR": derived_BMT.reshape(BATCH, 18, SECONDS, 64).transpose(1, 2),
        "present_BC": torch.ones(BATCH, 18, dtype=torch.bool),
    }
    of_derivations_BMT = bipolar(*run(only("mirror"), derived, BIPOLAR_SIGNAL))
    torch.testing.assert_close(of_derivations_BMT, of_electrodes_BMT)


def test_gains_are_log_uniform_and_one_a_window() -> None:
    values = batch()
    changed_BCT = electrodes(run(only("amplitude", max_gain=2.0), values)[0])
    before_BCT = electrodes(values["tiles_BSCR"])
    gain_B = changed_BCT.flatten(1).norm(dim=1) / before_BCT.flatten(1).norm(dim=1)
    torch.testing.assert_close(changed_BCT, before_BCT * gain_B[:, None, None], rtol=1e-5, atol=0)
    assert 0.5 <= gain_B.min() < 0.65 < 1.5 < gain_B.max() <= 2
    assert gain_B.log2().mean().abs() < 0.3


def test_lost_electrodes_are_filled_in_by_the_policy_of_the_frontend() -> None:
    values = batch()
    tiles_BSCR, present_BC = run(only("dropout", share=0.2), values)
    assert 0.1 < (~present_BC).float().mean() < 0.3
    frontend = Frontend(ELECTRODE_SIGNAL, rate_hz=64)
    zeroed_BSCR = tiles_BSCR * present_BC[:, None, :, None]
    assert torch.equal(frontend(tiles_BSCR, present_BC), frontend(zeroed_BSCR, present_BC))


def test_an_electrode_that_is_missing_already_stays_missing() -> None:
    values = batch()
    values["present_BC"][:, 3] = False
    assert not run(only("dropout"), values)[1][:, 3].any()


@pytest.mark.parametrize(("unit", "quantum", "most"), [("uV", 0.1, 5.0), ("z", 2**-8, 0.1)])
def test_noise_is_white_independent_and_below_its_bound(
    unit: str, quantum: float, most: float
) -> None:
    values = batch()
    signal = replace(ELECTRODE_SIGNAL, quantum_uv=quantum, unit=unit)
    changed_BSCR, _ = run(only("noise", max_uv=5.0), values, signal)
    noise_BCT = quantum * electrodes(changed_BSCR - values["tiles_BSCR"])
    deviation_B = noise_BCT.flatten(1).std(1)
    assert 0 < deviation_B.min() < 0.3 * most < 0.8 * most < deviation_B.max() < 1.05 * most
    loudest_CT = noise_BCT[deviation_B.argmax()]
    correlation_CC = torch.corrcoef(loudest_CT) - torch.eye(19)
    assert correlation_CC.abs().max() < 0.2
    assert (loudest_CT[:, 1:] * loudest_CT[:, :-1]).mean().abs() < 0.05 * loudest_CT.var()


def test_surrogate_keeps_spectra_and_coherence_but_not_the_signal() -> None:
    values = batch()
    before_BCT = electrodes(values["tiles_BSCR"])
    after_BCT = electrodes(run(only("surrogate"), values)[0])
    before, after = torch.fft.rfft(before_BCT), torch.fft.rfft(after_BCT)
    torch.testing.assert_close(after.abs(), before.abs(), rtol=1e-3, atol=0.5)
    torch.testing.assert_close(
        after[:, 0] * after[:, 7].conj(), before[:, 0] * before[:, 7].conj(), rtol=1e-3, atol=2e3
    )
    torch.testing.assert_close(after_BCT.mean(2), before_BCT.mean(2), rtol=1e-3, atol=1e-2)
    assert torch.corrcoef(torch.stack((before_BCT[0, 0], after_BCT[0, 0])))[0, 1].abs() < 0.2


def test_surrogate_of_no_magnitude_is_nearly_the_signal() -> None:
    values = batch()
    tiles_BSCR, _ = run(only("surrogate", magnitude=1e-6), values)
    torch.testing.assert_close(tiles_BSCR, values["tiles_BSCR"].float(), rtol=0, atol=0.1)


def test_windows_whose_label_changes_and_padded_ones_get_no_surrogate() -> None:
    values = batch()
    values["labels_BK"][0, 2:] = 1  # an onset
    values["labels_BK"][1] = 1  # all seizure
    values["labels_BK"][2] = torch.tensor([0.0, 0.3, 0.0, 0.0])  # a ramp that reaches in
    values["tiles_BSCR"][3, 6:] = 0
    tiles_BSCR, _ = run(only("surrogate"), values)
    is_same_B = (tiles_BSCR == values["tiles_BSCR"]).flatten(1).all(1)
    assert is_same_B.nonzero().flatten().tolist() == [0, 2, 3]


def test_bandstop_takes_out_one_band_of_bounded_width() -> None:
    values = batch()
    config = only("bandstop", max_width_hz=4.0, max_centre_hz=20.0)
    before = torch.fft.rfft(electrodes(values["tiles_BSCR"]))
    gain_BCF = torch.fft.rfft(electrodes(run(config, values)[0])).abs() / before.abs()
    frequency_F = torch.fft.rfftfreq(SECONDS * 64, 1 / 64)
    is_low_BF = gain_BCF.median(1).values < 0.5
    width_hz_B = is_low_BF.float().sum(1) / SECONDS
    assert width_hz_B.max() < 4.2
    assert width_hz_B.mean() > 1
    widest = int(width_hz_B.argmax())
    centre_hz = frequency_F[is_low_BF[widest]].mean()
    far_F = (frequency_F - centre_hz).abs() > 6
    torch.testing.assert_close(
        gain_BCF[widest][:, far_F], torch.ones(19, int(far_F.sum())), rtol=0, atol=0.01
    )


def test_shifted_windows_begin_where_the_batch_says() -> None:
    values = batch(seconds=SECONDS + 1)
    values["shift_B"] = torch.arange(BATCH) % 64
    shifted_BCT = electrodes(run(only("shift"), values)[0])
    before_BCT = electrodes(values["tiles_BSCR"])
    for row, shift in enumerate(values["shift_B"].tolist()):
        assert torch.equal(shifted_BCT[row], before_BCT[row, :, shift : shift + SECONDS * 64])


def test_padding_stays_zero_behind_a_shift() -> None:
    config = replace(
        only("noise", max_uv=100.0), shift=replace(AugmentConfig().shift, probability=1.0)
    )
    values = batch(seconds=SECONDS + 1)
    values["tiles_BSCR"][:, -1] = 0  # the recording ends with the window
    values["shift_B"] = torch.full((BATCH,), 40)
    tiles_BSCR, _ = run(config, values)
    signal_BCT = tiles_BSCR.transpose(1, 2).flatten(2)
    assert (signal_BCT[..., -40:] == 0).all()
    assert (signal_BCT[..., -64:-40] != 0).any()
