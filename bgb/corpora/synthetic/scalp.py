"""Where electrodes sit and how a source reaches them: volume conduction as a smooth, fixed blur.

Positions are the 10-20 system seen from above, nose up, ears at radius 1. A source reaches every
electrode with a Gaussian of the distance, so that neighbours share signal as on a real scalp.
"""

# Shapes: C channels, S sources, T samples, 2 coordinates (right, front)

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

POSITIONS: dict[str, tuple[float, float]] = {
    "FP1": (-0.31, 0.95),
    "FP2": (0.31, 0.95),
    "F3": (-0.42, 0.52),
    "F4": (0.42, 0.52),
    "C3": (-0.50, 0.0),
    "C4": (0.50, 0.0),
    "P3": (-0.42, -0.52),
    "P4": (0.42, -0.52),
    "O1": (-0.31, -0.95),
    "O2": (0.31, -0.95),
    "F7": (-0.81, 0.59),
    "F8": (0.81, 0.59),
    "T3": (-1.0, 0.0),
    "T4": (1.0, 0.0),
    "T5": (-0.81, -0.59),
    "T6": (0.81, -0.59),
    "FZ": (0.0, 0.50),
    "CZ": (0.0, 0.0),
    "PZ": (0.0, -0.50),
    "A1": (-1.20, -0.12),
    "A2": (1.20, -0.12),
}
ELECTRODE_NAMES = tuple(POSITIONS)  # the order of a TUSZ header, ears last
SITES_C2: Floats = np.array(list(POSITIONS.values()), dtype=np.float32)


def index(name: str) -> int:
    """Return the row of an electrode in every array of this package."""
    return ELECTRODE_NAMES.index(name)


def field(site: tuple[float, float], width: float) -> Floats:
    """Return the weight of a source at `site` in every electrode (C,): 1 at the source."""
    offsets_C2 = SITES_C2 - np.array(site, np.float32)
    weights_C: Floats = np.exp(-np.sum(offsets_C2**2, axis=1) / np.float32(2 * width**2))
    return weights_C


def mix(fields_SC: Floats, sources_ST: Floats) -> Floats:
    """Return what the electrodes see (C, T); no BLAS, so the bytes never depend on its threads."""
    signals_CT = np.zeros((fields_SC.shape[1], sources_ST.shape[1]), np.float32)
    for field_C, source_T in zip(fields_SC, sources_ST, strict=True):
        signals_CT += field_C[:, None] * source_T
    return signals_CT
