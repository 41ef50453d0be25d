"""The commands on real EEG: BIDS clips, recordings in TUSZ form, bipolar CHB-MIT clips.

Each trains for a moment only: what is tested is the way from the files to the scores, not how good
a detector is.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bgb.eeg import read_events

pytestmark = [pytest.mark.real_data, pytest.mark.slow, pytest.mark.xdist_group("real")]
TINY = (
    *("model=eegnet", "trainer.max_epochs=1", "data.sampling.windows_per_epoch=16"),
    *("data.batch_size=8", "data.workers=1", "logger=csv", "data.preprocess.notch_hz=50"),
)


def type_command(folder: Path, *words: str) -> str:
    command = [sys.executable, "-m", f"bgb.{words[0]}", *words[1:]]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "100"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("real")


@pytest.fixture(scope="module")
def bids_run(folder: Path, real_data: Path) -> Path:
    root = real_data / "helsinki_neonatal"
    type_command(folder, "train", "data=bids", f"data.root={root}", "run=bids", *TINY)
    return folder / "runs" / "bids"


def test_bids_tree_is_trained_on_and_scored_by_neonate(bids_run: Path) -> None:
    scores = json.loads((bids_run / "scores.json").read_text())
    scored = scores["detector"]["splits"]["eval"]
    assert scored["num_patients"] == scored["num_recordings"] == 8
    assert scored["num_seizures"] > 0
    provenance = json.loads((bids_run / "provenance.json").read_text())
    counts = {split: row["num_recordings"] for split, row in provenance["corpus"].items()}
    assert counts == {"train": 26, "dev": 8, "eval": 8}


def test_flat_folders_in_tusz_form_are_trained_on_and_scored(folder: Path, real_data: Path) -> None:
    root = real_data / "helsinki_neonatal" / "assembled"
    type_command(folder, "train", "data=tusz", f"data.root={root}", "run=tusz", *TINY)
    scores = json.loads((folder / "runs" / "tusz" / "scores.json").read_text())
    recordings = scores["detector"]["splits"]["eval"]["recordings"]
    assert list(recordings) == ["helsiasm00e_s001_t000"]
    assert recordings["helsiasm00e_s001_t000"]["num_seizures"] == 7


def test_detector_trained_on_electrodes_reads_bipolar_chbmit(
    folder: Path, bids_run: Path, real_data: Path
) -> None:
    clips = real_data / "chbmit_clips" / "chb01"
    shown = type_command(folder, "detect", f"run={bids_run}", f"input={clips}", "threshold=0.5")
    for edf in clips.glob("*.edf"):
        assert edf.stem in shown
        for ending in (".csv_bi", "_events.tsv"):
            read_events(folder / "detections" / f"{edf.stem}{ending}")


def test_detector_is_scored_on_another_corpus_that_has_only_an_eval_split(
    folder: Path, bids_run: Path, real_data: Path
) -> None:
    type_command(
        *(folder, "evaluate", f"run={bids_run}", "out=chb", "baseline=false"),
        *("+data=chbmit", f"data.root={real_data / 'chbmit_clips'}", "data.workers=1"),
        *("data.split.mode=list", "data.split.eval=[chb01]"),
        *("+postprocess=default", "postprocess.threshold=0.5"),
    )
    scores = json.loads((folder / "chb" / "scores.json").read_text())
    assert scores["baseline"] is None
    scored = scores["detector"]["splits"]
    assert list(scored) == ["eval"]
    assert (scored["eval"]["num_recordings"], scored["eval"]["num_seizures"]) == (18, 11)
