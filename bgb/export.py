"""`python -m bgb.export run=<folder> out=<file>.onnx`: a trained detector as one ONNX file.

The file takes the int16 tiles of the cache and gives logits, for batches of any size; what it says
is compared with the detector before it is kept (`bgb.detectors.exporting` has the contract). Its
metadata tell what is to be done before and after: filters, channels, threshold, post-processing.
"""

import importlib.util
import json
import logging
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import bgb
from bgb.config.compose import command
from bgb.config.schema import ExportConfig
from bgb.errors import RunError

if TYPE_CHECKING:
    from bgb.detectors import Detector
    from bgb.training import Run

_log = logging.getLogger(__name__)
_LARGEST = 1e-4  # difference of a logit that passes for rounding
_NEEDED = ("onnx", "onnxruntime", "onnxscript")


@command(ExportConfig, name="export")
def main(config: ExportConfig) -> None:
    """Export, compare, keep, print how to feed it."""
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise RunError(f"ONNX needs {', '.join(missing)}; run `pip install 'bgb[export]'`")

    from rich.console import Console

    from bgb.training import load_run

    run, out = load_run(config.run), Path(config.out)
    detector = run.detector()
    difference = export_onnx(detector, out, facts_of(run, detector))
    signal = detector.frontend.signal
    seconds, channels = detector.window_s, signal.num_channels
    left_s, right_s = detector.context_s
    remark = (
        "\nMissing channels are not refused there, as frontend.missing=refuse does: look first."
    )
    Console().print(
        f"{out}: {out.stat().st_size / 2**20:.1f} MiB, logits equal to {difference:.1e}\n"
        f"tiles_BSCR  int16 (batch, {seconds}, {channels}, {signal.rate_hz}): seconds, "
        f"{signal.channel_set}, samples, in {signal.quantum_uv:g} {signal.unit}\n"
        f"present_BC  bool  (batch, {channels}): which channels the recording has\n"
        f"logits_BK   float (batch, {round((seconds - left_s - right_s) * detector.out_rate_hz)}): "
        f"{detector.out_rate_hz:g} a second, of the window without its first {left_s} and last "
        f"{right_s} s{remark if detector.frontend.missing == 'refuse' else ''}",
        highlight=False,
    )


def facts_of(run: "Run", detector: "Detector") -> dict[str, str]:
    """Return the metadata of the file: text as it is, everything else as JSON."""
    signal, config = detector.frontend.signal, run.config
    facts = {
        "bgb": bgb.__version__,
        "run": run.name,
        "model": config.model.label,
        "montage": config.frontend.montage,
        "missing": config.frontend.missing,
        "channels": signal.channels,
        "rate_hz": signal.rate_hz,
        "quantum": signal.quantum_uv,
        "unit": signal.unit,
        "preprocess": asdict(config.data.preprocess),
        "window_s": detector.window_s,
        "context_s": detector.context_s,
        "out_rate_hz": detector.out_rate_hz,
        "threshold": run.threshold,
        "postprocess": asdict(config.postprocess),
    }
    return {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in facts.items()
    }


def export_onnx(detector: "Detector", path: Path, facts: Mapping[str, str] | None = None) -> float:
    """Write a detector as ONNX with some metadata; return the largest difference of a logit.

    Raises
    ------
    RunError : ONNX gives other logits; nothing is written.
    """
    from bgb.detectors.exporting import export_detector, onnx_difference, to_onnx

    unproven = path.with_name(f".{path.name}.partial")
    try:
        _log.info("tracing the detector (minutes where an LSTM runs over long windows)")
        program = export_detector(detector)
        _log.info("translating it to ONNX")
        to_onnx(program, unproven, facts)
        _log.info("comparing the logits")
        difference = onnx_difference(detector, unproven)
        if not difference <= _LARGEST:
            raise RunError(
                f"the logits of the ONNX file differ by {difference:.1e}, more than rounding "
                f"({_LARGEST:.0e}); it was not written: {path}. Another torch or onnxruntime may do"
            )
        unproven.replace(path)
    finally:
        unproven.unlink(missing_ok=True)
    return difference


if __name__ == "__main__":
    main()
