"""A store in memory, files of a run and what is drawn of them, for the tests of storage."""

import io
import json
from pathlib import Path

from rich.console import Console

from bgb.infra.storage.complete import unknown_corpus
from bgb.infra.storage.draw import size_table, tree
from bgb.infra.storage.store import Listing, StoredFile
from tests.data.tiny_corpus import config_for


class MemoryStore:
    """Files that are only in memory."""

    label, kind = "memory", "Volume"

    def __init__(self, files: dict[str, bytes]) -> None:
        self.contents = files

    def files(self) -> Listing:
        return Listing(
            tuple(StoredFile(path, len(self.contents[path])) for path in sorted(self.contents))
        )

    def read(self, path: str, *, start: int = 0, stop: int | None = None) -> bytes:
        return self.contents[path][start:stop]


def manifest(**num_bytes: int) -> bytes:
    entries = [
        {"split": "train", "recording_id": name, "num_bytes": size}
        for name, size in num_bytes.items()
    ]
    return json.dumps({"recordings": entries}).encode()


def run_files(run: str, **provenance: object) -> dict[str, bytes]:
    return {
        f"{run}/config.yaml": b"seed: 0",
        f"{run}/provenance.json": json.dumps(provenance).encode(),
        f"{run}/checkpoints/last.ckpt": b"x" * 100,
    }


def drawn(*surveys, corpus=None) -> str:
    console = Console(width=300, file=io.StringIO())
    known = corpus or unknown_corpus(config_for(Path("edf"), Path("cache")), "not at hand")
    console.print(tree(surveys, known))
    console.print(size_table(surveys))
    return console.file.getvalue()
