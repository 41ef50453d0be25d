"""Starts a container's process in a mount namespace and a root folder of its own.

The new root is a tmpfs with the host's system folders (read-only), the interpreter as
`/opt/python`, a virtual environment of the host's packages as `/opt/venv` (see packages.py), and
the given folders. Nothing else of the host is visible: no checkout, no home folder, no working
folder. Of bgb, only what was shipped to /root imports.
"""

import os
import shlex
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.fakemodal import packages

_SYSTEM = ("bin", "sbin", "lib", "lib32", "lib64", "libx32", "usr", "etc")
_EMPTY = ("opt", "mnt", "run", "home", "srv", "var/tmp")
_PYTHON, _VENV = "/opt/python", "/opt/venv"
_PATH = f"{_VENV}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Bind:
    """A folder of the host and where the container sees it."""

    source: Path
    target: str
    read_only: bool = False


def why_not() -> str | None:
    """Return why containers cannot run on this machine, None where they can."""
    if sys.platform != "linux" or shutil.which("unshare") is None:
        return "the loopback Modal needs Linux and `unshare` (util-linux)"
    attempt = subprocess.run([*_unshare(), "true"], capture_output=True, text=True)
    return f"no mount namespace can be made: {attempt.stderr}" if attempt.returncode else None


def start(
    folder: Path, binds: list[Bind], environment: dict[str, str], *, log: Path
) -> "subprocess.Popen[bytes]":
    """Start the container entrypoint; its pid is the container's main process."""
    script = folder / "start.sh"
    script.write_text(_script(folder, binds))
    libraries = {"LD_LIBRARY_PATH": f"{_PYTHON}/lib"} if _has_shared_library() else {}
    paths = {"PATH": _PATH, "PYTHONPATH": "/root:/pkg"}
    with log.open("ab") as output:
        return subprocess.Popen(
            [*_unshare(), "/bin/sh", str(script)],
            env=environment | libraries | paths,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def kill(process: "subprocess.Popen[bytes]") -> None:
    """Send SIGKILL to a container's whole process group."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _unshare() -> list[str]:
    flags = "-m" if os.geteuid() == 0 else "-Urm"
    command = [shutil.which("unshare") or "unshare", flags, "--"]
    setpriv = shutil.which("setpriv")
    # Containers end with the process that serves them, even when that is killed.
    return [*command, setpriv, "--pdeathsig", "KILL", "--"] if setpriv else command


def _has_shared_library() -> bool:
    return any((Path(sys.base_prefix) / "lib").glob("libpython*.so*"))


def _script(folder: Path, binds: list[Bind]) -> str:
    """Return the shell script that builds the root folder and enters it."""
    root = shlex.quote(str(folder / "rootfs"))
    scratch = folder / "tmp"
    (folder / "rootfs").mkdir()
    scratch.mkdir(mode=0o1777)
    packages.make_venv(folder / "venv", python=_PYTHON)
    binds = [
        *(b for b in map(_system_folder, _SYSTEM) if b is not None),
        *(Bind(Path(f"/{name}"), f"/{name}") for name in ("dev", "proc", "sys")),
        Bind(Path(sys.base_prefix), _PYTHON, read_only=True),
        Bind(packages.INSTALLED, packages.ORIGINALS, read_only=True),
        Bind(folder / "venv", _VENV, read_only=True),
        Bind(scratch, "/tmp"),
        *sorted(binds, key=lambda bind: bind.target.count("/")),
    ]
    lines = ["set -e", f"R={root}", 'mount -t tmpfs -o mode=755 fake "$R"', 'cd "$R"']
    lines.append(f"mkdir -p {' '.join(_EMPTY)}")
    for name in _SYSTEM:
        link = Path("/", name)
        if link.is_symlink():
            lines.append(f"ln -s {shlex.quote(str(link.readlink()))} {name}")
    for bind in binds:
        target = shlex.quote(bind.target.strip("/"))
        lines.append(f"mkdir -p {target}")
        lines.append(f"mount --rbind {shlex.quote(str(bind.source))} {target}")
        if bind.read_only:
            lines.append(f"mount -o remount,bind,ro {target}")
    # A shell's background job has SIGINT ignored, which its children would inherit.
    signals = "--default-signal=INT,QUIT,TERM,USR1"
    entry = f"{_VENV}/bin/python -m modal._container_entrypoint"
    lines.append(f"exec chroot . /usr/bin/env --chdir=/root {signals} {entry}")
    return "\n".join(lines) + "\n"


def _system_folder(name: str) -> Bind | None:
    folder = Path("/", name)
    if folder.is_symlink() or not folder.is_dir():
        return None
    return Bind(folder, f"/{name}", read_only=True)
