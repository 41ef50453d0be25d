"""Every detector leaves as a graph of torch.export and of ONNX, for batches of any size."""

import functools
from pathlib import Path

import pytest
import torch
from torch.export import ExportedProgram

from bgb.detectors import Detector, exporting
from bgb.detectors.exporting import export_detector, onnx_difference, random_windows, to_onnx
from bgb.errors import RunError
from bgb.export import export_onnx
from tests.detectors.catalogue import CATALOGUE, detector_of

pytestmark = pytest.mark.slow
# Entries of one class share their graph, but for those that look back only and even kernels.
FIRST = {type(model): name for name, (model, _) in reversed(CATALOGUE.items())}
NAMES = [*FIRST.values(), "spectral_ssm_causal", "seizure_transformer_even"]
each_class = pytest.mark.parametrize(  # both tests of one in one worker, which exports it once
    "name", [pytest.param(name, marks=pytest.mark.xdist_group(f"export {name}")) for name in NAMES]
)


@functools.cache
def exported(name: str) -> tuple[Detector, ExportedProgram]:
    detector = detector_of(*CATALOGUE[name])
    detector(*random_windows(detector, 4, seed=3))  # moves the statistics of the norms
    return detector.eval(), export_detector(detector)


@each_class
def test_exported_detector_takes_batches_of_any_size(name: str) -> None:
    detector, program = exported(name)
    module = program.module()
    for batch in (1, 5):
        windows = random_windows(detector, batch, seed=batch)
        torch.testing.assert_close(module(*windows), detector(*windows), rtol=1e-5, atol=1e-5)


@each_class
def test_onnx_gives_the_same_logits(name: str, tmp_path: Path) -> None:
    detector, program = exported(name)
    path = tmp_path / "detector.onnx"
    to_onnx(program, path)
    assert onnx_difference(detector, path) < 1e-4


def test_file_that_gives_other_logits_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = export_detector(detector_of(*CATALOGUE["eegnet"], seed=1))
    monkeypatch.setattr(exporting, "export_detector", lambda _: other)
    with pytest.raises(RunError, match=r"logits of the ONNX file differ by .*not written"):
        export_onnx(exported("eegnet")[0], tmp_path / "detector.onnx")
    assert not list(tmp_path.iterdir())
