"""The 19 electrodes of the 10-20 system, the double banana, and montages as small matrices.

Order is that of SzCORE. T3/T4/T5/T6 are the names of TUSZ (T7/T8/P7/P8 are synonyms). A montage is
applied on the device by the frontend, so that one cache serves every montage (DESIGN 4).
"""

# Shapes: C channels as cached, M channels of the montage

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bgb.errors import ChannelError

ELECTRODES: tuple[str, ...] = tuple(
    "Fp1 F3 C3 P3 O1 F7 T3 T5 Fz Cz Pz Fp2 F4 C4 P4 O2 F8 T4 T6".split()
)
DOUBLE_BANANA: tuple[str, ...] = tuple(
    "Fp1-F3 F3-C3 C3-P3 P3-O1 Fp1-F7 F7-T3 T3-T5 T5-O1 Fz-Cz Cz-Pz "
    "Fp2-F4 F4-C4 C4-P4 P4-O2 Fp2-F8 F8-T4 T4-T6 T6-O2".split()
)
MONTAGES: dict[str, tuple[str, ...]] = {
    "double_banana": DOUBLE_BANANA,
    "average": tuple(f"{electrode}-Avg" for electrode in ELECTRODES),
}
# Neighbours on the 10-20 grid, along rows and columns, and across the two poles.
_NEIGHBOURS = (
    "Fp1-Fp2 Fp1-F7 Fp1-F3 Fp2-F4 Fp2-F8 "
    "F7-F3 F3-Fz Fz-F4 F4-F8 F7-T3 F3-C3 Fz-Cz F4-C4 F8-T4 "
    "T3-C3 C3-Cz Cz-C4 C4-T4 T3-T5 C3-P3 Cz-Pz C4-P4 T4-T6 "
    "T5-P3 P3-Pz Pz-P4 P4-T6 T5-O1 P3-O1 P4-O2 T6-O2 O1-O2"
).split()


def montage_channels(montage: str) -> tuple[str, ...]:
    """Return the names of a montage's channels: "double_banana" (18) or "average" (19)."""
    if montage not in MONTAGES:
        raise ChannelError(f"montage {montage!r} is unknown; choose one of {sorted(MONTAGES)}")
    return MONTAGES[montage]


def montage_matrix(montage: str, channels: Sequence[str]) -> NDArray[np.float32]:
    """Return the (M, C) matrix that turns the given channels into a montage.

    `channels` are the 19 electrodes, or the 18 derivations of a bipolar source, in any order.
    From derivations only the double banana can be had: their common potential is lost for good.
    """
    names = montage_channels(montage)
    position = {channel: index for index, channel in enumerate(channels)}
    if set(position) == set(DOUBLE_BANANA):
        return _from_derivations(montage, position)
    if set(position) != set(ELECTRODES):
        raise ChannelError(
            f"no montage from the channels {list(channels)}; they must be the {len(ELECTRODES)} "
            f"electrodes {list(ELECTRODES)} or the {len(DOUBLE_BANANA)} derivations of the "
            "double banana"
        )
    matrix_MC = np.zeros((len(names), len(channels)), np.float32)
    for row, name in enumerate(names):
        electrode, minus = name.split("-")
        matrix_MC[row, position[electrode]] = 1
        if montage == "average":
            matrix_MC[row] -= np.float32(1 / len(channels))
        else:
            matrix_MC[row, position[minus]] = -1
    return matrix_MC


def neighbour_weights(channels: Sequence[str]) -> NDArray[np.float32]:
    """Return (C, C) weights with which neighbours stand in for a missing electrode.

    Row c holds equal weights, summing to 1, for the 3 or 4 neighbours of electrode c on the 10-20
    grid: Fz from F3, F4 and Cz, Pz from P3, P4 and Cz. The frontend renormalises over those that
    are present. Rows of derivations are zero: nothing can stand in for a difference.
    """
    position = {channel: index for index, channel in enumerate(channels)}
    weights_CC = np.zeros((len(channels), len(channels)), np.float32)
    for pair in _NEIGHBOURS:
        first, second = (position.get(name) for name in pair.split("-"))
        if first is not None and second is not None:
            weights_CC[first, second] = weights_CC[second, first] = 1
    weights_CC /= np.maximum(weights_CC.sum(axis=1, keepdims=True), 1)
    return weights_CC


def mirror_order(channels: Sequence[str]) -> tuple[int, ...]:
    """Return for each channel which one lies opposite; the midline lies opposite itself.

    No sign turns: the derivations of the double banana run front to back on both sides.
    """
    position = {channel: index for index, channel in enumerate(channels)}
    opposite = tuple("-".join(map(_opposite, channel.split("-"))) for channel in channels)
    absent = sorted(set(opposite) - set(channels))
    if absent:
        raise ChannelError(f"{list(channels)} cannot be mirrored: {absent} would be needed")
    return tuple(position[channel] for channel in opposite)


def _opposite(electrode: str) -> str:
    """Return the electrode of the other side: odd numbers are left, even right, z the midline."""
    if electrode.endswith("z"):
        return electrode
    number = int(electrode[-1])
    return f"{electrode[:-1]}{number + 1 if number % 2 else number - 1}"


def _from_derivations(montage: str, position: dict[str, int]) -> NDArray[np.float32]:
    if montage != "double_banana":
        raise ChannelError(
            f"montage {montage!r} needs electrodes, but the source is bipolar: differences have "
            "lost the common potential; train with frontend.montage=double_banana"
        )
    matrix_MC = np.zeros((len(position), len(position)), np.float32)
    for row, name in enumerate(DOUBLE_BANANA):
        matrix_MC[row, position[name]] = 1
    return matrix_MC
