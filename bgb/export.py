"""`python -m bgb.export run=<folder> out=<file>.onnx`: a trained detector as one ONNX file.

The file takes the int16 tiles of the cache and gives logits, for batches of any size; what it says
is compared with the detector before it is kept (`bgb.detectors.exporting` has the contract).
"""

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from bgb.config.compose import command
from bgb.config.schema import ExportConfig
from bgb.errors import RunError

if TYPE_CHECKING:
    from bgb.detectors import Detector

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

    detector, out = load_run(config.run).detector(), Path(config.out)
    difference = export_onnx(detector, out)
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


def export_onnx(detector: "Detector", path: Path) -> float:
    """Write a detector as ONNX; return the largest difference of a logit.

    Raises
    ------
    RunError : ONNX gives other logits; nothing is written.
    """
    from bgb.detectors.exporting import export_detector, onnx_difference, to_onnx

    unproven = path.with_name(f".{path.name}.partial")
    try:
        to_onnx(export_detector(detector), unproven)
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
