"""Frontend: scale, missing electrodes, montage, decimation, normalisation."""

# Shapes: B batch, S seconds, C channels, R samples a second, M montage channels, T samples

import numpy as np
import pytest
import torch
from scipy.signal import freqz
from torch import Tensor

from bgb.detectors import Frontend
from bgb.detectors.resample import Decimate, low_pass
from bgb.eeg.montage import DOUBLE_BANANA, ELECTRODES
from bgb.eeg.signal import SignalSpec
from bgb.errors import ChannelError, ConfigError

ELECTRODE_SIGNAL = SignalSpec("electrodes", ELECTRODES, 256)
BIPOLAR_SIGNAL = SignalSpec("double_banana", DOUBLE_BANANA, 256)


def tiles(signal: SignalSpec, *, batch: int = 2, seconds: int = 6, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    shape = (batch, seconds, signal.num_channels, signal.rate_hz)
    return torch.randint(-500, 500, shape, dtype=torch.int16, generator=generator)


def all_present(signal: SignalSpec, *, batch: int = 2) -> Tensor:
    return torch.ones(batch, signal.num_channels, dtype=torch.bool)


def without(*names: str) -> Tensor:
    present = all_present(ELECTRODE_SIGNAL)
    for name in names:
        present[:, ELECTRODES.index(name)] = False
    return present


def test_tiles_become_the_montage_in_units_of_the_scale() -> None:
    frontend = Frontend(ELECTRODE_SIGNAL, rate_hz=256, scale_uv=50)
    tiles_BSCR = tiles(ELECTRODE_SIGNAL)
    signal_BMT = frontend(tiles_BSCR, all_present(ELECTRODE_SIGNAL))
    microvolts_CT = tiles_BSCR[1].permute(1, 0, 2).reshape(19, -1) * 0.1
    first, second = ELECTRODES.index("Fp1"), ELECTRODES.index("F3")
    assert signal_BMT.shape == (2, 18, 6 * 256)
    assert signal_BMT.dtype == torch.float32
    torch.testing.assert_close(
        signal_BMT[1, 0], (microvolts_CT[first] - microvolts_CT[second]) / 50
    )


def test_average_montage_has_19_channels_that_sum_to_zero() -> None:
    frontend = Frontend(ELECTRODE_SIGNAL, rate_hz=256, montage="average")
    signal_BMT = frontend(tiles(ELECTRODE_SIGNAL), all_present(ELECTRODE_SIGNAL))
    assert signal_BMT.shape[1] == frontend.num_channels == 19
    assert signal_BMT.sum(1).abs().max() < 1e-4


def test_bipolar_source_gives_the_double_banana_of_the_electrodes() -> None:
    electrodes_BSCR = tiles(ELECTRODE_SIGNAL)
    of_electrodes = Frontend(ELECTRODE_SIGNAL, rate_hz=128)
    matrix_MC = of_electrodes.montage.to(torch.int16)
    derived_BSCR = torch.stack(
        [(electrodes_BSCR * row[:, None]).sum(2) for row in matrix_MC], dim=2
    ).to(torch.int16)
    of_derivations = Frontend(BIPOLAR_SIGNAL, rate_hz=128)
    torch.testing.assert_close(
        of_derivations(derived_BSCR, all_present(BIPOLAR_SIGNAL)),
        of_electrodes(electrodes_BSCR, all_present(ELECTRODE_SIGNAL)),
    )


def test_average_montage_of_a_bipolar_source_is_refused() -> None:
    with pytest.raises(ChannelError, match="double_banana"):
        Frontend(BIPOLAR_SIGNAL, rate_hz=256, montage="average")


def test_missing_electrode_is_the_mean_of_its_present_neighbours() -> None:
    # Lesson 6: Fz and Pz are absent in 249 files of TUSZ.
    frontend = Frontend(ELECTRODE_SIGNAL, rate_hz=256, scale_uv=0.1)
    tiles_BSCR = tiles(ELECTRODE_SIGNAL)
    tiles_BSCR[:, :, ELECTRODES.index("Fz")] = 0
    signal_BMT = frontend(tiles_BSCR, without("Fz", "F3"))
    electrode = {
        name: tiles_BSCR[:, :, index].flatten(1).float() for index, name in enumerate(ELECTRODES)
    }
    expected_BT = (electrode["F4"] + electrode["Cz"]) / 2 - electrode["Cz"]  # F3 is missing too
    torch.testing.assert_close(signal_BMT[:, DOUBLE_BANANA.index("Fz-Cz")], expected_BT)


def test_electrode_without_present_neighbours_is_the_mean_of_all_present() -> None:
    frontend = Frontend(ELECTRODE_SIGNAL, rate_hz=256, scale_uv=0.1)
    tiles_BSCR = tiles(ELECTRODE_SIGNAL)
    present = without("Fp1", "Fp2", "F7", "F3")
    signal_BMT = frontend(tiles_BSCR, present)
    mean_BT = tiles_BSCR.float().transpose(1, 2).flatten(2)[:, present[0]].mean(1)
    f3_BT = tiles_BSCR[:, :, [ELECTRODES.index(name) for name in ("Fz", "C3")]].float().mean(2)
    expected_BT = mean_BT - f3_BT.flatten(1)
    torch.testing.assert_close(signal_BMT[:, 0], expected_BT, rtol=1e-4, atol=1e-2)


def test_missing_samples_do_not_touch_the_present_ones() -> None:
    frontend = Frontend(ELECTRODE_SIGNAL, rate_hz=256)
    tiles_BSCR = tiles(ELECTRODE_SIGNAL)
    present = all_present(ELECTRODE_SIGNAL)
    whole = frontend(tiles_BSCR, present)
    present[0, 3] = False
    partly = frontend(tiles_BSCR, present)
    assert not torch.equal(partly[0], whole[0])
    torch.testing.assert_close(partly[1], whole[1])


def test_masked_derivations_are_zero_and_only_those() -> None:
    frontend = Frontend(ELECTRODE_SIGNAL, rate_hz=256, missing="mask")
    signal_BMT = frontend(tiles(ELECTRODE_SIGNAL), without("Pz"))
    is_zero_M = (signal_BMT == 0).all(-1).all(0)
    assert [DOUBLE_BANANA[channel] for channel in is_zero_M.nonzero()] == ["Cz-Pz"]


def test_masked_electrode_of_the_average_leaves_the_other_channels() -> None:
    frontend = Frontend(ELECTRODE_SIGNAL, rate_hz=256, missing="mask", montage="average")
    signal_BMT = frontend(tiles(ELECTRODE_SIGNAL), without("Pz"))
    is_zero_M = (signal_BMT == 0).all(-1).all(0)
    assert is_zero_M.nonzero().flatten().tolist() == [ELECTRODES.index("Pz")]


def test_missing_derivation_of_a_bipolar_source_is_zero() -> None:
    present = all_present(BIPOLAR_SIGNAL)
    present[:, 4] = False
    signal_BMT = Frontend(BIPOLAR_SIGNAL, rate_hz=256)(tiles(BIPOLAR_SIGNAL), present)
    is_zero_M = (signal_BMT == 0).all(-1).all(0)
    assert is_zero_M.nonzero().flatten().tolist() == [4]


def test_refused_missing_electrode_is_named() -> None:
    frontend = Frontend(ELECTRODE_SIGNAL, rate_hz=256, missing="refuse")
    frontend(tiles(ELECTRODE_SIGNAL), all_present(ELECTRODE_SIGNAL))
    with pytest.raises(ChannelError, match=r"lacks \['Fz'\].*frontend.missing=interpolate"):
        frontend(tiles(ELECTRODE_SIGNAL), without("Fz"))


@pytest.mark.parametrize("normalise", ["fixed", "window"])
@pytest.mark.parametrize("missing", ["interpolate", "mask"])
def test_nothing_at_all_stays_finite(normalise: str, missing: str) -> None:
    frontend = Frontend(ELECTRODE_SIGNAL, rate_hz=128, normalise=normalise, missing=missing)
    tiles_BSCR = torch.zeros(2, 6, 19, 256, dtype=torch.int16)
    for present in (without(), without(*ELECTRODES)):
        assert torch.equal(frontend(tiles_BSCR, present), torch.zeros(2, 18, 6 * 128))


def test_window_normalisation_ignores_padded_seconds() -> None:
    frontend = Frontend(ELECTRODE_SIGNAL, rate_hz=256, normalise="window")
    tiles_BSCR = tiles(ELECTRODE_SIGNAL, seconds=8)
    tiles_BSCR[:, 5:] = 0
    signal_BMT = frontend(tiles_BSCR, all_present(ELECTRODE_SIGNAL))
    recorded = signal_BMT[..., : 5 * 256]
    assert recorded.mean(-1).abs().max() < 1e-4
    torch.testing.assert_close(
        recorded.std(-1, unbiased=False), torch.ones(2, 18), atol=0.05, rtol=0
    )
    assert signal_BMT[..., 5 * 256 :].abs().max() == 0


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_low_pass_is_flat_below_and_60_db_down_above_the_new_nyquist_rate(factor: int) -> None:
    frequency, response = freqz(low_pass(factor).double().numpy(), worN=8192)
    of_new_nyquist = frequency / np.pi * factor
    assert np.abs(response[of_new_nyquist <= 0.8]) == pytest.approx(1, abs=2e-3)
    assert np.abs(response[of_new_nyquist >= 1]).max() < 1.2e-3


@pytest.mark.parametrize("factor", [2, 4])
def test_decimation_has_no_delay(factor: int) -> None:
    time_s = torch.arange(0, 8, 1 / 256, dtype=torch.float64)
    wave = torch.sin(2 * torch.pi * 7 * time_s).float()
    lowered = Decimate(factor)(wave.expand(2, 3, -1))
    middle = slice(64, -64)
    torch.testing.assert_close(lowered[1, 2, middle], wave[::factor][middle], atol=2e-3, rtol=0)


def test_a_rate_that_does_not_divide_the_cache_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"rate_hz=100 .*256 Hz.*\[32, 64, 128, 256\]"):
        Frontend(ELECTRODE_SIGNAL, rate_hz=100)


def test_frontend_has_no_parameters_and_saves_no_buffer() -> None:
    # Lesson 68: saved buffers of the montage broke loading; one set of weights serves all sources.
    frontend = Frontend(ELECTRODE_SIGNAL, rate_hz=64)
    assert not list(frontend.parameters())
    assert not frontend.state_dict()


def test_frontend_computes_in_float32_under_autocast() -> None:
    frontend = Frontend(ELECTRODE_SIGNAL, rate_hz=128)
    tiles_BSCR, present = tiles(ELECTRODE_SIGNAL), without("Cz")
    plain = frontend(tiles_BSCR, present)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = frontend(tiles_BSCR, present)
    assert mixed.dtype == torch.float32
    assert torch.equal(mixed, plain)
