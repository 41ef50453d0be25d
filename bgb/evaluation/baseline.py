"""The baseline every detector must beat: band power of 2 s segments and logistic regression.

It sees the double banana of the shared frontend, missing electrodes interpolated, and goes through
the same post-processing, threshold choice and scoring. Its strength of
regularisation is chosen on held-out train patients: on few patients an unregularised one overfits
to below chance, and beating that would prove nothing.
"""

# Shapes: S seconds, C channels, R samples a second, N segments, F features, B batch, T samples

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from bgb.data.tiles import Tiles
from bgb.detectors.frontend import Frontend
from bgb.eeg.bandpower import band_power
from bgb.errors import CacheError
from bgb.evaluation.series import PatientTiles, RecordingScore, num_steps
from bgb.evaluation.szcore import seizure_bounds

if TYPE_CHECKING:  # at the first use: training starts without scikit-learn
    from sklearn.pipeline import Pipeline

SEGMENT_S = 2
_STRENGTHS = (1.0, 0.1, 0.01, 1e-3, 1e-4, 1e-5)  # C of scikit-learn: small is strong
_LONE_STRENGTH = 1e-3  # where there are too few patients to choose
_NUM_FOLDS = 5
_MIN_PATIENTS = 2
_CHUNK_S = 600  # read and transformed at once: 12 MB of float32 at 256 Hz
_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Baseline:
    """A fitted band-power logistic regression."""

    pipeline: "Pipeline"

    def score(self, tiles: PatientTiles) -> RecordingScore:
        """Return the probability of a seizure for each segment of a recording."""
        starts_N = np.arange(0, tiles.num_seconds, SEGMENT_S)
        features_NF = _features(tiles, starts_N)
        probability_N = self.pipeline.predict_proba(features_NF)[:, 1].astype(np.float32)
        rate_hz = 1 / SEGMENT_S
        return RecordingScore(
            tiles.recording_id,
            tiles.patient,
            probability_N[: num_steps(tiles.duration_s, rate_hz)],
            rate_hz,
            tiles.duration_s,
            tuple(tiles.events),
        )


def fit_baseline(recordings: Sequence[PatientTiles], *, max_seconds: int, seed: int) -> Baseline:
    """Fit on at most `max_seconds` of segments of these recordings.

    Seizure segments are all taken, up to half of the bound (then drawn); background is drawn evenly
    from the recordings.

    Raises
    ------
    CacheError : there is no seizure, or nothing but seizure, to fit on.
    """
    generator = np.random.default_rng(seed)
    labels = [_labels(tiles) for tiles in recordings]
    chosen = _choose(labels, max_seconds // SEGMENT_S, generator)
    label_N = np.concatenate([label_N[index_N] for label_N, index_N in zip(labels, chosen)])
    if label_N.all() or not label_N.any():
        raise CacheError(
            f"the baseline cannot be fitted: {len(recordings)} train recordings hold "
            f"{int(label_N.sum())} seizure segments of {len(label_N)}; change data.split, or set "
            "evaluation.baseline=false"
        )
    features_NF = np.concatenate(
        [
            _features(tiles, index_N * SEGMENT_S)
            for tiles, index_N in zip(recordings, chosen)
            if len(index_N)
        ]
    )
    patient_N = np.repeat([tiles.patient for tiles in recordings], [len(n) for n in chosen])
    strength = _choose_strength(features_NF, label_N, patient_N)
    _log.info(
        "baseline fitted on %d segments, %d of seizure, C=%g",
        len(label_N), label_N.sum(), strength,
    )  # fmt: skip
    return Baseline(_pipeline(strength).fit(features_NF, label_N))


def _pipeline(strength: float) -> "Pipeline":
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    regression = LogisticRegression(C=strength, class_weight="balanced", max_iter=2000)
    return make_pipeline(StandardScaler(), regression)


def _choose_strength(
    features_NF: NDArray[np.float32], label_N: NDArray[np.bool_], patient_N: NDArray[np.str_]
) -> float:
    """Return the C with the best AUROC on patients held out in turn."""
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import PredefinedSplit, cross_val_predict

    fold_N = _folds(label_N, patient_N)
    if fold_N is None:
        return _LONE_STRENGTH
    aurocs = []
    for strength in _STRENGTHS:
        held_out_N = cross_val_predict(
            _pipeline(strength),
            features_NF,
            label_N,
            cv=PredefinedSplit(fold_N),
            method="decision_function",
        )
        aurocs.append(roc_auc_score(label_N, held_out_N))
    return _STRENGTHS[int(np.argmax(aurocs))]


def _folds(label_N: NDArray[np.bool_], patient_N: NDArray[np.str_]) -> NDArray[np.int64] | None:
    """Return the fold of each segment, by patient; None where holding out would empty a class.

    Patients are dealt out in the order seizure only, both, background only, so that neighbours,
    and with them each class, fall into different folds.
    """
    patients = np.unique(patient_N)
    seizure_share = {patient: label_N[patient_N == patient].mean() for patient in patients}
    num_with_seizure = sum(share > 0 for share in seizure_share.values())
    num_with_background = sum(share < 1 for share in seizure_share.values())
    if min(num_with_seizure, num_with_background) < _MIN_PATIENTS:
        return None
    order = sorted(patients, key=lambda patient: -seizure_share[patient])
    fold = {patient: rank % _NUM_FOLDS for rank, patient in enumerate(order)}
    return np.array([fold[patient] for patient in patient_N])


def _labels(tiles: Tiles) -> NDArray[np.bool_]:
    """Tell of each whole segment whether at least half of it is seizure."""
    num_segments = int(tiles.duration_s) // SEGMENT_S
    edges_s = np.arange(num_segments + 1) * float(SEGMENT_S)
    seizure_s_N = np.zeros(num_segments)
    for start_s, stop_s in seizure_bounds(tiles.events):
        overlap_s_N = np.minimum(edges_s[1:], stop_s) - np.maximum(edges_s[:-1], start_s)
        seizure_s_N += np.maximum(overlap_s_N, 0)
    return np.asarray(seizure_s_N >= SEGMENT_S / 2)


def _choose(
    labels: Sequence[NDArray[np.bool_]], max_segments: int, generator: np.random.Generator
) -> list[NDArray[np.int64]]:
    """Choose segments of each recording: indices, ascending."""
    seizure = [np.flatnonzero(label_N) for label_N in labels]
    keep = min(1.0, max_segments / 2 / max(1, sum(map(len, seizure))))
    seizure = [_draw(index_N, round(keep * len(index_N)), generator) for index_N in seizure]
    budget = max_segments - sum(map(len, seizure))
    background = [np.flatnonzero(~label_N) for label_N in labels]
    quota = _even_quota([len(index_N) for index_N in background], budget)
    return [
        np.sort(np.concatenate([few_N, _draw(many_N, quota, generator)]))
        for few_N, many_N in zip(seizure, background)
    ]


def _even_quota(available: Sequence[int], budget: int) -> int:
    """Return the most that each may give so that all together stay within the budget."""
    quota = 0
    for rank, count in enumerate(sorted(available)):
        share = budget // (len(available) - rank)
        quota = min(count, share)
        if share <= count:
            return share
        budget -= count
    return quota


def _draw(
    index_N: NDArray[np.int64], count: int, generator: np.random.Generator
) -> NDArray[np.int64]:
    return generator.permutation(index_N)[:count]


def _features(tiles: Tiles, starts_N: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the features (N, F) of the segments that begin at these seconds."""
    # The double banana in microvolts, missing electrodes interpolated.
    frontend = Frontend(tiles.spec, rate_hz=tiles.spec.rate_hz, normalise="fixed", scale_uv=1.0)
    # A segment past the end is moved back: zeros would look like a very quiet brain.
    starts_N = np.minimum(starts_N, max(0, tiles.num_seconds - SEGMENT_S))
    per_chunk = _CHUNK_S // SEGMENT_S
    return np.concatenate(
        [
            _chunk_features(tiles, starts_N[first : first + per_chunk], frontend)
            for first in range(0, len(starts_N), per_chunk)
        ]
    )


def _chunk_features(
    tiles: Tiles, starts_N: NDArray[np.int64], frontend: Frontend
) -> NDArray[np.float32]:
    segments = [_segment(tiles, int(start)) for start in starts_N]
    tiles_1SCR = torch.from_numpy(np.concatenate(segments))[None]
    present_1C = torch.from_numpy(np.array(tiles.present_C))[None]
    with torch.inference_mode():
        signals_CT = frontend(tiles_1SCR, present_1C)[0].numpy()
    return band_power(signals_CT, tiles.spec.rate_hz, segment_s=SEGMENT_S)


def _segment(tiles: Tiles, start: int) -> NDArray[np.int16]:
    """Read one segment; a recording of one second is repeated to fill it."""
    tiles_SCR = tiles.tiles(start, min(start + SEGMENT_S, tiles.num_seconds))
    return np.resize(tiles_SCR, (SEGMENT_S, *tiles_SCR.shape[1:]))
