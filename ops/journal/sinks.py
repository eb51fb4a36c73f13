"""Where records end: files that several processes append to. Nothing here ever raises OSError.

Each record is redacted here and then goes to `<service>.jsonl`, to the combined `latest.log`, and,
if it names its call, to `calls/<call_sid>/journal.jsonl`.

Each batch of whole lines is one `write` on a file opened with O_APPEND, so lines of different
processes never mix, and a file that was renamed, deleted or made whole again in between is simply
the next one that opens. What could not be written is counted, and told in the same file, in one
line, when it can be written again.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from ops.journal.entry import Entry, human, json_line
from ops.journal.redact import Redactor

LATEST = "latest.log"
SETTLE = 0.002  # seconds in which a write that is under way gets on
MOST_FILES = 500  # for how many files losses are kept apart


@dataclass
class Sinks:
    """Writes entries to all their places below `logs`; needs no thread, no set-up and no end."""

    logs: Path
    redactor: Redactor
    files: Appender = field(init=False)
    lost: int = 0  # entries of the last `write` that some place did not take

    def __post_init__(self) -> None:
        self.files = Appender(self._loss)

    def write(self, entries: Iterable[Entry]) -> list[Entry]:
        """Append these entries, one batch a file; how they may be shown, for other places."""
        shown = []
        batches: dict[str, list[bytes]] = {}  # no Paths, which intern: see `Callbook._file`
        for entry in entries:
            entry, line = redacted(entry, self.redactor)
            shown.append(entry)
            batches.setdefault(f"{self.logs}/{entry.service}.jsonl", []).append(line)
            batches.setdefault(f"{self.logs}/{LATEST}", []).append(_human_line(entry))
            if sid := entry.call_sid:
                batches.setdefault(f"{self.logs}/calls/{sid}/journal.jsonl", []).append(line)
        kept = [self.files.append(path, lines) for path, lines in batches.items()]
        self.lost = 0 if all(kept) else len(shown)
        return shown

    def _loss(self, path: str, lost: int, reason: str) -> bytes:
        text = f"{lost} lines before this one could not be written: {reason}"
        name = Path(path).name
        service = "journal" if name in (LATEST, "journal.jsonl") else name.removesuffix(".jsonl")
        entry = Entry(datetime.now(UTC), "WARNING", service, "journal.lost", text, os.getpid(), "ops.journal")
        return _human_line(entry) if name == LATEST else redacted(entry, self.redactor)[1]


def redacted(entry: Entry, redactor: Redactor) -> tuple[Entry, bytes]:
    """An entry of plain values without its secrets, and its line in the file."""
    line = json_line(entry.to_dict())
    if redactor.suspects(line):
        texts = {"logger": entry.logger, "event": entry.event, "msg": entry.msg, "fields": dict(entry.fields)}
        entry = replace(entry, **redactor.clean_record(texts))
        line = json_line(entry.to_dict())
    return entry, f"{line}\n".encode()


def _human_line(entry: Entry) -> bytes:
    return f"{human(entry)}\n".encode()


@dataclass
class Appender:
    """Appends batches of lines; `report(lost, reason)` makes the line that tells of a loss."""

    report: Callable[[str, int, str], bytes]
    lost: dict[str, tuple[int, str]] = field(default_factory=dict)

    def append(self, path: str, lines: Sequence[bytes]) -> bool:
        """Write whole lines (each with its newline) in one go; False when some were lost."""
        missing, reason = self.lost.get(path, (0, ""))
        told = [self.report(path, missing, reason)] if missing else []
        batch = [*told, *lines]
        written, problem = append(path, b"".join(batch))
        whole = _whole_lines(batch, written)
        if whole >= len(told):
            self.lost.pop(path, None)
            missing = 0
        if whole == len(batch):
            return True
        if path not in self.lost and len(self.lost) >= MOST_FILES:
            self.lost.pop(next(iter(self.lost)))
        self.lost[path] = (missing + len(lines) - max(0, whole - len(told)), problem)
        return False


def append(path: str, data: bytes) -> tuple[int, str]:
    """Append `data` to a file made on demand (0600); the bytes written and, if too few, why.

    A file that does not end with a newline was torn by a crash or a full disk: `data` then starts
    on a line of its own.
    """
    try:
        handle = _open(path)
    except OSError as problem:
        return 0, problem.strerror or str(problem)
    try:
        torn = _is_torn(handle)
        written = os.write(handle, b"\n" + data if torn else data) - torn
        return written, "" if written == len(data) else "no space for a whole batch"
    except OSError as problem:
        return 0, problem.strerror or str(problem)
    finally:
        os.close(handle)


def _is_torn(handle: int) -> bool:
    """Whether the file ends within a line, and not only because another process is just writing it."""
    before = -1
    while True:
        size = os.fstat(handle).st_size
        if size == 0 or os.pread(handle, 1, size - 1) == b"\n":
            return False
        if size == before:
            return True
        before = size
        time.sleep(SETTLE)


def _open(path: str) -> int:
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        return os.open(path, flags, 0o600)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), exist_ok=True, mode=0o700)  # noqa: PTH103, PTH120 - as above
        return os.open(path, flags, 0o600)


def _whole_lines(batch: Sequence[bytes], written: int) -> int:
    whole = 0
    for line in batch:
        written -= len(line)
        if written < 0:
            break
        whole += 1
    return whole
