"""The commands as a user types them: one small run, and everything that can be done with it."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import bgb
from bgb.eeg import read_events, read_recording
from bgb.eeg.montage import ELECTRODES
from bgb.training.loggers import read_metrics

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("commands")]
SMALL_CORPUS = (
    "data.root=data/synthetic-smoke",
    *("data.corpus.hours=0.5", "data.corpus.train_patients=3"),
    *("data.corpus.dev_patients=2", "data.corpus.eval_patients=2"),
)
SMOKE = ("train", "+experiment=smoke", "data.workers=1")


@dataclass(frozen=True)
class Workplace:
    """A folder in which the smoke experiment ran."""

    folder: Path
    output: str

    def type(self, *words: str, expect: int = 0) -> subprocess.CompletedProcess[str]:
        done = run(self.folder, *words)
        assert done.returncode == expect, done.stderr
        return done

    @property
    def run(self) -> Path:
        return next(self.folder.glob("runs/smoke-*"))


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", f"bgb.{words[0]}", *words[1:]]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "100"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    folder = tmp_path_factory.mktemp("workplace")
    done = run(folder, *SMOKE)
    assert done.returncode == 0, done.stderr
    return Workplace(folder, done.stdout)


def test_training_prints_patients_baseline_and_the_run_folder(place: Workplace) -> None:
    for text in ("Sens.", "FA/24 h", "AUROC", "All summed", "Baseline summed", place.run.name):
        assert text in place.output


def test_run_folder_holds_what_the_readme_says(place: Workplace) -> None:
    found = {path.name for path in place.run.iterdir()}
    assert {
        *("config.yaml", "provenance.json", "checkpoints", "metrics.csv", "tensorboard"),
        *("events", "scores.json"),
    } <= found


def test_scores_are_of_patients_never_trained_on(place: Workplace) -> None:
    scores = json.loads((place.run / "scores.json").read_text())
    scored = set(scores["detector"]["splits"]["eval"]["patients"])
    trained = {path.name for path in (place.folder / "data/synthetic-smoke/edf/train").iterdir()}
    assert scored
    assert not scored & trained


def test_events_are_written_for_every_scored_recording(place: Workplace) -> None:
    scores = json.loads((place.run / "scores.json").read_text())
    for split, result in scores["detector"]["splits"].items():
        for name, recording in result["recordings"].items():
            csv_bi = read_events(place.run / "events" / split / f"{name}.csv_bi")
            tsv = read_events(place.run / "events" / split / f"{name}_events.tsv")
            assert len(csv_bi) == len(tsv) == recording["num_detections"]


def test_repeated_command_trains_nothing_and_prints_the_same(place: Workplace) -> None:
    rows = read_metrics(place.run / "metrics.csv")
    assert place.type(*SMOKE).stdout == place.output
    assert read_metrics(place.run / "metrics.csv") == rows
    assert len(list(place.folder.glob("runs/smoke-*"))) == 1


def test_evaluate_repeats_the_scores(place: Workplace) -> None:
    before = (place.run / "scores.json").read_bytes()
    words = ("evaluate", f"run={place.run.relative_to(place.folder)}")
    assert place.type(*words).stdout == place.output
    assert (place.run / "scores.json").read_bytes() == before


def test_evaluate_with_a_fixed_threshold_leaves_the_run_alone(place: Workplace) -> None:
    before = (place.run / "scores.json").read_bytes()
    words = ("+postprocess=default", "postprocess.threshold=0.999", "out=strict")
    place.type("evaluate", f"run={place.run}", *words)
    strict = json.loads((place.folder / "strict" / "scores.json").read_text())
    assert strict["detector"]["threshold"]["threshold"] == 0.999
    assert (place.run / "scores.json").read_bytes() == before


def test_detect_finds_the_events_that_evaluation_found(place: Workplace) -> None:
    edf = next((place.folder / "data/synthetic-smoke/edf/eval").rglob("*.edf"))
    place.type("detect", f"run={place.run}", f"input={edf}")
    detected = read_events(place.folder / "detections" / f"{edf.stem}.csv_bi")
    assert detected == read_events(place.run / "events" / "eval" / f"{edf.stem}.csv_bi")
    with np.load(place.folder / "detections" / f"{edf.stem}_probability.npz") as saved:
        assert len(saved["probability_K"]) == -(-read_recording(edf).duration_s // 4)


def test_public_face_detects_what_the_command_detects(place: Workplace) -> None:
    edf = next((place.folder / "data/synthetic-smoke/edf/eval").rglob("*.edf"))
    loaded = bgb.load_run(place.run)
    detection = bgb.detect_recording(loaded, edf)
    assert detection.events == read_events(place.run / "events" / "eval" / f"{edf.stem}.csv_bi")
    assert detection.threshold == loaded.scores["detector"]["threshold"]["threshold"]
    nothing = bgb.detect_recording(loaded, edf, threshold=1 - 1e-9)
    assert not nothing.events


def test_live_replay_tells_its_delay_and_finds_the_same(place: Workplace) -> None:
    edf = next(place.folder.glob("data/**/eval/**/*.edf"))
    words = (f"run={place.run}", f"input={edf}", "out=replayed", "live=true", "chunk_s=13.7")
    shown = place.type("detect", *words).stdout
    live = bgb.detect_live(
        bgb.load_run(place.run), channels=[f"EEG {name}-REF" for name in ELECTRODES], rate_hz=250
    )
    assert f" {live.latency_s:g} s " in shown and "the same" in shown


def test_one_bad_file_does_not_stop_detection_in_the_others(place: Workplace) -> None:
    edf = next((place.folder / "data/synthetic-smoke/edf/eval").rglob("*.edf"))
    mixed = place.folder / "mixed"
    mixed.mkdir()
    (mixed / "a_broken.edf").write_bytes(edf.read_bytes()[:300])
    (mixed / "b_sound.edf").write_bytes(edf.read_bytes())
    words = (f"run={place.run}", "input=mixed", "out=mixed_out")
    done = place.type("detect", *words, expect=2)
    assert "1 files were not read:" in done.stderr
    assert "a_broken" in done.stderr
    assert "Traceback" not in done.stderr
    assert (place.folder / "mixed_out" / "b_sound.csv_bi").is_file()


def test_patients_of_the_training_are_never_scored_as_unseen(place: Workplace) -> None:
    # Lesson 10, through the back door: the same corpus under another split.
    patients = json.loads((place.run / "provenance.json").read_text())["patients"]
    swap = (
        f"data.split.train=[{','.join(patients['eval'])}]",
        f"data.split.dev=[{','.join(patients['dev'])}]",
        f"data.split.eval=[{','.join(patients['train'])}]",
    )
    words = ("+data=synthetic", *SMALL_CORPUS, "data.split.mode=list", *swap, "out=leak")
    done = place.type("evaluate", f"run={place.run}", *words, expect=2)
    assert "was trained or tuned on" in done.stderr
    assert not (place.folder / "leak").exists()


def test_unfinished_run_is_not_scored_as_if_it_were_done(place: Workplace) -> None:
    path = place.run / "provenance.json"
    finished = path.read_text()
    path.write_text(json.dumps({**json.loads(finished), "finished": None}))
    try:
        done = place.type("evaluate", f"run={place.run}", expect=2)
    finally:
        path.write_text(finished)
    assert "has not finished training: repeat its command" in done.stderr


@pytest.mark.parametrize(
    ("name", "message"),
    [("scores.json", "is not JSON"), ("checkpoints/best.ckpt", "cannot be read")],
)
def test_torn_file_of_a_run_is_named(place: Workplace, name: str, message: str) -> None:
    path = place.run / name
    sound = path.read_bytes()
    path.write_bytes(sound[:100])
    try:
        done = place.type("evaluate", f"run={place.run}", expect=2)
    finally:
        path.write_bytes(sound)
    assert f"{path} {message}" in done.stderr
    assert "Traceback" not in done.stderr


def test_results_that_is_a_file_is_named(place: Workplace) -> None:
    (place.folder / "afile").touch()
    done = place.type(*SMOKE, "results=afile", expect=2)
    assert "afile" in done.stderr
    assert "Traceback" not in done.stderr


def test_detect_without_edf_says_so(place: Workplace) -> None:
    done = place.type("detect", f"run={place.run}", f"input={place.run}", expect=2)
    assert "is neither an EDF file nor a folder that holds one" in done.stderr
    assert "Traceback" not in done.stderr


def test_evaluate_of_no_run_says_so(place: Workplace) -> None:
    done = place.type("evaluate", "run=nowhere", expect=2)
    assert "nowhere is no trained run" in done.stderr


def test_cache_build_does_nothing_twice(place: Workplace) -> None:
    files = {path: path.stat().st_mtime_ns for path in place.folder.glob("runs/cache/*/*/*/*.npz")}
    shown = place.type("cache", "action=build", *SMALL_CORPUS).stdout
    assert "train" in shown
    assert "seizures" in shown
    assert files == {path: path.stat().st_mtime_ns for path in files}


def test_cache_lists_inspects_and_verifies(place: Workplace) -> None:
    name = next(place.folder.glob("runs/cache/*/*/eval/*.npz")).stem
    assert "synthetic" in place.type("cache", "action=list").stdout
    shown = place.type("cache", "action=inspect", f"recording={name}", *SMALL_CORPUS).stdout
    assert "Fp1" in shown
    assert "0 damaged" in place.type("cache", "action=verify", *SMALL_CORPUS).stdout


def test_cache_verify_names_a_damaged_file(place: Workplace) -> None:
    victim = next(place.folder.glob("runs/cache/*/*/eval/*.npz"))
    sound = victim.read_bytes()
    victim.write_bytes(sound[:6000] + bytes([sound[6000] ^ 1]) + sound[6001:])
    try:
        done = place.type("cache", "action=verify", *SMALL_CORPUS, expect=2)
    finally:
        victim.write_bytes(sound)
    assert victim.name in done.stdout
    assert "1 of" in done.stderr


def test_notebook_of_the_cache_runs(place: Workplace) -> None:
    nbformat = pytest.importorskip("nbformat")
    from nbclient import NotebookClient

    cache = next(place.folder.glob("runs/cache/*/*/manifest.json")).parent
    path = Path(__file__).parents[1] / "notebooks" / "01_cache.ipynb"
    notebook = nbformat.read(path, as_version=4)
    os.environ["BGB_CACHE"] = str(cache)
    try:
        NotebookClient(notebook, timeout=300, kernel_name="python3").execute(cwd=str(place.folder))
    finally:
        del os.environ["BGB_CACHE"]
    drawn = [
        output
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    assert len(drawn) == 4


def test_bad_job_of_a_sweep_is_told_at_once_and_does_not_end_the_others(place: Workplace) -> None:
    words = ("cache", "-m", "action=verify,list", "data.corpus.seed=77")
    done = place.type(*words, expect=2)
    assert "this job failed, the sweep goes on: CacheError: no cache at" in done.stderr
    assert "synthetic" in done.stdout  # of `list`, the second job


def test_runs_lists_the_run_with_its_scores(place: Workplace) -> None:
    (row,) = json.loads(place.type("runs", "out=json").stdout)["rows"]
    scores = json.loads((place.run / "scores.json").read_text())["detector"]["splits"]["eval"]
    assert (row["name"], row["state"], row["epochs"]) == (place.run.name, "evaluated", 2)
    assert (row["auroc"], row["event_f1"]) == (scores["auroc"], scores["event"]["cumulated"]["f1"])


def test_pruned_run_keeps_what_its_commands_need(place: Workplace) -> None:
    last = place.run / "checkpoints" / "last.ckpt"
    content = last.read_bytes()
    (note,) = json.loads(place.type("runs", "action=prune", "out=json").stdout)["notes"]
    assert last.exists()
    try:
        place.type("runs", "action=prune", note.split()[-1])
        assert not last.exists()
        assert place.type(*SMOKE).stdout == place.output
    finally:
        last.write_bytes(content)


def test_export_writes_one_onnx_file_and_says_how_to_feed_it(place: Workplace) -> None:
    done = place.type("export", f"run={place.run}", "out=exported/detector.onnx")
    file = place.folder / "exported" / "detector.onnx"
    assert file.is_file()
    assert [path.name for path in file.parent.iterdir()] == ["detector.onnx"]
    assert "tiles_BSCR  int16 (batch, 60, 19, 256)" in done.stdout
    assert "logits equal to" in done.stdout
    assert "Warning" not in done.stderr
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    assert {feed.shape[0] for feed in (*session.get_inputs(), *session.get_outputs())} == {"batch"}
    facts = session.get_modelmeta().custom_metadata_map
    scores = json.loads((place.run / "scores.json").read_text())
    assert json.loads(facts["threshold"]) == scores["detector"]["threshold"]["threshold"]
    assert json.loads(facts["channels"])[:2] == ["Fp1", "F3"]
    assert facts["model"] == "eegnet"
