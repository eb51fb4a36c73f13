"""Where the run files are, and how they are written: whole or not at all, and safe before anyone acts."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ops.processes.records import Stack, Wanted, read_stack, read_wanted, stack_text, wanted_text

# Locks in use stay when the rest is cleared, and so do the simulators' credentials.
KEPT = ("lock", "supervisor.lock", "stand-in.key")


@dataclass(frozen=True)
class RunFiles:
    """The folder `logs/run` of one project."""

    root: Path

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def folder(self) -> Path:
        return self.logs / "run"

    @property
    def wanted_path(self) -> Path:
        return self.folder / "wanted.json"

    @property
    def stack_path(self) -> Path:
        return self.folder / "stack.json"

    def output(self, service: str) -> Path:
        """The raw output of a service."""
        return self.logs / f"{service}.out"

    def wanted(self) -> Wanted | None:
        """The orders, or None when there are none that can be read."""
        text = _read(self.wanted_path)
        return read_wanted(text) if text else None

    def stack(self) -> Stack | None:
        """The last written standing, or None when there is none that can be read."""
        text = _read(self.stack_path)
        return read_stack(text) if text else None

    def write_wanted(self, wanted: Wanted) -> None:
        self.make()
        write_whole(self.wanted_path, wanted_text(wanted))

    def write_stack(self, stack: Stack) -> None:
        self.make()
        times = {stack.started, *(one.since for one in stack.services)}
        write_whole(self.stack_path, stack_text(stack, {at: iso(at) for at in times}))

    def make(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def forget(self, *, reset: bool = False) -> None:
        """Remove what describes a run; with `reset` everything but what `KEPT` names."""
        with suppress(OSError):
            for path in sorted(self.folder.iterdir()):
                stale = path in (self.wanted_path, self.stack_path) or path.suffix == ".tail"
                if (stale or reset) and path.name not in KEPT and not path.is_dir():
                    path.unlink(missing_ok=True)


def write_whole(path: Path, text: str) -> None:
    """Replace a file in one step: readers see the old text or the new one, also after a power cut."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        data = text.encode()
        while data:
            data = data[os.write(handle, data) :]
        os.fsync(handle)
    except OSError:
        with suppress(OSError):
            draft.unlink()
        raise
    finally:
        os.close(handle)
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def iso(at: float) -> str:
    """A wall-clock time as text: UTC, seconds, `Z`."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


def last_lines(path: Path, start: int = 0, count: int = 10) -> tuple[str, ...]:
    """The last lines of an output file that were written after byte `start`."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            begin = start if start <= size else 0  # it was cut in between
            file.seek(max(begin, size - 8192))
            text = file.read(8192).decode("utf-8", "replace")
    except OSError:
        return ()
    lines = [line.rstrip()[:500] for line in text.splitlines() if line.strip()]
    return tuple(lines[-count:])


def _read(path: Path) -> str | None:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return None
