"""Two files of TUSZ kind that no run can use, for tests of what happens then.

They are never part of a corpus: `write_broken` puts them where a test asks for them.
"""

from dataclasses import replace
from pathlib import Path

from bgb.config.data import SyntheticCorpus
from bgb.corpora.synthetic.corpus import write_recording
from bgb.corpora.synthetic.plan import RecordingPlan, plan_ordinary


def write_broken(root: Path, *, seed: int = 0) -> tuple[Path, Path]:
    """Write two recordings of 30 s below `root/edf/train` and return their EDF files.

    The first has no label file at all, the second a csv and csv_bi whose last row is cut in half.
    """
    config = SyntheticCorpus(seed=seed, train_patients=2, hours=0.01, oddities=False)
    first, second = (_shift(plan) for plan in plan_ordinary(config)[:2])
    for plan in (first, second):
        write_recording(root, seed, plan)
    unlabelled, malformed = (_edf(root, plan) for plan in (first, second))
    for suffix in (".csv", ".csv_bi"):
        unlabelled.with_suffix(suffix).unlink()
        labels = malformed.with_suffix(suffix)
        labels.write_text(labels.read_text()[:-12], encoding="ascii", newline="\n")
    return unlabelled, malformed


def _shift(plan: RecordingPlan) -> RecordingPlan:
    """Move a plan to a session that no corpus uses."""
    return replace(plan, session=900, number=900)


def _edf(root: Path, plan: RecordingPlan) -> Path:
    return root / "edf" / plan.folder / f"{plan.stem}.edf"
