"""Carries the raw output of services that are not ours into the journal, line by line."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ops.journal.entry import Entry

MOST_AT_ONCE = 1 << 18  # bytes of one service's output in one turn, so that a flood starves nobody
LONGEST_LINE = 1 << 14
LARGEST = 32 << 20  # an output file begins anew when it is larger; what it held is in `.out.1`
SERVICE = "supervisor"
_LEVELS = re.compile(
    r"\b(?:(ERROR|FATAL|CRITICAL|SEVERE)|(WARN(?:ING)?)|(DEBUG|TRACE))\b|\b(\w*(?:Error|Exception)): "
)
_SECRET_NAME = re.compile(r"TOKEN|SECRET|KEY|PASSW|CREDENTIAL", re.IGNORECASE)


def secret_values(environments: Iterable[dict[str, str] | Any]) -> tuple[str, ...]:
    """The values in services' environments that are secrets, judged by their names."""
    return tuple(
        value
        for environment in environments
        for name, value in environment.items()
        if _SECRET_NAME.search(name) and len(value) >= 8
    )


def record(event: str, message: str, level: str = "INFO", **fields: Any) -> Entry:
    """A record of the supervisor's own."""
    return Entry(datetime.now(UTC), level, SERVICE, event, message, os.getpid(), "ops.processes", fields)


class Tail:
    """Where we are in one service's output file. The place is kept in a small file beside the run
    state, so that the next supervisor goes on where this one was ended."""

    def __init__(self, service: str, path: Path, place: Path) -> None:
        self._service, self._path, self._place = service, path, place
        self._rest = b""
        self._at = self._kept_place()

    def read(self, pid: int) -> Iterator[Entry]:
        """The lines written since the last look."""
        try:
            with self._path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                if size < self._at:  # cut, or removed and made again
                    self._at, self._rest = 0, b""
                if size == self._at:
                    return
                file.seek(self._at)
                data = file.read(MOST_AT_ONCE)
        except OSError:
            return
        self._at += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > LONGEST_LINE:
            lines.append(self._rest)
            self._rest = b""
        for line in lines:
            text = line[:LONGEST_LINE].decode("utf-8", "replace").rstrip("\r")
            if text.strip():
                yield Entry(datetime.now(UTC), level_of(text), self._service, "log", text, pid, "stdout")
        if size > LARGEST:
            skipped = self._cut(size)
            text = f"{skipped} bytes of output were too many to carry over; they are in {self._path.name}.1"
            yield Entry(datetime.now(UTC), "WARNING", self._service, "journal.skipped", text, pid, "stdout")
        self._keep_place()

    def _cut(self, size: int) -> int:
        """Start the file anew (its writer appends, so it goes on at the new end), keeping the old
        text beside it; how many bytes were not carried over."""
        skipped = max(0, size - self._at)
        beside = self._path.with_name(self._path.name + ".1")
        with suppress(OSError), self._path.open("rb") as old, beside.open("wb") as kept:
            while some := old.read(1 << 20):
                kept.write(some)
        with suppress(OSError):
            os.truncate(self._path, 0)
            self._at, self._rest = 0, b""
        return skipped

    def _kept_place(self) -> int:
        try:
            return int(self._place.read_text("ascii"))
        except (OSError, ValueError):
            with suppress(OSError):
                return self._path.stat().st_size
            return 0

    def _keep_place(self) -> None:
        with suppress(OSError):
            self._place.write_text(f"{self._at - len(self._rest)}", "ascii")


def level_of(line: str) -> str:
    """The level that a line of foreign output names, INFO where it names none."""
    found = _LEVELS.search(line)
    if not found:
        return "INFO"
    return "ERROR" if found[1] or found[4] else "WARNING" if found[2] else "DEBUG"
