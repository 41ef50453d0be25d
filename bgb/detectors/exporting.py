"""A detector as a graph that runs without bgb: torch.export, and ONNX from it.

What is exported is the whole detector with its frontend, so nothing is left to be done alike
elsewhere. In: `tiles_BSCR`, int16 in quanta of the cache (0.1 uV), filtered and resampled as the
cache is; `present_BC`, bool, False for a channel that the recording lacks. Out: `logits_BK`,
float32, of the judged part of the window. The batch is free; the seconds are those of the
detector's window. ONNX needs the extra `bgb[export]`.
"""

# Shapes: B batch, S seconds, C cached channels, R samples a second, K output steps

import contextlib
import copy
import logging
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

from bgb.detectors.detector import Detector
from bgb.files import write_bytes

_INPUTS = ("tiles_BSCR", "present_BC")
_OUTPUT = "logits_BK"
_FREE = "batch"  # the name of that dimension
_EXAMPLES = 2  # a batch of 0 or 1 would be taken for a constant


def export_detector(detector: Detector) -> ExportedProgram:
    """Return the detector in evaluation mode, on the CPU, for batches of any size."""
    free = {0: Dim(_FREE)}
    with torch.no_grad(), warnings.catch_warnings():
        # Weights that an LSTM flattens anew in every call.
        warnings.filterwarnings("ignore", r"The tensor attributes? .*_flat_weights", UserWarning)
        return torch.export.export(
            copy.deepcopy(detector).cpu().eval(),
            random_windows(detector, _EXAMPLES, seed=0),
            dynamic_shapes=dict.fromkeys(_INPUTS, free),
        )


def to_onnx(program: ExportedProgram, path: Path, facts: Mapping[str, str] | None = None) -> None:
    """Write an exported detector as one ONNX file, with the names of inputs and output above.

    Parameters
    ----------
    facts : kept in the file as its metadata; None = nothing.
    """
    with _quiet():
        model = torch.onnx.export(
            program,
            input_names=_INPUTS,
            output_names=[_OUTPUT],
            dynamic_shapes={name: {0: _FREE} for name in _INPUTS},
            dynamo=True,
            verbose=False,
        )
    assert model is not None  # None is for writing a file itself
    model.model.metadata_props.update(facts or {})
    write_bytes(path, model.model_proto.SerializeToString())


def onnx_difference(detector: Detector, path: Path, *, batches: tuple[int, ...] = (1, 5)) -> float:
    """Return the largest difference between the logits of an ONNX file and of its detector.

    That of a logit beyond +-1 is relative.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    differences = []
    for batch in batches:
        windows = random_windows(detector, batch, seed=batch)
        feed = {name: values.numpy() for name, values in zip(_INPUTS, windows, strict=True)}
        (logits_BK,) = session.run([_OUTPUT], feed)
        with torch.no_grad():
            expected_BK = detector(*windows)
        scale_BK = expected_BK.abs().clamp_min(1)
        differences.append(
            float(((torch.from_numpy(logits_BK) - expected_BK) / scale_BK).abs().max())
        )
    return max(differences)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep back what the exporter tells of its passes, of torchvision, and of torch's own age."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r".*LeafSpec.* is deprecated", FutureWarning)
            warnings.filterwarnings("ignore", r"# The axis name: .* will not be used", UserWarning)
            yield
    finally:
        logging.disable(before)


def random_windows(detector: Detector, batch: int, *, seed: int) -> tuple[Tensor, Tensor]:
    """Return noise of up to 100 uV as the detector reads it, and channels present.

    Nine of ten are, or all of them where `frontend.missing` refuses.
    """
    signal = detector.frontend.signal
    generator = torch.Generator().manual_seed(seed)
    shape = (batch, detector.window_s, signal.num_channels, signal.rate_hz)
    tiles_BSCR = torch.randint(-1000, 1000, shape, dtype=torch.int16, generator=generator)
    share = 1.0 if detector.frontend.missing == "refuse" else 0.9
    present_BC = torch.rand(batch, signal.num_channels, generator=generator) < share
    return tiles_BSCR, present_BC
