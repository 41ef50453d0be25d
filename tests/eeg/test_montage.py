"""Montages are small matrices with fixed names and order."""

import numpy as np
import pytest

from bgb.eeg.montage import (
    DOUBLE_BANANA,
    ELECTRODES,
    mirror_order,
    montage_channels,
    montage_matrix,
    neighbour_weights,
)
from bgb.errors import ChannelError


def test_double_banana_subtracts_the_electrodes_that_it_names() -> None:
    signals_CT = np.random.default_rng(0).normal(size=(19, 5)).astype(np.float32)
    banana_MT = montage_matrix("double_banana", ELECTRODES) @ signals_CT
    assert montage_channels("double_banana") == DOUBLE_BANANA and len(banana_MT) == 18
    for name, derivation_T in zip(DOUBLE_BANANA, banana_MT, strict=True):
        first, second = (signals_CT[ELECTRODES.index(part)] for part in name.split("-"))
        np.testing.assert_allclose(derivation_T, first - second, rtol=1e-6)


def test_average_subtracts_the_mean_of_all_electrodes() -> None:
    signals_CT = np.random.default_rng(0).normal(size=(19, 5)).astype(np.float32)
    average_MT = montage_matrix("average", ELECTRODES) @ signals_CT
    np.testing.assert_allclose(average_MT, signals_CT - signals_CT.mean(axis=0), atol=1e-6)
    assert montage_channels("average")[0] == "Fp1-Avg"


@pytest.mark.parametrize("montage", ["double_banana", "average"])
def test_montage_does_not_see_the_reference(montage: str) -> None:
    matrix_MC = montage_matrix(montage, ELECTRODES)
    np.testing.assert_allclose(matrix_MC.sum(axis=1), 0, atol=1e-6)
    assert matrix_MC.dtype == np.float32


def test_bipolar_source_is_its_own_double_banana() -> None:
    np.testing.assert_array_equal(montage_matrix("double_banana", DOUBLE_BANANA), np.eye(18))


@pytest.mark.parametrize("montage", ["double_banana", "average"])
def test_channels_may_come_in_any_order(montage: str) -> None:
    order = np.random.default_rng(0).permutation(19)
    shuffled = montage_matrix(montage, [ELECTRODES[i] for i in order])
    np.testing.assert_array_equal(shuffled, montage_matrix(montage, ELECTRODES)[:, order])


def test_average_of_a_bipolar_source_is_refused() -> None:
    with pytest.raises(ChannelError, match="'average' needs electrodes, but the source is bipolar"):
        montage_matrix("average", DOUBLE_BANANA)


def test_unknown_montage_and_incomplete_channels_are_refused() -> None:
    with pytest.raises(ChannelError, match=r"'laplace' is unknown; choose one of \['average', 'd"):
        montage_matrix("laplace", ELECTRODES)
    with pytest.raises(ChannelError, match="they must be the 19 electrodes"):
        montage_matrix("average", ELECTRODES[1:])


def test_neighbours_surround_each_electrode_on_the_10_20_grid() -> None:
    weights_CC = neighbour_weights(ELECTRODES)
    neighbours = {
        name: {ELECTRODES[i] for i in np.flatnonzero(row)}
        for name, row in zip(ELECTRODES, weights_CC, strict=True)
    }
    assert neighbours["Fz"] == {"F3", "F4", "Cz"}
    assert neighbours["Pz"] == {"P3", "P4", "Cz"}
    assert neighbours["Cz"] == {"Fz", "Pz", "C3", "C4"}
    assert neighbours["Fp1"] == {"Fp2", "F3", "F7"}
    assert neighbours["T5"] == {"T3", "P3", "O1"}
    assert {len(names) for names in neighbours.values()} == {3, 4}
    np.testing.assert_allclose(weights_CC.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(weights_CC > 0, (weights_CC > 0).T)
    assert not weights_CC.diagonal().any()


def test_neighbours_mirror_left_and_right() -> None:
    mirror = str.maketrans("12345678", "21436587")
    swap = [ELECTRODES.index(name.translate(mirror)) for name in ELECTRODES]
    weights_CC = neighbour_weights(ELECTRODES)
    np.testing.assert_array_equal(weights_CC, weights_CC[np.ix_(swap, swap)])


def test_nothing_stands_in_for_a_derivation() -> None:
    assert not neighbour_weights(DOUBLE_BANANA).any()
    assert neighbour_weights(DOUBLE_BANANA).shape == (18, 18)


def test_mirror_swaps_left_and_right_and_keeps_the_midline() -> None:
    opposite = {
        name: ELECTRODES[index] for name, index in zip(ELECTRODES, mirror_order(ELECTRODES))
    }
    assert (opposite["Fp1"], opposite["T6"], opposite["Cz"]) == ("Fp2", "T5", "Cz")
    assert all(opposite[opposite[name]] == name for name in ELECTRODES)
    assert [name for name in ELECTRODES if opposite[name] == name] == ["Fz", "Cz", "Pz"]


def test_derivations_of_mirrored_electrodes_are_the_mirrored_derivations() -> None:
    # Exactly, sign and all: the double banana runs front to back on both sides.
    matrix_MC = montage_matrix("double_banana", ELECTRODES)
    np.testing.assert_array_equal(
        matrix_MC[:, list(mirror_order(ELECTRODES))], matrix_MC[list(mirror_order(DOUBLE_BANANA))]
    )


def test_channels_without_an_opposite_are_refused() -> None:
    with pytest.raises(ChannelError, match=r"cannot be mirrored: \['F4'\] would be needed"):
        mirror_order(["F3", "Cz"])
