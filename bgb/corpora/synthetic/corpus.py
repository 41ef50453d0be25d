"""Write the corpus once: a marker claims the folder, then every missing file is written.

A file is written under a temporary name and renamed, so one that exists is whole; the marker says
for which configuration and generator version they are. An interrupted call is therefore completed
by the next, a complete corpus is left alone, and a folder that holds anything else is refused.
Threads suffice: numpy, its FFT and file writes release the interpreter lock.
"""

import json
import logging
import os
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path

from bgb.config.data import SyntheticCorpus
from bgb.corpora.synthetic.edf import edf_bytes
from bgb.corpora.synthetic.labels import csv_bi_text, csv_text
from bgb.corpora.synthetic.oddities import plan_oddities
from bgb.corpora.synthetic.plan import RecordingPlan, plan_ordinary
from bgb.corpora.synthetic.render import generator, render
from bgb.errors import CorpusError
from bgb.files import write_bytes

GENERATOR_VERSION = 1  # raise it with every change that changes a byte of the corpus
MARKER = "synthetic.json"
_SUFFIXES = (".csv", ".csv_bi", ".edf")
_log = logging.getLogger(__name__)


def plan_corpus(config: SyntheticCorpus) -> tuple[RecordingPlan, ...]:
    """Return the plan of every file, ordinary ones first; a pure function of the configuration."""
    return plan_ordinary(config) + (plan_oddities(config) if config.oddities else ())


def ensure_synthetic(root: Path, config: SyntheticCorpus, *, progress: bool = True) -> None:
    """Write what is missing of the corpus below `root/edf`; do nothing where it is complete.

    Raises
    ------
    CorpusError : the folder holds a corpus of another configuration or version, or foreign files.
    """
    root = Path(root)
    plans = plan_corpus(config)
    claimed = _check_claim(root, config)
    missing = [plan for plan in plans if not all(file.exists() for file in _files(root, plan))]
    if not missing:
        return
    if not claimed:
        write_bytes(root / MARKER, _marker(config).encode())
    hours = sum(plan.duration_s for plan in missing) / 3600
    _log.info("writing %d of %d recordings (%.2f h) to %s", len(missing), len(plans), hours, root)
    _write_all(root, config.seed, missing, progress=progress)


def write_recording(root: Path, seed: int, plan: RecordingPlan) -> None:
    """Write the three files of a plan; the EDF last, so that it never stands without labels."""
    rng = generator(seed, plan)
    signals_CT = render(rng, plan)
    csv, csv_bi, edf = _files(root, plan)
    write_bytes(csv, csv_text(plan).encode())
    write_bytes(csv_bi, csv_bi_text(plan).encode())
    write_bytes(edf, edf_bytes(rng, plan, signals_CT))


def _files(root: Path, plan: RecordingPlan) -> tuple[Path, ...]:
    folder = root / "edf" / plan.folder
    return tuple(folder / (plan.stem + suffix) for suffix in _SUFFIXES)


def _marker(config: SyntheticCorpus) -> str:
    facts = {"generator_version": GENERATOR_VERSION, "config": asdict(config)}
    return json.dumps(facts, indent=2, sort_keys=True) + "\n"


def _check_claim(root: Path, config: SyntheticCorpus) -> bool:
    """Tell whether the folder is claimed for this corpus; refuse one that is another's."""
    marker = root / MARKER
    advice = "choose another data.root, or remove the folder if you do not need what it holds"
    if not marker.exists():
        if (root / "edf").exists():
            raise CorpusError(
                f"{root} holds edf/ but no {MARKER}: it was not written by bgb; {advice}"
            )
        return False
    found = marker.read_text(encoding="ascii")
    if found != _marker(config):
        raise CorpusError(
            f"{root} holds a synthetic corpus of {_one_line(found)}, "
            f"asked for is {_one_line(_marker(config))}; {advice}"
        )
    return True


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _write_all(root: Path, seed: int, plans: list[RecordingPlan], *, progress: bool) -> None:
    """Write recordings in parallel, the longest first, with a bar that counts seconds of EEG."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    plans = sorted(plans, key=lambda plan: -plan.duration_s)
    with (
        Progress(console=console, disable=not (progress and console.is_terminal)) as bar,
        ThreadPoolExecutor(max_workers=os.cpu_count()) as pool,
    ):
        task = bar.add_task("synthetic corpus", total=sum(plan.duration_s for plan in plans))
        futures = {pool.submit(write_recording, root, seed, plan): plan for plan in plans}
        try:
            for future in as_completed(futures):
                future.result()
                bar.advance(task, futures[future].duration_s)
        except BaseException:  # also Ctrl-C: what is not begun yet must not be waited for
            pool.shutdown(cancel_futures=True)
            raise
