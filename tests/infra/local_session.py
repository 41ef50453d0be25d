"""`LocalSession` runs in this process what Modal would run in containers, on a folder that stands
for the Volume."""

from collections import Counter
from pathlib import Path
from types import SimpleNamespace

from bgb.config.infra import InfraConfig
from bgb.errors import BgbError
from bgb.infra.payload import Done, failure_of


class LocalVolume:
    """The calls of modal.Volume that are used, on a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def listdir(self, path):
        if not (folder := self._at(path)).is_dir():
            raise FileNotFoundError(path)
        return [
            SimpleNamespace(path=str(one.relative_to(self.root)), size=one.stat().st_size)
            for one in folder.iterdir()
        ]

    def read_file(self, path):
        yield self._at(path).read_bytes()

    def batch_upload(self, *, force):
        assert force
        return self

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def put_file(self, file, path):
        self._at(path).parent.mkdir(parents=True, exist_ok=True)
        self._at(path).write_bytes(file.read())

    def remove_file(self, path):
        self._at(path).unlink()

    def _at(self, path):
        return self.root / path.lstrip("/")


class LocalSession:
    """Runs each call when it is first looked at; `replies` come instead of the function's own."""

    def __init__(self, infra: InfraConfig, name: str = "call") -> None:
        self.infra, self.sweep_id, self.name = infra, "0123456789", name
        self.volume = LocalVolume(Path(infra.volume.mount))
        self.calls, self.tickets, self.cancelled, self.replies, self.values = [], [], [], {}, {}
        self.pending = Counter()
        self.promised_usd = self.spent_usd = 0.0

    def submit(self, function, *args, pool, ticket):
        assert pool == "cpu"
        self.calls.append((function, args))
        self.tickets.append(ticket)
        return f"{self.name}-{len(self.calls) - 1}"

    def look(self, call):
        if self.pending[call] > 0:
            self.pending[call] -= 1
            return None
        name, _, number = call.partition("-")
        if name != self.name:  # a call of another command, which has ended
            return self.replies.get(call, Done(None))
        if call not in self.replies:
            function, args = self.calls[int(number)]
            try:
                self.replies[call] = Done(function(*args))
            except BgbError as error:
                self.replies[call] = failure_of(error)
        return self.replies[call]

    def cancel(self, call):
        self.cancelled.append(call)

    def progress(self):
        return self.values

    def names(self):
        return [function.__name__ for function, _ in self.calls]
