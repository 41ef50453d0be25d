"""`bgb` and `python -m bgb`: list the commands, or run one of them."""

import importlib
import sys

COMMANDS = {
    "train": "train a detector, then score it on patients it never saw",
    "evaluate": "score a trained detector: run=<folder>",
    "detect": "find seizures in EDF files: run=<folder> input=<EDF or folder>",
    "export": "a trained detector as one ONNX file: run=<folder> out=<file>.onnx",
    "cache": "build, verify, list or inspect a cache: action=build data=...",
    "runs": "list runs, compare two, prune: action=list|compare|prune",
    "storage": "draw what is stored where, its price and, with probe=true, its speed",
    "plan": "jobs, hours and dollars beforehand: the overrides of a training",
    "config": "explain every key of the configuration: bgb config [key]",
}


def main() -> None:
    """Run `bgb <command> ...` as `python -m bgb.<command> ...` would."""
    if len(sys.argv) < 2 or sys.argv[1] not in COMMANDS:
        lines = [f"  bgb {name:<10} {what}" for name, what in COMMANDS.items()]
        out = sys.stdout if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help") else sys.stderr
        out.write("\n".join(["bgb: EEG seizure detectors", *lines, "", "Add --help to any.", ""]))
        sys.exit(0 if out is sys.stdout else 2)
    name = sys.argv.pop(1)
    module = importlib.import_module("bgb.config.__main__" if name == "config" else f"bgb.{name}")
    sys.exit(module.main())


if __name__ == "__main__":
    main()
