"""Ledger of a sweep: <sweep.dir>/.modal/jobs.jsonl, one line an event, only ever appended to.

A launcher that was killed at any moment finds here which jobs it sent and which of them ended. A
line is on the disk before the next step is taken; only the last one can be torn, and it is dropped.
Results lie beside it, so that a finished job needs neither Modal nor the network.
"""

import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bgb.errors import InfraError
from bgb.files import write_bytes

SENDING, SENT, DONE, FAILED, CANCELLED = "sending", "sent", "done", "failed", "cancelled"


@dataclass(frozen=True)
class Record:
    """What is known of a job: all its lines, the later ones over the earlier ones.

    Attributes
    ----------
    state : sending (may or may not have been sent), sent, done, failed or cancelled.
    keys : digest of each key of its configuration.
    code, lock : digests of the files that were shipped and of the image's lock file.
    earlier_usd : what calls before this one cost.
    synced : its files were fetched.
    """

    num: int
    state: str = SENDING
    subdir: str = ""
    overrides: tuple[str, ...] = ()
    fingerprint: str = ""
    keys: Mapping[str, str] = field(default_factory=dict)
    code: str = ""
    lock: str = ""
    call_id: str | None = None
    kind: str = ""
    attempts: int = 0
    seconds: float = 0.0
    usd: float = 0.0
    earlier_usd: float = 0.0
    synced: bool = False


class Ledger:
    """The ledger of the sweep in a folder; its caller holds the sweep's lock."""

    def __init__(self, sweep_dir: Path) -> None:
        self.folder = sweep_dir / ".modal"
        self.path = self.folder / "jobs.jsonl"
        self.folder.mkdir(parents=True, exist_ok=True)
        lines = self._lines()
        if not lines:
            lines = [{"sweep_id": secrets.token_hex(5)}]
            self._append(lines[0])
        self.sweep_id: str = lines[0]["sweep_id"]
        self.records: dict[int, Record] = {}
        self._other_usd = 0.0
        for line in lines[1:]:
            if "num" in line:
                self._take(line)
            else:
                self._other_usd += line["other_usd"]

    @property
    def spent_usd(self) -> float:
        """What all calls that ended have cost, those that filled caches included."""
        return self._other_usd + sum(one.usd + one.earlier_usd for one in self.records.values())

    def spend(self, usd: float) -> None:
        """Append what was spent on something else than jobs."""
        self._append({"at": _now(), "other_usd": usd})
        self._other_usd += usd

    def write(self, num: int, state: str, **values: Any) -> Record:  # Any: fields of Record
        """Append what happened to a job; it is on the disk when this returns."""
        line = {"at": _now(), "num": num, "state": state}
        self._append(line | values)
        return self._take(line | values)

    def save_result(self, num: int, reply: bytes) -> None:
        """Keep the packed reply of a finished job."""
        write_bytes(self._result(num), reply)

    def load_result(self, num: int) -> bytes | None:
        """Return the packed reply of a job that finished; None where it is missing."""
        path = self._result(num)
        return path.read_bytes() if path.is_file() else None

    def _result(self, num: int) -> Path:
        return self.folder / "results" / f"{num}.pkl"

    def _take(self, line: Mapping[str, Any]) -> Record:  # Any: what JSON can hold
        known = {name: line[name] for name in line if name in _FIELDS}
        if "overrides" in known:
            known["overrides"] = tuple(known["overrides"])
        before = self.records.get(line["num"])
        record = Record(**({} if before is None else vars(before)) | known)
        self.records[record.num] = record
        return record

    def _append(self, line: Mapping[str, Any]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, allow_nan=False) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def _lines(self) -> list[dict[str, Any]]:
        """Read every whole line and cut a torn last one off."""
        if not self.path.exists():
            return []
        content = self.path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if whole != content:
            os.truncate(self.path, len(whole))
        return [self._parse(line, number + 1) for number, line in enumerate(whole.splitlines())]

    def _parse(self, line: bytes, number: int) -> dict[str, Any]:
        try:
            value = json.loads(line)
        except ValueError:
            value = None
        keys = {"sweep_id"} if number == 1 else {"num", "other_usd"}
        if not isinstance(value, dict) or not keys & set(value):
            raise InfraError(
                f"{self.path}, line {number} is no event of a ledger: {line[:60]!r}; put a sound "
                "copy there, or start anew with another hydra.sweep.dir="
            )
        return value


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


_FIELDS = frozenset(item.name for item in fields(Record))
