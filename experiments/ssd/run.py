"""Time one bidirectional Mamba-2 layer against a TransformerEncoderLayer on the CPU.

Forward and backward, eager, float32; the layers take turns, so that a busy machine is busy for all.
Both the clock and the CPU time of the process are kept: on a shared machine trust the second.

    python experiments/ssd/run.py --rounds 7
"""

# Shapes: B batch, T steps, D features

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from bgb.detectors.mamba import MambaStack

FEATURES = 256
HEADS = 4
EQUAL_WIDTH = 404  # of the feed-forward part: 471,700 parameters, where Mamba-2 has 470,320
USUAL_WIDTH = 1024  # four times the features, as in most transformers
CHUNKS = (32, 64)
SHAPES = ((960, 4), (3840, 1))  # steps and batch: as many tokens in both

Layer = Callable[[Tensor], Tensor]  # a module, or a function of one


def mamba_layer(chunk: int, dropout: float) -> Layer:
    """Return norm, mixer, residual and norm: as many norms as the other has."""
    stack = MambaStack(
        FEATURES,
        num_layers=1,
        dropout=dropout,
        bidirectional=True,
        state_features=64,
        head_features=64,
        chunk=chunk,
        kernel="portable",
    )
    return lambda features_BTD: stack(features_BTD)[0]


def layers_of(dropout: float) -> dict[str, Layer]:
    """Return the layers to compare, by name."""
    torch.manual_seed(0)
    layers = {f"mamba2 chunk {chunk}": mamba_layer(chunk, dropout) for chunk in CHUNKS}
    for width in (EQUAL_WIDTH, USUAL_WIDTH):
        layers[f"transformer {width}"] = nn.TransformerEncoderLayer(
            FEATURES, HEADS, width, dropout=dropout, batch_first=True
        )
    return layers


def measure(layer: Layer, features_BTD: Tensor) -> dict[str, float]:
    """Return seconds of one forward and backward pass."""
    clock, cpu = time.perf_counter(), time.process_time()
    output_BTD = layer(features_BTD)
    output_BTD.backward(torch.ones_like(output_BTD))
    return {"clock_s": time.perf_counter() - clock, "cpu_s": time.process_time() - cpu}


def compare(num_steps: int, batch: int, dropout: float, rounds: int) -> dict[str, object]:
    """Return the medians of every layer, and its ratio to the equal transformer round by round."""
    layers = layers_of(dropout)
    features_BTD = torch.randn(batch, num_steps, FEATURES, requires_grad=True)
    for layer in layers.values():
        measure(layer, features_BTD)
    turns = [
        {name: measure(layer, features_BTD) for name, layer in layers.items()}
        for _ in range(rounds)
    ]

    def median(name: str, unit: str, relative_to: str | None = None) -> float:
        ratios = [t[name][unit] / (t[relative_to][unit] if relative_to else 1) for t in turns]
        return round(statistics.median(ratios), 3)

    equal, usual = (f"transformer {width}" for width in (EQUAL_WIDTH, USUAL_WIDTH))
    return {
        "steps": num_steps,
        "batch": batch,
        "dropout": dropout,
        "load": round(os.getloadavg()[0], 1),
        "layers": {
            name: {
                "clock_s": median(name, "clock_s"),
                "cpu_s": median(name, "cpu_s"),
                "cpu_to_equal": median(name, "cpu_s", equal),
                "cpu_to_usual": median(name, "cpu_s", usual),
                "clock_to_equal": median(name, "clock_s", equal),
                "clock_to_usual": median(name, "clock_s", usual),
            }
            for name in layers
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = [
        compare(num_steps, batch, dropout, options.rounds)
        for num_steps, batch in SHAPES
        for dropout in (0.0, 0.1)
    ]
    result = {
        "torch": torch.__version__,
        "threads": options.threads,
        "rounds": options.rounds,
        "rows": rows,
    }
    Path(__file__).with_name("results.json").write_text(json.dumps(result, indent=1) + "\n")
    for row in rows:
        print(json.dumps({key: value for key, value in row.items() if key != "layers"}))
        for name, figures in row["layers"].items():
            print(f"  {name:18}", *(f"{key} {value:6.3f}" for key, value in figures.items()))


if __name__ == "__main__":
    main()
